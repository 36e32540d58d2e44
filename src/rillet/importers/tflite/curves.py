"""Import of TFLite's functions with numbers of their own, and of what is made of two values but sums and products."""

from collections.abc import Callable

import numpy as np
import tflite

from rillet.arithmetic.wide import CURVES
from rillet.importers.tflite.builder import Builder
from rillet.importers.tflite.file import Operator
from rillet.importers.tflite.operators import activation_of, each, pair_of, same_element
from rillet.ir.functions import Activation, Curve
from rillet.ir.graph import Node
from rillet.ir.ops import Activate, Add, Apply, Constant, Multiply, Op, Pair, PairKind
from rillet.ir.types import DType, Quant, Shape, TensorType

_OF_BYTES = (Curve.LEAKY_RELU, Curve.ELU, Curve.GELU, Curve.GELU_TANH, Curve.TANH, Curve.ABS, Curve.EXP, Curve.LOG)
"""Those that LiteRT has of 8-bit values, too."""
_TANH = {DType.I8: Quant(1 / 128, 0), DType.U8: Quant(1 / 128, 128), DType.I16: Quant(1 / 32768, 0)}


def _apply(b: Builder, op: Operator, made: Apply) -> None:
    out = same_element(b, op, b.pieces(op)[0])
    if out.quant is not None and made.curve not in _OF_BYTES:
        raise b.refuse(op, f"values must be FLOAT32, got {b.tensor(op, 0)} of {out.dtype.value}")
    if out.dtype is DType.I16 and made.curve not in CURVES:
        why = "whose least half has no logarithm" if made.curve is Curve.LOG else f"of which LiteRT has no {op.name}"
        raise b.refuse(op, f"values must not be INT16, {why}, got {b.tensor(op, 0)}")
    if made.curve is Curve.TANH and out.quant is not None and out.quant != _TANH[out.dtype]:
        unit = _TANH[out.dtype]
        raise b.refuse(op, f"output must have scale 1/{1 / unit.scale:g} and zero point {unit.zero_point}")
    each(b, op, made)


def _curve(found: Curve, first: float = 0.0, second: float = 0.0) -> Callable[[Builder, Operator], None]:
    def handle(b: Builder, op: Operator) -> None:
        _apply(b, op, Apply(found, first, second))

    return handle


def _leaky_relu(b: Builder, op: Operator) -> None:
    alpha = float(b.file.options(op, tflite.LeakyReluOptions).Alpha())
    if not np.isfinite(alpha):
        raise b.fail(op, f"alpha must be a number, got {alpha}")
    _apply(b, op, Apply(Curve.LEAKY_RELU, alpha))


def _gelu(b: Builder, op: Operator) -> None:
    by_tanh = b.file.options(op, tflite.GeluOptions).Approximate()
    _apply(b, op, Apply(Curve.GELU_TANH if by_tanh else Curve.GELU))


def _power(b: Builder, op: Operator) -> None:
    if b.computed(op, 1):
        raise b.refuse(op, "exponent must be constant")
    exponents = np.unique(b.constant(op, 1, DType.F32))
    if exponents.size != 1:
        raise b.refuse(op, f"exponent must be one number, got {exponents.size} different ones")
    _apply(b, op, Apply(Curve.POWER, float(exponents[0])))


def _square(b: Builder, op: Operator) -> None:
    source = b.source(op, flat=True)
    if source.type.quant is not None:
        raise b.refuse(op, f"values must be FLOAT32, got {b.tensor(op, 0)} of {source.type.dtype.value}")
    b.add(op, Multiply(), [source, source], shape=source.shape)


# -- two values ------------------------------------------------------------------------------------------------------


def _two(kind: PairKind) -> Callable[[Builder, Operator], None]:
    def handle(b: Builder, op: Operator) -> None:
        operands, shape = pair_of(b, op, True)
        if kind is not PairKind.DIVIDE:
            for source in operands:
                b.same_type(op, source)
        b.add(op, Pair(kind), operands, shape=shape)

    return handle


def _divide(b: Builder, op: Operator) -> None:
    fused = activation_of(b, op, b.file.options(op, tflite.DivOptions).FusedActivationFunction())
    operands, shape = pair_of(b, op, False)
    if any(source.type.quant is not None for source in operands):
        raise b.refuse(op, "operands must be FLOAT32, got quantised ones")
    _then(b, op, Pair(PairKind.DIVIDE), operands, shape, Activate(fused))


def _squared_difference(b: Builder, op: Operator) -> None:
    operands, shape = pair_of(b, op, True)
    if any(source.type.quant is not None for source in operands):
        raise b.refuse(op, "operands must be FLOAT32, got quantised ones")
    off = b.add_step(op, Add(subtract=True), operands, operands[0].type)
    b.add(op, Multiply(), [off, off], shape=shape)


