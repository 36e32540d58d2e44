"""Cross-layer equalisation: equalises channel ranges between two convolutions before they are quantised."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rillet.ir.facts import has_weights
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Activation
from rillet.ir.types import DType

Floats = npt.NDArray[np.float64]
ROUNDS = 40
"""Passes over all pairs at most: chains of layers even out step by step."""
_SETTLED = 1e-3
_MOST = 2.0**10
"""Greatest factor of a channel and of its inverse in one pass, so that dead channels stay what they are."""


def equalize(graph: Graph) -> Graph:
    """The same function with equalised weight ranges (Nagel et al. 2019, arXiv:1906.04721).

    `graph` must be folded, with weights. Where one convolution alone reads another, channel i between them is divided
    by s = sqrt(r1 / r2), with r1 and r2 the greatest weights that make it and read it. Only linear convolutions and
    those with a ReLU are evened out: a clamp at 6 does not scale. Layers that share arrays stay as they are.
    """
    params: dict[str, Array] = dict(graph.params)
    several = {key.rpartition(".")[0] for pair in graph.shared.items() for key in pair}
    pairs = [
        (graph.by_name[node.inputs[0]], node)
        for node in graph.nodes
        if _follows(graph, node) and several.isdisjoint((node.name, node.inputs[0]))
    ]
    weights = {node.name: graph.param(node, "weight").astype(np.float64) for pair in pairs for node in pair}
    biases = {
        node.name: graph.param(node, "bias").astype(np.float64)
        for node in {node.name: node for pair in pairs for node in pair}.values()
        if has_weights(node.op) and node.op.bias
    }
    for _ in range(ROUNDS):
        change = 0.0
        for first, second in pairs:
            scale = _scales(weights[first.name], weights[second.name], second)
            weights[first.name] = weights[first.name] / scale[:, None, None, None]
            if first.name in biases:
                biases[first.name] = biases[first.name] / scale
            weights[second.name] = _times_inputs(weights[second.name], scale, second)
            change = max(change, float(np.abs(np.log(scale)).max()))
        if change < _SETTLED:
            break
    params |= {f"{name}.weight": array.astype(np.float32) for name, array in weights.items()}
    params |= {f"{name}.bias": array.astype(np.float32) for name, array in biases.items()}
    return replace(graph, params=params)


def _follows(graph: Graph, node: Node) -> bool:
    """True where `node` is a convolution that alone reads another one, which scales with its weights."""
    if not has_weights(node.op) or node.op.weights is not DType.F32:
        return False
    first = graph.by_name[node.inputs[0]]
    scales = has_weights(first.op) and first.op.activation in (Activation.NONE, Activation.RELU)
    alone = len(graph.consumers[first.name]) == 1 and first.name not in graph.outputs
    return scales and alone and first.type.dtype is DType.F32


def _groups(node: Node) -> int:
    assert has_weights(node.op)
    return node.op.groups


def _scales(first: Floats, second: Floats, node: Node) -> Floats:
    """The scale of each channel between two convolutions; 1 where all its weights on one side are zero."""
    made = np.abs(first).max((1, 2, 3))
    outputs, groups = second.shape[0], _groups(node)
    read = np.abs(second).max((1, 2)).reshape(groups, outputs // groups, -1).max(1).reshape(-1)
    scale = np.sqrt(np.divide(made, read, out=np.ones_like(made), where=(made > 0) & (read > 0)))
    return np.where((made > 0) & (read > 0), np.clip(scale, 1 / _MOST, _MOST), 1.0)


def _times_inputs(weight: Floats, scale: Floats, node: Node) -> Floats:
    """Weights whose input channel i is multiplied by scale[i]."""
    groups, outputs = _groups(node), weight.shape[0]
    per_output = np.repeat(scale.reshape(groups, -1), outputs // groups, axis=0)
    return weight * per_output[:, None, None, :]
