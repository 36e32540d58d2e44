"""Commands that run a network as a stream: run, verify, plan, emit."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rillet.cli.app import (
    MODEL_HELP,
    JsonOption,
    LiveOption,
    ModelArgument,
    Progress,
    WeightsOption,
    app,
    make_console,
    numbers,
    open_named,
    print_json,
    say,
    status,
    warn,
)
from rillet.cli.chips import (
    CeilOption,
    ChipBitsOption,
    ClockOption,
    IntervalOption,
    MemoryOption,
    MultipliersOption,
    NarrowOption,
    TargetOption,
    answering,
    print_pixels,
)

if TYPE_CHECKING:
    from rillet import RowPlan
    from rillet.api.programs import Answer, RunResult

RawOption = Annotated[bool, typer.Option("--raw", help="IMAGE is an array as stored: .npy, or bytes in row order.")]
ResizeOption = Annotated[
    str | None, typer.Option("--resize", metavar="stretch|crop", help="How the picture is fitted.")
]
MeanOption = Annotated[
    str | None, typer.Option("--mean", metavar="M[,M,M]", help="The input is (pixel - mean) / deviation.")
]
DeviationOption = Annotated[str | None, typer.Option("--deviation", metavar="D[,D,D]", help="See --mean.")]
LabelsOption = Annotated[Path | None, typer.Option("--labels", help="Label file, one class a line.")]
RamOption = Annotated[str | None, typer.Option("--ram", metavar="SIZE", help="Most bytes of activations, as 64KiB.")]
ResidentOption = Annotated[
    bool,
    typer.Option("--resident", help="Keep the whole input image in the arena; default: rows are pushed in."),
]
ObjectiveOption = Annotated[
    str | None,
    typer.Option("--objective", metavar="memory|time", help="Least memory (if not said), or least time within --ram."),
]
SlowerOption = Annotated[
    float | None,
    typer.Option(
        "--max-slowdown",
        metavar="PERCENT",
        min=0,
        help="Least memory within PERCENT of the fastest plan's estimated time.",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", help="Threads that compute each tile together, with --target host."),
]


AgainstOption = Annotated[
    str | None, typer.Option("--against", metavar="litert|tflm|onnxruntime", help="Another runtime as well.")
]


@app.command()
def run(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help=MODEL_HELP)] = None,
    image: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="A picture.")] = None,
    raw: RawOption = False,
    labels: LabelsOption = None,
    resize: ResizeOption = None,
    mean: MeanOption = None,
    deviation: DeviationOption = None,
    weights: WeightsOption = None,
    ram: RamOption = None,
    objective: ObjectiveOption = None,
    resident: ResidentOption = False,
    slower: SlowerOption = None,
    target: TargetOption = None,
    threads: ThreadsOption = None,
    live: LiveOption = False,
    json_output: JsonOption = False,
) -> None:
    """Shows a picture to the streamed C program: its classes, or what the outputs hold; and proves what it took.

    Without MODEL: the trained network and the photograph that come with Rillet.
    """
    from rillet.api import networks, plans, programs

    said = networks.Preprocessing(labels, resize, numbers("--mean", mean), numbers("--deviation", deviation))
    options = plans.options(target, ram, objective, resident, slower, threads)
    asked = programs.ask(
        model, image, options, said, raw=raw, weights=weights, live=live,
        opening=lambda name: open_named(name, said, weights).graph,
    )  # fmt: skip
    with status(f"building and running {asked.model}"):
        answer = asked.answer
    _print_answer(asked.image.name, answer, json_output)
    with status("comparing with the reference"):
        result = asked.prove()
    _print_proof(result, json_output)


def _print_answer(image: str, answer: "Answer", json_output: bool) -> None:
    from rillet.report import text

    if answer.doubt is not None:
        warn(answer.doubt)
    if json_output:
        return
    console = make_console()
    text.heading(console, image, answer.ready.built.graph.name)
    if answer.top:
        text.top(console, answer.top)
    else:
        text.outputs(console, answer.described)


def _print_proof(result: "RunResult", json_output: bool) -> None:
    from rillet.report import text

    if json_output:
        print_json(asdict(result))
    else:
        text.proof(make_console(), result)


@app.command()
def verify(
    model: ModelArgument,
    inputs: Annotated[int, typer.Option("--inputs", min=1, help="Seeded random inputs to compare on.")] = 10,
    against: AgainstOption = None,
    weights: WeightsOption = None,
    ram: RamOption = None,
    objective: ObjectiveOption = None,
    resident: ResidentOption = False,
    slower: SlowerOption = None,
    target: TargetOption = None,
    threads: ThreadsOption = None,
    live: LiveOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compares reference, C and another runtime byte for byte; exit code 0 only if all agree."""
    from rillet.api import changes, plans, programs
    from rillet.report import text

    options = plans.options(target, ram, objective, resident, slower, threads)
    opened = open_named(model, weights=weights)
    graph = changes.live(opened.graph).graph if live else opened.graph
    made = plans.row_planned(graph, options)
    with Progress("comparing", inputs, json_output) as advance:
        result = programs.verify(made, inputs, against, advance, original=opened.graph if live else None)
    if json_output:
        print_json({"model": str(opened.path), **result.to_dict()})
    else:
        text.verification(make_console(), result)
    if not result.equal:
        raise typer.Exit(1)


