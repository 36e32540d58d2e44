"""Import of aten operators that draw values together: sums, means, norms, softmaxes, convolutions over channels."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rillet.importers import composed
from rillet.importers.axes import Axis, Dims, axes_of, by_step, laid, length, order_of, parts_of, renamed
from rillet.importers.torch import patterns
from rillet.importers.torch.builder import Builder, Call, Known, Result, Value
from rillet.importers.torch.drafts import Scale
from rillet.importers.torch.operands import pair
from rillet.ir.functions import Curve
from rillet.ir.graph import Array
from rillet.ir.ops import Apply, ArgMax, Conv, Multiply, Op, Pool, PoolKind, Select, Softmax, Window
from rillet.ir.types import Shape


class _Steps:
    """Where the parts of what a graph has as several nodes go."""

    def __init__(self, b: Builder, call: Call) -> None:
        self.b, self.call = b, call

    def make(self, op: Op, inputs: Sequence[str], params: Mapping[str, Array] | None = None) -> str:
        """A draft, and its name."""
        return self.b.add(self.call, op, inputs, params=params).draft

    def shape(self, name: str) -> Shape:
        """Shape of a draft's value."""
        return self.b.drafts[name].shape


# -- over dimensions ---------------------------------------------------------------------------------------------------


def _over(call: Call, rank: int) -> set[int]:
    """The dimensions that a call reduces: those that it names, or all."""
    said = call.get("dim")
    return {dim % rank for dim in ([said] if isinstance(said, int) else said or range(rank))}


def _left(call: Call, dims: Dims, over: set[int]) -> Dims:
    """The layout of a result: reduced dimensions have length 1, or are gone."""
    keep = bool(call.get("keepdim"))
    return tuple(() if i in over else dim for i, dim in enumerate(dims) if keep or i not in over)


def _reduced(
    b: Builder, call: Call, value: Value, over: set[int], along: Callable[[Value, list[Axis]], Value], kind: PoolKind
) -> Value:
    """A value drawn together over its map by a pool, and over parts of its channels by `along`.

    Reduced dimensions stay, with length 1.
    """
    gone = [axis for i in over for axis in value.dims[i]]
    shape, letters = b.shape(value), {axis.of for axis in gone}
    window = Window((shape.height if "H" in letters else 1, shape.width if "W" in letters else 1))
    channels = by_step(axis for axis in gone if axis.of == "C")
    if window.taps > 1 or not channels:
        full = PoolKind.MEAN if window.covers(shape) and kind is not PoolKind.MAX else kind
        made = b.add(call, Pool(full, window), [value.draft])
        value = Value(made.draft, tuple(tuple(a for a in dim if a not in gone or a.of == "C") for dim in value.dims))
    if channels:
        made = along(value, channels)
        names = laid(by_step(axis for axis in parts_of(value.dims) if axis not in channels))
        dims = tuple(tuple(axis for axis in dim if axis not in channels) for dim in value.dims)
        value = Value(made.draft, renamed(dims, names))
    return value


def _sums(b: Builder, call: Call, factor: float, offset: float = 0.0) -> Callable[[Value, list[Axis]], Value]:
    """Sums over parts of the channels, times a factor, plus an offset: convolutions, a group for each that stays."""

    def along(value: Value, gone: list[Axis]) -> Value:
        steps = _Steps(b, call)
        stay = by_step(axis for axis in parts_of(value.dims) if axis not in gone)
        source = _in_order(steps, value, [*stay, *gone])
        return Value(composed.channel_sums(steps, source, length(tuple(stay)), factor, offset), ())

    return along


def _greatest(b: Builder, call: Call) -> Callable[[Value, list[Axis]], Value]:
    def along(value: Value, gone: list[Axis]) -> Value:
        steps = _Steps(b, call)
        stay = by_step(axis for axis in parts_of(value.dims) if axis not in gone)
        return Value(composed.greatest_channel(steps, _in_order(steps, value, [*gone, *stay]), length(tuple(gone))), ())

    return along


def _in_order(steps: _Steps, value: Value, parts: Sequence[Axis]) -> str:
    """The value's draft with its channels in the order in which the parts, the slowest first, run over them."""
    order = order_of(parts)
    if order == tuple(range(steps.shape(value.draft).channels)):
        return value.draft
    return steps.make(Select(order), [value.draft])


def _averaged(b: Builder, call: Call, value: Value, over: set[int], offset: float = 0.0) -> Value:
    """The mean over dimensions, plus an offset where these have channels."""
    channels = math.prod(axis.length for i in over for axis in value.dims[i] if axis.of == "C")
    return _reduced(b, call, value, over, _sums(b, call, 1 / channels, offset), PoolKind.AVERAGE)


