"""The command that draws: a network, a pipeline over time, what recomputing saves, what a machine makes of it."""

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
    status,
    write,
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
)
from rillet.errors import TargetError
from rillet.system.options import Uses, at_most_one

if TYPE_CHECKING:
    from rillet import Graph

PICTURES = ("systolic", "energy", "roofline")
"""What --cost can show."""
_CHIP = ("--target", "--multipliers", "--interval", "--memory", "--clock", "--bits", "--ceil", "--recompute")
USES = Uses(
    {
        "the network alone": ("--format",),
        "--pipeline": _CHIP,
        "--target alone": _CHIP,
        "--front": (),
        "--cost systolic": ("--target",),
        "--cost energy": ("--target", "--node"),
        "--cost roofline": ("--target",),
    }
)


@app.command()
def draw(
    model: ModelArgument,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="File to write; default: standard output.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", metavar="svg|mermaid", help="Output format; default svg.")
    ] = None,
    pipeline: Annotated[
        bool,
        typer.Option(
            "--pipeline", help="Timeline of two images through the pipeline on a chip, with each layer's memory."
        ),
    ] = False,
    front: Annotated[
        bool,
        typer.Option(
            "--front", help="Pareto front of buffered values against MACs, by bottleneck buffering of blocks."
        ),
    ] = False,
    cost: Annotated[
        str | None,
        typer.Option("--cost", metavar="|".join(PICTURES), help="Where cycles or energy go, or a roofline."),
    ] = None,
    target: TargetOption = None,
    multipliers: MultipliersOption = None,
    interval: IntervalOption = None,
    memory: MemoryOption = None,
    clock: ClockOption = None,
    bits: ChipBitsOption = None,
    ceil: CeilOption = False,
    narrow: NarrowOption = None,
    node: Annotated[
        str | None, typer.Option("--node", metavar="45nm|7nm|FILE.toml", help="Process technology of --cost energy.")
    ] = None,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Draws a network: blocks wide by channels and high by resolution, skips, MACs and parameters.

    With --target: its plan, on a host or a board the segments and where each value lies in memory, on a chip the layers
    over time; --pipeline draws the latter from the options of a chip, as plan takes them. With --front: what memory
    recomputing saves. With --cost: where the cycles on a systolic array or the energy go, or the layers under the roof
    of a machine.
    """
    chosen = one_of("--format", form or "svg", ("svg", "mermaid"))
    at_most_one({"--pipeline": pipeline, "--front": front, "--cost": cost})
    if cost is not None:
        one_of("--cost", cost, PICTURES)
    planned = target is not None and not (front or cost)
    mode = "--front" if front else f"--cost {cost}" if cost else "--target alone" if planned else "the network alone"
    mode = "--pipeline" if pipeline else mode
    values = (target, multipliers, interval, memory, clock, bits, ceil, narrow)
    USES.check(mode, {"--format": form, "--node": node, **dict(zip(_CHIP, values, strict=True))})
    if pipeline and all(option is None for option in (target, multipliers, interval, memory)):
        raise TargetError("--pipeline must come with --target, --multipliers, --interval or --memory")
    graph = open_named(model, weights=weights).graph
    if pipeline or planned:
        from rillet.api import plans

        with status("planning and simulating" if pipeline else "planning"):
            said = plans.chip_options(target, interval, multipliers, memory, clock, bits, ceil, narrow)
            picture = plans.draw(plans.pixel_planned(graph, said) if pipeline else plans.planned(graph, said))
    elif cost is not None:
        from rillet.api.analysis import cost_picture

        picture = cost_picture(graph, cost, target, node)
    else:
        picture = _of_the_network(graph, chosen, front)
    if out is not None:
        write(out, picture)
    if json_output:
        print_json({"format": chosen, "file": str(out) if out else None, "picture": None if out else picture})
    elif out is None:
        print(picture, end="")
    else:
        say(f"{out}: {graph.name} as {chosen}")


def _of_the_network(graph: "Graph", form: str, front: bool) -> str:
    from rillet.api import plans
    from rillet.report import mermaid

    if front:
        return plans.draw_front(graph)
    return plans.draw(graph) if form == "svg" else mermaid.mermaid(graph)
