"""Commands that plan a network as a pipeline on a chip, and simulate it: the pixel side of plan, and simulate."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rillet.cli.app import (
    ModelArgument,
    Progress,
    WeightsOption,
    open_named,
    shared,
    status,
)
from rillet.cli.forms import Form, command
from rillet.cli.options import TargetOption
from rillet.errors import TargetError

if TYPE_CHECKING:
    from rillet import Graph, PixelPlan
    from rillet.api.plans import Claim, PlanOptions
    from rillet.report.screen import Screen

MultipliersOption = Annotated[int | None, typer.Option("--multipliers", min=1, help="Most multipliers of a chip.")]
IntervalOption = Annotated[int | None, typer.Option("--interval", min=1, help="Initiation interval: cycles per image.")]
MemoryOption = Annotated[
    str | None,
    shared("--memory", here="Weights and buffers must fit.", metavar="SIZE"),
]
ClockOption = Annotated[
    str | None,
    typer.Option(
        "--clock", metavar="FREQUENCY", help="Cycles a second of the chip, as 200MHz. By default its target's."
    ),
]
ChipBitsOption = Annotated[int | None, shared("--bits", here="Of a chip; by default 8.", metavar="8|16")]
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
SeveralOption = Annotated[
    int | None, typer.Option("--devices", min=1, help="Partition the pipeline over N chips in series.")
]
IdealOption = Annotated[
    bool,
    typer.Option("--ideal", help="Results take no time, readers share rings: what hardware approaches."),
]


@contextmanager
def answering(graph: "Graph", said: "PlanOptions", form: Form) -> "Generator[Claim | None]":
    """The chip's promise checked, if it makes one; where there is no plan, the answer is printed before the error."""
    from rillet.api.plans import claim_of
    from rillet.report import pixels

    claim = claim_of(graph, said)
    try:
        yield claim
    except TargetError as error:
        if claim is not None:
            said_of = {"graph": graph.name, "chip": claim.chip, "error": str(error)}
            form.show(
                lambda: {"kind": "pixels", **said_of, "claim": pixels.claim_record(claim)},
                lambda console: pixels.claim_text(console, claim),
            )
        raise


def show_pixels(made: "PixelPlan", claim: "Claim | None", form: Form) -> None:
    """Prints a pipeline, and what became of the chip's promise."""
    from rillet.report import pixels

    def text(console: "Screen") -> None:
        pixels.plan_table(console, made)
        if claim is not None:
            pixels.claim_text(console, claim)

    form.show(lambda: {**made.to_dict(), "claim": pixels.claim_record(claim) if claim else None}, text)


@command
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
    ideal: IdealOption = False,
    images: Annotated[int, shared("--images", min=1)] = 3,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Simulates a chip's pipeline cycle by cycle, FIFOs as deep as planned; exit code 0 only if it keeps the plan."""
    from rillet.api import plans
    from rillet.report import pixels

    chip = plans.chip_options(target, interval, multipliers, memory, clock, bits, ceil, narrow, ideal)
    graph = open_named(model, weights=weights).graph
    with answering(graph, chip, form), status("planning and simulating"):
        found = plans.simulate(plans.pixel_planned(graph, chip), images)
    form.show(found.to_dict, lambda console: pixels.simulation_table(console, found.plan, found.measured))
    if not found.passed:
        raise typer.Exit(1)


@command
def synth(
    model: ModelArgument,
    target: TargetOption = None,
    interval: IntervalOption = None,
    stage: Annotated[str | None, typer.Option("--stage", metavar="NAME", help="One layer alone.")] = None,
    place: Annotated[bool, typer.Option("--place", help="Place and route it with nextpnr (ECP5 and iCE40).")] = False,
    by_shape: Annotated[
        bool, typer.Option("--by-shape", help="Of layers that differ in their weights alone one stands for all.")
    ] = False,
    kept: Annotated[
        bool, typer.Option("--kept", help="Synthesise nothing: what was before, and the plan for the others.")
    ] = False,
    out: Annotated[
        Path | None, shared("-o", "--out", here="A file for the bitstream, with --place.", metavar="FILE")
    ] = None,
    clock: ClockOption = None,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Synthesises a chip's pipeline with yosys, and compares what it takes with the plan; exit code 0 if it fits.

    Multipliers (DSP), block RAMs, look-up tables and registers of each layer and of the whole. Each layer is kept as it
    is done: what was stopped goes on there.
    """
    from rillet.api import plans, synthesis
    from rillet.report.synthesis import synthesis as show

    options = plans.chip_options(target, interval, clock=clock)
    opened = open_named(model, weights=weights)
    with answering(opened.graph, options, form), status("planning"):
        made = plans.pixel_planned(opened.graph, options)
    with Progress("synthesising", 1, form.json) as advance:
        found = synthesis.synth(made, stage=stage, place=place, by_shape=by_shape, kept=kept, out=out, progress=advance)
    record = {"model": str(opened.path or model)}
    form.show(lambda: {**record, **found.to_dict()}, lambda console: show(console, found))
    if not found.fits:
        raise typer.Exit(1)
