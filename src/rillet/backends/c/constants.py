"""The data of an emitted program: weights in the plan's packing, biases with zero points folded in, tables."""

from collections.abc import Iterable

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import tables, wide
from rillet.arithmetic.convolution import centred_weights, multipliers, real_weights, stored_weights, weight_sums
from rillet.errors import GraphError, Unsupported
from rillet.ir.facts import has_weights, is_activation, is_curve, is_function
from rillet.ir.functions import Curve
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Activate, Activation, Rounding
from rillet.ir.packed import to_lists, to_planes
from rillet.ir.types import DType, Quant
from rillet.plan.rows.kernels import xnor_bytes
from rillet.plan.rows.plan import Kernel, Packing, RowPlan, Stage

C_TYPES = {
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "float32": "float",
}
ROUNDINGS = {Rounding.DOUBLE: 0, Rounding.SINGLE: 1, Rounding.SHIFT: 2, Rounding.REDUCED: 3}
"""As rescale.h and wide.h number them."""
_COLUMNS = 120


def quant(graph: Graph, node: Node) -> Quant:
    """A value's quantisation; raises Unsupported for float32."""
    if node.type.quant is None:
        raise Unsupported(f"{graph.name}: {node.name}: must be quantised, got {node.type.dtype.value}")
    return node.type.quant


def rescaled(node: Node, source: Node) -> bool:
    """True where a part of a Concat has another quantisation than the whole."""
    return source.type.quant != node.type.quant


def keeps_bytes(plan: RowPlan, node: Node) -> bool:
    """True where a table would give every byte back: int8 and uint8 of one scale, kept alike."""
    same = np.arange(256, dtype=np.uint8)
    return bool(plan.sign_flipped) and np.array_equal(lookup_table(plan.graph, node), same)


def is_curved(node: Node) -> bool:
    """True of a function of 16-bit values that is neither a clamp nor another quantisation: one by a table."""
    return is_curve(node.op) or (is_activation(node.op) and node.op.activation.clamp is None)


def wide_function_arrays(graph: Graph, node: Node) -> dict[str, Array]:
    """The table of a function of 16-bit values, where it has one."""
    op = node.op
    if is_curve(op) and op.curve in (Curve.LEAKY_RELU, Curve.ABS):
        return {}
    if is_curve(op) and op.curve is not Curve.TANH:
        return {"table": tables.wide_table(op, quant(graph, graph.by_name[node.inputs[0]]), quant(graph, node))}
    return {"table": wide.sigmoid_table()} if is_curved(node) else {}


def lookup_table(graph: Graph, node: Node) -> Array:
    """Results of the 256 bytes that a value can be."""
    source = graph.by_name[node.inputs[0]]
    function = node.op if is_function(node.op) else Activate(Activation.NONE)
    out = tables.activation_table(
        function, quant(graph, source), source.type.dtype, quant(graph, node), node.type.dtype
    )
    return out.astype(node.type.dtype.numpy).view(np.uint8)


def concat_table(graph: Graph, node: Node, source: Node) -> Array:
    """Bytes of a Concat's part in the quantisation of the whole."""
    low, high = node.type.dtype.integers
    values = fp.concatenated(tables.stored_values(source.type.dtype), quant(graph, source), quant(graph, node))
    return np.clip(values, low, high).astype(node.type.dtype.numpy).view(np.uint8)


def folded_bias(graph: Graph, node: Node) -> tuple[Array, Array]:
    """Weights without their zero point, and the bias with the zero point of the input folded in."""
    op, source = node.op, graph.by_name[node.inputs[0]]
    assert has_weights(op)
    if source.type.quant is None:
        bias = graph.param(node, "bias") if op.bias else np.zeros(op.out_channels, np.float32)
        weight = graph.param(node, "weight") if op.levels is None else real_weights(graph, node, op)
        return weight.astype(np.float32, copy=False), np.asarray(bias, np.float32)
    zero, centred = quant(graph, source).zero_point, centred_weights(graph, node, op)
    bias = np.asarray(graph.param(node, "bias"), np.int64) if op.bias else np.zeros(op.out_channels, np.int64)
    try:
        if source.type.dtype is DType.I16:
            wide.check_sums(weight_sums(graph, node), bias)
        else:
            fp.check_accumulator(weight_sums(graph, node), bias, source.type.dtype, zero)
    except GraphError as error:
        raise GraphError(f"{graph.name}: {node.name}: {error}") from None
    return centred, bias - zero * sum(weight_sums(graph, node))


