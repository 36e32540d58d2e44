"""How threads share the tiles of a stage: by rows, columns or output channels, whichever is even."""

from collections.abc import Iterator
from itertools import pairwise

from rillet.ir.types import Shape
from rillet.plan.rows.plan import Split

MAX_THREADS = 64
LEAST_EVEN = 0.85
"""Rows or columns that are shared out less evenly than this give way to channels."""
_WIDE = 14
"""Columns of a share from which on it is as good as whole rows: register tiles are so long."""


def bounds(count: int, threads: int) -> list[int]:
    """Where the share of each thread begins, and the end: as rillet_share() of kernels/threads.h has it."""
    return [count * part // threads for part in range(threads + 1)]


def evenness(count: int, threads: int) -> float:
    """Share of the threads' time that is work, where `count` equal pieces are shared out."""
    return count / threads / -(-count // threads)


def tile_rows(shape: Shape, tile_pixels: int) -> int:
    """Rows of a full tile of a map of this shape."""
    return tile_pixels // shape.width


def tiles(shape: Shape, tile_pixels: int) -> list[int]:
    """Rows of each tile of a map."""
    rows = tile_rows(shape, tile_pixels)
    return [min(rows, shape.height - at) for at in range(0, shape.height, rows)]


def pixel_split(shape: Shape, tile_pixels: int, threads: int) -> tuple[Split, float]:
    """Rows or columns for a map made in such tiles, and how even the shares are.

    It depends on nothing else, so that a stage finds the pixels that it alone needs where its own thread made them.
    """
    # A last tile of fewer rows is cut where the others are: slots of a ring belong to one thread.
    ends = bounds(tile_rows(shape, tile_pixels), threads)
    made = tiles(shape, tile_pixels)
    most = max(sum(max(0, min(end, n) - start) for n in made) for start, end in pairwise(ends))
    by_rows, by_columns = shape.height / threads / most, evenness(shape.width, threads)
    if by_columns > by_rows or (by_columns == by_rows and shape.width >= _WIDE * threads):
        return Split.COLUMNS, by_columns
    return Split.ROWS, by_rows


def shares(shape: Shape, tile_pixels: int, split: Split, threads: int, *, row_by_row: bool = False) -> Iterator[int]:
    """Pixels that a thread makes in one piece, for each thread and each size of a tile; no piece is longer than a row
    where it makes them row by row.
    """
    if split is Split.COLUMNS:
        ends = bounds(shape.width, threads)
        yield from {end - start for start, end in pairwise(ends)} - {0}
        return
    if row_by_row:
        yield shape.width
        return
    sizes = set(tiles(shape, tile_pixels))
    if split is not Split.ROWS:
        yield from {size * shape.width for size in sizes}
        return
    ends = bounds(tile_rows(shape, tile_pixels), threads)
    found = {min(end, n) - start for n in sizes for start, end in pairwise(ends)}
    yield from {n * shape.width for n in found if n > 0}


def share_rows(shape: Shape, tile_pixels: int, split: Split, threads: int) -> int:
    """Most rows of a tile of which one thread makes pixels."""
    rows = tile_rows(shape, tile_pixels)
    return -(-rows // threads) if split is Split.ROWS else rows
