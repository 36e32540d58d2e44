"""Operands of arithmetic: two values brought to one layout, and constants to a pixel or a full map."""

from typing import Any

import numpy as np

from rillet.importers.axes import (
    Axis,
    Dims,
    by_step,
    channels_for,
    length,
    paired,
    parts_of,
    pixels_of,
    renamed,
    size_of,
)
from rillet.importers.torch.builder import Builder, Call, Known, Value
from rillet.importers.torch.drafts import Draft
from rillet.ir.ops import Constant, Resize, Select
from rillet.ir.types import Shape


def pair(b: Builder, call: Call, left: Any, right: Any, ordered: bool = False) -> tuple[Value, Value, Dims]:
    """Two operands and the layout of their result: one of them, the first if `ordered`, is as large as the result.

    The other one is as large, too, or one pixel. A constant is brought to one pixel or to the full map.
    """
    one = _constant(b, call, left, right) if isinstance(left, Known) else left
    other = _constant(b, call, right, left) if isinstance(right, Known) else right
    layouts = paired(one.dims, other.dims)
    if layouts is None:
        raise b.refuse(call, f"must have operands with the same axes, got {b.described(one)} and {b.described(other)}")
    dims = layouts[2]
    large = [pixels_of(own) == pixels_of(dims) for own in layouts[:2]]
    first = fitted(b, call, Value(one.draft, layouts[0]), dims, large[0] or ordered or not large[1])
    second = fitted(b, call, Value(other.draft, layouts[1]), dims, large[1])
    return first, second, renamed(dims, {})


def fitted(b: Builder, call: Call, value: Value, dims: Dims, whole: bool) -> Value:
    """A value repeated and put in order so that it has the layout `dims`; or as one pixel, unless it must be whole."""
    own = ((),) * (len(dims) - len(value.dims)) + value.dims
    at, shape, channels, (height, width) = value.draft, b.shape(value), channels_for(own, dims), size_of(dims)
    if channels != tuple(range(shape.channels)):
        at = b.add(call, Select(channels), [at]).draft
    if (shape.height, shape.width) != (height, width) and (whole or shape.pixels > 1):
        rows = tuple(range(height)) if shape.height > 1 else (0,) * height
        columns = tuple(range(width)) if shape.width > 1 else (0,) * width
        at = b.add(call, Resize(rows, columns), [at]).draft
    return Value(at, renamed(dims, {}))


def _constant(b: Builder, call: Call, known: Known, beside: Any) -> Value:
    assert isinstance(beside, Value)
    rank = max(len(beside.dims), known.tensor.ndim)
    lengths = (1,) * (rank - known.tensor.ndim) + tuple(known.tensor.shape)
    dims = ((),) * (rank - len(beside.dims)) + beside.dims
    letters = ("", "C", "H", "W") if rank == 4 else ("", "C") if rank == 2 else ()
    seen: list[tuple[Axis, ...]] = []
    for i, (size, dim) in enumerate(zip(lengths, dims, strict=True)):
        if size in (1, length(dim)):
            seen.append(dim if size > 1 else ())
        elif not dim and letters and letters[i] and not parts_of(dims, letters[i]):
            seen.append((Axis(letters[i], size),))
        else:
            raise b.refuse(call, f"must have a constant like {b.described(beside)}, got {list(known.tensor.shape)}")
    parts = by_step(parts_of(tuple(seen)))
    if pixels_of(tuple(seen)) or parts:
        wide = tuple(own or dim for own, dim in zip(seen, dims, strict=True))
        layout = wide if pixels_of(tuple(seen)) else tuple(tuple(a for a in dim if a.of == "C") for dim in wide)
    else:
        layout = tuple(tuple(a for a in dim if a.of == "C") for dim in dims)
    return _made(b, call, known, tuple(seen), layout)


def _made(b: Builder, call: Call, known: Known, seen: Dims, layout: Dims) -> Value:
    """A node of the constant whose dimensions run over `seen`, with the axes of `layout`."""
    axes = [axis for dim in seen for axis in dim]
    array = known.array.reshape([axis.length for axis in axes])
    order = [*parts_of(layout, "H"), *parts_of(layout, "W"), *by_step(parts_of(layout))]
    array = array.transpose([axes.index(axis) for axis in order if axis in axes])
    array = array.reshape([axis.length if axis in axes else 1 for axis in order])
    array = np.broadcast_to(array, [axis.length for axis in order])
    height, width, channels = (length(tuple(parts_of(layout, letter))) for letter in "HWC")
    shape = Shape(height, width, channels)
    name = b.constants.setdefault((known, shape, layout), f"c{len(b.constants)}")
    made_of = {"value": known.source} if known.source else {}
    value = np.ascontiguousarray(array).reshape(shape.array)
    b.drafts[name] = Draft(Constant(), (), shape, known.layer or call.layer, {"value": value}, made_of)
    return Value(name, layout)
