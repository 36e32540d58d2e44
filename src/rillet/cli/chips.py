"""Commands that plan a network as a pipeline on a chip, and simulate it: the pixel side of plan, and simulate."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
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
from rillet.errors import TargetError
from rillet.system.quantities import parse_frequency, parse_size

if TYPE_CHECKING:
    from rillet.ir.graph import Graph
    from rillet.plan.options import PlanOptions
    from rillet.plan.pipeline.claims import Claim

TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="NAME|FILE.toml", help="A chip: a known one, or a file.")
]
MultipliersOption = Annotated[int | None, typer.Option("--multipliers", min=1, help="Most multipliers of a chip.")]
IntervalOption = Annotated[int | None, typer.Option("--interval", min=1, help="Cycles an image.")]
MemoryOption = Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Most memory on the chip, as 4MiB.")]
ClockOption = Annotated[str | None, typer.Option("--clock", metavar="FREQUENCY", help="As 200MHz.")]
ChipBitsOption = Annotated[
    int | None, typer.Option("--bits", metavar="8|16", help="Bits of weights and values on the chip, 8 if not said.")
]
CeilOption = Annotated[bool, typer.Option("--ceil", help="Allow foldings that do not divide.")]
NarrowOption = Annotated[
    str | None,
    typer.Option("--narrow", metavar="BLOCK,...|all|auto", help="Blocks that hold the map before their expansion."),
]


def memory_bits(memory: str | None) -> int | None:
    """Bits of memory from a size in bytes."""
    return None if memory is None else 8 * parse_size(memory, "--memory")


def hertz(clock: str | None) -> float | None:
    """A frequency, where one is said."""
    return None if clock is None else parse_frequency(clock, "--clock")


def blocks(narrow: str | None) -> tuple[str, ...]:
    """Names of blocks."""
    return () if narrow is None else tuple(narrow.split(","))


def pixel_options(
    target: str | None,
    multipliers: int | None,
    interval: int | None,
    memory: str | None,
    clock: str | None,
    bits: int | None,
    ceil: bool,
    narrow: str | None,
) -> "PlanOptions":
    """What is asked of a chip."""
    from rillet.plan.options import PlanOptions

    return PlanOptions(
        target=target,
        multipliers=multipliers,
        interval=interval,
        memory_bits=memory_bits(memory),
        clock_hz=hertz(clock),
        bits=bits,
        ceil=ceil,
        narrow=blocks(narrow),
    )


@contextmanager
def answering(graph: "Graph", said: "PlanOptions", json_output: bool) -> "Generator[Claim | None, None, None]":
    """The chip's promise checked, if it makes one; where there is no plan, the answer is printed before the error."""
    from rillet.plan.pipeline.claims import check_claim
    from rillet.report import pixels

    chip = said.chip
    claim = check_claim(graph, chip, ceil=said.ceil) if chip is not None and chip.claimed_images_per_s else None
    try:
        yield claim
    except TargetError as error:
        if claim is not None and json_output:
            record = {"graph": graph.name, "chip": claim.chip, "error": str(error), "claim": pixels.claim_record(claim)}
            print_json({"kind": "pixels", **record})
        elif claim is not None:
            pixels.claim_text(make_console(), claim)
        raise


def print_pixels(graph: "Graph", said: "PlanOptions", json_output: bool) -> None:
    """Plans the pipeline, over several chips if asked for, and prints it."""
    from rillet.plan.options import make_pixels
    from rillet.report import pixels

    with answering(graph, said, json_output) as claim, status("planning"):
        made, parts = make_pixels(graph, said)
    if json_output:
        record = pixels.plan_record(made)
        record["devices"] = [asdict(part) for part in parts] if parts else None
        record["claim"] = pixels.claim_record(claim) if claim else None
        print_json(record)
        return
    console = make_console()
    pixels.plan_table(console, made)
    if parts:
        pixels.devices_table(console, parts, made.clock_hz)
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
    from rillet.plan.options import make_pixels
    from rillet.report import pixels
    from rillet.simulation.pipeline import simulate as run

    said = pixel_options(target, multipliers, interval, memory, clock, bits, ceil, narrow)
    graph = open_named(model, weights=weights).graph
    with answering(graph, said, json_output), status("planning and simulating"):
        made, _ = make_pixels(graph, said)
        found = run(made, images)
    if json_output:
        print_json(pixels.simulation_record(made, found))
    else:
        pixels.simulation_table(make_console(), made, found)
    if not found.passed or (found.interval_cycles or made.interval_cycles) != made.interval_cycles:
        raise typer.Exit(1)
