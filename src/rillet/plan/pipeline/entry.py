"""Dataflow-pipeline plans: one stage a layer, all weights on chip, activations streamed pixel by pixel.

One stage per node. Each layer gets its folding (`folding.py`), each tensor its FIFO (`fifos.py`), both exact: a
simulation must measure the same interval and fill no FIFO further. Multipliers are counted for the products of
convolutions and dense layers, one a cycle each; those that apply a squeeze-and-excite's gate are counted separately, as
elementwise multipliers. Requantisation, activations and the adders of pools count none.

A squeeze-and-excite is a barrier: its gate is known once all pixels of the image have arrived. Its input tensor is
buffered in full until then, or recomputed from a narrower tensor that is buffered instead. Recomputing needs the
multipliers of the layers in between a second time, so the plan, which minimises multipliers, always buffers, and
reports what the alternative would take (`Barrier`).
"""

from collections.abc import Sequence
from dataclasses import replace

from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.plan.pipeline.budgets import Budgets, refusal
from rillet.plan.pipeline.choices import Sides
from rillet.plan.pipeline.devices import Device, check_devices
from rillet.plan.pipeline.devices import cut_over_devices as cut_over_devices
from rillet.plan.pipeline.folding import least
from rillet.plan.pipeline.plan import PixelPlan, Resource, Use
from rillet.plan.pipeline.planner import MOST_CYCLES, Planner
from rillet.plan.rows.kernels import refuse_wide
from rillet.system.quantities import bits_text
from rillet.targets.chips import StreamChip
from rillet.targets.pipeline import Pipeline


def plan_pixels(
    graph: Graph,
    *,
    interval: int | None = None,
    multipliers: int | None = None,
    memory_bits: int | None = None,
    chip: StreamChip | None = None,
    clock_hz: float | None = None,
    weight_bits: int = 8,
    ceil: bool = False,
    narrow: Sequence[str] = (),
    pipeline: Pipeline | None = None,
) -> PixelPlan:
    """The pipeline with the fewest multipliers at `interval` cycles an image, or the least interval within budgets.

    Of foldings with equally few multipliers, those win whose rings hold the fewest values (ties.py). Budgets are
    `multipliers` and `memory_bits`; those that are not given are the chip's, and with an interval they are checked.
    Multipliers count products of two values too. `ceil` allows foldings that do not divide (folding.py). `narrow` names
    blocks with bottleneck buffering, or is `all`, or `auto`: with a budget of memory those that take the
    fewest multipliers, without one those that save the most of it within the multipliers (choices.py). `pipeline` is
    what stages take as hardware, which then has foldings of its own (hardware.py); without it the plan is the ideal.
    Raises TargetError for demands that cannot be met, Unsupported for a network that does not stream.
    """
    refuse_wide(graph, "a chip")
    if weight_bits not in (8, 16):
        raise TargetError(f"bits of a weight must be 8 or 16, got {weight_bits}")
    if pipeline is not None:
        check_hardware(weight_bits, ceil, narrow)
    multipliers = multipliers if multipliers is not None else chip.multipliers if chip else None
    memory_bits = memory_bits if memory_bits is not None else chip.memory_bits if chip else None
    if interval is None and multipliers is None and memory_bits is None:
        raise TargetError("interval, multipliers, memory or a target must be given, got none of them")

    def make(names: Sequence[str]) -> Planner:
        return Planner(graph, chip, clock_hz, weight_bits, ceil, narrow=names, pipeline=pipeline)

    made = Sides.of(make) if tuple(narrow) == ("auto",) else make(narrow)
    if memory_bits is not None and memory_bits < made.least_bits:
        resident = made.wide.resident_bits if isinstance(made, Sides) else made.resident_bits
        raise TargetError(
            f"memory must be at least {bits_text(made.least_bits)} for this network, {bits_text(resident)} of it for "
            f"weights, got {bits_text(memory_bits, up=False)}"
        )
    if interval is not None and interval > MOST_CYCLES:
        raise TargetError(f"interval must be at most {MOST_CYCLES} cycles, got {interval}")
    if isinstance(made, Sides):
        if interval is None:
            return made.best(multipliers, memory_bits)
        return made.at(interval, multipliers, memory_bits)
    budgets = Budgets(multipliers, memory_bits)
    if pipeline is not None and chip is not None:
        budgets = replace(budgets, block_rams=chip.block_rams, luts=chip.luts)
    if interval is None:
        return made.best(budgets)
    found, short = made.fitted(interval, budgets)
    if found is None or short is not None:
        assert short is not None
        said = refusal(short, f"an interval of {interval:,} cycles")
        raise TargetError(said if pipeline is None else f"{said}: {_nearest(made, budgets, short)}")
    return found


