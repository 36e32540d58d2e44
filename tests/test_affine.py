"""Float32 constants that stand for the double rounding: equal to it at every sum, where they say so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rillet.arithmetic import shift
from rillet.arithmetic.affine import affine, careful, shifted
from rillet.arithmetic.fixed_point import Clamp, multiply_double


def fused(sums: np.ndarray, scale: float, nudge: float, signed: bool, in_two_steps: bool) -> np.ndarray:
    """Sum * scale + nudge with one rounding to float32, in rational arithmetic where float64 would leave a doubt."""
    from fractions import Fraction

    out = []
    for real in sums.astype(np.float32).astype(np.float64):
        pushed = np.copysign(nudge, real) if signed else nudge
        exact = Fraction(float(real)) * Fraction(float(scale)) + Fraction(float(pushed))
        near = np.float32(float(exact))
        around = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
        best = min(around, key=lambda f: (abs(Fraction(float(f)) - exact), f.view(np.uint32) & 1))
        near = np.rint(best)
        if in_two_steps:
            rest = np.float32(np.float64(real) * scale - near) + np.float32(pushed)
            near += int(rest >= 0.5) - int(rest < -0.5)
        out.append(near)
    return np.array(out, np.int64)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_step_is_where_integers_have_it(data: st.DataObject) -> None:
    mantissa = data.draw(st.integers(2**30, 2**31 - 1))
    shift = data.draw(st.integers(-14, 0))
    low = data.draw(st.sampled_from([0, 0, -255, -128, -100, -7]))
    clamp, reach = Clamp(low, low + 255), data.draw(st.integers(10, 2**24))
    bounds = (np.array([-reach]), np.array([reach]))
    found = data.draw(st.sampled_from([affine, careful]))([mantissa], [shift], bounds, clamp)
    if not found.shown[0]:
        return
    # Around every step, at both ends, and anywhere.
    real = mantissa * 2.0 ** (shift - 31)
    steps = ((np.arange(clamp.low, clamp.high + 1) - 0.5) / real).astype(np.int64)
    sums = np.concatenate([steps + d for d in range(-3, 4)] + [np.arange(-50, 50), [-reach, reach]])
    sums = np.unique(np.clip(sums, -reach, reach))
    expected = np.clip(multiply_double(sums, mantissa, shift), clamp.low, clamp.high)
    made = fused(sums, found.scale[0], found.nudge[0], found.signed, found.careful) + found.centre
    assert np.array_equal(np.clip(made, clamp.low, clamp.high), expected)


def test_most_channels_are_shown() -> None:
    rng = np.random.default_rng(0)
    mantissa, shift = rng.integers(2**30, 2**31, 500), rng.integers(-9, -4, 500)
    reach = np.full(500, 2**18)
    for clamp in (Clamp(0, 255), Clamp(-120, 135)):
        assert affine(mantissa, shift, (-reach, reach), clamp).shown.mean() > 0.8
        assert careful(mantissa, shift, (-reach, reach), clamp).shown.mean() > 0.99


def test_channels_out_of_reach_are_constants_or_not_shown() -> None:
    reach = np.array([5, 2**30, 100])
    found = affine([2**30, 2**30, 2**30], [-31, -24, 3], (-reach, reach), Clamp(-10, 10))
    assert found.shown.tolist() == [True, False, False]
    assert found.scale[0] == found.nudge[0] == 0


@pytest.mark.parametrize("by", [0, 1, 2, 7, 15, 16])
def test_sums_kept_as_bits_are_divided_half_to_even(by: int) -> None:
    rng = np.random.default_rng(by)
    reach = min(2**22, (2**15 - 1) << by) - 1
    found = shifted([by], (np.array([-reach]), np.array([reach])))
    assert found.as_bits and found.shown.all()
    halves = (np.arange(-(reach >> by), reach >> by) << by) + (1 << by >> 1)
    sums = np.concatenate([rng.integers(-reach, reach + 1, 5000), [-reach, -1, 0, 1, reach], rng.choice(halves, 2000)])
    sums = np.clip(sums, -reach, reach)
    real = (found.origin + sums).astype(np.int32).view(np.float32)
    # Exact in float64, so rounded once, as a fused operation is.
    made = (real.astype(np.float64) * found.scale + found.nudge).astype(np.float32).view(np.int32)
    assert np.array_equal(made.astype(np.int64) - found.origin, shift.rescale(sums, by))


@pytest.mark.parametrize("by", range(17))
def test_one_addition_leaves_the_result_in_the_lower_16_bits(by: int) -> None:
    """What kernel sets that add do: 1.5 * 2**23 * (2**by - 1) more, exactly, and the last bit counts 2**by."""
    reach = min(2**22, (2**15 - 1) << by) - 1
    sums = np.unique(np.r_[np.arange(-3000, 3000), np.linspace(-reach, reach, 300_001).astype(np.int64)])
    sums = sums[np.abs(sums) <= reach]
    found = shifted([by], (np.array([-reach]), np.array([reach])))
    assert found.as_bits
    added = found.nudge / found.scale
    assert added.astype(np.float64) == 1.5 * 2.0**23 * (2.0**by - 1)
    real = (sums + found.origin).astype(np.int32).view(np.float32)
    lower = (real + added).view(np.int32).astype(np.int16)
    assert np.array_equal(lower, shift.rescale(sums, by))


@pytest.mark.parametrize(
    ("by", "reach", "as_bits"),
    [(8, 2**22 - 1, True), (8, 2**22, False), (0, 2**15 - 2, True), (0, 2**15 - 1, False), (17, 10, False)],
)
def test_which_sums_are_kept_as_bits(by: int, reach: int, as_bits: bool) -> None:
    """Those of a layer of which one channel may not be are kept as they are."""
    sums = np.array([-5, -reach]), np.array([5, 3])
    found = shifted([1, by], sums)
    assert found.as_bits == as_bits
    assert found.origin == (0x4B400000 if as_bits else 0)
    assert found.shown.tolist() == [True, by <= 16]
    assert as_bits or not found.nudge.any()
