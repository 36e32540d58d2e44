"""Seeded random weights for networks that have none, so that they can be run and compared untrained."""

import math
from dataclasses import replace

import numpy as np

from rillet.ir.facts import has_weights, is_batch_norm
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    Concat,
    Conv,
    Interpolate,
    Multiply,
    Pad,
    Param,
    Pool,
    Requantize,
    Resize,
    Slice,
)
from rillet.ir.types import DType

_BIAS_DEVIATION = 0.05


def with_seeded_weights(graph: Graph, seed: int = 0) -> Graph:
    """The same network with random arrays instead of its own, the same for the same seed.

    Weights of convolutions are normal with variance 2 / fan-in behind an activation, which drops about half of what it
    reads (He et al. 2015, arXiv:1502.01852), and 1 / fan-in behind none, so that values stay in proportion. Batch norms
    are near the identity and not it, as trained ones are. Integers are uniform over their range.
    """
    rng = np.random.default_rng(seed)
    params: dict[str, Array] = {}
    for node in graph.nodes:
        for param in graph.own_params(node):
            params[f"{node.name}.{param.name}"] = _array(node, param, graph, rng)
    return replace(graph, params=params)


def _array(node: Node, param: Param, graph: Graph, rng: np.random.Generator) -> Array:
    if has_weights(node.op):
        fan_in = math.prod(node.op.weight_shape(graph.input_shapes(node)[0])[1:])
        gain = 2.0 if _rectified(graph, node.inputs[0]) else 1.0
        return _of_convolution(param, math.sqrt(gain / fan_in), rng)
    if is_batch_norm(node.op):
        return _of_batch_norm(param, rng)
    return _integers(param, rng) if param.dtype is not DType.F32 else _normal(param, 1.0, rng)


def _rectified(graph: Graph, name: str) -> bool:
    """True where a value comes out of an activation, perhaps through a pool or another op that moves values."""
    node = graph.by_name[name]
    match node.op:
        case Activate() | Apply():
            return True
        case Pool() | Concat() | Slice() | Pad() | Resize() | Interpolate() | Requantize():
            return _rectified(graph, node.inputs[0])
        case Conv(activation=activation) | Add(activation=activation) | Multiply(activation=activation):
            return activation is not Activation.NONE
        case _:
            return False


def _of_convolution(param: Param, deviation: float, rng: np.random.Generator) -> Array:
    match param.name, param.dtype:
        case "weight", DType.F32:
            return _normal(param, deviation, rng)
        case "bias", DType.F32:
            return _normal(param, _BIAS_DEVIATION, rng)
        case "bias", _:
            return rng.integers(-(2**10), 2**10, param.shape, np.int32)
        case "weight_scale", _:
            return (deviation / 64 * rng.uniform(0.5, 1.5, param.shape)).astype(np.float32)
        case "levels", DType.F32:
            return (deviation * rng.uniform(0.5, 1.5, param.shape)).astype(np.float32)
        case "levels", _:
            return rng.integers(64, 128, param.shape, np.int8)
        case "weight_zero_point", _:
            return np.full(param.shape, 128, np.int32)
        case _:
            return _integers(param, rng)


def _of_batch_norm(param: Param, rng: np.random.Generator) -> Array:
    match param.name:
        case "gamma":
            return rng.uniform(0.8, 1.2, param.shape).astype(np.float32)
        case "variance":
            return rng.uniform(0.7, 1.4, param.shape).astype(np.float32)
        case _:
            return _normal(param, 0.1, rng)


def _normal(param: Param, deviation: float, rng: np.random.Generator) -> Array:
    values = rng.standard_normal(param.shape, np.float32)
    values *= np.float32(deviation)
    return values


def _integers(param: Param, rng: np.random.Generator) -> Array:
    low, high = param.dtype.integers
    if param.dtype is DType.BINARY:
        return rng.choice(np.array([-1, 1], np.int8), param.shape)
    return rng.integers(max(low, -high), high, param.shape, param.dtype.numpy.type, endpoint=True)
