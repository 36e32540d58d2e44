"""Requantisation as one float32 multiply-add, where every step of it is shown to fall alike.

A requantisation is a staircase: the stored value rises by one at certain sums, at most 255 of them within its clamp.
Two monotone staircases are equal where all their steps are. So float32 arithmetic may stand for 64-bit integers in each
channel whose steps have been compared: sum -> round(sum * scale + nudge) + centre, fused, halves to even; where the
result has both signs, the nudge takes the sign of the sum, and the centre is 0. Where nothing is fused, the product is
rounded first, and the steps are compared so.
"""

from dataclasses import dataclass
from itertools import product

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
FLOAT_MOST = 2**31 - 2**7
"""The greatest float32 below 2**31: numbers from there on have no int32."""
_BITS_ORIGIN = 1.5 * 2.0**23
_BITS_REACH = 2**22
"""Sums of less than that lie between 2**23 and 2**24 with _BITS_ORIGIN."""
_MOST_STORED = 2**15 - 1
"""Results of less than that have all they are in their lower 16 bits, which is what kernels store."""
_DOUBT = 2.0**-22
"""How near to a half a value may not come, where float32 takes what the nearest integer leaves."""
_FAR = 512.0
"""Beyond any nudge."""
_PLACES = (range(1), range(-3, 4), range(-24, 25))
"""Scales tried, one lot after another: so many units of the last place from the true one. Of each lot those that leave
the nudge the most room are looked at closely.
"""
_LOOKS = (1, 2, 6)
"""How many of each lot."""
_SHARES = (0.5, 0.3, 0.7, 0.1, 0.9)
"""Nudges looked at, as shares of the way through their room."""


@dataclass(frozen=True, eq=False)
class Affine:
    """Constants of the channels; `shown` where they may be used."""

    scale: Reals
    nudge: Reals
    shown: npt.NDArray[np.bool_]
    signed: bool
    """The nudge takes the sign of the sum."""
    centre: int
    careful: bool = False
    """Rounded in two steps."""
    as_bits: bool = False
    """Sums are kept as the bits of float32 numbers, _BITS_ORIGIN + sum."""

    @property
    def origin(self) -> int:
        """What integer stands for a sum of nothing."""
        return int(np.float32(_BITS_ORIGIN).view(np.int32)) if self.as_bits else 0


def shifted(shift: npt.ArrayLike, sums: tuple[Ints, Ints]) -> Affine:
    """Constants that stand for the rule `shift`, and for which channels they do.

    Up to FLOAT_SHIFT every step lies at a sum that is a float32; beyond it a sum is clamped, however it is rounded.

    Where all sums are small, an integer need not become a float: 1.5 * 2**23 + sum has the bits of 1.5 * 2**23 and so
    many more. That float times 2**-shift, and what 1.5 * 2**23 loses by it added, is 1.5 * 2**23 + sum * 2**-shift: its
    last bit counts one, so the fused operation rounds it to a whole number, halves to even.
    """
    right, most = np.asarray(shift, np.int64), np.maximum(np.abs(sums[0]), np.abs(sums[1]))
    scale = np.ldexp(1.0, -right).astype(np.float32)
    shown = right <= FLOAT_SHIFT
    small = (most < _BITS_REACH) & (most < _MOST_STORED << np.minimum(right, FLOAT_SHIFT))
    if (shown & small).all():
        return Affine(
            scale, (_BITS_ORIGIN * (1.0 - scale)).astype(np.float32), shown, signed=False, centre=0, as_bits=True
        )
    return Affine(scale, np.zeros_like(scale), shown, signed=False, centre=0)


@dataclass(frozen=True, eq=False)
class _Staircase:
    """Where the stored values of each channel rise: arrays of [channels, levels], or of [channels, 1]."""

    levels: Ints
    steps: Ints
    """The least sum that reaches each level."""
    lowest: Ints
    highest: Ints
    exact: Reals
    """The factor, to the nearest float32."""
    constant: npt.NDArray[np.bool_]
    value: Ints
    """The result of the lowest sum: the only one, where it is constant."""
    known: npt.NDArray[np.bool_]
    """Channels whose steps are those of `multiply_double`, checked, or that have none."""

    def at(self, rows: Ints) -> Doubles:
        """The sums that must reach each level; NaN where none does."""
        steps, high, low = self.steps[rows], self.highest[rows], self.lowest[rows]
        return np.where(steps > high, np.nan, np.maximum(steps, low))

    def before(self, rows: Ints) -> Doubles:
        """The sums that must fall short of each level; NaN where none does."""
        steps, high, low = self.steps[rows], self.highest[rows], self.lowest[rows]
        return np.where(steps <= low, np.nan, np.minimum(steps - 1, high))


