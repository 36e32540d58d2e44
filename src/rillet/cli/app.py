"""What the commands share: the application, options, opening a model, printing, progress."""

import io
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rillet.cli.ending import run
from rillet.errors import GraphError, RilletError
from rillet.system.options import at_most_one
from rillet.system.printable import json_text, printable

if TYPE_CHECKING:
    from rillet.api.networks import Model, Preprocessing
    from rillet.report.screen import Screen


class _Commands(TyperGroup):
    """The commands; what they say of wrong words says these words as they may be shown."""

    def make_context(self, *args: Any, **said: Any) -> Any:
        """As the group does."""
        with _shown():
            return super().make_context(*args, **said)

    def invoke(self, ctx: Any) -> Any:
        """As the group does."""
        with _shown():
            return super().invoke(ctx)


@contextmanager
def _shown() -> Generator[None]:
    """Writes out what a terminal would obey in the message of a usage error, which repeats what was typed."""
    try:
        yield
    except RilletError:
        raise
    except Exception as error:
        message = getattr(error, "message", None)
        if isinstance(message, str):
            error.message = printable(message, keep="\n")  # pyright: ignore[reportAttributeAccessIssue]
        raise


app = typer.Typer(
    cls=_Commands,
    name="rillet",
    help="Runs convolutional networks as streams: pixels flow in, every layer fires as soon as its window is there.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

MODEL_HELP = (
    "A .tflite, .onnx or .rlt file, hub:NAME, or one of the zoo such as mobilenet_v2:width=0.5 (rillet models)."
)
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="A checkpoint for a network of the zoo.")
]
DATA = "cifar10[:DIR]|cifar100[:DIR]|tiny-imagenet|imagefolder:DIR|vww:DIR|DIR"
ClassesOption = Annotated[
    str | None, typer.Option("--classes", metavar="NAME,...", help="Only these, or outdoor, indoor, combined.")
]
BitsOption = Annotated[
    int | None, typer.Option("--bits", help="Bits of a weight and of an activation; those of the network if not said.")
]


def main() -> None:
    """Runs the command line; an error that a user can cause is one sentence and exit code 1, Ctrl-C 130."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal in another encoding lacks
    raise SystemExit(run(app))


def parse_size(text: str, option: str = "--ram") -> int:
    """Bytes from `65536`, `64KiB`, `64kB` or `1.5MiB`; raises TargetError for anything else."""
    from rillet.api.checks import size

    found = size(text, option)
    assert found is not None
    return found


def make_console() -> "Screen":
    """A console for results."""
    from rillet.report.screen import Screen

    # Tables keep their full width where the output is not a terminal.
    return Screen() if sys.stdout.isatty() else Screen(width=160)


def say(text: str) -> None:
    """A line on standard output, whatever names it holds."""
    print(printable(text))


def warn(text: str) -> None:
    """A line on standard error, whatever names it holds."""
    print(f"rillet: {printable(text)}", file=sys.stderr)


def print_json(record: dict[str, Any] | list[dict[str, Any]]) -> None:
    """A record, or a list of them, on standard output."""
    print(json_text(record))


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers from `127.5` or `123.7,116.3,103.5`; raises GraphError for anything else."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise GraphError(f"{option} must be a number, or one a channel with commas between, got {text!r}") from None


def names(text: str | None) -> tuple[str, ...]:
    """Names from `cat,dog`; none where nothing was said."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def one_form(csv: bool, markdown: bool, json_output: bool) -> None:
    """Raises GraphError where a table is asked for in two forms at once."""
    at_most_one({"--csv": csv, "--markdown": markdown, "--json": json_output})


def one_of(option: str, word: str, words: tuple[str, ...]) -> str:
    """`word` if it is one of `words`; raises GraphError if not."""
    if word not in words:
        raise GraphError(f"{option} must be one of {', '.join(words)}, got {word!r}")
    return word


def open_named(name: str, said: "Preprocessing | None" = None, weights: Path | None = None) -> "Model":
    """The model, with a progress bar where it must be downloaded."""
    from rillet.api.networks import opened

    if not name.startswith("hub:"):
        return opened(name, said, weights)
    with Progress(name, 1, hidden=False) as advance:
        return opened(name, said, weights, lambda done, total: advance(done, total))


def write(path: Path, text: str) -> None:
    """A text file; raises BuildError where it cannot be written."""
    from rillet.api.networks import write_text

    write_text(path, text)


def status(what: str) -> "AbstractContextManager[object]":
    """A spinner on standard error, where that is a terminal."""
    from rich.text import Text

    from rillet.report.screen import Screen

    return Screen(stderr=True).status(Text(printable(what))) if sys.stderr.isatty() else nullcontext()


class Progress:
    """A progress bar on standard error, shown on a terminal only and not with --json."""

    def __init__(self, what: str, total: int, hidden: bool) -> None:
        from rich.progress import Progress as Bar
        from rich.progress import TextColumn

        from rillet.report.screen import Screen

        _, *bar = Bar.get_default_columns()
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            *bar,
            console=Screen(stderr=True),
            transient=True,
            disable=hidden or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(printable(what), total=total)

    def __enter__(self) -> "Callable[..., None]":
        self._bar.start()
        return self._advance

    def _advance(self, done: int, total: int | None = None) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
