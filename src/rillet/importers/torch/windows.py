"""How much of a window lies on its map: what an average that does not count its padding divides by."""

import numpy as np
import numpy.typing as npt

from rillet.ir.ops import Window
from rillet.ir.types import Shape


def shares_inside(window: Window, shape: Shape) -> npt.NDArray[np.float64]:
    """For each output row and column, the share of the window's values that are on the map and not in the padding."""
    top, bottom, left, right = window.padding
    rows = _along(shape.height, top, bottom, window.kernel[0], window.stride[0])
    columns = _along(shape.width, left, right, window.kernel[1], window.stride[1])
    return np.outer(rows, columns)


def _along(length: int, before: int, after: int, kernel: int, stride: int) -> npt.NDArray[np.float64]:
    inside = np.concatenate([np.zeros(before), np.ones(length), np.zeros(after)])
    return np.array([inside[at : at + kernel].mean() for at in range(0, len(inside) - kernel + 1, stride)])
