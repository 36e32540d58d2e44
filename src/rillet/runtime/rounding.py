"""Bounds on the rounding error of a float32 kernel against the exact result (docs/arithmetic.md derives them).

A sum of n products in float32 rounds at most n times, each time by at most u = 2^-24 of what is there. Worst case,
that is n u sum |w x|; roundings do not conspire, so that it stays within CONFIDENCE sqrt(n) u sum |w x| but with a
probability of 2 exp(-CONFIDENCE^2 / 2) (Higham and Mary, SIAM J. Sci. Comput. 41, 2019). The lesser of the two holds.
"""

import math
from collections.abc import Mapping
from typing import assert_never

import numpy as np
import numpy.typing as npt

from rillet.arithmetic.convolution import real_weights
from rillet.arithmetic.functions import function_real
from rillet.backends.reference import convolve, node_value
from rillet.ir.functions import Curve
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Interpolate,
    Multiply,
    Pad,
    Pair,
    PairKind,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
)

Floats = npt.NDArray[np.float64]
UNIT = 2.0**-24
"""Greatest rounding of one operation of float32, as a share of its result."""
CONFIDENCE = 6.0
FUNCTION = 16 * UNIT
"""Rounding of a function such as exp as kernels approximate it, and of what follows it."""
_TINY = 2.0**-126
"""Below it float32 has fewer digits, or none."""
_STEEPEST = {
    Activation.SIGMOID: 0.25,
    Activation.HARD_SIGMOID: 1 / 6,
    Activation.HARD_SWISH: 1.5,
    Activation.SILU: 1.1,
}
"""Greatest slope of each function that is no clamp; a clamp's is 1."""


_STEEPEST_CURVES = {
    Curve.CLIP: 1.0,
    Curve.CELU: 1.0,
    Curve.GELU: 1.13,
    Curve.GELU_TANH: 1.13,
    Curve.ERF: 1.13,
    Curve.TANH: 1.0,
    Curve.MISH: 1.09,
    Curve.SOFTPLUS: 1.0,
    Curve.SOFTSIGN: 1.0,
    Curve.SWISH: 1.1,
    Curve.ABS: 1.0,
    Curve.NEG: 1.0,
}
"""The same of functions with numbers, whatever these are."""


def growth(terms: int) -> float:
    """Rounding of a sum of so many terms, as a share of the sum of their magnitudes."""
    return min(terms, CONFIDENCE * math.sqrt(terms)) * UNIT


def bound(graph: Graph, node: Node, values: Mapping[str, Array], errors: Mapping[str, Floats]) -> Floats:
    """For each real value of `node`, how far float32 may be from the reference on the same inputs.

    values: what the node reads. errors: how far those may be off that were not read but computed, by name.
    """
    reads = [np.asarray(values[name], np.float64) for name in node.inputs]
    faults = [errors.get(name) for name in node.inputs]
    off = [np.zeros(1) if fault is None else fault for fault in faults]
    op = node.op
    match op:
        case Input() | Constant():
            return np.zeros(node.shape.array)
        case Conv():
            weight = np.abs(real_weights(graph, node, op))
            size = convolve(np.abs(reads[0]) + off[0], weight, op)
            bias = np.abs(graph.param(node, "bias").astype(np.float64)) if op.bias else 0.0
            made = growth(weight[0].size + 1) * (size + bias)
            if faults[0] is not None:
                made = made + convolve(faults[0], weight, op)
            return _through(op.activation, made, size + bias)
        case Pool():
            made, size = _pooled(graph, node, op, off[0], np.abs(reads[0]))
            return _through(op.activation, made, size)
        case Add():
            return _through(op.activation, off[0] + off[1] + 2 * UNIT * _sum(reads, off), _sum(reads, off))
        case Multiply():
            left, right = np.abs(reads[0]), np.abs(reads[1])
            made = left * off[1] + right * off[0] + off[0] * off[1]
            return _through(op.activation, made + 2 * UNIT * (left * right + made), left * right + made)
        case BatchNorm(epsilon=epsilon):
            gamma, beta, mean, variance = (
                graph.param(node, name).astype(np.float64) for name in ("gamma", "beta", "mean", "variance")
            )
            slope = np.abs(gamma) / np.sqrt(variance + epsilon)
            size = slope * (np.abs(reads[0]) + off[0] + np.abs(mean)) + np.abs(beta)
            return slope * off[0] + FUNCTION * size + _TINY
        case Activate(activation=Activation.SIGN):
            return np.where(np.abs(reads[0]) <= off[0], 2.0, 0.0)
        case Activate(activation=activation):
            return _through(activation, np.broadcast_to(off[0], node.shape.array), np.abs(reads[0]))
        case Apply():
            return _curved(op, reads[0], np.broadcast_to(off[0], reads[0].shape))
        case Softmax(beta=beta):
            spread = beta * (reads[0].max(-1, keepdims=True) - reads[0])
            moved = 2 * beta * np.broadcast_to(off[0], reads[0].shape).max(-1, keepdims=True)
            share = np.expm1(moved) + UNIT * 2 * spread + growth(node.shape.channels) + FUNCTION
            return _value(graph, node, values) * share + _TINY
        case ArgMax():
            raise AssertionError(f"{node.name} is no real value")
        case Pair(kind=kind):
            return _paired(kind, reads, off)
        case Interpolate():
            size = _value(graph, node, {node.inputs[0]: np.abs(reads[0]) + off[0]})
            made = _value(graph, node, {node.inputs[0]: np.broadcast_to(off[0], reads[0].shape)})
            return made + 8 * UNIT * size + _TINY
        case Concat() | Slice() | Select() | DepthToSpace() | SpaceToDepth() | Pad() | Resize():
            if all(fault is None for fault in faults):
                return np.zeros(node.shape.array)
            wide = [np.broadcast_to(o, r.shape) for o, r in zip(off, reads, strict=True)]
            return _value(graph, node, dict(zip(node.inputs, wide, strict=True)))
        case Requantize():
            return off[0] + 2 * UNIT * np.abs(_value(graph, node, values))
        case _:
            assert_never(op)


