"""What the energy of a stream depends on of a plan: how often each layer fires, what is held, and where weights lie."""

from collections.abc import Mapping
from dataclasses import dataclass

from rillet.analyses.memory import value_bits
from rillet.ir.types import Shape
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan


@dataclass(frozen=True, slots=True)
class Streamed:
    """A plan, as energy asks about it."""

    name: str
    """The network's."""
    firings: Mapping[str, int]
    """Of each stage, for one image."""
    held: int
    """Activations: `held` bytes where operands have `held_at` bits, and so much less where they have fewer."""
    held_at: int
    weights_apart: bool
    """True where each stage has weights of its own, though layers share them."""

    def held_bytes(self, bits: int) -> int:
        """Bytes of activations where operands have so many bits."""
        return -(-self.held * bits // self.held_at)


def of_rows(plan: RowPlan) -> Streamed:
    """A row plan: weights are read once for each tile, and lie in one memory."""
    stages = [stage for segment in plan.segments for stage in segment.stages]
    shapes = {stage.node: plan.graph.by_name[stage.node].shape for stage in stages}
    fired = {stage.node: tiles(shapes[stage.node], stage.tile_pixels) for stage in stages}
    return Streamed(plan.graph.name, fired, plan.arena_bytes, value_bits(plan.graph), weights_apart=False)


def of_pixels(plan: PixelPlan) -> Streamed:
    """A pixel plan: weights are read once for the pixels that lanes make together, and lie in a memory a stage."""
    fired = {s.node: -(-plan.graph.by_name[s.node].shape.pixels // s.folding.lanes) for s in plan.stages}
    return Streamed(plan.graph.name, fired, plan.buffer_values, 8, weights_apart=True)


def tiles(shape: Shape, tile_pixels: int) -> int:
    """Tiles of a map: none goes beyond its row."""
    return shape.height * -(-shape.width // tile_pixels)
