"""Sums and products of two bytes as float32 multiply-adds, where all 65,536 pairs have been shown to fall alike.

Both are left * (right * slope + level) + (right * along + offset), rounded to the nearest integer, halves to even:
a sum has no slope, and a product of values less their zero points is that, multiplied out. Every multiply-add is fused,
or its product is rounded first, as the processor has it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift, tables
from rillet.arithmetic.fixed_point import Ints
from rillet.ir.types import DType, Quant

Reals = npt.NDArray[np.float32]
_MultiplyAdd = Callable[[Reals, Reals | float, Reals | float], Reals]
_PLACES = sorted(range(-2, 3), key=abs)
"""Factors tried: so many units of the last place from the true ones."""


@dataclass(frozen=True, slots=True)
class Pairwise:
    """Constants of round(left * (right * slope + level) + (right * along + offset)); all of them float32.

    Where there is a multiplier, that is an integer yet to be multiplied by it, as `multiply_double` does.
    """

    slope: float
    level: float
    along: float
    offset: float
    multiplier: fp.Multiplier | None = None


@dataclass(frozen=True, eq=False)
class _Pairs:
    """What each pair must give: results [left, right] between `low` and `high`, where they are clamped."""

    stored: Ints
    results: Ints
    low: int
    high: int


def add(
    left: Quant, right: Quant, out: Quant, subtract: bool, dtype: DType, clamp: fp.Clamp, *, fused: bool = True
) -> Pairwise | None:
    """Constants that stand for the sum or difference of two stored values, or None where none were found.

    clamp: range of the result, its zero point not added. fused: whether products are added to as they are.
    """
    stored = tables.stored_values(dtype)
    constants = fp.add_constants(left, right, out)
    sides = (stored - left.zero_point)[:, None], (stored - right.zero_point)[None, :]
    pairs = _pairs(stored, fp.add(*sides, constants, subtract), clamp)
    near = _near(left.scale / out.scale), _near((-right.scale if subtract else right.scale) / out.scale)
    return _first(pairs, ((0.0, level, along) for level, along in product(*near)), fused)


def multiply(
    left: Quant, right: Quant, out: Quant, dtype: DType, clamp: fp.Clamp, *, fused: bool = True
) -> Pairwise | None:
    """The same for a product under the rule `shift`."""
    stored = tables.stored_values(dtype)
    products = (stored - left.zero_point)[:, None] * (stored - right.zero_point)[None, :]
    right_by = shift.product_shift(left, right, out)
    slope = 2.0**-right_by
    tried = slope, -right.zero_point * slope, -left.zero_point * slope
    return _first(_pairs(stored, shift.rescale(products, right_by), clamp), [tried], fused)


def multiply_twice(left: Quant, right: Quant, out: Quant) -> Pairwise:
    """The same for a product in fixed point, which is rounded twice: no line can follow that.

    The product itself, less the zero points, has 17 bits: float32 has it as it is.
    """
    zeros, scale = (float(left.zero_point), float(right.zero_point)), fp.product_multiplier(left, right, out)
    if scale.mantissa == 0:
        return Pairwise(0.0, 0.0, 0.0, 0.0)
    return Pairwise(1.0, -zeros[1], -zeros[0], zeros[0] * zeros[1], scale)


def _pairs(stored: Ints, results: Ints, clamp: fp.Clamp) -> _Pairs:
    return _Pairs(stored, np.clip(results, clamp.low, clamp.high), clamp.low, clamp.high)


def _near(factor: float) -> list[float]:
    """Float32 numbers about a factor, the nearest first."""
    with np.errstate(over="ignore", invalid="ignore"):
        nearest = np.float32(factor)
        return [float(nearest + np.float32(n) * np.spacing(nearest)) for n in _PLACES]


def _first(pairs: _Pairs, tried: Iterable[tuple[float, float, float]], fused: bool) -> Pairwise | None:
    """The first constants under which every pair falls right."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is no number holds nowhere
        for slope, level, along in tried:
            offset = _offset(pairs, slope, level, along)
            found = None if offset is None else Pairwise(slope, level, along, offset)
            if found is not None and _holds(pairs, found, _fused if fused else _rounded_twice):
                return found
    return None


def _offset(pairs: _Pairs, slope: float, level: float, along: float) -> float | None:
    """The middle of the offsets under which all pairs fall right but for roundings of float32; None where none does."""
    stored = pairs.stored.astype(np.float64)
    real = stored[:, None] * (stored * slope + level) + stored * along
    up = pairs.results > pairs.low  # what is clamped below has no least
    down = pairs.results < pairs.high
    least = np.max(np.where(up, pairs.results - 0.5 - real, -np.inf))
    most = np.min(np.where(down, pairs.results + 0.5 - real, np.inf))
    if not (np.isfinite(least) and np.isfinite(most) and least <= most):
        return None
    return float(np.float32((least + most) / 2))


def _holds(pairs: _Pairs, k: Pairwise, multiply_add: _MultiplyAdd) -> bool:
    """Whether the operations, one by one, give every result."""
    stored = pairs.stored.astype(np.float32)
    factor, offset = multiply_add(stored, k.slope, k.level), multiply_add(stored, k.along, k.offset)
    value = multiply_add(stored[:, None], factor[None, :], offset[None, :])
    # Beyond 32 bits processors do not agree what integer a float is.
    within = bool((np.abs(value) < 2.0**31).all())
    return within and np.array_equal(np.clip(np.rint(value), pairs.low, pairs.high), pairs.results)


def _fused(a: Reals, b: Reals | float, c: Reals | float) -> Reals:
    """The float32 nearest to a * b + c, itself of float32 numbers.

    The product is a float64. Their sum is rounded there to what is odd unless it is exact, which float32 then rounds as
    it would have rounded the exact sum (S. Boldo, G. Melquiond: Emulation of a FMA and correctly rounded sums, 2008).
    """
    scaled, more = a.astype(np.float64) * b, np.asarray(c, np.float64)
    total = scaled + more
    part = total - scaled
    rest = (scaled - (total - part)) + (more - part)
    even = total.view(np.int64) % 2 == 0
    odd = np.where(even & (rest != 0), np.nextafter(total, np.copysign(np.inf, rest)), total)
    return odd.astype(np.float32)


def _rounded_twice(a: Reals, b: Reals | float, c: Reals | float) -> Reals:
    """The same where the product is rounded to float32, and then the sum."""
    return a * np.asarray(b, np.float32) + np.asarray(c, np.float32)
