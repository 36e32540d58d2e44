"""Counts a network: operations, parameters, activations and bytes, under the conventions that people publish."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from rillet.errors import GraphError
from rillet.ir.facts import has_weights, is_batch_norm, is_constant, is_function, is_given, is_input
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Interpolate,
    Multiply,
    Pad,
    Pair,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
    op_name,
)
from rillet.ir.types import Shape
from rillet.system.record import Record
from rillet.transforms.fold import fold, without_weights


class Convention(Enum):
    """What counts as an operation and as a parameter."""

    MACS = "macs"
    """Multiply-accumulates of convolutions and dense layers, and what is trained."""
    THOP_2020 = "thop-2020"
    """As thop 0.0.31 (2020): biases, batch norms (2 a value), average pools too; in Linear n products are 2n - 1."""
    PTHFLOPS = "pthflops"
    """As pytorch-estimate-flops: biases, batch norms and ReLUs (2 a value), additions and products, global pools."""
    SLIM = "slim"
    """MACs; a batch norm has 3 numbers a channel (beta, mean, variance)."""
    KERAS = "keras"
    """MACs; a batch norm has 4 numbers a channel, as `count_params` of Keras."""


_BATCH_NORM_ARRAYS = {
    Convention.MACS: ("gamma", "beta"),
    Convention.THOP_2020: ("gamma", "beta"),
    Convention.PTHFLOPS: ("gamma", "beta"),
    Convention.SLIM: ("beta", "mean", "variance"),
    Convention.KERAS: ("gamma", "beta", "mean", "variance"),
}
_BIAS_BYTES = 4
_NOT_PARAMETERS = ("weight_scale", "weight_zero_point", "levels")


@dataclass(frozen=True, slots=True)
class Layer:
    """One node, or the sum of several."""

    name: str
    kind: str
    block: str
    shape: Shape | None
    """Shape of the result; None for a sum."""
    macs: int
    """Operations under the convention."""
    params: int
    """Those that no earlier layer has too, so that shared ones count once."""
    weights: int
    """Of these, the ones that are kernels, not biases nor batch norms."""
    activations: int
    """Values that come out of convolutions and dense layers."""


@dataclass(frozen=True, slots=True)
class Uncounted:
    """A kind of work that the convention leaves out."""

    what: str
    nodes: int
    values: int


@dataclass(frozen=True, slots=True, repr=False)
class Count(Record):
    """All counts of a network for one image."""

    name: str
    convention: str
    macs: int
    """Operations under the convention."""
    params: int
    weights: int
    weight_bits: int
    """Bits of a weight and of an activation; those of the network unless others were asked for."""
    weight_bytes: int
    """Batch norms folded: kernels at `weight_bits`, biases at 4 bytes."""
    activations: int
    peak_activation_bytes: int
    """Layer by layer: the most that is alive at once, with activations computed in place."""
    traffic_bytes: int
    """Layer by layer: every weight once, every layer's inputs read and its result written."""
    arithmetic_intensity: float
    """Plain MACs a byte of that traffic; 0 where there is none."""
    macs_per_weight: float
    layers: tuple[Layer, ...]
    uncounted: tuple[Uncounted, ...]
    shared: int = 0
    """Arrays of layers that earlier layers have too, which are counted there."""

    def __repr__(self) -> str:
        what = "MACs" if self.convention == "macs" else f"operations of {self.convention}"
        return f"<Count {self.name}: {self.macs:,} {what}, {self.params:,} parameters, {len(self.layers)} layers>"


def count(graph: Graph, convention: Convention = Convention.MACS, bits: int | None = None) -> Count:
    """Counts `graph`; `bits` replaces the widths of weights and activations in all that is counted in bytes.

    Raises GraphError where bits are not 1 to 32.
    """
    if bits is not None and not 1 <= bits <= 32:
        raise GraphError(f"--bits must be 1 to 32, got {bits}")
    layers = tuple(_layer(graph, node, convention) for node in graph.nodes if not is_input(node.op))
    folded = fold(without_weights(graph))
    weights = sum(layer.weights for layer in layers)
    weight_bytes = _weight_bytes(folded, bits)
    traffic = weight_bytes + sum(
        value_bytes(folded, name, bits)
        for node in folded.nodes
        if not (is_given(node.op) or is_function(node.op))
        for name in (node.name, *node.inputs)
    )
    return Count(
        name=graph.name,
        convention=convention.value,
        macs=sum(layer.macs for layer in layers),
        params=sum(layer.params for layer in layers),
        weights=weights,
        weight_bits=bits or max((_conv_bits(node) for node in graph.nodes), default=32),
        weight_bytes=weight_bytes,
        activations=sum(layer.activations for layer in layers),
        peak_activation_bytes=peak_bytes(folded, bits),
        traffic_bytes=traffic,
        arithmetic_intensity=graph.macs / traffic if traffic else 0.0,
        macs_per_weight=graph.macs / weights if weights else 0.0,
        layers=layers,
        uncounted=_uncounted(graph, convention),
        shared=len(graph.shared),
    )


