"""safetensors files: a JSON header, then the tensors' bytes."""

import re

import safetensors

from rillet.errors import GraphError, Unsupported
from rillet.importers.checkpoints.records import Checkpoint, Decoder, shown
from rillet.ir.graph import Array

MAX_HEADER_BYTES = 2**22
_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def is_safetensors(data: bytes) -> bool:
    """True where a JSON object follows its length."""
    return data[8:9] == b"{"


def check_header(head: bytes, size: int, name: str) -> None:
    """Raises GraphError where the header does not fit a file of `size` bytes."""
    header_bytes = int.from_bytes(head[:8], "little")
    if header_bytes > MAX_HEADER_BYTES:
        raise GraphError(f"{name}: header must have at most {MAX_HEADER_BYTES} bytes, got {header_bytes}")
    if header_bytes > size - 8:
        raise GraphError(f"{name}: header must lie within the file of {size} bytes, got {header_bytes} bytes of it")


def parse_safetensors(data: bytes, name: str) -> Checkpoint:
    """The tensors of a safetensors file, sorted by name as people count: the format keeps no other order.

    Raises GraphError for a broken file, Unsupported for a type that NumPy does not have.
    """
    check_header(data[:8], len(data), name)
    try:
        found = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        reason = shown(str(error), 120)
        raise GraphError(f"{name}: must be a well-formed safetensors file, got a broken one ({reason})") from None
    decoder, tensors, by_name = Decoder(name), dict[str, Array](), dict(found)
    for key in sorted(by_name, key=_counted):
        tensor = by_name[key]
        if tensor["dtype"] not in _TYPES:
            raise Unsupported(f"{name}: {shown(key)} must be of one of {', '.join(_TYPES)}, got {tensor['dtype']}")
        tensors[key] = decoder.view(memoryview(tensor["data"]), _TYPES[tensor["dtype"]], tuple(tensor["shape"]))
    return Checkpoint(name, tensors, ordered=False)


def _counted(name: str) -> str:
    """Sorts `block2` before `block10`."""
    return re.sub("[0-9]+", lambda digits: digits[0].rjust(20, "0"), name)
