"""The command line: every command is a thin face on functions of the library."""

import json
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rillet.errors import GraphError, RilletError, TargetError

if TYPE_CHECKING:
    from rich.console import Console

    from rillet.ir.graph import Graph
    from rillet.plan.plan import Plan
    from rillet.runtime.models import Model, Preprocessing

app = typer.Typer(
    name="rillet",
    help="Runs convolutional networks as streams: pixels flow in, every layer fires as soon as its window is there.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A .tflite file, or hub:NAME (rillet models).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
LabelsOption = Annotated[Path | None, typer.Option("--labels", help="Label file, one class a line.")]
RamOption = Annotated[str | None, typer.Option("--ram", metavar="SIZE", help="Most bytes of activations, as 64KiB.")]
ResidentOption = Annotated[
    bool,
    typer.Option("--resident", help="The whole input image lies in the arena; else its rows are pushed in."),
]
ObjectiveOption = Annotated[
    str, typer.Option("--objective", metavar="memory|time", help="Least memory, or least time within --ram.")
]


def main() -> None:
    """Runs the command line; an error that a user can cause is one sentence and exit code 1."""
    try:
        app()
    except RilletError as error:
        print(f"rillet: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:
        # The reader of our output has left (`rillet show | head`): nothing to say, nobody to say it to.
        sys.stderr.close()
        raise SystemExit(1) from None


def parse_size(text: str) -> int:
    """Bytes from `65536`, `64KiB`, `64kB` or `1.5MiB`; raises TargetError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|KB|KiB|MB|MiB)?\s*", text)
    factor = {"B": 1, "kB": 1000, "KB": 1000, "KiB": 1024, "MB": 10**6, "MiB": 2**20}
    if match is None or float(match[1]) <= 0 or len(match[1]) > 15:
        raise TargetError(f"--ram must be a size such as 65536, 64KiB or 0.5MiB, got {text!r}")
    return int(float(match[1]) * factor[match[2] or "B"])


def _console() -> "Console":
    from rich.console import Console

    # Tables keep their full width where the output is not a terminal.
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=160)


def _print_json(record: dict[str, Any]) -> None:
    print(json.dumps(record, indent=2, ensure_ascii=False))


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers from `127.5` or `123.7,116.3,103.5`; raises GraphError for anything else."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise GraphError(f"{option} must be a number, or one a channel with commas between, got {text!r}") from None


def _open(name: str, said: "Preprocessing | None" = None) -> "Model":
    """The model, with a progress bar where it must be downloaded."""
    from rillet.runtime.models import open_model

    if not name.startswith("hub:"):
        return open_model(name, said)
    with _progress(name, 1, hidden=False) as advance:
        return open_model(name, said, lambda done, total: advance(done, total))


def _plan(graph: "Graph", ram: str | None, objective: str, resident: bool) -> "Plan":
    from rillet.plan.rows import plan_rows

    budget = parse_size(ram) if ram is not None else None
    return plan_rows(graph, ram_bytes=budget, objective=objective, resident=resident)


@app.command()
def run(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="A .tflite file, or hub:NAME.")] = None,
    image: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="A picture.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="IMAGE is an array as stored: .npy, or bytes in row order.")
    ] = False,
    labels: LabelsOption = None,
    resize: Annotated[str | None, typer.Option("--resize", metavar="stretch|crop", help="Fit of the picture.")] = None,
    mean: Annotated[
        str | None, typer.Option("--mean", metavar="M[,M,M]", help="Input: (pixel - mean) / deviation.")
    ] = None,
    deviation: Annotated[str | None, typer.Option("--deviation", metavar="D[,D,D]", help="See --mean.")] = None,
    ram: RamOption = None,
    objective: ObjectiveOption = "memory",
    resident: ResidentOption = False,
    json_output: JsonOption = False,
) -> None:
    """Classifies a picture with the streamed C program, and proves what it took.

    Without MODEL: a trained network and a photograph out of the folders that RILLET_MODELS names.
    """
    from rillet.runtime.classify import run_image
    from rillet.runtime.models import Preprocessing, demo

    if model is None:
        model_path, photo = demo()
        model, image = str(model_path), photo
    if image is None:
        raise GraphError("IMAGE must be given with MODEL: rillet run MODEL IMAGE")
    said = Preprocessing(labels, resize, _numbers("--mean", mean), _numbers("--deviation", deviation))
    opened = _open(model, said)
    made = _plan(opened.graph, ram, objective, resident)
    with _status(f"building and running {opened.graph.name}"):
        result = run_image(opened, image, made, raw)
    if json_output:
        _print_json(asdict(result))
        return
    from rillet.report import text

    console = _console()
    console.print(f"[bold]{image.name}[/bold] by {opened.graph.name}:")
    text.top(console, result.top)
    text.proof(console, result)


@app.command()
def verify(
    model: ModelArgument,
    inputs: Annotated[int, typer.Option("--inputs", min=1, help="Seeded random inputs to compare on.")] = 10,
    against: Annotated[str | None, typer.Option("--against", metavar="litert|tflm", help="An oracle as well.")] = None,
    ram: RamOption = None,
    objective: ObjectiveOption = "memory",
    resident: ResidentOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compares reference, C and an oracle byte for byte; exit code 0 only if all agree."""
    from rillet.runtime.verify import verify as compare

    opened = _open(model)
    plan = _plan(opened.graph, ram, objective, resident)
    with _progress("comparing", inputs, json_output) as advance:
        result = compare(plan, inputs, path=opened.path, imported=opened.imported, against=against, progress=advance)
    if json_output:
        _print_json({"model": str(opened.path), **asdict(result)})
    elif result.equal:
        names = " = ".join(("reference", *result.against))
        print(f"equal: {names} on {result.inputs} inputs, {result.values:,} values compared")
    else:
        print(f"different: {result.first_difference}")
    if not result.equal:
        raise typer.Exit(1)


@app.command()
def plan(
    model: ModelArgument,
    ram: RamOption = None,
    objective: ObjectiveOption = "memory",
    resident: ResidentOption = False,
    json_output: JsonOption = False,
) -> None:
    """Cuts a network into streaming segments and lays their buffers into one arena."""
    from rillet.report import records, text

    made = _plan(_open(model).graph, ram, objective, resident)
    if json_output:
        _print_json(records.plan_record(made))
    else:
        text.plan(_console(), made)


@app.command()
def emit(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the program.")],
    ram: RamOption = None,
    objective: ObjectiveOption = "memory",
    resident: ResidentOption = False,
    json_output: JsonOption = False,
) -> None:
    """Writes the network as a C99 program with a main.c that reads a raw image."""
    from rillet.backends.c.emit import BUILD_LINE
    from rillet.backends.c.emit import emit as emit_c
    from rillet.runtime.files import write_folder

    made = _plan(_open(model).graph, ram, objective, resident)
    files = emit_c(made)
    write_folder(out, files)
    if json_output:
        _print_json({"folder": str(out), "files": sorted(files), "arena_bytes": made.arena_bytes, "build": BUILD_LINE})
    else:
        print(f"{out}: {len(files)} files, {made.arena_bytes:,} bytes of activations; build and run with")
        print(f"  cd {out} && {BUILD_LINE} && ./net IMAGE.raw")


@app.command()
def show(
    model: ModelArgument,
    text_form: Annotated[bool, typer.Option("--text", help="The graph's text form.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Lists the layers: shapes, MACs, parameters, quantisation."""
    from rillet.ir.text import print_graph
    from rillet.report import records, text

    graph = _open(model).graph
    if json_output:
        _print_json(records.graph_record(graph))
    elif text_form:
        print(print_graph(graph), end="")
    else:
        text.show(_console(), graph)


@app.command()
def models(json_output: JsonOption = False) -> None:
    """Lists published trained models, and where each is on this machine."""
    from rillet.report import text
    from rillet.runtime import hub

    found = [(entry, hub.local(entry)) for entry in hub.models()]
    if json_output:
        listed = [{**asdict(entry), "path": str(path) if path else None} for entry, path in found]
        _print_json({"models": listed})
    else:
        text.models(_console(), found)


def _status(what: str) -> "AbstractContextManager[object]":
    """A spinner on standard error, where that is a terminal."""
    from rich.console import Console

    return Console(stderr=True).status(what) if sys.stderr.isatty() else nullcontext()


class _progress:
    """A progress bar on standard error, shown on a terminal only and not with --json."""

    def __init__(self, what: str, total: int, hidden: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True, disable=hidden or not sys.stderr.isatty())
        self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> "Callable[..., None]":
        self._bar.start()
        return self._advance

    def _advance(self, done: int, total: int | None = None) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


if __name__ == "__main__":
    main()
