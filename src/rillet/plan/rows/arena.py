"""Arena allocation: offsets such that buffers live in the same segment do not overlap, in-place aliases excepted."""

from collections.abc import Sequence
from dataclasses import dataclass

from rillet.plan.rows.plan import BufferKind, Planes, stored_bytes

ALIGNMENT = 4
"""Bytes: int32 sums and int16 im2col values need it, and int8 rings lose at most 3 bytes to it."""


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


def place(chains: Sequence[Chain]) -> dict[str, int]:
    """An offset for every piece: first fit, in several orders, the smallest arena taken."""
    orders = (
        sorted(chains, key=lambda c: -c.bytes),
        sorted(chains, key=lambda c: (-len(c.members), -c.bytes)),
        sorted(chains, key=lambda c: (c.members[0][0].kind is not BufferKind.MAP, -c.bytes)),
        sorted(chains, key=lambda c: (c.members[0][0].first, -c.bytes)),
        # What ends in bytes that only align what comes after it, comes last.
        sorted(chains, key=lambda c: (c.members[0][0].bytes - c.members[0][0].used, -c.bytes)),
    )
    return min((first_fit(order) for order in orders), key=lambda placed: placed[0])[1]


def first_fit(order: Sequence[Chain]) -> tuple[int, dict[str, int]]:
    """Each chain in its turn at the lowest place where it meets no earlier one: the arena's bytes, and the offsets."""
    placed: list[tuple[Piece, int, int]] = []
    for chain in order:
        # Each piece that is there keeps the chain's base out of an open interval.
        taken = [
            (at - offset - size, end - offset)
            for piece, offset, size in ((piece, offset, piece.bytes) for piece, offset in chain.members)
            for other, at, end in placed
            if piece.first <= other.last and other.first <= piece.last
        ]
        base = -chain.floor
        for low, high in sorted(taken):
            if low >= base:
                break
            base = max(base, high)
        placed += [(piece, base + offset, base + offset + piece.bytes) for piece, offset in chain.members]
    end = max(at + piece.used for piece, at, _ in placed)
    return end, {piece.name: at for piece, at, _ in placed}
