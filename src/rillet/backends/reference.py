"""The reference: full tensors in NumPy, slow and obvious; every other backend must give the same bytes.

Quantised values follow the rules in `arithmetic`; real values are computed in float64.
"""

from collections.abc import Iterator, Mapping
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift, tables, wide
from rillet.arithmetic.convolution import real_weights, rescaled, stored_weights
from rillet.arithmetic.functions import activate_real, function_real
from rillet.errors import Unsupported
from rillet.ir.facts import has_weights, is_activation, is_pool
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.inputs import Inputs, by_input
from rillet.ir.linear import PARTS
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
    Op,
    Pad,
    Pair,
    PairKind,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
    Window,
)
from rillet.ir.types import DType, Quant, Shape

STRIP_VALUES = 4_000_000
"""Values of the im2col buffer."""

Values = Mapping[str, Array]
Floats = npt.NDArray[np.float64]


def run(graph: Graph, inputs: Inputs) -> dict[str, Array]:
    """Every value of the graph, by node name, as height x width x channels; raises GraphError for a wrong input.

    Stored integers have their own type; real values are float64.
    """
    values, given = dict[str, Array](), by_input(graph, inputs)
    for node in graph.nodes:
        values[node.name] = _Step(graph, node, values).value(given)
    return values


def outputs(graph: Graph, inputs: Inputs) -> tuple[Array, ...]:
    """The graph's outputs."""
    values = run(graph, inputs)
    return tuple(values[name] for name in graph.outputs)


def node_value(graph: Graph, node: Node, values: Values) -> Array:
    """The output of one node, from its inputs' values by name."""
    return _Step(graph, node, values).value({})


