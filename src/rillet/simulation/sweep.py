"""A network as a pipeline at many initiation intervals: planned cost, and what the simulation measures.

Of the ideal (`rates`), and of hardware beside the ideal (`hardware_rates`).
"""

from dataclasses import dataclass
from functools import partial

from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.pipeline.fifos import Flow, rings, schedule
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.pipeline.planner import latency_of, pipeline_graph
from rillet.plan.pipeline.registers import latency_cycles
from rillet.simulation.pipeline import simulate
from rillet.targets import pipeline

_ANY = 2**62
FASTEST, RATES = 1024, 8
"""Pixels of the image a cycle at the fastest rate; the others are a quarter of each other."""


DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class Rate:
    """One interval, planned and simulated."""

    interval_cycles: int
    multipliers: int
    utilisation: float
    ceil_multipliers: int
    """With foldings that do not divide."""
    unshared_multipliers: int
    """Multipliers, were none time-multiplexed over weights."""
    line_buffer_values: int
    skip_values: int
    hold_values: int
    fifo_values: int
    latency_cycles: int
    measured_interval_cycles: int | None
    measured_latency_cycles: int | None
    rings: int
    rings_full: int
    """FIFOs whose peak occupancy was as planned."""
    rings_over: int
    """FIFOs whose peak occupancy was above the plan."""
    stalled_cycles: int


def rates(graph: Graph) -> tuple[Rate, ...]:
    """From 1,024 pixels of the image a cycle down by quarters to a pixel in 16 cycles, as far as the layers follow.

    Raises Unsupported for a network that does not stream, TargetError where it follows at none of these rates.
    """
    pixels = pipeline_graph(graph).input_nodes[0].shape.pixels
    intervals = sorted({max(1, pixels * 4**i // FASTEST) for i in range(RATES)})
    found: list[Rate] = []
    refused: TargetError | None = None
    for interval in intervals:
        try:
            found.append(_rate(graph, interval))
        except TargetError as error:
            refused = error
    if not found and refused is not None:
        raise refused
    return tuple(found)


def _rate(graph: Graph, interval: int) -> Rate:
    made = plan_pixels(graph, interval=interval)
    run = simulate(made, max(2, made.frames))
    return Rate(
        interval_cycles=interval,
        multipliers=made.multipliers,
        utilisation=made.utilisation,
        ceil_multipliers=plan_pixels(graph, interval=interval, ceil=True).multipliers,
        unshared_multipliers=made.unshared_multipliers,
        line_buffer_values=made.line_buffer_values,
        skip_values=made.skip_values,
        hold_values=made.hold_values,
        fifo_values=made.fifo_values,
        latency_cycles=made.latency_cycles,
        measured_interval_cycles=run.interval_cycles,
        measured_latency_cycles=run.latency_cycles,
        rings=len(made.depths),
        rings_full=sum(run.peaks[ring] == depth for ring, depth in made.depths.items()),
        rings_over=sum(run.peaks[ring] > depth for ring, depth in made.depths.items()),
        stalled_cycles=run.stalled_cycles,
    )


@dataclass(frozen=True, slots=True)
class HardwareRate:
    """One interval: the ideal, its foldings with what hardware adds, and the plan of hardware, simulated."""

    interval_cycles: int
    ideal_multipliers: int
    multipliers: int
    ideal_values: int
    """Of all rings."""
    same_values: int
    """With the ideal's foldings, but latencies, slots taken when a firing begins, and a ring for each reader."""
    values: int
    ideal_latency_cycles: int
    same_latency_cycles: int
    latency_cycles: int
    measured_interval_cycles: int | None
    measured_latency_cycles: int | None
    rings: int
    rings_full: int
    """Rings whose peak occupancy was as planned."""
    stalled_cycles: int


def hardware_rates(graph: Graph) -> tuple[HardwareRate, ...]:
    """From the least interval of hardware, a pixel of the largest map a cycle, doubled again and again.

    Raises Unsupported for a network that does not stream.
    """
    least = plan_pixels(graph, multipliers=_ANY, pipeline=pipeline.default()).interval_cycles
    return tuple(_hardware_rate(graph, least << i) for i in range(DOUBLINGS))


def _hardware_rate(graph: Graph, interval: int) -> HardwareRate:
    ideal = plan_pixels(graph, interval=interval)
    made = plan_pixels(graph, interval=interval, pipeline=pipeline.default())
    run = simulate(made, max(2, made.frames))
    values, latency = _as_hardware(ideal)
    return HardwareRate(
        interval_cycles=interval,
        ideal_multipliers=ideal.multipliers,
        multipliers=made.multipliers,
        ideal_values=ideal.buffer_values,
        same_values=values,
        values=made.buffer_values,
        ideal_latency_cycles=ideal.latency_cycles,
        same_latency_cycles=latency,
        latency_cycles=made.latency_cycles,
        measured_interval_cycles=run.interval_cycles,
        measured_latency_cycles=run.latency_cycles,
        rings=len(made.depths),
        rings_full=sum(run.peaks[ring] == depth for ring, depth in made.depths.items()),
        stalled_cycles=run.stalled_cycles,
    )


def _as_hardware(plan: PixelPlan) -> tuple[int, int]:
    """Values of rings and latency of an ideal plan's foldings with what hardware adds."""
    graph = plan.graph
    flow = Flow(graph, latency_of=partial(latency_cycles, graph, pipeline.default()))
    chosen = {stage.node: stage.folding for stage in plan.stages}
    times = schedule(flow, chosen, plan.interval_cycles)
    values = sum(sum(rings(flow, chosen, times, b.value)[0]) * b.channels for b in plan.buffers)
    return values, latency_of(graph, times)
