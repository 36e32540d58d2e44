"""Shapes, element types and quantisations: what an edge of a graph carries."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from rillet.errors import GraphError, Unsupported

MAX_ELEMENTS = 2**25
"""Largest activation accepted, in elements; keeps hostile files from filling memory."""


class DType(Enum):
    """Element type of a tensor; the value is the word used in the text form."""

    F32 = ("f32", 32, "float32")
    I64 = ("i64", 64, "int64", -(2**63), 2**63 - 1)
    I32 = ("i32", 32, "int32", -(2**31), 2**31 - 1)
    I16 = ("i16", 16, "int16", -(2**15), 2**15 - 1)
    I8 = ("i8", 8, "int8", -128, 127)
    U8 = ("u8", 8, "uint8", 0, 255)
    TERNARY = ("ternary", 2, "int8", -1, 1)
    BINARY = ("binary", 1, "int8", -1, 1)

    _value_: str
    bits: int
    """Bits of one packed element."""
    numpy: np.dtype[np.generic]
    """The NumPy type that holds one element, unpacked."""
    _integers: tuple[int, int] | tuple[()]

    def __new__(cls, word: str, bits: int, numpy: str, *integers: int) -> "DType":
        """A member, told by its word."""
        member = object.__new__(cls)
        member._value_, member.bits, member.numpy = word, bits, np.dtype(numpy)
        member._integers = (integers[0], integers[1]) if integers else ()
        return member

    @property
    def integers(self) -> tuple[int, int]:
        """Least and greatest stored integer; raises GraphError for f32."""
        if not self._integers:
            raise GraphError(f"element type must be an integer type, got {self.value}")
        return self._integers


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """Height, width, channels of one activation; there is no batch, and a vector is 1x1xC."""

    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        for name, value in (("height", self.height), ("width", self.width), ("channels", self.channels)):
            if value < 1:
                raise GraphError(f"{name} must be at least 1, got {value}")
        if self.elements > MAX_ELEMENTS:
            raise Unsupported(f"shape must hold at most {MAX_ELEMENTS} elements, got {self}")

    @property
    def pixels(self) -> int:
        """Number of spatial positions."""
        return self.height * self.width

    @property
    def elements(self) -> int:
        """Number of values."""
        return self.height * self.width * self.channels

    @property
    def array(self) -> tuple[int, int, int]:
        """The shape of the NumPy array that holds it."""
        return (self.height, self.width, self.channels)

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels}"


_LEAST_SCALE, _MOST_SCALE = float(np.finfo(np.float32).smallest_subnormal), float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Quant:
    """Per-tensor affine quantisation: real = scale * (stored - zero_point)."""

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise GraphError(f"scale must be a positive number, got {self.scale}")
        if not _LEAST_SCALE <= self.scale <= _MOST_SCALE:
            raise GraphError(f"scale must be within what float32 holds, got {self.scale}")


@dataclass(frozen=True, slots=True)
class TensorType:
    """What one edge of a graph carries: shape, element type, and quantisation (None for float32)."""

    shape: Shape
    dtype: DType = DType.F32
    quant: Quant | None = None

    def __post_init__(self) -> None:
        if self.quant is not None:
            low, high = (0, 0) if self.dtype is DType.I16 else self.dtype.integers
            if not low <= self.quant.zero_point <= high:
                raise GraphError(
                    f"zero point must be within {low}..{high} for {self.dtype.value}, got {self.quant.zero_point}"
                )

    @property
    def pixel_bytes(self) -> int:
        """Bytes of all channels at one spatial position; binary values are eight in a byte."""
        if self.dtype is DType.BINARY:
            return -(-self.shape.channels // 8)
        return self.shape.channels * self.dtype.numpy.itemsize

    @property
    def bytes(self) -> int:
        """Bytes of the full tensor."""
        return self.shape.pixels * self.pixel_bytes


def indices(shape: Shape) -> TensorType:
    """The type of places along an axis: 32-bit integers that are themselves the real values, at scale 1."""
    return TensorType(shape, DType.I32, Quant(1.0, 0))