def _conv_bits(node: Node) -> int:
    return node.op.weights.bits if has_weights(node.op) else 0


def parameters(graph: Graph, node: Node, convention: Convention = Convention.MACS) -> int:
    """Parameters of a node under a convention, but for those that an earlier node has too.

    Scales of a quantisation are none, nor is a constant.
    """
    own = graph.own_params(node)
    if is_constant(node.op):
        return 0
    if is_batch_norm(node.op):
        return sum(_product(param.shape) for param in own if param.name in _BATCH_NORM_ARRAYS[convention])
    return sum(_product(param.shape) for param in own if param.name not in _NOT_PARAMETERS)


def _product(shape: tuple[int, ...]) -> int:
    out = 1
    for n in shape:
        out *= n
    return out


def kind(graph: Graph, node: Node) -> str:
    """What people call the node's work: `depthwise`, `pointwise`, `dense`, `row`, `relu6`, `batch norm`."""
    op = node.op
    match op:
        case Conv():
            source = graph.input_shapes(node)[0]
            rows, columns = op.window.kernel
            if op.dense or (source.pixels > 1 and op.window.covers(source)):
                return "dense"
            if op.groups > 1 and op.depthwise(source):
                if rows != columns and 1 in (rows, columns):
                    return "row" if rows == 1 else "column"
                return "depthwise"
            if op.groups > 1:
                return "grouped"
            return "pointwise" if (rows, columns) == (1, 1) else "standard"
        case BatchNorm():
            return "batch norm"
        case Activate(activation=activation):
            return activation.value
        case Apply(curve=curve):
            return curve.value
        case Pool(kind=pooled):
            covers = op.window.covers(graph.input_shapes(node)[0])
            return f"global {pooled.value} pool" if covers else f"{pooled.value} pool"
        case Add() if op.subtract:
            return "subtract"
        case Pair(kind=pair):
            return pair.value
        case _:
            return op_name(op)


def _layer(graph: Graph, node: Node, convention: Convention) -> Layer:
    op = node.op
    weights = sum(_product(param.shape) for param in graph.own_params(node) if param.name == "weight")
    return Layer(
        name=node.name,
        kind=kind(graph, node),
        block=node.block,
        shape=node.shape,
        macs=operations(graph, node, convention),
        params=parameters(graph, node, convention),
        weights=weights,
        activations=node.shape.elements if has_weights(op) else 0,
    )


def operations(graph: Graph, node: Node, convention: Convention) -> int:
    """Operations of one node for one image under a convention."""
    match convention:
        case Convention.MACS | Convention.SLIM | Convention.KERAS:
            return node.op.macs(graph.input_shapes(node)[0]) if has_weights(node.op) else 0
        case Convention.THOP_2020:
            return _detailed(graph, node)[0]
        case Convention.PTHFLOPS:
            return _detailed(graph, node)[1] + _fused(node, _PTHFLOPS_ACTIVATIONS)
        case _:
            assert_never(convention)


_PTHFLOPS_ACTIVATIONS = {Activation.RELU: 2, Activation.HARD_SWISH: 2, Activation.HARD_SIGMOID: 1}
"""A hard-swish is an addition and a product, a hard-sigmoid an addition; ReLU6 and constant factors cost nothing."""