def _nearest(made: Planner, budgets: Budgets, short: Use) -> str:
    """By how much a plan misses, and the least interval that fits."""
    assert short.room is not None
    missing = (
        bits_text(short.used - short.room) if short.resource is Resource.MEMORY else f"{short.used - short.room:,}"
    )
    try:
        fits = f"the least interval that fits is {made.best(budgets).interval_cycles:,} cycles"
    except TargetError:
        fits = "no interval fits"
    return f"{missing} too few; {fits}"


def check_hardware(weight_bits: int, ceil: bool, narrow: Sequence[str]) -> None:
    """Raises TargetError for what only the ideal plan has."""
    if narrow:
        raise TargetError(f"narrow blocks must be none as hardware, got {', '.join(narrow)}; plan the ideal")
    if weight_bits != 8:
        raise TargetError(f"bits of a weight must be 8 as hardware, got {weight_bits}; plan the ideal")
    if ceil:
        raise TargetError("foldings must be those of hardware, which need not divide either; plan the ideal")


def plan_several(
    graph: Graph,
    devices: int,
    *,
    interval: int | None = None,
    multipliers: int | None = None,
    memory_bits: int | None = None,
    chip: StreamChip | None = None,
    clock_hz: float | None = None,
    weight_bits: int = 8,
    ceil: bool = False,
    narrow: Sequence[str] = (),
) -> tuple[PixelPlan, tuple[Device, ...]]:
    """A pipeline partitioned over `several` devices in series: at `interval`, or at the least interval that their
    budgets allow.

    Budgets are of each device: `multipliers` and `memory_bits`, the chip's by default. The least interval
    is exact: whether multipliers suffice is found greedily, which no other order of filling beats, and holds for all
    slower intervals too; of those, each is tried with the memory. Raises TargetError where no interval does.
    """
    if tuple(narrow) == ("auto",):
        raise TargetError("narrow must be all or blocks by name for several devices, got auto")
    made = Planner(graph, chip, clock_hz, weight_bits, ceil, devices, narrow)
    check_devices(devices, len(made.work) + len(made.still), graph.name)
    each = multipliers if multipliers is not None else chip.multipliers if chip else None
    memory_bits = memory_bits if memory_bits is not None else chip.memory_bits if chip else None
    if memory_bits is not None and devices * memory_bits < made.least_bits:
        least_bits = -(-made.least_bits // devices)
        raise TargetError(
            f"memory must be at least {bits_text(least_bits)} a device for {devices} devices, got "
            f"{bits_text(memory_bits, up=False)}"
        )
    if interval is not None:
        if interval > MOST_CYCLES:
            raise TargetError(f"interval must be at most {MOST_CYCLES} cycles, got {interval}")
        return _cut(made.plan(interval), devices, each, memory_bits)
    if each is None:
        raise TargetError("interval, multipliers or a target must be given for several devices, got none of them")
    candidates = made.layers.candidates()
    first = least(candidates, lambda i: made.devices_at(i, each) <= devices)
    if made.devices_at(first, each) > devices:
        raise TargetError(f"multipliers must be more than {each} each for a cut over {devices} devices")
    refused: TargetError | None = None
    for tried in candidates[candidates.index(first) :]:
        try:
            return _cut(made.plan(tried), devices, each, memory_bits)
        except TargetError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _cut(
    plan: PixelPlan, devices: int, each: int | None, memory_bits: int | None
) -> tuple[PixelPlan, tuple[Device, ...]]:
    """The plan and its cut; raises TargetError where that is over a budget."""
    parts = cut_over_devices(plan, devices, memory_bits)
    fullest = max(part.multipliers for part in parts)
    if each is not None and fullest > each:
        raise TargetError(
            f"multipliers must be at least {fullest} each for {devices} devices at an interval of "
            f"{plan.interval_cycles} cycles, got {each}"
        )
    return plan, parts


def least_memory_bits(graph: Graph, weight_bits: int = 8) -> int:
    """Bits on the chip below which no pipeline is possible at any interval: weights, biases and the least rings."""
    return Planner(graph, None, None, weight_bits, ceil=False).least_bits
