"""Where the linear resize of each framework looks, along one axis: a place, and the share of the one behind it.

Places and shares are computed in float32 as the frameworks do; LiteRT's of int8 values in 1024ths.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError
from rillet.ir.nearest import coordinates_of_onnx, places_made
from rillet.ir.types import Shape

Floats = npt.NDArray[np.float32]
Places = tuple[tuple[int, ...], tuple[float, ...]]
"""Along an axis: for each place of the result the first of the two that it lies between, the share of the second."""
PARTS = 1024
"""Shares of 8-bit values are so many parts of one."""
_ONE, _HALF = np.float32(1), np.float32(0.5)


@dataclass(frozen=True, slots=True)
class Interpolate:
    """Linear resizing: each pixel of the result lies between two rows and two columns of its source.

    The one behind has the share given, the first the rest; 8-bit values take shares in 1024ths.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    row_shares: tuple[float, ...]
    column_shares: tuple[float, ...]
    arity = 1

    def __post_init__(self) -> None:
        sides = (("rows", self.rows, self.row_shares), ("columns", self.columns, self.column_shares))
        for what, places, shares in sides:
            if not places or places[0] < 0 or any(a > b for a, b in pairwise(places)):
                raise GraphError(f"{what} of an interpolate must be places that never go back, got {list(places[:9])}")
            if len(shares) != len(places) or not all(0.0 <= share < 1.0 for share in shares):
                raise GraphError(f"{what} of an interpolate must each have a share from 0 to 1, got {list(shares[:9])}")

    @property
    def last_rows(self) -> tuple[int, ...]:
        """For each row of the result, the last one of the source that it comes of."""
        return _last(self.rows, self.row_shares)

    @property
    def last_columns(self) -> tuple[int, ...]:
        """The same of columns."""
        return _last(self.columns, self.column_shares)

    def output_shape(self, source: Shape) -> Shape:
        """The shape that it makes of a map; raises GraphError where a place lies outside of the map."""
        rows, columns = max(self.last_rows), max(self.last_columns)
        if rows >= source.height or columns >= source.width:
            raise GraphError(f"interpolate must look within {source}, got {rows}, {columns}")
        return Shape(len(self.rows), len(self.columns), source.channels)


def parts(shares: Sequence[float]) -> list[int]:
    """Shares as whole 1024ths."""
    return np.rint(np.array(shares) * PARTS).astype(np.int64).tolist()


def _last(places: tuple[int, ...], shares: tuple[float, ...]) -> tuple[int, ...]:
    # A row behind that has no share is not waited for; of one that goes back behind another's, that is.
    made = np.maximum.accumulate([place + (share > 0) for place, share in zip(places, shares, strict=True)])
    return tuple(made.tolist())


def of_tensorflow(length: int, out: int, align_corners: bool = False, half_pixel_centers: bool = False) -> Places:
    """As TensorFlow Lite has it of float32 and uint8 values, by the names of its flags."""
    step = np.float32(length) / np.float32(out)
    if align_corners and out > 1:
        step = np.float32(length - 1) / np.float32(out - 1)
    at = places_made(out)
    return _between((at + _HALF) * step - _HALF if half_pixel_centers else at * step, length)


def of_tensorflow_int8(length: int, out: int, align_corners: bool = False, half_pixel_centers: bool = False) -> Places:
    """As TensorFlow Lite has it of int8 values: in whole 1024ths."""
    step = (PARTS * length + out // 2) // out
    if align_corners and out > 1:
        step = (PARTS * (length - 1) + (out - 1) // 2) // (out - 1)
    at = np.arange(out, dtype=np.int64) * step
    if half_pixel_centers:
        at = at + step // 2 - PARTS // 2
    return _between(at / PARTS, length)


def of_torch(length: int, out: int, factor: float | None, align_corners: bool) -> Places:
    """As PyTorch has it; `factor` is the caller's, None where sizes were given."""
    at = places_made(out)
    if align_corners:
        return _between(at * (np.float32(length - 1) / np.float32(max(out - 1, 1))), length)
    step = np.float32(1 / factor) if factor else np.float32(length) / np.float32(out)
    return _between((at + _HALF) * step - _HALF, length)


def of_onnx(length: int, out: int, coordinates: str, scale: float | None = None) -> Places:
    """As ONNX Runtime has it, by a word of `nearest.COORDINATES`; `scale`: the factor, None where sizes were given."""
    factor = np.float32(out) / np.float32(length) if scale is None else np.float32(scale)
    if factor == 1:
        return _between(places_made(length), length)
    return _between(coordinates_of_onnx(out, length, coordinates, factor), length)


def _between(at: npt.NDArray[np.floating], length: int) -> Places:
    within = np.clip(at, 0, length - 1)
    first = np.floor(within)
    shares = (within - first).astype(np.float64)
    return tuple(first.astype(np.int64).tolist()), tuple(shares.tolist())
