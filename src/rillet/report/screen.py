"""The terminal: text from models is escaped, and tables fit the width without cutting a cell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from rillet.system.printable import printable

PIPED = 160
"""Columns to which sentences are wrapped where the output is not a terminal."""
BAR = "cyan"
"""Style of bars: a colour that stands out from a light and from a dark background."""
_GAP = 2


class Screen(Console):
    """A console on which strings are plain text: no markup, no emoji codes, no control characters.

    Rich makes every string that it is given, in a table's cell too, into text here; styles are given by Text objects of
    the program's own. `whole`: tables keep all their columns, however wide they are.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None, whole: bool = False) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
        self.whole = whole

    live = 0
    """Bars and spinners that are on the terminal now."""

    def set_live(self, live: Live) -> bool:
        """As Rich's; counts it."""
        Screen.live += 1
        return super().set_live(live)

    def clear_live(self) -> None:
        """As Rich's; counts it."""
        Screen.live -= 1
        super().clear_live()

    def render_str(self, text: str, **said: Any) -> Text:
        """`text` as it may be shown, in the style and justification that are `said`."""
        said["markup"] = said["emoji"] = False
        return super().render_str(printable(text), **said)

    def draw(self, grid: "Grid") -> None:
        """Prints a table."""
        self.print(grid, crop=not self.whole)


@dataclass(frozen=True, slots=True)
class Column:
    """Heading of a column; words stand left, numbers right."""

    name: str
    words: bool = False
    rank: int = 0
    """0 where the column is always shown; of the others, the highest ranks are left out first."""
    least: int = 0
    """Letters to which cells may be wrapped, between words; 0 where they stay in one line."""


def columns(
    names: Sequence[str], *, words: Sequence[str] = (), leave: Sequence[str] = (), wrap: Sequence[str] = ()
) -> tuple[Column, ...]:
    """Columns by their headings.

    words: those that stand left; leave: those that a narrow screen does without, the first to go first; wrap: those
    whose cells are sentences.
    """
    ranks = {name: len(leave) - at for at, name in enumerate(leave)}
    return tuple(Column(name, name in words, ranks.get(name, 0), 20 if name in wrap else 0) for name in names)


class Grid:
    """Cells in rows that fit the console they are printed on.

    Where all columns are too wide together, those of the highest rank are left out and named below; where what must be
    shown is still too wide, each row becomes a record of a few lines. No cell is ever cut.
    """

    def __init__(
        self, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], *, heading: bool = True
    ) -> None:
        self.columns = tuple(columns)
        self.rows = tuple(tuple(_text(cell) for cell in row) for row in rows)
        self.heading = heading

    def kept(self, room: int) -> tuple[int, ...]:
        """Places of the columns that are shown in a table `room` columns wide; none where rows become records."""
        kept = sorted(range(len(self.columns)), key=lambda at: (self.columns[at].rank, at))
        least = self._widths(least=True)
        while kept and sum(least[at] for at in kept) + _GAP * (len(kept) - 1) > room:
            if not self.columns[kept.pop()].rank:
                return ()
        return tuple(sorted(kept))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not getattr(console, "whole", False):
            kept = self.kept(options.max_width)
            if kept or not self.columns:
                yield self._table(kept, options.max_width)
                left = [column.name.strip() for at, column in enumerate(self.columns) if at not in kept]
                if self.heading and any(left):
                    yield Text(f"not shown: {', '.join(filter(None, left))} (a wider terminal or a pipe shows all)")
            else:
                yield from self._records(options.max_width)
            return
        every = tuple(range(len(self.columns)))
        room = max(options.max_width, sum(self._widths(least=True)) + _GAP * (len(every) - 1))
        yield from console.render(self._table(every, room), options.update(width=room, max_width=room))

    def _widths(self, *, least: bool) -> list[int]:
        """Width of each column with its cells in one line, or wrapped as far as may be."""
        widths: list[int] = []
        for at, column in enumerate(self.columns):
            cells = [row[at] for row in self.rows]
            head = Text(column.name).cell_len if self.heading else 0
            whole = max([head, *(cell.cell_len for cell in cells)])
            if least and column.least:
                words = (Text(word).cell_len for cell in cells for word in cell.plain.split())
                whole = min(whole, max([head, column.least, *words]))
            widths.append(whole)
        return widths

    def _table(self, kept: Sequence[int], room: int) -> RichTable:
        """The columns `kept`; those that may be wrapped give way, the widest first, until all is in `room`."""
        natural, least = self._widths(least=False), self._widths(least=True)
        widths = list(natural)
        while (over := sum(widths[at] for at in kept) + _GAP * (len(kept) - 1) - room) > 0:
            yielding = [at for at in kept if widths[at] > least[at]]
            if not yielding:
                break
            widest = max(yielding, key=lambda at: widths[at])
            widths[widest] -= min(over, widths[widest] - least[widest])
        table = RichTable(box=None, header_style="bold", pad_edge=False, show_header=self.heading)
        for at in kept:
            column = self.columns[at]
            justify = "left" if column.words else "right"
            wrapped = widths[at] < natural[at]
            table.add_column(Text(column.name), justify=justify, no_wrap=not wrapped, width=widths[at] or None)
        for row in self.rows:
            table.add_row(*(row[at] for at in kept))
        return table

    def _records(self, room: int) -> Iterator[Text | Padding]:
        """Each row as a record: its first cell, then the others behind their headings, as many in a line as fit."""
        for row in self.rows:
            yield Text(row[0].plain, "bold", overflow="fold")
            line = ""
            for column, cell in zip(self.columns[1:], row[1:], strict=True):
                pair = f"{column.name.strip() if self.heading else ''} {cell.plain.strip()}".strip()
                if not cell.plain.strip():
                    continue
                if line and Text(f"{line}; {pair}").cell_len > room - _GAP:
                    yield Padding(Text(line, overflow="fold"), (0, 0, 0, _GAP), expand=False)
                    line = pair
                else:
                    line = f"{line}; {pair}" if line else pair
            if line:
                yield Padding(Text(line, overflow="fold"), (0, 0, 0, _GAP), expand=False)


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell))
