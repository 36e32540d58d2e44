"""Operators that compute nothing: parts of the channels, and other layouts of the same values."""

import itertools
import math
from collections.abc import Sequence

from rillet.importers.torch.builder import Builder, Call, Result, Value
from rillet.importers.torch.layouts import REPEATED, lengths, regrouped
from rillet.ir.ops import Concat, Resize, Select, Slice

# -- channels ----------------------------------------------------------------------------------------------------------


def concat(b: Builder, call: Call) -> Result:
    """Tensors side by side along the channels."""
    parts = [part for part in call["tensors"] if isinstance(part, Value)]
    if len(parts) < len(call["tensors"]) or not parts:
        raise b.refuse(call, "must join computed values")
    rank = len(parts[0].dims)
    for part in parts:
        b.by_channel(call, part)
    if call["dim"] % rank != 1 or any(len(part.dims) != rank for part in parts):
        raise b.refuse(call, f"must join channels, dimension 1, got dimension {call['dim']}")
    out = b.add(call, Concat(), [part.draft for part in parts])
    return Value(out.draft, out.dims[:rank])


def _parts(b: Builder, call: Call, ranges: Sequence[tuple[int, int]]) -> tuple[Value, ...]:
    """Parts of a value from place to place along the dimension that the call names."""
    source = b.value(call, "self")
    rank = len(source.dims)
    dim = call["dim"] % rank
    if list(ranges) == [(0, _length(b, call))] and (dim != 1 or b.keep is None):
        return (source,)
    b.by_channel(call, source)
    if dim != 1:
        raise b.refuse(call, f"must cut channels, dimension 1, got dimension {call['dim']}")
    parts = [b.add(call, Slice(start, stop), [source.draft]) for start, stop in ranges]
    return tuple(Value(part.draft, part.dims[:rank]) for part in parts)


def _length(b: Builder, call: Call) -> int:
    source = b.value(call, "self")
    axes = lengths(b.shape(source))
    return math.prod(axes[axis] for axis in source.dims[call["dim"]])


def cut(b: Builder, call: Call) -> Result:
    """Some of the channels, rows or columns."""
    places = range(*slice(call["start"], call["end"], call["step"]).indices(_length(b, call)))
    source = b.value(call, "self")
    dim = call["dim"] % len(source.dims)
    if not places:
        raise b.refuse(call, "must cut something, got nothing")
    if dim > 1 and len(places) < _length(b, call):
        shape = b.shape(b.map(call, "self"))
        sides = [tuple(range(shape.height)), tuple(range(shape.width))]
        sides[dim - 2] = tuple(places)
        return b.add(call, Resize(*sides), [source.draft])
    if places.step != 1 and dim == 1:
        made = b.add(call, Select(tuple(places)), [b.by_channel(call, source).draft])
        return Value(made.draft, made.dims[: len(source.dims)])
    return _parts(b, call, [(places.start, places.stop)])[0]


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


def _steps(length: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, length)) for start in range(0, length, step)]


# -- layouts -----------------------------------------------------------------------------------------------------------


def reshape(b: Builder, call: Call) -> Result:
    """The same values with axes joined or taken apart again."""
    source = b.value(call, "self")
    dims = regrouped(source.dims, b.shape(source), call.sizes)
    if dims is None:
        got = f"{b.described(source)} to {'x'.join(map(str, call.sizes))}"
        raise b.refuse(call, f"must join whole axes or take them apart again, got {got}")
    return Value(source.draft, dims)


def select(b: Builder, call: Call) -> Result:
    """The same values without a dimension of length 1."""
    if _length(b, call) != 1:
        raise b.refuse(call, f"must be of a dimension of length 1, got {_length(b, call)}")
    return reshape(b, call)


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


def expand(b: Builder, call: Call) -> Result:
    """The same values, repeated along dimensions of length 1."""
    source = b.value(call, "self")
    dims = ("",) * (len(call.sizes) - len(source.dims)) + source.dims
    return Value(
        source.draft, tuple(dim or ("" if size == 1 else REPEATED) for dim, size in zip(dims, call.sizes, strict=True))
    )
