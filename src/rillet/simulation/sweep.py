"""A network as a pipeline at many initiation intervals: planned cost, and what the simulation measures."""

from dataclasses import dataclass

from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.pipeline.planner import pipeline_graph
from rillet.simulation.pipeline import simulate

FASTEST, RATES = 1024, 8
"""Pixels of the image a cycle at the fastest rate; the others are a quarter of each other."""


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
