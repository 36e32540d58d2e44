"""Operators that compute nothing: parts of a value, values side by side, and other layouts of the same values."""

import itertools
from collections.abc import Sequence

from rillet.importers.axes import (
    REPEATED,
    Axis,
    behind_pixels,
    by_step,
    laid,
    length,
    needs_whole,
    order_of,
    parts_of,
    regrouped,
    renamed,
    squares,
    unordered,
    with_squares,
)
from rillet.importers.torch.builder import Builder, Call, Result, Value
from rillet.importers.torch.layouts import repeats
from rillet.importers.torch.operands import fitted
from rillet.ir.ops import Add, Concat, DepthToSpace, Pad, Resize, Select, Slice, SpaceToDepth

MOST_MIRRORED = 8
"""Rows or columns on a side; each is three nodes."""

# -- side by side ------------------------------------------------------------------------------------------------------


def concat(b: Builder, call: Call) -> Result:
    """Tensors side by side along the channels, parts of them, rows or columns."""
    parts = _computed(b, call)
    dim = call["dim"] % len(parts[0].dims)
    if len(parts) == 1:
        return parts[0]
    rest = [part.dims[:dim] + part.dims[dim + 1 :] for part in parts]
    if any(
        [[axis[:2] for axis in own] for own in other] != [[axis[:2] for axis in own] for own in rest[0]]
        for other in rest
    ):
        raise b.refuse(call, f"must join values of one layout, got {' and '.join(map(b.described, parts[:2]))}")
    joined = {axis.of for part in parts for axis in part.dims[dim]}
    if len(joined) == 1 and joined <= {"H", "W"}:
        return _one_behind_another(b, call, parts, dim, joined.pop())
    if joined <= {"C"} and all(len(part.dims[dim]) <= 1 for part in parts):
        return _stacked(b, call, parts, dim)
    raise b.refuse(call, f"must join channels, rows or columns, got dimension {call['dim']} of {b.described(parts[0])}")


def stack(b: Builder, call: Call) -> Result:
    """Tensors side by side in a dimension of their own, which is a part of the channels."""
    parts = _computed(b, call)
    dim = call["dim"] % (len(parts[0].dims) + 1)
    return _stacked(b, call, [Value(v.draft, (*v.dims[:dim], (), *v.dims[dim:])) for v in parts], dim)


def _computed(b: Builder, call: Call) -> list[Value]:
    parts = [part for part in call["tensors"] if isinstance(part, Value)]
    if len(parts) < len(call["tensors"]) or not parts:
        raise b.refuse(call, "must join computed values")
    for part in parts:
        if any(axis.of == REPEATED for dim in part.dims for axis in dim):
            raise b.refuse(call, "must not read an expanded value")
    return parts


def _stacked(b: Builder, call: Call, parts: Sequence[Value], dim: int) -> Value:
    """Channels of values, of which dimension `dim` becomes the slowest part, or the only one."""
    drafts = [ordered(b, call, part, [*part.dims[dim], *_beside(part, dim)]).draft for part in parts]
    out = b.add(call, Concat(), drafts).draft
    total = Axis("C", sum(length(part.dims[dim]) for part in parts), 0)
    names = laid([total, *_beside(parts[0], dim)])
    dims = list(renamed(parts[0].dims, names))
    dims[dim] = (names[total],) if total.length > 1 else ()
    return settled(b, call, Value(out, tuple(dims)))


def _beside(value: Value, dim: int) -> list[Axis]:
    """The parts of the channels that lie in other dimensions."""
    return parts_of((*value.dims[:dim], *value.dims[dim + 1 :]))


def _one_behind_another(b: Builder, call: Call, parts: Sequence[Value], dim: int, letter: str) -> Value:
    """Rows or columns of values one behind another: each with zeros around it, and their sum."""
    like = parts[0]
    whole = Axis(letter, sum(length(part.dims[dim]) for part in parts))
    target = (*like.dims[:dim], (whole,), *like.dims[dim + 1 :])
    before, out = 0, ""
    for part in parts:
        count = length(part.dims[dim])
        same = fitted(b, call, part, (*like.dims[:dim], part.dims[dim], *like.dims[dim + 1 :]), True)
        after = whole.length - before - count
        border = (before, after, 0, 0) if letter == "H" else (0, 0, before, after)
        padded = b.add(call, Pad(border), [same.draft]).draft
        out = b.add(call, Add(), [out, padded]).draft if out else padded
        before += count
    return Value(out, target)


# -- parts -------------------------------------------------------------------------------------------------------------


