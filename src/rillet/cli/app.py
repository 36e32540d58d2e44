"""What the commands share: the application, options, opening a model, printing, progress."""

import io
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rillet.cli.ending import run
from rillet.errors import GraphError, RilletError
from rillet.system.printable import json_text, printable

if TYPE_CHECKING:
    from rillet.api.networks import Model, Preprocessing
    from rillet.report.screen import Screen


PANELS = {
    "Run a network": ("run", "verify", "plan", "emit", "simulate", "synth", "evaluate"),
    "Look at networks": ("show", "count", "explain", "compare", "draw", "page", "serve", "models", "ops"),
    "Change a network": ("quantize", "compress", "convert"),
    "Train": ("train", "search"),
    "Machines": ("targets", "fit", "cost", "energy", "systolic", "bench", "profile", "doctor"),
    "Tables of the sources": ("table",),
}
"""The commands by what a person does with them, in the order of `rillet --help`."""
FORMER: Mapping[str, tuple[str, ...]] = {
    "--bits": ("--operand", "--index-bits", "--weight-bits"),
    "--board": ("--memory",),
    "--evaluate": ("--data",),
    "--layers": ("--layer-errors",),
    "--memory": ("--weight-memory",),
    "--narrow": ("--recompute",),
    "--several": ("--devices",),
    "--slower": ("--max-slowdown",),
    "--ternary": ("--signs",),
}
"""Present names of options by those that they once had, which still work: the first that a command has, where it does
not have the former name itself.
"""
_STYLES = {"STYLE_USAGE": "bold", "STYLE_TYPES": "bold", "STYLE_METAVAR": "bold", "STYLE_OPTION_ENVVAR": "dim"}
"""Typer writes these in yellow, which nobody can read on a light background."""


class _Commands(TyperGroup):
    """The commands in their panels; what they say of wrong words says these words as they may be shown."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands in the order of the panels."""
        order = [name for names in PANELS.values() for name in names]
        return sorted(super().list_commands(ctx), key=lambda name: order.index(name) if name in order else len(order))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, its panel said to it."""
        command: Any = super().get_command(ctx, cmd_name)
        panel = next((panel for panel, names in PANELS.items() if cmd_name in names), None)
        if command is not None and panel is not None:
            command.rich_help_panel = panel
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant and what is said to it, options by their present names."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, _renamed(command, rest)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """As the group does."""
        _readable()
        super().format_help(ctx, formatter)

    def make_context(self, *args: Any, **said: Any) -> Any:
        """As the group does."""
        with _shown():
            return super().make_context(*args, **said)

    def invoke(self, ctx: Any) -> Any:
        """As the group does."""
        with _shown():
            return super().invoke(ctx)


def _renamed(command: Any, words: list[str]) -> list[str]:
    """What is said to a command, former names of its options replaced; what stands behind `--` is left as it is."""
    known = {name for parameter in getattr(command, "params", ()) for name in parameter.opts}
    end = words.index("--") if "--" in words else len(words)
    out: list[str] = []
    for word in words[:end]:
        name, equals, value = word.partition("=")
        present = [] if name in known else [one for one in FORMER.get(name, ()) if one in known]
        out.append(f"{present[0]}{equals}{value}" if present else word)
    return out + words[end:]


def _readable() -> None:
    """Help in styles that read on light and dark terminals."""
    from typer import rich_utils

    for name, style in _STYLES.items():
        if hasattr(rich_utils, name):
            setattr(rich_utils, name, style)


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
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from rillet import __version__

        say(f"rillet {__version__}")
        raise typer.Exit


@app.callback()
def _every_command(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Runs convolutional networks as streams: pixels flow in, every layer fires as soon as its window is there."""


MEANINGS: Mapping[str, str] = {
    "--format": "Format of the",
    "--against": "Another runtime to compare with.",
    "--all": "Show all of them.",
    "--array": "Rows and columns of the systolic array, 64 by default.",
    "--batch": "Images at a time.",
    "--bits": "Bits of weights and activations.",
    "--convention": "Whose rules of counting.",
    "--data": "Labelled pictures.",
    "--fps": "Images a second that are asked for.",
    "--image": "A picture.",
    "--images": "Images back to back, 3 by default.",
    "--limit": "Only the first N pictures.",
    "--live": "Compute live channels alone, with the same output bytes (int8 and uint8).",
    "--memory": "Memory of the machine, as 4MiB.",
    "--node": "Process technology of energy.",
    "--objective": "What the plan minimises: memory (the default) or time.",
    "--out": "Where the result goes.",
    "--precision": "Number types; default: the network's own.",
    "--target": "A machine: one that rillet targets lists, or a file.",
    "--threads": "Threads of the program.",
    "--weight-bits": "Bits of a weight.",
}
"""What each option that several commands have means in all of them; a command says behind it what it adds."""


def shared(*names: str, here: str = "", **said: Any) -> Any:
    """An option that means the same in every command that has it; `here`: what more there is to say in one."""
    meaning = MEANINGS[max(names, key=len)]
    return typer.Option(*names, help=f"{meaning} {here}".rstrip(), **said)


MODEL_HELP = (
    "A .tflite, .onnx or .rlt file, hub:NAME, or one of the zoo such as mobilenet_v2:width=0.5 (rillet models)."
)
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="Checkpoint with weights for a network of the zoo.")
]
LiveOption = Annotated[bool, shared("--live")]
DATA = "cifar10[:DIR]|cifar100[:DIR]|tiny-imagenet|imagefolder:DIR|vww:DIR|DIR"
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes", metavar="NAME,...", help="Use only these classes, or a group: outdoor, indoor, combined."
    ),
]
BitsOption = Annotated[int | None, shared("--bits", here="By default the network's own.")]


def main() -> None:
    """Runs the command line; an error that a user can cause is one sentence and exit code 1, Ctrl-C 130."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal in another encoding lacks
    raise SystemExit(run(app))


def make_console() -> "Screen":
    """A console for results."""
    from rillet.report.screen import PIPED, Screen

    # Tables keep their full width where the output is not a terminal.
    return Screen() if sys.stdout.isatty() else Screen(width=PIPED, whole=True)


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


def one_of(option: str, word: str, words: tuple[str, ...]) -> str:
    """`word` if it is one of `words`; raises GraphError if not."""
    if word not in words:
        raise GraphError(f"{option} must be one of {', '.join(words)}, got {word!r}")
    return word


def open_named(
    name: str, said: "Preprocessing | None" = None, weights: Path | None = None, *, live: bool = False
) -> "Model":
    """The model, or the `live` channels of it, with a progress bar where it must be downloaded."""
    if live:
        from rillet.api.changes import live as only_live

        model = open_named(name, said, weights)
        return replace(model, graph=only_live(model.graph).graph)
    from rillet.api.networks import opened

    if not name.startswith("hub:"):
        return opened(name, said, weights)
    with Progress(name, 1, hidden=False) as advance:
        return opened(name, said, weights, lambda done, total: advance(done, total))


def write(path: Path, text: str) -> None:
    """A text file; raises BuildError where it cannot be written."""
    from rillet.api.networks import save_text

    save_text(path, text)


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
