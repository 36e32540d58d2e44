"""Binary and ternary weights: choosing layers, ternarising and binarising, detection, and packing."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rillet.arithmetic.convolution import real_weights, stored_weights
from rillet.errors import GraphError
from rillet.ir.facts import has_weights, is_product
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Conv
from rillet.ir.sharing import sources, ties
from rillet.ir.types import DType

Doubles = npt.NDArray[np.float64]
MORE_THAN = 1000
"""Notes on MicroBotNet: only tensors of more weights become ternary, or here are pruned."""
TWN_SHARE = 0.7
"""Threshold as a share of the mean magnitude: Li and Liu 2016, Ternary Weight Networks (arXiv:1605.04711)."""


@dataclass(frozen=True, slots=True)
class TernaryReport:
    """Tensors and numbers that are ternary and that are not (running statistics left out), and how many at +, 0, -."""

    tensors: int
    other_tensors: int
    params: int
    plus: int
    zero: int
    minus: int
    other_params: int


def large_layers(graph: Graph, more_than: int = MORE_THAN, squeeze_excite: bool = True) -> tuple[str, ...]:
    """The convolutions and dense layers that are worth one- or two-bit weights, in order, by the rules of Notes on
    MicroBotNet.

    They have more than `more_than` weights, and are neither in the first nor in the last block (where nodes have no
    blocks: not the first layer nor the last), nor is any layer that shares their weights. Raises GraphError where none
    is left.
    """
    convs = [node for node in graph.nodes if has_weights(node.op)]
    ends = {_end(convs[0]), _end(convs[-1])} if convs else set[str]()
    gates = set[str]() if squeeze_excite else _gates(graph)
    kept = {graph.key(node, "weight") for node in convs if _end(node) in ends or node.name in gates}
    names = tuple(
        node.name for node in convs if _weights(graph, node) > more_than and graph.key(node, "weight") not in kept
    )
    if not names:
        raise GraphError(f"{graph.name}: must have layers of more than {more_than} weights to become ternary")
    return names


def _end(node: Node) -> str:
    return node.block or node.name


def _weights(graph: Graph, node: Node) -> int:
    return math.prod(graph.node_params(node)[0].shape)


def _gates(graph: Graph) -> set[str]:
    """The layers of squeeze-and-excite: those between a pool and the pixel that a map is multiplied by."""
    found: set[str] = set()
    for node in graph.nodes:
        if is_product(node.op):
            at = graph.by_name[node.inputs[1]]
            while at.shape.pixels == 1 and at.inputs:
                if has_weights(at.op):
                    found.add(at.name)
                before = graph.by_name[at.inputs[0]]
                if before.shape.pixels > 1:
                    break
                at = before
    return found


def ternarize(graph: Graph, layers: Iterable[str], threshold: float | None = None) -> Graph:
    """The float network with three values in the weights of each of `layers`: +p, 0 and -n.

    p and n are the means of what lies beyond the threshold, which is `threshold` times the greatest magnitude, or
    TWN_SHARE times the mean one. The weights were not trained for it: expect to lose accuracy. Raises GraphError for a
    name that is no convolution with float weights.
    """

    def made(weight: Doubles) -> Doubles:
        size = np.abs(weight)
        edge = TWN_SHARE * size.mean() if threshold is None else threshold * size.max()
        out = np.zeros_like(weight)
        for sign in (1, -1):
            beyond = sign * weight > edge
            if beyond.any():
                out[beyond] = weight[beyond].mean()
        return out

    return _changed(graph, layers, made)


def binarize(graph: Graph, layers: Iterable[str]) -> Graph:
    """The float network with two values in each output channel of `layers`: plus and minus the mean magnitude.

    Rastegari et al. 2016, XNOR-Net (arXiv:1603.05279). Raises GraphError as `ternarize`.
    """

    def made(weight: Doubles) -> Doubles:
        rows = weight.reshape(len(weight), -1)
        return (np.where(rows >= 0, 1.0, -1.0) * np.abs(rows).mean(1, keepdims=True)).reshape(weight.shape)

    return _changed(graph, layers, made)


def _changed(graph: Graph, layers: Iterable[str], made: Callable[[Doubles], Doubles]) -> Graph:
    params = dict(graph.params)
    for name in layers:
        node = graph.by_name.get(name)
        if node is None or not has_weights(node.op) or node.op.weights is not DType.F32:
            raise GraphError(f"{graph.name}: {name}: must be a convolution or dense layer with float weights")
        params[graph.key(node, "weight")] = made(graph.param(node, "weight").astype(np.float64)).astype(np.float32)
    return replace(graph, params=params)


def pack(graph: Graph) -> Graph:
    """The same network, to the last bit, with ternary and binary weights wherever they are that and that is smaller.

    A convolution whose output channels hold at most one positive and one negative value each (stored as i8, or real)
    keeps their signs, and two levels a channel. Without weights a graph stays as it is.
    """
    if not graph.params:
        return graph
    params, nodes, shared = dict(graph.params), list[Node](), dict(graph.shared)
    for node in graph.nodes:
        packed = _packed(graph, node)
        if packed is None:
            nodes.append(node)
            continue
        op, weight, levels = packed
        own, levels_key, first = f"{node.name}.weight", f"{node.name}.levels", graph.key(node, "weight")
        if first == own:
            params |= {own: weight, levels_key: levels}
        else:  # which follow from the weights alone
            shared[levels_key] = first.removesuffix("weight") + "levels"
        nodes.append(replace(node, op=op))
    return replace(graph, nodes=tuple(nodes), params=params, shared=shared)


def _packed(graph: Graph, node: Node) -> tuple[Conv, Array, Array] | None:
    op = node.op
    if not has_weights(op) or op.weights not in (DType.I8, DType.F32):
        return None
    weight = graph.param(node, "weight")
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    levels = np.stack([_level(rows, 1), _level(rows, -1)], 1)
    dtype = DType.TERNARY if (rows == 0).any() else DType.BINARY
    bits, packed_bits = rows.size * op.weights.bits, rows.size * dtype.bits + levels.size * op.weights.bits
    if (
        np.isnan(levels).any()
        or packed_bits >= bits
        or (op.weights is DType.I8 and levels.max() > DType.I8.integers[1])
    ):
        return None
    signs_of = np.sign(rows).astype(np.int8).reshape(weight.shape)
    return replace(op, weights=dtype, levels=op.weights), signs_of, levels.astype(op.weights.numpy)


def unpack(graph: Graph) -> Graph:
    """The same network, to the last bit, with int8 or float weights where `pack` would make ternary or binary ones."""
    arrays, made_of, nodes = graph.arrays, sources(graph), list[Node]()
    for node in graph.nodes:
        op = node.op
        values = (node.type.dtype, *(value.dtype for value in graph.input_types(node)))
        if has_weights(op) and op.weights in _LOW and not {DType.BINARY, DType.I32} & set(values):
            wide = DType.F32 if op.real else DType.I8
            key, levels = f"{node.name}.weight", f"{node.name}.levels"
            made_of[key] = (made_of[key], made_of.pop(levels, None))
            if graph.params:
                weight = real_weights(graph, node, op) if op.real else stored_weights(graph, node, op)[0]
                arrays[key] = weight.astype(wide.numpy)
                arrays.pop(levels, None)
            node = replace(node, op=replace(op, weights=wide, levels=None))
        nodes.append(node)
    shared = ties(made_of)
    params = {key: array for key, array in arrays.items() if key not in shared}
    return replace(graph, nodes=tuple(nodes), params=params, shared=shared)


def _level(rows: Doubles, sign: int) -> Doubles:
    """Magnitude of the values of this sign in each row: 0 where there is none, NaN where there are several."""
    there = sign * rows > 0
    most = np.where(there, sign * rows, 0).max(1)
    least = np.where(there, sign * rows, np.inf).min(1)
    return np.where(there.any(1) & (least != most), np.nan, most)


def census(graph: Graph, layers: Sequence[str] | None = None) -> TernaryReport:
    """Counts a network with weights whose `layers` are ternary (by default those found, or declared by their type)."""
    if layers is None:
        low = (node for node in graph.nodes if has_weights(node.op) and node.op.weights in _LOW)
        found = [f"{node.name}.weight" for node in low]
        chosen = set(ternary_tensors(graph)) | set(found)
    else:
        chosen = {f"{name}.weight" for name in layers}
    chosen = {graph.shared.get(name, name) for name in chosen}
    arrays = {
        f"{node.name}.{param.name}": graph.param(node, param.name)
        for node in graph.nodes
        for param in graph.own_params(node)
        if param.name not in ("mean", "variance", "weight_scale", "weight_zero_point", "levels")
    }
    ternary = [np.sign(array.astype(np.float32)) for name, array in arrays.items() if name in chosen]
    return TernaryReport(
        len(ternary),
        len(arrays) - len(ternary),
        sum(array.size for array in ternary),
        sum(int((array == 1).sum()) for array in ternary),
        sum(int((array == 0).sum()) for array in ternary),
        sum(int((array == -1).sum()) for array in ternary),
        sum(array.size for name, array in arrays.items() if name not in chosen),
    )


_LOW = (DType.TERNARY, DType.BINARY)


def ternary_tensors(graph: Graph) -> list[str]:
    """Names of the convolutions' weights that hold at most one negative value, zero, and one positive value.

    Trained ternary quantisation (Zhu et al. 2016, arXiv:1612.01064) leaves such tensors. Raises GraphError for a
    network without weights.
    """
    convs = [node for node in graph.nodes if has_weights(node.op)]
    arrays = {graph.key(node, "weight"): graph.param(node, "weight") for node in convs}
    return [key for key, array in arrays.items() if _ternary(array)]


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
        key = graph.shared.get(name, name)
        if key not in params:
            raise GraphError(f"{graph.name}: must have an array {name}, got none")
        params[key] = np.sign(params[key])
    return replace(graph, params=params)
