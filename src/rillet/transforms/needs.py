"""Which channels of each value an output byte may depend on, and which others stay because they stand beside them."""

from collections.abc import Mapping
from typing import assert_never

import numpy as np

from rillet.arithmetic.fixed_point import Ints
from rillet.ir.facts import has_weights, is_input
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
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
    Requantize,
    Resize,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
)
from rillet.ir.types import DType
from rillet.transforms.intervals import Interval, Mask, Sums, stored

Masks = dict[str, Mask]


class Reader:
    """A convolution of one group over stored values: which of its input channels it cannot do without."""

    def __init__(self, graph: Graph, node: Node, op: Conv, found: Mapping[str, Interval]) -> None:
        self.sums = Sums(graph, node, op)
        source, result = found[node.inputs[0]], found[node.name]
        self.shares_bias = _shares(graph, node, "bias")
        self.bounds = self.sums.interval(source)
        writable = op.weights is not DType.BINARY and not self.shares_bias and not _shares(graph, node, "weight")
        self.settled: Mask = result.constant & writable
        """Output channels of one value, which a bias alone can make: their weights can be zero."""
        self.constant: Ints = np.where(source.constant, source.low - self.sums.zero_point, 0)
        """What each input channel of one value is, without its zero point; 0 for the others."""
        self.needs: Mask = self._needs(source.constant)
        """For each output channel, the input channels that no bias can stand for."""

    def _needs(self, constant: Mask) -> Mask:
        read = (self.sums.weight[:, self.sums.read] != 0).any(1)
        needs = read & ~constant & ~self.settled[:, None]
        folded = np.flatnonzero(constant & (self.constant != 0))
        if folded.size:
            # What a constant adds must be the same wherever a window lies: padding is another value.
            products = self.sums.weight[:, :, folded] * self.constant[folded]
            places = np.tensordot(products, self.sums.inside.astype(np.int64), (1, 1))
            blocked = (places != places[:, :, :1]).any(2)
            if self.shares_bias:
                blocked |= (places != 0).any(2)
            needs[:, folded] |= blocked & ~self.settled[:, None]
        return needs

    def demands(self, kept: Mask) -> Mask:
        """The input channels that the output channels `kept` need."""
        return np.logical_or.reduce(self.needs[kept], axis=0)

    def added(self, kept: Mask) -> Ints:
        """What constant input channels that are not `kept` add to each sum."""
        gone = np.flatnonzero(~kept & (self.constant != 0))
        place = self.sums.inside[0]
        return (self.sums.weight[:, place][:, :, gone].sum(1) * self.constant[gone]).sum(1)


def readers(graph: Graph, found: Mapping[str, Interval]) -> dict[str, Reader]:
    """Those of a graph, by the name of the convolution."""
    return {
        node.name: Reader(graph, node, node.op, found)
        for node in graph.nodes
        if has_weights(node.op) and node.op.groups == 1 and not opaque(graph, node)
    }


def opaque(graph: Graph, node: Node) -> bool:
    """True where a node makes or reads other values than those of 8 bits and of one, whose channels all stay; but sums
    of a convolution may be any.
    """
    if has_weights(node.op) and node.type.dtype is DType.I32:
        return False
    return any(not stored(value) for value in (node.type, *graph.input_types(node)))


def needed(graph: Graph, reading: Mapping[str, Reader]) -> Masks:
    """For each value the channels that stay; a value without any is not computed at all.

    The least sets such that outputs and inputs are whole, each convolution has the channels it needs, and ops that
    take channels one to one have the same ones on both sides; arrays that layers share keep the same channels in each.
    """
    kept = {node.name: np.zeros(node.shape.channels, np.bool_) for node in graph.nodes}
    for node in graph.nodes:
        if is_input(node.op) or node.name in graph.outputs:
            kept[node.name][:] = True
    shared = _shared(graph, kept)
    while True:
        before = _count(kept)
        for node in reversed(graph.nodes):
            if kept[node.name].any():
                _push(graph, node, kept, reading)
        for pairs in shared:
            _tie(kept, [value for name, value in pairs if kept[name].any()])
        if _count(kept) == before and not _first_channels(graph, kept):
            return kept