def _value(graph: Graph, node: Node, values: Mapping[str, Array]) -> Floats:
    return node_value(graph, node, values).astype(np.float64)


def _through(activation: Activation, error: Floats, size: Floats) -> Floats:
    """The error behind an activation of values of at most this size."""
    if activation is Activation.SIGN:
        return np.full(error.shape, 2.0)
    if activation.clamp is not None:
        return error + _TINY
    grows = activation in (Activation.HARD_SWISH, Activation.SILU)
    return error * _STEEPEST[activation] + FUNCTION * (1.0 + size if grows else 1.0)


def _curved(op: Apply, values: Floats, off: Floats) -> Floats:
    """The error behind a function with numbers."""
    curve, a, b = op.curve, op.a, op.b
    made = np.nan_to_num(function_real(values, op))
    match curve:
        case Curve.LEAKY_RELU:
            slope = max(1.0, abs(a))
        case Curve.ELU:
            slope = max(1.0, abs(a))
        case Curve.SELU:
            slope = abs(b) * max(1.0, abs(a))
        case Curve.RAMP:
            slope = abs(a)
        case Curve.SQRT | Curve.EXP | Curve.LOG | Curve.POWER:
            ends = [np.nan_to_num(function_real(values + side, op)) for side in (-off, off)]
            through = np.maximum(np.abs(ends[0] - made), np.abs(ends[1] - made))
            return through + FUNCTION * (1.0 + np.abs(made)) + _TINY
        case _:
            slope = _STEEPEST_CURVES[curve]
    wide = 1.0 + np.abs(values) * (1.0 + slope)
    return off * slope + FUNCTION * (wide + np.abs(made))


def _paired(kind: PairKind, reads: list[Floats], off: list[Floats]) -> Floats:
    """The error of what is made of two values."""
    left, right = np.broadcast_arrays(np.abs(reads[0]), np.abs(reads[1]))
    match kind:
        case PairKind.MAXIMUM | PairKind.MINIMUM:
            return np.maximum(off[0], off[1]) + np.zeros(left.shape)
        case PairKind.DIVIDE:
            least = np.maximum(right - off[1], _TINY)
            with np.errstate(over="ignore"):
                ratio = (left + off[0]) / least
                return off[0] / least + ratio * (off[1] / least + 2 * UNIT) + _TINY
        case PairKind.PRELU:
            made = np.maximum(1.0, right + off[1]) * off[0] + left * off[1]
            return made + 2 * UNIT * (left + off[0]) * (right + off[1]) + _TINY
        case _:
            assert_never(kind)


def _sum(reads: list[Floats], off: list[Floats]) -> Floats:
    return np.abs(reads[0]) + off[0] + np.abs(reads[1]) + off[1]


def _pooled(graph: Graph, node: Node, op: Pool, off: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Error and size of a pool's results before its activation."""
    plain = Graph(graph.name, _alone(graph, node, op), (node.name,))
    name, last = node.inputs[0], plain.nodes[-1]
    wide = _value(plain, last, {name: np.broadcast_to(off, size.shape)}) if off.any() else np.zeros(1)
    if op.kind is PoolKind.MAX:
        return np.broadcast_to(wide, node.shape.array), np.zeros(1)
    mean = _value(plain, last, {name: size + off})
    return wide + growth(op.window.taps + 1) * mean, mean


def _alone(graph: Graph, node: Node, op: Pool) -> tuple[Node, Node]:
    source = graph.by_name[node.inputs[0]]
    kept = Pool(op.kind, op.window)
    return Node(source.name, Input(), (), source.type), Node(node.name, kept, (source.name,), node.type)