def _detailed(graph: Graph, node: Node) -> tuple[int, int]:
    """Operations as THOP of 2020 counts them, and as pthflops does, but for those of a fused activation."""
    op, values = node.op, node.shape.elements
    match op:
        case Conv():
            macs, biases = op.macs(graph.input_shapes(node)[0]), values if op.bias else 0
            return (2 * macs - values + biases, macs) if op.dense else (macs + biases, macs + biases)
        case BatchNorm():
            return 2 * values, 2 * values
        case Pool(kind=PoolKind.AVERAGE):
            source = graph.input_shapes(node)[0]
            return (source.elements + values, source.elements) if op.window.covers(source) else (0, 0)
        case Add() | Multiply():
            return 0, values
        case Input() | Constant() | Activate() | Apply() | Pool() | Softmax() | ArgMax():
            return 0, 0
        case Pair() | Requantize():
            return 0, 0
        case Concat() | Slice() | Select() | DepthToSpace() | SpaceToDepth() | Pad() | Resize() | Interpolate():
            return 0, 0
        case _:
            assert_never(op)


def _fused(node: Node, costs: dict[Activation, int]) -> int:
    """What the activation of a node costs, fused or by itself."""
    return costs.get(getattr(node.op, "activation", Activation.NONE), 0) * node.shape.elements


def _uncounted(graph: Graph, convention: Convention) -> tuple[Uncounted, ...]:
    """Work that adds nothing under the convention, by kind: whole nodes, fused activations and biases."""
    nodes, values = Counter[str](), Counter[str]()

    def note(what: str, elements: int) -> None:
        nodes[what] += 1
        values[what] += elements

    detailed = convention in (Convention.THOP_2020, Convention.PTHFLOPS)
    costs = _PTHFLOPS_ACTIVATIONS if convention is Convention.PTHFLOPS else {}
    for node in graph.nodes:
        op, elements = node.op, node.shape.elements
        if is_given(op):
            continue
        if not has_weights(op) and operations(graph, node, convention) == 0:
            note(kind(graph, node), elements)
            continue
        activation = getattr(op, "activation", Activation.NONE)
        if activation is not Activation.NONE and activation not in costs and not is_function(op):
            note(f"fused {activation.value}", elements)
        if has_weights(op) and op.bias:
            dense_only = convention is Convention.PTHFLOPS and op.dense
            if not detailed or dense_only:
                note("bias", elements)
    return tuple(Uncounted(what, nodes[what], values[what]) for what in nodes)


# -- sums ------------------------------------------------------------------------------------------------------------


def by(counted: Count, key: Callable[[Layer], str]) -> tuple[Layer, ...]:
    """The layers summed by a key such as their block or kind, in the order of first appearance."""
    groups: dict[str, list[Layer]] = {}
    for layer in counted.layers:
        groups.setdefault(key(layer), []).append(layer)
    return tuple(
        Layer(
            name=name,
            kind=members[0].kind if len({m.kind for m in members}) == 1 else "",
            block=members[0].block if len({m.block for m in members}) == 1 else "",
            shape=None,
            macs=sum(m.macs for m in members),
            params=sum(m.params for m in members),
            weights=sum(m.weights for m in members),
            activations=sum(m.activations for m in members),
        )
        for name, members in groups.items()
    )


# -- bytes -----------------------------------------------------------------------------------------------------------


def value_bytes(graph: Graph, name: str, bits: int | None = None) -> int:
    """Bytes of a full tensor, packed, at its own width or at `bits`."""
    value = graph.by_name[name].type
    return (value.shape.elements * (bits or value.dtype.bits) + 7) // 8


def _weight_bytes(folded: Graph, bits: int | None) -> int:
    total_bits = 0
    for node in folded.nodes:
        for param in folded.own_params(node):
            if param.name == "weight":
                total_bits += _product(param.shape) * (bits or param.dtype.bits)
            elif param.name == "bias":
                total_bits += _product(param.shape) * 8 * _BIAS_BYTES
            elif param.name == "value":
                total_bits += _product(param.shape) * (bits or param.dtype.bits)
    return (total_bits + 7) // 8


def peak_bytes(folded: Graph, bits: int | None = None) -> int:
    """The most bytes of full tensors alive while one layer runs, as an interpreter that shares nothing needs them."""
    last_use = {name: i for i, node in enumerate(folded.nodes) for name in node.inputs}
    last_use |= {name: len(folded.nodes) for name in folded.outputs}
    alive: dict[str, int] = {}
    peak = 0
    for i, node in enumerate(folded.nodes):
        if is_constant(node.op):
            continue
        if is_function(node.op) and last_use[node.inputs[0]] == i:
            alive.pop(node.inputs[0])  # computed in place
        alive[node.name] = value_bytes(folded, node.name, bits)
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last_use.get(name, -1) > i}
    return peak
