"""Converts a draft's float32 operations between DequantizeLinear and QuantizeLinear to integer ones.

An operation without an integer form in the graph stays in float32, as in the file.
"""

from dataclasses import replace

import numpy as np

from rillet.importers.onnx.draft import Draft
from rillet.importers.onnx.patterns import with_activation
from rillet.ir.graph import Array, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    Concat,
    Conv,
    DepthToSpace,
    Multiply,
    Op,
    Pad,
    Pair,
    PairKind,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
)
from rillet.ir.types import DType, Quant, TensorType

MAX_SOFTMAX_CHANNELS = 4095
"""So that the sum of exponentials fits 32 bits."""
_UNIT = {DType.I8: Quant(1 / 256, -128), DType.U8: Quant(1 / 256, 0)}
"""The quantisation that results between 0 and 1 must have."""
_SAME_SCALE = 1e-5
"""How far the scale of a bias may be from the product of the scales of input and weights."""


def join(draft: Draft) -> None:
    """Turns each quantised result of dequantised values into one integer operation."""
    renamed: dict[str, str] = {}
    for name in list(draft.nodes):
        if name not in draft.nodes:
            continue
        node = draft.rename_reads(draft.nodes[name], renamed)
        if isinstance(node.op, ArgMax) and _dequantized(draft, draft.source(node)):
            draft.replace(name, node.op, draft.source(node).inputs)  # a scale changes no order
        if not isinstance(node.op, Requantize) or node.type.quant is None:
            continue
        source = draft.source(node)
        if _dequantized(draft, source):
            _again(draft, node, source, renamed)
        elif source.type.quant is None and draft.alone(source.name):
            _join(draft, node, source)
    draft.set_outputs([renamed.get(name, name) for name in draft.outputs])
    draft.sort()


def _dequantized(draft: Draft, node: Node) -> bool:
    return isinstance(node.op, Requantize) and node.type.quant is None and draft.source(node).type.quant is not None


def _again(draft: Draft, node: Node, real: Node, renamed: dict[str, str]) -> None:
    """Dequantised and quantised again: nothing, or one Requantize."""
    source = draft.source(real)
    if source.type != node.type:
        draft.replace(node.name, Requantize(), (source.name,))
    else:
        renamed[node.name] = source.name


def _join(draft: Draft, node: Node, real: Node) -> None:
    """One integer operation for `real`, or for what a clamp in `real` follows, if there is one."""
    if isinstance(real.op, Activate) and draft.alone(real.inputs[0]):
        before = draft.source(real)
        made = with_activation(before.op, real.op.activation)
        if made is not None and _put(draft, node, before, made):
            return
    _put(draft, node, real, real.op)


def _put(draft: Draft, node: Node, real: Node, op: Op) -> bool:
    reals = [draft.source(real, i) for i in range(len(real.inputs))]
    if not reals or not all(_dequantized(draft, source) for source in reals):
        return False
    sources = [draft.source(source) for source in reals]
    out = node.type
    if any(source.type.dtype is not out.dtype for source in sources):
        return False
    params: dict[str, Array] = {}
    made: Op | None = None
    match op:
        case Conv():
            made, params = _conv(draft, real, op, sources[0].type)
        case Add() | Multiply():
            made = op
        case Activate(activation=activation):
            made = op if _has_rule(activation, out) else replace(op, rounding=Rounding.SHIFT)
        case Apply():
            made = replace(op, rounding=Rounding.SHIFT)
        case Softmax():
            made = op if out.quant == _UNIT[out.dtype] and real.shape.channels <= MAX_SOFTMAX_CHANNELS else None
        case Pool():
            made = _pool(op, sources[0], out)
        case Pair(kind=kind):
            same = all(source.type.quant == out.quant for source in sources)
            made = op if kind is PairKind.PRELU or (same and kind is not PairKind.DIVIDE) else None
        case Slice() | Select() | DepthToSpace() | SpaceToDepth() | Pad() | Resize():
            made = op if sources[0].type.quant == out.quant else None
        case Concat():
            made = op
            if out.dtype is DType.I8:  # int8 parts must have the quantisation of the whole
                sources = [_requantized(draft, node, source) for source in sources]
        case _:
            pass
    if made is None:
        return False
    draft.replace(node.name, made, tuple(source.name for source in sources), params=params)
    return True


