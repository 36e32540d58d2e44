"""The common record of a checkpoint file, its limits, and sanitised text from it for messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError
from rillet.ir.graph import Array

MAX_FILE_BYTES = 2**30
MAX_ELEMENTS = 2**28
"""Elements of all tensors of a file together; views of one storage count each."""

Scalar = bool | int | float | str | None
Layout = Literal["torch", "keras"]
"""Which way weights lie: `torch` [out, in, rows, columns], `keras` [rows, columns, in, out]."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors of a file, each as the file lays it, by names less a prefix that all of them share."""

    name: str
    """The file, as messages name it."""
    tensors: Mapping[str, Array]
    layout: Layout = "torch"
    ordered: bool = True
    """True where the file keeps the order in which the network was written."""
    wrapper: tuple[str, ...] = ()
    """Keys of the dictionaries around the tensors, such as `net`."""
    prefix: str = ""
    """What was cut off every name, such as `module.`."""
    extras: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    """What lies beside the tensors: plain values as they are, anything else described."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "extras", MappingProxyType(dict(self.extras)))


def shown(text: str, most: int = 80) -> str:
    """Text out of a file, safe to print: one line, at most `most` characters."""
    start = text[: most + 1]
    plain = start if start.isprintable() else ascii(start)[1:-1]
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."


def dimensions(shape: tuple[int, ...]) -> str:
    """A shape as people write it: `16x3x3x3`, and `scalar` for no dimensions."""
    return "x".join(map(str, shape)) or "scalar"


def listed(texts: list[str], most: int = 4) -> str:
    """The first few texts and how many more there are."""
    more = [f"{len(texts) - most} more"] if len(texts) > most else []
    return ", ".join([*texts[:most], *more])


_TYPES = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<u2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "|i1",
    "uint64": "<u8",
    "uint32": "<u4",
    "uint16": "<u2",
    "uint8": "|u1",
    "bool": "|u1",
}


def item_bytes(dtype: str) -> int:
    """Bytes of one element of a type named as NumPy and PyTorch name it."""
    return np.dtype(_TYPES[dtype]).itemsize


class Decoder:
    """Makes arrays out of the bytes of one file, and counts what it makes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.left = MAX_ELEMENTS

    def view(
        self,
        raw: memoryview,
        dtype: str,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None = None,
        offset: int = 0,
    ) -> Array:
        """The tensor of `shape` in `raw`: a view, except of bfloat16, which becomes float32.

        Offset and strides are in elements; the caller has checked them against `raw`. Raises GraphError where the file
        has made too much of itself.
        """
        self.left -= int(np.prod(shape, dtype=object))
        if self.left < 0:
            raise GraphError(f"{self.name}: tensors must hold at most {MAX_ELEMENTS} elements together, got more")
        size = item_bytes(dtype)
        steps = None if strides is None else [size * stride for stride in strides]
        array: npt.NDArray[np.generic] = np.ndarray(shape, _TYPES[dtype], raw, size * offset, steps)
        if dtype == "bfloat16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array.astype(np.bool_) if dtype == "bool" else array
