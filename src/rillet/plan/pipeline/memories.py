"""The memories of a plan of hardware, by width and words, and the block RAMs that they take.

A stage reads one word of weights a cycle: all that its multipliers take, so as many words as a firing has cycles. A
ring has words of whole beats of its writer and whole operands of its reader, and a copy for each tap read at once.
A block RAM has few shapes, each half as wide and twice as deep as another; a memory takes the shape of which it needs
the fewest. Memories of few words, and those that would leave most of their block RAMs empty, lie in look-up tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import lcm

from rillet.arithmetic.convolution import level_sums
from rillet.ir.facts import has_weights, is_pointwise_function, is_slice, is_sum
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Rounding
from rillet.plan.pipeline.folding import Folding
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.pipeline.registers import blocks_of, plain_sum
from rillet.targets.pipeline import Pipeline

SHIFT_BITS, SCALE_BITS, LEVEL_BITS = 5, 37, 8
"""Of a shift, of a multiplier of 31 bits with its own, and of a level that multiplies a sum of signs."""
TABLE_WORDS = 256
SIDE_BITS = 24
"""Of an operand of a sum, rescaled."""


class Content(StrEnum):
    """What a memory is for."""

    WEIGHTS = "weights"
    RING = "ring"
    SCALES = "scales"
    """Biases and what requantises sums, by outputs."""
    TABLE = "table"
    """A function of a value of 8 bits."""


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
        constant = self.content is not Content.RING
        return self.copies * block_rams(self.width_bits, self.words, pipeline, constant=constant)


def in_block_ram(width_bits: int, words: int, pipeline: Pipeline, *, constant: bool) -> bool:
    """Whether a memory lies in block RAM, and not in look-up tables; constant: it is never written."""
    if words <= pipeline.lutram_words:
        return False
    if not constant and pipeline.lutram_words == 1:
        return True
    return width_bits * words > pipeline.lut_bits * _best_shape(width_bits, words, pipeline)


def block_rams(width_bits: int, words: int, pipeline: Pipeline, *, constant: bool) -> int:
    """Block RAMs of one memory by the best of their shapes; 0 where it lies in look-up tables."""
    if not in_block_ram(width_bits, words, pipeline, constant=constant):
        return 0
    return _best_shape(width_bits, words, pipeline)


def _best_shape(width_bits: int, words: int, pipeline: Pipeline) -> int:
    wide, deep = pipeline.block_ram_width, pipeline.block_ram_bits // pipeline.block_ram_width
    counts: list[int] = []
    while wide:
        counts.append(-(-width_bits // wide) * -(-words // deep))
        wide, deep = wide // 2, deep * 2
    return min(counts)


def memories(plan: PixelPlan) -> tuple[StageMemory, ...]:
    """The memories of a plan of hardware: of each stage what never changes, then the rings that it reads."""
    foldings = {stage.node: stage.folding for stage in plan.stages}
    rings = {buffer.value: (buffer, dict(zip(buffer.readers, buffer.rings, strict=True))) for buffer in plan.buffers}
    made: list[StageMemory] = []
    for stage in plan.stages:
        if stage.weights:
            width = stage.folding.multipliers * stage.weight_bits
            made.append(StageMemory(stage.node, Content.WEIGHTS, "", width, stage.folding.cycles, 1))
        made += _constants(plan.graph, plan.graph.by_name[stage.node], stage.folding)
        for value in stage.reads:
            buffer, depths = rings[value]
            made.append(ring_memory(plan.graph, foldings, value, stage.node, depths[stage.node], buffer.bits))
    return tuple(made)


def ring_memory(
    graph: Graph, foldings: Mapping[str, Folding], value: str, reader: str, depth: int, bits: int
) -> StageMemory:
    """The ring of a value for one reader: `depth` pixels of channels of `bits` each."""
    channels, folding = graph.by_name[value].shape.channels, foldings[reader]
    beat = _beat(graph.by_name[value], foldings[value]) if value in foldings else channels
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


def _beat(node: Node, folding: Folding) -> int:
    """Channels of a pixel that a stage writes at once."""
    if not has_weights(node.op):
        return folding.outputs
    return blocks_of(node.op.out_channels, node.op.groups, folding).units


def _constants(graph: Graph, node: Node, folding: Folding) -> list[StageMemory]:
    """What requantises the sums of a convolution, and the tables of functions, one for each value at once."""
    if has_weights(node.op):
        units = blocks_of(node.op.out_channels, node.op.groups, folding).units
        words = -(-node.op.out_channels // units)
        return [StageMemory(node.name, Content.SCALES, "", scales_width(graph, node, units), words, 1)]
    if is_pointwise_function(node.op):
        return [StageMemory(node.name, Content.TABLE, "", 8, TABLE_WORDS, folding.outputs)]
    if is_sum(node.op) and not plain_sum(graph, node):
        return [StageMemory(node.name, Content.TABLE, "", SIDE_BITS, TABLE_WORDS, 2 * folding.outputs)]
    return []


def scales_width(graph: Graph, node: Node, units: int) -> int:
    """Bits of a word of biases and what requantises sums, these as wide as sums of such a layer may be."""
    assert has_weights(node.op)
    source = graph.input_shapes(node)[0]
    products = node.op.window.taps * source.channels // node.op.groups
    shifts = node.op.rounding is Rounding.SHIFT or graph.by_name[node.inputs[0]].type.quant is None
    sums = min(32, 16 + (products - 1).bit_length()) + LEVEL_BITS * level_sums(graph, node, node.op)
    return units * (sums + (SHIFT_BITS if shifts else SCALE_BITS))
