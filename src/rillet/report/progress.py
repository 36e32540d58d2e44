"""Progress of what takes a while: a caller's callback, else a bar on a terminal or in a notebook."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rillet.system.printable import printable

Advance = Callable[[int, int], None]
"""Takes how much is done, and of how much."""


def silent(done: int, total: int) -> None:
    """Shows nothing."""


@contextmanager
def shown(what: str, progress: Advance | None = None) -> Generator[Advance]:
    """What is to be told of progress: `progress` if there is one, else a bar named `what`, gone when all is done."""
    if progress is not None:
        yield progress
        return
    if not (sys.stderr.isatty() or _in_notebook()):
        yield silent
        return
    from rich.progress import Progress as Bar
    from rich.progress import TextColumn

    from rillet.report.screen import Screen

    _, *columns = Bar.get_default_columns()
    name = TextColumn("{task.description}", markup=False)
    with Bar(name, *columns, console=Screen(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _in_notebook() -> bool:
    """True in a kernel of Jupyter, whose cells show bars."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    return found is not None and type(found).__name__ == "ZMQInteractiveShell"
