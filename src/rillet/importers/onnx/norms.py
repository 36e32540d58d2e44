"""Import of ONNX operators that draw values together: sums, means, maxima, norms, softmaxes, products of two values."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers import composed
from rillet.importers.axes import Axis, Dims, axes_of, by_step, laid, length, parts_of, renamed, written
from rillet.importers.onnx.builder import Builder, Known, finite
from rillet.importers.onnx.file import Operator
from rillet.importers.onnx.layout import Steps, operands, ordered, view_of
from rillet.importers.onnx.views import View
from rillet.importers.onnx.windows import convolve, dense, weighted
from rillet.ir.functions import Curve
from rillet.ir.graph import Array
from rillet.ir.ops import Apply, ArgMax, Constant, Conv, Multiply, Pool, PoolKind, Softmax, Window
from rillet.ir.types import Shape, TensorType, indices

_SMALLEST = 1e-37
"""A sum of squares whose inverse root is finite."""
Along = Callable[[Steps, View, list[Axis]], str]

# -- over dimensions ---------------------------------------------------------------------------------------------------


def _over(b: Builder, op: Operator, view: View) -> list[int] | None:
    """The dimensions that an operator reduces; None where it does nothing."""
    axes = b.integers(op, 1) if b.has(op, 1) else op.integers("axes")
    if not axes:
        return None if op.integer("noop_with_empty_axes", 0) else list(range(view.rank))
    return sorted({view.axis(axis) for axis in axes})


def _sums(factor: float, offset: float = 0.0) -> Along:
    """Sums over parts of the channels: a convolution with a group for each channel that stays."""

    def along(steps: Steps, view: View, gone: list[Axis]) -> str:
        stay = by_step(axis for axis in parts_of(view.axes) if axis not in gone)
        source = ordered(steps.b, steps.name, view, [*stay, *gone]).node
        return composed.channel_sums(steps, source, length(tuple(stay)), factor, offset)

    return along


def _greatest(steps: Steps, view: View, gone: list[Axis]) -> str:
    stay = by_step(axis for axis in parts_of(view.axes) if axis not in gone)
    source = ordered(steps.b, steps.name, view, [*gone, *stay]).node
    return composed.greatest_channel(steps, source, length(tuple(gone)))


def _reduced(b: Builder, name: str, view: View, over: Sequence[int], along: Along, kind: PoolKind) -> View:
    """A value drawn together over its map by a pool, and over parts of its channels by `along`; dimensions stay."""
    gone = [axis for i in over for axis in view.axes[i]]
    kept = {axis.of for i, dim in enumerate(view.axes) if i not in over for axis in dim}
    letters = {axis.of for axis in gone}
    if letters & kept & {"H", "W"}:
        raise Unsupported(f"axes must be whole rows and columns, got {written(view.axes, view.shape)}")
    steps, channels = Steps(b, name), by_step(axis for axis in gone if axis.of == "C")
    window = Window((view.shape.height if "H" in letters else 1, view.shape.width if "W" in letters else 1))
    if window.taps > 1 or not channels:
        made = steps.make(Pool(kind, window), [view.node])
        view = view_of(b, made, tuple(tuple(a for a in dim if a not in gone or a.of == "C") for dim in view.axes))
    if channels:
        made = along(steps, view, channels)
        names = laid(by_step(axis for axis in parts_of(view.axes) if axis not in channels))
        dims = tuple(tuple(axis for axis in dim if axis not in channels) for dim in view.axes)
        view = view_of(b, made, renamed(dims, names))
    return view


def _left(op: Operator, view: View, over: Sequence[int]) -> View:
    """The result without the reduced dimensions, unless they are kept."""
    if op.integer("keepdims", 1):
        return view
    return view.laid(tuple(dim for i, dim in enumerate(view.axes) if i not in over))


def _counted(view: View, over: Sequence[int], letters: str) -> int:
    return math.prod(axis.length for i in over for axis in view.axes[i] if axis.of in letters)


def averaged(b: Builder, name: str, view: View, over: Sequence[int], offset: float = 0.0) -> View:
    """The mean over dimensions, which stay; plus an offset where these have channels."""
    return _reduced(b, name, view, over, _sums(1 / _counted(view, over, "C"), offset), PoolKind.MEAN)


def _scaled(b: Builder, name: str, view: View, factor: float) -> View:
    """The value times a number."""
    if factor == 1:
        return view
    value = np.full((1, 1, view.shape.channels), factor, np.float32)
    constant = b.make(f"{name}/factor", Constant(), [], {"value": value}, TensorType(Shape(*value.shape)))
    return view.on(b.make(name, Multiply(), [b.node(view), constant]))


def _mean(b: Builder, op: Operator) -> View:
    view = b.real(op)
    over = _over(b, op, view)
    return view if over is None else _left(op, averaged(b, op.outputs[0], view, over), over)


def _summed(b: Builder, name: str, view: View, over: Sequence[int]) -> View:
    if _counted(view, over, "HW") == 1:
        return _reduced(b, name, view, over, _sums(1.0), PoolKind.MEAN)
    return _scaled(b, name, averaged(b, name, view, over), _counted(view, over, "CHW"))


def _sum(b: Builder, op: Operator) -> View:
    view = b.real(op)
    over = _over(b, op, view)
    return view if over is None else _left(op, _summed(b, op.outputs[0], view, over), over)


def _max(b: Builder, op: Operator) -> View:
    view = b.real(op)
    over = _over(b, op, view)
    if over is None:
        return view
    return _left(op, _reduced(b, op.outputs[0], view, over, _greatest, PoolKind.MAX), over)


def _square(b: Builder, name: str, view: View) -> View:
    return view.on(b.make(name, Multiply(), [b.node(view), b.node(view)]))


def _squares(root: bool) -> Callable[[Builder, Operator], View]:
    """A handler of sums of squares, or of their roots."""

    def handle(b: Builder, op: Operator) -> View:
        view, name = b.real(op), op.outputs[0]
        over = _over(b, op, view)
        if over is None:
            raise Unsupported("must be over some dimensions")
        made = _left(op, _summed(b, name, _square(b, name, view), over), over)
        return made.on(b.make(name, Apply(Curve.SQRT), [b.node(made)])) if root else made

    return handle


# -- softmaxes ---------------------------------------------------------------------------------------------------------


def softmax(b: Builder, op: Operator, name: str, view: View, opset: int) -> View:
    """A softmax over channels, a part of them, or all pixels; before opset 13 over all dimensions from its axis on."""
    axis = view.axis(op.integer("axis", 1 if opset < 13 else -1))
    if opset < 13 and any(n > 1 for n in view.dims[axis + 1 :]):
        raise Unsupported(f"axis must be the channels, got {axis} and those behind it of {view}")
    own, steps = view.axes[axis], Steps(b, name)
    if own == view.channels:
        return view.on(b.make(name, Softmax(), [b.node(view)]))
    if own and set(own) == {found for found in axes_of(view.shape).values() if found.of != "C"}:
        made = view_of(b, composed.softmax_of_map(steps, view.node), view.axes)
        return _scaled(b, name, made, 1 / length(own))
    if len(own) != 1 or own[0].of != "C":
        raise Unsupported(f"dimension {axis} must be channels or all pixels, got {view}")
    others = by_step(part for part in parts_of(view.axes) if part != own[0])
    if 2 != own[0].length >= length(tuple(others)):  # of two it is one sigmoid
        moved = ordered(b, name, view, [*others, own[0]])
        return view_of(b, composed.softmax_within(steps, moved.node, length(tuple(others))), moved.axes)
    moved = ordered(b, name, view, [own[0], *others])
    return view_of(b, composed.softmax_of_groups(steps, moved.node, own[0].length), moved.axes)


def _softmax(b: Builder, op: Operator) -> View:
    return softmax(b, op, op.outputs[0], b.real(op), b.file.opset)


def _log_softmax(b: Builder, op: Operator) -> View:
    made = _softmax(b, op)
    return made.on(b.make(op.outputs[0], Apply(Curve.LOG), [b.node(made)]))


def _argmax(b: Builder, op: Operator) -> View:
    view, axis = b.view(op), op.integer("axis", 0)
    node = b.node(view)
    if op.integer("select_last_index", 0):
        raise Unsupported("select_last_index must be 0, got 1: of equal values the first is taken")
    if node.type == indices(node.shape):
        raise Unsupported("input must be values, got the places that another ArgMax found")
    place = view.axis(axis)
    view.need_channels(place)
    shape = Shape(node.shape.height, node.shape.width, 1)
    made = b.make(op.outputs[0], ArgMax(), [node], type=indices(shape))
    found = view_of(b, made.name, tuple(() if i == place else dim for i, dim in enumerate(view.axes)))
    return _left(op, found, [place])


# -- norms -------------------------------------------------------------------------------------------------------------


def _row(b: Builder, op: Operator, position: int) -> Array | None:
    return b.floats(op, position).reshape(-1) if b.has(op, position) else None


def _affine(b: Builder, name: str, view: View, gamma: Array | None, beta: Array | None) -> View:
    """A normalised value times its scale, plus its bias, of each channel."""
    for array in (gamma, beta):
        if array is not None and array.size != view.shape.channels:
            raise GraphError(f"scale and bias must have {view.shape.channels} values, got {array.size}")
    return view_of(b, composed.scaled(Steps(b, name), view.node, gamma, beta), view.axes)


def _over_channels(op: Operator, view: View) -> None:
    axis = view.axis(op.integer("axis", -1))
    if view.axes[axis] != view.channels or any(n > 1 for n in view.dims[axis + 1 :]):
        raise Unsupported(f"must be over the channels, got axis {axis} of {view}")


def _layer_norm(b: Builder, op: Operator) -> View:
    view, name = b.real(op), op.outputs[0]
    _over_channels(op, view)
    if b.gives_more(op):
        raise Unsupported("must give the normalised values alone, not the statistics")
    made = composed.normalised_pixels(Steps(b, name), view.node, op.real("epsilon", 1e-5))
    return _affine(b, name, view_of(b, made, view.axes), _row(b, op, 1), _row(b, op, 2))


def _rms_norm(b: Builder, op: Operator) -> View:
    view, name = b.real(op), op.outputs[0]
    _over_channels(op, view)
    steps, channels = Steps(b, name), view.shape.channels
    sums = composed.channel_sums(steps, _square(b, name, view).node, 1, 1 / channels, op.real("epsilon", 1e-5))
    inverse = steps.make(Apply(Curve.POWER, -0.5), [sums])
    made = steps.make(Multiply(), [view.node, composed.spread(steps, inverse, channels)])
    return _affine(b, name, view_of(b, made, view.axes), _row(b, op, 1), None)


def _grouped(b: Builder, op: Operator, view: View, groups: int, gamma: Array | None, beta: Array | None) -> View:
    """A norm over the map and each group of what dimension 1 runs over."""
    if view.rank < 2 or any(axis.of != "C" for axis in view.axes[1]):
        raise Unsupported(f"dimension 1 must be channels, got {view}")
    own, name = view.axes[1], op.outputs[0]
    others = by_step(axis for axis in parts_of(view.axes) if axis not in own)
    if groups < 1 or length(own) % groups:
        raise GraphError(f"channels must be a multiple of the groups, got {length(own)} and {groups}")
    moved = ordered(b, name, view, [*own, *others])
    made = composed.normalised_groups(Steps(b, name), moved.node, groups, op.real("epsilon", 1e-5))
    each = length(tuple(others))
    arrays = (None if array is None else np.repeat(array, each) for array in (gamma, beta))
    return _affine(b, name, view_of(b, made, moved.axes), *arrays)


def _group_norm(b: Builder, op: Operator) -> View:
    view, groups = b.real(op), op.integer("num_groups", 0)
    gamma, beta = _row(b, op, 1), _row(b, op, 2)
    if view.rank > 1 and gamma is not None and beta is not None and gamma.size == groups != view.dims[1]:
        # Before opset 21 there is one number a group.
        gamma, beta = (np.repeat(array, view.dims[1] // max(groups, 1)) for array in (gamma, beta))
    return _grouped(b, op, view, groups, gamma, beta)


def _instance_norm(b: Builder, op: Operator) -> View:
    view = b.real(op)
    return _grouped(b, op, view, view.dims[1] if view.rank > 1 else 1, _row(b, op, 1), _row(b, op, 2))


def _lp_norm(b: Builder, op: Operator) -> View:
    view, name = b.real(op), op.outputs[0]
    if op.integer("p", 2) != 2:
        raise Unsupported(f"p must be 2, got {op.integer('p', 2)}")
    sums = _summed(b, name, _square(b, name, view), [view.axis(op.integer("axis", -1))])
    # Of zeros the result is zeros.
    some = b.make(name, Apply(Curve.CLIP, _SMALLEST, math.inf), [b.node(sums)])
    root = sums.on(b.make(name, Apply(Curve.POWER, -0.5), [some]))
    first, second, layout = operands(b, name, view, root, ordered=False)
    return layout.on(b.make(name, Multiply(), [first, second]))


# -- products ----------------------------------------------------------------------------------------------------------


def _matmul(b: Builder, op: Operator) -> View:
    if isinstance(right := b.value(op, 1), Known):
        out = dense(b, op.outputs[0], b.real(op), right, False, None)
        b.draft.products.add(out.node)
        return out
    left, right = b.real(op, 0), b.real(op, 1)
    if min(left.rank, right.rank) < 2 or (left.axes[-2] and right.axes[-1]):
        raise Unsupported(
            f"multiplies two computed matrices, as attention does, which a graph has no op for: {left} by {right}"
        )
    # Rows of the first as they stand, columns of the second in their place: the sum is over the last dimension.
    name, turned = op.outputs[0], right.transposed([*range(right.rank - 2), right.rank - 1, right.rank - 2])
    first, second, layout = operands(b, name, left, turned, ordered=False)
    product = layout.on(b.make(name, Multiply(), [first, second]))
    made = _summed(b, name, product, [product.rank - 1])
    if not right.axes[-1]:
        return made
    axes: Dims = (*made.axes[:-2], (), made.axes[-2])
    return made.laid(axes)


def over_channels(b: Builder, op: Operator, source: View, weight: Known, bias: Known | None) -> View | None:
    """A convolution of 1x1xC that slides over the channels; None where it is none."""
    dims = weight.dims
    if source.rank != 3 or source.axes[1] or source.axes[2] != source.channels or dims[:2] != (1, 1):
        return None
    if any((op.integers(name) or [1]) != [1] for name in ("strides", "dilations")) or not source.channels:
        return None
    if op.word("auto_pad", "NOTSET") != "NOTSET":
        return None
    pads = op.integers("pads") or [0, 0]
    if len(pads) != 2 or min(pads) < 0:
        raise GraphError(f"pads must be two numbers, none negative, got {pads[:9]}")
    before, after = pads
    count = source.shape.channels + before + after - dims[2] + 1
    number = None if bias is None else float(bias.array.reshape(-1)[0])
    taps = np.asarray(weight.array.reshape(-1), np.float32)
    made = composed.over_channels(Steps(b, op.outputs[0]), source.node, taps, before, count, number)
    return view_of(b, made, ((), (), (Axis("C", count),) if count > 1 else ()))


def of_parts(b: Builder, op: Operator, source: View, weight: Known, bias: Known | None) -> View | None:
    """A convolution of one tap over the channels, or a part of them, of what is no map: the pixels lie as they do.

    Of a part it has a group for each place of the others. None where dimension 1 is no such part, or of more taps.
    """
    looks = [op.integers(name) or [] for name in ("kernel_shape", "strides")]
    if source.rank < 3 or source.is_map or source.expanded or {*weight.dims[2:], *looks[0], *looks[1]} != {1}:
        return None
    own = source.axes[1]
    others = by_step(part for part in parts_of(source.axes) if part not in own)
    if any(axis.of != "C" for axis in own) or any(op.integers("pads") or []):
        return None
    outputs, groups, count = weight.dims[0], op.integer("group", 1), length(tuple(others))
    if groups < 1 or length(own) != weight.dims[1] * groups or outputs % groups:
        raise GraphError(f"weights must fit {length(own)} channels and {groups} groups, got {list(weight.dims)}")
    name, matrix = op.outputs[0], finite(weight.array, "weights").reshape(outputs, 1, 1, weight.dims[1])
    b.spend(count * matrix.nbytes)
    params: dict[str, Array] = {"weight": np.tile(matrix, (count, 1, 1, 1))}
    if bias is not None:
        params["bias"] = np.tile(finite(bias.array, "bias"), count)
    made = Conv(outputs * count, groups=groups * count, bias=bias is not None)
    node = b.make(name, made, [b.node(ordered(b, name, source, [*others, *own]))], params)
    part = Axis("C", outputs, 0)
    names = laid([*others, part])
    axes = [tuple(names.get(axis, axis) for axis in dim) for dim in source.axes]
    axes[1] = (names[part],) if outputs > 1 else ()
    return view_of(b, node.name, renamed(tuple(axes), {}))


def _conv(b: Builder, op: Operator) -> View:
    source, weight, bias = b.real(op), b.known(op, 1), b.known(op, 2) if b.has(op, 2) else None
    if len(weight.dims) != 3:
        return of_parts(b, op, source, weight, bias) or convolve(b, op, op.outputs[0], b.map(op), weight, bias)
    return over_channels(b, op, source, weight, bias) or _of_a_line(b, op, source, weight, bias)


def _of_a_line(b: Builder, op: Operator, source: View, weight: Known, bias: Known | None) -> View:
    """A convolution of 1xCxL, which is a map of one row or one column."""
    own = source.axes[2] if source.rank == 3 else ()
    down = bool(own) and own[0].of == "H"
    if source.rank != 3 or source.axes[1] != source.channels or len(own) > 1 or (own and own[0].of == "C"):
        raise Unsupported(f"input must be 1xCxL, or the channels as 1x1xC, got {source}")
    if source.expanded or op.word("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Unsupported("auto_pad of one dimension must be NOTSET or VALID")
    numbers = [op.integers(name) or [1] for name in ("strides", "dilations")]
    pads = (op.integers("pads") or [0, 0]) if op.word("auto_pad", "NOTSET") == "NOTSET" else [0, 0]
    if any(len(found) != 1 for found in numbers) or len(pads) != 2:
        raise GraphError("strides, dilations and pads must be those of one dimension")
    (step,), (gap,) = numbers
    outputs, inner, taps = weight.dims
    groups = op.integer("group", 1)
    if source.shape.channels != inner * groups:
        raise GraphError(f"weights must fit {source.shape.channels} channels, got {list(weight.dims)}")
    lines = ((taps, 1), (step, 1), (gap, 1)) if down else ((1, taps), (1, step), (1, gap))
    border = (pads[0], pads[1], 0, 0) if down else (0, 0, pads[0], pads[1])
    made = Conv(outputs, Window(lines[0], lines[1], border, lines[2]), groups, bias=bias is not None)

    def moved(array: Array) -> Array:
        return array.transpose(0, 2, 1).reshape(outputs, *lines[0], inner)

    node = weighted(b, op.outputs[0], made, source, weight, 0, moved, bias)
    axes = axes_of(node.shape)
    return view_of(b, node.name, ((), *((axes[a],) if a in axes else () for a in ("C", "H" if down else "W"))))


HANDLERS = {
    "ArgMax": _argmax,
    "Conv": _conv,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _log_softmax,
    "LpNormalization": _lp_norm,
    "MatMul": _matmul,
    "RMSNormalization": _rms_norm,
    "ReduceL2": _squares(True),
    "ReduceMax": _max,
    "ReduceMean": _mean,
    "ReduceSum": _sum,
    "ReduceSumSquare": _squares(False),
    "Softmax": _softmax,
}
NOTES = {
    "ArgMax": ("argmax", "over channels, the first of equal values; int64 results are int32 here"),
    "Conv": ("conv", "of 1xCxHxW or 1xCxL: any kernel, stride, dilation, groups, auto_pad; constant weights; of 1x1xC"),
    "GroupNormalization": ("pools, convs and products", "a barrier: its statistics are of the full tensor"),
    "InstanceNormalization": ("pools, convs and products", "as GroupNormalization"),
    "LayerNormalization": ("convs and products", "over the channels, first or last"),
    "LogSoftmax": ("softmax and apply", "as Softmax; minus infinity where float32 has no such small share"),
    "LpNormalization": ("multiplies, sums and apply", "of order 2, as ReduceMean"),
    "MatMul": (
        "conv over the full tensor, or 1x1",
        "by a constant matrix, an Add of constants behind it is its bias; by a computed row or column",
    ),
    "RMSNormalization": ("conv and products", "as LayerNormalization"),
    "ReduceL2": ("pool or conv, and apply", "as ReduceMean"),
    "ReduceMax": ("pool, or pairs", "as ReduceMean"),
    "ReduceMean": ("pool, or conv", "over height, width, channels or parts of these"),
    "ReduceSum": ("pool, or conv", "as ReduceMean"),
    "ReduceSumSquare": ("pool, or conv", "as ReduceMean"),
    "Softmax": ("softmax", "over channels; over parts of them, or all pixels, several nodes"),
}
"""What each operator becomes in a graph, and its limits."""
