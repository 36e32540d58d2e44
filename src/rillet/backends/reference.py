"""The reference: whole maps in NumPy, slow and obvious; every other backend must give the same bytes."""

from collections.abc import Iterator, Mapping
from typing import assert_never

import numpy as np
import numpy.typing as npt

from rillet.arithmetic import fixed_point as fp
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import (
    Activate,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Input,
    Multiply,
    Pad,
    Pool,
    PoolKind,
    Requantize,
    Slice,
    Softmax,
    Window,
    op_name,
)
from rillet.ir.types import DType, Quant, Shape

STRIP_VALUES = 4_000_000
"""Values of gathered windows held at a time."""

Values = Mapping[str, Array]
Floats = npt.NDArray[np.float64]


def run(graph: Graph, inputs: Array) -> dict[str, Array]:
    """Every value of the graph, by node name, as height x width x channels; raises GraphError for a wrong input."""
    values: dict[str, Array] = {}
    for node in graph.nodes:
        values[node.name] = _node(graph, node, inputs, values)
    return values


def outputs(graph: Graph, inputs: Array) -> tuple[Array, ...]:
    """The graph's outputs."""
    values = run(graph, inputs)
    return tuple(values[name] for name in graph.outputs)


def _node(graph: Graph, node: Node, inputs: Array, values: Values) -> Array:
    op = node.op
    match op:
        case Input():
            expected = node.type.dtype.numpy
            if inputs.shape != node.shape.array or inputs.dtype != expected:
                raise GraphError(
                    f"{graph.name}: input must be {expected} of {node.shape}, got {inputs.dtype} of {inputs.shape}"
                )
            return inputs
        case Conv():
            return _conv(graph, node, op, values)
        case Pool():
            return _pool(graph, node, op, values)
        case Add():
            return _add(graph, node, op, values)
        case Requantize():
            source, quant = _integers(graph, node, values)
            scale = fp.requantize_multiplier(quant, _quant(graph, node))
            out = fp.multiply_double(source - quant.zero_point, scale.mantissa, scale.shift)
            return _store(node, out + _quant(graph, node).zero_point)
        case Softmax(beta=beta):
            source, quant = _integers(graph, node, values)
            stored = fp.softmax(source, fp.softmax_table(quant, beta), _quant(graph, node), node.type.dtype)
            return stored.astype(node.type.dtype.numpy)
        case BatchNorm() | Activate() | Multiply() | Concat() | Slice() | Pad():
            raise Unsupported(f"{graph.name}: {node.name}: {op_name(op)} does not run on integers yet")
        case _:
            assert_never(op)


def _quant(graph: Graph, node: Node) -> Quant:
    quant = node.type.quant
    if quant is None or node.type.dtype not in (DType.I8, DType.U8):
        raise Unsupported(f"{graph.name}: {node.name}: must be quantised to i8 or u8, got {node.type.dtype.value}")
    return quant


def _integers(graph: Graph, node: Node, values: Values, position: int = 0) -> tuple[fp.Ints, Quant]:
    """An input's stored integers and quantisation."""
    name = node.inputs[position]
    return values[name].astype(np.int64), _quant(graph, graph.by_name[name])


def _store(node: Node, stored: fp.Ints, clamp: fp.Clamp | None = None) -> Array:
    low, high = (clamp.low, clamp.high) if clamp else node.type.dtype.integers
    return np.clip(stored, low, high).astype(node.type.dtype.numpy)


def _conv(graph: Graph, node: Node, op: Conv, values: Values) -> Array:
    source, quant = _integers(graph, node, values)
    out = _quant(graph, node)
    weight = graph.param(node, "weight").astype(np.float64)
    sums = convolve((source - quant.zero_point).astype(np.float64), weight, op).astype(np.int64)
    if op.bias:
        sums += graph.param(node, "bias").astype(np.int64)
    scales = graph.param(node, "weight_scale").astype(np.float32)
    mantissa, shift = fp.conv_multipliers(quant, scales, out, op.rounding)
    scaled = fp.rescale(fp.wrap32(sums), mantissa, shift, op.rounding)
    return _store(node, scaled + out.zero_point, fp.activation_clamp(op.activation, out, node.type.dtype))


