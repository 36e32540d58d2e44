"""The rule `fixed_point`: 32-bit multipliers and shifts, rounded as LiteRT's reference kernels round.

The rules, operator by operator, are in docs/arithmetic.md.

All functions take and give NumPy arrays of int64 that hold int32 values. A result that leaves 32 bits, and so any byte,
saturates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError
from rillet.ir.graph import Array
from rillet.ir.ops import Activation
from rillet.ir.types import DType, Quant

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_AT_ONCE = 1 << 20
"""Weights that are widened at once: layers have a hundred million."""
ADD_SHIFT = 20
"""Bits by which both summands are scaled up before an Add, so that their rounding does not show."""


_BEYOND = 2.0**32
"""A ratio of scales that takes anything but 0 beyond every byte."""


@dataclass(frozen=True, slots=True)
class Multiplier:
    """A positive real number as mantissa * 2**(shift - 31), the mantissa a 31-bit integer."""

    mantissa: int
    shift: int


@dataclass(frozen=True, slots=True)
class Clamp:
    """Least and greatest stored value of a result, its fused activation included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class AddConstants:
    """What an integer Add needs: a multiplier for each side and one for the sum."""

    left: Multiplier
    right: Multiplier
    out: Multiplier


def wrap32(values: Ints) -> Ints:
    """The int32 that two's complement makes of each value."""
    return ((values + 2**31) & 0xFFFFFFFF) - 2**31


def multiplier(real: float) -> Multiplier:
    """`real` as a fixed-point multiplier (TensorFlow Lite's QuantizeMultiplier).

    Raises GraphError unless 0 <= real < inf.
    """
    if not (math.isfinite(real) and real >= 0):
        raise GraphError(f"rescaling factor must be a finite positive number, got {real}")
    if real == 0:
        return Multiplier(0, 0)
    fraction, shift = math.frexp(real)
    mantissa = math.floor(fraction * 2**31 + 0.5)
    if mantissa == 2**31:
        mantissa //= 2
        shift += 1
    if shift < -31:
        return Multiplier(0, 0)
    if shift > 30:
        return Multiplier(2**31 - 1, 30)
    return Multiplier(mantissa, shift)


def signed_multiplier(real: float) -> Multiplier:
    """The same of a number that may be negative: then so is its mantissa."""
    found = multiplier(abs(real))
    return Multiplier(-found.mantissa, found.shift) if real < 0 else found


def saturated(values: Ints, shift: npt.ArrayLike) -> Ints:
    """Values no further from 0 than 32 bits hold of value * 2**shift, for a shift of more than 0.

    What is beyond has a result beyond every byte, and so has what it becomes: mantissas have 30 bits and more.
    """
    left = np.maximum(np.asarray(shift, np.int64), 0)
    return np.clip(values, -(2**31) >> left, (2**31 - 1) >> left)


def multiply_double(values: Ints, mantissa: npt.ArrayLike, shift: npt.ArrayLike) -> Ints:
    """Values * multiplier, rounded twice: a doubling high multiply, then a division by 2**n, half away from 0."""
    m, s = np.asarray(mantissa, np.int64), np.asarray(shift, np.int64)
    scaled = saturated(values, s) << np.maximum(s, 0)
    high = (scaled * m + 2**30) >> 31
    right = np.maximum(-s, 0)
    mask = (np.int64(1) << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))


def multiply_single(values: Ints, mantissa: npt.ArrayLike, shift: npt.ArrayLike) -> Ints:
    """Values * multiplier, rounded once, half up."""
    m, s = np.asarray(mantissa, np.int64), np.asarray(shift, np.int64)
    total = 31 - s
    return (saturated(values, s) * m + (np.int64(1) << (total - 1))) >> total


def product_in_f32(left: float, right: float) -> float:
    """The product of two scales as float32, or as it is where float32 cannot hold it."""
    with np.errstate(over="ignore"):
        product = float(np.float32(left) * np.float32(right))
    return product if math.isfinite(product) else left * right


