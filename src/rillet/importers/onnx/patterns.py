"""Pattern matching: functions that a file composes of several operators become one op."""

import math
from collections.abc import Callable
from dataclasses import replace

from rillet.importers.onnx.draft import Draft
from rillet.importers.onnx.file import shortest
from rillet.ir.functions import Curve
from rillet.ir.graph import Node
from rillet.ir.ops import Activate, Activation, Add, Apply, Constant, Conv, Multiply, Op, Pad, Pool
from rillet.ir.types import DType

INNER = "/linear"
"""What Rillet's exporter adds to the name of an operation whose activation is an operator of its own."""
Sides = tuple[int, int, int, int]
_GATES = {Activation.HARD_SIGMOID: Activation.HARD_SWISH, Activation.SIGMOID: Activation.SILU}


def join(draft: Draft) -> None:
    """Replaces what is spelled out: hard-sigmoid, hard-swish, SiLU, and the bias behind a matrix product."""
    for name in list(draft.nodes):
        node = draft.nodes.get(name)
        for rule in _RULES:
            if node is not None and rule(draft, node):
                node = draft.nodes.get(name)


def _by_its_gate(draft: Draft, node: Node) -> bool:
    """A value times its own gate: x * hard_sigmoid(x), x * sigmoid(x)."""
    if node.op != Multiply():
        return False
    for source, gate in (node.inputs, node.inputs[::-1]):
        op = draft.nodes[gate].op
        gated = isinstance(op, Activate) and draft.nodes[gate].inputs == (source,) and draft.alone(gate)
        if isinstance(op, Activate) and gated and op.activation in _GATES:
            draft.replace(node.name, Activate(_GATES[op.activation]), (source,))
            return True
    return False


def _sixth(draft: Draft, node: Node) -> bool:
    """A gate by hand: relu6(x + 3) / 6, and x * relu6(x + 3) / 6."""
    if node.op != Multiply() or not _is(draft, node.inputs[1], 1 / 6) or not draft.alone(node.inputs[0]):
        return False
    inner = draft.source(node)
    source = _shifted(draft, inner)
    if source is not None:
        draft.replace(node.name, Activate(Activation.HARD_SIGMOID), (source,))
        return True
    if inner.op != Multiply():
        return False
    for source, gate in (inner.inputs, inner.inputs[::-1]):
        if draft.alone(gate) and _shifted(draft, draft.nodes[gate]) == source:
            draft.replace(node.name, Activate(Activation.HARD_SWISH), (source,))
            return True
    return False


def _spelled(draft: Draft, node: Node) -> bool:
    """What is written in several operators: GELU by its error function or by tanh, Mish, a swish of any slope."""
    if node.op != Multiply():
        return False
    for source, gate in (node.inputs, node.inputs[::-1]):
        made = _gated(draft, source, gate) if draft.alone(gate) else None
        if made is not None:
            draft.replace(node.name, made, (source,))
            return True
    if _is(draft, node.inputs[1], 0.5) and draft.alone(node.inputs[0]) and draft.source(node).op == Multiply():
        inner = draft.source(node)
        for source, gate in (inner.inputs, inner.inputs[::-1]):
            made = _half(draft, source, gate) if draft.alone(gate) else None
            if made is not None:
                draft.replace(node.name, made, (source,))
                return True
    return False


def _gated(draft: Draft, source: str, gate: str) -> Apply | None:
    """What a value times a gate of its own is: the gate is tanh(softplus(x)) or sigmoid(a x)."""
    node = draft.nodes[gate]
    before = draft.source(node) if node.op in (Apply(Curve.TANH), Activate(Activation.SIGMOID)) else None
    if before is None or not draft.alone(before.name):
        return None
    if node.op == Apply(Curve.TANH):
        plain = before.op == Apply(Curve.SOFTPLUS, 1.0) and before.inputs == (source,)
        return Apply(Curve.MISH) if plain else None
    slope = _number(draft, before.inputs[1]) if before.op == Multiply() and before.inputs[0] == source else None
    return None if slope is None else Apply(Curve.SWISH, slope)


def _half(draft: Draft, source: str, gate: str) -> Apply | None:
    """The function that is half of x times this gate: 1 + erf(x / sqrt(2)), or 1 + tanh(sqrt(2 / pi) (x + c x^3))."""
    node = draft.nodes[gate]
    if node.op != Add() or not _is(draft, node.inputs[1], 1.0) or not draft.alone(node.inputs[0]):
        return None
    inner = draft.source(node)
    if inner.op not in (Apply(Curve.ERF), Apply(Curve.TANH)) or not draft.alone(inner.inputs[0]):
        return None
    scaled = draft.source(inner)
    by_tanh = inner.op == Apply(Curve.TANH)
    if scaled.op != Multiply() or not _is(draft, scaled.inputs[1], math.sqrt((2 / math.pi) if by_tanh else 0.5)):
        return None
    if not by_tanh:
        return Apply(Curve.GELU) if scaled.inputs[0] == source else None
    total = draft.source(scaled)
    if total.op != Add() or not draft.alone(total.name) or source not in total.inputs:
        return None
    small = draft.nodes[total.inputs[1 - total.inputs.index(source)]]
    if small.op != Multiply() or not _is(draft, small.inputs[1], 0.044715) or not draft.alone(small.inputs[0]):
        return None
    return Apply(Curve.GELU_TANH) if _cubes(draft, draft.source(small), source) else None


