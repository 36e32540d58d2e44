"""Arithmetic with scalars, and the activations that modules compose of it: hard-swish, hard-sigmoid, SiLU, clamps."""

import math

from rillet.importers.axes import Dims
from rillet.importers.torch.builder import Builder, Call, Value
from rillet.importers.torch.drafts import Scale
from rillet.ir.functions import Curve
from rillet.ir.ops import Activate, Activation, Apply, Multiply

_RELU6 = Activate(Activation.RELU6)
_SELF_GATES = {
    Activate(Activation.HARD_SIGMOID): Activation.HARD_SWISH,
    Activate(Activation.SIGMOID): Activation.SILU,
}


def scale(b: Builder, call: Call, value: Value, factor: float, offset: float = 0.0) -> Value:
    """Multiplies and then adds, in one with what was so done before; a hard-sigmoid or hard-swish may end here."""
    source, before = value.draft, b.op(call, value.draft)
    if isinstance(before, Scale):
        source = b.drafts[source].inputs[0]
        factor, offset = factor * before.factor, factor * before.offset + offset
    if (factor, offset) == (1, 0):
        return Value(source, value.dims)
    if _is_scale(Scale(factor, offset), 1 / 6, 0):
        if (gated := _shifted_relu6(b, call, source)) is not None:
            return b.add(call, Activate(Activation.HARD_SIGMOID), [gated], value.dims)
        if isinstance(b.op(call, source), Multiply):
            one, other = b.drafts[source].inputs
            for x, gate in ((one, other), (other, one)):
                if _shifted_relu6(b, call, gate) == x:
                    return b.add(call, Activate(Activation.HARD_SWISH), [x], value.dims)
    return b.add(call, Scale(factor, offset), [source], value.dims)


def multiply(b: Builder, call: Call, left: Value, right: Value, dims: Dims) -> Value:
    """The product of two values, the one that is broadcast second; a value times its own gate is one activation."""
    for x, gate in ((left.draft, right.draft), (right.draft, left.draft)):
        op = b.op(call, gate)
        if op in _SELF_GATES and b.drafts[gate].inputs == (x,):
            return b.add(call, Activate(_SELF_GATES[op]), [x], dims)
        sixth = b.op(call, x)
        if isinstance(sixth, Scale) and _is_scale(sixth, 1 / 6, 0):
            source = b.drafts[x].inputs[0]
            if _shifted_relu6(b, call, gate) == source:
                return b.add(call, Activate(Activation.HARD_SWISH), [source], dims)
    if b.shape(right).pixels > b.shape(left).pixels:
        left, right = right, left
    return b.add(call, Multiply(), [left.draft, right.draft], dims)


def clamp(b: Builder, call: Call, value: Value, low: float, high: float) -> Value:
    """The value within bounds: an activation that is such a clamp, or any other."""
    bounds = (low, high)
    for activation in (Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1):
        if bounds == activation.clamp:
            return b.activate(call, value, activation)
    if not low < high:
        raise b.refuse(call, f"must have a lower bound below the upper one, got {low:g} and {high:g}")
    if bounds == (-math.inf, math.inf):
        return value
    before = b.op(call, value.draft)
    if bounds == (0, 1) and isinstance(before, Scale):
        gate = _is_scale(before, 1 / 6, 0.5)
        made = Activate(Activation.HARD_SIGMOID) if gate else Apply(Curve.RAMP, before.factor, before.offset)
        return b.add(call, made, b.drafts[value.draft].inputs, value.dims)
    return b.add(call, Apply(Curve.CLIP, low, high), [value.draft], value.dims)


def _shifted_relu6(b: Builder, call: Call, name: str) -> str | None:
    """The draft x where `name` is relu6(x + 3)."""
    if b.op(call, name) != _RELU6:
        return None
    shifted = b.drafts[name].inputs[0]
    op = b.op(call, shifted)
    return b.drafts[shifted].inputs[0] if isinstance(op, Scale) and _is_scale(op, 1, 3) else None


def _is_scale(op: Scale, factor: float, offset: float) -> bool:
    """True where numbers written with seven digits mean these."""
    return math.isclose(op.factor, factor, rel_tol=1e-6) and math.isclose(op.offset, offset, rel_tol=1e-6)
