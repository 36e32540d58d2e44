"""Shares of a tile: they cover it once, and evenly where they can."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rillet.ir.types import Shape
from rillet.plan.host.threads import bounds, evenness, pixel_split, share_rows, shares, tiles
from rillet.plan.rows.plan import Split

THREADS = st.integers(1, 8)


@given(st.integers(0, 300), THREADS)
def test_bounds_share_out_everything_in_order(count: int, threads: int) -> None:
    ends = bounds(count, threads)
    assert (ends[0], ends[-1], len(ends)) == (0, count, threads + 1)
    sizes = [end - start for start, end in pairwise(ends)]
    assert max(sizes) - min(sizes) <= 1


def test_evenness_is_the_share_of_time_at_work() -> None:
    assert evenness(8, 2) == 1.0
    assert evenness(7, 2) == 3.5 / 4
    assert evenness(1, 3) == 1 / 3


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16), THREADS)
def test_rows_or_columns_cover_a_map(height: int, width: int, rows: int, threads: int) -> None:
    shape = Shape(height, width, 3)
    tile = min(rows, height) * width
    assert sum(tiles(shape, tile)) == height
    split, even = pixel_split(shape, tile, threads)
    assert 1 / threads <= even + 1e-9
    assert even <= 1.0 + 1e-9
    pieces = list(shares(shape, tile, split, threads))
    assert pieces
    most = width if split is Split.COLUMNS else tile
    assert all(0 < piece <= most for piece in pieces)
    if split is Split.ROWS:
        assert all(piece % width == 0 for piece in pieces)
        assert max(pieces) == share_rows(shape, tile, split, threads) * width
    by_rows = list(shares(shape, tile, split, threads, row_by_row=True))
    assert by_rows == pieces if split is Split.COLUMNS else by_rows == [width]


def test_the_cut_is_the_even_one() -> None:
    assert pixel_split(Shape(112, 112, 16), 112, 2) == (Split.COLUMNS, 1.0)  # one row at a time
    assert pixel_split(Shape(14, 14, 64), 14 * 14, 2) == (Split.ROWS, 1.0)  # short rows
    # The last tile has twelve rows, of which the first thread makes eight as always.
    assert pixel_split(Shape(28, 27, 64), 16 * 27, 2)[0] is Split.COLUMNS
    assert list(shares(Shape(28, 28, 64), 16 * 28, Split.ROWS, 2)) in ([224, 112], [112, 224])
    assert pixel_split(Shape(1, 1, 1000), 1, 4)[1] == 0.25
