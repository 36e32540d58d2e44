"""The public exceptions; each message is one sentence that begins with the file, node or key at fault."""

from collections.abc import Generator
from contextlib import contextmanager


class RilletError(Exception):
    """Base of all errors that a user can cause; the command line prints it and exits with 1.

    Its message is one line: what names of a file hold that shows nothing, or moves what is shown, is written out.
    """

    def __str__(self) -> str:
        """The message; system/printable.py, which lies above, says more of what a terminal would obey."""
        text = super().__str__()
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class GraphError(RilletError):
    """A network, a model file or an image that is not well formed."""


class TargetError(RilletError):
    """A machine, or a budget on one, that cannot be met or is not well formed."""


class Unsupported(RilletError):
    """Something well formed that Rillet does not handle here (yet)."""


class BuildError(RilletError):
    """A compiler that is missing or that refuses the emitted program."""


@contextmanager
def about(graph: str, node: str) -> Generator[None]:
    """Errors within are about this node of this graph, and begin with both where they do not yet."""
    where = f"{graph}: {node}: "
    try:
        yield
    except RilletError as error:
        said = str(error.args[0])
        raise type(error)(said if said.startswith(where) else f"{where}{said}") from None


class RilletWarning(UserWarning):
    """What a user should know and nothing stops for; the command line prints it as a sentence of its own."""
