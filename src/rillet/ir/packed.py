"""Ternary and binary weights as bytes: planes of bits, or lists of the gaps between the weights that are not zero.

Rows are output channels. A plane has a bit for each weight of a row, the least significant first, and whole bytes a
row. Ternary rows have two planes, those of + and those of -; binary ones have that of +. A list is a byte for each
weight that counts: its distance from the one before (from -1 for the first); SKIP stands for a distance of SKIP - 1
with no weight at its end, and 0 ends the list. A row has two lists, of + and of -.
"""

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError
from rillet.ir.types import DType

Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int8]
SKIP = 255
MAX_LISTED = 2**28
"""Most weights that lists are unpacked to: a few bytes may stand for any number of zeros."""


def to_planes(rows: Rows, dtype: DType) -> Bytes:
    """Planes of rows x depth weights, one row after another."""
    plus = np.packbits(rows > 0, axis=1, bitorder="little")
    if dtype is DType.BINARY:
        return plus.reshape(-1)
    minus = np.packbits(rows < 0, axis=1, bitorder="little")
    return np.stack((plus, minus), 1).reshape(-1)


def from_planes(data: Bytes, shape: tuple[int, int], dtype: DType) -> Rows:
    """Rows x depth weights out of their planes; raises GraphError where the bytes are no such planes."""
    rows, depth = shape
    planes, row_bytes = 1 if dtype is DType.BINARY else 2, -(-depth // 8)
    if data.size != rows * planes * row_bytes:
        raise GraphError(
            f"planes of {rows} x {depth} weights must be {rows * planes * row_bytes} bytes, got {data.size}"
        )
    bits = np.unpackbits(data.reshape(rows, planes, row_bytes), axis=2, bitorder="little")
    if bits[:, :, depth:].any():
        raise GraphError("bits behind the last weight of a row must be 0")
    plus, minus = bits[:, 0, :depth], bits[:, -1, :depth]
    if planes == 1:
        return np.where(plus == 1, 1, -1).astype(np.int8)
    if (plus & minus).any():
        raise GraphError("a ternary weight must not be both + and -")
    return plus.astype(np.int8) - minus.astype(np.int8)


def to_lists(rows: Rows) -> Bytes:
    """Lists of rows x depth weights, one row after another."""
    return np.concatenate([_gaps(row == sign) for row in rows for sign in (1, -1)])


def to_smallest(rows: Rows, dtype: DType) -> tuple[str, Bytes]:
    """The smaller of `planes` and `lists`, by this word; binary weights are always planes."""
    planes = to_planes(rows, dtype)
    lists = planes if dtype is DType.BINARY or rows.size > MAX_LISTED else to_lists(rows)
    return ("lists", lists) if lists.size < planes.size else ("planes", planes)


def _gaps(there: npt.NDArray[np.bool_]) -> Bytes:
    gaps = np.diff(np.flatnonzero(there), prepend=-1)
    skips = (gaps - 1) // (SKIP - 1)
    out = np.full(int(skips.sum()) + len(gaps) + 1, SKIP, np.uint8)
    out[np.cumsum(skips + 1) - 1] = gaps - skips * (SKIP - 1)
    out[-1] = 0
    return out


def from_lists(data: Bytes, shape: tuple[int, int]) -> Rows:
    """Rows x depth ternary weights out of their lists; raises GraphError where the bytes are no such lists."""
    rows, depth = shape
    if rows * depth > MAX_LISTED:
        raise GraphError(f"lists must stand for at most {MAX_LISTED} weights, got {rows * depth}")
    ends = np.flatnonzero(data == 0)
    if len(ends) != 2 * rows or not data.size or data[-1] != 0:
        raise GraphError(f"lists of {rows} rows must be {2 * rows}, each ended by 0, got {len(ends)}")
    steps = np.where(data == SKIP, SKIP - 1, data).astype(np.int64)
    total = np.cumsum(steps)
    number = np.searchsorted(ends, np.arange(data.size), side="left")
    before = np.concatenate(([0], total[ends[:-1]]))
    place = total - before[number] - 1
    counts = (data != 0) & (data != SKIP)
    if (place[data != 0] >= depth).any():
        raise GraphError(f"weights of a list must lie within {depth}, got one at {int(place.max())}")
    out = np.zeros((2, rows, depth), np.int8)
    sign, row = number[counts] % 2, number[counts] // 2
    out[sign, row, place[counts]] = 1
    if (out[0] & out[1]).any():
        raise GraphError("a ternary weight must not be both + and -")
    return out[0] - out[1]