def _has_rule(activation: Activation, out: TensorType) -> bool:
    """True where LiteRT has an integer rule; else the exact result, rounded half to even, is what ONNX means."""
    if activation is Activation.SIGMOID:
        return out.dtype is DType.I8 and out.quant == _UNIT[DType.I8]
    return activation is Activation.HARD_SWISH or activation.clamp is not None


def _pool(op: Pool, source: Node, out: TensorType) -> Op | None:
    """An average of another scale is a mean, which is taken over all pixels."""
    if op.kind is PoolKind.MEAN or (op.kind is PoolKind.AVERAGE and source.type.quant != out.quant):
        return replace(op, kind=PoolKind.MEAN) if op.window.covers(source.shape) else None
    return op if source.type.quant == out.quant else None


def _requantized(draft: Draft, before: Node, source: Node) -> Node:
    kind = replace(source.type, quant=before.type.quant)
    if source.type == kind:
        return source
    name = f"{source.name}/requantized"
    if name not in draft.nodes or draft.nodes[name].type != kind:
        name = draft.fresh(name)
        draft.add(Node(name, Requantize(), (source.name,), kind))
    return draft.nodes[name]


def _conv(draft: Draft, real: Node, op: Conv, source: TensorType) -> tuple[Op | None, dict[str, Array]]:
    stored = draft.stored.get(real.name)
    if stored is None or source.quant is None:
        return None, {}
    params: dict[str, Array] = {"weight": stored.weight, "weight_scale": stored.scale}
    if stored.dtype is DType.U8:
        params["weight_zero_point"] = np.array([stored.zero], np.int32)
        draft.follows(params["weight_zero_point"], draft.origin(stored.weight))
    if op.bias:
        steps = source.quant.scale * stored.scale.astype(np.float64)
        same = stored.bias_scale is not None and np.allclose(stored.bias_scale, steps, rtol=_SAME_SCALE, atol=0.0)
        if stored.bias is not None and same:
            params["bias"] = stored.bias
        else:
            given = draft.params[real.name]["bias"]
            bias = np.rint(given.astype(np.float64) / steps)
            if not (np.abs(bias) < 2**31).all():
                return None, {}
            params["bias"] = bias.astype(np.int32)
            draft.follows(params["bias"], draft.origin(given))
    # Rounding once comes nearest to exact arithmetic, which is what ONNX means (docs/onnx.md).
    return replace(op, weights=stored.dtype, rounding=Rounding.SINGLE), params


def sink(draft: Draft) -> bool:
    """Lets operations that only move values work on integers, and dequantises behind; True where there were any."""
    found = False
    for name in list(draft.nodes):
        node = draft.nodes[name]
        maximum = isinstance(node.op, Pool) and node.op.kind is PoolKind.MAX and node.op.activation is Activation.NONE
        if not maximum and not isinstance(
            node.op, Slice | Select | DepthToSpace | SpaceToDepth | Pad | Resize | Concat
        ):
            continue
        reals = [draft.source(node, i) for i in range(len(node.inputs))]
        if not all(_dequantized(draft, real) for real in reals):
            continue
        sources = [draft.source(real) for real in reals]
        if len({(source.type.dtype, source.type.quant) for source in sources}) > 1:
            continue
        kind = replace(sources[0].type, shape=node.shape)
        made = Node(draft.fresh(f"{name}/stored"), node.op, tuple(source.name for source in sources), kind)
        draft.add(made)
        draft.replace(name, Requantize(), (made.name,))
        found = True
    draft.sort()
    return found
