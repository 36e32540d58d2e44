"""The activation functions in exact arithmetic, before any rounding."""

import math
from typing import assert_never

import numpy as np
import numpy.typing as npt

from rillet.ir.functions import Activation, Curve
from rillet.ir.ops import Activate, Apply

Floats = npt.NDArray[np.float64]


def function_real(values: Floats, op: Activate | Apply) -> Floats:
    """What an activation or a function with numbers makes of each real value; nan where it is not defined."""
    match op:
        case Activate(activation=activation):
            return activate_real(values, activation)
        case Apply(curve=curve, a=a, b=b):
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                return curve_real(values, curve, a, b)


def curve_real(values: Floats, curve: Curve, a: float, b: float) -> Floats:
    """A function with numbers of each real value, as `Curve` writes them."""
    match curve:
        case Curve.LEAKY_RELU:
            return np.where(values >= 0.0, values, a * values)
        case Curve.CLIP:
            return np.clip(values, a, b)
        case Curve.ELU:
            return _elu(values, a)
        case Curve.SELU:
            return b * _elu(values, a)
        case Curve.CELU:
            return np.where(values >= 0.0, values, a * np.expm1(np.minimum(values, 0.0) / a))
        case Curve.GELU:
            return 0.5 * values * complement(-values * math.sqrt(0.5))
        case Curve.GELU_TANH:
            return 0.5 * values * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (values + 0.044715 * values**3)))
        case Curve.ERF:
            return 1.0 - complement(values)
        case Curve.TANH:
            return np.tanh(values)
        case Curve.MISH:
            return values * np.tanh(np.logaddexp(0.0, values))
        case Curve.SOFTPLUS:
            return np.logaddexp(0.0, a * values) / a
        case Curve.SOFTSIGN:
            return values / (1.0 + np.abs(values))
        case Curve.SWISH:
            return values / _one_plus_exp(-a * values)
        case Curve.RAMP:
            return np.clip(a * values + b, 0.0, 1.0)
        case Curve.ABS:
            return np.abs(values)
        case Curve.NEG:
            return -values
        case Curve.SQRT:
            return np.sqrt(values)
        case Curve.EXP:
            return np.exp(values)
        case Curve.LOG:
            return np.log(values)
        case Curve.POWER:
            return np.power(values, a)
        case _:
            assert_never(curve)


def _elu(values: Floats, a: float) -> Floats:
    return np.where(values >= 0.0, values, a * np.expm1(np.minimum(values, 0.0)))


def complement(values: Floats) -> Floats:
    """1 - erf of each value (NumPy has none)."""
    distinct, places = np.unique(values, return_inverse=True)
    return np.array([math.erfc(v) for v in distinct.tolist()])[places.reshape(values.shape)]


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