def _then(b: Builder, op: Operator, made: Op, operands: list[Node], shape: Shape | None, activation: Activate) -> None:
    """An op, and behind it the activation that the file has within."""
    if activation.activation is Activation.NONE:
        b.add(op, made, operands, shape=shape)
        return
    linear = b.add_step(op, made, operands, operands[0].type)
    b.add(op, activation, [linear], shape=shape)


def _prelu(b: Builder, op: Operator) -> None:
    source = b.source(op)
    same_element(b, op, source)
    if b.computed(op, 1):
        raise b.refuse(op, "slopes must be constant")
    alpha, wide = b.tensor(op, 1), source.type.dtype is DType.I16
    if wide and alpha.code == tflite.TensorType.INT16:
        raise b.refuse(op, "slopes of INT16 values must be INT8 (LiteRT reads the bytes of others as such), got INT16")
    slopes = b.constant(op, 1, DType.I8 if wide else source.type.dtype)
    channels, dims = source.shape.channels, (1, 1, 1, *slopes.shape)[-3:]
    if dims[:2] != (1, 1):  # a slope for each place: read where all places of a channel have the same
        rows = slopes.reshape(-1, dims[2])
        if (rows != rows[0]).any():
            raise b.refuse(op, f"slopes must be one a channel, got {list(alpha.dims)}")
        slopes = rows[0]
    if slopes.size not in (1, channels):
        raise b.fail(op, f"slopes must be 1 or {channels}, got {list(alpha.dims)}")
    if slopes.size == 1 and source.type.quant is None:
        _apply(b, op, Apply(Curve.LEAKY_RELU, float(slopes.reshape(-1)[0])))
        return
    quant = None if source.type.quant is None else b.quant(alpha)
    kind = TensorType(Shape(1, 1, channels), source.type.dtype, quant)
    each = np.broadcast_to(slopes.reshape(-1), channels).reshape(1, 1, channels)
    value = np.ascontiguousarray(each, kind.dtype.numpy)
    held = b.hold(f"c{op.index}_1", Constant(source.type.dtype), kind, value, alpha.buffer)
    b.add(op, Pair(PairKind.PRELU), [source, held])


_Op = tflite.BuiltinOperator
HANDLERS: dict[int, Callable[[Builder, Operator], None]] = {
    _Op.ABS: _curve(Curve.ABS),
    _Op.DIV: _divide,
    _Op.ELU: _curve(Curve.ELU, 1.0),
    _Op.EXP: _curve(Curve.EXP),
    _Op.GELU: _gelu,
    _Op.LEAKY_RELU: _leaky_relu,
    _Op.LOG: _curve(Curve.LOG),
    _Op.MAXIMUM: _two(PairKind.MAXIMUM),
    _Op.MINIMUM: _two(PairKind.MINIMUM),
    _Op.NEG: _curve(Curve.NEG),
    _Op.POW: _power,
    _Op.PRELU: _prelu,
    _Op.RELU_0_TO_1: _curve(Curve.CLIP, 0.0, 1.0),
    _Op.RSQRT: _curve(Curve.POWER, -0.5),
    _Op.SQRT: _curve(Curve.SQRT),
    _Op.SQUARE: _square,
    _Op.SQUARED_DIFFERENCE: _squared_difference,
    _Op.TANH: _curve(Curve.TANH),
}
NOTES: dict[str, tuple[str, str]] = {
    "ABS": ("apply", ""),
    "DIV": ("pair", "of float32, the second as in ADD"),
    "ELU": ("apply", ""),
    "EXP": ("apply", ""),
    "GELU": ("apply", "both forms"),
    "LEAKY_RELU": ("apply", ""),
    "LOG": ("apply", ""),
    "MAXIMUM": ("pair", "as ADD; quantised operands in the scale of the result"),
    "MINIMUM": ("pair", "as ADD; quantised operands in the scale of the result"),
    "NEG": ("apply", "of float32"),
    "POW": ("apply", "of float32, one constant exponent"),
    "PRELU": ("pair, or apply", "constant slopes, one a channel or one for all"),
    "RELU_0_TO_1": ("apply", "of float32"),
    "RSQRT": ("apply", "of float32"),
    "SQRT": ("apply", "of float32"),
    "SQUARE": ("multiply", "of float32"),
    "SQUARED_DIFFERENCE": ("add and multiply", "of float32"),
    "TANH": ("apply", ""),
}
"""What each operator becomes in a graph, and its limits."""
