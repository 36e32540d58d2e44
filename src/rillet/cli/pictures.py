"""The command that draws: a network, a pipeline over time, what recomputing saves, what a machine makes of it."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rillet.cli.app import (
    JsonOption,
    ModelArgument,
    WeightsOption,
    app,
    one_of,
    open_named,
    print_json,
    say,
    shared,
    status,
    write,
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
)
from rillet.cli.options import MachinesOption, TargetOption
from rillet.errors import TargetError
from rillet.system.options import Uses, at_most_one

if TYPE_CHECKING:
    from rillet import Graph

    Chip = tuple[str | None, int | None, int | None, str | None, str | None, int | None, bool, str | None, bool]

PICTURES = ("systolic", "energy", "roofline")
"""What --cost can show."""
_CHIP = ("--target", "--interval", "--multipliers", "--memory", "--clock", "--bits", "--ceil", "--recompute", "--ideal")
USES = Uses(
    {
        "the network alone": ("--format",),
        "--pipeline": _CHIP,
        "--floor": _CHIP,
        "--target alone": _CHIP,
        "--front": (),
        "--cost systolic": ("--target",),
        "--cost energy": ("--target", "--node"),
        "--cost roofline": ("--target",),
    }
)
OutOption = Annotated[Path | None, shared("-o", "--out", here="By default standard output.", metavar="FILE")]
FormatOption = Annotated[
    str | None, typer.Option("--format", metavar="svg|mermaid", help="Format of the output; default svg.")
]
PipelineOption = Annotated[
    bool,
    typer.Option("--pipeline", help="Timeline of two images through the pipeline on a chip, with each layer's memory."),
]
FrontOption = Annotated[
    bool,
    typer.Option("--front", help="Pareto front of buffered values against MACs, by bottleneck buffering of blocks."),
]
FloorOption = Annotated[
    bool,
    typer.Option(
        "--floor", help="What each layer takes of a chip: DSP blocks, block RAMs, look-up tables, as planned."
    ),
]
CostOption = Annotated[
    str | None, typer.Option("--cost", metavar="|".join(PICTURES), help="Where cycles or energy go, or a roofline.")
]
RunFirstOption = Annotated[
    Path | None, shared("--image", here="The page runs the network on it first.", metavar="PICTURE")
]
PortOption = Annotated[int, typer.Option("--port", metavar="N", help="Port of 127.0.0.1; 0 is one that is free.")]
EnergyNodeOption = Annotated[str | None, shared("--node", here="With --cost energy.", metavar="45nm|7nm|FILE.toml")]


@app.command()
def draw(
    model: ModelArgument,
    out: OutOption = None,
    form: FormatOption = None,
    pipeline: PipelineOption = False,
    floor: FloorOption = False,
    front: FrontOption = False,
    cost: CostOption = None,
    target: TargetOption = None,
    multipliers: MultipliersOption = None,
    interval: IntervalOption = None,
    memory: MemoryOption = None,
    clock: ClockOption = None,
    bits: ChipBitsOption = None,
    ceil: CeilOption = False,
    narrow: NarrowOption = None,
    ideal: IdealOption = False,
    node: EnergyNodeOption = None,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Draws a network: blocks wide by channels and high by resolution, skips, MACs and parameters.

    With --target: its plan, on a host or a board the segments and where each value lies in memory, on a chip the layers
    over time; --pipeline draws the latter from the options of a chip, as plan takes them, and --floor what each layer
    takes of the chip. With --front: what memory recomputing saves. With --cost: where the cycles on a systolic array or
    the energy go, or the layers under a machine's roofline.
    """
    chosen = _chosen(form, pipeline, floor, front, cost)
    chip = (target, interval, multipliers, memory, clock, bits, ceil, narrow, ideal)
    planned = target is not None and not (front or cost or pipeline or floor)
    _check(pipeline, floor, front, cost, chip, {"--format": form, "--node": node})
    graph = open_named(model, weights=weights).graph
    plain = not (pipeline or floor or planned)
    picture = _drawn(graph, chosen, front, cost, target, node) if plain else _planned(graph, chip, pipeline, floor)
    _print(graph, picture, chosen, out, json_output)