def _count(kept: Masks) -> int:
    return sum(int(mask.sum()) for mask in kept.values())


def _first_channels(graph: Graph, kept: Masks) -> bool:
    """Gives a convolution that needs nothing of its input its first channel, for something must be there to read."""
    changed = False
    for node in graph.nodes:
        if has_weights(node.op) and kept[node.name].any() and not kept[node.inputs[0]].any():
            kept[node.inputs[0]][0] = changed = True
    return changed


def _tie(kept: Masks, names: list[str]) -> None:
    """Makes the channels of several values the same."""
    for name in names:
        kept[name] = np.logical_or.reduce([kept[other] for other in names])


def _push(graph: Graph, node: Node, kept: Masks, reading: Mapping[str, Reader]) -> None:
    """Adds what follows from the channels of one node, and of what it reads."""
    if opaque(graph, node):
        for name in (node.name, *node.inputs):
            kept[name][:] = True
        return
    match node.op:
        case Input() | Constant():
            pass
        case Conv(groups=1):
            kept[node.inputs[0]] |= reading[node.name].demands(kept[node.name])
        case Conv(groups=groups):
            _tie_groups(kept, node.name, node.inputs[0], groups)
        case Softmax() | ArgMax() | Select() | DepthToSpace() | SpaceToDepth():
            for name in (node.name, *node.inputs):
                kept[name][:] = True
        case Concat():
            at = 0
            for name in node.inputs:
                part = slice(at, at + len(kept[name]))
                _tie_part(kept, node.name, part, name, slice(None))
                at = part.stop
        case Slice(start=start, stop=stop):
            _tie_part(kept, node.name, slice(None), node.inputs[0], slice(start, stop))
        case Activate() | Apply() | Add() | Multiply() | Pair() | Requantize() | BatchNorm():
            _tie(kept, [node.name, *node.inputs])
        case Pool() | Pad() | Resize() | Interpolate():
            _tie(kept, [node.name, *node.inputs])
        case _:
            assert_never(node.op)


def _tie_part(kept: Masks, left: str, left_part: slice, right: str, right_part: slice) -> None:
    both = kept[left][left_part] | kept[right][right_part]
    kept[left][left_part] = both
    kept[right][right_part] = both


def _tie_groups(kept: Masks, result: str, source: str, groups: int) -> None:
    """Groups stay or go as a whole, for all must have as many channels; a depthwise layer has a channel in each."""
    whole = kept[result].reshape(groups, -1).any(1) | kept[source].reshape(groups, -1).any(1)
    for name in (result, source):
        kept[name] = np.repeat(whole, len(kept[name]) // groups)


def _shares(graph: Graph, node: Node, name: str) -> bool:
    own = f"{node.name}.{name}"
    return own in graph.shared or own in graph.shared.values()


def _shared(graph: Graph, kept: Masks) -> list[list[tuple[str, str]]]:
    """Layers that share an array, and the value of each whose channels the array has: they must be the same in all.

    Layers that lay one array in different ways keep all their channels.
    """
    groups: dict[str, list[tuple[Node, str]]] = {}
    for node in graph.nodes:
        for param in graph.node_params(node):
            if _shares(graph, node, param.name) and param.name != "weight_zero_point":
                groups.setdefault(graph.key(node, param.name), []).append((node, param.name))
    tied: list[list[tuple[str, str]]] = []
    for group in groups.values():
        nodes = [node for node, _ in group]
        tied.append([(node.name, node.name) for node in nodes])
        if group[0][1] == "weight":
            tied.append([(node.name, node.inputs[0]) for node in nodes])
            if (
                len({(graph.input_shapes(node)[0].channels, has_weights(node.op) and node.op.groups) for node in nodes})
                > 1
            ):
                for node in nodes:
                    kept[node.name][:] = kept[node.inputs[0]][:] = True
    return tied
