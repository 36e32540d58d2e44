"""Import of TFLite operators that compute: one function per operator, and the table of them."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tflite

from rillet.errors import GraphError
from rillet.importers.tflite.builder import Builder
from rillet.importers.tflite.file import Operator
from rillet.ir.graph import Array, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    Concat,
    Conv,
    Multiply,
    Pool,
    PoolKind,
    Requantize,
    Rounding,
    Slice,
    Softmax,
    Window,
)
from rillet.ir.types import DType, Quant, Shape, TensorType, indices

_ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: Activation.NONE,
    tflite.ActivationFunctionType.RELU: Activation.RELU,
    tflite.ActivationFunctionType.RELU_N1_TO_1: Activation.RELU_N1_TO_1,
    tflite.ActivationFunctionType.RELU6: Activation.RELU6,
}
MAX_SOFTMAX_CHANNELS = 4095
"""So that the sum of exponentials fits 32 bits."""
_UNIT = {DType.I8: Quant(1 / 256, -128), DType.U8: Quant(1 / 256, 0), DType.I16: Quant(1 / 32768, 0)}
"""The quantisation that results between 0 and 1 must have."""


def activation_of(b: Builder, op: Operator, code: int) -> Activation:
    """The activation within an operator, by the file's code."""
    if code not in _ACTIVATIONS:
        raise b.refuse(op, f"fused activation must be none or a clamp, got code {code}")
    return _ACTIVATIONS[code]


def _window(b: Builder, op: Operator, options: Any, kernel: tuple[int, int], shape: Shape) -> Window:
    stride = (options.StrideH(), options.StrideW())
    dilation = (1, 1)
    if hasattr(options, "DilationHFactor"):
        dilation = (options.DilationHFactor(), options.DilationWFactor())
    if op.dilated is not None and (stride, dilation, options.Padding()) != ((1, 1), (1, 1), tflite.Padding.VALID):
        raise b.refuse(op, "must be VALID, of stride 1 and not dilated itself where BATCH_TO_SPACE_ND is behind it")
    try:
        if op.dilated is not None:
            return Window(kernel, stride, op.dilated.padding, op.dilated.block)
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


def weights_of(b: Builder, op: Operator, source: Node) -> Array:
    """Constant weights of the type that goes with the input.

    Those of int8 beside float32 are the real values that they stand for: the file's own runtimes round activations to
    eight bits as they go, each in its way (docs/tflite.md).
    """
    if source.type.dtype is DType.F32 and b.is_real_by_scale(op, 1):
        b.hybrid += 1
        return b.real_by_scale(op, 1)
    return b.constant(op, 1, DType.I8 if source.type.dtype is DType.I16 else source.type.dtype)


def arrays_of(b: Builder, op: Operator, source: Node, weight: Array, axis: int, bias_at: int = 2) -> dict[str, Array]:
    """Weights (output channel first), bias and scales; `axis` is that of the output channels in the file."""
    channels, params = weight.shape[0], {"weight": weight}
    real = source.type.dtype is DType.F32
    if len(op.inputs) > bias_at and op.inputs[bias_at] >= 0:
        kind = DType.F32 if real else DType.I64 if source.type.dtype is DType.I16 else DType.I32
        bias = b.constant(op, bias_at, kind).reshape(-1)
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
    shape: Shape | None = None,
) -> None:
    wide = source.type.dtype is DType.I16
    weights, channels = DType.I8 if wide else source.type.dtype, params["weight"].shape[0]
    rounding = Rounding.REDUCED if wide and rounding is Rounding.DOUBLE else rounding
    made = Conv(channels, window, groups, activation, "bias" in params, weights, rounding, dense)
    same_element(b, op, source)
    b.add(op, made, [source], params, shape=shape)


def same_element(b: Builder, op: Operator, source: Node) -> TensorType:
    """The output's type in the shape of the input, whose element type it must have."""
    out = b.type(b.output(op), source.shape)
    if out.dtype is not source.type.dtype:
        raise b.refuse(op, "output must have the type of the input")
    return out


