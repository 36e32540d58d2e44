"""The memories of a plan of hardware, by width and words, and the block RAMs that they take.

A stage reads one word of weights a cycle: all that its multipliers take, so as many words as a firing has cycles. A
ring has words of whole beats of its writer and whole operands of its reader, and a copy for each tap read at once.
A block RAM has few shapes, each half as wide and twice as deep as another; a memory takes the shape of which it needs
the fewest. Small memories lie in look-up tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import lcm

from rillet.ir.facts import has_weights, is_slice
from rillet.ir.graph import Graph, Node
from rillet.plan.pipeline.folding import Folding
from rillet.plan.pipeline.plan import PixelPlan
from rillet.targets.pipeline import Pipeline


class Content(StrEnum):
    """What a memory is for."""

    WEIGHTS = "weights"
    RING = "ring"


@dataclass(frozen=True, slots=True)
class StageMemory:
    """One memory of a stage, which may be there several times."""

    stage: str
    """That reads it."""
    content: Content
    value: str
    """Of a ring: the value in it."""
    width_bits: int
    words: int
    copies: int

    @property
    def bits(self) -> int:
        """Bits of all copies."""
        return self.copies * self.width_bits * self.words

    def block_rams(self, pipeline: Pipeline) -> int:
        """Block RAMs of all copies; 0 for what lies in look-up tables."""
        return self.copies * block_rams(self.width_bits, self.words, pipeline)


def block_rams(width_bits: int, words: int, pipeline: Pipeline) -> int:
    """Block RAMs of one memory by the best of their shapes; 0 where it lies in look-up tables."""
    if words <= pipeline.lutram_words:
        return 0
    wide, deep = pipeline.block_ram_width, pipeline.block_ram_bits // pipeline.block_ram_width
    counts: list[int] = []
    while wide:
        counts.append(-(-width_bits // wide) * -(-words // deep))
        wide, deep = wide // 2, deep * 2
    return min(counts)


def memories(plan: PixelPlan) -> tuple[StageMemory, ...]:
    """The memories of a plan of hardware: of each stage its weights, then the rings that it reads."""
    foldings = {stage.node: stage.folding for stage in plan.stages}
    rings = {buffer.value: (buffer, dict(zip(buffer.readers, buffer.rings, strict=True))) for buffer in plan.buffers}
    made: list[StageMemory] = []
    for stage in plan.stages:
        if stage.weights:
            width = stage.folding.multipliers * stage.weight_bits
            made.append(StageMemory(stage.node, Content.WEIGHTS, "", width, stage.folding.cycles, 1))
        for value in stage.reads:
            buffer, depths = rings[value]
            made.append(ring_memory(plan.graph, foldings, value, stage.node, depths[stage.node], buffer.bits))
    return tuple(made)


def ring_memory(
    graph: Graph, foldings: Mapping[str, Folding], value: str, reader: str, depth: int, bits: int
) -> StageMemory:
    """The ring of a value for one reader: `depth` pixels of channels of `bits` each."""
    channels, folding = graph.by_name[value].shape.channels, foldings[reader]
    beat = foldings[value].outputs if value in foldings else channels
    # Whole beats and whole operands, at most all beats of a pixel.
    whole = -(-channels // beat) * beat
    node = graph.by_name[reader]
    across = is_slice(node.op) and node.op.start % folding.outputs
    word = whole if across else min(lcm(beat, _operand(node, folding, channels)), whole)
    return StageMemory(reader, Content.RING, value, word * bits, depth * -(-channels // word), folding.taps)


def _operand(node: Node, folding: Folding, channels: int) -> int:
    """Channels of a pixel that a stage reads at once."""
    if not has_weights(node.op):
        return min(folding.outputs, channels)
    # Of a layer in groups those of all groups that are computed at once.
    groups = max(1, folding.outputs * node.op.groups // node.shape.channels)
    return min(folding.inputs * groups, channels)