def _cubes(draft: Draft, node: Node, source: str) -> bool:
    """True for x^3, as a power or as products."""
    if node.op == Apply(Curve.POWER, 3.0):
        return node.inputs == (source,)
    if node.op != Multiply() or source not in node.inputs:
        return False
    square = draft.nodes[node.inputs[1 - node.inputs.index(source)]]
    return square.op == Multiply() and square.inputs == (source, source) and draft.alone(square.name)


def _shifted(draft: Draft, node: Node) -> str | None:
    """The x of relu6(x + 3), None for anything else."""
    if node.op != Activate(Activation.RELU6) or not draft.alone(node.inputs[0]):
        return None
    inner = draft.source(node)
    return inner.inputs[0] if inner.op == Add() and _is(draft, inner.inputs[1], 3.0) else None


def _is(draft: Draft, name: str, value: float) -> bool:
    """True for a constant that is `value` throughout."""
    found = _number(draft, name)
    return found is not None and math.isclose(found, value, rel_tol=1e-6)


def _number(draft: Draft, name: str) -> float | None:
    """The number that a constant is throughout, None for any other value."""
    node = draft.nodes[name]
    if not isinstance(node.op, Constant) or node.type.dtype is not DType.F32:
        return None
    value = draft.params[name]["value"].reshape(-1)
    return shortest(value[0]) if (value == value[0]).all() else None


def _bias(draft: Draft, node: Node) -> bool:
    """A constant added to a matrix product."""
    if node.op != Add() or node.inputs[0] not in draft.products or not draft.alone(node.inputs[0]):
        return False
    product, constant = draft.source(node), draft.source(node, 1)
    if not isinstance(product.op, Conv) or not isinstance(constant.op, Constant) or constant.shape.pixels > 1:
        return False
    if constant.type.dtype is not DType.F32:
        return False
    value = draft.params[constant.name]["value"]
    params = {**draft.params.get(product.name, {}), "bias": value.reshape(-1)}
    draft.follows(params["bias"], draft.origin(value))
    stored = draft.stored.get(product.name)
    draft.replace(node.name, replace(product.op, bias=True), product.inputs, params=params)
    if stored is not None:
        draft.stored[node.name] = stored
    return True


_RULES: tuple[Callable[[Draft, Node], bool], ...] = (_by_its_gate, _sixth, _spelled, _bias)


def fold_pads(draft: Draft) -> None:
    """Makes a Pad that convolutions alone read the padding of these, and two Pads in a row one."""
    others = {n for node in draft.nodes.values() if not isinstance(node.op, Conv | Pad) for n in node.inputs}
    others.update(draft.outputs)
    for node in list(draft.nodes.values()):
        pad = draft.source(node) if isinstance(node.op, Pad | Conv) else node
        if not isinstance(pad.op, Pad):
            continue
        if isinstance(node.op, Pad) and draft.alone(pad.name):
            draft.replace(node.name, Pad(_sum(pad.op.padding, node.op.padding)), pad.inputs)
        elif isinstance(node.op, Conv) and not node.op.dense and pad.name not in others:
            window = replace(node.op.window, padding=_sum(pad.op.padding, node.op.window.padding))
            draft.replace(node.name, replace(node.op, window=window), pad.inputs)


def _sum(inner: Sides, outer: Sides) -> Sides:
    return inner[0] + outer[0], inner[1] + outer[1], inner[2] + outer[2], inner[3] + outer[3]


def fuse(draft: Draft) -> None:
    """Fuses activations that Rillet's exporter took apart, by the names it gave."""
    for name in list(draft.nodes):
        node = draft.nodes[name]
        if not isinstance(node.op, Activate) or node.inputs != (name + INNER,) or not draft.alone(name + INNER):
            continue
        made = with_activation(draft.source(node).op, node.op.activation)
        if made is not None:
            source = draft.source(node)
            stored = draft.stored.get(source.name)
            draft.replace(name, made, source.inputs, params=draft.params.get(source.name))
            if stored is not None:
                draft.stored[name] = stored


def with_activation(op: Op, activation: Activation) -> Op | None:
    """The op with a clamp fused into it, None where it cannot have one or has one."""
    if isinstance(op, Conv | Add | Multiply | Pool) and op.activation is Activation.NONE and activation.clamp:
        return replace(op, activation=activation)
    return None