def conv_arrays(graph: Graph, stage: Stage) -> dict[str, Array]:
    """Weights and bias of a convolution; mantissa and shift where it is quantised."""
    node = graph.by_name[stage.node]
    op, source = node.op, graph.by_name[node.inputs[0]]
    assert has_weights(op)
    weight, bias = folded_bias(graph, node)
    if source.type.quant is None:
        return {"weights": _packed(weight, stage), "bias": bias}
    if node.type.dtype in (DType.BINARY, DType.I32):
        return {"bias": bias.astype(np.int32)}
    if source.type.dtype is DType.I16:
        arrays = integer_arrays(graph, node)
        arrays["mantissa"] = arrays["mantissa"].astype(np.int32)
        return {"weights": _packed(weight.astype(np.int8), stage), "bias": bias, **arrays}
    # Those of uint8 weights are kept less 128, so that all weights are int8 in C.
    kept = np.add(weight, weight_zero(graph, node), dtype=np.int16).astype(np.int8)
    return {"weights": _packed(kept, stage), "bias": bias.astype(np.int32), **integer_arrays(graph, node)}


def integer_arrays(graph: Graph, node: Node) -> dict[str, Array]:
    """What the portable function rescales the sums of a quantised convolution by."""
    op, source = node.op, graph.by_name[node.inputs[0]]
    assert has_weights(op)
    mantissa, shift = multipliers(graph, node, op, quant(graph, source), quant(graph, node))
    return {"shift": shift} if op.rounding is Rounding.SHIFT else {"mantissa": mantissa, "shift": shift}


def low_bit_arrays(graph: Graph, stage: Stage) -> dict[str, Array]:
    """The same with packed ternary or binary weights, and their levels if they have them."""
    node = graph.by_name[stage.node]
    op = node.op
    assert has_weights(op)
    weight = graph.param(node, "weight").astype(np.int8)
    rows = weight.reshape(len(weight), -1)
    match stage.kernel, stage.packing:
        case Kernel.XNOR, _:
            rows = _tap_bytes(weight, xnor_bytes(op, graph.input_shapes(node)[0].channels))
            if stage.packing is Packing.BLOCKS:
                # Eight output channels side by side, word by word.
                eights = np.pad(rows, ((0, -len(rows) % 8), (0, 0))).reshape(-(-len(rows) // 8), 8, -1, 8)
                rows = eights.transpose(0, 2, 1, 3)
        case Kernel.LOW_BIT_DEPTHWISE, _:
            rows = to_planes(rows.T, op.weights)
        case _, Packing.LISTS:
            rows = to_lists(rows)
        case _:
            rows = to_planes(rows, op.weights)
    out = conv_arrays(graph, stage) | {"weights": rows}
    return out if op.levels is None else out | {"levels": graph.param(node, "levels")}


def _tap_bytes(weight: Array, row_bytes: int) -> Array:
    """Bits of binary weights, each tap padded to whole bytes, each row padded with zeros."""
    taps = np.packbits(weight.astype(np.int8) > 0, axis=3, bitorder="little").reshape(len(weight), -1)
    return np.pad(taps, ((0, 0), (0, row_bytes - taps.shape[1])))


def weight_zero(graph: Graph, node: Node) -> int:
    """Zero point of the weights as `conv_arrays` keeps them."""
    op = node.op
    assert has_weights(op)
    return stored_weights(graph, node, op)[1] - 128 if op.weights is DType.U8 else 0


def _packed(weight: Array, stage: Stage) -> Array:
    rows = weight.reshape(weight.shape[0], -1)
    return rows.T if stage.packing is Packing.TAP_MAJOR else rows


def outside_value(graph: Graph, node: Node) -> int:
    """What a windowed stage reads in the padding of its input: the stored value of a real zero."""
    source = graph.by_name[node.inputs[0]]
    return 0 if source.type.quant is None else source.type.quant.zero_point


def outside_name(value: int, dtype: DType) -> str:
    """Name of the constants that stand for padding."""
    return f"outside_{dtype.value}_{'m' if value < 0 else ''}{abs(value)}"


def declaration(name: str, array: Array, place: str = "") -> str:
    """`extern` line of an array; `place` is an attribute."""
    return f"extern const {C_TYPES[array.dtype.name]} {name}[{array.size}]{place};"


def definition(name: str, array: Array) -> str:
    """An array with its values."""
    lines = [f"const {C_TYPES[array.dtype.name]} {name}[{array.size}] = {{"]
    lines += _lines(array)
    lines.append("};")
    return "\n".join(lines)


def _lines(array: Array) -> Iterable[str]:
    flat = np.ascontiguousarray(array).reshape(-1)
    # Hexadecimal digits keep every bit of a real number.
    words = [real(v) for v in flat.tolist()] if array.dtype.name == "float32" else [_word(v) for v in flat.tolist()]
    text, start = ",".join(words) + ",", 0
    while start < len(text):
        end = text.rfind(",", start, start + _COLUMNS) + 1
        yield text[start:end]
        start = end


def real(value: float) -> str:
    """A float32 literal; infinities as bounds that no value passes."""
    if value in (float("inf"), float("-inf")):
        return "3.40282347e+38f" if value > 0 else "-3.40282347e+38f"
    return float(np.float32(value)).hex() + "f"


def _word(value: int) -> str:
    # The least int32 has no literal of its own in C.
    return str(value) if value != -(2**31) else "-2147483647 - 1"
