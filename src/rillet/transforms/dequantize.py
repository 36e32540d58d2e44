"""Dequantisation: the float32 network that a quantised one approximates."""

from collections.abc import Hashable
from dataclasses import replace

import numpy as np

from rillet.arithmetic.convolution import real_weights, stored_weights
from rillet.ir.facts import has_weights, is_argmax, is_constant, is_requantization
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Constant, Conv, Rounding
from rillet.ir.sharing import sources, ties
from rillet.ir.types import DType, TensorType


def dequantize(graph: Graph) -> Graph:
    """`graph` with float32 weights and activations; requantisations vanish. A float network stays as it is.

    A weight is scale * (stored - zero point), a bias its integer times the scales of input and weight. What saturation
    alone did (a value beyond the range of its type) is not done any more. An array that layers share under one scale
    stays one.
    """
    if all((node.type.dtype is DType.F32 and not _low_bits(node)) or is_argmax(node.op) for node in graph.nodes):
        return graph
    params: dict[str, Array] = {}
    nodes: list[Node] = []
    renamed: dict[str, str] = {}
    made_of = sources(graph)
    for node in graph.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        if is_requantization(node.op):
            renamed[node.name] = inputs[0]
            continue
        op = node.op
        _note_scales(graph, node, made_of)
        if has_weights(op):
            if graph.params:
                params |= _conv_params(graph, node, op)
            op = replace(op, weights=DType.F32, levels=None, rounding=Rounding.DOUBLE)
        elif is_constant(op):
            if graph.params:
                params[f"{node.name}.value"] = _real(graph.param(node, "value"), node.type)
            op = Constant(DType.F32)
        else:
            params |= {
                f"{node.name}.{p.name}": graph.param(node, p.name) for p in graph.node_params(node) if graph.params
            }
        nodes.append(replace(node, op=op, inputs=inputs, type=_type(node)))
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    shared = ties(made_of)
    kept = {key: array for key, array in params.items() if key not in shared}
    return Graph(graph.name, tuple(nodes), outputs, kept, graph.image, shared)


def _note_scales(graph: Graph, node: Node, made_of: dict[str, Hashable]) -> None:
    """Adds to what a node's arrays are made of the scales that dequantise them."""
    match node.op:
        case Constant():
            made_of[f"{node.name}.value"] = (made_of[f"{node.name}.value"], node.type.quant)
        case Conv(weights=weights) as op if weights is not DType.F32:
            parts = ("weight_scale", "weight_zero_point", "levels")
            scales = tuple(made_of.pop(f"{node.name}.{part}", None) for part in parts)
            made_of[f"{node.name}.weight"] = (made_of[f"{node.name}.weight"], scales)
            if op.bias and not op.real:
                made_of[f"{node.name}.bias"] = (made_of[f"{node.name}.bias"], scales, graph.input_types(node)[0].quant)
        case _:
            pass


def _low_bits(node: Node) -> bool:
    return has_weights(node.op) and node.op.levels is not None


def _type(node: Node) -> TensorType:
    return node.type if is_argmax(node.op) else TensorType(node.shape)


def _real(stored: Array, value: TensorType) -> Array:
    if value.quant is None:
        return stored.astype(np.float32)
    return ((stored.astype(np.float64) - value.quant.zero_point) * value.quant.scale).astype(np.float32)


def _conv_params(graph: Graph, node: Node, op: Conv) -> dict[str, Array]:
    if op.weights is DType.F32:
        return {f"{node.name}.{p.name}": graph.param(node, p.name) for p in graph.node_params(node)}
    if op.real:
        out: dict[str, Array] = {f"{node.name}.weight": real_weights(graph, node, op).astype(np.float32)}
        return out | ({f"{node.name}.bias": graph.param(node, "bias")} if op.bias else {})
    scale = graph.param(node, "weight_scale").astype(np.float64)
    stored, zero = stored_weights(graph, node, op)
    weight = (stored - zero).astype(np.float64)
    out = {f"{node.name}.weight": (weight * scale[:, None, None, None]).astype(np.float32)}
    if op.bias:
        source = graph.input_types(node)[0].quant
        unit = scale * (source.scale if source else 1.0)
        out[f"{node.name}.bias"] = (graph.param(node, "bias").astype(np.float64) * unit).astype(np.float32)
    return out
