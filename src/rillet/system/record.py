"""The base class of results: plain fields, and views (tables, dictionaries, HTML) that report modules register."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class View:
    """How records of one type are shown."""

    to_dict: Callable[[Any], dict[str, Any]]
    """What `--json` prints."""
    table: "Callable[[Any], RenderableType]"
    svg: Callable[[Any], str] | None = None
    """The picture that a notebook shows before the table."""


views: dict[type, View] = {}
"""By type; those of derived types are found under the nearest base."""


def no_views() -> None:
    """Registers nothing: what `load_views` is until the package sets it."""


load_views: Callable[[], None] = no_views
"""Registers all views; the package sets it, so that no lower floor imports a higher one."""


def view(record: object) -> View:
    """The view of a record; raises TypeError where its type has none."""
    found = _registered(type(record))
    if found is None:
        load_views()
        found = _registered(type(record))
    if found is None:
        raise TypeError(f"{type(record).__name__} must have a view in rillet.report.views, got none")
    return found


def _registered(kind: type) -> View | None:
    return next((views[base] for base in kind.__mro__ if base in views), None)


class Record:
    """A result that people look at: as a dictionary, a table, or a cell of a notebook."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The record as `--json` prints it."""
        return view(self).to_dict(self)

    def table(self) -> "RenderableType":
        """The record as the command line prints it: for rich, or as text by `str` and `print`."""
        return view(self).table(self)

    def _repr_html_(self) -> str:
        from io import StringIO

        from rich.console import Console

        found = view(self)
        console = Console(record=True, width=160, file=StringIO(), force_jupyter=False)
        console.print(found.table(self))
        form = '<pre style="white-space:pre;overflow-x:auto;line-height:normal">{code}</pre>'
        picture = found.svg(self) if found.svg else ""
        return picture + console.export_html(inline_styles=True, code_format=form)

    def _repr_svg_(self) -> str | None:
        found = view(self)
        return found.svg(self) if found.svg else None
