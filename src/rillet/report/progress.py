"""Progress of long calls: the caller's callback, else a bar on a terminal or in a notebook, else nothing."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rillet.system.printable import printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Advance = Callable[[int, int], None]
"""Takes how much is done, and of how much."""


def silent(done: int, total: int) -> None:
    """Shows nothing."""


@contextmanager
def shown(what: str, progress: Advance | None = None, *, at_once: bool = True) -> Generator[Advance]:
    """A callback for the work inside: `progress` if given, else one that moves a bar named `what`.

    The bar is shown on a terminal and in a notebook alone, and goes when the work ends. at_once: it appears before the
    first call of the callback; without, only with it. Inside another bar there is none.
    """
    if progress is not None:
        yield progress
        return
    bar = _Later(printable(what))
    try:
        if at_once:
            bar.show()
        yield bar.advance
    finally:
        bar.close()


class _Later:
    """A bar that appears when it is asked for, where there is a place for one."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._advance: Advance | None = None
        self._bar: AbstractContextManager[Advance] | None = None

    def show(self) -> Advance:
        if self._advance is None:
            display = _notebook_display()
            if display is not None:
                self._bar = _notebook_bar(self._what, display)
            elif sys.stderr.isatty():
                self._bar = _terminal_bar(self._what)
            self._advance = silent if self._bar is None else self._bar.__enter__()
        return self._advance

    def advance(self, done: int, total: int) -> None:
        self.show()(done, total)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


@contextmanager
def _terminal_bar(what: str) -> Generator[Advance]:
    # Where nothing is shown, none of this is waited for.
    from rillet.report.screen import Screen

    if Screen.live:
        yield silent
        return
    from rich.progress import Progress as Bar
    from rich.progress import TextColumn

    _, *columns = Bar.get_default_columns()
    name = TextColumn("{task.description}", markup=False)
    with Bar(name, *columns, console=Screen(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _notebook_bar(what: str, display: Callable[..., Any]) -> Generator[Advance]:
    """HTML's own element, since Rich's bar needs ipywidgets there."""
    from html import escape

    name, last = escape(what), ""

    def page(state: str, number: str) -> dict[str, str]:
        return {"text/html": f"{name} <progress {state}></progress> {number}", "text/plain": f"{what} {number}"}

    handle = display(page("", ""), raw=True, display_id=True)

    def advance(done: int, total: int) -> None:
        nonlocal last
        number = f"{100 * done // max(total, 1)}%"
        if number != last:  # a message to the browser for each percent, not for each step
            handle.update(page(f'value="{done}" max="{total}"', number), raw=True)
            last = number

    try:
        yield advance
    finally:
        handle.update({"text/html": "", "text/plain": ""}, raw=True)


def _notebook_display() -> Callable[..., Any] | None:
    """What shows things in the cells of Jupyter; None outside of a notebook."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    if found is None or type(found).__name__ != "ZMQInteractiveShell":
        return None
    import importlib

    return importlib.import_module("IPython.display").display