def _staircase(mantissa: npt.ArrayLike, shift: npt.ArrayLike, sums: tuple[Ints, Ints], clamp: Clamp) -> _Staircase:
    m, right = np.asarray(mantissa, np.int64)[:, None], -np.asarray(shift, np.int64)[:, None]
    lowest, highest = (bound[:, None] for bound in sums)
    ends = [np.clip(multiply_double(bound, m, -right), clamp.low, clamp.high) for bound in (lowest, highest)]
    constant = ends[0] == ends[1]
    most = np.maximum(np.abs(lowest), np.abs(highest)) * (m * 2.0 ** (-31.0 - right))
    known = (constant | ((right >= 0) & (right <= _MOST_SHIFT) & (most < FLOAT_MOST / 2)))[:, 0]
    m, right = np.where(constant, 2**30, m), np.where(constant, 1, np.clip(right, 0, _MOST_SHIFT))
    levels = np.arange(clamp.low + 1, clamp.high + 1, dtype=np.int64)[None, :]
    # Twice the least product that counts, in units of the division: the first rounding moves it by half a unit.
    least = np.where(right == 0, 2 * levels - 1, ((2 * levels - 1) << right) + np.where(levels > 0, -1, 1))
    steps = -((-least << 30) // m)
    known &= (multiply_double(steps, m, -right) >= levels).all(1)
    known &= (multiply_double(steps - 1, m, -right) < levels).all(1)
    exact = (m * 2.0 ** (-31.0 - right)).astype(np.float32)
    return _Staircase(levels, steps, lowest, highest, exact, constant[:, 0], ends[0][:, 0], known)


def affine(
    mantissa: npt.ArrayLike, shift: npt.ArrayLike, sums: tuple[Ints, Ints], clamp: Clamp, *, fused: bool = True
) -> Affine:
    """Constants that stand for `multiply_double`, and for which channels they do.

    sums: the least and the greatest sum of each channel. clamp: range of the result, its zero point not added.
    fused: whether the product is added to as it is, or rounded first.
    """
    rounded = _rounded if fused else _rounded_twice
    stairs, signed = _staircase(mantissa, shift, sums, clamp), clamp.low < 0
    centre = 0 if signed else (clamp.low + clamp.high) // 2
    value, shown = stairs.value - centre, stairs.known.copy()
    scale = np.zeros(len(value), np.float32)
    nudge = (np.abs(value) if signed else value).astype(np.float32)
    missing = np.flatnonzero(shown & ~stairs.constant)
    inner = stairs.levels - centre
    half: Doubles = inner.astype(np.float64) - 0.5
    for places, looks in zip(_PLACES, _LOOKS, strict=True):
        if not len(missing):
            break
        tried = stairs.exact[missing] + np.array(places, np.float32) * np.spacing(stairs.exact[missing])
        above, below = stairs.at(missing), stairs.before(missing)
        rooms = [_room(s, above, below, half, signed) for s in tried.T[:, :, None]]
        left = np.arange(len(missing))
        for look, share in product(range(looks), _SHARES[: 2 * looks - 1]):
            chosen, pushed = _look(tried[left], [(a[left], b[left]) for a, b in rooms], look, share, signed)
            reached = (rounded(above[left], chosen, pushed, signed)[0] >= inner) | np.isnan(above[left])
            short = (rounded(below[left], chosen, pushed, signed)[1] < inner) | np.isnan(below[left])
            good = (reached & short).all(1)
            rows = missing[left[good]]
            scale[rows], nudge[rows] = chosen[good, 0], pushed[good, 0]
            left = left[~good]
            if not len(left):
                break
        missing = missing[left]
    shown[missing] = False
    return Affine(scale, nudge, shown, signed, centre)


def careful(mantissa: npt.ArrayLike, shift: npt.ArrayLike, sums: tuple[Ints, Ints], clamp: Clamp) -> Affine:
    """The same for two steps: the nearest integer, then one up or down by what is left, which float32 knows to 2**-24.

    Rounds sum * scale + nudge half up; takes twice as long, and fails almost nowhere.
    """
    stairs, signed = _staircase(mantissa, shift, sums, clamp), clamp.low < 0
    value, shown = stairs.value, stairs.known.copy()
    scale = np.zeros(len(value), np.float32)
    nudge = (np.abs(value) if signed else value).astype(np.float32)
    missing = np.flatnonzero(shown & ~stairs.constant)
    half: Doubles = stairs.levels.astype(np.float64) - 0.5
    for places in _PLACES:
        if not len(missing):
            break
        tried = stairs.exact[missing] + np.array(places, np.float32) * np.spacing(stairs.exact[missing])
        above, below = stairs.at(missing), stairs.before(missing)
        rooms = [_room(s, above, below, half, signed) for s in tried.T[:, :, None]]
        chosen, pushed = _look(tried, rooms, 0, 0.5, signed)
        reached = (_real(above, chosen, pushed, signed) >= half + _DOUBT) | np.isnan(above)
        short = (_real(below, chosen, pushed, signed) <= half - _DOUBT) | np.isnan(below)
        good = (reached & short & _whole(above) & _whole(below)).all(1)
        scale[missing[good]], nudge[missing[good]] = chosen[good, 0], pushed[good, 0]
        missing = missing[~good]
    shown[missing] = False
    return Affine(scale, nudge, shown, signed, 0, careful=True)


def _whole(sums: Doubles) -> npt.NDArray[np.bool_]:
    """Whether float32 holds each sum as it is."""
    return np.isnan(sums) | (np.abs(sums) <= 2.0**24)


def _room(scale: Reals, at: Doubles, before: Doubles, half: Doubles, signed: bool) -> tuple[Doubles, Doubles]:
    """Between which nudges all steps of each channel fall right, roundings of float32 left aside; NaN where a step is
    never or always reached.
    """
    least, greatest = half - scale * at, half - scale * before
    if signed:  # the nudge of a negative sum counts downwards
        least, greatest = np.where(half > 0, least, -greatest), np.where(half > 0, greatest, -least)
    return np.fmax.reduce(least, 1, initial=-_FAR), np.fmin.reduce(greatest, 1, initial=_FAR)


def _look(
    scales: Reals, rooms: list[tuple[Doubles, Doubles]], look: int, share: float, signed: bool
) -> tuple[Reals, Reals]:
    """Of each channel's scales the one with the most room but `look`, and the nudge so far through that room."""
    lows, highs = (np.stack(side, 1) for side in zip(*rooms, strict=True))
    best = np.argsort(lows - highs, axis=1)[:, look, None]
    low, high = (np.take_along_axis(side, best, 1) for side in (lows, highs))
    nudge = low + share * (high - low)
    return np.take_along_axis(scales, best, 1), (np.maximum(nudge, 0.0) if signed else nudge).astype(np.float32)


def _real(sums: Doubles, scale: Reals, nudge: Reals, signed: bool) -> Doubles:
    """Sum * scale + nudge in float64, of the sum as float32 has it."""
    real = sums.astype(np.float32).astype(np.float64)
    return real * scale + (np.copysign(nudge, real) if signed else nudge)


def _rounded(sums: Doubles, scale: Reals, nudge: Reals, signed: bool) -> tuple[Reals, Reals]:
    """The least and the greatest that the fused operation can give, as far as float64 can tell."""
    value = _real(sums, scale, nudge, signed)
    doubt = np.abs(value) * _SLACK
    return np.rint((value - doubt).astype(np.float32)), np.rint((value + doubt).astype(np.float32))


def _rounded_twice(sums: Doubles, scale: Reals, nudge: Reals, signed: bool) -> tuple[Reals, Reals]:
    """What a product and a sum give that are each rounded to float32: both ends are the same."""
    real = sums.astype(np.float32)
    value = np.rint(real * scale + (np.copysign(nudge, real) if signed else nudge))
    return value, value
