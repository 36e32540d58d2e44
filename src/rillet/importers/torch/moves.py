"""Import of aten operators that are made of two values, or put channels and pixels elsewhere."""

from collections.abc import Callable

from rillet.importers.torch.builder import Builder, Call, Known, Result, Value
from rillet.importers.torch.operands import pair
from rillet.ir.functions import Curve
from rillet.ir.ops import Apply, DepthToSpace, Pair, PairKind, Select, SpaceToDepth


def of_two(kind: PairKind) -> Callable[[Builder, Call], Result]:
    """A handler of the greater or the lesser of two values."""

    def handle(b: Builder, call: Call) -> Result:
        one, other, dims = pair(b, call, call["self"], call["other"])
        if b.shape(other).pixels > b.shape(one).pixels:
            one, other = other, one
        return b.add(call, Pair(kind), [one.draft, other.draft], dims)

    return handle


def quotient(b: Builder, call: Call, left: Value | Known, right: Value) -> Result:
    """One value over another."""
    one, other, dims = pair(b, call, left, right, ordered=True)
    return b.add(call, Pair(PairKind.DIVIDE), [one.draft, other.draft], dims)


def _prelu(b: Builder, call: Call) -> Result:
    value, slope = b.value(call, "self"), call["weight"]
    if (number := b.number(slope)) is not None:
        return b.add(call, Apply(Curve.LEAKY_RELU, number), [value.draft], value.dims)
    if not isinstance(slope, Known):
        raise b.refuse(call, "must have constant slopes, got computed ones")
    column = slope.tensor.reshape(-1, *(1,) * (len(value.dims) - 2))
    one, other, dims = pair(b, call, value, Known(column, slope.layer, slope.source))
    return b.add(call, Pair(PairKind.PRELU), [one.draft, other.draft], dims)


def _shuffled(b: Builder, call: Call, value: Value, groups: int) -> Value:
    """Channels dealt out in turn to as many groups: those of the first group, then those of the second."""
    count = b.shape(value).channels
    order = tuple(each + group for group in range(groups) for each in range(0, count, groups))
    return b.add(call, Select(order), [value.draft])


def _pixel_shuffle(b: Builder, call: Call) -> Result:
    value, block = b.map(call, "self"), call["upscale_factor"]
    shape = b.shape(value)
    if shape.channels % block**2:
        raise b.refuse(call, f"must have channels for squares of {block}x{block}, got {shape.channels}")
    if shape.channels > block**2 > 1:
        value = _shuffled(b, call, value, block**2)
    return b.add(call, DepthToSpace(block, shape.height, shape.width), [value.draft])


def _pixel_unshuffle(b: Builder, call: Call) -> Result:
    value, block = b.map(call, "self"), call["downscale_factor"]
    made = b.add(call, SpaceToDepth(block), [value.draft])
    channels = b.shape(value).channels
    return _shuffled(b, call, made, channels) if channels > 1 and block > 1 else made


def _channel_shuffle(b: Builder, call: Call) -> Result:
    value, groups = b.map(call, "self" if "self" in call.arguments else "input"), call["groups"]
    channels = b.shape(value).channels
    return _shuffled(b, call, value, channels // groups) if 1 < groups < channels else value


HANDLERS: dict[str, Callable[[Builder, Call], Result]] = {
    "channel_shuffle": _channel_shuffle,
    "maximum": of_two(PairKind.MAXIMUM),
    "minimum": of_two(PairKind.MINIMUM),
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "prelu": _prelu,
}
NOTES: dict[str, tuple[str, str]] = {
    "channel_shuffle": ("select", ""),
    "maximum": ("pair", "with a value or a constant"),
    "minimum": ("pair", "with a value or a constant"),
    "pixel_shuffle": ("depthtospace", "behind a select where there are several channels"),
    "pixel_unshuffle": ("spacetodepth", "and a select where there are several channels"),
    "prelu": ("pair, or apply", "slopes for each channel, or one"),
}
"""What each operator becomes in a graph, and its limits."""
