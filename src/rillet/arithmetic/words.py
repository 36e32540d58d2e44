"""Rescaling of 32-bit sums in a few instructions of a 32-bit core, and the channels for which that is exact.

Of a sum x the cores that multiply high words compute (high + nudge + sign) >> right, where high is the upper word of
2 x * mantissa rounded to nearest and sign is -1 for x < 0: that is the rule `double` for a right shift of 1 and more,
the zero point included. Under the rule `shift` it is (x + nudge + odd) >> right, odd the bit of x above the shift.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift as shifts
from rillet.ir.ops import Rounding

Words = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class WordRounding:
    """Constants of each channel, and whether they give the stored value for every sum that it can have."""

    mantissa: Words
    nudge: Words
    right: Words
    constant: Flags
    """Channels with one value only: their sums must be made 0 (weights and bias), and the constants give the value."""
    exact: Flags


def word_rounding(
    rule: Rounding, factors: tuple[fp.Ints, fp.Ints], zero: int, clamp: fp.Clamp, sums: tuple[fp.Ints, fp.Ints]
) -> WordRounding:
    """The constants of channels whose sums lie from the first to the second of `sums`.

    factors: mantissas and shifts as the rule has them; zero: the zero point of the result; clamp: its stored bounds.
    """
    mantissa, exponent = (np.asarray(part, np.int64) for part in factors)
    least, most = (_stored(rule, values, mantissa, exponent, zero, clamp) for values in sums)
    constant = least == most
    right = exponent if rule is Rounding.SHIFT else -exponent
    shiftable = (right >= 1) & (right <= 30)
    right = np.where(constant | ~shiftable, 1, right)
    half = np.int64(1) << (right - 1)
    nudge = half - (rule is Rounding.SHIFT) + (np.int64(zero) << right)
    nudge = np.where(constant, 2 * least, nudge)
    mantissa = np.where(constant, 0, mantissa)
    reach = np.maximum(np.abs(sums[0]), np.abs(sums[1]))
    fits = reach + np.abs(nudge) + 2 <= _MOST
    exact = constant | (shiftable & fits & (2 * reach <= _MOST))
    if rule is Rounding.SINGLE:
        exact = constant
    nudge = np.where(exact, nudge, 0)
    words = [part.astype(np.int32) for part in (mantissa, nudge, right)]
    return WordRounding(words[0], words[1], words[2], constant, exact)


def rescaled(rule: Rounding, sums: fp.Ints, rounding: WordRounding) -> fp.Ints:
    """What the instructions make of sums, the channel last; before the clamp, the zero point included."""
    mantissa, nudge, right = (
        np.asarray(part, np.int64) for part in (rounding.mantissa, rounding.nudge, rounding.right)
    )
    if rule is Rounding.SHIFT:
        return (sums + nudge + ((sums >> right) & 1)) >> right
    high = (2 * sums * mantissa + (1 << 31)) >> 32
    return (high + nudge - (sums < 0)) >> right


def _stored(rule: Rounding, sums: fp.Ints, mantissa: fp.Ints, exponent: fp.Ints, zero: int, clamp: fp.Clamp) -> fp.Ints:
    match rule:
        case Rounding.DOUBLE:
            scaled = fp.multiply_double(sums, mantissa, exponent)
        case Rounding.SINGLE:
            scaled = fp.multiply_single(sums, mantissa, exponent)
        case Rounding.SHIFT:
            scaled = shifts.rescale(sums, exponent)
        case Rounding.REDUCED:
            raise ValueError("sums of 64 bits, of 16-bit values, must be rounded by other instructions than words")
    return np.clip(scaled + zero, clamp.low, clamp.high)
