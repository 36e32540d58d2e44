"""Another runtime's values against the reference, node by node: each node computes from what the runtime itself read.

So errors do not accumulate with depth: where every node is right up to its own rounding all agree, and a wrong kernel
is named. Integers agree to the step, or within `steps`; float32 values within the rounding that float32 may have there
(rounding.py).
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from rillet.arithmetic import bf16
from rillet.arithmetic.convolution import stored_weights
from rillet.backends import reference
from rillet.ir.facts import has_weights, is_argmax, is_given, is_input
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.inputs import Inputs, by_input
from rillet.ir.ops import Activate, Conv, Pool, op_name
from rillet.runtime.rounding import Floats, bound

SHARES = {
    "conv single": 0.0001,
    "conv double": 0.05,
    "dense single": 0.001,
    "dense double": 0.05,
    "mean": 0.25,
    "average": 0.15,
    "multiply": 0.01,
    "hard_swish": 0.01,
    "softmax": 0.01,
    "add": 0.001,
    "concat": 0.001,
    "requantize": 0.05,
    "relu": 0.05,
    "relu6": 0.05,
    "relu_n1_to_1": 0.05,
}
"""Share of integers that ONNX Runtime may make one step larger or smaller, by kind of node; none of other kinds."""


_HALF = 1e-4
"""How near to a half, in steps, float32 no longer tells on which side a sum lies."""


@dataclass(frozen=True)
class Place:
    """The first difference of a node's value."""

    node: str
    at: tuple[int, int, int]
    expected: float
    got: float
    kind: str = ""


@dataclass
class Agreement:
    """Results of the comparison so far, over all inputs."""

    graph: Graph
    steps: int = 0
    """Tolerance of integers, in quantisation steps."""
    bf16: frozenset[str] = frozenset()
    """Nodes whose weights, and what they read, are rounded to bfloat16 before they are multiplied."""
    used: float = 0.0
    """The greatest error of a float32 value, as a fraction of its bound."""
    counts: Counter[str] = field(default_factory=Counter[str])
    """Integers compared, by kind of node."""
    off: Counter[str] = field(default_factory=Counter[str])
    """Of these, integers that differed by a step."""
    first: dict[str, Place] = field(default_factory=dict[str, Place])
    """The first of these of each kind."""

    def compare(self, image: Inputs, seen: Mapping[str, Array]) -> Place | None:
        """Compares what a runtime made of an image, or one array an input, by node; the first place that is wrong.

        A node whose value the runtime does not show is computed here from the nodes before it, and how far it may be
        off is carried along.
        """
        values, given = dict[str, Array](), by_input(self.graph, image)
        errors: dict[str, Floats] = {}
        for node in self.graph.nodes:
            graph, read, off = self.graph, values, errors
            if node.name in self.bf16:
                graph, read, off = self._narrow, *_narrowed(node, values, errors)
            expected = _expected(graph, node, read, given)
            real = node.type.quant is None and not is_given(node.op)
            allowed = bound(graph, node, read, off) if real else None
            got = seen.get(node.name)
            if got is None or is_given(node.op):
                values[node.name] = expected
                if allowed is not None:
                    errors[node.name] = np.broadcast_to(allowed, expected.shape)
                continue
            got = got.reshape(expected.shape)
            if allowed is not None:
                wrong = self._real(expected, got, allowed)
            elif is_argmax(node.op):
                wrong = _misplaced(got, expected, values[node.inputs[0]], errors.get(node.inputs[0]))
            else:
                # What is rounded to integers may be a step off where it was off before.
                steps = max(self.steps, int(any(name in errors for name in node.inputs)))
                wrong = self._integers(node, expected, got, steps, values)
            if wrong is not None:
                return Place(node.name, wrong, float(expected[wrong]), float(got[wrong]))
            values[node.name] = got if allowed is None else got.astype(np.float64)
        return None

    def excess(self) -> Place | None:
        """A place of the kind of node of whose integers too many were a step off, None where all is as it must be."""
        for kind, off in self.off.items():
            share = SHARES.get(kind, 0.0) * self.counts[kind]
            if off > share + 4 * math.sqrt(share) + 1:  # of few values more may be off
                return self.first[kind]
        return None

    @cached_property
    def _narrow(self) -> Graph:
        """The graph with the weights of those nodes rounded."""
        keys = {self.graph.key(self.graph.by_name[name], "weight") for name in self.bf16}
        params = {key: bf16.rounded(self.graph.params[key]) for key in keys}
        return replace(self.graph, params={**self.graph.params, **params})

    def _real(self, expected: Array, got: Array, allowed: Floats) -> tuple[int, int, int] | None:
        off = np.abs(expected.astype(np.float64) - got.astype(np.float64))
        # Written so that a NaN is a difference.
        wrong = np.argwhere(~(off <= allowed))
        if len(wrong):
            return _place(wrong[0])
        self.used = max(self.used, float((off / np.maximum(allowed, 1e-300)).max()))
        return None

    def _integers(
        self, node: Node, expected: Array, got: Array, steps: int, values: Mapping[str, Array]
    ) -> tuple[int, int, int] | None:
        off = np.abs(expected.astype(np.int64) - got.astype(np.int64))
        if off.max() > steps:
            return _place(np.argwhere(off > steps)[0])
        if off.any() and has_weights(node.op) and not node.op.real:
            off = np.where(_halves(self.graph, node, node.op, values), 0, off)
        name = kind(node)
        self.counts[name] += off.size
        self.off[name] += int(off.sum())
        if off.any() and name not in self.first:
            at = _place(np.argwhere(off)[0])
            self.first[name] = Place(node.name, at, float(expected[at]), float(got[at]), name)
        return None


