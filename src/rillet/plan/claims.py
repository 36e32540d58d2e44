"""What a chip's promise of images a second takes: products against multipliers, weights against the room for them."""

import math
from dataclasses import dataclass

from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.ir.ops import Conv
from rillet.targets import StreamChip


@dataclass(frozen=True, slots=True)
class Claim:
    """A promise beside what the chip has."""

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

    @property
    def holds(self) -> bool:
        """True where neither products nor weights forbid it."""
        fits = self.weights_held is None or self.weights <= self.weights_held
        return fits and self.multipliers_needed <= self.multipliers


def check_claim(graph: Graph, chip: StreamChip, images_per_s: float | None = None) -> Claim:
    """The chip's promise (or another rate) checked against a network; raises TargetError where it promises none."""
    rate = images_per_s if images_per_s is not None else chip.claimed_images_per_s
    if rate is None:
        raise TargetError(f"{chip.name}: claimed_images_per_s must be said to be checked")
    weights = 0
    for node in graph.nodes:
        if isinstance(node.op, Conv):
            weights += math.prod(node.op.weight_shape(graph.input_shapes(node)[0]))
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
    )