class _Step:
    """One node at work."""

    def __init__(self, graph: Graph, node: Node, values: Values) -> None:
        self.graph = graph
        self.node = node
        self.sources = [values[name] for name in node.inputs]
        self.types = graph.input_types(node)
        self.integer = node.type.quant is not None
        self.where = f"{graph.name}: {node.name}"

    def value(self, inputs: Values) -> Array:
        op = self.node.op
        match op:
            case Input():
                array = inputs[self.node.name]
                return array if self.integer else array.astype(np.float64)
            case Constant():
                value = self.graph.param(self.node, "value")
                return value if self.integer else value.astype(np.float64)
            case Conv():
                return self.conv_integer(op) if self.integer else self.conv_real(op)
            case Pool():
                return self.pool_integer(op) if self.integer else self.pool_real(op)
            case Add():
                return self.add(op)
            case Multiply():
                return self.multiply(op)
            case Activate() | Apply():
                return self.function(op)
            case Requantize():
                return self.requantize()
            case Softmax(beta=beta):
                return self.softmax(beta)
            case ArgMax():
                return self.sources[0].argmax(-1)[:, :, None].astype(np.int32)
            case BatchNorm(epsilon=epsilon):
                return self.batch_norm(epsilon)
            case Concat():
                return np.concatenate([self.concat_part(i) for i in range(len(self.sources))], axis=2)
            case Slice(start=start, stop=stop):
                return self.same_quant()[:, :, start:stop]
            case Pad(padding=(top, bottom, left, right)):
                fill = self.quant(0).zero_point if self.integer else 0
                return np.pad(self.same_quant(), ((top, bottom), (left, right), (0, 0)), constant_values=fill)
            case Pair(kind=kind):
                return self.pair(kind)
            case Select(channels=channels):
                return self.select(channels)
            case DepthToSpace(block=block):
                return _to_space(self.same_quant(), block)
            case SpaceToDepth(block=block):
                return _to_depth(self.same_quant(), block)
            case Interpolate():
                return self.interpolate(op)
            case Resize(rows=rows, columns=columns):
                return self.same_quant()[list(rows)][:, list(columns)]
            case _:
                assert_never(op)

    # -- what all share --------------------------------------------------------------------------------------------

    def quant(self, position: int) -> Quant:
        """Quantisation of an input; raises Unsupported where it is a real number and the result is not."""
        source = self.types[position]
        integers, binary = source.dtype in (DType.I8, DType.U8, DType.I16), source.dtype is DType.BINARY
        if source.quant is None or not (integers or (binary and reads_binary(self.node.op))):
            got = source.dtype.value
            raise Unsupported(f"{self.where}: inputs must be quantised to i8, u8 or i16 as the result is, got {got}")
        return source.quant

    @property
    def out(self) -> Quant:
        """Quantisation of the result."""
        assert self.node.type.quant is not None
        return self.node.type.quant

    def stored(self, position: int = 0) -> fp.Ints:
        """An input's stored integers."""
        self.quant(position)
        return self.sources[position].astype(np.int64)

    def real(self, position: int = 0) -> Floats:
        """An input that is a real number; raises Unsupported where it is quantised and the result is not."""
        if self.types[position].quant is not None:
            raise Unsupported(f"{self.where}: inputs must be float32 as the result is, got quantised ones")
        return self.sources[position].astype(np.float64)

    def store(self, stored: fp.Ints, clamp: fp.Clamp | None = None) -> Array:
        low, high = (clamp.low, clamp.high) if clamp else self.node.type.dtype.integers
        return np.clip(stored, low, high).astype(self.node.type.dtype.numpy)

    def clamp(self, activation: Activation) -> fp.Clamp:
        return fp.activation_clamp(activation, self.out, self.node.type.dtype)

    def same_quant(self) -> Array:
        """The input of an op that only moves values."""
        if self.types[0].quant != self.node.type.quant or self.types[0].dtype is not self.node.type.dtype:
            raise Unsupported(f"{self.where}: result must have the type and quantisation of the input")
        return self.sources[0]

    # -- the ops ---------------------------------------------------------------------------------------------------

    def conv_integer(self, op: Conv) -> Array:
        if op.real:
            raise Unsupported(f"{self.where}: weights beside stored integers must be integers, got float32 values")
        source = self.stored() - self.quant(0).zero_point
        weight, zero = stored_weights(self.graph, self.node, op)
        sums = convolve(source.astype(np.float64), (weight - zero).astype(np.float64), op).astype(np.int64)
        if op.bias:
            sums += self.graph.param(self.node, "bias").astype(np.int64)
        if op.rounding is Rounding.REDUCED:
            made = rescaled(self.graph, self.node, op, sums, self.quant(0), self.out)
            return self.store(made, self.clamp(op.activation))
        if op.activation is Activation.SIGN or self.node.type.dtype is DType.BINARY:
            return self.sign(fp.wrap32(sums), op.activation)
        if self.node.type.dtype is DType.I32:
            if op.activation is not Activation.NONE:
                raise Unsupported(f"{self.where}: sums must be stored without activation, got {op.activation.value}")
            return fp.wrap32(sums).astype(np.int32)
        scaled = rescaled(self.graph, self.node, op, fp.wrap32(sums), self.quant(0), self.out)
        return self.store(scaled + self.out.zero_point, self.clamp(op.activation))

    def sign(self, values: fp.Ints, activation: Activation) -> Array:
        """Binary values: the signs of integers whose zero point is taken off."""
        if activation is not Activation.SIGN or self.node.type.dtype is not DType.BINARY:
            raise Unsupported(f"{self.where}: binary values must come of sign, and sign of integers must make them")
        return np.where(values >= 0, 1, -1).astype(np.int8)

    def conv_real(self, op: Conv) -> Array:
        if not op.real:
            got = op.weights.value
            raise Unsupported(f"{self.where}: weights beside float32 values must be f32, or have f32 levels; got {got}")
        total = convolve(self.real(), real_weights(self.graph, self.node, op), op)
        if op.bias:
            total = total + self.graph.param(self.node, "bias").astype(np.float64)
        return activate_real(total, op.activation)

    def pool_integer(self, op: Pool) -> Array:
        source, shape = self.stored(), self.node.shape
        clamp = self.clamp(op.activation)
        match op.kind:
            case PoolKind.AVERAGE:
                self.same_quant()
                sums, counts = _window_sums(source.astype(np.float64), op.window, shape)
                return self.store(fp.average(sums.astype(np.int64), counts.astype(np.int64)), clamp)
            case PoolKind.MEAN:
                if any(op.window.padding):
                    raise Unsupported(f"{self.where}: window of a mean must have no padding")
                centred = (source - self.quant(0).zero_point).astype(np.float64)
                sums, counts = _window_sums(centred, op.window, shape)
                scaled = self.mean(sums.astype(np.int64), int(counts.max()), op.rounding)
                return self.store(scaled + self.out.zero_point, clamp)
            case PoolKind.MAX:
                self.same_quant()
                return self.store(_window_max(source.astype(np.float64), op.window, shape).astype(np.int64), clamp)
            case _:
                assert_never(op.kind)

    def mean(self, sums: fp.Ints, count: int, rounding: Rounding) -> fp.Ints:
        if rounding is Rounding.SHIFT:
            return shift.rescale(sums, shift.mean_shift(self.quant(0), self.out, count))
        scale = fp.mean_multiplier(self.quant(0), self.out, count)
        return fp.multiply_double(sums, scale.mantissa, scale.shift)

    def pool_real(self, op: Pool) -> Array:
        if op.kind is PoolKind.MAX:
            return activate_real(_window_max(self.real(), op.window, self.node.shape), op.activation)
        sums, counts = _window_sums(self.real(), op.window, self.node.shape)
        return activate_real(sums / counts, op.activation)

    def add(self, op: Add) -> Array:
        if not self.integer:
            left, right = self.real(0), self.real(1)
            return activate_real(left - right if op.subtract else left + right, op.activation)
        bits = wide.ADD_SHIFT if self.node.type.dtype is DType.I16 else fp.ADD_SHIFT
        constants = fp.add_constants(self.quant(0), self.quant(1), self.out, bits)
        left, right = (self.stored(i) - self.quant(i).zero_point for i in (0, 1))
        total = fp.add(left, right, constants, op.subtract, bits)
        return self.store(total + self.out.zero_point, self.clamp(op.activation))

    def multiply(self, op: Multiply) -> Array:
        if not self.integer:
            return activate_real(self.real(0) * self.real(1), op.activation)
        left, right = (self.stored(i) - self.quant(i).zero_point for i in (0, 1))
        if op.rounding is Rounding.SHIFT:
            product = shift.rescale(left * right, shift.product_shift(self.quant(0), self.quant(1), self.out))
        else:
            scale = fp.product_multiplier(self.quant(0), self.quant(1), self.out)
            product = fp.multiply_double(left * right, scale.mantissa, scale.shift)
        return self.store(product + self.out.zero_point, self.clamp(op.activation))

    def pair(self, kind: PairKind) -> Array:
        if not self.integer:
            return pair_real(kind, self.real(0), self.real(1))
        match kind:
            case PairKind.MAXIMUM | PairKind.MINIMUM:
                if any(source.quant != self.node.type.quant for source in self.types):
                    raise Unsupported(f"{self.where}: operands of {kind.value} must have the scale of the result")
                pick = np.maximum if kind is PairKind.MAXIMUM else np.minimum
                return self.store(pick(self.stored(0), self.stored(1)))
            case PairKind.PRELU:
                left, right = (self.stored(i) - self.quant(i).zero_point for i in (0, 1))
                multipliers = fp.prelu_multipliers(self.quant(0), self.quant(1), self.out)
                return self.store(fp.prelu(left, right, multipliers) + self.out.zero_point)
            case PairKind.DIVIDE:
                raise Unsupported(f"{self.where}: operands of divide must be float32, got {self.node.type.dtype.value}")
            case _:
                assert_never(kind)

    def function(self, op: Activate | Apply) -> Array:
        if not self.integer:
            return function_real(self.real(), op)
        if self.node.type.dtype is DType.BINARY:
            activation = op.activation if is_activation(op) else Activation.NONE
            return self.sign(self.stored() - self.quant(0).zero_point, activation)
        return self.store(tables.activate(self.stored(), op, self.quant(0), self.out, self.node.type.dtype))

    def select(self, channels: tuple[int, ...]) -> Array:
        picked = np.array(channels)
        zero = self.quant(0).zero_point if self.integer else 0
        made = np.where(picked < 0, zero, self.same_quant()[:, :, picked])
        return self.store(made.astype(np.int64)) if self.integer else made

    def interpolate(self, op: Interpolate) -> Array:
        source, (height, width, _) = self.same_quant().astype(np.float64), self.types[0].shape.array
        rows, columns = np.array(op.rows), np.array(op.columns)
        below, right = np.minimum(rows + 1, height - 1), np.minimum(columns + 1, width - 1)
        down, across = np.array(op.row_shares)[:, None, None], np.array(op.column_shares)[:, None]
        if self.integer:
            down, across = np.rint(down * PARTS) / PARTS, np.rint(across * PARTS) / PARTS
        above, under = (source[at][:, columns] * (1 - across) + source[at][:, right] * across for at in (rows, below))
        made = above * (1 - down) + under * down
        return self.store(fp.round_half_away(made)) if self.integer else made

    def requantize(self) -> Array:
        source = self.types[0]
        if self.integer and source.quant is None:
            return self.store(fp.quantize(self.sources[0].astype(np.float32), self.out, self.node.type.dtype))
        if self.integer:
            return self.store(fp.requantize(self.stored(), self.quant(0), self.out))
        if source.quant is None:
            return self.sources[0]
        return (self.stored() - self.quant(0).zero_point) * self.quant(0).scale

    def softmax(self, beta: float) -> Array:
        if self.node.type.dtype is DType.I16:
            return self.store(wide.softmax(self.stored(), self.quant(0), beta))
        if self.integer:
            table = tables.softmax_table(self.quant(0), beta)
            return self.store(tables.softmax(self.stored(), table, self.node.type.dtype))
        powers = np.exp(beta * (self.real() - self.real().max(-1, keepdims=True)))
        return powers / powers.sum(-1, keepdims=True)

    def batch_norm(self, epsilon: float) -> Array:
        gamma, beta, mean, variance = (
            self.graph.param(self.node, name).astype(np.float64) for name in ("gamma", "beta", "mean", "variance")
        )
        return (self.real() - mean) / np.sqrt(variance + epsilon) * gamma + beta

    def concat_part(self, position: int) -> Array:
        if not self.integer:
            return self.real(position)
        return self.store(fp.concatenated(self.stored(position), self.quant(position), self.out))


