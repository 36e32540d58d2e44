"""What calibration keeps of a value, and the ranges that it chooses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rillet.errors import GraphError
from rillet.transforms.statistics import BINS, Calibration, chosen_range, observe, together

MAPS = st.integers(0, 2**32 - 1).map(
    lambda seed: (
        np.random.default_rng(seed).normal(0, 2.0 ** np.random.default_rng(seed).integers(-20, 20), (4, 5, 3))
        + np.random.default_rng(seed + 1).normal(0, 3)
    )
)


@settings(deadline=None)
@given(st.lists(MAPS, min_size=1, max_size=4))
def test_images_together_are_one_large_image(maps: list[np.ndarray]) -> None:
    seen, whole = together(observe(one) for one in maps), observe(np.concatenate(maps))
    assert (seen.low, seen.high, seen.reach, seen.images) == (whole.low, whole.high, whole.reach, len(maps))
    assert np.allclose(seen.means, whole.means, rtol=1e-12)
    assert seen.histogram.sum() == whole.histogram.sum() == sum(one.size for one in maps)
    # A value at the edge of a bin may fall on either side of it, when bins become one.
    assert np.abs(np.cumsum(seen.histogram) - np.cumsum(whole.histogram)).max() <= 2


def test_the_histogram_counts_what_lies_in_each_bin() -> None:
    values = np.random.default_rng(0).uniform(-3, 3, (10, 10, 2))
    seen = observe(values)
    assert seen.reach == 4.0
    assert np.array_equal(seen.histogram, np.histogram(values, BINS, (-4.0, 4.0))[0])


def test_values_of_very_different_size_become_one() -> None:
    seen = together((observe(np.full((1, 1, 1), 1e-30)), observe(np.full((1, 1, 1), -1e30))))
    assert (seen.low, seen.high) == (-1e30, 1e-30)
    assert seen.histogram.sum() == 2


def test_zero_is_always_in_the_range() -> None:
    above, below = observe(np.full((2, 2, 1), 3.0)), observe(np.full((2, 2, 1), -3.0))
    for method in Calibration:
        assert chosen_range(above, method)[0] == 0.0
        assert chosen_range(below, method)[1] == 0.0
    assert chosen_range(observe(np.zeros((2, 2, 1))), Calibration.MSE) == (0.0, 0.0)


def test_outliers_saturate() -> None:
    values = np.random.default_rng(1).normal(0, 1, (200, 200, 4))
    values[0, 0, 0], values[0, 0, 1] = 300.0, -200.0
    seen = observe(values)
    assert chosen_range(seen, Calibration.MINMAX) == (-200.0, 300.0)
    low, high = chosen_range(seen, Calibration.PERCENTILE)
    assert np.mean((values < low) | (values > high)) <= 1e-4
    assert -6 < low < -3.5
    assert 3.5 < high < 6


def test_the_method_mse_makes_the_least_error() -> None:
    values = np.random.default_rng(2).normal(0, 1, (500, 500, 4))
    values[0, 0, 0], values[0, 0, 1] = 40.0, -40.0
    low, high = chosen_range(observe(values), Calibration.MSE)

    def error(low: float, high: float) -> float:
        step = (high - low) / 255
        return float(((np.clip(np.rint(values / step) * step, low, high) - values) ** 2).mean())

    assert error(low, high) < 0.5 * error(values.min(), values.max())
    for share in (0.7, 0.85, 1.15, 1.3):
        assert error(low, high) < 1.02 * error(low * share, high * share)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_values_must_be_finite(wrong: float) -> None:
    with pytest.raises(GraphError, match="values must be finite for calibration"):
        observe(np.array([[[1.0, wrong]]]))