def _mean(b: Builder, call: Call) -> Result:
    value = b.value(call, "self")
    over = _over(call, len(value.dims))
    made = _averaged(b, call, value, over)
    return Value(made.draft, _left(call, made.dims, over))


def _summed(b: Builder, call: Call, value: Value, over: set[int]) -> Value:
    """The sum over dimensions."""
    pixels = math.prod(axis.length for i in over for axis in value.dims[i] if axis.of in "HW")
    if pixels == 1:
        return _reduced(b, call, value, over, _sums(b, call, 1.0), PoolKind.AVERAGE)
    count = pixels * math.prod(axis.length for i in over for axis in value.dims[i] if axis.of == "C")
    return patterns.scale(b, call, _averaged(b, call, value, over), count)


def _sum(b: Builder, call: Call) -> Result:
    value = b.value(call, "self")
    over = _over(call, len(value.dims))
    made = _summed(b, call, value, over)
    return Value(made.draft, _left(call, made.dims, over))


def _maximum(b: Builder, call: Call) -> Result:
    value = b.value(call, "self")
    over = _over(call, len(value.dims))
    made = _reduced(b, call, value, over, _greatest(b, call), PoolKind.MAX)
    return Value(made.draft, _left(call, made.dims, over))


def _variance(b: Builder, call: Call, value: Value, over: set[int]) -> Value:
    one, other, dims = pair(b, call, value, patterns.scale(b, call, _averaged(b, call, value, over), -1))
    centred = b.add(call, composed.Add(), [one.draft, other.draft], dims)
    return _averaged(b, call, b.add(call, Multiply(), [centred.draft] * 2, dims), over)


def _var(b: Builder, call: Call) -> Result:
    value = b.value(call, "self")
    over = _over(call, len(value.dims))
    made = _variance(b, call, value, over)
    count = math.prod(length(value.dims[i]) for i in over)
    less = _correction(call)
    if count <= less:
        raise b.refuse(call, f"must be of more values than its correction, got {count}")
    made = patterns.scale(b, call, made, count / (count - less))
    return Value(made.draft, _left(call, made.dims, over))


def _correction(call: Call) -> float:
    if "correction" in call.arguments:
        return 1.0 if call["correction"] is None else float(call["correction"])
    return float(bool(call.get("unbiased")))


def _vector_norm(b: Builder, call: Call) -> Result:
    value, kind = (
        b.value(call, "x" if "x" in call.arguments else "self"),
        call["ord" if "ord" in call.arguments else "p"],
    )
    if kind not in (2, 2.0, None):
        raise b.refuse(call, f"must be the root of squares, got order {kind}")
    over = _over(call, len(value.dims))
    square = b.add(call, Multiply(), [value.draft] * 2, value.dims)
    made = _summed(b, call, square, over)
    made = b.add(call, Apply(Curve.SQRT), [made.draft], made.dims)
    return Value(made.draft, _left(call, made.dims, over))


# -- softmaxes ---------------------------------------------------------------------------------------------------------


def _softmax(b: Builder, call: Call) -> Result:
    value = b.value(call, "self")
    dim = call["dim"] % len(value.dims)
    own = value.dims[dim]
    before = b.op(call, value.draft)
    if own == b.channels(value):
        if isinstance(before, Scale) and before.offset == 0 and before.factor > 0:
            return b.add(call, Softmax(before.factor), b.drafts[value.draft].inputs, value.dims)
        return b.add(call, Softmax(), [value.draft], value.dims)
    steps = _Steps(b, call)
    if own and set(own) == {axis for axis in axes_of(b.shape(value)).values() if axis.of != "C"}:
        made = composed.softmax_of_map(steps, value.draft)
        return patterns.scale(b, call, Value(made, value.dims), 1 / length(own))
    if len(own) != 1 or own[0].of != "C":
        raise b.refuse(call, f"must be over channels or all pixels, got dimension {dim} of {b.described(value)}")
    others = by_step(axis for axis in parts_of(value.dims) if axis != own[0])
    count = length(tuple(others))
    if 2 != own[0].length >= count:  # of two it is one sigmoid
        parts = [*others, own[0]]
        made = composed.softmax_within(steps, _in_order(steps, value, parts), count)
        return Value(made, renamed(value.dims, laid(parts)))
    parts = [own[0], *others]
    made = composed.softmax_of_groups(steps, _in_order(steps, value, parts), own[0].length)
    return Value(made, renamed(value.dims, laid(parts)))


def _log_softmax(b: Builder, call: Call) -> Result:
    made = _softmax(b, call)
    assert isinstance(made, Value)
    return b.add(call, Apply(Curve.LOG), [made.draft], made.dims)


