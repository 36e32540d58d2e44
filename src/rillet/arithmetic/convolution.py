"""A convolution's stored weights and multipliers, out of a graph."""

from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift, wide
from rillet.errors import GraphError
from rillet.ir.facts import has_weights
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Conv, Rounding
from rillet.ir.remembered import remembered
from rillet.ir.types import DType, Quant

Number = TypeVar("Number", np.int64, np.float64)


def stored_weights(graph: Graph, node: Node, op: Conv) -> tuple[fp.Ints, int]:
    """Stored weights and their zero point; of ternary and binary weights, what their levels make of them."""
    weight = graph.param(node, "weight").astype(np.int64)
    if op.levels is not None:
        weight = with_levels(weight, graph.param(node, "levels").astype(np.int64))
    return weight, int(graph.param(node, "weight_zero_point")[0]) if op.weights is DType.U8 else 0


def centred_weights(graph: Graph, node: Node, op: Conv) -> Array:
    """Stored weights without their zero point, in a narrow type: large layers are copied once at most."""
    if op.levels is not None:
        return stored_weights(graph, node, op)[0]
    weight = graph.param(node, "weight")
    if op.weights is not DType.U8:
        return weight.astype(np.int8, copy=False)
    return weight.astype(np.int16) - np.int16(graph.param(node, "weight_zero_point")[0])


@remembered
def weight_sums(graph: Graph, node: Node) -> tuple[fp.Ints, fp.Ints]:
    """`signed_sums` of a quantised convolution's weights, without their zero point: what bounds its sums."""
    op = node.op
    assert has_weights(op)
    return fp.signed_sums(centred_weights(graph, node, op))


def real_weights(graph: Graph, node: Node, op: Conv) -> npt.NDArray[np.float64]:
    """Weights of a convolution of float32 values."""
    weight = graph.param(node, "weight").astype(np.float64)
    return weight if op.levels is None else with_levels(weight, graph.param(node, "levels").astype(np.float64))


def with_levels(weight: npt.NDArray[Number], levels: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Weights of -1, 0 and 1 times their output channels' levels, those of + in the first column."""
    plus, minus = (levels[:, i].reshape(-1, *[1] * (weight.ndim - 1)) for i in (0, 1))
    return np.where(weight > 0, weight * plus, weight * minus)


def level_sums(graph: Graph, node: Node, op: Conv) -> int:
    """Sums of signs that the levels of an output channel multiply: none without levels, one where + and - have the
    same, else one of the values under + and one of those under -; two where the network has no weights yet.
    """
    if op.levels is None:
        return 0
    if not graph.params:
        return 2
    weight = graph.param(node, "weight").reshape(op.out_channels, -1).astype(np.int64)
    plus, minus = graph.param(node, "levels").T
    there = (weight > 0).any(1) & (weight < 0).any(1)
    return 1 if bool((plus == minus)[there].all()) else 2


def multipliers(
    graph: Graph, node: Node, op: Conv, source: Quant, out: Quant
) -> tuple[npt.NDArray[np.int32] | npt.NDArray[np.int16], npt.NDArray[np.int8]]:
    """Mantissas and shifts of the output channels; under the rule `shift` mantissas are 0 and factors 2**-shift, under
    `reduced` they have 15 bits.
    """
    scales = graph.param(node, "weight_scale").astype(np.float32)
    # LiteRT takes the product of an input's scale and one scale of all weights in float32 for dense layers.
    in_f32 = op.weights is DType.U8 or (op.rounding is Rounding.SINGLE and bool((scales == scales[0]).all()))
    try:
        found = _multipliers(source, scales.tobytes(), out, in_f32, op.rounding is Rounding.SHIFT)
        return wide.reduced(*found) if op.rounding is Rounding.REDUCED else found
    except GraphError as error:
        raise GraphError(f"{graph.name}: {node.name}: {error}") from None


def rescaled(graph: Graph, node: Node, op: Conv, sums: fp.Ints, source: Quant, out: Quant) -> fp.Ints:
    """Accumulated sums, the output channel last, in steps of the result; before its zero point."""
    mantissa, exponent = multipliers(graph, node, op, source, out)
    match op.rounding:
        case Rounding.DOUBLE:
            return fp.multiply_double(sums, mantissa, exponent)
        case Rounding.SINGLE:
            return fp.multiply_single(sums, mantissa, exponent)
        case Rounding.SHIFT:
            return shift.rescale(sums, exponent)
        case Rounding.REDUCED:
            return wide.multiply_reduced(sums, mantissa, exponent)


def sum_range(graph: Graph, node: Node, op: Conv, source: DType, quant: Quant) -> tuple[fp.Ints, fp.Ints]:
    """The least and the greatest sum of each output channel over all stored inputs, bias and zero points included."""
    plus, minus = weight_sums(graph, node)
    bias = graph.param(node, "bias").astype(np.int64) if op.bias else np.zeros(len(plus), np.int64)
    low, high = (bound - quant.zero_point for bound in source.integers)
    return bias + low * plus + high * minus, bias + high * plus + low * minus


def sum_bits(graph: Graph, node: Node, op: Conv) -> int:
    """Bits of the widest sum of a quantised convolution as hardware adds it up: of values of 8 bits (uint8 less 128) or
    of signs, from a bias that has what their zero point makes of it, over all inputs; at most 32.
    """
    source = graph.by_name[node.inputs[0]].type
    assert source.quant is not None
    zero, most = source.quant.zero_point - (128 if source.dtype is DType.U8 else 0), 1 << (source.dtype.bits - 1)
    bias = graph.param(node, "bias").astype(np.int64) if op.bias else np.zeros(op.out_channels, np.int64)
    plus, minus = weight_sums(graph, node)
    reach = int((np.abs(bias - zero * (plus + minus)) + most * (plus - minus)).max(initial=0))
    return min(32, reach.bit_length() + 1)


@lru_cache(maxsize=512)
def _multipliers(
    source: Quant, scales: bytes, out: Quant, in_f32: bool, shifts: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
    # A pipeline asks for them at every pixel.
    weight_scale = np.frombuffer(scales, np.float32)
    if shifts:
        found = np.zeros(len(weight_scale), np.int32), shift.conv_shifts(source, weight_scale, out)
    else:
        found = fp.conv_multipliers(source, weight_scale, out, in_f32)
    for array in found:
        array.flags.writeable = False
    return found
