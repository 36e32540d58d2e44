"""Commands that plan a network as a pipeline on a chip, and simulate it: the pixel side of plan, and simulate."""

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rillet.cli.app import JsonOption, ModelArgument, app, make_console, open_named, parse_size, print_json, status
from rillet.errors import TargetError

if TYPE_CHECKING:
    from rillet.ir.graph import Graph
    from rillet.plan.pipeline import PixelPlan

TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="NAME|FILE.toml", help="A chip: a known one, or a file.")
]
MultipliersOption = Annotated[int | None, typer.Option("--multipliers", min=1, help="Most multipliers of a chip.")]
IntervalOption = Annotated[int | None, typer.Option("--interval", min=1, help="Cycles an image.")]
MemoryOption = Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Most memory on the chip, as 4MiB.")]
ClockOption = Annotated[str | None, typer.Option("--clock", metavar="FREQUENCY", help="As 200MHz.")]
ChipBitsOption = Annotated[int, typer.Option("--bits", metavar="8|16", help="Bits of weights and values on the chip.")]
CeilOption = Annotated[bool, typer.Option("--ceil", help="Allow foldings that do not divide.")]


def parse_frequency(text: str) -> float:
    """Hertz from `200MHz`, `1.5GHz` or `50e6`; raises TargetError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*(Hz|kHz|MHz|GHz)?\s*", text)
    if match is None or not 0 < float(match[1]) < 1e15:
        raise TargetError(f"--clock must be a frequency such as 200MHz, got {text!r}")
    return float(match[1]) * {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}[match[2] or "Hz"]


def make_pixels(
    graph: "Graph",
    target: str | None,
    multipliers: int | None,
    interval: int | None,
    memory: str | None,
    clock: str | None,
    bits: int,
    ceil: bool,
) -> "PixelPlan":
    """The pixel plan that the options ask for."""
    from rillet.plan.pixels import plan_pixels
    from rillet.targets import load

    return plan_pixels(
        graph,
        interval=interval,
        multipliers=multipliers,
        memory_bits=8 * parse_size(memory, "--memory") if memory else None,
        chip=load(target) if target else None,
        clock_hz=parse_frequency(clock) if clock else None,
        weight_bits=bits,
        ceil=ceil,
    )


def print_pixels(
    graph: "Graph",
    target: str | None,
    multipliers: int | None,
    interval: int | None,
    memory: str | None,
    clock: str | None,
    bits: int,
    ceil: bool,
    several: int | None,
    json_output: bool,
) -> None:
    """Plans the pipeline, over several chips if asked for, and prints it."""
    from rillet.plan.claims import check_claim
    from rillet.plan.pixels import cut_over_devices, plan_several
    from rillet.report import pixels
    from rillet.targets import load

    chip = load(target) if target else None
    parts = None
    with status("planning"):
        if several is not None and interval is None:
            hertz = parse_frequency(clock) if clock else None
            made, parts = plan_several(
                graph, several, chip=chip, multipliers=multipliers, clock_hz=hertz, weight_bits=bits, ceil=ceil
            )
        else:
            made = make_pixels(graph, None if several else target, multipliers, interval, memory, clock, bits, ceil)
            parts = cut_over_devices(made, several) if several is not None else None
    claim = check_claim(made.graph, chip) if chip is not None and chip.claimed_images_per_s else None
    if json_output:
        record = pixels.plan_record(made)
        record["devices"] = [asdict(part) for part in parts] if parts else None
        record["claim"] = {**asdict(claim), "holds": claim.holds} if claim else None
        print_json(record)
        return
    console = make_console()
    pixels.plan_table(console, made)
    if parts:
        pixels.devices_table(console, parts, made.clock_hz)
    if claim is not None:
        console.print(pixels.claim_text(claim), markup=False)


@app.command()
def simulate(
    model: ModelArgument,
    target: TargetOption = None,
    multipliers: MultipliersOption = None,
    interval: IntervalOption = None,
    memory: MemoryOption = None,
    clock: ClockOption = None,
    bits: ChipBitsOption = 8,
    ceil: CeilOption = False,
    images: Annotated[int, typer.Option("--images", min=1, help="Images back to back.")] = 3,
    json_output: JsonOption = False,
) -> None:
    """Runs the planned pipeline cycle by cycle, its rings of just the planned depth; exit code 0 only if it holds."""
    from rillet.report import pixels
    from rillet.runtime.simulate import simulate as run

    with status("planning and simulating"):
        made = make_pixels(open_named(model).graph, target, multipliers, interval, memory, clock, bits, ceil)
        found = run(made, images)
    if json_output:
        print_json(pixels.simulation_record(made, found))
    else:
        pixels.simulation_table(make_console(), made, found)
    if not found.passed or (found.interval_cycles or made.interval_cycles) != made.interval_cycles:
        raise typer.Exit(1)
