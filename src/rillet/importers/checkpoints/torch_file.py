"""PyTorch checkpoints, zip files and the legacy form, without PyTorch: a pickle beside raw storages."""

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

from rillet.errors import GraphError, Unsupported
from rillet.importers.checkpoints.archive import Archive
from rillet.importers.checkpoints.records import Checkpoint, Decoder, Scalar, item_bytes, shown
from rillet.importers.checkpoints.unpickle import Tensor, load
from rillet.ir.graph import Array

MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of a legacy file."""
PROTOCOL = 1001
MAX_PICKLE_BYTES = 2**26
"""Pickles of a file; the storages do not count."""
WRAPPERS = ("net", "state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.")
"""What PyTorch's parallel and compiled modules put before every name."""

Read = Callable[[str], memoryview]
"""All bytes of the storage of that name."""


def is_zip(data: bytes) -> bool:
    """True for the form that PyTorch writes since 1.6."""
    return data[:4] == b"PK\3\4"


def is_pickle(data: bytes) -> bool:
    """True for a pickle of protocol 2 or later, as legacy files begin."""
    return data[:1] == b"\x80"


def parse_zip(data: bytes, name: str) -> Checkpoint:
    """The tensors of a zip checkpoint; raises GraphError for a broken one, Unsupported for what is none."""
    archive = Archive(data, name)
    roots = [entry[: -len("data.pkl")] for entry in archive.entries if entry.endswith("data.pkl")]
    if len(roots) != 1:
        raise GraphError(f"{name}: must have one entry data.pkl as PyTorch's checkpoints have, got {len(roots)}")
    root = roots[0]
    if f"{root}constants.pkl" in archive.entries:
        raise Unsupported(f"{name}: must be a checkpoint, got a TorchScript program; save its state_dict()")
    if f"{root}byteorder" in archive.entries and bytes(archive.read(f"{root}byteorder")) != b"little":
        raise Unsupported(f"{name}: byte order must be little")
    pickle = archive.read(f"{root}data.pkl")
    if len(pickle) > MAX_PICKLE_BYTES:
        raise GraphError(f"{name}: data.pkl must have at most {MAX_PICKLE_BYTES} bytes, got {len(pickle)}")
    value = load(io.BytesIO(pickle), f"{name}: data.pkl").value
    return _checkpoint(value, lambda key: archive.read(f"{root}data/{key}"), name)


def parse_legacy(data: bytes, name: str) -> Checkpoint:
    """The tensors of a legacy checkpoint; raises GraphError for a broken one, Unsupported for what is none."""
    stream = io.BytesIO(data[:MAX_PICKLE_BYTES])
    if load(stream, f"{name}: pickle 1").value != MAGIC:
        raise Unsupported(f"{name}: must begin with PyTorch's magic number, got another pickle")
    if load(stream, f"{name}: pickle 2").value != PROTOCOL:
        raise Unsupported(f"{name}: PyTorch's protocol must be {PROTOCOL}")
    system = load(stream, f"{name}: pickle 3").value
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Unsupported(f"{name}: byte order must be little")
    pickled = load(stream, f"{name}: pickle 4")
    keys = load(stream, f"{name}: pickle 5").value
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise GraphError(f"{name}: must list the names of its storages, got {type(keys).__name__}")
    storages = _legacy_storages(memoryview(data), stream.tell(), keys, pickled.storages, name)
    return _checkpoint(pickled.value, lambda key: _found(storages, key, name), name)


def _legacy_storages(
    data: memoryview, at: int, keys: list[str], types: Mapping[str, str], name: str
) -> dict[str, memoryview]:
    """The storages behind the pickles: of each the number of its elements, in eight bytes, then the elements."""
    storages: dict[str, memoryview] = {}
    for key in keys:
        if key not in types:
            raise GraphError(f"{name}: storage {shown(key)} must have a type, got none")
        if at + 8 > len(data):
            raise GraphError(f"{name}: must hold {len(keys)} storages, got {len(storages)}")
        size = int.from_bytes(data[at : at + 8], "little") * item_bytes(types[key])
        at += 8
        if at + size > len(data):
            raise GraphError(f"{name}: storage {shown(key)} must have {size} bytes, got {len(data) - at}")
        storages[key] = data[at : at + size]
        at += size
    return storages


def _found(storages: Mapping[str, memoryview], key: str, name: str) -> memoryview:
    if key not in storages:
        raise GraphError(f"{name}: must have a storage {shown(key)}, got none")
    return storages[key]


def _checkpoint(value: Any, read: Read, name: str) -> Checkpoint:
    wrapper, state, extras = _unwrapped(value)
    if state is None:
        raise Unsupported(f"{name}: must hold a dictionary of tensors, alone or as one of {', '.join(WRAPPERS)}")
    decoder = Decoder(name)
    tensors = {key: _array(tensor, key, read, decoder) for key, tensor in state.items()}
    tensors, prefix = _without_prefix(tensors)
    return Checkpoint(name, tensors, "torch", True, wrapper, prefix, extras)


def _unwrapped(value: Any) -> tuple[tuple[str, ...], dict[str, Tensor] | None, dict[str, Scalar]]:
    """The keys that lead to the tensors, the tensors, and what lies beside them on the way."""
    wrapper: list[str] = []
    extras: dict[str, Scalar] = {}
    while isinstance(value, dict) and len(wrapper) < 4:
        tensors = {key: item for key, item in value.items() if isinstance(item, Tensor)}
        inner = next((key for key in WRAPPERS if not tensors and isinstance(value.get(key), dict)), None)
        extras |= {key: _described(item) for key, item in value.items() if key != inner and key not in tensors}
        if tensors:
            return tuple(wrapper), tensors, extras
        if inner is None:
            break
        wrapper.append(inner)
        value = value[inner]
    return tuple(wrapper), None, extras


def _described(value: Any) -> Scalar:
    """A plain value as it is, and what kind of thing anything else is."""
    match value:
        case None | bool() | float():
            return value
        case int() if abs(value) < 2**63:
            return value
        case str():
            return shown(value)
        case dict() | list() | tuple() | set():
            return f"{type(value).__name__} of {len(value)}"
        case _:
            return type(value).__name__.lower()


def _without_prefix(tensors: dict[str, Array]) -> tuple[dict[str, Array], str]:
    removed = ""
    for _ in PREFIXES:
        prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in tensors)), "")
        tensors = {key.removeprefix(prefix): array for key, array in tensors.items()}
        removed += prefix
    return tensors, removed


def _array(tensor: Tensor, key: str, read: Read, decoder: Decoder) -> Array:
    """The tensor, checked to lie within its storage, and the storage within the file."""
    storage, where = tensor.storage, f"{decoder.name}: {shown(key)}"
    raw, size = read(storage.key), item_bytes(storage.dtype)
    stop = storage.start + storage.count
    if stop * size > len(raw):
        raise GraphError(f"{where}: storage must have {stop * size} bytes, got {len(raw)}")
    elements = math.prod(tensor.size)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True))
    # A stride of zero could make much of little.
    if elements > storage.count or (elements and last >= storage.count):
        raise GraphError(f"{where} must lie within the {storage.count} elements of its storage")
    raw = raw[storage.start * size : stop * size]
    if not elements:
        return decoder.view(raw, storage.dtype, tensor.size)
    return decoder.view(raw, storage.dtype, tensor.size, tensor.stride, tensor.offset)
