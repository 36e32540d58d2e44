"""Calibration statistics of a value: range, histogram and channel means; and the quantisation range chosen by them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError

Floats = npt.NDArray[np.float64]
BINS = 4096
"""Bins of a histogram, from -reach to reach."""
PERCENTILE = 99.99
"""Percentage of values that the method `percentile` keeps; the others saturate."""
_SHRINKS = np.linspace(1.0, 0.3, 71)
"""Shares of the range that the method `mse` tries."""
_STEPS = 255


class Calibration(Enum):
    """How a range is chosen: everything seen, all but the outliers, or the least mean square error of quantisation."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    MSE = "mse"


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of one value: range, mean of each channel, histogram over -reach to reach, a power of two."""

    low: float
    high: float
    means: Floats
    images: int
    reach: float
    histogram: Floats


def observe(values: npt.ArrayLike) -> Statistics:
    """Statistics of one map, channels last; raises GraphError for values that are not finite."""
    array = np.asarray(values, np.float64)
    low, high = float(array.min()), float(array.max())
    most = max(abs(low), abs(high))
    if not math.isfinite(most):
        raise GraphError("values must be finite for calibration, got others")
    reach = 2.0 ** math.ceil(math.log2(max(most, 2.0**-100)))
    places = np.minimum(((array + reach) * (BINS / (2 * reach))).astype(np.int64), BINS - 1)
    histogram = np.bincount(places.reshape(-1), minlength=BINS).astype(np.float64)
    return Statistics(low, high, array.reshape(-1, array.shape[-1]).mean(0), 1, reach, histogram)


def together(parts: Iterable[Statistics]) -> Statistics:
    """Statistics of one value over several images, or of several values as one: then only their ranges mean something.

    `means` are kept where all have as many channels.
    """
    found = list(parts)
    reach = max(part.reach for part in found)
    images = sum(part.images for part in found)
    same = len({part.means.shape for part in found}) == 1
    means = sum((part.means * (part.images / images) for part in found), np.zeros(1)) if same else np.zeros(0)
    histogram = sum((_spread(part, reach) for part in found), np.zeros(BINS))
    return Statistics(
        min(part.low for part in found), max(part.high for part in found), means, images, reach, histogram
    )


def _spread(part: Statistics, reach: float) -> Floats:
    """The histogram over a wider reach; bins become one by powers of two, around zero."""
    ratio = min(round(reach / part.reach), BINS // 2)
    joined = np.concatenate([np.zeros((ratio - 1) * BINS // 2), part.histogram, np.zeros((ratio - 1) * BINS // 2)])
    return joined.reshape(BINS, ratio).sum(1)


def chosen_range(seen: Statistics, method: Calibration) -> tuple[float, float]:
    """Least and greatest value to be stored, zero among them; the others saturate."""
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    match method:
        case Calibration.MINMAX:
            return low, high
        case Calibration.PERCENTILE:
            return _percentile(seen, low, high)
        case Calibration.MSE:
            return _least_error(seen, low, high)


def _percentile(seen: Statistics, low: float, high: float) -> tuple[float, float]:
    shares = np.cumsum(seen.histogram) / seen.histogram.sum()
    out = (1 - PERCENTILE / 100) / 2
    edges = np.linspace(-seen.reach, seen.reach, BINS + 1)
    first = edges[int(np.searchsorted(shares, out, side="right"))]
    last = edges[min(int(np.searchsorted(shares, 1 - out, side="left")) + 1, BINS)]
    return max(low, min(float(first), 0.0)), min(high, max(float(last), 0.0))


def _least_error(seen: Statistics, low: float, high: float) -> tuple[float, float]:
    width = 2 * seen.reach / BINS
    used = np.flatnonzero(seen.histogram)
    centres, counts = (used + 0.5) * width - seen.reach, seen.histogram[used]
    # A value that is exactly zero, as after a ReLU, is stored without an error.
    centres[np.abs(centres) < width] = 0.0
    best, least = (low, high), math.inf
    for share in _SHRINKS:
        bounds = low * float(share), high * float(share)
        step = max((bounds[1] - bounds[0]) / _STEPS, 1e-300)
        stored = np.clip(np.rint(centres / step) * step, *bounds)
        error = float(((stored - centres) ** 2 * counts).sum())
        if error < least:
            best, least = bounds, error
    return best
