"""Networks that have every kernel of a board's program, one stage each, of a type and a rule."""

import numpy as np

from graphs import CURVES, Builder
from rillet.ir.functions import Curve
from rillet.ir.graph import Graph
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    Concat,
    Constant,
    Conv,
    Input,
    Multiply,
    Op,
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


def every_kernel(dtype: DType, rounding: Rounding = Rounding.DOUBLE, kernel: int = 3, channels: int = 16) -> Graph:
    """Convolutions of every kind, pools, sums, products, copies, functions: values of `dtype`, weights of 8 bits or
    float32.
    """
    b = Builder(np.random.default_rng(0), dtype)
    real = dtype is DType.F32
    rule = Rounding.DOUBLE if real else rounding
    other = Rounding.DOUBLE if rule is Rounding.SINGLE else rule
    quant = None if real else Quant(2.0**-4, 3)
    square = (kernel, kernel)

    def add(op: Op, *inputs: str) -> str:
        return b.add(op, *inputs, quant=quant)

    at = b.add(Input(), shape=Shape(16, 16, 3), quant=quant)
    at = add(b.conv(channels, square, activation=Activation.RELU6, rounding=rule), at)
    at = add(b.conv(channels, (3, 3), groups=channels, rounding=rule), at)
    at = first = add(b.conv(channels, rounding=rule), at)
    at = add(b.conv(channels, square, groups=channels, activation=Activation.RELU, rounding=rule), at)
    at = add(b.conv(channels, square, groups=4, rounding=rule), at)
    at = add(Add(Activation.RELU), at, first)
    at = add(Pool(PoolKind.MAX, Window(square, (1, 1), (kernel // 2,) * 4)), at)
    at = add(Pool(PoolKind.AVERAGE, Window(square, (1, 1), (kernel // 2,) * 4)), at)
    at = add(Activate(Activation.HARD_SWISH if not real else Activation.SIGMOID, other), at)
    at = add(Pad((1, 0, 0, 1)), at)
    at = add(resize(b.node(at).shape, 8, 8), at)
    at = add(Concat(), at, add(Slice(1, 4), at))
    shape = b.node(at).shape
    gate = b.add(Pool(PoolKind.MEAN, Window((shape.height, shape.width)), rounding=other), at, quant=quant)
    at = add(Multiply(rounding=other), at, gate)
    at = add(Multiply(rounding=other), at, b.add(Constant(dtype), shape=Shape(1, 1, shape.channels), quant=quant))
    at = add(b.conv(5, square, (2, 2), rounding=rule), at)
    shape = b.node(at).shape
    at = b.add(Pool(PoolKind.AVERAGE, Window((shape.height, shape.width))), at, same=True)
    at = add(b.conv(7, rounding=rule), at)
    if not real:
        at = b.add(Requantize(), b.add(Requantize(), at, dtype=DType.F32), quant=quant)
        at = b.add(Requantize(), at, quant=Quant(0.11, 4))
    at = b.add(ArgMax(), b.add(Softmax(), at, quant=Quant(1 / 256, -128 if dtype is DType.I8 else 0)))
    return b.graph(at)


def every_curve(dtype: DType) -> Graph:
    """A stage for each function of one value with numbers of its own."""
    b = Builder(np.random.default_rng(0), dtype)
    at = b.add(Input(), shape=Shape(4, 4, 5), quant=Quant(2.0**-4, 3))
    made = [b.add(Apply(curve, *CURVES.get(curve, ())), at, quant=Quant(2.0**-4, 3)) for curve in Curve]
    return b.graph(*made)


def every_low_bit_kernel(dtype: DType, rounding: Rounding = Rounding.DOUBLE, kernel: int = 3) -> Graph:
    """Ternary and binary weights, dense and depthwise, full and nearly empty, and binary values among them."""
    b = Builder(np.random.default_rng(0), dtype)
    real = dtype is DType.F32
    rule = Rounding.DOUBLE if real else rounding
    quant = None if real else Quant(2.0**-4, 3)
    levels = DType.F32 if real else None
    pixel, window = Window(), Window((kernel, kernel), padding=(kernel // 2,) * 4)

    def add(channels: int, weights: DType, *inputs: str, window: Window = pixel, groups: int = 1) -> str:
        op = Conv(channels, window, groups=groups, weights=weights, rounding=rule, levels=levels)
        return b.add(op, *inputs, quant=quant)

    at = b.add(Input(), shape=Shape(16, 16, 3), quant=quant)
    at = add(40, DType.TERNARY, at, window=window)
    at = add(40, DType.TERNARY, at, window=window, groups=40)
    at = add(40, DType.BINARY, at, window=window, groups=40)
    at = add(40, DType.BINARY, at)
    at = empty = add(10, DType.TERNARY, at)
    at = add(24, DType.TERNARY, at, window=window)
    at = add(24, DType.BINARY, at, window=window)
    at = add(24, DType.TERNARY, at, window=window, groups=2)
    if not real:
        one = Quant(1.0, 0)
        at = b.add(Activate(Activation.SIGN), at, dtype=DType.BINARY, quant=one)
        at = b.add(Pool(PoolKind.MAX, Window((2, 2))), at, dtype=DType.BINARY, quant=one)
        signs = Conv(33, window, activation=Activation.SIGN, weights=DType.BINARY)
        at = b.add(signs, at, dtype=DType.BINARY, quant=one)
        at = add(20, DType.BINARY, at, window=window)
        at = b.add(
            Conv(9, Window(), activation=Activation.SIGN, weights=DType.TERNARY), at, dtype=DType.BINARY, quant=one
        )
        at = add(5, DType.BINARY, at)
    made = b.graph(at)
    weight = made.param(made.by_name[empty], "weight")
    sparse = (weight * (np.arange(weight.size).reshape(weight.shape) % 9 == 0)).astype(np.int8)
    return Graph("every", made.nodes, made.outputs, {**made.params, f"{empty}.weight": sparse})
