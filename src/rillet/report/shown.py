"""Output of the reports, captured as a rich renderable that is also plain text."""

from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

from rillet.report.screen import Screen

WIDTH = 160
"""Of the text form: tables keep their full width."""


class _Collected(Screen):
    """A console that keeps what is printed."""

    def __init__(self) -> None:
        super().__init__(width=WIDTH)
        self.kept: list[RenderableType] = []

    def print(self, *objects: Any, **_: Any) -> None:
        """Keeps the objects."""
        self.kept += objects


@dataclass(frozen=True, slots=True, repr=False)
class Shown:
    """What `show` prints on a screen: text from outside stays text wherever it is rendered."""

    show: Callable[[Screen], None]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        collected = _Collected()
        self.show(collected)
        screen = Screen(width=options.max_width)
        for one in collected.kept:
            shown = screen.render_str(one) if isinstance(one, str) else one
            yield from screen.render(shown, options)

    def __str__(self) -> str:
        out = StringIO()
        Console(file=out, width=WIDTH, force_terminal=False, color_system=None).print(self)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        console = Console(record=True, width=WIDTH, file=StringIO(), force_jupyter=False)
        console.print(self)
        form = '<pre style="white-space:pre;overflow-x:auto;line-height:normal">{code}</pre>'
        return console.export_html(inline_styles=True, code_format=form)