@app.command()
def plan(
    model: ModelArgument,
    weights: WeightsOption = None,
    ram: RamOption = None,
    objective: ObjectiveOption = None,
    resident: ResidentOption = False,
    slower: SlowerOption = None,
    target: TargetOption = None,
    multipliers: MultipliersOption = None,
    interval: IntervalOption = None,
    memory: MemoryOption = None,
    clock: ClockOption = None,
    bits: ChipBitsOption = None,
    ceil: CeilOption = False,
    narrow: NarrowOption = None,
    threads: ThreadsOption = None,
    several: Annotated[
        int | None, typer.Option("--devices", min=1, help="Partition the pipeline over N chips in series.")
    ] = None,
    live: LiveOption = False,
    json_output: JsonOption = False,
) -> None:
    """Plans a network as a stream: for a host or a board, segments and one arena; for a chip, a pipeline.

    The kind of plan is --target's; --multipliers, --interval and --memory describe a chip without a name.
    """
    from rillet.api import plans

    processor = target, ram, objective, resident, slower, threads
    said = plans.options(*processor, interval, multipliers, memory, clock, bits, ceil, narrow, several)
    graph = open_named(model, weights=weights, live=live).graph
    with answering(graph, said, json_output) as claim, status("planning"):
        made = plans.planned(graph, said)
    if isinstance(made, plans.PixelPlan):
        print_pixels(made, claim, json_output)
    else:
        print_rows(made, json_output)


def print_rows(made: "RowPlan", json_output: bool) -> None:
    """Prints a row plan."""
    from rillet.report import text

    if json_output:
        print_json(made.to_dict())
    else:
        text.plan(make_console(), made)


@app.command()
def emit(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the program.")],
    layout: Annotated[
        Literal["c", "cmake"], typer.Option("--layout", help="Sources alone, or with a CMakeLists.txt.")
    ] = "c",
    weights: WeightsOption = None,
    ram: RamOption = None,
    objective: ObjectiveOption = None,
    resident: ResidentOption = False,
    slower: SlowerOption = None,
    target: TargetOption = None,
    threads: ThreadsOption = None,
    prefix: Annotated[str, typer.Option(metavar="NAME", help="What all names of the program begin with.")] = "net",
    live: LiveOption = False,
    json_output: JsonOption = False,
) -> None:
    """Writes the network as a C99 program with a main.c that reads a raw image."""
    from rillet.api import plans

    options = plans.options(target, ram, objective, resident, slower, threads)
    made = plans.row_planned(open_named(model, weights=weights, live=live).graph, options)
    found = plans.emit(made, out, prefix=prefix, layout=layout)
    if json_output:
        print_json(found.to_dict())
    else:
        say(f"{out}: {len(found.files)} files, {made.arena_bytes:,} bytes of activations; build and run with")
        say(f"  {found.run}")
