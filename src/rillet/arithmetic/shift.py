"""The rule `shift`: the exact result, rounded once, half to even; every rescaling factor is a power of two.

All functions take and give NumPy arrays of int64. The rules, operator by operator, are in docs/arithmetic.md.
"""

import math

import numpy as np
import numpy.typing as npt

from rillet.arithmetic.fixed_point import Floats, Ints
from rillet.errors import GraphError
from rillet.ir.types import Quant

MAX_SHIFT = 31
_NEAR = 1e-6
"""How far a factor may be from its power of two: scales are stored in float32, and a factor is made of up to four."""


def exponent(factor: float) -> int:
    """The s of a rescaling factor 2**-s; raises GraphError for any other factor, and unless 0 <= s <= MAX_SHIFT."""
    found = round(-math.log2(factor)) if 0 < factor < math.inf else -1
    if not 0 <= found <= MAX_SHIFT or abs(math.ldexp(factor, found) - 1) > _NEAR:
        raise GraphError(f"rescaling factor must be 2**-s with s from 0 to {MAX_SHIFT} to shift, got {factor:g}")
    return found


def rescale(values: Ints, shift: npt.ArrayLike) -> Ints:
    """Values / 2**shift, half to even."""
    s = np.asarray(shift, np.int64)
    mask = (np.int64(1) << s) - 1
    return (values + (mask >> 1) + ((values >> s) & mask & 1)) >> s


def conv_shifts(source: Quant, weight_scale: Floats, out: Quant) -> npt.NDArray[np.int8]:
    """Shifts of a convolution's channels: scale_in * scale_w / scale_out = 2**-shift; raises GraphError naming one."""
    shifts: list[int] = []
    for channel, scale in enumerate(weight_scale):
        try:
            shifts.append(exponent(source.scale * float(scale) / out.scale))
        except GraphError as error:
            raise GraphError(f"channel {channel}: {error}") from None
    return np.array(shifts, np.int8)


def mean_shift(source: Quant, out: Quant, count: int) -> int:
    """The shift of a sum of `count` values that makes their mean: scale_in / (count * scale_out) = 2**-shift."""
    return exponent(source.scale / (count * out.scale))


def product_shift(left: Quant, right: Quant, out: Quant) -> int:
    """The shift of a product: scale_left * scale_right / scale_out = 2**-shift."""
    return exponent(left.scale * right.scale / out.scale)


def quantize(values: npt.NDArray[np.float64], quant: Quant) -> Ints:
    """Quantises float32 values: float64 division, half to even, not clamped."""
    # Far beyond any stored value, so that what overflows an integer can still be cast.
    near = np.clip(values / quant.scale, -(2.0**40), 2.0**40)
    return np.rint(near).astype(np.int64) + quant.zero_point