def _length(b: Builder, call: Call) -> int:
    return length(b.value(call, "self").dims[call["dim"]])


def taken(b: Builder, call: Call, source: Value, dim: int, places: Sequence[int]) -> Value:
    """Some of a dimension's places in this order; rows and columns never go back."""
    own = source.dims[dim]
    if tuple(places) == tuple(range(length(own))) and (b.keep is None or own != b.channels(source)):
        return source
    if not own and tuple(places) == (0,):
        return source
    if len(own) != 1 or own[0].of == REPEATED:
        raise b.refuse(call, f"must cut channels, rows or columns, got dimension {dim} of {b.described(source)}")
    axis, shape = own[0], b.shape(source)
    kept = (Axis(axis.of, len(places)),) if len(places) > 1 else ()
    if axis.of != "C":
        if list(places) != sorted(places):
            raise b.refuse(call, "must cut rows and columns in their order")
        sides = {"H": tuple(range(shape.height)), "W": tuple(range(shape.width)), axis.of: tuple(places)}
        made = b.add(call, Resize(sides["H"], sides["W"]), [source.draft])
        return Value(made.draft, (*source.dims[:dim], kept, *source.dims[dim + 1 :]))
    # The part is made the slowest one, so that what is cut off are whole runs of channels.
    others = by_step(part for part in parts_of(source.dims) if part != axis)
    names = laid([axis, *others])
    each, order = shape.channels // axis.length, order_of([axis, *others])
    channels = [order[place * each + i] for place in places for i in range(each)]
    run = channels == list(range(channels[0], channels[0] + len(channels)))
    op = Slice(channels[0], channels[-1] + 1) if run else Select(tuple(channels))
    made = b.add(call, op, [source.draft])
    dims = [tuple(names.get(a, a) for a in own) for own in source.dims]
    dims[dim] = (Axis("C", len(places), each),) if len(places) > 1 else ()
    return settled(b, call, Value(made.draft, tuple(dims)))


def _parts(b: Builder, call: Call, ranges: Sequence[tuple[int, int]]) -> tuple[Value, ...]:
    """Parts of a value from place to place along the dimension that the call names."""
    source = b.value(call, "self")
    dim = call["dim"] % len(source.dims)
    return tuple(taken(b, call, source, dim, range(start, stop)) for start, stop in ranges)


def cut(b: Builder, call: Call) -> Result:
    """Some of the channels, rows or columns."""
    places = range(*slice(call["start"], call["end"], call["step"]).indices(_length(b, call)))
    source = b.value(call, "self")
    if not places:
        raise b.refuse(call, "must cut something, got nothing")
    return taken(b, call, source, call["dim"] % len(source.dims), places)


def mirrored(b: Builder, call: Call, value: Value, dim: int, before: int, after: int) -> Value:
    """Rows or columns beside the first and the last one repeated around a map, in the order of a mirror."""
    count = length(value.dims[dim])
    if max(before, after) > min(MOST_MIRRORED, count - 1):
        raise b.refuse(call, f"must mirror at most {MOST_MIRRORED} rows or columns, got {max(before, after)}")
    if not before and not after:
        return value
    places = [*range(before, 0, -1)], [*range(count - 2, count - 2 - after, -1)]
    lines = [[taken(b, call, value, dim, [place]) for place in side] for side in places]
    parts = [*lines[0], value, *lines[1]]
    return _one_behind_another(b, call, parts, dim, value.dims[dim][0].of)


def narrow(b: Builder, call: Call) -> Result:
    """A slice given by its length."""
    start = call["start"] % _length(b, call)
    return _parts(b, call, [(start, start + call["length"])])[0]