def _conv(b: Builder, op: Operator) -> None:
    source = b.source(op)
    options = b.file.options(op, tflite.Conv2DOptions)
    weight = weights_of(b, op, source)
    if weight.ndim != 4:
        raise b.fail(op, f"weights must have 4 dimensions, got {weight.ndim}")
    _, height, width, depth = weight.shape
    if source.shape.channels % depth:
        raise b.fail(op, f"input channels must be a multiple of the filter's {depth}, got {source.shape.channels}")
    window = _window(b, op, options, (height, width), source.shape)
    activation = activation_of(b, op, options.FusedActivationFunction())
    _add_conv(b, op, source, window, source.shape.channels // depth, activation, arrays_of(b, op, source, weight, 0))


def _depthwise(b: Builder, op: Operator) -> None:
    source = b.source(op)
    options = b.file.options(op, tflite.DepthwiseConv2DOptions)
    weight = weights_of(b, op, source)
    if weight.ndim != 4 or weight.shape[0] != 1:
        raise b.fail(op, f"depthwise weights must be 1xHxWxC, got {list(weight.shape)}")
    window = _window(b, op, options, (weight.shape[1], weight.shape[2]), source.shape)
    activation = activation_of(b, op, options.FusedActivationFunction())
    moved = np.ascontiguousarray(weight.transpose(3, 1, 2, 0))
    _add_conv(b, op, source, window, source.shape.channels, activation, arrays_of(b, op, source, moved, 3))


def _narrowed(b: Builder, op: Operator, bias: Array) -> Array:
    """A bias of 64 bits in 32; raises Unsupported where it does not fit."""
    low, high = DType.I32.integers
    beyond = [value for value in bias.tolist() if not low <= value <= high]
    if beyond:
        raise b.refuse(op, f"bias of a dense layer must fit 32 bits, got {beyond[0]}")
    return bias.astype(np.int32)


def _fully_connected(b: Builder, op: Operator) -> None:
    source = b.source(op, flat=True)
    options = b.file.options(op, tflite.FullyConnectedOptions)
    if options.WeightsFormat() != 0:
        raise b.refuse(op, f"weights must be in the default format, got code {options.WeightsFormat()}")
    weight = weights_of(b, op, source)
    taken = weight.shape[1] if weight.ndim == 2 else 0
    # The values are taken one vector after another, whatever their shape: a pixel at a time, or all at once.
    whole = taken == source.shape.elements
    if not whole and taken != source.shape.channels:
        fits = taken and source.shape.elements % taken == 0
        raise (b.refuse if fits else b.fail)(
            op, f"weights must be outputs x {source.shape.elements}, got {list(weight.shape)}"
        )
    shape = source.shape if whole else Shape(1, 1, taken)
    activation = activation_of(b, op, options.FusedActivationFunction())
    arrays = arrays_of(b, op, source, weight.reshape(weight.shape[0], *shape.array), 0)
    window = Window((shape.height, shape.width))
    if "bias" in arrays and arrays["bias"].dtype == np.int64:
        # LiteRT rescales the sums of 16-bit values of dense layers as those of 8, whose biases have 32 bits.
        arrays["bias"] = _narrowed(b, op, arrays["bias"])
    # Quantised dense layers round once, where convolutions round twice (docs/arithmetic.md).
    rounding = Rounding.DOUBLE if source.type.dtype is DType.F32 else Rounding.SINGLE
    made = Shape(*(1, 1) if whole else (source.shape.height, source.shape.width), weight.shape[0])
    if math.prod(b.output(op).dims) != made.elements and not b.output(op).open:
        raise b.fail(op, f"output must have {made.elements} values, got {list(b.output(op).dims)}")
    _add_conv(b, op, source, window, 1, activation, arrays, rounding, dense=whole, shape=made)


# -- elementwise -----------------------------------------------------------------------------------------------------


def pair_of(b: Builder, op: Operator, commutes: bool) -> tuple[list[Node], Shape | None]:
    """Both operands, the one that is broadcast second; and their shape, where it is not that of the tensors."""
    if len(op.inputs) != 2 or not (b.computed(op, 0) or b.computed(op, 1)):
        raise b.refuse(op, "must have two inputs, one of them computed")
    if not b.computed(op, 0) and not commutes:
        right = b.source(op, 1)
        return [b.operand(op, 0, right.shape, broadcast=False), right], None
    order = (0, 1) if b.computed(op, 0) else (1, 0)
    if b.computed(op, 0) and b.computed(op, 1) and b.tensor(op, 0).dims == b.tensor(op, 1).dims:
        both = [b.source(op, i, flat=True) for i in order]
        if both[0].shape == both[1].shape:  # in whatever shape they have: each value meets that at its own place
            return both, both[0].shape
    left = b.source(op, order[0])
    right = b.operand(op, order[1], left.shape)
    if commutes and right.shape.pixels > left.shape.pixels:
        left, right = right, left
    return [left, right], None


def _sum(subtract: bool) -> Callable[[Builder, Operator], None]:
    def handle(b: Builder, op: Operator) -> None:
        options = b.file.options(op, tflite.SubOptions if subtract else tflite.AddOptions)
        _by_any_scale(b, op, options)
        activation = activation_of(b, op, options.FusedActivationFunction())
        operands, shape = pair_of(b, op, not subtract)
        b.add(op, Add(activation, subtract), operands, shape=shape)

    return handle


def _by_any_scale(b: Builder, op: Operator, options: Any) -> None:
    """Raises Unsupported for sums of 16-bit values by the older rule, of powers of two alone."""
    if b.computed(op, 0) and b.type(b.output(op)).dtype is DType.I16 and options.PotScaleInt16():
        raise b.refuse(op, "pot_scale_int16 must be false where values are INT16")


def _multiply(b: Builder, op: Operator) -> None:
    options = b.file.options(op, tflite.MulOptions)
    if b.known(op, 0) and b.known(op, 1):
        b.folded[b.output(op).index] = np.multiply(b.integers(op, 0), b.integers(op, 1)).astype(np.int64).reshape(-1)
        return
    operands, shape = pair_of(b, op, True)
    b.add(op, Multiply(activation_of(b, op, options.FusedActivationFunction())), operands, shape=shape)


def _activate(activation: Activation) -> Callable[[Builder, Operator], None]:
    def handle(b: Builder, op: Operator) -> None:
        out = same_element(b, op, b.pieces(op)[0])
        if activation is Activation.HARD_SWISH and out.dtype is DType.I16:
            raise b.refuse(op, f"values must not be INT16, of which LiteRT has no HARD_SWISH, got {b.tensor(op, 0)}")
        if activation is Activation.SIGMOID and out.quant is not None:
            _unit(b, op, out.dtype, out.quant)
        each(b, op, Activate(activation))

    return handle


def each(b: Builder, op: Operator, made: Activate | Apply | Requantize) -> None:
    """A function of every value, whatever shapes the values have."""
    if b.plain(op):
        b.add(op, made, b.pieces(op))
        return
    b.same_dims(op)
    b.set_pieces(op, [b.add_piece(op, made, [piece], piece.shape).name for piece in b.pieces(op)])


def _unit(b: Builder, op: Operator, dtype: DType, quant: Quant) -> None:
    if quant != _UNIT[dtype]:
        scale = f"1/{1 / _UNIT[dtype].scale:g}"
        raise b.refuse(op, f"output must have scale {scale} and zero point {_UNIT[dtype].zero_point}")


def _softmax(b: Builder, op: Operator) -> None:
    pieces, classes = b.pieces(op), b.tensor(op, 0).dims[-1]
    options = b.file.options(op, tflite.SoftmaxOptions)
    out = same_element(b, op, pieces[0])
    if out.quant is not None:
        _unit(b, op, out.dtype, out.quant)
        if classes > MAX_SOFTMAX_CHANNELS:
            raise b.refuse(op, f"channels must be at most {MAX_SOFTMAX_CHANNELS}, got {classes}")
    beta = float(options.Beta())
    if not (np.isfinite(beta) and beta > 0):
        raise b.fail(op, f"beta must be a positive number, got {beta}")
    if b.plain(op):
        b.add(op, Softmax(beta), pieces)
        return
    if any(piece.shape.channels % classes for piece in pieces):
        raise b.refuse(op, f"input must be maps with a multiple of {classes} channels, got {b.tensor(op, 0)}")
    b.same_dims(op)
    b.set_pieces(op, [_softmax_of(b, op, piece, classes, beta).name for piece in pieces])


def _softmax_of(b: Builder, op: Operator, piece: Node, classes: int, beta: float) -> Node:
    """Softmax over each `classes` channels of a map: in the file they are rows of their own (a detector's anchors)."""
    channels, shape = piece.shape.channels, Shape(piece.shape.height, piece.shape.width, classes)
    if channels == classes:
        return b.add_piece(op, Softmax(beta), [piece], shape)
    parts: list[Node] = []
    for start in range(0, channels, classes):
        cut = b.add_step(op, Slice(start, start + classes), [piece], replace(piece.type, shape=shape))
        parts.append(b.add_step(op, Softmax(beta), [cut], b.type(b.output(op), shape)))
    return b.add_piece(op, Concat(), parts, piece.shape)


def _argmax(b: Builder, op: Operator) -> None:
    """The greatest of the last dimension, which is all channels of each of the nodes that hold the input."""
    pieces, dims, axes = b.pieces(op), b.tensor(op, 0).dims, b.integers(op, 1)
    if len(axes) != 1 or not -len(dims) <= axes[0] < len(dims):
        raise b.fail(op, f"axis must be one of {len(dims)}, got {axes[:9]}")
    if axes[0] % len(dims) != len(dims) - 1 or any(piece.shape.channels != dims[-1] for piece in pieces):
        raise b.refuse(op, f"must be over the channels, got axis {axes[0]} of {list(dims)}")
    if pieces[0].type.dtype is DType.I16:
        raise b.refuse(op, f"values must not be INT16, of which LiteRT has no ARG_MAX, got {b.tensor(op, 0)}")
    b.need_indices(op)
    out = b.output(op)
    out = b.set_dims(op, out, dims[:-1]) if out.open else out
    if out.dims != dims[:-1]:
        raise b.fail(op, f"output must be {list(dims[:-1])}, got {list(out.dims)}")
    shapes = [Shape(piece.shape.height, piece.shape.width, 1) for piece in pieces]
    made = [
        b.add_piece(op, ArgMax(), [piece], shape, indices(shape)) for piece, shape in zip(pieces, shapes, strict=True)
    ]
    b.set_pieces(op, [node.name for node in made])


def _requantize(b: Builder, op: Operator) -> None:
    each(b, op, Requantize())


def _dequantize(b: Builder, op: Operator) -> None:
    if b.computed(op, 0):
        _requantize(b, op)
    else:
        b.widen(op)


# -- windows ---------------------------------------------------------------------------------------------------------


def _pool(kind: PoolKind) -> Callable[[Builder, Operator], None]:
    def handle(b: Builder, op: Operator) -> None:
        source = b.source(op)
        options = b.file.options(op, tflite.Pool2DOptions)
        window = _window(b, op, options, (options.FilterHeight(), options.FilterWidth()), source.shape)
        b.same_type(op, source)
        b.add(op, Pool(kind, window, activation_of(b, op, options.FusedActivationFunction())), [source])

    return handle


def _mean(b: Builder, op: Operator) -> None:
    axes, dims = b.integers(op, 1), b.tensor(op, 0).dims
    found = {axis % len(dims) for axis in axes if -len(dims) <= axis < len(dims)}
    source = b.source(op, flat=len(dims) == 3 and found == {1})
    height, width, channels = source.shape.array
    if len(dims) == 3 and found == {1} and dims[2] == channels:
        found = {1, 2}  # all pixels of the map, which is the one long row of the tensor
    if len(dims) < 3 or not found or not found <= {1, 2} or len(found) < len(set(axes)):
        raise b.refuse(op, f"axes must be height, width or both, got {axes}")
    window = Window((height if 1 in found else 1, width if 2 in found else 1))
    mean = window.covers(source.shape) or source.type.quant is not None
    made = Pool(PoolKind.MEAN if mean else PoolKind.AVERAGE, window)
    b.add(op, made, [source], shape=Shape(*window.output(source.shape), channels))


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
    tflite.BuiltinOperator.ARG_MAX: _argmax,
    tflite.BuiltinOperator.QUANTIZE: _requantize,
    tflite.BuiltinOperator.DEQUANTIZE: _dequantize,
}