def convolve(source: Floats, weight: Floats, op: Conv) -> Floats:
    """The convolution of a map whose padding is zero, in float64: exact for the integers used here."""
    height, width = op.window.output(_shape_of(source))
    groups, per_group = op.groups, op.out_channels // op.groups
    out = np.empty((height, width, op.out_channels))
    rows = max(1, STRIP_VALUES // max(1, width * op.window.taps * source.shape[2]))
    # [groups, taps * channels of a group, outputs of a group]
    kernels = weight.reshape(groups, per_group, -1).transpose(0, 2, 1)
    for start, windows in _strips(source, op.window, height, width, rows, 0.0):
        taken, taps = windows.shape[0], op.window.taps
        split = windows.reshape(taken * width, taps, groups, -1).transpose(2, 0, 1, 3)
        product = split.reshape(groups, taken * width, -1) @ kernels
        out[start : start + taken] = product.transpose(1, 0, 2).reshape(taken, width, op.out_channels)
    return out


def _shape_of(source: Floats) -> Shape:
    return Shape(*source.shape)


def _strips(
    source: Floats, window: Window, height: int, width: int, rows: int, fill: float
) -> Iterator[tuple[int, Floats]]:
    """Strips of output rows as (first row, windows of rows x width x taps x channels)."""
    top, bottom, left, right = window.padding
    padded = np.pad(source, ((top, bottom), (left, right), (0, 0)), constant_values=fill)
    (kernel_h, kernel_w), (step_h, step_w), (gap_h, gap_w) = window.kernel, window.stride, window.dilation
    for start in range(0, height, rows):
        taken = min(rows, height - start)
        strip = np.empty((taken, width, window.taps, source.shape[2]))
        for i in range(kernel_h):
            for j in range(kernel_w):
                y, x = start * step_h + i * gap_h, j * gap_w
                strip[:, :, i * kernel_w + j] = padded[
                    y : y + (taken - 1) * step_h + 1 : step_h, x : x + (width - 1) * step_w + 1 : step_w
                ]
        yield start, strip


def _pool(graph: Graph, node: Node, op: Pool, values: Values) -> Array:
    source, quant = _integers(graph, node, values)
    out = _quant(graph, node)
    clamp = fp.activation_clamp(op.activation, out, node.type.dtype)
    height, width = node.shape.height, node.shape.width
    match op.kind:
        case PoolKind.AVERAGE:
            sums, counts = _window_sums(source, op.window, height, width)
            return _store(node, fp.average(sums, counts), clamp)
        case PoolKind.MEAN:
            if not op.window.covers(graph.input_shapes(node)[0]):
                raise Unsupported(f"{graph.name}: {node.name}: window of a mean must cover the map")
            sums, counts = _window_sums(source - quant.zero_point, op.window, height, width)
            scale = fp.mean_multiplier(quant, out, int(counts.max()))
            return _store(node, fp.multiply_double(sums, scale.mantissa, scale.shift) + out.zero_point, clamp)
        case PoolKind.MAX:
            raise Unsupported(f"{graph.name}: {node.name}: max pool does not run on integers yet")
        case _:
            assert_never(op.kind)


def _window_sums(source: fp.Ints, window: Window, height: int, width: int) -> tuple[fp.Ints, fp.Ints]:
    """Sums over windows and how many values are in each, padding not counted."""
    both: list[fp.Ints] = []
    for values in (source, np.ones((*source.shape[:2], 1))):
        sums = [strip.sum(2) for _, strip in _strips(values.astype(np.float64), window, height, width, 16, 0.0)]
        both.append(np.concatenate(sums).astype(np.int64))
    return both[0], both[1]


def _add(graph: Graph, node: Node, op: Add, values: Values) -> Array:
    left, left_quant = _integers(graph, node, values, 0)
    right, right_quant = _integers(graph, node, values, 1)
    out = _quant(graph, node)
    constants = fp.add_constants(left_quant, right_quant, out)
    total = fp.add(left - left_quant.zero_point, right - right_quant.zero_point, constants)
    return _store(node, total + out.zero_point, fp.activation_clamp(op.activation, out, node.type.dtype))
