"""What brings the results of a stage to bytes: units, how many there are, and what each takes."""

from dataclasses import dataclass, replace
from typing import assert_never

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic.convolution import level_sums, multipliers, sum_bits
from rillet.ir.facts import has_weights, is_given
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
from rillet.plan.pipeline.folding import Folding
from rillet.plan.pipeline.memories import total_bits
from rillet.plan.pipeline.registers import blocks_of, plain_sum
from rillet.targets.families import Family

PRODUCT_BITS = 18
"""Of the product of two values without their zero points."""
SIDE_BITS = 26
"""Of a sum of two values that were rescaled."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What brings a value that leaves a stage to bytes."""

    dsp_blocks: int = 0
    bits: int = 0
    """Of the sum or product that comes to it; 0 where nothing is to be brought to bytes."""
    multiplies: bool = False
    """By the rule `fixed_point`; else it shifts, or takes the sum as it is."""


def all_units(graph: Graph, family: Family | None) -> dict[str, Unit]:
    """The unit of every stage, by its node.

    family: of the chip; None where it is unknown, whose DSP blocks are then taken to multiply 18 by 18 bits.
    """
    return {node.name: _unit(graph, node, family) for node in graph.nodes if not is_given(node.op)}


def count_units(node: Node, folding: Folding) -> int:
    """Values that leave a stage in a cycle, each by a unit of its own."""
    return blocks_of(node.op.out_channels, node.op.groups, folding).units if has_weights(node.op) else folding.outputs


def _unit(graph: Graph, node: Node, family: Family | None) -> Unit:
    match node.op:
        case Conv(activation=activation) as op:
            sums, bits = level_sums(graph, node, op), _sum_bits(graph, node, op)
            if activation is Activation.SIGN or node.type.dtype in (DType.BINARY, DType.I32):
                return Unit(sums, bits)
            made = _rounded(graph, node, op.rounding, bits, family)
            return replace(made, dsp_blocks=made.dsp_blocks + sums)
        case Multiply(rounding=rounding):
            return _rounded(graph, node, rounding, PRODUCT_BITS, family)
        case Pool(kind=PoolKind.MEAN, rounding=rounding):
            return _rounded(graph, node, rounding, total_bits(graph, node), family)
        case Pool(kind=kind):
            # A product with the reciprocal of the count.
            return Unit(1) if kind is PoolKind.AVERAGE else Unit()
        case Add():
            return Unit() if plain_sum(graph, node) else Unit(_scale(family, _SHIFTED_BITS), SIDE_BITS, True)
        case Activate() | Apply() | Pair() | Requantize() | BatchNorm() | Softmax() | ArgMax():
            return Unit()
        case Concat() | Slice() | Select() | DepthToSpace() | SpaceToDepth() | Pad() | Resize():
            return Unit()
        case Interpolate():
            # Of each of a pixel's values with the shares of its rows and columns.
            return Unit(3)
        case Input() | Constant():
            raise AssertionError(f"{node.name} is no stage")
        case _ as other:
            assert_never(other)


def _sum_bits(graph: Graph, node: Node, op: Conv) -> int:
    """Bits of a sum of a convolution: as wide as its weights need, or as any weights of such a layer may."""
    if graph.params and node.type.quant is not None:
        return sum_bits(graph, node, op)
    products = op.window.taps * graph.input_shapes(node)[0].channels // op.groups
    return min(32, 16 + (products - 1).bit_length())


_SHIFTED_BITS = 32
"""Of what is shifted to the left before it is multiplied."""


def _rounded(graph: Graph, node: Node, rounding: Rounding, bits: int, family: Family | None) -> Unit:
    # What has no scales yet is quantised by shifts unless it is said otherwise.
    if rounding is Rounding.SHIFT or graph.by_name[node.inputs[0]].type.quant is None:
        return Unit(0, bits)
    return Unit(_scale(family, _SHIFTED_BITS if _shifts_left(graph, node) else bits), bits, True)


def _shifts_left(graph: Graph, node: Node) -> bool:
    """True where some result of a stage is multiplied by more than 1."""
    first, *others = (graph.by_name[name].type.quant for name in node.inputs)
    out = node.type.quant
    if first is None or out is None or not graph.params:
        return False
    if has_weights(node.op):
        return bool((multipliers(graph, node, node.op, first, out)[1] > 0).any())
    if others and others[0] is not None:
        return fp.product_multiplier(first, others[0], out).shift > 0
    return fp.mean_multiplier(first, out, graph.input_shapes(node)[0].pixels).shift > 0


def _scale(family: Family | None, bits: int) -> int:
    """DSP blocks that multiply a value of so many bits by a mantissa of 31, in two halves."""
    return 2 if bits <= (18 if family is None else family.factor_bits) else 4
