"""Magnitude pruning: the smallest weights of each layer become zero (Han et al. 2015, arXiv:1506.02626)."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError
from rillet.ir.facts import has_weights
from rillet.ir.graph import Array, Graph
from rillet.ir.types import DType
from rillet.transforms.lowbit import MORE_THAN


def prunable_layers(graph: Graph, more_than: int | None = None, layers: Iterable[str] = ()) -> tuple[str, ...]:
    """The convolutions and dense layers of more than `more_than` weights (1000 by default), or the `layers` named, in
    order.

    Raises GraphError for a name that is no such layer, for weights that are not float32 or not there, where no
    layer is left, and where both a number and names are given.
    """
    convs = {node.name: node for node in graph.nodes if has_weights(node.op)}
    said = tuple(layers)
    if said and more_than is not None:
        raise GraphError(f"--more-than must come without --layers, got {more_than} and {', '.join(said)}")
    more_than = MORE_THAN if more_than is None else more_than
    for name in said:
        if name not in convs:
            raise GraphError(f"{graph.name}: {name}: must be a convolution or dense layer")
    found = said or tuple(name for name, node in convs.items() if graph.param(node, "weight").size > more_than)
    if not found:
        raise GraphError(f"{graph.name}: must have layers of more than {more_than} weights")
    for name in found:
        op = convs[name].op
        if has_weights(op) and op.weights is not DType.F32:
            raise GraphError(f"{graph.name}: {name}: weights must be float32 to be changed, got {op.weights.value}")
    return found


def kept(weight: Array, sparsity: float) -> npt.NDArray[np.bool_]:
    """True but for the floor(sparsity * size) weights of least magnitude; of equal ones the first go first."""
    gone = int(sparsity * weight.size)
    order = np.argsort(np.abs(weight.reshape(-1)), kind="stable")
    mask = np.ones(weight.size, np.bool_)
    mask[order[:gone]] = False
    return mask.reshape(weight.shape)


def prune(graph: Graph, sparsity: float, layers: Iterable[str]) -> Graph:
    """The graph with that share of the weights of each of `layers` zero, and so of those who share these weights.

    Raises GraphError unless 0 <= sparsity < 1.
    """
    if not 0 <= sparsity < 1:
        raise GraphError(f"sparsity must be at least 0 and below 1, got {sparsity:g}")
    params = dict(graph.params)
    for name in layers:
        node = graph.by_name[name]
        weight = graph.param(node, "weight")
        params[graph.key(node, "weight")] = np.where(kept(weight, sparsity), weight, np.zeros((), weight.dtype))
    return replace(graph, params=params)
