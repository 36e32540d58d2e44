"""What a caller gives a network: one array, or one for each of its inputs, in their order or by name."""

from collections.abc import Mapping, Sequence

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph, Node

Inputs = Array | Sequence[Array] | Mapping[str, Array]
"""The only input's array, one for each input in the graph's order, or one for each by name."""


def by_input(graph: Graph, given: Inputs) -> dict[str, Array]:
    """The arrays by the names of the inputs; raises GraphError where one is missing, too many, or of a wrong kind."""
    nodes = graph.input_nodes
    names = [node.name for node in nodes]
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise GraphError(
                f"{graph.name}: inputs must be {_and(names)}, got {_and(sorted(map(str, given))) or 'none'}"
            )
        arrays = [given[name] for name in names]
    else:
        arrays = [given] if isinstance(given, np.ndarray) else list(given)
        if len(arrays) != len(nodes):
            raise GraphError(f"{graph.name}: inputs must be {len(nodes)} arrays, {_and(names)}, got {len(arrays)}")
    return {node.name: _checked(graph, node, array) for node, array in zip(nodes, arrays, strict=True)}


def called(graph: Graph, node: Node) -> str:
    """An input as messages say it: by name where there are several."""
    return "input" if len(graph.input_nodes) == 1 else f"input {node.name}"


def _checked(graph: Graph, node: Node, array: Array) -> Array:
    if array.shape != node.shape.array or array.dtype != node.type.dtype.numpy:
        raise GraphError(
            f"{graph.name}: {called(graph, node)} must be {node.type.dtype.value} of {node.shape}, "
            f"got {array.dtype} of {array.shape}"
        )
    return array


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)


def sole_input(graph: Graph, what: str = "for this") -> Node:
    """The input of a network that has one; raises Unsupported where it has several, which `what` says too many for."""
    nodes = graph.input_nodes
    if len(nodes) != 1:
        got = f"{len(nodes)}, {_and([node.name for node in nodes])}" if nodes else "none"
        raise Unsupported(f"{graph.name}: must have one input {what}, got {got}")
    return nodes[0]
