"""How many cycles a stage's result takes from the end of its firing to the rings behind it, as hardware."""

from dataclasses import dataclass
from typing import assert_never

from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Interpolate,
    Multiply,
    Pad,
    Pair,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
)
from rillet.ir.types import DType
from rillet.plan.pipeline.folding import Folding, divisors
from rillet.targets.pipeline import Pipeline

ADDER = 4
"""Products, or sums of them, that one level of adders adds up; behind each level is a register."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks in which a convolution makes its outputs, and how each leaves: few channels a cycle, one a unit.

    The sums of a block take several cycles, and in these the block before is requantised.
    """

    groups: int
    """Whole groups of a block; 1 where a block has outputs of one group alone."""
    each: int
    """Blocks of a group; 1 where a block has whole groups."""
    count: int
    """Blocks of a pixel."""
    units: int
    """Channels that leave in a cycle: a divisor of the block."""
    last: int
    """Outputs of the last block of a pixel, and of each group where a group has several; the others are full."""

    @property
    def last_beats(self) -> int:
        """Cycles in which that leaves."""
        return -(-self.last // self.units)


def blocks_of(outputs: int, groups: int, folding: Folding) -> Blocks:
    """The blocks of a convolution with so many outputs in so many groups."""
    wide, own = folding.outputs, outputs // groups
    if wide > own:
        together, each, count = wide // own, 1, -(-groups * own // wide)
        last = outputs - (count - 1) * wide
    else:
        together, each = 1, -(-own // wide)
        count, last = groups * each, own - (each - 1) * wide
    cycles = folding.cycles // count
    # Beats have no spare channels but the last of a pixel.
    split = together == 1 and groups > 1
    units = next(u for u in divisors(wide) if u * cycles >= wide and (not split or last % u == 0 or u == wide))
    if split and last % units:
        raise AssertionError("a group's channels leave in whole beats")
    return Blocks(together, each, count, units, last)


def levels(products: int) -> int:
    """Levels of adders for so many products at once."""
    found = 0
    while products > 1:
        products, found = -(-products // ADDER), found + 1
    return found


def latency_cycles(graph: Graph, pipeline: Pipeline, node: Node, folding: Folding) -> int:
    """Cycles from the last operand that a firing of `node` reads to its result in the rings behind."""
    fetched = pipeline.registers("read", "operand")
    source = graph.by_name[node.inputs[0]].type if node.inputs else node.type
    match node.op:
        case Input() | Constant():
            return 0
        case Conv(rounding=rounding, out_channels=outputs, groups=groups, activation=activation, levels=levelled):
            blocks = blocks_of(outputs, groups, folding)
            products = pipeline.registers("multiply") * (1 if levelled is None else 2)
            sums = products + levels(folding.inputs * folding.taps) * pipeline.registers("sum")
            plain = activation is Activation.SIGN or node.type.dtype in (DType.BINARY, DType.I32)
            # What has no scales yet is quantised by shifts unless it is said otherwise.
            scaled = 0 if plain else _scaled(pipeline, rounding if source.quant is not None else Rounding.SHIFT)
            return fetched + sums + pipeline.registers("accumulate", "bias", "output") + scaled + blocks.last_beats - 1
        case Pool(kind=PoolKind.MEAN, rounding=rounding):
            shifts = rounding if source.quant is not None else Rounding.SHIFT
            return fetched + pipeline.registers("accumulate", "output") + _scaled(pipeline, shifts)
        case Pool(kind=kind):
            joined = levels(folding.taps) * pipeline.registers("sum") + pipeline.registers("accumulate", "output")
            return fetched + joined + (pipeline.registers("bias", "multiply") if kind is PoolKind.AVERAGE else 0)
        case Add():
            if plain_sum(graph, node):
                return fetched + pipeline.registers("output")
            return fetched + pipeline.registers("read", "sum", "fixed_point", "output")
        case Multiply(rounding=rounding):
            shifts = rounding if source.quant is not None else Rounding.SHIFT
            return fetched + pipeline.registers("bias", "multiply", "output") + _scaled(pipeline, shifts)
        case Activate() | Apply() | Pair() | Requantize() | BatchNorm() | Softmax() | ArgMax():
            return fetched + pipeline.registers("output")
        case Interpolate():
            return fetched + 2 * pipeline.registers("multiply") + pipeline.registers("sum", "output")
        case Concat() | Slice() | Select() | DepthToSpace() | SpaceToDepth() | Pad() | Resize():
            return fetched + pipeline.registers("output")
        case _ as other:
            assert_never(other)


def plain_sum(graph: Graph, node: Node) -> bool:
    """True where a sum's values are all of one scale, so that stored integers are added as they are."""
    quants = [graph.by_name[name].type.quant for name in node.inputs] + [node.type.quant]
    return len({quant.scale if quant is not None else None for quant in quants}) == 1


def _scaled(pipeline: Pipeline, rounding: Rounding) -> int:
    return pipeline.registers("shift" if rounding is Rounding.SHIFT else "fixed_point")
