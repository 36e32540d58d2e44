"""Arena allocation: offsets such that buffers live in the same segment do not overlap, in-place aliases excepted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.plan.rows.plan import BufferKind, Planes, stored_bytes

Indices = npt.NDArray[np.int64]

ALIGNMENT = 4
"""Bytes: int32 sums and int16 im2col values need it, and int8 rings lose at most 3 bytes to it."""
MOST_PLACED = 4000
"""Pieces placed again for a smaller arena: some dozens of times in a usual network, a few in a very large one."""


def align(size: int, alignment: int = ALIGNMENT) -> int:
    """`size` rounded up to the alignment."""
    return -(-size // alignment) * alignment


@dataclass(frozen=True, slots=True)
class Piece:
    """A buffer without its offset; alive from segment `first` to `last`."""

    name: str
    kind: BufferKind
    pixels: int
    pixel_bytes: int
    first: int
    last: int
    alignment: int = ALIGNMENT
    planes: Planes | None = None

    @property
    def bytes(self) -> int:
        """Size in the arena, alignment included."""
        return align(self.used, self.alignment)

    @property
    def used(self) -> int:
        """Size without alignment: all that the last buffer of an arena takes."""
        return stored_bytes(self.pixels, self.pixel_bytes, self.planes)


@dataclass(frozen=True, slots=True)
class Chain:
    """Pieces with fixed distances between them, as (piece, offset from the chain's origin)."""

    members: tuple[tuple[Piece, int], ...]

    @property
    def bytes(self) -> int:
        """Size of the largest member."""
        return max(piece.bytes for piece, _ in self.members)

    @property
    def floor(self) -> int:
        """Offset of the lowest member."""
        return min(offset for _, offset in self.members)


def place(chains: Sequence[Chain], enough: int = 0) -> dict[str, int]:
    """An offset for every piece: first fit in several orders, the smallest arena taken.

    Where that takes more than `enough` bytes, what lay at its end is placed before all else, and again, some times.
    """
    used, at, order = min(((*first_fit(order), order) for order in orders(chains)), key=lambda placed: placed[0])
    best, found = used, at
    for _ in range(MOST_PLACED // len(at)):
        if best <= enough:
            break
        last = next(i for i, c in enumerate(order) if any(at[p.name] + p.used == used for p, _ in c.members))
        order = [order[last], *order[:last], *order[last + 1 :]]
        used, at = first_fit(order)
        if used < best:
            best, found = used, at
    return found


def orders(chains: Sequence[Chain]) -> tuple[list[Chain], ...]:
    """The orders in which they are placed."""
    return (
        sorted(chains, key=lambda c: -c.bytes),
        sorted(chains, key=lambda c: (-len(c.members), -c.bytes)),
        sorted(chains, key=lambda c: (c.members[0][0].kind is not BufferKind.MAP, -c.bytes)),
        sorted(chains, key=lambda c: (c.members[0][0].first, -c.bytes)),
        # What ends in bytes that only align what comes after it, comes last.
        sorted(chains, key=lambda c: (c.members[0][0].bytes - c.members[0][0].used, -c.bytes)),
    )


def first_fit(order: Sequence[Chain]) -> tuple[int, dict[str, int]]:
    """The bytes that they take and their offsets: each chain in turn at the lowest place that is free."""
    count = sum(len(chain.members) for chain in order)
    first, last, begin, end = np.zeros((4, count), np.int64)
    placed: dict[str, int] = {}
    used = 0
    for chain in order:
        lows, highs = list[Indices](), list[Indices]()
        for piece, offset in chain.members:
            done = len(placed)
            beside = (first[:done] <= piece.last) & (piece.first <= last[:done])
            # The origins at which this member would lie over one that lives when it does.
            lows.append(begin[:done][beside] - offset - piece.bytes)
            highs.append(end[:done][beside] - offset)
        base = _lowest(-chain.floor, np.concatenate(lows), np.concatenate(highs))
        for piece, offset in chain.members:
            at, i = base + offset, len(placed)
            first[i], last[i], begin[i], end[i] = piece.first, piece.last, at, at + piece.bytes
            placed[piece.name] = at
            used = max(used, at + piece.used)
    return used, placed


def _lowest(least: int, lows: Indices, highs: Indices) -> int:
    """The least number from `least` on that lies between no low and its high."""
    order = lows.argsort()
    ends = np.maximum.accumulate(np.concatenate([[least], highs[order]]))
    free = np.append(lows[order] >= ends[:-1], True)
    return int(ends[free.argmax()])
