"""Arena allocation: offsets such that buffers live in the same segment do not overlap, in-place aliases excepted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rillet.plan.rows.plan import BufferKind, Planes, stored_bytes

Span = tuple[int, int]
"""Begin and end of bytes, the end not among them."""

ALIGNMENT = 4
"""Bytes: int32 sums and int16 im2col values need it, and int8 rings lose at most 3 bytes to it."""
MOST_PLACED = 4000
"""Pieces placed again for a smaller arena: some dozens of times in a usual network, a few in a very large one."""


def align(size: int, alignment: int = ALIGNMENT) -> int:
    """`size` rounded up to the alignment."""
    return -(-size // alignment) * alignment


@dataclass(frozen=True)
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

    @cached_property
    def bytes(self) -> int:
        """Size in the arena, alignment included."""
        return align(self.used, self.alignment)

    @cached_property
    def used(self) -> int:
        """Size without alignment: all that the last buffer of an arena takes."""
        return stored_bytes(self.pixels, self.pixel_bytes, self.planes)


@dataclass(frozen=True)
class Chain:
    """Pieces with fixed distances between them, as (piece, offset from the chain's origin)."""

    members: tuple[tuple[Piece, int], ...]

    @cached_property
    def bytes(self) -> int:
        """Size of the largest member."""
        return max(piece.bytes for piece, _ in self.members)

    @cached_property
    def span(self) -> int:
        """Bytes that it takes by itself."""
        return max(offset + piece.used for piece, offset in self.members) - self.floor

    @cached_property
    def floor(self) -> int:
        """Offset of the lowest member."""
        return min(offset for _, offset in self.members)


def place(chains: Sequence[Chain], enough: int = 0) -> dict[str, int]:
    """An offset for every piece: first fit in several orders, the smallest arena taken.

    Where that takes more than `enough` bytes, what lay at its end is placed before all else, and again, some times.
    No arena is smaller than its widest chain, so one that is no larger ends the search, too.
    """
    enough = max(enough, *(chain.span for chain in chains))
    trials = list[tuple[int, dict[str, int], list[Chain]]]()
    for trial in orders(chains):
        trials.append((*first_fit(trial), trial))
        if trials[-1][0] <= enough:
            return trials[-1][1]
    used, at, order = min(trials, key=lambda made: made[0])
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
    segments = 1 + max(piece.last for chain in order for piece, _ in chain.members)
    taken: list[list[Span]] = [[] for _ in range(segments)]
    placed: dict[str, int] = {}
    used = 0
    for chain in order:
        barred: list[Span] = []
        for piece, offset in chain.members:
            size = offset + piece.bytes
            for spans in taken[piece.first : piece.last + 1]:
                # The origins at which this member would lie over what lives when it does.
                barred += [(begin - size, end - offset) for begin, end in spans]
        base = _lowest(-chain.floor, barred)
        for piece, offset in chain.members:
            at = placed[piece.name] = base + offset
            used = max(used, at + piece.used)
            for i in range(piece.first, piece.last + 1):
                taken[i] = _joined(taken[i], at, at + piece.bytes)
    return used, placed


def _lowest(least: int, barred: list[Span]) -> int:
    """The least number from `least` on that lies within none of the spans."""
    for low, high in sorted(barred):
        if low >= least:
            break
        least = max(least, high)
    return least


def _joined(spans: list[Span], begin: int, end: int) -> list[Span]:
    """Spans in order with one more, those that touch as one."""
    before = [span for span in spans if span[1] < begin]
    behind = [span for span in spans if span[0] > end]
    among = spans[len(before) : len(spans) - len(behind)]
    if among:
        begin, end = min(begin, among[0][0]), max(end, among[-1][1])
    return [*before, (begin, end), *behind]
