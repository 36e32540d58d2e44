"""Import of aten's functions of one value that have numbers of their own."""

from collections.abc import Callable
from typing import Any

from rillet.importers.torch.builder import Builder, Call, Result
from rillet.ir.functions import Curve
from rillet.ir.ops import Apply

_SELU = (1.6732632423543772, 1.0507009873554805)
"""Alpha and scale, which PyTorch's operator has within."""


def _curve(found: Curve, *numbers: Any) -> Callable[[Builder, Call], Result]:
    """A handler of a function whose numbers are these, or the arguments of these names."""

    def handle(b: Builder, call: Call) -> Result:
        value = b.value(call, "self")
        said = [float(call[number] if isinstance(number, str) else number) for number in numbers]
        first, second, *_ = (*said, 0.0, 0.0)
        return b.add(call, Apply(found, first, second), [value.draft], value.dims)

    return handle


def _elu(b: Builder, call: Call) -> Result:
    value, alpha, scale = b.value(call, "self"), float(call["alpha"]), float(call["scale"])
    if call["input_scale"] != 1:
        raise b.refuse(call, f"must have an input_scale of 1, got {call['input_scale']}")
    made = Apply(Curve.ELU, alpha) if scale == 1 else Apply(Curve.SELU, alpha, scale)
    return b.add(call, made, [value.draft], value.dims)


def _gelu(b: Builder, call: Call) -> Result:
    value, how = b.value(call, "self"), call["approximate"]
    return b.add(call, Apply(Curve.GELU_TANH if how == "tanh" else Curve.GELU), [value.draft], value.dims)


def _power(b: Builder, call: Call) -> Result:
    value, exponent = b.value(call, "self"), b.number(call["exponent"])
    if exponent is None:
        raise b.refuse(call, "must have a constant number as exponent")
    return value if exponent == 1 else b.add(call, Apply(Curve.POWER, exponent), [value.draft], value.dims)


HANDLERS: dict[str, Callable[[Builder, Call], Result]] = {
    "abs": _curve(Curve.ABS),
    "celu": _curve(Curve.CELU, "alpha"),
    "elu": _elu,
    "erf": _curve(Curve.ERF),
    "exp": _curve(Curve.EXP),
    "gelu": _gelu,
    "leaky_relu": _curve(Curve.LEAKY_RELU, "negative_slope"),
    "log": _curve(Curve.LOG),
    "mish": _curve(Curve.MISH),
    "pow": _power,
    "reciprocal": _curve(Curve.POWER, -1.0),
    "rsqrt": _curve(Curve.POWER, -0.5),
    "selu": _curve(Curve.SELU, *_SELU),
    "softplus": _curve(Curve.SOFTPLUS, "beta"),
    "sqrt": _curve(Curve.SQRT),
    "square": _curve(Curve.POWER, 2.0),
    "tanh": _curve(Curve.TANH),
}
NOTES: dict[str, tuple[str, str]] = {
    "abs": ("apply", ""),
    "celu": ("apply", "any alpha"),
    "elu": ("apply", "any alpha"),
    "erf": ("apply", ""),
    "exp": ("apply", ""),
    "gelu": ("apply", "exact or by tanh"),
    "leaky_relu": ("apply", "any slope"),
    "log": ("apply", ""),
    "mish": ("apply", ""),
    "pow": ("apply", "to a constant number"),
    "reciprocal": ("apply", ""),
    "rsqrt": ("apply", ""),
    "selu": ("apply", ""),
    "softplus": ("apply", "any beta"),
    "sqrt": ("apply", ""),
    "square": ("apply", ""),
    "tanh": ("apply", ""),
}
"""What each operator becomes in a graph, and its limits."""