def pair_real(kind: PairKind, left: Floats, right: Floats) -> Floats:
    """What is made of two real values at one place."""
    match kind:
        case PairKind.MAXIMUM:
            return np.maximum(left, right)
        case PairKind.MINIMUM:
            return np.minimum(left, right)
        case PairKind.DIVIDE:
            with np.errstate(divide="ignore", invalid="ignore"):
                return left / right
        case PairKind.PRELU:
            return np.where(left >= 0, left, left * right)
        case _:
            assert_never(kind)


def _to_space(values: Array, block: int) -> Array:
    height, width, channels = values.shape
    split = values.reshape(height, width, block, block, channels // block**2)
    return split.transpose(0, 2, 1, 3, 4).reshape(height * block, width * block, -1)


def _to_depth(values: Array, block: int) -> Array:
    height, width, channels = values.shape
    split = values.reshape(height // block, block, width // block, block, channels)
    return split.transpose(0, 2, 1, 3, 4).reshape(height // block, width // block, -1)


def reads_binary(op: Op) -> bool:
    """True for the ops that are defined on binary values: convolutions and maxima."""
    return has_weights(op) or (is_pool(op) and op.kind is PoolKind.MAX)


def convolve(source: Floats, weight: Floats, op: Conv) -> Floats:
    """The convolution of a map whose padding is zero, in float64: exact for the integers used here."""
    height, width = op.window.output(Shape(*source.shape))
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


def _window_sums(source: Floats, window: Window, shape: Shape) -> tuple[Floats, Floats]:
    """Sums over windows and how many values are in each, padding not counted."""
    ones = np.ones((*source.shape[:2], 1))
    return _pooled(source, window, shape, 0.0, "sum"), _pooled(ones, window, shape, 0.0, "sum")


def _window_max(source: Floats, window: Window, shape: Shape) -> Floats:
    return _pooled(source, window, shape, float("-inf"), "max")


def _pooled(source: Floats, window: Window, shape: Shape, fill: float, how: str) -> Floats:
    rows = max(1, STRIP_VALUES // max(1, shape.width * window.taps * source.shape[2]))
    strips: list[Any] = []
    for _, strip in _strips(source, window, shape.height, shape.width, rows, fill):
        strips.append(strip.sum(2) if how == "sum" else strip.max(2))
    return np.concatenate(strips)
