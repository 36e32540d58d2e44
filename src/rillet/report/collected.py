"""What a report prints on a screen, collected as tables: the same cells as CSV or Markdown, and sentences as notes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.text import Text

from rillet.report.screen import PIPED, Column, Grid, Screen
from rillet.report.tables import Table, as_csv, as_markdown

_BAR = "█"


class _Collector(Screen):
    """Prints nothing, and keeps the tables that it is given."""

    def __init__(self) -> None:
        super().__init__(width=PIPED, whole=True)
        self.tables: list[Table] = []
        self._lines: list[str] = []

    def draw(self, grid: Grid) -> None:
        """Keeps a table; sentences before the first stand below it."""
        shown = [at for at, column in enumerate(grid.columns) if not _bars(column, [row[at] for row in grid.rows])]
        rows = tuple(tuple(row[at].plain.strip() for at in shown) for row in grid.rows)
        self.tables.append(Table(tuple(grid.columns[at] for at in shown), rows, tuple(self._lines)))
        self._lines = []

    def print(self, *objects: Any, **_: Any) -> None:
        """Keeps a sentence as a note of the table above it."""
        lines = [one.plain if isinstance(one, Text) else str(one) for one in objects]
        if self.tables:
            self.tables[-1] = replace(self.tables[-1], notes=(*self.tables[-1].notes, *lines))
        else:
            self._lines += lines


def _bars(column: Column, cells: Sequence[Text]) -> bool:
    """Whether a column has bars alone, which say what the numbers beside them say."""
    return not column.name.strip() and any(_BAR in cell.plain for cell in cells)


def tables(show: Callable[[Screen], object]) -> tuple[Table, ...]:
    """The tables that `show` draws; none where it prints sentences alone."""
    collector = _Collector()
    show(collector)
    return tuple(collector.tables)


def fields(record: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Table:
    """A row for each record (or one): its fields that are numbers, words or lists of words, under their keys."""
    rows = [record] if isinstance(record, Mapping) else list(record)
    keys = [key for key, value in rows[0].items() if _plain(value)] if rows else []
    columns = tuple(Column(key, words=not all(_number(row[key]) for row in rows)) for key in keys)
    return Table(columns, tuple(tuple(_cell(row[key]) for key in keys) for row in rows))


def _plain(value: object) -> bool:
    """Whether a value fits a cell."""
    if isinstance(value, list | tuple):
        words: Sequence[object] = value
        return all(isinstance(one, str) for one in words)
    return not isinstance(value, Mapping)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        words: Sequence[object] = value
        return ", ".join(str(one) for one in words)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def written(found: Sequence[Table], *, csv: bool) -> str:
    """Tables as comma-separated values or as Markdown, an empty line between them."""
    return "\n".join((as_csv if csv else as_markdown)(table) for table in found)
