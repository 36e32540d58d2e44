"""Checkpoint files around any pickle, and pickles that do harm: what a hostile file looks like."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

PROTO, STOP = b"\x80\x02", b"."
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
PROTOCOL = pickle.dumps(1001, 2)
SYSTEM = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}, 2)


def legacy(body: bytes, keys: list[str] | None = None, storages: bytes = b"") -> bytes:
    """A legacy file whose main pickle is `body`."""
    return MAGIC + PROTOCOL + SYSTEM + body + pickle.dumps(keys or [], 2) + storages


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file of the entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def archive(body: bytes, storages: dict[str, bytes] | None = None, **others: bytes) -> bytes:
    """A zip checkpoint whose pickle is `body`."""
    entries = {"archive/data.pkl": body, "archive/version": b"3\n"}
    entries |= {f"archive/data/{key}": data for key, data in (storages or {}).items()}
    return zipped(entries | {f"archive/{name}": data for name, data in others.items()})


def short(text: str) -> bytes:
    """Pushes a string."""
    return b"\x8c" + struct.pack("B", len(text)) + text.encode()


def long(text: str) -> bytes:
    """Pushes a string, as protocol 2 does."""
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def storage(kind: str = "FloatStorage", key: str = "0", count: int = 6, view: bytes = b"") -> bytes:
    """Pushes a storage."""
    return b"(" + long("storage") + f"ctorch\n{kind}\n".encode() + long(key) + long("cpu") + b"K" + bytes([count]) + (
        view + b"tQ"
    )  # fmt: skip


class Bomb:
    """An object that touches a file when it is made, or when its state is set."""

    def __new__(cls, path: str = "") -> "Bomb":
        if path:
            Path(path).touch()
        return super().__new__(cls)

    def __setstate__(self, path: str) -> None:
        Path(path).touch()


class Reducing:
    """An object that pickles as a call of `function`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call