def _misplaced(got: Array, expected: Array, read: Array, off: Floats | None) -> tuple[int, int, int] | None:
    """Where a place of a greatest channel is another than that of what was read; or where that was not seen, but may be
    so far `off`, one whose value cannot have been the greatest.
    """
    wrong = got != expected
    if off is not None:
        places, values = got.astype(np.int64), read.astype(np.float64)
        known = (places >= 0) & (places < values.shape[-1])
        most = (values - off).max(-1, keepdims=True)
        wrong &= ~known | (np.take_along_axis(values + off, np.where(known, places, 0), -1) < most)
    return _place(np.argwhere(wrong)[0]) if wrong.any() else None


def _expected(graph: Graph, node: Node, values: Mapping[str, Array], inputs: Mapping[str, Array]) -> Array:
    if is_input(node.op):
        array = inputs[node.name]
        return array if node.type.quant is not None else array.astype(np.float64)
    return reference.node_value(graph, node, values)


def _narrowed(
    node: Node, values: Mapping[str, Array], errors: Mapping[str, Floats]
) -> tuple[Mapping[str, Array], Mapping[str, Floats]]:
    """What a node reads, rounded to bfloat16, and how far that may be off where it was computed."""
    read = {name: bf16.rounded(values[name].astype(np.float32)).astype(np.float64) for name in node.inputs}
    off = {name: errors[name] for name in node.inputs if name in errors}
    return read, {name: o + 2 * bf16.UNIT * (np.abs(read[name]) + o) for name, o in off.items()}


def _halves(graph: Graph, node: Node, op: Conv, values: Mapping[str, Array]) -> Array:
    """Where the exact result of an integer convolution lies half way between two steps: ONNX takes the even one."""
    source, out = graph.by_name[node.inputs[0]].type.quant, node.type.quant
    assert source is not None and out is not None
    weight, zero = stored_weights(graph, node, op)
    centred = values[node.inputs[0]].astype(np.float64) - source.zero_point
    sums = reference.convolve(centred, (weight - zero).astype(np.float64), op)
    if op.bias:
        sums = sums + graph.param(node, "bias").astype(np.float64)
    steps = sums * (source.scale * graph.param(node, "weight_scale").astype(np.float64) / out.scale)
    return np.abs(steps - np.floor(steps) - 0.5) <= _HALF


def kind(node: Node) -> str:
    """What SHARES calls a node."""
    match node.op:
        case Conv(dense=dense, rounding=rounding):
            return f"{'dense' if dense else 'conv'} {rounding.value}"
        case Pool(kind=pool):
            return pool.value
        case Activate(activation=activation):
            return activation.value
        case _:
            return op_name(node.op)


def _place(index: Array) -> tuple[int, int, int]:
    return int(index[0]), int(index[1]), int(index[2])