def conv_multipliers(
    source: Quant, weight_scale: Floats, out: Quant, in_f32: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
    """Mantissas and shifts of a convolution's channels: scale_in * scale_w / scale_out.

    Fully connected layers and uint8 convolutions multiply the first two in float32, as TensorFlow Lite does.
    """
    multipliers: list[Multiplier] = []
    for scale in weight_scale:
        factor = product_in_f32(source.scale, float(scale)) if in_f32 else source.scale * float(scale)
        multipliers.append(multiplier(factor / out.scale))
    mantissas = np.array([m.mantissa for m in multipliers], np.int32)
    return mantissas, np.array([m.shift for m in multipliers], np.int8)


def signed_sums(weight: Array) -> tuple[Ints, Ints]:
    """The sum of the positive weights of each output channel, the first axis, and that of the negative ones.

    weight: integers of any width; so many are widened at once that a layer of a hundred million takes little memory.
    """
    rows = weight.reshape(len(weight), -1)
    step = max(1, _AT_ONCE // max(1, rows.shape[1]))
    parts = [rows[at : at + step] for at in range(0, len(rows), step)]
    plus, minus = (
        np.concatenate([bound(part, part.dtype.type(0)).sum(1, dtype=np.int64) for part in parts])
        for bound in (np.maximum, np.minimum)
    )
    return plus, minus


def check_accumulator(weights: tuple[Ints, Ints], bias: Ints | None, source: DType, zero: int) -> None:
    """Raises GraphError unless every sum that can arise fits an int32.

    weights: `signed_sums` of those of each output channel, without their zero point.
    """
    low, high = source.integers
    reach = max(high, -low) + abs(zero)  # the zero point is folded into the bias, so it counts by itself
    sums = (weights[0] - weights[1]) * reach
    if bias is not None:
        sums = sums + np.abs(bias)
    if sums.size and int(sums.max()) >= 2**31:
        raise GraphError(f"accumulator must fit 32 bits, channel {int(sums.argmax())} can reach {int(sums.max())}")


def activation_clamp(activation: Activation, quant: Quant, dtype: DType) -> Clamp:
    """The stored range of a result under a fused clamp; raises GraphError for an activation that is not a clamp."""
    bounds = activation.clamp
    if bounds is None:
        raise GraphError(f"fused activation must be a clamp, got {activation.value}")
    low, high = dtype.integers
    if math.isfinite(bounds[0]):
        low = max(low, quantize_value(bounds[0], quant))
    if math.isfinite(bounds[1]):
        high = min(high, quantize_value(bounds[1], quant))
    if low > high:
        raise GraphError(f"range of {activation.value} must not be empty, got {low}..{high}")
    return Clamp(low, high)


def quantize_value(real: float, quant: Quant) -> int:
    """A real number as stored, not clamped: float32 division, half away from zero."""
    with np.errstate(over="ignore"):
        ratio = float(np.float32(real) / np.float32(quant.scale))
    if abs(ratio) > 2**40:
        return int(math.copysign(2**40, ratio))
    return quant.zero_point + int(math.copysign(math.floor(abs(ratio) + 0.5), ratio))


def add_constants(left: Quant, right: Quant, out: Quant, bits: int = ADD_SHIFT) -> AddConstants:
    """The three multipliers of an Add: both sides relative to twice the larger scale, shifted up by so many bits."""
    twice = 2.0 * max(left.scale, right.scale)
    return AddConstants(
        multiplier(left.scale / twice),
        multiplier(right.scale / twice),
        multiplier(twice / ((1 << bits) * out.scale)),
    )


def add(left: Ints, right: Ints, constants: AddConstants, subtract: bool, bits: int = ADD_SHIFT) -> Ints:
    """Sum or difference of two values given without their zero points, before the zero point of the result."""
    scaled_left = multiply_double(left << bits, constants.left.mantissa, constants.left.shift)
    scaled_right = multiply_double(right << bits, constants.right.mantissa, constants.right.shift)
    total = scaled_left - scaled_right if subtract else scaled_left + scaled_right
    return multiply_double(total, constants.out.mantissa, constants.out.shift)


def average(sums: Ints, count: npt.ArrayLike) -> Ints:
    """Sums / count, half away from zero: what an average pool does with stored values."""
    n = np.asarray(count, np.int64)
    return np.sign(sums) * ((np.abs(sums) + n // 2) // n)


def mean_multiplier(source: Quant, out: Quant, count: int) -> Multiplier:
    """scale_in / scale_out / count as one multiplier, with as much of 1/count in the mantissa as fits."""
    base = multiplier(source.scale / out.scale)
    shift = min(count.bit_length() - 1, 32, 31 + base.shift)
    return Multiplier((base.mantissa << shift) // count, base.shift - shift)


def round_half_away(values: npt.NDArray[np.floating]) -> Ints:
    """Nearest integers, halves away from zero."""
    wide = values.astype(np.float64)
    return np.copysign(np.floor(np.abs(wide) + 0.5), wide).astype(np.int64)


def requantize(values: Ints, source: Quant, out: Quant) -> Ints:
    """Stored values of one quantisation in another, not clamped."""
    scale = multiplier(source.scale / out.scale)
    return multiply_double(values - source.zero_point, scale.mantissa, scale.shift) + out.zero_point


def concatenated(values: Ints, source: Quant, out: Quant) -> Ints:
    """Stored values of one quantisation in another as a uint8 concatenation rescales them: in float32, not clamped."""
    if source == out:
        return values
    with np.errstate(over="ignore"):
        scale = np.float32(source.scale) * (np.float32(1.0) / np.float32(out.scale))
    if not scale < _BEYOND:  # or the reciprocal left float32
        scale = np.float32(min(source.scale / out.scale, _BEYOND))
    bias = np.float32(-source.zero_point) * scale
    return round_half_away(values.astype(np.float32) * scale + bias) + out.zero_point


def product_multiplier(left: Quant, right: Quant, out: Quant) -> Multiplier:
    """scale_left * scale_right / scale_out, in float32 as TensorFlow Lite does."""
    product = product_in_f32(left.scale, right.scale)
    with np.errstate(over="ignore"):
        ratio = float(np.float32(product) / np.float32(out.scale))
    return multiplier(ratio if math.isfinite(ratio) else product / out.scale)


def prelu_multipliers(source: Quant, slope: Quant, out: Quant) -> tuple[Multiplier, Multiplier]:
    """What a PReLU multiplies values by, and below 0 the products with their slopes, both taken in float32."""
    product = np.float32(source.scale) * np.float32(slope.scale)
    return multiplier(float(np.float32(source.scale) / np.float32(out.scale))), multiplier(
        float(product / np.float32(out.scale))
    )


def prelu(values: Ints, slopes: Ints, multipliers: tuple[Multiplier, Multiplier]) -> Ints:
    """A PReLU of values and slopes without their zero points, before the zero point of the result."""
    above, below = multipliers
    scaled = multiply_double(values * slopes, below.mantissa, below.shift)
    return np.where(values >= 0, multiply_double(values, above.mantissa, above.shift), scaled)


def quantize(values: Sequence[float] | Floats, quant: Quant, dtype: DType) -> Ints:
    """Quantises float32 values: float32 division, half away from zero, clamped."""
    low, high = dtype.integers
    with np.errstate(over="ignore"):
        ratio = np.asarray(values, np.float32) / np.float32(quant.scale)
    # Far beyond any stored value, so that what overflowed float32 can still be cast.
    near = np.clip(ratio, -(2.0**30), 2.0**30)
    return np.clip(round_half_away(near) + quant.zero_point, low, high)
