"""Tables on narrow screens: what is shown is whole, what is not is named, and no line is too long."""

import io
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import cache
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from rillet.cli import main
from rillet.report import bench, profile, quantization
from rillet.report.screen import Column, Grid, Screen
from rillet.runtime.quantization import Compared, LayerError

NETWORK = "mobilenet_v2:width=0.35,resolution=32,seed=0"
SMALL = "mobilenet_v1:width=0.25,resolution=32,seed=0"
COMMANDS = [
    f"show {NETWORK}", f"count {NETWORK}", f"count {NETWORK} --by layer", f"explain {NETWORK}",
    f"explain {NETWORK} --layer block3.depthwise", f"compare {NETWORK} mobilenet_v1:width=0.25,resolution=32", "models",
    f"plan {NETWORK}", f"plan {NETWORK} --multipliers 512 --devices 2 --ideal", f"simulate {NETWORK} --multipliers 512",
    f"systolic {NETWORK}", f"energy {NETWORK}", f"fit {SMALL}", f"fit {NETWORK} --all",
    f"cost {NETWORK} --target zcu102 --target nano33ble --target systolic_64x64", f"compress {SMALL}",
    f"table impossible {NETWORK}", f"table recompute {NETWORK}", f"table narrow {NETWORK}", f"table chips {NETWORK}",
    "table microjoule", "doctor",
]  # fmt: skip
"""Commands that print tables; those that measure or train have theirs made below."""
BARS = {"█" * length for length in range(1, 40)}


@cache
def grids() -> list[tuple[str, Grid]]:
    """Every table that is printed, with the command that prints it."""
    found: list[tuple[str, Grid]] = []
    for words in COMMANDS:
        before = len(found)
        with ExitStack() as stack:
            stack.enter_context(patch.object(Screen, "draw", lambda _, grid, words=words: found.append((words, grid))))
            stack.enter_context(patch.object(sys, "argv", ["rillet", *words.split()]))
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(redirect_stderr(io.StringIO()))
            stack.enter_context(pytest.raises(SystemExit))
            main()
        assert len(found) > before, words
    row = (
        "onnxruntime 1.23.2",
        "int8",
        "2",
        "16",
        "112.345",
        "113.456",
        "1.34 x",
        "1.21-1.44",
        "123.4",
        "78.9%",
        "1,234.5",
    )
    found.append(("bench", Grid(bench._COLUMNS, [(*row, "1,234.5", "129.345", "1,301.2", "12 steps", "97 of 100")])))
    row = ("block13.depthwise", "depthwise 3x3 /2 relu6", "0.123", "12.3%", "█" * 24, "1,234,567", "9.87", "12.3%")
    found.append(("profile", Grid(profile._COLUMNS, [(*row, "1,234.5", "9.87", "1,024")])))
    compared = quantization.comparison([Compared("fixed_point", "percentile", 0.71, 1.23, 3_400_000, 3_500_000)])
    found.append(("quantize --compare", Grid(compared.columns, compared.rows)))
    layers = quantization.layers([LayerError("block13.depthwise", 31.2, 12.3)])
    found.append(("quantize --layer-errors", Grid(layers.columns, layers.rows)))
    return found


def printed(grid: Grid, width: int, whole: bool = False) -> list[str]:
    """The lines of a table on a screen of this width."""
    console = Screen(width=width, whole=whole)
    with console.capture() as got:
        console.draw(grid)
    return got.get().splitlines()


def check(grid: Grid, width: int) -> None:
    """Lines are not too long; every cell of a column that is not named as left out stands whole in its row."""
    lines = printed(grid, width)
    assert all(Text(line).cell_len <= width for line in lines), (width, lines)
    everything = " ".join(" ".join(lines).split())
    missing = everything.partition("not shown: ")[2].partition(" (a wider")[0].split(", ")
    at = 0
    kept = grid.kept(width)
    assert not kept or all(column.rank for i, column in enumerate(grid.columns) if i not in kept)
    squeezed = "".join("".join(lines).split())
    for row in grid.rows:
        tokens = {t for i in kept or range(len(row)) for t in row[i].plain.replace(";", " ").split()} - BARS
        long = {token for token in tokens if Text(token).cell_len > width - 2}  # no screen of this width has room
        assert all(token in squeezed for token in long)
        left, begin = tokens - long, at
        while left or at == begin:
            assert at < len(lines), (width, left, lines)
            left -= set(lines[at].replace(";", " ").split())
            at += 1
    if kept and grid.heading:
        names = {grid.columns[i].name.strip() for i in range(len(grid.columns)) if i not in kept}
        assert {name for name in missing if name} == {name for name in names if name}


def test_every_table_fits_every_screen() -> None:
    for words, grid in grids():
        for width in (40, 60, 80, 120):
            try:
                check(grid, width)
            except AssertionError as error:
                raise AssertionError(words) from error


def test_tables_keep_what_matters_at_80_columns() -> None:
    """A table of 80 columns is a table, with a name and three numbers at least; below, rows may be records."""
    for words, grid in grids():
        if grid.heading and words != "models":
            assert len(grid.kept(80)) >= min(3, len(grid.columns)), words


def test_a_pipe_gets_every_column_in_full() -> None:
    for words, grid in grids():
        lines = printed(grid, 160, whole=True)
        cells = [row[at].plain for row in grid.rows for at, column in enumerate(grid.columns) if not column.least]
        assert all(cell in "\n".join(lines) for cell in cells), words
        assert not any(line.startswith("not shown") for line in lines), words


LABELS = st.text("abcdefg.", min_size=1, max_size=18)
CELLS = st.one_of(st.integers(0, 10**12).map(lambda n: f"{n:,}"), LABELS)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_tables_fit(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 9))
    ranks = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    columns = [Column(f"c{at}", data.draw(st.booleans()), rank) for at, rank in enumerate(ranks)]
    rows = data.draw(st.lists(st.lists(CELLS, min_size=count, max_size=count), min_size=1, max_size=4))
    check(Grid(columns, rows), data.draw(st.sampled_from((40, 60, 80, 120))))


def test_the_highest_ranks_leave_first() -> None:
    columns = (Column("a", True), Column("b", rank=1), Column("c", rank=3), Column("d", rank=2))
    grid = Grid(columns, [("x" * 10, "1" * 10, "2" * 10, "3" * 10)])
    assert [grid.kept(room) for room in (46, 45, 33, 21, 9)] == [(0, 1, 2, 3), (0, 1, 3), (0, 1), (0,), ()]
    assert printed(grid, 14)[0].strip() == "a", "one column is a table still"
    grid = Grid((Column("a", True), Column("b"), Column("c")), [("x" * 10, "1" * 8, "2" * 8)])
    lines = ["x" * 10, "  b " + "1" * 8, "  c " + "2" * 8]
    assert [line.rstrip() for line in printed(grid, 14)] == lines


def test_colours_are_left_out_where_they_are_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid((Column("a", True), Column("", True)), [("x", Text("██", "cyan"))])
    out = io.StringIO()
    monkeypatch.setenv("TERM", "xterm-256color")
    Console(file=out, force_terminal=True, width=80, color_system="standard").print(grid)
    assert "\x1b[36m" in out.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = io.StringIO()
    Console(file=plain, force_terminal=True, width=80, color_system="standard").print(grid)
    assert "\x1b[36m" not in plain.getvalue() and "██" in plain.getvalue()