def _argmax(b: Builder, call: Call) -> Result:
    value, dim = b.value(call, "self"), call["dim"]
    over = _over(call, len(value.dims)) if dim is not None or b.shape(value).pixels > 1 else {*range(len(value.dims))}
    if tuple(axis for i in sorted(over) for axis in value.dims[i]) != b.channels(value):
        raise b.refuse(call, f"must be over the channels, got dimension {dim} of {b.described(value)}")
    return Value(b.add(call, ArgMax(), [value.draft]).draft, _left(call, value.dims, over))


# -- norms -------------------------------------------------------------------------------------------------------------


def _scaled(b: Builder, call: Call, made: str, dims: Dims) -> Value:
    """A normalised value times its weight plus its bias, of each channel."""
    gamma, beta = b.array(call, "weight"), b.array(call, "bias")
    gamma = None if gamma is None else gamma.reshape(-1)
    beta = None if beta is None else beta.reshape(-1)
    return Value(composed.scaled(_Steps(b, call), made, gamma, beta), dims)


def _layer_norm(b: Builder, call: Call) -> Result:
    value, count = b.value(call, "input"), len(call["normalized_shape"])
    own = [axis for dim in value.dims[len(value.dims) - count :] for axis in dim]
    if not own or any(axis.of != "C" for axis in own) or by_step(own) != own:
        raise b.refuse(call, f"must be over the channels, got the last {count} dimensions of {b.described(value)}")
    if length(tuple(own)) != b.shape(value).channels:
        raise b.refuse(call, f"must be over all channels, got {b.described(value)}")
    made = composed.normalised_pixels(_Steps(b, call), value.draft, float(call["eps"]))
    return _scaled(b, call, made, value.dims)


def _rms_norm(b: Builder, call: Call) -> Result:
    value, count = b.value(call, "input"), len(call["normalized_shape"])
    if count != 1 or value.dims[-1] != b.channels(value):
        raise b.refuse(call, f"must be over the channels, got the last {count} dimensions of {b.described(value)}")
    steps, channels = _Steps(b, call), b.shape(value).channels
    square = steps.make(Multiply(), [value.draft] * 2)
    epsilon = float(np.finfo(np.float32).eps if call["eps"] is None else call["eps"])
    inverse = steps.make(Apply(Curve.POWER, -0.5), [composed.channel_sums(steps, square, 1, 1 / channels, epsilon)])
    made = steps.make(Multiply(), [value.draft, composed.spread(steps, inverse, channels)])
    gamma = b.array(call, "weight")
    return Value(composed.scaled(steps, made, None if gamma is None else gamma.reshape(-1), None), value.dims)


def _group_norm(b: Builder, call: Call) -> Result:
    value = b.value(call, "input")
    own = value.dims[1]
    others = by_step(axis for axis in parts_of(value.dims) if axis not in own)
    if any(axis.of != "C" for axis in own):
        raise b.refuse(call, f"must have channels as dimension 1, got {b.described(value)}")
    steps, parts = _Steps(b, call), [*own, *others]
    made = composed.normalised_groups(steps, _in_order(steps, value, parts), call["num_groups"], float(call["eps"]))
    gamma, beta = (
        None if array is None else np.repeat(array.reshape(-1), length(tuple(others)))
        for array in (b.array(call, "weight"), b.array(call, "bias"))
    )
    return Value(composed.scaled(steps, made, gamma, beta), renamed(value.dims, laid(parts)))


def _instance_norm(b: Builder, call: Call) -> Result:
    value = b.by_channel(call, b.value(call, "input"))
    if not call["use_input_stats"]:
        raise b.refuse(call, "must use the statistics of its input")
    made = composed.normalised_groups(_Steps(b, call), value.draft, b.shape(value).channels, float(call["eps"]))
    return _scaled(b, call, made, value.dims)


# -- products ----------------------------------------------------------------------------------------------------------


def weighted_sum(b: Builder, call: Call, left: Any, right: Any) -> Value:
    """A product of two computed matrices of which one has a single row or column: a sum of values by their weights.

    Raises Unsupported for others: those are what attention multiplies.
    """
    if not isinstance(left, Value) or not isinstance(right, Value) or min(len(left.dims), len(right.dims)) < 2:
        raise b.refuse(call, "must multiply by a constant matrix, or two computed values")
    if left.dims[-2] and right.dims[-1]:
        got = f"{b.described(left)} by {b.described(right)}"
        raise b.refuse(call, f"multiplies two computed matrices, as attention does, which a graph has no op for: {got}")
    # Rows of the first as they stand, columns of the second in their place: the sum is over the last dimension.
    turned = Value(right.draft, (*right.dims[:-2], right.dims[-1], right.dims[-2]))
    one, other, dims = pair(b, call, left, turned)
    if b.shape(other).pixels > b.shape(one).pixels:
        one, other = other, one
    product = b.add(call, Multiply(), [one.draft, other.draft], dims)
    made = _summed(b, call, product, {len(dims) - 1})
    rows = made.dims[-2]
    if right.dims[-1]:
        return Value(made.draft, (*made.dims[:-2], (), rows))
    return made


