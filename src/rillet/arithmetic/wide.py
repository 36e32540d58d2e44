"""Arithmetic of 16-bit values (int16x8): multipliers of 16 bits, sigmoid and softmax by tables, as LiteRT has them.

Values are int16 with the zero point 0, weights int8; biases and sums of convolutions have 64 bits. The rules stand in
docs/arithmetic.md.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic.fixed_point import Ints
from rillet.errors import GraphError, Unsupported
from rillet.ir.functions import Curve
from rillet.ir.types import DType, Quant

Table = npt.NDArray[np.int16]
Reals = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
CURVES = (Curve.LEAKY_RELU, Curve.GELU, Curve.GELU_TANH, Curve.TANH, Curve.ABS, Curve.EXP)
"""Functions with numbers that have a rule: those that LiteRT has, but for a LOG that is not defined for half of all."""
UNIT = Quant(1 / 32768, 0)
"""The quantisation of results between -1 and 1."""
ADD_SHIFT = 15
"""Bits by which both summands are scaled up before an Add: fewer than of bytes, so that they fit 32 bits."""
SUM_BITS = 47
"""Sums are less than 2**47, so that their products with 16 bits fit 64."""
MOST_SHIFT = 7
_STEPS, _STEP_BITS = 512, 7
_LEAST, _MOST = DType.I16.integers


# -- convolutions ------------------------------------------------------------------------------------------------------


def check_sums(weights: tuple[Ints, Ints], bias: Ints) -> None:
    """Raises GraphError unless every sum of products with 16-bit values is less than 2**47.

    weights: `fixed_point.signed_sums` of those of each output channel.
    """
    sums = (weights[0] - weights[1]) * -_LEAST + np.abs(np.clip(bias, -(2**62), 2**62))
    if sums.size and int(sums.max()) >= 2**SUM_BITS:
        got = f"channel {int(sums.argmax())} can reach {int(sums.max())}"
        raise GraphError(f"sums of 16-bit values must fit {SUM_BITS} bits, {got}")


def reduced(
    mantissa: npt.NDArray[np.int32], shift: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int8]]:
    """Multipliers of 31 bits as their nearest of 15; raises GraphError for one of more than 2**7."""
    if shift.size and int(shift.max()) > MOST_SHIFT:
        raise GraphError(f"rescaling factor of 16-bit values must be at most 2**{MOST_SHIFT}, got 2**{shift.max()}")
    wide = mantissa.astype(np.int64)
    return np.where(wide < 0x7FFF0000, (wide + (1 << 15)) >> 16, 0x7FFF).astype(np.int16), shift


def multiply_reduced(values: Ints, mantissa: npt.ArrayLike, shift: npt.ArrayLike) -> Ints:
    """Sums of 64 bits times multipliers of `reduced`, rounded once, half up; of the result the lower 32 bits."""
    right = 15 - np.asarray(shift, np.int64)
    scaled = (values * np.asarray(mantissa, np.int64) + (np.int64(1) << (right - 1))) >> right
    return fp.wrap32(scaled)


def clamp_multiplier(source: Quant, out: Quant) -> fp.Multiplier:
    """What a clamp that stands by itself multiplies 16-bit values by: the ratio of the scales in float32."""
    return fp.multiplier(float(np.float32(source.scale) / np.float32(out.scale)))


# -- tables of 513 steps -----------------------------------------------------------------------------------------------


def table_of(function: Callable[[Reals], Reals], low: float, high: float) -> Table:
    """513 values of a function between two ends, with 15 bits after the point; each less half of what a straight line
    to the next one is off in the middle.
    """
    step = (high - low) / _STEPS

    def made(at: Reals) -> Reals:
        return function(low + at * step) * 2**15

    places = np.arange(_STEPS, dtype=np.float64)
    sample = fp.round_half_away(made(places))
    between = fp.round_half_away((made(places + 1) + sample) / 2)
    off = between - fp.round_half_away(made(places + 0.5))
    last = fp.round_half_away(made(np.array([_STEPS], np.float64)))
    return np.clip(np.append(sample - fp.round_half_away(off / 2), last), _LEAST, _MOST).astype(np.int16)


def table_of_steps(function: Callable[[Singles], Singles], source: Quant, out: Quant) -> Table:
    """As `table_of`, of all that 16-bit values stand for, in steps of the result: each operation in float32."""
    one = np.float32
    low, high = one(source.scale) * one(_LEAST), one(source.scale) * one(_MOST)
    step = (high - low) / one(_STEPS)
    steps = one(2**16) / (one(out.scale) * one(_MOST) - one(out.scale) * one(_LEAST))

    def made(at: Singles) -> Singles:
        return np.asarray(function(at) * steps, np.float32)

    def whole(real: Singles) -> Singles:
        return np.asarray(np.trunc(real.astype(np.float64) + np.copysign(0.5, real)), np.float32)

    with np.errstate(over="ignore", invalid="ignore"):
        places = low + np.arange(_STEPS + 1, dtype=np.float32) * step
        sample, after = whole(made(places[:-1])), made(places[1:])
        between = whole(np.asarray((after + sample) / one(2), np.float32))
        off = between - whole(made(places[:-1] + step / one(2)))
        last = whole(made(np.array([high], np.float32)))
        table = np.append(sample - whole(np.asarray(off / one(2), np.float32)), last)
    return np.clip(np.nan_to_num(table), _LEAST, _MOST).astype(np.int16)


def look_up(values: Ints, table: Table) -> Ints:
    """Of 16-bit values what a table of 513 steps has, on the line between two of them."""
    at, part, wide = 256 + (values >> _STEP_BITS), values & (2**_STEP_BITS - 1), table.astype(np.int64)
    base = wide[at]
    return _wrap16(base + ((_wrap16(wide[at + 1] - base) * part + 2 ** (_STEP_BITS - 1)) >> _STEP_BITS))


def _wrap16(values: Ints) -> Ints:
    """What is left of them in 16 bits: of the slope of a step that leaps over half the range, too."""
    return ((values + 2**15) & 0xFFFF) - 2**15


# -- softmax -----------------------------------------------------------------------------------------------------------


def exponential_table() -> Table:
    """exp(x) for x from -10 to 0, with 15 bits after the point."""
    return table_of(np.exp, -10.0, 0.0)


def reciprocal_table() -> Table:
    """1 / (1 + x) for x from 0 to 1, with 15 bits after the point."""
    return table_of(lambda x: 1 / (1 + x), 0.0, 1.0)


def softmax_multiplier(source: Quant, beta: float) -> fp.Multiplier:
    """What makes distances to the greatest value steps of the table of exponentials."""
    return fp.multiplier(float(np.float32(source.scale) * np.float32(beta)) / (10.0 / 65535.0))


def softmax(values: Ints, source: Quant, beta: float) -> Ints:
    """Softmax over the last axis, in 32768ths."""
    scale = softmax_multiplier(source, beta)
    distance = fp.multiply_double(values - values.max(-1, keepdims=True), scale.mantissa, scale.shift)
    powers = look_up(np.clip(distance + _MOST, _LEAST, _MOST), exponential_table())
    sums = powers.sum(-1, keepdims=True)
    bits = np.array([int(s).bit_length() for s in sums.reshape(-1)]).reshape(sums.shape)
    shifted = ((sums << (31 - bits)) + (1 << 13)) >> 14
    reciprocal = look_up(np.clip(shifted - (2**15 + 2**16), _LEAST, _MOST), reciprocal_table())
    right = bits - 1
    return np.clip((powers * reciprocal + (np.int64(1) << (right - 1))) >> right, 0, _MOST)


# -- sigmoid and tanh --------------------------------------------------------------------------------------------------


_RAISED = (
    *(4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46),
    *(49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255),
)
"""Where LiteRT's table has one more than the nearest integer."""


