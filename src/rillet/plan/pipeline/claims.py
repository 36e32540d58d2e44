"""Vendor throughput claims: images per second against a network's multiplications and weights, and the best plan."""

import math
from dataclasses import dataclass

from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.pipeline.planner import count_weights
from rillet.targets.chips import StreamChip


@dataclass(frozen=True, slots=True)
class Claim:
    """A vendor's throughput claim, beside the chip's resources."""

    chip: str
    network: str
    claimed_images_per_s: float
    macs: int
    multipliers: int
    multipliers_needed: int
    """MACs x images a second / clock: every multiplier busy in every cycle."""
    most_images_per_s: float
    """Multipliers x clock / MACs."""
    weights: int
    weights_held: int | None
    """Weights that all multipliers hold; None where they are kept elsewhere."""

    clock_hz: float
    unbound_cycles: int
    """The least interval of a plan with these multipliers, weight storage unbounded."""
    planned_cycles: int | None
    """The least interval of a plan on the chip as it is; None where there is none."""
    refused: str
    """Why there is no plan; empty where there is one."""

    @property
    def holds(self) -> bool:
        """True where a plan reaches the claimed rate."""
        return self.planned_cycles is not None and self.clock_hz / self.planned_cycles >= self.claimed_images_per_s

    @property
    def weights_missing(self) -> int:
        """Weights beyond the chip's weight storage."""
        return 0 if self.weights_held is None else max(0, self.weights - self.weights_held)

    @property
    def chips_needed(self) -> int:
        """Chips whose multipliers hold all weights."""
        return 1 if self.weights_held is None else math.ceil(self.weights / self.weights_held)

    @property
    def weights_each(self) -> int:
        """Weights that each multiplier would have to hold."""
        return math.ceil(self.weights / self.multipliers)


def check_claim(graph: Graph, chip: StreamChip, images_per_s: float | None = None, *, ceil: bool = False) -> Claim:
    """The chip's claimed throughput (or another rate) checked against a network, with 8-bit weights and the chip's own
    clock.

    `ceil` allows foldings that do not divide. Raises TargetError where the chip has no claim, and where it has
    too few multipliers for any interval; Unsupported for a network that does not stream.
    """
    rate = images_per_s if images_per_s is not None else chip.claimed_images_per_s
    if rate is None:
        raise TargetError(f"{chip.name}: claimed_images_per_s must be given to be checked")
    weights = count_weights(graph)
    unbound = plan_pixels(graph, multipliers=chip.multipliers, ceil=ceil)
    planned, refused = None, ""
    try:
        planned = plan_pixels(graph, chip=chip, ceil=ceil).interval_cycles
    except TargetError as error:
        refused = str(error)
    each = chip.weights_per_multiplier
    return Claim(
        chip=chip.name,
        network=graph.name,
        claimed_images_per_s=rate,
        macs=graph.macs,
        multipliers=chip.multipliers,
        multipliers_needed=math.ceil(graph.macs * rate / chip.clock_hz),
        most_images_per_s=chip.multipliers * chip.clock_hz / graph.macs if graph.macs else math.inf,
        weights=weights,
        weights_held=None if each is None else chip.multipliers * each,
        clock_hz=chip.clock_hz,
        unbound_cycles=unbound.interval_cycles,
        planned_cycles=planned,
        refused=refused,
    )
