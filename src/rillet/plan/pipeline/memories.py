"""The memories of a plan of hardware, by width and words, and the block RAMs that they take.

A stage reads one word of weights a cycle: all that its multipliers take, so as many words as a firing has cycles. A
ring has words of whole beats of its writer and whole operands of its reader, and a copy for each tap read at once.
A block RAM has few shapes, each half as wide and twice as deep as another; a memory takes the shape of which it needs
the fewest. Memories of few words, and those that would leave most of their block RAMs empty, lie in look-up tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from math import lcm

from rillet.arithmetic.convolution import level_sums
from rillet.arithmetic.shift import mean_shift
from rillet.ir.facts import has_weights, is_constant, is_pointwise_function, is_pool, is_slice, is_sum
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Pool, PoolKind, Rounding
from rillet.plan.pipeline.folding import Folding
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.pipeline.registers import blocks_of, plain_sum
from rillet.targets.pipeline import Pipeline

SHIFT_BITS, SCALE_BITS, LEVEL_BITS = 5, 37, 8
"""Of a shift, of a multiplier of 31 bits with its own, and of a level that multiplies a sum of signs."""
TABLE_WORDS = 256
SUMS_STEPS = 3
"""Of fewer steps the sums of a map lie in registers: a word that is read would still be on its way to be written."""
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
    OPERAND = "operand"
    """A value that never changes."""
    SUMS = "sums"
    """Of a full map, or maxima, as its pixels come."""

    @property
    def constant(self) -> bool:
        """True where nothing writes it."""
        return self not in (Content.RING, Content.SUMS)


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
        return self.copies * block_rams(self.width_bits, self.words, pipeline, constant=self.content.constant)

    def behind_one_another(self, pipeline: Pipeline) -> int:
        """Block RAMs that have a bit of the word each, of which one is chosen; 1 where it lies in look-up tables."""
        return _best_shape(self.width_bits, self.words, pipeline)[1] if self.block_rams(pipeline) else 1


def in_block_ram(width_bits: int, words: int, pipeline: Pipeline, *, constant: bool) -> bool:
    """Whether a memory lies in block RAM, and not in look-up tables; constant: it is never written."""
    if words <= pipeline.lutram_words:
        return False
    if not constant and pipeline.lutram_words == 1:
        return True
    return width_bits * words > pipeline.lut_bits * _best_shape(width_bits, words, pipeline)[0]


def block_rams(width_bits: int, words: int, pipeline: Pipeline, *, constant: bool) -> int:
    """Block RAMs of one memory by the best of their shapes; 0 where it lies in look-up tables."""
    if not in_block_ram(width_bits, words, pipeline, constant=constant):
        return 0
    return _best_shape(width_bits, words, pipeline)[0]


def _best_shape(width_bits: int, words: int, pipeline: Pipeline) -> tuple[int, int]:
    """The fewest block RAMs, and how many of these lie behind one another."""
    return _shape(width_bits, words, pipeline.block_ram_width, pipeline.block_ram_bits)


@lru_cache(maxsize=1 << 16)
def _shape(width_bits: int, words: int, wide: int, block_bits: int) -> tuple[int, int]:
    """The same for block RAMs of so many bits, at most so wide; plans ask for few memories again and again."""
    deep = block_bits // wide
    counts: list[tuple[int, int]] = []
    while wide:
        pieces = -(-words // deep)
        counts.append((-(-width_bits // wide) * pieces, pieces))
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
        node = plan.graph.by_name[stage.node]
        made += _constants(plan.graph, node, stage.folding)
        if is_pool(node.op) and (stage.accumulates or node.op.kind is PoolKind.MEAN):
            made += _sums(plan.graph, node, stage.folding)
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
    held = [graph.by_name[name].shape for name in node.inputs if is_constant(graph.by_name[name].op)]
    words = [shape.pixels * -(-shape.channels // folding.outputs) for shape in held]
    made = [StageMemory(node.name, Content.OPERAND, "", 8 * folding.outputs, count, 1) for count in words]
    if is_sum(node.op) and not plain_sum(graph, node):
        made.append(StageMemory(node.name, Content.TABLE, "", SIDE_BITS, TABLE_WORDS, 2 * folding.outputs))
    return made


def _sums(graph: Graph, node: Node, folding: Folding) -> list[StageMemory]:
    """What is added up of a full map, channel by channel; of few steps it lies in registers."""
    if folding.cycles < SUMS_STEPS:
        return []
    return [StageMemory(node.name, Content.SUMS, "", folding.outputs * total_bits(graph, node), folding.cycles, 1)]


def total_bits(graph: Graph, node: Node) -> int:
    """Bits of what a pool of a full map keeps of each channel: a maximum, a sum, or one that a shift then rounds."""
    source = graph.by_name[node.inputs[0]]
    match node.op:
        case Pool(kind=PoolKind.MAX):
            return source.type.dtype.bits
        case Pool(kind=PoolKind.AVERAGE, window=window):
            return under_window_bits(window.taps)
        case Pool(kind=PoolKind.MEAN, rounding=Rounding.SHIFT):
            bits = max(12, under_window_bits(source.shape.pixels))
            if source.type.quant is None or node.type.quant is None:
                return bits
            return max(bits, mean_shift(source.type.quant, node.type.quant, source.shape.pixels) + 2)
        case _:
            return max(12, under_window_bits(source.shape.pixels))


def under_window_bits(count: int) -> int:
    """Bits of a sum of so many values."""
    return (256 * count).bit_length() + 1


def scales_width(graph: Graph, node: Node, units: int) -> int:
    """Bits of a word of biases and what requantises sums, these as wide as sums of such a layer may be."""
    assert has_weights(node.op)
    source = graph.input_shapes(node)[0]
    products = node.op.window.taps * source.channels // node.op.groups
    shifts = node.op.rounding is Rounding.SHIFT or graph.by_name[node.inputs[0]].type.quant is None
    sums = min(32, 16 + (products - 1).bit_length()) + LEVEL_BITS * level_sums(graph, node, node.op)
    return units * (sums + (SHIFT_BITS if shifts else SCALE_BITS))
