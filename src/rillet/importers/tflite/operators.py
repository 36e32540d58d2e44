"""Import of TFLite operators: one function per operator, and the table of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tflite

from rillet.errors import GraphError, Unsupported
from rillet.importers.tflite.builder import Builder
from rillet.importers.tflite.file import Operator
from rillet.ir.graph import Array, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Concat,
    Conv,
    Multiply,
    Pad,
    Pool,
    PoolKind,
    Requantize,
    Rounding,
    Slice,
    Softmax,
    Window,
    resize,
)
from rillet.ir.types import DType, Quant, Shape

_ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: Activation.NONE,
    tflite.ActivationFunctionType.RELU: Activation.RELU,
    tflite.ActivationFunctionType.RELU_N1_TO_1: Activation.RELU_N1_TO_1,
    tflite.ActivationFunctionType.RELU6: Activation.RELU6,
}
MAX_SOFTMAX_CHANNELS = 4095
"""So that the sum of exponentials fits 32 bits."""
_UNIT = {DType.I8: Quant(1 / 256, -128), DType.U8: Quant(1 / 256, 0)}
"""The quantisation that results between 0 and 1 must have."""


def _activation(b: Builder, op: Operator, code: int) -> Activation:
    if code not in _ACTIVATIONS:
        raise b.refuse(op, f"fused activation must be none or a clamp, got code {code}")
    return _ACTIVATIONS[code]


def _window(b: Builder, op: Operator, options: Any, kernel: tuple[int, int], shape: Shape) -> Window:
    stride = (options.StrideH(), options.StrideW())
    dilation = (1, 1)
    if hasattr(options, "DilationHFactor"):
        dilation = (options.DilationHFactor(), options.DilationWFactor())
    try:
        window = Window(kernel, stride, dilation=dilation)
        if options.Padding() == tflite.Padding.VALID:
            return window
        if options.Padding() != tflite.Padding.SAME:
            raise GraphError(f"padding must be SAME or VALID, got code {options.Padding()}")
        sides: list[int] = []
        for length, step, extent in zip((shape.height, shape.width), stride, window.extent, strict=True):
            total = max((-(-length // step) - 1) * step + extent - length, 0)
            sides += [total // 2, total - total // 2]
        return Window(kernel, stride, (sides[0], sides[1], sides[2], sides[3]), dilation)
    except GraphError as error:
        raise b.fail(op, str(error)) from None


# -- convolutions ----------------------------------------------------------------------------------------------------


def _weights(b: Builder, op: Operator, source: Node) -> Array:
    """Constant weights of the type that goes with the input."""
    return b.constant(op, 1, source.type.dtype)


def _arrays(b: Builder, op: Operator, source: Node, weight: Array, axis: int) -> dict[str, Array]:
    """Weights (output channel first), bias and scales; `axis` is that of the output channels in the file."""
    channels, params = weight.shape[0], {"weight": weight}
    real = source.type.dtype is DType.F32
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        bias = b.constant(op, 2, DType.F32 if real else DType.I32).reshape(-1)
        if bias.shape != (channels,):
            raise b.fail(op, f"bias must have {channels} values, got {bias.size}")
        params["bias"] = bias
    if real:
        return params
    tensor = b.tensor(op, 1)
    if len(tensor.scales) not in (1, channels) or (len(tensor.scales) > 1 and tensor.axis != axis):
        raise b.fail(
            op,
            f"weights must have 1 or {channels} scales along axis {axis}, "
            f"got {len(tensor.scales)} along axis {tensor.axis}",
        )
    params["weight_scale"] = np.array(np.broadcast_to(tensor.scales, channels))
    if source.type.dtype is DType.U8:
        zero = int(tensor.zeros[0]) if len(tensor.zeros) else 0
        if len(tensor.scales) != 1 or len(tensor.zeros) > 1:
            raise b.refuse(op, f"uint8 weights must have one scale and one zero point, got {len(tensor.scales)}")
        if not 0 <= zero <= 255:
            raise b.fail(op, f"zero point of uint8 weights must be within 0..255, got {zero}")
        params["weight_zero_point"] = np.array([zero], np.int32)
    elif tensor.zeros.any():
        raise b.refuse(op, "zero points of int8 weights must be 0, got others")
    return _without_scale(b, op, source, params)


def _without_scale(b: Builder, op: Operator, source: Node, params: dict[str, Array]) -> dict[str, Array]:
    """Channels of the scale 0 as what they count as: weights and biases that stand for zero, at a scale that changes
    nothing.
    """
    gone, out = params["weight_scale"] == 0, b.type(b.output(op)).quant
    if not gone.any() or source.type.quant is None or out is None:
        return params
    params = {name: array.copy() for name, array in params.items()}
    params["weight"][gone] = params["weight_zero_point"][0] if "weight_zero_point" in params else 0
    if "bias" in params:
        params["bias"][gone] = 0
    # The ratio of the two is then 1, which every rounding rule has.
    unit = np.float32(out.scale) / np.float32(source.type.quant.scale)
    params["weight_scale"][gone] = np.clip(unit, np.finfo(np.float32).tiny, np.finfo(np.float32).max)
    return params


def _add_conv(
    b: Builder,
    op: Operator,
    source: Node,
    window: Window,
    groups: int,
    activation: Activation,
    params: dict[str, Array],
    rounding: Rounding = Rounding.DOUBLE,
    dense: bool = False,
) -> None:
    weights = source.type.dtype
    channels = params["weight"].shape[0]
    made = Conv(channels, window, groups, activation, "bias" in params, weights, rounding, dense)
    if b.type(b.output(op)).dtype is not source.type.dtype:
        raise b.refuse(op, "output must have the type of the input")
    b.add(op, made, [source], params)


def _conv(b: Builder, op: Operator) -> None:
    source = b.source(op)
    options = b.file.options(op, tflite.Conv2DOptions)
    weight = _weights(b, op, source)
    if weight.ndim != 4:
        raise b.fail(op, f"weights must have 4 dimensions, got {weight.ndim}")
    _, height, width, depth = weight.shape
    if source.shape.channels % depth:
        raise b.fail(op, f"input channels must be a multiple of the filter's {depth}, got {source.shape.channels}")
    window = _window(b, op, options, (height, width), source.shape)
    activation = _activation(b, op, options.FusedActivationFunction())
    _add_conv(b, op, source, window, source.shape.channels // depth, activation, _arrays(b, op, source, weight, 0))


def _depthwise(b: Builder, op: Operator) -> None:
    source = b.source(op)
    options = b.file.options(op, tflite.DepthwiseConv2DOptions)
    weight = _weights(b, op, source)
    if weight.ndim != 4 or weight.shape[0] != 1:
        raise b.fail(op, f"depthwise weights must be 1xHxWxC, got {list(weight.shape)}")
    window = _window(b, op, options, (weight.shape[1], weight.shape[2]), source.shape)
    activation = _activation(b, op, options.FusedActivationFunction())
    moved = np.ascontiguousarray(weight.transpose(3, 1, 2, 0))
    _add_conv(b, op, source, window, source.shape.channels, activation, _arrays(b, op, source, moved, 3))


def _fully_connected(b: Builder, op: Operator) -> None:
    source = b.source(op, flat=True)
    options = b.file.options(op, tflite.FullyConnectedOptions)
    seen = b.shape(b.tensor(op, 0))
    if options.WeightsFormat() != 0 or seen.pixels != 1:
        raise b.refuse(op, f"must take a vector with weights in the default format, got {seen}")
    weight = _weights(b, op, source)
    if weight.ndim != 2 or weight.shape[1] != source.shape.elements:
        whole = weight.ndim == 2 and source.shape.elements % weight.shape[1] == 0
        raise (b.refuse if whole else b.fail)(
            op, f"weights must be outputs x {source.shape.elements}, got {list(weight.shape)}"
        )
    activation = _activation(b, op, options.FusedActivationFunction())
    arrays = _arrays(b, op, source, weight.reshape(weight.shape[0], *source.shape.array), 0)
    window = Window((source.shape.height, source.shape.width))
    # Quantised dense layers round once, where convolutions round twice (docs/arithmetic.md).
    rounding = Rounding.DOUBLE if source.type.dtype is DType.F32 else Rounding.SINGLE
    _add_conv(b, op, source, window, 1, activation, arrays, rounding, dense=True)


# -- elementwise -----------------------------------------------------------------------------------------------------


def _pair(b: Builder, op: Operator, commutes: bool) -> list[Node]:
    """Both operands, the one that is broadcast second."""
    if len(op.inputs) != 2 or not (b.computed(op, 0) or b.computed(op, 1)):
        raise b.refuse(op, "must have two inputs, one of them computed")
    if not b.computed(op, 0) and not commutes:
        right = b.source(op, 1)
        return [b.operand(op, 0, right.shape, broadcast=False), right]
    order = (0, 1) if b.computed(op, 0) else (1, 0)
    left = b.source(op, order[0])
    right = b.operand(op, order[1], left.shape)
    if commutes and right.shape.pixels > left.shape.pixels:
        left, right = right, left
    return [left, right]


def _sum(subtract: bool) -> Callable[[Builder, Operator], None]:
    def handle(b: Builder, op: Operator) -> None:
        options = b.file.options(op, tflite.SubOptions if subtract else tflite.AddOptions)
        activation = _activation(b, op, options.FusedActivationFunction())
        b.add(op, Add(activation, subtract), _pair(b, op, not subtract))

    return handle


def _multiply(b: Builder, op: Operator) -> None:
    options = b.file.options(op, tflite.MulOptions)
    b.add(op, Multiply(_activation(b, op, options.FusedActivationFunction())), _pair(b, op, True))


def _activate(activation: Activation) -> Callable[[Builder, Operator], None]:
    def handle(b: Builder, op: Operator) -> None:
        source, out = b.source(op), b.type(b.output(op))
        if out.dtype is not source.type.dtype:
            raise b.refuse(op, "output must have the type of the input")
        if activation is Activation.SIGMOID and out.quant is not None:
            _unit(b, op, out.dtype, out.quant)
        b.add(op, Activate(activation), [source])

    return handle


def _unit(b: Builder, op: Operator, dtype: DType, quant: Quant) -> None:
    if quant != _UNIT[dtype]:
        raise b.refuse(op, f"output must have scale 1/256 and zero point {_UNIT[dtype].zero_point}")


def _softmax(b: Builder, op: Operator) -> None:
    source, out = b.source(op), b.type(b.output(op))
    options = b.file.options(op, tflite.SoftmaxOptions)
    if out.dtype is not source.type.dtype:
        raise b.refuse(op, "output must have the type of the input")
    if out.quant is not None:
        _unit(b, op, out.dtype, out.quant)
        if source.shape.channels > MAX_SOFTMAX_CHANNELS:
            raise b.refuse(op, f"channels must be at most {MAX_SOFTMAX_CHANNELS}, got {source.shape.channels}")
    beta = float(options.Beta())
    if not (np.isfinite(beta) and beta > 0):
        raise b.fail(op, f"beta must be a positive number, got {beta}")
    b.add(op, Softmax(beta), [source])


def _requantize(b: Builder, op: Operator) -> None:
    b.add(op, Requantize(), [b.source(op)])


def _dequantize(b: Builder, op: Operator) -> None:
    if b.computed(op, 0):
        _requantize(b, op)
    else:
        b.widen(op)


# -- windows and layout ----------------------------------------------------------------------------------------------


def _pool(kind: PoolKind) -> Callable[[Builder, Operator], None]:
    def handle(b: Builder, op: Operator) -> None:
        source = b.source(op)
        options = b.file.options(op, tflite.Pool2DOptions)
        window = _window(b, op, options, (options.FilterHeight(), options.FilterWidth()), source.shape)
        _same_type(b, op, source)
        b.add(op, Pool(kind, window, _activation(b, op, options.FusedActivationFunction())), [source])

    return handle


def _same_type(b: Builder, op: Operator, source: Node, position: int = 0) -> None:
    out = b.type(b.output(op, position))
    if out.dtype is not source.type.dtype or out.quant != source.type.quant:
        raise b.refuse(op, "output must have the type, scale and zero point of the input")


def _mean(b: Builder, op: Operator) -> None:
    source = b.source(op)
    axes = b.integers(op, 1)
    rank = len(b.tensor(op, 0).dims)
    if rank != 4 or sorted(axis % rank for axis in axes) != [1, 2]:
        raise b.refuse(op, f"axes must be height and width, got {axes}")
    b.add(op, Pool(PoolKind.MEAN, Window((source.shape.height, source.shape.width))), [source])


def _pad(b: Builder, op: Operator) -> None:
    source = b.source(op)
    sides = b.integers(op, 1)
    if len(b.tensor(op, 0).dims) != 4 or len(sides) != 8 or any(sides[i] for i in (0, 1, 6, 7)) or min(sides) < 0:
        raise b.refuse(op, f"must pad height and width alone, got {sides}")
    _same_type(b, op, source)
    b.add(op, Pad((sides[2], sides[3], sides[4], sides[5])), [source])


def _concat(b: Builder, op: Operator) -> None:
    options = b.file.options(op, tflite.ConcatenationOptions)
    sources = [b.source(op, i) for i in range(len(op.inputs))]
    rank = len(b.tensor(op, 0).dims)
    if options.Axis() % rank != rank - 1 or options.FusedActivationFunction() != 0:
        raise b.refuse(op, f"must join channels without an activation, got axis {options.Axis()}")
    out = b.type(b.output(op))
    if out.dtype is DType.I8 and any(node.type.quant != out.quant for node in sources):
        raise b.refuse(op, "int8 inputs must have the scale and zero point of the output")
    b.add(op, Concat(), sources)


def _split(b: Builder, op: Operator) -> None:
    source = b.source(op, 1)
    rank = len(b.tensor(op, 1).dims)
    axis, parts = b.integers(op, 0), len(op.outputs)
    if len(axis) != 1 or axis[0] % rank != rank - 1 or not parts or source.shape.channels % parts:
        raise b.refuse(op, f"must cut channels into equal parts, got axis {axis} and {parts} outputs")
    size = source.shape.channels // parts
    for i in range(parts):
        _same_type(b, op, source, i)
        b.add(op, Slice(i * size, (i + 1) * size), [source], position=i)


def _strided_slice(b: Builder, op: Operator) -> None:
    options = b.file.options(op, tflite.StridedSliceOptions)
    begin, end, strides = (b.integers(op, i) for i in (1, 2, 3))
    dims = b.tensor(op, 0).dims
    if not len(begin) == len(end) == len(strides) == len(dims) or options.EllipsisMask() or options.NewAxisMask():
        raise b.refuse(op, "must give begin, end and stride for each dimension")
    ranges: list[range] = []
    for i, length in enumerate(dims):
        cut = slice(
            None if options.BeginMask() >> i & 1 else begin[i],
            None if options.EndMask() >> i & 1 else end[i],
            strides[i] or 1,
        )
        if options.ShrinkAxisMask() >> i & 1:
            cut = slice(begin[i] % length, begin[i] % length + 1)
        ranges.append(range(*cut.indices(length)))
    folded = b.tensor(op, 0).index
    if folded in b.folded:
        if len(ranges) != 1:
            raise b.refuse(op, "shapes must be sliced along their one axis")
        b.folded[b.output(op).index] = b.folded[folded].reshape(-1)[list(ranges[0])]
        return
    _cut_channels(b, op, ranges, [range(n) for n in dims])


def _slice(b: Builder, op: Operator) -> None:
    begin, size = b.integers(op, 1), b.integers(op, 2)
    dims = b.tensor(op, 0).dims
    if not len(begin) == len(size) == len(dims):
        raise b.refuse(op, "must give begin and size for each dimension")
    ranges = [range(f, f + n if n >= 0 else length) for f, n, length in zip(begin, size, dims, strict=True)]
    _cut_channels(b, op, ranges, [range(n) for n in dims])


def _cut_channels(b: Builder, op: Operator, ranges: list[range], whole: list[range]) -> None:
    source = b.source(op)
    channels = ranges[-1]
    if ranges[:-1] != whole[:-1] or channels.step != 1 or not len(channels):
        raise b.refuse(op, "must cut neighbouring channels alone")
    _same_type(b, op, source)
    b.add(op, Slice(channels.start, channels.stop), [source])


def _resize(b: Builder, op: Operator) -> None:
    source = b.source(op)
    options = b.file.options(op, tflite.ResizeNearestNeighborOptions)
    out = b.shape(b.output(op))
    if b.integers(op, 1) != [out.height, out.width]:
        raise b.fail(op, f"size must be that of the output, got {b.integers(op, 1)}")
    _same_type(b, op, source)
    flags = bool(options.AlignCorners()), bool(options.HalfPixelCenters())
    try:
        made = resize(source.shape, out.height, out.width, *flags)
    except Unsupported as error:
        raise b.refuse(op, str(error)) from None
    b.add(op, made, [source])


def _reshape(b: Builder, op: Operator) -> None:
    b.alias(op, b.source(op, flat=True))


def _transpose(b: Builder, op: Operator) -> None:
    order, dims = b.integers(op, 1), b.tensor(op, 0).dims
    if sorted(order) != list(range(len(dims))):
        raise b.fail(op, f"order must be one of {len(dims)} dimensions, got {order}")
    moved = [axis for axis in order if dims[axis] > 1]
    if moved == sorted(moved) and b.tensor(op, 0).index not in b.order:
        b.alias(op, b.source(op, flat=True))
    elif len(dims) == 4 and order[0] == 0:
        b.view(op, order)
    else:
        raise b.refuse(op, f"must move height, width and channels alone, got {order} of {list(dims)}")


def _shape(b: Builder, op: Operator) -> None:
    b.folded[b.output(op).index] = np.array(b.tensor(op, 0).dims, np.int64)


def _pack(b: Builder, op: Operator) -> None:
    parts = [b.integers(op, i) for i in range(len(op.inputs))]
    if any(len(part) != 1 for part in parts):
        raise b.refuse(op, "must pack the numbers of a shape")
    b.folded[b.output(op).index] = np.array(parts, np.int64).reshape(-1)


HANDLERS: dict[int, Callable[[Builder, Operator], None]] = {
    tflite.BuiltinOperator.CONV_2D: _conv,
    tflite.BuiltinOperator.DEPTHWISE_CONV_2D: _depthwise,
    tflite.BuiltinOperator.FULLY_CONNECTED: _fully_connected,
    tflite.BuiltinOperator.ADD: _sum(False),
    tflite.BuiltinOperator.SUB: _sum(True),
    tflite.BuiltinOperator.MUL: _multiply,
    tflite.BuiltinOperator.AVERAGE_POOL_2D: _pool(PoolKind.AVERAGE),
    tflite.BuiltinOperator.MAX_POOL_2D: _pool(PoolKind.MAX),
    tflite.BuiltinOperator.MEAN: _mean,
    tflite.BuiltinOperator.RELU: _activate(Activation.RELU),
    tflite.BuiltinOperator.RELU6: _activate(Activation.RELU6),
    tflite.BuiltinOperator.RELU_N1_TO_1: _activate(Activation.RELU_N1_TO_1),
    tflite.BuiltinOperator.LOGISTIC: _activate(Activation.SIGMOID),
    tflite.BuiltinOperator.HARD_SWISH: _activate(Activation.HARD_SWISH),
    tflite.BuiltinOperator.SOFTMAX: _softmax,
    tflite.BuiltinOperator.QUANTIZE: _requantize,
    tflite.BuiltinOperator.DEQUANTIZE: _dequantize,
    tflite.BuiltinOperator.PAD: _pad,
    tflite.BuiltinOperator.CONCATENATION: _concat,
    tflite.BuiltinOperator.SPLIT: _split,
    tflite.BuiltinOperator.SLICE: _slice,
    tflite.BuiltinOperator.STRIDED_SLICE: _strided_slice,
    tflite.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR: _resize,
    tflite.BuiltinOperator.RESHAPE: _reshape,
    tflite.BuiltinOperator.SQUEEZE: _reshape,
    tflite.BuiltinOperator.EXPAND_DIMS: _reshape,
    tflite.BuiltinOperator.TRANSPOSE: _transpose,
    tflite.BuiltinOperator.SHAPE: _shape,
    tflite.BuiltinOperator.PACK: _pack,
}

NOTES: dict[str, tuple[str, str]] = {
    "ADD": ("add", "one operand may be constant, or 1x1xC and broadcast"),
    "AVERAGE_POOL_2D": ("pool", "any window; padding is not counted"),
    "CONCATENATION": ("concat", "along channels; int8 parts in the scale of the whole, uint8 parts in any"),
    "CONV_2D": ("conv", "any kernel, stride, dilation, groups; constant weights"),
    "DEPTHWISE_CONV_2D": ("conv in groups", "any depth multiplier"),
    "DEQUANTIZE": ("requantize", "to float32; of float16 constants nothing: they are read as float32"),
    "EXPAND_DIMS": ("nothing", "the bytes stay as they are"),
    "FULLY_CONNECTED": ("conv over the full tensor", "of a vector or a flattened map"),
    "HARD_SWISH": ("activate", ""),
    "LOGISTIC": ("activate", ""),
    "MAX_POOL_2D": ("pool", ""),
    "MEAN": ("global pool", "over height and width"),
    "MUL": ("multiply", "as ADD (squeeze-and-excite)"),
    "PACK": ("nothing", "of the numbers of a shape"),
    "PAD": ("pad", "height and width"),
    "QUANTIZE": ("requantize", "from any type to int8 or uint8"),
    "RELU": ("activate", ""),
    "RELU6": ("activate", ""),
    "RELU_N1_TO_1": ("activate", ""),
    "RESHAPE": ("nothing", "where the bytes stay as they are and the reader takes a vector"),
    "RESIZE_NEAREST_NEIGHBOR": ("resize", "both flags"),
    "SHAPE": ("nothing", "known without running the network"),
    "SLICE": ("slice", "of neighbouring channels"),
    "SOFTMAX": ("softmax", "over channels"),
    "SPLIT": ("slices", "of channels, into equal parts"),
    "SQUEEZE": ("nothing", "the bytes stay as they are"),
    "STRIDED_SLICE": ("slice", "of neighbouring channels, or of a shape"),
    "SUB": ("add", "as ADD"),
    "TRANSPOSE": ("nothing", "where only dimensions of length 1 move, or between 1xCxHxW and 1xHxWxC and back"),
}
"""What each operator becomes in a graph, and its limits; the table in docs/tflite.md is made of this."""
