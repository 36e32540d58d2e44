"""Import of ONNX operators to a draft: one function per operator, and the table of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers.axes import axes_of
from rillet.importers.onnx import folding
from rillet.importers.onnx.builder import Builder, Known, Made
from rillet.importers.onnx.file import Operator, shortest
from rillet.importers.onnx.joined import behind
from rillet.importers.onnx.layout import one_behind_another, operands, settled, stacked, taken
from rillet.importers.onnx.views import MAX_RANK, Joined, View, lengths
from rillet.ir.functions import Curve
from rillet.ir.graph import Array, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    BatchNorm,
    Multiply,
    Op,
    Pair,
    PairKind,
)
from rillet.ir.types import DType, Shape, indices

import onnx  # isort: skip

Handler = Callable[[Builder, Operator], Made | list[Made]]

_FLOAT_MAX = float(np.finfo(np.float32).max)
_CLAMPS = {
    (0.0, 6.0): Activation.RELU6,
    (0.0, float("inf")): Activation.RELU,
    (-1.0, 1.0): Activation.RELU_N1_TO_1,
}


# -- functions of each value -----------------------------------------------------------------------------------------


def activate(b: Builder, name: str, source: View, activation: Activation) -> View:
    """A function of each value called `name`."""
    return source.on(b.make(name, Activate(activation), [b.node(source)]))


def _activate(activation: Activation) -> Handler:
    return lambda b, op: activate(b, op.outputs[0], b.real(op), activation)


def _clip(b: Builder, op: Operator) -> View:
    source = b.real(op)
    low, high = b.number(op, 1, -_FLOAT_MAX), b.number(op, 2, _FLOAT_MAX)
    bounds = (low if low > -_FLOAT_MAX else float("-inf"), high if high < _FLOAT_MAX else float("inf"))
    if bounds == (float("-inf"), float("inf")):
        return source
    if bounds not in _CLAMPS:
        return source.on(
            b.make(op.outputs[0], Apply(Curve.CLIP, shortest(bounds[0]), shortest(bounds[1])), [b.node(source)])
        )
    return activate(b, op.outputs[0], source, _CLAMPS[bounds])


def _batch_norm(b: Builder, op: Operator) -> View:
    source = b.real(op)
    if op.integer("training_mode", 0) or b.gives_more(op):
        raise Unsupported("must use running statistics, got training_mode")
    source.need_channels(source.axis(1))
    channels = source.shape.channels
    params = {name: b.floats(op, i) for i, name in enumerate(("gamma", "beta", "mean", "variance"), 1)}
    for i, (name, array) in enumerate(params.items(), 1):
        b.draft.follows(array, b.known(op, i).source)
        if array.shape != (channels,):
            raise GraphError(f"{name} must have {channels} values, got {list(array.shape)}")
    made = BatchNorm(op.real("epsilon", 1e-5))
    return source.on(b.make(op.outputs[0], made, [b.node(source)], params))


# -- arithmetic ------------------------------------------------------------------------------------------------------


def _operands(b: Builder, op: Operator, commutes: bool) -> tuple[Node, Node, View]:
    """Both operands, the one that is broadcast second, and the layout of the result."""
    left, right = b.value(op, 0), b.value(op, 1)
    if isinstance(left, View) and isinstance(right, View):
        first, second = b.real(op, 0, expanded=True), b.real(op, 1, expanded=True)
        return operands(b, op.outputs[0], first, second, ordered=not commutes)
    if isinstance(right, Known):
        source = b.real(op, 0)
        return b.node(source), b.constant(op.inputs[1], source, right), source
    assert isinstance(left, Known)
    source = b.real(op, 1)
    constant = b.constant(op.inputs[0], source, left, whole=not commutes)
    return (b.node(source), constant, source) if commutes else (constant, b.node(source), source)


def arithmetic(made: Op, commutes: bool) -> Handler:
    """A handler of a sum, difference or product."""

    def handle(b: Builder, op: Operator) -> View:
        left, right, layout = _operands(b, op, commutes)
        return layout.on(b.make(op.outputs[0], made, [left, right]))

    return handle


def _quotient(b: Builder, op: Operator) -> View:
    """A constant or a computed value over a computed one."""
    above = b.value(op, 0)
    if isinstance(above, Known) and above.dims in ((), (1,)) and float(above.array.reshape(-1)[0]) == 1.0:
        source = b.real(op, 1)
        return source.on(b.make(op.outputs[0], Apply(Curve.POWER, -1.0), [b.node(source)]))
    left, right, layout = _operands(b, op, commutes=False)
    return layout.on(b.make(op.outputs[0], Pair(PairKind.DIVIDE), [left, right]))


def _divide(b: Builder, op: Operator) -> View:
    if isinstance(b.value(op, 1), View):
        return _quotient(b, op)
    source, divisor = b.real(op, 0), b.floats(op, 1)
    if not np.all(np.abs(divisor) >= np.finfo(np.float32).tiny):
        raise Unsupported("divisor must not be 0 nor nearly 0")
    inverse = Known((1.0 / divisor.astype(np.float64)).astype(np.float32))
    constant = b.constant(f"{op.inputs[1]}/inverse", source, inverse)
    return source.on(b.make(op.outputs[0], Multiply(), [b.node(source), constant]))


# -- layout ----------------------------------------------------------------------------------------------------------


def _alias(b: Builder, op: Operator) -> View:
    return b.view(op)


def _dropout(b: Builder, op: Operator) -> View:
    if b.has(op, 2) and bool(b.known(op, 2).array.any()):
        raise Unsupported("must be off, got training_mode")
    if b.gives_more(op):
        raise Unsupported("must have one output, got a mask too")
    return b.view(op)


def _cast(b: Builder, op: Operator) -> View:
    node = b.node(b.view(op))
    if node.type == indices(node.shape) and op.integer("to", 0) in (onnx.TensorProto.INT32, onnx.TensorProto.INT64):
        return b.view(op)
    if op.integer("to", 0) != onnx.TensorProto.FLOAT:
        raise Unsupported(f"computed values must stay FLOAT, got a cast to type {op.integer('to', 0)}")
    return b.real(op)


def _axes(b: Builder, op: Operator) -> list[int] | None:
    return b.integers(op, 1) if b.has(op, 1) else op.integers("axes")


def turned(op: Operator, inputs: Sequence[Made | None]) -> Known | None:
    """A dequantised constant in another layout, still with its integers; None where that is not what it is."""
    stored = inputs[0].stored if inputs and isinstance(inputs[0], Known) else None
    if stored is None:
        return None
    dims = stored.integers.shape
    match op.kind:
        case "Identity":
            return Known(None, stored, op.outputs[0])
        case "Transpose":
            order = op.integers("perm") or list(range(len(dims)))[::-1]
            if sorted(order) == list(range(len(dims))):
                integers = stored.integers.transpose(order)
                axis = order.index(stored.axis) if dims else 0
                return Known(None, replace(stored, integers=integers, axis=axis), op.outputs[0])
        case "Reshape" if stored.scale.size == 1:
            wanted = inputs[1].array if len(inputs) > 1 and isinstance(inputs[1], Known) else None
            shape = folding.reshaped(dims, folding.integers([wanted], 0), op.integer("allowzero", 0) != 0)
            return Known(None, replace(stored, integers=stored.integers.reshape(shape), axis=0), op.outputs[0])
        case _:
            pass
    return None


def _reshape(b: Builder, op: Operator) -> View:
    source = b.view(op)
    wanted = folding.reshaped(source.dims, b.integers(op, 1), op.integer("allowzero", 0) != 0)
    return settled(b, op.outputs[0], source.reshaped(wanted))


def _flatten(b: Builder, op: Operator) -> View:
    source = b.view(op)
    return settled(b, op.outputs[0], source.reshaped(folding.flattened(source.dims, op.integer("axis", 1))))


def _squeeze(b: Builder, op: Operator) -> View:
    source = b.view(op)
    return source.reshaped(folding.squeezed(source.dims, _axes(b, op)))


def _unsqueeze(b: Builder, op: Operator) -> View:
    source = b.view(op)
    return source.reshaped(folding.unsqueezed(source.dims, _axes(b, op) or []))


def _transpose(b: Builder, op: Operator) -> View:
    source = b.view(op)
    order = op.integers("perm")
    return source.transposed(list(range(source.rank))[::-1] if order is None else order)


def _expand(b: Builder, op: Operator) -> View:
    source = b.view(op, expanded=True)
    dims = np.broadcast_shapes(source.dims, tuple(b.integers(op, 1)))
    missing = len(dims) - source.rank
    if len(dims) > MAX_RANK:
        raise Unsupported(f"must have at most {MAX_RANK} dimensions, got {len(dims)}")
    return replace(source, axes=((),) * missing + source.axes, dims=dims)


def _shape(b: Builder, op: Operator) -> Known:
    if not b.has(op, 0):
        raise GraphError("input 0 is missing")
    found = b.named(op.inputs[0])
    start, end = op.integer("start", 0), op.attributes.get("end")
    stop = None if end is None else op.integer("end", 0)
    return Known(np.array(found.dims[start:stop], np.int64))


def _constant(b: Builder, op: Operator) -> Known:
    tensor = op.tensor("value")
    if tensor is not None:
        array = b.file.array(tensor)
        b.spend(array.nbytes)
        return Known(array)
    if "value_int" in op.attributes:
        return Known(np.array(op.integer("value_int", 0), np.int64))
    if "value_float" in op.attributes:
        return Known(np.array(op.real("value_float", 0.0), np.float32))
    integers, reals = op.integers("value_ints"), op.reals("value_floats")
    if integers is not None:
        return Known(np.array(integers, np.int64))
    if reals is not None:
        return Known(np.array(reals, np.float32))
    raise Unsupported("must be a dense tensor of numbers")


# -- channels --------------------------------------------------------------------------------------------------------


def _concat(b: Builder, op: Operator) -> View | Joined:
    sources = [b.value(op, i) for i in range(len(op.inputs))]
    like = next(source for source in sources if isinstance(source, View))
    parts = zip(op.inputs, sources, strict=True)
    views = [part if isinstance(part, View) else _part(b, op, name, part, like) for name, part in parts]
    return behind(op, views) or concat(b, op, op.outputs[0], views)


def _part(b: Builder, op: Operator, name: str, known: Known, like: View) -> View:
    """A constant that is put beside channels of `like`."""
    axis = like.axis(op.integer("axis", 0))
    like.need_channels(axis)
    if len(known.dims) != like.rank:
        raise GraphError(f"inputs must have as many dimensions, got {len(known.dims)} of {name[:60]!r}")
    shape = Shape(like.shape.height, like.shape.width, known.dims[axis])
    channels = tuple(axes_of(Shape(1, 1, known.dims[axis])).values())
    axes = (*like.axes[:axis], channels, *like.axes[axis + 1 :])
    view = View("", shape, axes, lengths(axes))
    if known.dims != view.dims:
        raise GraphError(f"inputs must be alike but for their channels, got {list(known.dims)} of {name[:60]!r}")
    return replace(view, node=b.constant(name, view, known, whole=True).name)


def concat(b: Builder, op: Operator, name: str, sources: Sequence[View]) -> View:
    """Tensors side by side along the channels or parts of them, along rows or along columns, called `name`."""
    if not sources or len({view.rank for view in sources}) > 1:
        raise GraphError("inputs must have as many dimensions")
    axis = sources[0].axis(op.integer("axis", 0))
    rest = {tuple(tuple(a[:2] for a in own) for i, own in enumerate(view.axes) if i != axis) for view in sources}
    if len(rest) > 1 or any(view.expanded for view in sources):
        raise Unsupported(f"inputs must be alike but for what is joined, got {' and '.join(map(str, sources[:4]))}")
    if len(sources) == 1:
        return sources[0]
    joined = {a.of for view in sources for a in view.axes[axis]}
    if joined <= {"C"} and all(len(view.axes[axis]) <= 1 for view in sources):
        return stacked(b, name, sources, axis)
    if len(joined) > 1 or any(len(view.axes[axis]) > 1 for view in sources):
        raise Unsupported(f"dimension {axis} must be channels, rows or columns, got {sources[0]}")
    if any(b.node(view).type.dtype is not DType.F32 for view in sources):
        raise Unsupported("rows and columns one behind another must be FLOAT")
    return one_behind_another(b, name, sources, axis, joined.pop())


def _split(b: Builder, op: Operator) -> list[Made]:
    source = b.view(op)
    axis = source.axis(op.integer("axis", 0))
    sizes = folding.parts(op, [None, _array(b, op, 1)], source.dims[axis])
    if len(sizes) == 1:
        return [source]
    starts = np.cumsum([0, *sizes]).tolist()
    parts = zip(op.outputs, starts, sizes, strict=False)
    return [taken(b, name, source, axis, range(start, start + size)) for name, start, size in parts]


def _array(b: Builder, op: Operator, position: int) -> Array | None:
    return b.known(op, position).array if b.has(op, position) else None


def _slice(b: Builder, op: Operator) -> View:
    source = b.view(op)
    places = folding.cuts([None, *(_array(b, op, i) for i in range(1, 5))], source.dims)
    cut = [i for i, own in enumerate(places) if own != range(source.dims[i])]
    if not cut:
        return source
    if not all(len(places[axis]) for axis in cut):
        raise Unsupported("must take some of each dimension, got none")
    for axis in cut:
        source = taken(b, op.outputs[0], source, axis, places[axis])
    return source


HANDLERS: dict[str, Handler] = {
    "Add": arithmetic(Add(), commutes=True),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "Div": _divide,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "HardSwish": _activate(Activation.HARD_SWISH),
    "Identity": _alias,
    "Mul": arithmetic(Multiply(), commutes=True),
    "Relu": _activate(Activation.RELU),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": _activate(Activation.SIGMOID),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": arithmetic(Add(subtract=True), commutes=False),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
NOTES: dict[str, tuple[str, str]] = {
    "Add": ("add", "one operand may be constant, or one value a channel, a pixel, a row or a column"),
    "BatchNormalization": ("batchnorm", "running statistics"),
    "Cast": ("nothing", "to FLOAT, or of constants; of what ArgMax makes between INT32 and INT64"),
    "Clip": ("activate, or apply", "any bounds"),
    "Concat": (
        "concat, or pads and adds",
        "along channels or parts of them; along rows or columns; flattened maps one behind another become several "
        "outputs; or of constants",
    ),
    "Constant": ("constant, or nothing", "dense tensors and lists of numbers"),
    "Div": ("multiply, or pair", "by a constant, a product; or of constants"),
    "Dropout": ("nothing", "switched off"),
    "Expand": ("nothing", "where the reader broadcasts by itself; or of constants"),
    "Flatten": ("nothing", "the reader takes a vector"),
    "HardSwish": ("activate", ""),
    "Identity": ("nothing", ""),
    "Mul": ("multiply", "as Add (squeeze-and-excite)"),
    "Relu": ("activate", ""),
    "Reshape": (
        "nothing, select, depthtospace or spacetodepth",
        "dimensions merge, and channels are cut: what a reader finds in another order is a shuffle; squares of pixels",
    ),
    "Shape": ("nothing", "known without running the network"),
    "Sigmoid": ("activate", "times its input it is a SiLU"),
    "Slice": (
        "slice, select or resize",
        "of channels or parts of them, of rows and columns in their order; of constants",
    ),
    "Split": ("slices", "as Slice"),
    "Squeeze": ("nothing", ""),
    "Sub": ("add", "as Add"),
    "Transpose": ("nothing", "the layout is followed: a map must be 1xCxHxW again where an operator needs one"),
    "Unsqueeze": ("nothing", ""),
}
"""What each operator becomes in a graph, and its limits."""
