"""Import of ONNX's functions of one value that have numbers of their own."""

import math
from collections.abc import Callable

from rillet.errors import Unsupported
from rillet.importers.onnx.builder import Builder
from rillet.importers.onnx.file import Operator, shortest
from rillet.importers.onnx.views import View
from rillet.ir.functions import Activation, Curve
from rillet.ir.ops import Activate, Apply, Op


def curve(b: Builder, op: Operator, source: View, made: Op) -> View:
    """A function of each value of `source`."""
    return source.on(b.make(op.outputs[0], made, [b.node(source)]))


def _plain(found: Curve, **defaults: float) -> Callable[[Builder, Operator], View]:
    """A handler of a function whose numbers are attributes, in this order, with these defaults."""

    def handle(b: Builder, op: Operator) -> View:
        said = [op.real(name, value) for name, value in defaults.items()]
        first, second, *_ = (*said, 0.0, 0.0)
        return curve(b, op, b.real(op), Apply(found, first, second))

    return handle


def _softplus(b: Builder, op: Operator) -> View:
    return curve(b, op, b.real(op), Apply(Curve.SOFTPLUS, 1.0))


def hard_sigmoid(b: Builder, op: Operator) -> View:
    """A hard sigmoid of any slope: the usual one is an activation."""
    alpha, beta = op.real("alpha", 0.2), op.real("beta", 0.5)
    usual = abs(alpha - 1 / 6) <= 1e-6 and beta == 0.5
    made = Activate(Activation.HARD_SIGMOID) if usual else Apply(Curve.RAMP, alpha, beta)
    return curve(b, op, b.real(op), made)


def _gelu(b: Builder, op: Operator) -> View:
    how = op.word("approximate", "none")
    if how not in ("none", "tanh"):
        raise Unsupported(f"approximate must be none or tanh, got {how[:40]!r}")
    return curve(b, op, b.real(op), Apply(Curve.GELU_TANH if how == "tanh" else Curve.GELU))


def _power(b: Builder, op: Operator) -> View:
    exponent = b.number(op, 1, math.nan)
    if not math.isfinite(exponent):
        raise Unsupported(f"exponent must be a finite constant number, got {exponent}")
    source = b.real(op)
    return source if exponent == 1.0 else curve(b, op, source, Apply(Curve.POWER, shortest(exponent)))


def _swish(b: Builder, op: Operator) -> View:
    alpha = op.real("alpha", 1.0)
    return curve(b, op, b.real(op), Activate(Activation.SILU) if alpha == 1.0 else Apply(Curve.SWISH, alpha))


HANDLERS: dict[str, Callable[[Builder, Operator], View]] = {
    "Abs": _plain(Curve.ABS),
    "Celu": _plain(Curve.CELU, alpha=1.0),
    "Elu": _plain(Curve.ELU, alpha=1.0),
    "Erf": _plain(Curve.ERF),
    "Exp": _plain(Curve.EXP),
    "Gelu": _gelu,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": _plain(Curve.LEAKY_RELU, alpha=0.01),
    "Log": _plain(Curve.LOG),
    "Mish": _plain(Curve.MISH),
    "Neg": _plain(Curve.NEG),
    "Pow": _power,
    "Reciprocal": lambda b, op: curve(b, op, b.real(op), Apply(Curve.POWER, -1.0)),
    "Selu": _plain(Curve.SELU, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "Softplus": _softplus,
    "Softsign": _plain(Curve.SOFTSIGN),
    "Sqrt": _plain(Curve.SQRT),
    "Swish": _swish,
    "Tanh": _plain(Curve.TANH),
}
NOTES: dict[str, tuple[str, str]] = {
    "Abs": ("apply", ""),
    "Celu": ("apply", "any alpha"),
    "Elu": ("apply", "any alpha"),
    "Erf": ("apply", "with what PyTorch writes around it, a GELU"),
    "Exp": ("apply", ""),
    "Gelu": ("apply", "exact or by tanh"),
    "HardSigmoid": ("activate, or apply", "any alpha and beta; of 1/6 and 0.5, times its input, a hard-swish"),
    "LeakyRelu": ("apply", "any alpha"),
    "Log": ("apply", ""),
    "Mish": ("apply", ""),
    "Neg": ("apply", ""),
    "Pow": ("apply", "to a constant number"),
    "Reciprocal": ("apply", ""),
    "Selu": ("apply", "any alpha and gamma"),
    "Softplus": ("apply", "its tanh times its input is a Mish"),
    "Softsign": ("apply", ""),
    "Sqrt": ("apply", ""),
    "Swish": ("activate, or apply", "any alpha"),
    "Tanh": ("apply", ""),
}
"""What each operator becomes in a graph, and its limits."""
