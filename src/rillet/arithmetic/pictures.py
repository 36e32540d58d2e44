"""Pixels as values of an input, by the network's input contract."""

import numpy as np

from rillet.arithmetic.fixed_point import quantize
from rillet.ir.graph import Array, ImageSpec
from rillet.ir.types import TensorType

LEVELS = 256
"""Values of a pixel's channel: 0 to 255."""


def from_pixels(pixels: Array, spec: ImageSpec, stored: TensorType) -> Array:
    """Pixels, channels last, as the input stores them: (pixel - mean) / deviation, quantised where it is quantised."""
    real = ((pixels.astype(np.float64) - np.array(spec.mean)) / np.array(spec.deviation)).astype(np.float32)
    if stored.quant is None:
        return real
    return quantize(real, stored.quant, stored.dtype).astype(stored.dtype.numpy)


def pixel_values(spec: ImageSpec, stored: TensorType) -> Array:
    """What each level of a pixel is as a value of the input: a row a channel, or one row where all are alike."""
    levels = np.repeat(np.arange(LEVELS)[:, None], spec.channels, axis=1)
    rows = from_pixels(levels, spec, stored).T
    return np.ascontiguousarray(rows[:1] if (rows == rows[0]).all() else rows)
