"""Functions of one 8-bit value: all 256 results, as LiteRT gives them (`fixed_point`) or exactly (`shift`)."""

import math
from typing import assert_never

import numpy as np
import numpy.typing as npt

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift, wide
from rillet.arithmetic.fixed_point import Ints
from rillet.arithmetic.functions import complement, curve_real, function_real
from rillet.errors import Unsupported
from rillet.ir.functions import Activation, Curve
from rillet.ir.ops import Activate, Apply, Rounding
from rillet.ir.types import DType, Quant

_ONE = 2**31 - 1
_MIN16, _MAX16 = -(2**15), 2**15 - 1


def activate(values: Ints, op: Activate | Apply, source: Quant, out: Quant, dtype: DType) -> Ints:
    """Stored results for stored values; raises Unsupported for a function that LiteRT has no integer rule for.

    Under the rule `shift`: the function in float64, rounded half to even.
    """
    low, high = dtype.integers
    if op.rounding is Rounding.SHIFT:
        real = function_real((values - source.zero_point).astype(np.float64) * source.scale, op)
        # A function that is not defined below 0 has there what it has at 0, if that is a number.
        real = np.where(np.isnan(real), function_real(np.zeros(1), op), real)
        return np.clip(shift.quantize(np.where(np.isnan(real), 0.0, real), out), low, high)
    match op:
        case Activate(activation=activation):
            return _activation(values, activation, source, out, dtype)
        case Apply(curve=Curve.TANH) if dtype is DType.I16:
            return wide.tanh(values, source)
        case Apply(curve=Curve.GELU | Curve.GELU_TANH | Curve.EXP) if dtype is DType.I16:
            return wide.look_up(values, wide_table(op, source, out))
        case Apply(curve=curve) if dtype is DType.I16 and curve not in wide.CURVES:
            raise Unsupported(f"{curve.value} has no rule for 16-bit values")
        case Apply(curve=curve, a=a, b=b):
            return np.clip(_curve(values - source.zero_point, (curve, a, b), source, out) + out.zero_point, low, high)


def _activation(values: Ints, activation: Activation, source: Quant, out: Quant, dtype: DType) -> Ints:
    low, high = dtype.integers
    match activation:
        case Activation.NONE | Activation.RELU | Activation.RELU6 | Activation.RELU_N1_TO_1:
            clamp = fp.activation_clamp(activation, out, dtype)
            if dtype is DType.I16 and activation is not Activation.NONE:
                made = _scaled(values, wide.clamp_multiplier(source, out))
            else:
                made = fp.requantize(values, source, out)
            return np.clip(made, clamp.low, clamp.high)
        case Activation.SIGMOID if dtype is DType.I16:
            return wide.sigmoid(values, source)
        case Activation.SIGMOID:
            return np.clip(_sigmoid(values - source.zero_point, source.scale) + low, low, high)
        case Activation.HARD_SWISH if dtype is DType.I16:
            raise Unsupported("hard_swish has no rule for 16-bit values")
        case Activation.HARD_SWISH:
            return np.clip(_hard_swish(values - source.zero_point, source, out) + out.zero_point, low, high)
        case Activation.HARD_SIGMOID | Activation.SILU | Activation.SIGN:
            raise Unsupported(f"{activation.value} must be rounded by shift, got double")
        case _:
            assert_never(activation)


def _curve(values: Ints, function: tuple[Curve, float, float], source: Quant, out: Quant) -> Ints:
    """A function with numbers of values without their zero point, before the zero point of the result."""
    curve, a, _ = function
    match curve:
        case Curve.LEAKY_RELU:
            above, below = leaky_multipliers(a, source, out)
            return np.where(values >= 0, _scaled(values, above), _scaled(values, below))
        case Curve.ABS:
            return _scaled(np.abs(values), ratio_f32(source, out))
        case Curve.GELU | Curve.GELU_TANH | Curve.ELU | Curve.TANH | Curve.EXP | Curve.LOG:
            return _steps_f32(_curve_f32(_real_f32(values, source), function), out)
        case _:
            raise Unsupported(f"{curve.value} must be rounded by shift, got double")


def ratio_f32(source: Quant, out: Quant) -> fp.Multiplier:
    """The ratio of two scales in float32, as a multiplier."""
    return fp.multiplier(float(np.float32(source.scale) / np.float32(out.scale)))


def leaky_multipliers(slope: float, source: Quant, out: Quant) -> tuple[fp.Multiplier, fp.Multiplier]:
    """What a leaky ReLU multiplies values by, from 0 on and below."""
    below = np.float32(source.scale) * np.float32(slope) / np.float32(out.scale)
    return ratio_f32(source, out), fp.signed_multiplier(float(below))