def sigmoid_table() -> npt.NDArray[np.uint16]:
    """Sigmoid of 0 to 255 24ths, with 16 bits after the point."""
    steps = np.floor(65536.0 / (1.0 + np.exp(-np.arange(256) / 24.0)) + 0.5)
    steps[list(_RAISED)] += 1
    return np.minimum(steps, 65535).astype(np.uint16)


def sigmoid_multiplier(source: Quant) -> tuple[int, int]:
    """A multiplier of 16 bits and a shift to the right that make values 12288ths."""
    log = np.log2(source.scale)
    if log == np.rint(log) and int(log) in (-12, -11):  # a power of two
        return 3 << (int(log) + 12), 0
    real, shift = float(np.float32(source.scale)) * 4096 * 3, 0
    while real <= 32767.0 / 2.0 and shift <= 30:
        shift, real = shift + 1, real * 2.0
    if real > 32767:
        raise Unsupported(f"scale of 16-bit values must be at most 2.66 before sigmoid or tanh, got {source.scale:g}")
    return int(real), shift


def _twelfths(values: Ints, source: Quant) -> Ints:
    multiplier, shift = sigmoid_multiplier(source)
    return (values * multiplier + ((1 << shift) >> 1)) >> shift


def _between(size: Ints, bits: int) -> tuple[npt.NDArray[np.bool_], Ints]:
    """Where a table of sigmoids ends, and before that its value on the line, `bits` more after the point."""
    table, at = sigmoid_table().astype(np.int64), np.minimum(size >> bits, 254)
    part = size & ((1 << bits) - 1)
    return size >> bits >= 255, (table[at] << bits) + part * (table[at + 1] - table[at])


def sigmoid(values: Ints, source: Quant) -> Ints:
    """Sigmoid of 16-bit values, in 32768ths."""
    scaled = _twelfths(values, source)
    beyond, line = _between(np.abs(scaled), 9)
    made = np.where(beyond, 0x7FFF << 10, line)
    return np.where(scaled >= 0, made + (1 << 9), (1 << 25) - made + (1 << 9) - 1) >> 10


def tanh(values: Ints, source: Quant) -> Ints:
    """Tanh of 16-bit values, in 32768ths: of twice the value, twice the sigmoid less 1."""
    scaled = _twelfths(values, source)
    beyond, line = _between(np.abs(scaled), 8)
    made = np.where(beyond, 0xFFFF << 8, line)
    return np.where(scaled >= 0, made - (1 << 23) + (1 << 7), -made + (1 << 23) + (1 << 7) - 1) >> 8
