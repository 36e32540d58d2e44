"""Networks with channels that were made dead on purpose, and the inputs that look hardest for one that is not."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from graphs import random_image
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Constant, Conv
from rillet.ir.types import DType

FAR = 2**26
"""A bias that takes any sum of a small network beyond its clamp."""


def deadened(graph: Graph, seed: int, share: float = 0.5) -> Graph:
    """The graph with about that share of channels saturated either way, blank, or read by weights of zero alone."""
    rng = np.random.default_rng(seed)
    params = {key: array.copy() for key, array in graph.params.items()}
    for node in graph.nodes:
        if isinstance(node.op, Conv) and not node.op.real:
            _deaden(graph, node, node.op, params, rng, share)
        elif isinstance(node.op, Constant) and node.type.quant is not None:
            value = params[graph.key(node, "value")]
            still = rng.random(value.shape[2]) < share
            value[:, :, still] = value[:1, :1, still]
    return replace(graph, params=params)


def _deaden(
    graph: Graph, node: Node, op: Conv, params: dict[str, Array], rng: np.random.Generator, share: float
) -> None:
    weight = params[graph.key(node, "weight")]
    if op.bias:
        bias = params[graph.key(node, "bias")]
        for end in (-FAR, FAR):
            bias[rng.random(len(bias)) < share / 3] = end
    if op.weights is DType.BINARY:
        return
    zero = int(params[graph.key(node, "weight_zero_point")][0]) if op.weights is DType.U8 else 0
    weight[rng.random(len(weight)) < share / 3] = zero
    weight[:, :, :, rng.random(weight.shape[3]) < share / 3] = zero


def inputs(graph: Graph, count: int = 3) -> Iterator[Array]:
    """Random inputs, and those at the ends of the range: all of it, each channel at an end, and each pixel."""
    for seed in range(count):
        yield random_image(graph, seed)
    node = graph.input_nodes[0]
    low, high = (-1, 1) if node.type.dtype is DType.F32 else node.type.dtype.integers
    for end in (low, high):
        yield np.full(node.shape.array, end, node.type.dtype.numpy)
    rng, (rows, columns, channels) = np.random.default_rng(count), node.shape.array
    for shape in ((1, 1, channels), (1, 1, channels), (rows, columns, 1), (rows, columns, channels)):
        ends = rng.choice(np.array([low, high], node.type.dtype.numpy), shape)
        yield np.broadcast_to(ends, node.shape.array).copy()