NOTES: dict[str, tuple[str, str]] = {
    "ADD": ("add", "one operand may be constant, or 1x1xC and broadcast"),
    "ARG_MAX": ("argmax", "over channels; int64 results are int32 here"),
    "AVERAGE_POOL_2D": ("pool", "any window; padding is not counted"),
    "CONV_2D": ("conv", "any kernel, stride, dilation, groups; constant weights, of four bits and sparse ones too"),
    "DEPTHWISE_CONV_2D": ("conv in groups", "any depth multiplier"),
    "DEQUANTIZE": ("requantize", "to float32; of constants nothing: they are read as float32"),
    "FULLY_CONNECTED": ("conv over the full tensor, or of each pixel", "of a vector, a map, or a flattened map"),
    "HARD_SWISH": ("activate", ""),
    "LOGISTIC": ("activate", ""),
    "MAX_POOL_2D": ("pool", ""),
    "MEAN": ("pool", "over height, width or both"),
    "MUL": ("multiply", "as ADD (squeeze-and-excite)"),
    "QUANTIZE": ("requantize", "from any type to int8, uint8 or int16"),
    "RELU": ("activate", ""),
    "RELU6": ("activate", ""),
    "RELU_N1_TO_1": ("activate", ""),
    "SOFTMAX": ("softmax", "over channels, or over a detector's rows that were cut from channels"),
    "SUB": ("add", "as ADD"),
}
"""What each operator becomes in a graph, and its limits; the table in docs/tflite.md is made of this."""
