"""Finds weights of one or two bits in float networks, and takes them for what they are."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from rillet.errors import GraphError
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Conv


def ternary_tensors(graph: Graph) -> list[str]:
    """Names of the convolutions' weights that hold at most one negative value, zero, and one positive value.

    Trained ternary quantisation (Zhu et al. 2016, arXiv:1612.01064) leaves such tensors. Raises GraphError for a
    network without weights.
    """
    convs = [node for node in graph.nodes if isinstance(node.op, Conv)]
    return [f"{node.name}.weight" for node in convs if _ternary(graph.param(node, "weight"))]


def _ternary(array: Array) -> bool:
    values = np.unique(array).astype(np.float64)
    return array.size > 3 and int((values < 0).sum()) <= 1 and int((values > 0).sum()) <= 1


def signs(graph: Graph, names: Iterable[str]) -> Graph:
    """The graph with each value of the arrays `names` replaced by its sign: -1, 0 or +1.

    Nothing makes up for the scales that go with it; behind a batch norm they hardly matter. Raises GraphError for a
    name that is no array of the graph.
    """
    params = dict(graph.params)
    for name in names:
        if name not in params:
            raise GraphError(f"{graph.name}: must have an array {name}, got none")
        params[name] = np.sign(params[name])
    return replace(graph, params=params)
