"""Requantisation as one float32 multiply-add, where every step of it is shown to fall alike.

A requantisation is a staircase: the stored value rises by one at certain sums, at most 255 of them within its clamp.
Two monotone staircases are equal where all their steps are. So float32 arithmetic may stand for 64-bit integers in each
channel whose steps have been compared: sum -> round(sum * scale + nudge) + centre, fused, halves to even; where the
result has both signs, the nudge takes the sign of the sum, and the centre is 0.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.arithmetic.fixed_point import Clamp, Ints, multiply_double

Reals = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
_MOST_SHIFT = 23
"""Division by no more than 2**23: the products of a step must fit 64 bits."""
_SLACK = 2.0**-50
"""Relative doubt of a float64 product and sum about the exact value that a fused operation rounds."""
FLOAT_SHIFT = 16
"""2**16 times the 256 steps of a byte is 2**24: whole numbers up to there are float32."""
_FAR = 512.0
"""Beyond any nudge."""
_PLACES = (range(1), range(-3, 4), range(-12, 13))
"""Scales tried, one lot after another: so many units of the last place from the true one. Of each lot the one that
leaves the steps the most room is looked at closely.
"""


@dataclass(frozen=True, eq=False)
class Affine:
    """Constants of the channels; `shown` where they may be used."""

    scale: Reals
    nudge: Reals
    shown: npt.NDArray[np.bool_]
    signed: bool
    """The nudge takes the sign of the sum."""
    centre: int


def shifted(shift: npt.ArrayLike) -> Affine:
    """Constants that stand for the rule `shift`, and for which channels they do.

    Up to FLOAT_SHIFT every step lies at a sum that is a float32; beyond it a sum is clamped, however it is rounded.
    """
    right = np.asarray(shift, np.int64)
    scale = np.ldexp(1.0, -right).astype(np.float32)
    return Affine(scale, np.zeros_like(scale), right <= FLOAT_SHIFT, signed=False, centre=0)


def affine(mantissa: npt.ArrayLike, shift: npt.ArrayLike, sums: tuple[Ints, Ints], clamp: Clamp) -> Affine:
    """Constants that stand for `multiply_double`, and for which channels they do.

    sums: the least and the greatest sum of each channel. clamp: range of the result, its zero point not added.
    """
    m, right = np.asarray(mantissa, np.int64)[:, None], -np.asarray(shift, np.int64)[:, None]
    lowest, highest = (bound[:, None] for bound in sums)
    ends = [np.clip(multiply_double(bound, m, -right), clamp.low, clamp.high) for bound in (lowest, highest)]
    signed = clamp.low < 0
    centre = 0 if signed else (clamp.low + clamp.high) // 2
    constant = ends[0] == ends[1]
    shown = (constant | ((right >= 0) & (right <= _MOST_SHIFT)))[:, 0]
    m, right = np.where(constant, 2**30, m), np.where(constant, 1, np.clip(right, 0, _MOST_SHIFT))
    levels = np.arange(clamp.low + 1, clamp.high + 1, dtype=np.int64)[None, :]
    # Twice the least product that counts, in units of the division: the first rounding moves it by half a unit.
    least = np.where(right == 0, 2 * levels - 1, ((2 * levels - 1) << right) + np.where(levels > 0, -1, 1))
    steps = -((-least << 30) // m)  # the least sum that reaches each level
    shown &= (multiply_double(steps, m, -right) >= levels).all(1)
    shown &= (multiply_double(steps - 1, m, -right) < levels).all(1)
    at, before = np.clip(steps, lowest, highest), np.clip(steps - 1, lowest, highest)
    exact = (m * 2.0 ** (-31.0 - right)).astype(np.float32)
    scale, value = np.zeros(len(m), np.float32), ends[0][:, 0] - centre
    nudge = (np.abs(value) if signed else value).astype(np.float32)
    missing = np.flatnonzero(shown & ~constant[:, 0])
    for places in _PLACES:
        if not len(missing):
            break
        tried = exact[missing] + np.array(places, np.float32) * np.spacing(exact[missing])
        inner = levels - centre
        above, below = at[missing], before[missing]
        never, always = steps[missing] > highest[missing], steps[missing] <= lowest[missing]
        half: Doubles = inner.astype(np.float64) - 0.5
        lots = [
            _room(scale, np.where(never, np.nan, above), np.where(always, np.nan, below), half, signed)
            for scale in tried.T[:, :, None]
        ]
        s, pushed = _roomiest(tried, lots, signed)
        reached = (_rounded(above, s, pushed, signed)[0] >= inner) | never
        short = (_rounded(below, s, pushed, signed)[1] < inner) | always
        good = (reached & short).all(1)
        scale[missing[good]], nudge[missing[good]] = s[good, 0], pushed[good, 0]
        missing = missing[~good]
    shown[missing] = False
    return Affine(scale, nudge, shown, signed, centre)


def _room(scale: Reals, at: Doubles, before: Doubles, half: Doubles, signed: bool) -> tuple[Doubles, Doubles]:
    """Between which nudges all steps of each channel fall right, roundings of float32 left aside; NaN where a step is
    never or always reached.
    """
    least, greatest = half - scale * at, half - scale * before
    if signed:  # the nudge of a negative sum counts downwards
        least, greatest = np.where(half > 0, least, -greatest), np.where(half > 0, greatest, -least)
    return np.fmax.reduce(least, 1, initial=-_FAR), np.fmin.reduce(greatest, 1, initial=_FAR)


def _roomiest(scales: Reals, lots: list[tuple[Doubles, Doubles]], signed: bool) -> tuple[Reals, Reals]:
    """Of each channel's scales the one that leaves the nudge the most room, and the middle of that room."""
    lows, highs = (np.stack(side, 1) for side in zip(*lots, strict=True))
    best = (highs - lows).argmax(1)[:, None]
    middle = (np.take_along_axis(lows, best, 1) + np.take_along_axis(highs, best, 1)) / 2
    nudge = np.maximum(middle, 0.0) if signed else middle
    return np.take_along_axis(scales, best, 1), nudge.astype(np.float32)


def _rounded(sums: Ints, scale: Reals, nudge: Reals, signed: bool) -> tuple[Reals, Reals]:
    """The least and the greatest that the fused operation can give, as far as float64 can tell."""
    real = sums.astype(np.float32).astype(np.float64)
    value = real * scale + (np.copysign(nudge, real) if signed else nudge)
    doubt = np.abs(value) * _SLACK
    return np.rint((value - doubt).astype(np.float32)), np.rint((value + doubt).astype(np.float32))