def _conv1d(b: Builder, call: Call) -> Result:
    value, weight, bias = b.value(call, "input"), b.array(call, "weight"), b.array(call, "bias")
    assert weight is not None
    stride, padding, gap = (call[name] for name in ("stride", "padding", "dilation"))
    step, gap = (each if isinstance(each, int) else each[0] for each in (stride, gap))
    kernel = weight.shape[2]
    if isinstance(padding, str):
        total = (kernel - 1) * gap if padding == "same" else 0
        before, after = total // 2, total - total // 2
    else:
        before = after = padding if isinstance(padding, int) else padding[0]
    if len(value.dims) != 3:
        raise b.refuse(call, f"must read 1xCxL, got {b.described(value)}")
    _, channels, along = value.dims
    if not channels and along == b.channels(value) and along and weight.shape[:2] == (1, 1) and (step, gap) == (1, 1):
        count = along[0].length + before + after - kernel + 1
        number = None if bias is None else float(bias[0])
        made = composed.over_channels(_Steps(b, call), value.draft, weight.reshape(-1), before, count, number)
        return Value(made, ((), (), (Axis("C", count),) if count > 1 else ()))
    letter = along[0].of if along else "W"
    if channels != b.channels(value) or len(along) > 1 or letter == "C":
        raise b.refuse(call, f"must read 1xCxL, or the channels as 1x1xC, got {b.described(value)}")
    down = letter == "H"

    def both(this: int, other: int) -> tuple[int, int]:
        return (this, other) if down else (other, this)

    border = (before, after, 0, 0) if down else (0, 0, before, after)
    window = Window(both(kernel, 1), both(step, 1), border, both(gap, 1))
    params = {"weight": np.ascontiguousarray(weight.transpose(0, 2, 1).reshape(len(weight), *window.kernel, -1))}
    if bias is not None:
        params["bias"] = bias
    out = b.add(call, Conv(len(weight), window, call["groups"], bias=bias is not None), [value.draft], params=params)
    axes = axes_of(b.shape(out))
    places = ((axes[a],) if a in axes else () for a in ("C", letter))
    return Value(out.draft, ((), *places))


def _addcmul(b: Builder, call: Call) -> Result:
    product = _product_of(b, call, call["tensor1"], call["tensor2"])
    product = product if call["value"] == 1 else patterns.scale(b, call, product, float(call["value"]))
    one, other, dims = pair(b, call, call["self"], product)
    if b.shape(other).pixels > b.shape(one).pixels:
        one, other = other, one
    return b.add(call, composed.Add(), [one.draft, other.draft], dims)


def _product_of(b: Builder, call: Call, left: Any, right: Any) -> Value:
    if isinstance(left, Known) and isinstance(right, Known):
        raise b.refuse(call, "must multiply a computed value")
    return patterns.multiply(b, call, *pair(b, call, left, right))


HANDLERS: dict[str, Callable[[Builder, Call], Result]] = {
    "addcmul": _addcmul,
    "amax": _maximum,
    "argmax": _argmax,
    "conv1d": _conv1d,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "linalg_vector_norm": _vector_norm,
    "log_softmax": _log_softmax,
    "mean": _mean,
    "norm": _vector_norm,
    "rms_norm": _rms_norm,
    "softmax": _softmax,
    "sum": _sum,
    "var": _var,
}
NOTES: dict[str, tuple[str, str]] = {
    "addcmul": ("multiply and add", "as these"),
    "amax": ("pool, or pairs", "over height, width or channels"),
    "argmax": ("argmax", "over channels; int64 results are int32 here"),
    "conv1d": ("conv", "of 1xCxL; of 1x1xC with a select before it"),
    "group_norm": ("pools, convs and products", "a barrier: its statistics are of the full tensor"),
    "instance_norm": ("pools, convs and products", "as group_norm"),
    "layer_norm": ("convs and products", "over the channels, first or last"),
    "linalg_vector_norm": ("pool or conv, and apply", "the root of squares, over height, width or channels"),
    "log_softmax": ("softmax and apply", "as softmax; minus infinity where float32 has no such small share"),
    "mean": ("pool, or conv", "over height, width or channels"),
    "norm": ("pool or conv, and apply", "as linalg_vector_norm"),
    "rms_norm": ("conv and products", "over the channels, which are last"),
    "softmax": ("softmax", "over channels; over parts of them, or all pixels, several nodes"),
    "sum": ("pool, or conv", "as mean"),
    "var": ("pools or convs", "as mean"),
}
"""What each operator becomes in a graph, and its limits."""