def _check(pipeline: bool, floor: bool, front: bool, cost: str | None, chip: "Chip", said: dict[str, object]) -> None:
    """Raises GraphError or TargetError for options that do nothing, and for those that lack another."""
    target = chip[0]
    alone = "the network alone" if target is None else "--target alone"
    asked = {"--pipeline": pipeline, "--floor": floor, "--front": front, f"--cost {cost}": cost is not None}
    mode = next((word for word, given in asked.items() if given), alone)
    USES.check(mode, {**said, **dict(zip(_CHIP, chip, strict=True))})
    if pipeline and not any(option is not None for option in chip[:4]):
        raise TargetError("--pipeline must come with --target, --multipliers, --interval or --memory")
    if floor and target is None:
        raise TargetError("--floor must come with --target CHIP")


@app.command()
def page(
    model: ModelArgument,
    out: Annotated[Path, shared("-o", "--out", metavar="FILE.html")] = Path("page.html"),
    target: MachinesOption = None,
    image: RunFirstOption = None,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Writes one page about a network: layers, memory over time, machines, and the network itself to be run.

    It is one file that loads nothing. The memory is that of the first board or host of --target, else of the plan of
    least memory.
    """
    from rillet.api import pages

    one_of("--out: suffix", out.suffix, (".html",))
    graph = open_named(model, weights=weights).graph
    found = pages.page(graph, out, _machines(target), image=image)
    if json_output:
        print_json(found.to_dict())
    else:
        own = f"{found.own_bytes:,} beside weights and picture"
        say(f"{out}: {found.bytes:,} bytes ({own}), {found.machines} machines; open it in a browser")


@app.command()
def serve(
    model: ModelArgument,
    target: MachinesOption = None,
    image: RunFirstOption = None,
    port: PortOption = 0,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Opens the page about a network (page) to browsers of this machine, at 127.0.0.1, until Ctrl-C.

    No other machine reaches it, and the page loads nothing else.
    """
    from rillet.api import pages

    graph = open_named(model, weights=weights).graph
    served = pages.serve(graph, _machines(target), image=image, port=port)
    with served, suppress(KeyboardInterrupt):
        if json_output:
            print_json({"url": served.url, "port": served.port})
        else:
            say(f"{served.url}: {graph.name}; Ctrl-C ends it")
        served.wait()


def _machines(target: list[str] | None) -> list[str] | None:
    """None for all."""
    return None if target in (None, ["all"]) else target


def _chosen(form: str | None, pipeline: bool, floor: bool, front: bool, cost: str | None) -> str:
    """The format, of options that go together."""
    at_most_one({"--pipeline": pipeline, "--floor": floor, "--front": front, "--cost": cost})
    if cost is not None:
        one_of("--cost", cost, PICTURES)
    return one_of("--format", form or "svg", ("svg", "mermaid"))


def _planned(graph: "Graph", chip: "Chip", pipeline: bool, floor: bool) -> str:
    """A plan: a processor's segments and memory, or a chip's as two images through its layers or as what these take."""
    from rillet.api import drawing, plans

    with status("planning and simulating" if pipeline else "planning"):
        said = plans.chip_options(*chip)
        made = plans.pixel_planned(graph, said) if pipeline or floor else plans.planned(graph, said)
        return drawing.draw(made, floor=floor)


def _drawn(graph: "Graph", form: str, front: bool, cost: str | None, target: str | None, node: str | None) -> str:
    """A network, its Pareto front, or what it costs on a machine."""
    from rillet.api import drawing
    from rillet.api.analysis import cost_picture
    from rillet.report import mermaid

    if cost is not None:
        return cost_picture(graph, cost, target, node)
    if front:
        return drawing.draw_front(graph)
    return drawing.draw(graph) if form == "svg" else mermaid.mermaid(graph)


def _print(graph: "Graph", picture: str, form: str, out: Path | None, json_output: bool) -> None:
    if out is not None:
        write(out, picture)
    if json_output:
        print_json({"format": form, "file": str(out) if out else None, "picture": None if out else picture})
    elif out is None:
        print(picture, end="")
    else:
        say(f"{out}: {graph.name} as {form}")
