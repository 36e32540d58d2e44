"""The activation functions in exact arithmetic, before any rounding."""

from typing import assert_never

import numpy as np
import numpy.typing as npt

from rillet.ir.ops import Activation

Floats = npt.NDArray[np.float64]


def activate_real(values: Floats, activation: Activation) -> Floats:
    """A function of each real value."""
    match activation:
        case Activation.NONE:
            return values
        case Activation.RELU:
            return np.maximum(values, 0.0)
        case Activation.RELU6:
            return np.clip(values, 0.0, 6.0)
        case Activation.RELU_N1_TO_1:
            return np.clip(values, -1.0, 1.0)
        case Activation.SIGMOID:
            return 1.0 / _one_plus_exp(-values)
        case Activation.HARD_SIGMOID:
            return np.clip(values + 3.0, 0.0, 6.0) / 6.0
        case Activation.HARD_SWISH:
            return values * np.clip(values + 3.0, 0.0, 6.0) / 6.0
        case Activation.SILU:
            return values / _one_plus_exp(-values)
        case Activation.SIGN:
            return np.where(values >= 0.0, 1.0, -1.0)
        case _:
            assert_never(activation)


def _one_plus_exp(values: Floats) -> Floats:
    """Infinite where float64 cannot hold it, which is right for what is divided by it."""
    with np.errstate(over="ignore"):
        return 1.0 + np.exp(values)