def chunk(b: Builder, call: Call) -> Result:
    """Slices, as many as are asked for or fewer."""
    return _parts(b, call, _steps(_length(b, call), -(-_length(b, call) // call["chunks"])))


def split(b: Builder, call: Call) -> Result:
    """Slices of one length, the last perhaps shorter, or of the lengths given."""
    if not isinstance(call["split_size"], int):
        return split_with_sizes(b, call)
    return _parts(b, call, _steps(_length(b, call), call["split_size"]))


def split_with_sizes(b: Builder, call: Call) -> Result:
    """Slices of the lengths given."""
    parts = call["split_sizes"] if "split_sizes" in call.arguments else call["split_size"]
    stops = list(itertools.accumulate(parts))
    return _parts(b, call, list(zip([0, *stops[:-1]], stops, strict=True)))


def _steps(whole: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, whole)) for start in range(0, whole, step)]


def _without(value: Value, dim: int) -> Value:
    return Value(value.draft, value.dims[:dim] + value.dims[dim + 1 :])


def select(b: Builder, call: Call) -> Result:
    """One place of a dimension, without the dimension."""
    source = b.value(call, "self")
    dim = call["dim"] % len(source.dims)
    return _without(taken(b, call, source, dim, [call["index"] % _length(b, call)]), dim)


def unbind(b: Builder, call: Call) -> Result:
    """Every place of a dimension, without the dimension."""
    source = b.value(call, "self")
    dim = call["dim"] % len(source.dims)
    return tuple(_without(taken(b, call, source, dim, [i]), dim) for i in range(_length(b, call)))


def flip(b: Builder, call: Call) -> Result:
    """Channels the other way round."""
    source = b.value(call, "self")
    for dim in call["dims"]:
        source = taken(b, call, source, dim % len(source.dims), range(length(source.dims[dim]))[::-1])
    return source


# -- layouts -----------------------------------------------------------------------------------------------------------


def ordered(b: Builder, call: Call, value: Value, parts: Sequence[Axis]) -> Value:
    """The value with its channels in the order in which parts of them, the slowest first, run over them."""
    order = order_of(parts)
    if order == tuple(range(b.shape(value).channels)):
        return value
    return Value(b.add(call, Select(order), [value.draft]).draft, renamed(value.dims, laid(parts)))


def settled(b: Builder, call: Call, value: Value) -> Value:
    """The value with parts of the channels that meet in a dimension put in order, and squares of them as pixels.

    Raises Unsupported for parts of rows and columns that are no squares.
    """
    value = _spread(b, call, _gathered(b, call, value))
    if unordered(value.dims):
        value = ordered(b, call, value, parts_of(value.dims))
    if needs_whole(value.dims, b.shape(value)):
        raise b.refuse(call, f"must keep rows and columns, or cut them into squares, got {b.described(value)}")
    return Value(value.draft, renamed(value.dims, {}))


def _gathered(b: Builder, call: Call, value: Value) -> Value:
    """Rows and columns that are both cut into runs of one length: these squares become channels."""
    found = squares(value.dims, b.shape(value))
    if found is None:
        return value
    return Value(b.add(call, SpaceToDepth(found[0]), [value.draft]).draft, renamed(value.dims, found[1]))


def _spread(b: Builder, call: Call, value: Value) -> Value:
    """Rows and columns that each have a part of the channels behind them: squares of pixels."""
    behind, shape = behind_pixels(value.dims), b.shape(value)
    if behind is None:
        return value
    rest = [part for part in parts_of(value.dims) if part not in behind]
    value = ordered(b, call, value, [*behind, *rest])
    behind = behind_pixels(value.dims)
    assert behind is not None
    made = b.add(call, DepthToSpace(behind[0].length, shape.height, shape.width), [value.draft])
    return Value(made.draft, with_squares(value.dims, behind))


def reshape(b: Builder, call: Call) -> Result:
    """The same values in the same order as other dimensions: axes joined, taken apart, or cut."""
    source = call["self"]
    dims = regrouped(source.dims, call.sizes)
    if dims is None:
        got = f"{b.described(source)} to {'x'.join(map(str, call.sizes))}"
        raise b.refuse(call, f"must join whole axes or take them apart again, got {got}")
    if repeats(dims):
        return Value(source.draft, dims)
    return settled(b, call, Value(source.draft, dims))


def permute(b: Builder, call: Call) -> Result:
    """The same values with the dimensions in another order."""
    source = b.value(call, "self")
    return Value(source.draft, tuple(source.dims[dim] for dim in call["dims"]))


def transpose(b: Builder, call: Call) -> Result:
    """The same values with two dimensions exchanged."""
    source = b.value(call, "self")
    dims = list(source.dims)
    dims[call["dim0"]], dims[call["dim1"]] = dims[call["dim1"]], dims[call["dim0"]]
    return Value(source.draft, tuple(dims))


def turn(b: Builder, call: Call) -> Result:
    """The same values with the last two dimensions exchanged."""
    source = b.value(call, "self")
    return Value(source.draft, (*source.dims[:-2], source.dims[-1], source.dims[-2]))


def expand(b: Builder, call: Call) -> Result:
    """The same values, repeated along dimensions of length 1."""
    source = b.value(call, "self")
    dims = ((),) * (len(call.sizes) - len(source.dims)) + source.dims
    pairs = zip(dims, call.sizes, strict=True)
    return Value(source.draft, tuple(dim or (() if size == 1 else (Axis(REPEATED, size),)) for dim, size in pairs))
