"""Float32 constants that stand for the double rounding: equal to it at every sum, where they say so."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rillet.arithmetic.affine import affine, careful
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
