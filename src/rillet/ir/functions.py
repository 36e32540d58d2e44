"""Functions of one value: activations that an op may have behind itself, and functions with numbers of their own."""

import math
from enum import Enum

from rillet.errors import GraphError


class Activation(Enum):
    """A function applied to each value; fused into the op that makes the value where it can be."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"
    RELU_N1_TO_1 = "relu_n1_to_1"
    SIGMOID = "sigmoid"
    HARD_SIGMOID = "hard_sigmoid"
    HARD_SWISH = "hard_swish"
    SILU = "silu"
    SIGN = "sign"
    """+1 for 0 and more, else -1: the activation of binary networks."""

    @property
    def clamp(self) -> tuple[float, float] | None:
        """Bounds of the result where the function is a clamp, else None."""
        return _CLAMPS.get(self)


_CLAMPS = {
    Activation.NONE: (float("-inf"), float("inf")),
    Activation.RELU: (0.0, float("inf")),
    Activation.RELU6: (0.0, 6.0),
    Activation.RELU_N1_TO_1: (-1.0, 1.0),
}


class Curve(Enum):
    """A function of each value x with up to two numbers, a and b."""

    LEAKY_RELU = "leaky_relu"
    """x, and a x below 0."""
    CLIP = "clip"
    """x between a and b, of which one may be infinite."""
    ELU = "elu"
    """x, and a (exp(x) - 1) below 0."""
    SELU = "selu"
    """b times the ELU of a."""
    CELU = "celu"
    """x, and a (exp(x / a) - 1) below 0."""
    GELU = "gelu"
    """x (1 + erf(x / sqrt(2))) / 2."""
    GELU_TANH = "gelu_tanh"
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    ERF = "erf"
    TANH = "tanh"
    MISH = "mish"
    """x tanh(log(1 + exp(x)))."""
    SOFTPLUS = "softplus"
    """log(1 + exp(a x)) / a."""
    SOFTSIGN = "softsign"
    """x / (1 + |x|)."""
    SWISH = "swish"
    """x / (1 + exp(-a x))."""
    RAMP = "ramp"
    """a x + b between 0 and 1: a hard sigmoid of any slope."""
    ABS = "abs"
    NEG = "neg"
    SQRT = "sqrt"
    EXP = "exp"
    LOG = "log"
    POWER = "power"
    """x^a."""

    @property
    def numbers(self) -> int:
        """How many of a and b it has."""
        return _NUMBERS.get(self, 0)


_NUMBERS = {
    Curve.LEAKY_RELU: 1,
    Curve.CLIP: 2,
    Curve.ELU: 1,
    Curve.SELU: 2,
    Curve.CELU: 1,
    Curve.SOFTPLUS: 1,
    Curve.SWISH: 1,
    Curve.RAMP: 2,
    Curve.POWER: 1,
}
_NOT_ZERO = (Curve.CELU, Curve.SOFTPLUS)
"""Those that divide by a."""


def check_numbers(curve: Curve, a: float, b: float) -> None:
    """Raises GraphError for numbers that the function does not have, or that it cannot have."""
    if curve is Curve.CLIP:
        if not a < b or (a, b) == (-math.inf, math.inf):
            raise GraphError(f"clip must be between two numbers, the first the lesser, got {a:g} and {b:g}")
        return
    if not (math.isfinite(a) and math.isfinite(b)):
        raise GraphError(f"numbers of {curve.value} must be finite, got {a:g} and {b:g}")
    if any((a, b)[curve.numbers :]):
        raise GraphError(f"{curve.value} must have {curve.numbers} numbers, got {a:g} and {b:g}")
    if curve in _NOT_ZERO and a <= 0:
        raise GraphError(f"number of {curve.value} must be more than 0, got {a:g}")
