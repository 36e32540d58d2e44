"""Folds batch norms into convolutions and activations into the ops before them: the form that plans take."""

from collections.abc import Hashable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rillet.ir.facts import has_activation, has_weights, is_activation, is_batch_norm
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Activation, Conv, Op
from rillet.ir.sharing import sources, ties
from rillet.ir.types import DType

Floats = npt.NDArray[np.float64]


def fold(graph: Graph) -> Graph:
    """The same function with fewer nodes; the result of a chain keeps the name of its convolution.

    A batch norm behind a convolution that nothing else reads becomes its weights and bias (in float64, stored as
    float32); one that stands elsewhere becomes a 1x1 depthwise convolution. An activation that is a clamp joins the op
    before it. Works with and without weights. Layers that share an array go on sharing it where the same batch norm, or
    none, is folded into it; behind different ones it becomes several.
    """
    nodes: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    params, made_of = graph.arrays, sources(graph)
    for node in graph.nodes:
        read = tuple(renamed.get(name, name) for name in node.inputs)
        before = nodes.get(read[0]) if len(read) == 1 else None
        alone = before is not None and len(graph.consumers[node.inputs[0]]) == 1 and node.inputs[0] not in graph.outputs
        op = _joined(before.op, node.op) if before is not None and alone else None
        if before is not None and op is not None:
            if is_batch_norm(node.op):
                _fold_weights(graph, node, before, params, made_of)
            nodes[before.name] = replace(before, op=op, type=node.type)
            renamed[node.name] = before.name
            continue
        made = replace(node, inputs=read)
        if is_batch_norm(node.op):
            channels = node.shape.channels
            made = replace(made, op=Conv(channels, groups=channels))
            _as_depthwise(graph, node, params, made_of)
        nodes[node.name] = made
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    shared = ties(made_of)
    kept = {key: array for key, array in params.items() if key not in shared}
    return Graph(graph.name, tuple(nodes.values()), outputs, kept, graph.image, shared)


def _joined(before: Op, after: Op) -> Op | None:
    """One op that does the work of two, or None where there is none."""
    if is_batch_norm(after):
        if has_weights(before) and before.activation is Activation.NONE and before.weights is DType.F32:
            return replace(before, bias=True)
        return None
    if not is_activation(after) or after.activation.clamp is None:
        return None
    if has_activation(before) and before.activation is Activation.NONE:
        return replace(before, activation=after.activation)
    return None


def scale_and_shift(graph: Graph, node: Node) -> tuple[Floats, Floats]:
    """A batch norm as y = scale * x + shift, in float64."""
    assert is_batch_norm(node.op)
    gamma, beta, mean, variance = (graph.param(node, name).astype(np.float64) for name in _ARRAYS)
    scale = gamma / np.sqrt(variance + node.op.epsilon)
    return scale, beta - mean * scale


def _fold_weights(
    graph: Graph, node: Node, before: Node, params: dict[str, Array], made_of: dict[str, Hashable]
) -> None:
    norm, weight_key, bias_key = _dropped(node, made_of), f"{before.name}.weight", f"{before.name}.bias"
    made_of[weight_key] = (made_of[weight_key], norm)
    made_of[bias_key] = (made_of.get(bias_key), norm)
    if not graph.params:
        return
    scale, shift = scale_and_shift(graph, node)
    weight = params[weight_key].astype(np.float64)
    bias = params.get(bias_key, np.zeros(1)).astype(np.float64)
    params[weight_key] = (weight * scale[:, None, None, None]).astype(np.float32)
    params[bias_key] = (bias * scale + shift).astype(np.float32)
    _drop(node, params)


def _as_depthwise(graph: Graph, node: Node, params: dict[str, Array], made_of: dict[str, Hashable]) -> None:
    norm = _dropped(node, made_of)
    made_of[f"{node.name}.weight"] = ("weight", norm)
    made_of[f"{node.name}.bias"] = ("bias", norm)
    if not graph.params:
        return
    scale, shift = scale_and_shift(graph, node)
    params[f"{node.name}.weight"] = scale.astype(np.float32).reshape(-1, 1, 1, 1)
    params[f"{node.name}.bias"] = shift.astype(np.float32)
    _drop(node, params)


_ARRAYS = ("gamma", "beta", "mean", "variance")


def _dropped(node: Node, made_of: dict[str, Hashable]) -> Hashable:
    """What a batch norm is made of, whose arrays will be there no longer."""
    assert is_batch_norm(node.op)
    return (node.op.epsilon, *(made_of.pop(f"{node.name}.{name}") for name in _ARRAYS))


def _drop(node: Node, params: dict[str, Array]) -> None:
    for name in _ARRAYS:
        del params[f"{node.name}.{name}"]


def without_weights(graph: Graph) -> Graph:
    """The same network, untrained."""
    return replace(graph, params={})