def wide_table(op: Apply, source: Quant, out: Quant) -> wide.Table:
    """A function of 16-bit values as 513 steps with lines between."""
    return wide.table_of_steps(lambda x: _curve_f32(x, (op.curve, op.a, op.b)), source, out)


def _curve_f32(x: npt.NDArray[np.float32], function: tuple[Curve, float, float]) -> npt.NDArray[np.float32]:
    if function[0] in (Curve.GELU, Curve.GELU_TANH):
        return _gelu_f32(x, function[0] is Curve.GELU_TANH)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return curve_real(x.astype(np.float64), *function).astype(np.float32)


def _scaled(values: Ints, by: fp.Multiplier) -> Ints:
    return fp.multiply_double(values, by.mantissa, by.shift)


def _real_f32(values: Ints, source: Quant) -> fp.Floats:
    return np.asarray(np.float32(source.scale) * values.astype(np.float32), np.float32)


def _steps_f32(made: fp.Floats, out: Quant) -> Ints:
    """Results of float32 over the scale, half away from zero, as LiteRT makes its tables."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        steps = made * (np.float32(1.0) / np.float32(out.scale))
    return fp.round_half_away(np.clip(np.nan_to_num(steps), -(2.0**30), 2.0**30))


def _gelu_f32(x: fp.Floats, by_tanh: bool) -> fp.Floats:
    """GELU step by step in float32; of each function the nearest float32, which is what a good library's own gives."""
    one, half = np.float32(1.0), np.float32(0.5)
    if by_tanh:
        inner = np.float32(math.sqrt(2.0 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
        return np.asarray(half * x * (one + np.tanh(inner.astype(np.float64)).astype(np.float32)), np.float32)
    error = complement((x * np.float32(-math.sqrt(0.5))).astype(np.float64)).astype(np.float32)
    return np.asarray(half * x * error, np.float32)


def activation_table(op: Activate | Apply, source: Quant, source_dtype: DType, out: Quant, dtype: DType) -> Ints:
    """Results of the 256 stored values, in the order of their bytes (int8: 0 to 127, then -128 to -1)."""
    return activate(stored_values(source_dtype), op, source, out, dtype)


def stored_values(dtype: DType) -> Ints:
    """The 256 stored values in the order of their bytes."""
    return np.arange(256, dtype=np.uint8).view(dtype.numpy).astype(np.int64)


# -- sigmoid: a table that LiteRT makes in float32 ---------------------------------------------------------------------


def _sigmoid(values: Ints, scale: float) -> Ints:
    """256 * sigmoid(scale * value), rounded half up, for values without their zero point: every step in float32."""
    one = np.float32(1.0)
    with np.errstate(over="ignore"):  # of an exponential: its sigmoid is 0
        real = np.float32(scale) * values.astype(np.float32)
        # The float32 nearest to the exponential, which is what a good library's own gives.
        power = np.exp(-real.astype(np.float64)).astype(np.float32)
    return np.floor((one / (one + power)).astype(np.float64) * 256 + 0.5).astype(np.int64)


# -- softmax: exponentials of distances to the greatest value, their sum, its reciprocal, as gemmlowp has them --------

SUM_SHIFT = 12
"""Bits that each exponential gives up before it is added, so that 4096 of them fit 32 bits."""


def _high(a: int, b: int) -> int:
    """Rounding doubling high multiply, saturating."""
    if a == b == -(2**31):
        return _ONE
    return (a * b + 2**30) >> 31


def _divide(value: int, exponent: int) -> int:
    """Value / 2**exponent, half away from zero."""
    mask = (1 << exponent) - 1
    return (value >> exponent) + ((value & mask) > (mask >> 1) + (value < 0))


def _divide_by_power(values: Ints, exponent: int) -> Ints:
    mask = (1 << exponent) - 1
    return (values >> exponent) + ((values & mask) > (mask >> 1) + (values < 0))


def _saturate(value: int) -> int:
    return max(-(2**31), min(_ONE, value))


def _exp_of_negative(value: int) -> int:
    """Exp of a number of 32 bits with 5 before the point, at most 0, as one with 31 bits after the point.

    gemmlowp's exp_on_negative_values: quarters by a table of exp(-2**k), the rest by a series.
    """
    quarter = 1 << 24
    remainder = (value & (quarter - 1)) - quarter
    result = _exp_near_zero(remainder << 5)
    rest = remainder - value
    for exponent, factor in _EXP_FACTORS:
        if rest & (1 << (26 + exponent)):
            result = _high(result, factor)
    return _ONE if value == 0 else result


_EXP_FACTORS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)
"""exp(-2**exponent) with 31 bits after the point."""


def _exp_near_zero(value: int) -> int:
    """Exp of a number with 31 fraction bits between -1/4 and 0, by its Taylor series around -1/8."""
    x = value + (1 << 28)
    x2 = _high(x, x)
    x3 = _high(x2, x)
    x4 = _high(x2, x2)
    tail = _divide(_high(_divide(x4, 2) + x3, 715827883) + x2, 1)
    return _saturate(1895147668 + _high(1895147668, x + tail))


def _one_over_one_plus(value: int) -> int:
    """1 / (1 + x) for x between 0 and 1 with 31 fraction bits, by three steps of Newton's method."""
    total = value + _ONE
    half = (total + (1 if total >= 0 else -1)) // 2
    x = 1515870810 + _high(half, -1010580540)  # 48/17 - 32/17 * half, with 29 fraction bits
    for _ in range(3):
        rest = (1 << 29) - _high(half, x)
        x = _saturate(x + _saturate(_high(x, rest) << 2))
    return _saturate(x << 1)


def softmax_table(source: Quant, beta: float) -> npt.NDArray[np.int32]:
    """exp(-scale * beta * d) for d = 0..255 with 31 bits after the point; 0 for distances out of its reach."""
    factor = fp.multiplier(min(beta * source.scale * 2**26, 2.0**31 - 1))
    reach = math.floor(31 * 2**26 / 2.0**factor.shift)
    distances = fp.multiply_double(-np.arange(256), factor.mantissa, factor.shift)
    values = [_exp_of_negative(int(x)) if d <= reach else 0 for d, x in enumerate(distances)]
    return np.array(values, np.int32)


def softmax(values: Ints, table: npt.NDArray[np.int32], dtype: DType) -> Ints:
    """Softmax over the last axis, in 256ths above the least stored value."""
    low, high = dtype.integers
    exponentials = table[values.max(-1, keepdims=True) - values].astype(np.int64)
    sums = _divide_by_power(exponentials, SUM_SHIFT).sum(-1)
    bits = np.array([int(s).bit_length() for s in sums.reshape(-1)]).reshape(sums.shape)
    # The sum is 2**(bits - 20) * (1 + x) with x between 0 and 1.
    scaled = [_one_over_one_plus(int(v)) for v in ((sums << (32 - bits)) - 2**31).reshape(-1)]
    reciprocal = np.array(scaled, np.int64).reshape(sums.shape)[..., None]
    product = (reciprocal * exponentials + 2**30) >> 31
    right = (bits - 20 + 31 - 8)[..., None]
    mask = (np.int64(1) << right) - 1
    rounded = (product >> right) + ((product & mask) > (mask >> 1))
    return np.clip(rounded + low, low, high)


# -- hard swish: 16-bit fixed point ----------------------------------------------------------------------------------


def _hard_swish(values: Ints, source: Quant, out: Quant) -> Ints:
    """X * relu6(x + 3) / 6 for values without their zero point, before the zero point of the result."""
    fine = np.float32(1.0 / 128.0) * np.float32(source.scale)
    scale = fp.multiplier(float(fine / np.float32(out.scale)))
    gate = fp.multiplier(float(fine / (np.float32(3.0) / np.float32(32768.0))))
    if scale.shift > 0:
        raise Unsupported("hard_swish must not enlarge its scale by 128 or more")
    high = values * 128
    scaled = _high16(high, _to16(scale.mantissa))
    gated = high
    if gate.shift > 0:
        gated = np.clip(gated << (gate.shift - 1), _MIN16, _MAX16)
    gated = _high16(gated, _to16(gate.mantissa))
    if gate.shift > 0:
        gated = np.clip(gated << 1, _MIN16, _MAX16)
    elif gate.shift < 0:
        gated = _divide16(gated, -gate.shift)
    gated = (gated + 2**15) >> 1
    product = _truncating_high16(gated, scaled)
    return _divide16(product, -scale.shift)


def _divide16(values: Ints, exponent: int) -> Ints:
    """Values / 2**exponent, half away from zero; beyond 15 bits -1, 0 or 1, as LiteRT's masks of 16 bits have it."""
    mask = (((1 << exponent) - 1) & 0xFFFF ^ 0x8000) - 0x8000
    return (values >> exponent) + ((values & mask) > (mask >> 1) + (values < 0))


def _to16(mantissa: int) -> int:
    return _MAX16 if mantissa >= 2**31 - 1 - 2**15 else (mantissa + 2**15) >> 16


def _high16(a: Ints, b: int) -> Ints:
    product = a * b
    return np.clip(np.where(product >= 0, product + 2**14, product + 1 - 2**14) / 2**15, _MIN16, _MAX16).astype(
        np.int64
    )


def _truncating_high16(a: Ints, b: Ints) -> Ints:
    return np.clip((a * b) / 2**15, _MIN16, _MAX16).astype(np.int64)
