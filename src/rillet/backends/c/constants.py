"""The data of an emitted program: weights in the plan's packing, biases with zero points folded in, multipliers."""

from collections.abc import Iterable

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Conv
from rillet.ir.types import Quant
from rillet.plan.plan import Packing, Plan, Stage

_C_TYPES = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "uint8": "uint8_t", "float32": "float"}
_IN_A_LINE = 24


def quant(graph: Graph, node: Node) -> Quant:
    """A value's quantisation; raises Unsupported for real numbers."""
    if node.type.quant is None:
        raise Unsupported(f"{graph.name}: {node.name}: must be quantised, got {node.type.dtype.value}")
    return node.type.quant


def conv_arrays(graph: Graph, stage: Stage) -> dict[str, Array]:
    """Weights, bias, mantissa and shift of a convolution."""
    node = graph.by_name[stage.node]
    assert isinstance(node.op, Conv)
    source = graph.by_name[node.inputs[0]]
    weight = np.asarray(graph.param(node, "weight"), np.int8)
    bias = np.asarray(graph.param(node, "bias"), np.int32) if node.op.bias else None
    zero = quant(graph, source).zero_point
    try:
        fp.check_accumulator(weight, bias, source.type.dtype, zero)
    except GraphError as error:
        raise GraphError(f"{graph.name}: {node.name}: {error}") from None
    rows = weight.reshape(weight.shape[0], -1)
    folded = -zero * rows.astype(np.int64).sum(1)
    if bias is not None:
        folded += bias
    scales = np.asarray(graph.param(node, "weight_scale"), np.float32)
    mantissa, shift = fp.conv_multipliers(quant(graph, source), scales, quant(graph, node), node.op.rounding)
    packed = rows.T if stage.packing is Packing.TAP_MAJOR else rows
    return {"weights": packed, "bias": folded.astype(np.int32), "mantissa": mantissa, "shift": shift}


def outside_value(graph: Graph, node: Node) -> int:
    """What a windowed stage reads in the padding of its input: the stored value of a real zero."""
    return quant(graph, graph.by_name[node.inputs[0]]).zero_point


def constant_bytes(plan: Plan) -> int:
    """Bytes of the arrays that the program carries: weights, biases and multipliers."""
    total = 0
    for segment in plan.segments:
        for stage in segment.stages:
            if isinstance(plan.graph.by_name[stage.node].op, Conv):
                total += sum(array.nbytes for array in conv_arrays(plan.graph, stage).values())
    return total


def declaration(name: str, array: Array) -> str:
    """`extern` line of an array."""
    return f"extern const {_C_TYPES[array.dtype.name]} {name}[{array.size}];"


def definition(name: str, array: Array) -> str:
    """An array with its values."""
    lines = [f"const {_C_TYPES[array.dtype.name]} {name}[{array.size}] = {{"]
    lines += _lines(array)
    lines.append("};")
    return "\n".join(lines)


def _lines(array: Array) -> Iterable[str]:
    flat = np.ascontiguousarray(array).reshape(-1)
    if array.dtype.name == "float32":
        # Hexadecimal digits keep every bit.
        words = [float(value).hex() + "f" for value in flat]
    else:
        words = [_word(value) for value in flat.tolist()]
    for start in range(0, len(words), _IN_A_LINE):
        yield ",".join(words[start : start + _IN_A_LINE]) + ","


def _word(value: int) -> str:
    # The least int32 has no literal of its own in C.
    return str(value) if value != -(2**31) else "-2147483647 - 1"
