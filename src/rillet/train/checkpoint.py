"""The folder of a run: its lock, and checkpoints that a crash at any moment leaves whole."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rillet.errors import BuildError, GraphError
from rillet.system.files import write_file
from rillet.system.reading import MODEL_BYTES, read_bytes

CHECKPOINT = "checkpoint.pt"
_VERSION = 1
_BROKEN = (
    RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, OSError,
    ValueError, LookupError, TypeError, AttributeError, AssertionError,
)  # fmt: skip
"""What PyTorch raises for files that are no checkpoints."""


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Makes the folder and holds it; the lock goes with the process, however it ends.

    Raises GraphError where another run has it, BuildError where it cannot be written.
    """
    # Unix alone has it; imported here, so that the rest of the module can be read elsewhere.
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise BuildError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise GraphError(f"{folder}: must be each run's own, and another run is writing it") from None
        yield
    finally:
        os.close(descriptor)


def save(folder: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Writes the checkpoint of a run; raises BuildError where it cannot be, and the one before is still there then.

    `identity` says which run it is, in words and numbers; `state` holds tensors, numbers, texts, lists and dicts.
    """
    out = io.BytesIO()
    torch.save({"version": _VERSION, "identity": dict(identity), "state": dict(state)}, out)
    try:
        write_file(folder / CHECKPOINT, out.getvalue())
    except BuildError as error:
        kept = "; the checkpoint before it is whole" if (folder / CHECKPOINT).exists() else ""
        raise BuildError(f"{error}{kept}") from None


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Identity and state of the checkpoint in a folder, None where there is none; runs nothing that is in it.

    Raises GraphError for a file that is no checkpoint.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    data = read_bytes(path, MODEL_BYTES, "a checkpoint")
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _BROKEN as error:
        raise GraphError(f"{path}: must be a checkpoint: {str(error).partition(chr(10))[0]}") from None
    match found:
        case {"version": int(version), "identity": dict(identity), "state": dict(state)} if version == _VERSION:
            return identity, state
        case _:
            raise GraphError(f"{path}: must be a checkpoint of version {_VERSION}")


def check_identity(folder: Path, now: Mapping[str, Any], then: Mapping[str, Any]) -> None:
    """Raises GraphError, naming the first difference, where a run is to go on as another than it was."""
    for key, value in now.items():
        if then.get(key) != value:
            said, had = (_short(key, one) for one in (value, then.get(key)))
            raise GraphError(f"{folder}: must be resumed with the {key} it was begun with, {had}; got {said}")


def _short(key: str, value: Any) -> str:
    text = str(value).strip()
    return f"that of {CHECKPOINT}" if "\n" in text else text or f"no {key}"
