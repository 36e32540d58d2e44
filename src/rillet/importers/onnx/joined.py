"""Operators on joined tensors: what is of each place of the joined dimension alone is done with every piece by itself.

So a detector whose heads are joined before they are decoded is decoded scale by scale, and ends in an output for each.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx import curves, folding
from rillet.importers.onnx.builder import Builder, Known, Made
from rillet.importers.onnx.file import Operator
from rillet.importers.onnx.layout import settled
from rillet.importers.onnx.views import Joined, View, normalised

MAX_PIECES = 16
Handler = Callable[[Builder, Operator], Made | list[Made]]
Inputs = Sequence[Made | None]
Cut = tuple[Mapping[int, int], int]
"""For each input that is cut into the pieces the dimension along which, by its position; and that of the results."""


def joined(views: Sequence[View], axis: int) -> Joined:
    """Views one behind another along a dimension."""
    if len(views) > MAX_PIECES:
        raise Unsupported(f"must join at most {MAX_PIECES} maps, got {len(views)}")
    rest = {(*view.dims[:axis], *view.dims[axis + 1 :]) for view in views}
    if len(rest) > 1 or any(view.expanded for view in views):
        raise Unsupported(f"inputs must be alike but for what is joined, got {' and '.join(map(str, views[:4]))}")
    return Joined(tuple(views), axis)


def behind(op: Operator, views: Sequence[View]) -> Joined | None:
    """Maps whose pixels lie one behind another in one dimension, which no map has so; None for others."""
    axis = views[0].axis(op.integer("axis", 0))
    if len({view.rank for view in views}) > 1 or any(view.expanded for view in views):
        return None
    letters = {a.of for view in views for a in view.axes[axis]}
    plain = len(letters) <= 1 and all(len(view.axes[axis]) <= 1 for view in views)
    return None if plain or len(views) == 1 else joined(views, axis)


def on_pieces(b: Builder, op: Operator, inputs: Inputs, handle: Handler) -> list[Made]:
    """What an operator some of whose inputs are joined makes: of each piece, joined again."""
    first = next(found for found in inputs if isinstance(found, Joined))
    if op.kind in _SHAPES:
        return [_reshaped(b, op, first, _SHAPES[op.kind](b, op, first.dims))]
    if op.kind == "Concat" and (longer := _continued(op, inputs)) is not None:
        return [longer]
    if op.kind not in _CUTS:
        raise Unsupported(f"input must be one map, got {first}, which is {_count(first)}")
    cuts, axis = _CUTS[op.kind](b, op, inputs)
    parts = {place: _parts(b, inputs[place], dim, first) for place, dim in cuts.items()}
    made: list[list[Made]] = []
    for i in range(len(first.pieces)):
        results = _with(b, op, {place: found[i] for place, found in parts.items()}, handle)
        made.append(results if isinstance(results, list) else [results])
    out: list[Made] = []
    for same in zip(*made, strict=True):
        views = [found for found in same if isinstance(found, View)]
        if [view.dims[axis] for view in views] != list(first.runs):
            raise Unsupported(f"must keep the dimension of {first}, {_count(first)}")
        out.append(joined(views, axis))
    return out


def _count(own: Joined) -> str:
    return f"{len(own.pieces)} joined in dimension {own.axis}"


def _parts(b: Builder, found: Made | None, dim: int, like: Joined) -> list[View | Known]:
    """An input cut into the pieces that `like` has."""
    match found:
        case Joined() if found.axis == dim and found.runs == like.runs:
            return list(found.pieces)
        case Known() if found.dims[dim] == sum(like.runs):
            b.spend(found.array.nbytes)
            return [Known(np.ascontiguousarray(cut)) for cut in np.split(found.array, np.cumsum(like.runs)[:-1], dim)]
        case _:
            raise Unsupported(f"operands must be joined alike, got {like} and {getattr(found, 'dims', ())}")


def _with(b: Builder, op: Operator, parts: Mapping[int, View | Known], handle: Handler) -> Made | list[Made]:
    """What the operator makes with these as its inputs in the places of the joined ones."""
    names = list(op.inputs)
    for place, part in parts.items():
        name = f"{names[place]}/piece"
        while name in b.values or name in b.file.tensors:
            name += "_"
        b.values[name], names[place] = part, name
    try:
        return handle(b, replace(op, inputs=tuple(names)))
    finally:
        for place in parts:
            del b.values[names[place]]


# -- which dimension of what is cut --------------------------------------------------------------------------------


def _each(_: Builder, __: Operator, inputs: Inputs) -> Cut:
    """A function of the values at each place; what is as long as the joined dimension is cut with it."""
    found = [(place, value.dims) for place, value in enumerate(inputs) if value is not None]
    rank = max(len(dims) for _, dims in found)
    ends = {value.axis - value.rank for value in inputs if isinstance(value, Joined)}
    if len(ends) > 1:
        raise Unsupported("operands must be joined in one dimension")
    end = ends.pop()
    return {place: len(dims) + end for place, dims in found if len(dims) + end >= 0 and dims[end] > 1}, rank + end


def _sole(inputs: Inputs) -> Joined:
    """The first input, which alone is joined."""
    first = inputs[0] if inputs else None
    if not isinstance(first, Joined) or any(isinstance(value, Joined) for value in inputs[1:]):
        raise Unsupported("first input alone must be joined")
    return first


def _first(_: Builder, __: Operator, inputs: Inputs) -> Cut:
    """The first input is cut, others hold for all pieces."""
    axis = _sole(inputs).axis
    return {0: axis}, axis


def _beside(default: int | None) -> Callable[[Builder, Operator, Inputs], Cut]:
    """Over another dimension than the joined one, which stays where it is."""

    def cut(b: Builder, op: Operator, inputs: Inputs) -> Cut:
        own = _sole(inputs)
        usual = (1 if b.file.opset < 13 else -1) if default is None else default
        axis = normalised(op.integer("axis", usual), own.rank)
        if axis == own.axis or (default is None and b.file.opset < 13 and axis < own.axis):
            raise Unsupported(f"must be over other dimensions than that of {own}, {_count(own)}")
        return {0: own.axis}, own.axis

    return cut


def _greatest(_: Builder, op: Operator, inputs: Inputs) -> Cut:
    own = _sole(inputs)
    axis = normalised(op.integer("axis", 0), own.rank)
    if axis == own.axis:
        raise Unsupported(f"must be over another dimension than that of {own}, {_count(own)}")
    return {0: own.axis}, own.axis - (not op.integer("keepdims", 1) and axis < own.axis)


def _concat(_: Builder, op: Operator, inputs: Inputs) -> Cut:
    own = next(value for value in inputs if isinstance(value, Joined))
    if normalised(op.integer("axis", 0), own.rank) == own.axis:
        raise Unsupported(f"must join computed tensors alone to {own}, {_count(own)}")
    if any(value is not None and len(value.dims) != own.rank for value in inputs):
        raise GraphError("inputs must have as many dimensions")
    return dict.fromkeys(range(len(inputs)), own.axis), own.axis


def _slice(b: Builder, op: Operator, inputs: Inputs) -> Cut:
    own = _sole(inputs)
    given = [None, *(b.known(op, i).array if b.has(op, i) else None for i in range(1, 5))]
    if folding.cuts(given, own.dims)[own.axis] != range(own.dims[own.axis]):
        raise Unsupported(f"must keep the dimension of {own}, {_count(own)}")
    return {0: own.axis}, own.axis


def _transpose(_: Builder, op: Operator, inputs: Inputs) -> Cut:
    own = _sole(inputs)
    order = op.integers("perm") or list(range(own.rank))[::-1]
    if sorted(order) != list(range(own.rank)):
        raise GraphError(f"order must be one of {own.rank} dimensions, got {order[:9]}")
    return {0: own.axis}, order.index(own.axis)


def _reduced(b: Builder, op: Operator, inputs: Inputs) -> Cut:
    own = _sole(inputs)
    axes = b.integers(op, 1) if b.has(op, 1) else op.integers("axes")
    over = {normalised(axis, own.rank) for axis in axes or range(own.rank)}
    if own.axis in over:
        raise Unsupported(f"must be over other dimensions than that of {own}, {_count(own)}")
    return {0: own.axis}, own.axis - (0 if op.integer("keepdims", 1) else sum(axis < own.axis for axis in over))


def _matmul(_: Builder, __: Operator, inputs: Inputs) -> Cut:
    own = _sole(inputs)
    if own.axis == own.rank - 1 or not isinstance(inputs[1], Known) or len(inputs[1].dims) != 2:
        raise Unsupported(f"must multiply another dimension of {own} by a constant matrix, {_count(own)}")
    return {0: own.axis}, own.axis


def _conv(b: Builder, op: Operator, inputs: Inputs) -> Cut:
    own = _sole(inputs)
    looks = [op.integers(name) or [] for name in ("kernel_shape", "strides")]
    weight = b.known(op, 1).dims
    if own.axis < 2 or {*weight[2:], *looks[0], *looks[1]} != {1} or any(op.integers("pads") or []):
        raise Unsupported(f"must look at one place of {own}, {_count(own)}")
    return {0: own.axis}, own.axis


_CURVES = ("HardSwish", "Relu", "Sigmoid", *curves.HANDLERS)
_ARITHMETIC = ("Add", "Cast", "Clip", "Div", "Dropout", "Identity", "Max", "Min", "Mul", "PRelu", "Sub")
_CUTS: dict[str, Callable[[Builder, Operator, Inputs], Cut]] = {
    **dict.fromkeys((*_CURVES, *_ARITHMETIC), _each),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _first),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _beside(None)),
    **dict.fromkeys(("Gather", "Split"), _beside(0)),
    **dict.fromkeys(("ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum", "ReduceSumSquare"), _reduced),
    "ArgMax": _greatest,
    "Concat": _concat,
    "Conv": _conv,
    "MatMul": _matmul,
    "Slice": _slice,
    "Transpose": _transpose,
}

# -- other shapes --------------------------------------------------------------------------------------------------


def _axes(b: Builder, op: Operator) -> list[int] | None:
    return b.integers(op, 1) if b.has(op, 1) else op.integers("axes")


_SHAPES: dict[str, Callable[[Builder, Operator, tuple[int, ...]], list[int]]] = {
    "Flatten": lambda _, op, dims: folding.flattened(dims, op.integer("axis", 1)),
    "Reshape": lambda b, op, dims: folding.reshaped(dims, b.integers(op, 1), op.integer("allowzero", 0) != 0),
    "Squeeze": lambda b, op, dims: folding.squeezed(dims, _axes(b, op)),
    "Unsqueeze": lambda b, op, dims: folding.unsqueezed(dims, _axes(b, op) or []),
}


KINDS = sorted({*_CUTS, *_SHAPES})
"""Operators that may read joined tensors."""


def _reshaped(b: Builder, op: Operator, own: Joined, wanted: Sequence[int]) -> Joined:
    """The same values in their order under other dimensions, one of which the pieces still lie along."""
    if math.prod(wanted) != math.prod(own.dims) or min(wanted, default=1) < 1:
        raise GraphError(f"shape must hold the values of {own}, got {list(wanted)[:9]}")
    before, total = math.prod(own.dims[: own.axis]), own.dims[own.axis]
    for axis, length in enumerate(wanted):
        whole = all(run * length % total == 0 for run in own.runs)
        if length > 1 and math.prod(wanted[:axis]) == before and whole:
            lengths = [[*wanted[:axis], run * length // total, *wanted[axis + 1 :]] for run in own.runs]
            made = [piece.reshaped(dims) for piece, dims in zip(own.pieces, lengths, strict=True)]
            return joined([settled(b, op.outputs[0], view) for view in made], axis)
    raise Unsupported(f"must keep the dimension of {own}, {_count(own)}, got {list(wanted)[:9]}")


def _continued(op: Operator, inputs: Inputs) -> Joined | None:
    """Joined tensors and views one behind another along the dimension that they are joined in; None for another."""
    own = next(value for value in inputs if isinstance(value, Joined))
    views = [piece for value in inputs if isinstance(value, View | Joined) for piece in value.pieces]
    axes = {value.axis for value in inputs if isinstance(value, Joined)}
    same = axes == {normalised(op.integer("axis", 0), own.rank)} and len({view.rank for view in views}) == 1
    return joined(views, own.axis) if same and all(isinstance(value, View | Joined) for value in inputs) else None
