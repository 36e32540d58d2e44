"""A network on every known chip: the least initiation interval with all weights on chip, or what is missing."""

from dataclasses import dataclass

from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.plan.pipeline.entry import least_memory_bits, plan_pixels
from rillet.plan.pipeline.planner import count_weights
from rillet.targets import chips

BITS = 8
"""Of the values of hardware."""


@dataclass(frozen=True, slots=True)
class ChipRow:
    """One chip; what is planned is None where there is no plan."""

    chip: str
    """What --target calls it."""
    multipliers: int
    clock_hz: float
    memory_bits: int | None
    """None where it is unknown."""
    needed_bits: int
    """Weights, biases and the least rings."""
    weights: int
    weights_held: int | None
    """Weights that its multipliers hold; None where they lie in its memory."""
    interval_cycles: int | None
    images_per_s: float | None
    utilisation: float | None
    """MACs / (multipliers of the plan x interval)."""
    planned_multipliers: int | None
    planned_bits: int | None
    hardware_interval_cycles: int | None
    hardware_images_per_s: float | None
    """Of the plan with what hardware adds; None too for a chip whose multipliers hold weights themselves."""
    refused: str
    """Why there is no plan; empty where there is one."""

    @property
    def missing_bits(self) -> int:
        """Memory that it lacks."""
        return 0 if self.memory_bits is None else max(0, self.needed_bits - self.memory_bits)

    @property
    def missing_weights(self) -> int:
        """Weights for which its multipliers have no room."""
        return 0 if self.weights_held is None else max(0, self.weights - self.weights_held)


def on_chips(graph: Graph, weight_bits: int = 8) -> tuple[ChipRow, ...]:
    """A row for each known chip, at its own clock. Raises Unsupported for a network that does not stream."""
    needed = least_memory_bits(graph, weight_bits)
    return tuple(_row(graph, name, needed, weight_bits) for name in chips.names())


def _row(graph: Graph, name: str, needed: int, weight_bits: int) -> ChipRow:
    chip = chips.load(name)
    made, hardware, refused = None, None, ""
    try:
        made = plan_pixels(graph, chip=chip, weight_bits=weight_bits)
        if chip.pipeline is not None and weight_bits == BITS:
            hardware = plan_pixels(graph, chip=chip, pipeline=chip.pipeline)
    except TargetError as error:
        refused = "" if made else str(error)
    each = chip.weights_per_multiplier
    return ChipRow(
        chip=name,
        multipliers=chip.multipliers,
        clock_hz=chip.clock_hz,
        memory_bits=chip.memory_bits,
        needed_bits=needed,
        weights=count_weights(graph),
        weights_held=None if each is None else each * chip.multipliers,
        interval_cycles=made.interval_cycles if made else None,
        images_per_s=made.images_per_s if made else None,
        utilisation=made.utilisation if made else None,
        planned_multipliers=made.multipliers + made.elementwise_multipliers if made else None,
        planned_bits=made.memory_bits if made else None,
        hardware_interval_cycles=hardware.interval_cycles if hardware else None,
        hardware_images_per_s=hardware.images_per_s if hardware else None,
        refused=refused,
    )
