"""What the constants of microcontrollers' kernels are made of: words, and weights as sums of bytes."""

import numpy as np
import numpy.typing as npt

from rillet.arithmetic.fixed_point import Ints
from rillet.arithmetic.words import Words
from rillet.plan.board.kernels import Finish


def words_of(values: npt.ArrayLike) -> Words:
    """The int32 that hold these numbers in 32 bits."""
    return (np.asarray(values, np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def halves(low: npt.ArrayLike, high: npt.ArrayLike) -> Words:
    """Words of two numbers of 16 bits."""
    return words_of((np.asarray(low, np.int64) & 0xFFFF) | ((np.asarray(high, np.int64) & 0xFFFF) << 16))


def channel_words(bias: Ints, known: Finish) -> Words:
    """Of each channel bias, mantissa, nudge and right shift."""
    rounding = known.rounding
    return words_of(np.stack([bias, rounding.mantissa, rounding.nudge, rounding.right], 1))


def in_parts(weight: Ints) -> list[Ints]:
    """Two numbers from -127 to 127 each whose sum is the weight."""
    first = np.clip(weight, -127, 127)
    return [first, weight - first]


def row_words(nine: Ints, shift: npt.NDArray[np.integer], rest: Words, wide: bool) -> Words:
    """Of each channel nine weights and a shift as bytes, or as 16 bits where they are wide, in whole words; then the
    rest.
    """
    numbers = np.concatenate([nine, shift[:, None]], 1)
    kept = numbers.astype(np.int16) if wide else np.pad(numbers, ((0, 0), (0, 2))).astype(np.int8)
    return np.concatenate([np.ascontiguousarray(kept).view("<i4"), rest], 1)
