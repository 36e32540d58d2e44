"""Ternary weights: which they are, and their signs."""

import numpy as np
import pytest

from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.transforms.lowbit import signs, ternary_tensors
from rillet.zoo.layers import Layers, square


def network(*weights: list[float]) -> Graph:
    """Pointwise convolutions of 2x2 weights one behind the other."""
    net = Layers("net", square(4), channels=2)
    for i in range(len(weights)):
        net.block = f"block{i}"
        net.conv("conv", 2)
        net.bn("conv")
    graph = net.graph()
    params = {
        f"{node.name}.{param.name}": np.ones(param.shape, np.float32)
        for node in graph.nodes
        for param in graph.node_params(node)
    }
    for i, values in enumerate(weights):
        params[f"block{i}.conv.weight"] = np.array(values, np.float32).reshape(2, 1, 1, 2)
    return Graph(graph.name, graph.nodes, graph.outputs, params)


def test_which_weights_are_ternary() -> None:
    graph = network(
        [0.5, 0, -0.5, 0],  # ternary
        [0.5, 0, -0.25, 0],  # scales of their own
        [0.5, 0.5, -0.5, -0.5],  # binary
        [0.5, 0.25, 0, 0],  # two positive values
        [0.5, -0.25, -0.5, 0],  # two negative ones
        [0, 0, 0, 0],
    )
    assert ternary_tensors(graph) == [f"block{i}.conv.weight" for i in (0, 1, 2, 5)]


def test_signs() -> None:
    graph = network([0.5, 0, -0.25, 0], [0.5, 0.25, 0, -1])
    signed = signs(graph, ["block0.conv.weight"])
    assert signed.params["block0.conv.weight"].ravel().tolist() == [1, 0, -1, 0]
    assert signed.params["block0.conv.weight"].dtype == np.float32
    assert np.array_equal(signed.params["block1.conv.weight"], graph.params["block1.conv.weight"])


def test_what_is_not_there() -> None:
    with pytest.raises(GraphError, match=r"net: must have an array head\.weight, got none"):
        signs(network([1, 0, 0, 0]), ["head.weight"])
    with pytest.raises(GraphError, match="must have weights"):
        ternary_tensors(Graph(*_untrained()))


def _untrained() -> tuple:
    graph = network([1, 0, 0, 0])
    return graph.name, graph.nodes, graph.outputs
