"""Commands that run a network as a stream: run, verify, plan, emit."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    shared,
    status,
    warn,
)
from rillet.cli.chips import (
    CeilOption,
    ChipBitsOption,
    ClockOption,
    IdealOption,
    IntervalOption,
    MemoryOption,
    MultipliersOption,
    NarrowOption,
    SeveralOption,
    answering,
    show_pixels,
)
from rillet.cli.forms import Form, command
from rillet.cli.options import TargetOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rillet import Graph
    from rillet.api.backends import Plan
    from rillet.api.plans import Emitted, PlanOptions
    from rillet.api.programs import Answer, Asked
    from rillet.report.screen import Screen

RawOption = Annotated[bool, typer.Option("--raw", help="IMAGE is an array as stored: .npy, or bytes in row order.")]
ResizeOption = Annotated[
    str | None,
    typer.Option(
        "--resize", metavar="stretch|crop", help="Fit the picture to the input by stretching, or by cropping."
    ),
]
MeanOption = Annotated[
    str | None, typer.Option("--mean", metavar="M[,M,M]", help="The input is (pixel - mean) / deviation.")
]
DeviationOption = Annotated[str | None, typer.Option("--deviation", metavar="D[,D,D]", help="See --mean.")]
LabelsOption = Annotated[
    Path | None, typer.Option("--labels", metavar="FILE", help="Names of the classes, one a line.")
]
RamOption = Annotated[str | None, typer.Option("--ram", metavar="SIZE", help="Most bytes of activations, as 64KiB.")]
ResidentOption = Annotated[
    bool,
    typer.Option("--resident", help="Keep the whole input image in the arena; default: rows are pushed in."),
]
ObjectiveOption = Annotated[
    str | None,
    shared("--objective", here="Time within --ram, where that is given.", metavar="memory|time"),
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
    shared("--threads", here="They compute each tile together, with --target host.", metavar="N"),
]
PlanPrecisionOption = Annotated[
    str | None,
    shared("--precision", here="bf16: layers of float32 multiply so, with --target host.", metavar="f32|bf16"),
]

LayoutOption = Annotated[
    str,
    typer.Option(
        "--layout",
        metavar="c|cmake|arduino|platformio|zephyr|cmsis-pack",
        help="Sources alone, or a project of these tools.",
    ),
]
ImagesOption = Annotated[int | None, shared("--images", here="Of a chip.", min=1)]
EveryOption = Annotated[bool, shared("--all", here="Of a chip: stages and rings, not only the odd ones.")]
StallsOption = Annotated[
    bool, typer.Option("--stalls", help="Of a chip: input and output stop and go at random; no byte may change.")
]
VcdOption = Annotated[Path | None, typer.Option("--vcd", metavar="FILE", help="Of a chip: write its waves.")]
SimulatorOption = Annotated[
    str | None,
    typer.Option("--simulator", metavar="verilator|cxxrtl", help="Of a chip: what runs it; verilator by default."),
]
ResultOption = Annotated[
    Path | None,
    shared(
        "-o",
        "--out",
        here="A picture (.png, .jpg) with boxes or classes drawn in, an array (.npy), or a folder of arrays.",
        metavar="FILE|DIR",
    ),
]
AgainstOption = Annotated[str | None, shared("--against", metavar="litert|tflm|onnxruntime")]


@command
def run(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help=MODEL_HELP)] = None,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE]", help="A picture; of several inputs a file each, arrays but the first."),
    ] = None,
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
    precision: PlanPrecisionOption = None,
    live: LiveOption = False,
    out: ResultOption = None,
    *,
    form: Form,
) -> None:
    """Shows a picture to the streamed C program, and compares outputs and memory with reference and plan.

    Prints the classes of a classifier, the boxes of a known detector, the classes of a map, else numbers.
    Without MODEL: the trained network and the photograph that come with Rillet.
    """
    from rillet.api import networks, plans, programs

    said = networks.Preprocessing(labels, resize, numbers("--mean", mean), numbers("--deviation", deviation))
    options = plans.options(target, ram, objective, resident, slower, threads, precision=precision)

    def opening(name: str) -> "Graph":
        return open_named(name, said, weights).graph

    programs.check_result(out, raw)
    asked = programs.ask(model, images or (), options, said, raw=raw, weights=weights, opening=opening, live=live)
    _answer(asked, out, form)


def _answer(asked: "Asked", out: Path | None, form: Form) -> None:
    """What is found at once, where people read it; then what it took, compared with the reference."""
    from rillet.report import text as report

    with status(f"building and running {asked.model}"):
        answer = asked.answer
    if answer.doubt is not None:
        warn(answer.doubt)
    if form.text:
        _draw_answer(make_console(), asked.images[0].name, answer)
    if out is not None:
        asked.keep(out)
    with status("comparing with the reference"):
        result = asked.prove()

    def text(console: "Screen") -> None:
        if not form.text:
            _draw_answer(console, asked.images[0].name, answer)
        report.proof(console, result)

    form.show(lambda: asdict(result), text)


def _draw_answer(console: "Screen", image: str, answer: "Answer") -> None:
    from rillet.report import text

    text.heading(console, image, answer.ready.built.graph.name)
    found = answer.found
    if found.top:
        text.top(console, found.top)
    elif found.boxes is not None:
        text.boxes(console, found.boxes)
    elif found.regions:
        text.regions(console, found.regions)
    else:
        text.outputs(console, answer.described)


@command
def verify(
    model: ModelArgument,
    inputs: Annotated[
        int | None, typer.Option("--inputs", min=1, help="Seeded random inputs to compare on, 10 by default.")
    ] = None,
    against: AgainstOption = None,
    weights: WeightsOption = None,
    ram: RamOption = None,
    objective: ObjectiveOption = None,
    resident: ResidentOption = False,
    slower: SlowerOption = None,
    target: TargetOption = None,
    threads: ThreadsOption = None,
    precision: PlanPrecisionOption = None,
    live: LiveOption = False,
    interval: IntervalOption = None,
    images: ImagesOption = None,
    every: EveryOption = False,
    stalls: StallsOption = False,
    vcd: VcdOption = None,
    simulator: SimulatorOption = None,
    *,
    form: Form,
) -> None:
    """Compares reference, C and another runtime byte for byte; exit code 0 only if all agree.

    For a board with a Cortex-M core, the program runs on that core as well, emulated, and tells what it takes of it;
    more stack than planned is a failure, too.
    For a chip, its Verilog runs in a simulator: bytes, interval, latency, every firing and every ring as planned.
    """
    from rillet.api import hardware, plans

    options = plans.options(target, ram, objective, resident, slower, threads, interval, precision=precision)
    said = {"--inputs": inputs, "--against": against, "--live": live, "--images": images, "--all": every}
    hardware.check(hardware.VERIFY, options, {**said, "--stalls": stalls, "--vcd": vcd, "--simulator": simulator})
    if hardware.is_hardware(options):
        _verify_hardware(model, weights, options, (images, stalls, vcd, simulator, every), form)
    else:
        _verify_program(model, weights, options, (inputs or 10, against, live), form)


def _verify_hardware(
    model: str,
    weights: Path | None,
    options: "PlanOptions",
    asked: tuple[int | None, bool, Path | None, str | None, bool],
    form: Form,
) -> None:
    from rillet.api import hardware, plans
    from rillet.report.hardware import verification

    images, stalls, vcd, simulator, every = asked
    opened = open_named(model, weights=weights)
    with status("planning"):
        made = plans.pixel_planned(opened.graph, options)
    with Progress("building and simulating", made.latency_cycles, form.json) as advance:
        result = hardware.verify_hardware(
            made,
            images or hardware.IMAGES,
            stalls=stalls,
            vcd=vcd,
            simulator=simulator or "verilator",
            progress=advance,
        )
    record = {"model": str(opened.path or model), "chip": made.chip}
    form.show(lambda: {**record, **result.to_dict()}, lambda console: verification(console, result, every))
    if not result.passed:
        raise typer.Exit(1)


def _verify_program(
    model: str, weights: Path | None, options: "PlanOptions", asked: tuple[int, str | None, bool], form: Form
) -> None:
    from rillet.api import changes, plans, programs
    from rillet.report import text

    inputs, against, live = asked
    opened = open_named(model, weights=weights)
    graph = changes.live(opened.graph).graph if live else opened.graph
    on_board = plans.row_planned(graph, options) if programs.core_of(options) is not None else None
    made = plans.row_planned(graph, options, here=True)
    _doubt(on_board or made)
    with Progress("comparing", inputs, form.json) as advance:
        result = programs.verify_here(made, inputs, against, advance, original=opened.graph if live else None)
    emulated = None
    if result.equal and on_board is not None:
        with Progress("emulating", inputs, form.json) as advance:
            emulated = programs.verify_on_board(on_board, inputs, advance)
    record = {"model": str(opened.path or model), **result.to_dict(), **(emulated.to_dict() if emulated else {})}
    form.show(lambda: record, lambda console: text.verifications(console, result, emulated))
    if not result.equal or (emulated and not emulated.passed):
        raise typer.Exit(1)


def _doubt(made: "Plan") -> None:
    """Says on standard error what a board lacks for a plan."""
    from rillet.api import plans

    for sentence in plans.doubts(made):
        warn(sentence)


@command
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
    precision: PlanPrecisionOption = None,
    several: SeveralOption = None,
    ideal: IdealOption = False,
    live: LiveOption = False,
    *,
    form: Form,
) -> None:
    """Plans a network as a stream: for a host or a board, segments and one arena; for a chip, a pipeline.

    The kind of plan is --target's; --multipliers, --interval and --memory describe a chip without a name.
    """
    from rillet.api import plans
    from rillet.report import text

    how = target, ram, objective, resident, slower, threads, interval, multipliers, memory, clock, bits, ceil, narrow
    said = plans.options(*how, several, ideal, precision)
    graph = open_named(model, weights=weights, live=live).graph
    with answering(graph, said, form) as claim, status("planning"):
        made = plans.planned(graph, said)
    if isinstance(made, plans.PixelPlan):
        show_pixels(made, claim, form)
    else:
        _doubt(made)
        form.show(made.to_dict, partial(text.plan, made=made))


@app.command()
def emit(
    model: ModelArgument,
    out: Annotated[Path, shared("-o", "--out", here="A folder for the program.", metavar="DIR")],
    layout: LayoutOption = "c",
    image: Annotated[
        Path | None,
        shared("--image", here="The example runs it, and compares with the reference.", metavar="PICTURE"),
    ] = None,
    weights: WeightsOption = None,
    ram: RamOption = None,
    objective: ObjectiveOption = None,
    resident: ResidentOption = False,
    slower: SlowerOption = None,
    target: TargetOption = None,
    threads: ThreadsOption = None,
    precision: PlanPrecisionOption = None,
    interval: IntervalOption = None,
    prefix: Annotated[str, typer.Option(metavar="NAME", help="Prefix of all names of the program.")] = "net",
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Of --target wasm, one page with everything in it.")
    ] = False,
    live: LiveOption = False,
    json_output: JsonOption = False,
) -> None:
    """Writes the network as a C99 program with an example, for a chip as Verilog with a testbench, for wasm as a page.

    A README.md in the folder says how to build and run it.
    """
    from rillet.api import plans

    options = plans.options(target, ram, objective, resident, slower, threads, interval, precision=precision)
    shape = plans.layout_of(layout)
    made = plans.emitted_plan(open_named(model, weights=weights, live=live).graph, options)
    _doubt(made)
    found = plans.emit(made, out, prefix=prefix, layout=shape, image=image, single_file=single_file)
    if json_output:
        print_json(found.to_dict())
        return
    for line in _places(found):
        say(line)


def _places(found: "Emitted") -> "Iterator[str]":
    """Where a program lies, and what is done with it."""
    if len(found.files) == 1:
        page = found.folder / found.files[0]
        yield f"{page}: one page, {found.arena_bytes:,} bytes of activations; open it in a browser"
        return
    how = "README.md says how to build and run it"
    if found.run:
        how = "build and run with" if found.build else "serve it with"
    yield f"{found.folder}: {len(found.files)} files, {found.arena_bytes:,} bytes of activations; {how}"
    if found.run:
        yield f"  {found.run}"
