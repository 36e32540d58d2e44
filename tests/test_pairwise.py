"""Sums and products as float32 multiply-adds: what was found gives every pair's result, by exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import pairwise, shift
from rillet.arithmetic.fixed_point import Clamp
from rillet.arithmetic.pairwise import Pairwise
from rillet.ir.types import DType, Quant

BYTES = st.sampled_from([DType.I8, DType.U8])
SCALES = st.floats(2**-10, 1.0, width=32)


def nearest(exact: Fraction) -> Fraction:
    """The float32 nearest to a number, halves to even, by comparing exact fractions."""
    about = np.float32(float(exact))
    tried = [about, np.nextafter(about, np.float32(np.inf)), np.nextafter(about, np.float32(-np.inf))]
    even = [int(value.view(np.int32)) % 2 for value in tried]
    return Fraction(
        float(min(zip(tried, even, strict=True), key=lambda v: (abs(Fraction(float(v[0])) - exact), v[1]))[0])
    )


def result(k: Pairwise, left: int, right: int, clamp: Clamp) -> int:
    """What three fused multiply-adds and a rounding give."""
    slope, level, along, offset = (Fraction(value) for value in (k.slope, k.level, k.along, k.offset))
    factor, more = nearest(right * slope + level), nearest(right * along + offset)
    # Fractions round halves to even.
    return min(max(round(nearest(left * factor + more)), clamp.low), clamp.high)


def range_of(dtype: DType, quant: Quant) -> Clamp:
    low, high = dtype.integers
    return Clamp(low - quant.zero_point, high - quant.zero_point)


@st.composite
def cases(draw: st.DrawFn) -> tuple[DType, list[Quant], list[tuple[int, int]]]:
    """Quantisations of both sides and a result of fitting size, and some pairs."""
    dtype = draw(BYTES)
    value = st.integers(*dtype.integers)
    left, right = (Quant(draw(SCALES), draw(value)) for _ in range(2))
    out = Quant(float(np.float32(max(left.scale, right.scale) * draw(st.floats(0.3, 2.5)))), draw(value))
    return dtype, [left, right, out], draw(st.lists(st.tuples(value, value), min_size=200, max_size=200))


@settings(max_examples=25, deadline=None)
@given(cases(), st.booleans())
def test_sums_are_those_of_fixed_point(case: tuple[DType, list[Quant], list[tuple[int, int]]], subtract: bool) -> None:
    dtype, (left, right, out), pairs = case
    clamp = range_of(dtype, out)
    found = pairwise.add(left, right, out, subtract, dtype, clamp)
    if found is None:
        return  # how often is the next test's
    constants = fp.add_constants(left, right, out)
    for a, b in pairs:
        sides = np.array([a - left.zero_point]), np.array([b - right.zero_point])
        expected = int(np.clip(fp.add(*sides, constants, subtract), clamp.low, clamp.high)[0])
        assert result(found, a, b, clamp) == expected, (a, b)


def test_most_sums_have_constants() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        left, right = (Quant(float(np.float32(rng.uniform(0.01, 0.2))), int(rng.integers(-128, 128))) for _ in range(2))
        out = Quant(float(np.float32(max(left.scale, right.scale) * rng.uniform(0.5, 2))), int(rng.integers(-128, 128)))
        found += pairwise.add(left, right, out, False, DType.I8, range_of(DType.I8, out)) is not None
    assert found >= 36


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
@pytest.mark.parametrize("by", [0, 1, 7, 12, 31])
def test_products_are_those_of_the_rule_shift(by: int, dtype: DType) -> None:
    rng, (low, high) = np.random.default_rng(by), dtype.integers
    left, right = Quant(0.25, int(rng.integers(low, high))), Quant(0.125, int(rng.integers(low, high)))
    out = Quant(2.0 ** (by - 5), int(rng.integers(low, high)))
    clamp = range_of(dtype, out)
    found = pairwise.multiply(left, right, out, dtype, clamp)
    assert found is not None
    for a, b in rng.integers(low, high + 1, (300, 2)).tolist():
        products = np.array([(a - left.zero_point) * (b - right.zero_point)])
        expected = int(np.clip(shift.rescale(products, by), clamp.low, clamp.high)[0])
        assert result(found, a, b, clamp) == expected, (a, b)


@settings(max_examples=25, deadline=None)
@given(cases())
def test_products_in_fixed_point_are_whole_before_they_are_scaled(
    case: tuple[DType, list[Quant], list[tuple[int, int]]],
) -> None:
    _, (left, right, out), pairs = case
    found, everything = pairwise.multiply_twice(left, right, out), Clamp(-(2**17), 2**17)
    assert found.multiplier == fp.product_multiplier(left, right, out)
    for a, b in pairs:
        assert result(found, a, b, everything) == (a - left.zero_point) * (b - right.zero_point)


def test_products_that_vanish_are_nothing() -> None:
    found = pairwise.multiply_twice(Quant(1e-30, 3), Quant(1e-8, 4), Quant(1.0, 0))
    assert found.multiplier is None
    assert result(found, 255, 255, Clamp(0, 255)) == 0


def test_a_sum_that_two_roundings_make_has_none() -> None:
    """Halves that the second rounding moves away from zero lie on no line."""
    same = Quant(1.0, 0)
    assert pairwise.add(same, same, Quant(2.0, 0), False, DType.I8, Clamp(-128, 127)) is None


@pytest.mark.parametrize(
    ("scale", "there_is_one"), [(1e-44, True), (1e-38, True), (1e-6, True), (1e6, False), (3e38, False)]
)
def test_scales_of_any_size_end_in_an_answer(scale: float, there_is_one: bool) -> None:
    """Where the sides are far apart, one of them counts for nothing; where a step is too wide, float32 has no room."""
    left, right, out, clamp = Quant(scale, 3), Quant(1.0, 0), Quant(1.0, 5), Clamp(-5, 250)
    found = pairwise.add(left, right, out, False, DType.U8, clamp)
    assert (found is not None) == there_is_one
    for a in (0, 2, 3, 4, 255) if found is not None else ():
        expected = fp.add(np.array([a - 3]), np.array([7]), fp.add_constants(left, right, out), False)
        assert result(found, a, 7, clamp) == int(np.clip(expected, clamp.low, clamp.high)[0])


@pytest.mark.parametrize(("scale", "there_is_one"), [(1e-6, True), (1e-8, False), (1e-20, False)])
def test_results_beyond_32_bits_have_none(scale: float, there_is_one: bool) -> None:
    """However far they are beyond their clamp."""
    one = Quant(1.0, 0)
    found = pairwise.add(one, one, Quant(scale, 0), False, DType.I8, Clamp(-128, 127))
    assert (found is not None) == there_is_one
