"""Commands that plan a network as a pipeline on a chip, and simulate it: the pixel side of plan, and simulate."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from rillet.cli.app import (
    JsonOption,
    ModelArgument,
    WeightsOption,
    app,
    make_console,
    open_named,
    print_json,
    status,
)
from rillet.cli.options import TargetOption
from rillet.errors import TargetError

if TYPE_CHECKING:
    from rillet import Graph, PixelPlan
    from rillet.api.plans import Claim, PlanOptions

MultipliersOption = Annotated[int | None, typer.Option("--multipliers", min=1, help="Most multipliers of a chip.")]
IntervalOption = Annotated[int | None, typer.Option("--interval", min=1, help="Initiation interval: cycles per image.")]
MemoryOption = Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Most memory on the chip, as 4MiB.")]
ClockOption = Annotated[str | None, typer.Option("--clock", metavar="FREQUENCY", help="As 200MHz.")]
ChipBitsOption = Annotated[
    int | None, typer.Option("--bits", metavar="8|16", help="Bits of weights and values on the chip, 8 if not said.")
]
CeilOption = Annotated[
    bool,
    typer.Option("--ceil", help="Allow folding factors that do not divide a layer's channels."),
]
NarrowOption = Annotated[
    str | None,
    typer.Option(
        "--recompute",
        metavar="BLOCK,...|all|auto",
        help="Blocks that buffer their bottleneck and recompute the expansion.",
    ),
]


@contextmanager
def answering(graph: "Graph", said: "PlanOptions", json_output: bool) -> "Generator[Claim | None]":
    """The chip's promise checked, if it makes one; where there is no plan, the answer is printed before the error."""
    from rillet.api.plans import claim_of
    from rillet.report import pixels

    claim = claim_of(graph, said)
    try:
        yield claim
    except TargetError as error:
        if claim is not None and json_output:
            record = {"graph": graph.name, "chip": claim.chip, "error": str(error), "claim": pixels.claim_record(claim)}
            print_json({"kind": "pixels", **record})
        elif claim is not None:
            pixels.claim_text(make_console(), claim)
        raise


def print_pixels(made: "PixelPlan", claim: "Claim | None", json_output: bool) -> None:
    """Prints a pipeline, and what became of the chip's promise."""
    from rillet.report import pixels

    if json_output:
        print_json({**made.to_dict(), "claim": pixels.claim_record(claim) if claim else None})
        return
    pixels.plan_table(console := make_console(), made)
    if claim is not None:
        pixels.claim_text(console, claim)


@app.command()
def simulate(
    model: ModelArgument,
    target: TargetOption = None,
    multipliers: MultipliersOption = None,
    interval: IntervalOption = None,
    memory: MemoryOption = None,
    clock: ClockOption = None,
    bits: ChipBitsOption = None,
    ceil: CeilOption = False,
    narrow: NarrowOption = None,
    images: Annotated[int, typer.Option("--images", min=1, help="Images back to back.")] = 3,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Runs the planned pipeline cycle by cycle, its rings of just the planned depth; exit code 0 only if it holds."""
    from rillet.api import plans
    from rillet.report import pixels

    chip = plans.chip_options(target, interval, multipliers, memory, clock, bits, ceil, narrow)
    graph = open_named(model, weights=weights).graph
    with answering(graph, chip, json_output), status("planning and simulating"):
        found = plans.simulate(plans.pixel_planned(graph, chip), images)
    if json_output:
        print_json(found.to_dict())
    else:
        pixels.simulation_table(make_console(), found.plan, found.measured)
    if not found.passed:
        raise typer.Exit(1)
