"""Interval analysis: the least and the greatest stored value that each channel can take, whatever the input."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import assert_never

import numpy as np
import numpy.typing as npt

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift, tables
from rillet.arithmetic.convolution import rescaled, stored_weights
from rillet.arithmetic.fixed_point import Ints
from rillet.errors import Unsupported
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
from rillet.ir.types import DType, Quant, Shape, TensorType

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """Least and greatest stored value of each channel, over all pixels and all inputs."""

    low: Ints
    high: Ints

    @property
    def constant(self) -> Mask:
        """The channels that take one value only, everywhere."""
        return self.low == self.high

    def mapped(self, function: Callable[[Ints], Ints]) -> "Interval":
        """What a function that never falls makes of it."""
        return Interval(function(self.low), function(self.high))

    def clipped(self, low: int, high: int) -> "Interval":
        """What is left of it behind a clamp."""
        return self.mapped(lambda values: np.clip(values, low, high))


def stored(value: TensorType) -> bool:
    """True for values of 8 bits and of one, whose every stored number has bounds."""
    return value.quant is not None and value.dtype in (DType.I8, DType.U8, DType.BINARY)


def intervals(graph: Graph) -> dict[str, Interval]:
    """The interval of each stored value, by node name; float32 values have none.

    Each op is followed through its own arithmetic, so the bounds are those of the bytes. They hold channel by channel:
    that channels depend on each other is not used. Raises GraphError for a network without weights, Unsupported for an
    op that the arithmetic does not have.
    """
    found: dict[str, Interval] = {}
    for node in graph.nodes:
        if node.type.quant is not None:
            found[node.name] = _Step(graph, node, found).interval()
    return found


class Sums:
    """The sums of a convolution of stored values: its weights, and which of its taps lie within the map where."""

    def __init__(self, graph: Graph, node: Node, op: Conv) -> None:
        source = graph.by_name[node.inputs[0]]
        weight, zero = stored_weights(graph, node, op)
        assert source.type.quant is not None
        self.op = op
        self.zero_point = source.type.quant.zero_point
        self.channels = source.shape.channels
        self.weight: Ints = (weight - zero).reshape(op.out_channels, op.window.taps, -1)
        """Output channel, tap, input channel of its group; without the zero point."""
        bias = graph.param(node, "bias").astype(np.int64) if op.bias else np.zeros(op.out_channels, np.int64)
        self.bias: Ints = bias
        self.inside: Mask = inside(op.window, source.shape)

    @cached_property
    def read(self) -> Mask:
        """Taps that lie within the map somewhere."""
        return np.logical_or.reduce(self.inside, axis=0)

    def interval(self, source: Interval) -> Interval:
        """Least and greatest sum of each output channel, before they wrap."""
        low, high = source.low - self.zero_point, source.high - self.zero_point
        plus, minus = np.maximum(self.weight, 0), np.minimum(self.weight, 0)
        least = self._at_places(plus, low) + self._at_places(minus, high)
        most = self._at_places(plus, high) + self._at_places(minus, low)
        return Interval(least.min(1) + self.bias, most.max(1) + self.bias)

    def _at_places(self, weight: Ints, values: Ints) -> Ints:
        """For each output channel and kind of place, the sum where every input channel has its one value."""
        # Float64 holds these integers exactly, and multiplies matrices far faster.
        split = weight.reshape(self.op.groups, -1, weight.shape[2]).astype(np.float64)
        taps = (split @ values.reshape(self.op.groups, -1, 1).astype(np.float64)).reshape(weight.shape[:2])
        return (taps @ self.inside.T.astype(np.float64)).astype(np.int64)


def inside(window: Window, shape: Shape) -> Mask:
    """Each kind of place a window comes to, a row each: which of its taps lie within the map, not in the padding."""
    rows, columns = window.output(shape)
    top, _, left, _ = window.padding
    kinds: list[Mask] = []
    for axis, (outputs, before, length) in enumerate(((rows, top, shape.height), (columns, left, shape.width))):
        taps = np.arange(window.kernel[axis]) * window.dilation[axis] - before
        places = np.arange(outputs)[:, None] * window.stride[axis] + taps
        kinds.append(np.unique((places >= 0) & (places < length), axis=0))
    both = kinds[0][:, None, :, None] & kinds[1][None, :, None, :]
    return both.reshape(len(kinds[0]) * len(kinds[1]), -1)


class _Step:
    """One node of stored values, and the intervals of what it reads."""

    def __init__(self, graph: Graph, node: Node, found: dict[str, Interval]) -> None:
        self.graph = graph
        self.node = node
        self.types = graph.input_types(node)
        self.sources = [found.get(name) for name in node.inputs]

    @property
    def out(self) -> Quant:
        assert self.node.type.quant is not None
        return self.node.type.quant

    def source(self, position: int = 0) -> Interval:
        """The interval of an input; raises Unsupported where it has none."""
        found = self.sources[position]
        if found is None or not stored(self.types[position]):
            got = self.types[position].dtype.value
            where = f"{self.graph.name}: {self.node.name}"
            raise Unsupported(f"{where}: inputs must be quantised to i8 or u8 as the result is, got {got}")
        return found

    def quant(self, position: int = 0) -> Quant:
        found = self.types[position].quant
        assert found is not None
        return found

    def centred(self, position: int = 0) -> Interval:
        """The interval of an input without its zero point."""
        zero = self.quant(position).zero_point
        return self.source(position).mapped(lambda values: values - zero)

    def everything(self) -> Interval:
        """All that the type holds."""
        low, high = self.node.type.dtype.integers
        channels = self.node.shape.channels
        return Interval(np.full(channels, low, np.int64), np.full(channels, high, np.int64))

    def clamped(self, interval: Interval, activation: Activation = Activation.NONE) -> Interval:
        clamp = fp.activation_clamp(activation, self.out, self.node.type.dtype)
        return interval.clipped(clamp.low, clamp.high)

    def interval(self) -> Interval:
        op = self.node.op
        match op:
            case Input() | Softmax() | BatchNorm():
                return self.everything()
            case ArgMax():
                last = self.types[0].shape.channels - 1
                return Interval(np.zeros(1, np.int64), np.full(1, last, np.int64))
            case Constant():
                value = self.graph.param(self.node, "value").astype(np.int64)
                return Interval(value.min((0, 1)), value.max((0, 1)))
            case Conv():
                return self.conv(op)
            case Pool():
                return self.clamped(self.pool(op), op.activation)
            case Add(activation=activation):
                return self.clamped(self.add(op), activation)
            case Multiply(activation=activation):
                return self.clamped(self.multiply(op), activation)
            case Activate() | Apply():
                return self.function(op)
            case Requantize():
                if self.types[0].quant is None:
                    return self.everything()
                return self.clamped(self.source().mapped(lambda v: fp.requantize(v, self.quant(), self.out)))
            case Concat():
                parts = [self.concat_part(i) for i in range(len(self.sources))]
                return Interval(np.concatenate([p.low for p in parts]), np.concatenate([p.high for p in parts]))
            case Slice(start=start, stop=stop):
                return self.source().mapped(lambda values: values[start:stop])
            case Pad(padding=padding):
                zero, source = self.quant().zero_point, self.source()
                if not any(padding):
                    return source
                return Interval(np.minimum(source.low, zero), np.maximum(source.high, zero))
            case Resize() | Interpolate():
                return self.source()
            case Pair(kind=kind):
                return self.pair(kind)
            case Select(channels=channels):
                picked, zero = np.array(channels), self.quant().zero_point
                return self.source().mapped(lambda values: np.where(picked < 0, zero, values[picked]))
            case DepthToSpace(block=block):
                source = self.source()
                low, high = (side.reshape(block**2, -1) for side in (source.low, source.high))
                return Interval(low.min(0), high.max(0))
            case SpaceToDepth(block=block):
                return self.source().mapped(lambda values: np.tile(values, block**2))
            case _:
                assert_never(op)

    def conv(self, op: Conv) -> Interval:
        sums = Sums(self.graph, self.node, op).interval(self.source())
        if ((sums.low < -(2**31)) | (sums.high >= 2**31)).any():
            # Sums that wrap in some channel: nothing is said of any, for the network is refused when C is emitted.
            return self.everything()
        if op.activation is Activation.SIGN:
            return sums.mapped(_sign)
        if self.node.type.dtype is DType.I32:
            return sums
        zero = self.out.zero_point
        scaled = sums.mapped(lambda v: rescaled(self.graph, self.node, op, v, self.quant(), self.out) + zero)
        return self.clamped(scaled, op.activation)

    def pool(self, op: Pool) -> Interval:
        match op.kind:
            case PoolKind.MAX | PoolKind.AVERAGE:
                return self.source()
            case PoolKind.MEAN:
                count, zero = op.window.taps, self.out.zero_point
                if op.rounding is Rounding.SHIFT:
                    bits = shift.mean_shift(self.quant(), self.out, count)
                    return self.centred().mapped(lambda v: shift.rescale(count * v, bits) + zero)
                scale = fp.mean_multiplier(self.quant(), self.out, count)
                return self.centred().mapped(
                    lambda v: fp.multiply_double(count * v, scale.mantissa, scale.shift) + zero
                )
            case _:
                assert_never(op.kind)

    def add(self, op: Add) -> Interval:
        constants = fp.add_constants(self.quant(0), self.quant(1), self.out)
        left, right = self.centred(0), self.centred(1)
        if op.subtract:
            right = Interval(right.high, right.low)
        low, high = (
            fp.add(a, b, constants, op.subtract) + self.out.zero_point
            for a, b in ((left.low, right.low), (left.high, right.high))
        )
        return Interval(low, high)

    def multiply(self, op: Multiply) -> Interval:
        left, right = self.centred(0), self.centred(1)
        corners = np.stack([a * b for a in (left.low, left.high) for b in (right.low, right.high)])
        product, zero = Interval(corners.min(0), corners.max(0)), self.out.zero_point
        if op.rounding is Rounding.SHIFT:
            bits = shift.product_shift(self.quant(0), self.quant(1), self.out)
            return product.mapped(lambda v: shift.rescale(v, bits) + zero)
        scale = fp.product_multiplier(self.quant(0), self.quant(1), self.out)
        return product.mapped(lambda v: fp.multiply_double(v, scale.mantissa, scale.shift) + zero)

    def function(self, op: Activate | Apply) -> Interval:
        """Of a function that may rise and fall: by its results over the whole interval."""
        source, dtype = self.source(), self.types[0].dtype
        first, last = dtype.integers
        values = np.arange(first, last + 1, dtype=np.int64)
        if self.node.type.dtype is DType.BINARY:
            results = _sign(values - self.quant().zero_point)
        else:
            results = tables.activate(values, op, self.quant(), self.out, self.node.type.dtype)
        spans = [results[low - first : high - first + 1] for low, high in zip(source.low, source.high, strict=True)]
        return Interval(np.array([span.min() for span in spans]), np.array([span.max() for span in spans]))

    def pair(self, kind: PairKind) -> Interval:
        if kind not in (PairKind.MAXIMUM, PairKind.MINIMUM):
            return self.everything()
        left, right = self.source(0), self.source(1)
        pick = np.maximum if kind is PairKind.MAXIMUM else np.minimum
        return Interval(pick(left.low, right.low), pick(left.high, right.high))

    def concat_part(self, position: int) -> Interval:
        source = self.source(position)
        return self.clamped(source.mapped(lambda v: fp.concatenated(v, self.quant(position), self.out)))


def _sign(values: Ints) -> Ints:
    return np.where(values >= 0, 1, -1).astype(np.int64)
