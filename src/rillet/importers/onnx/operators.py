"""Import of ONNX operators to a draft: one function per operator, and the table of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx import folding
from rillet.importers.onnx.builder import Builder, Known, Result
from rillet.importers.onnx.file import Operator, shortest
from rillet.importers.onnx.views import CHANNELS, HEIGHT, MAX_RANK, WIDTH, Axes, View, joined, lengths, of_map
from rillet.ir.functions import Curve
from rillet.ir.graph import Array, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    BatchNorm,
    Concat,
    Multiply,
    Op,
    Pair,
    PairKind,
    Resize,
    Select,
    Slice,
    Softmax,
)
from rillet.ir.types import Shape

import onnx  # isort: skip

Handler = Callable[[Builder, Operator], Result | list[Result]]

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


def _softmax(b: Builder, op: Operator) -> View:
    return softmax(b, op, op.outputs[0], b.real(op), b.file.opset)


def softmax(b: Builder, op: Operator, name: str, source: View, opset: int) -> View:
    """A softmax over the channels called `name`; before opset 13 it is over all dimensions from its axis on."""
    axis = source.axis(op.integer("axis", 1 if opset < 13 else -1))
    if opset < 13 and any(n > 1 for n in source.dims[axis + 1 :]):
        raise Unsupported(f"axis must be the channels, got {axis} and those behind it of {source}")
    source.need_channels(axis)
    return source.on(b.make(name, Softmax(), [b.node(source)]))


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
        if commutes and first.shape.elements < second.shape.elements:
            first, second = second, first
        layout, _ = joined(first, second)
        return b.node(first), b.node(second), layout
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
    if op.integer("to", 0) != onnx.TensorProto.FLOAT:
        raise Unsupported(f"computed values must stay FLOAT, got a cast to type {op.integer('to', 0)}")
    return b.real(op)


def _axes(b: Builder, op: Operator) -> list[int] | None:
    return b.integers(op, 1) if b.has(op, 1) else op.integers("axes")


def turned(op: Operator, inputs: Sequence[Result | None]) -> Known | None:
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
    return source.reshaped(folding.reshaped(source.dims, b.integers(op, 1), op.integer("allowzero", 0) != 0))


def _flatten(b: Builder, op: Operator) -> View:
    source = b.view(op)
    return source.reshaped(folding.flattened(source.dims, op.integer("axis", 1)))


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
    found = b.value(op, 0)
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


def _concat(b: Builder, op: Operator) -> View:
    sources = [b.value(op, i) for i in range(len(op.inputs))]
    like = next(source for source in sources if isinstance(source, View))
    parts = zip(op.inputs, sources, strict=True)
    views = [part if isinstance(part, View) else _part(b, op, name, part, like) for name, part in parts]
    return concat(b, op, op.outputs[0], views)


def _part(b: Builder, op: Operator, name: str, known: Known, like: View) -> View:
    """A constant that is put beside channels of `like`."""
    axis = like.axis(op.integer("axis", 0))
    like.need_channels(axis)
    if len(known.dims) != like.rank:
        raise GraphError(f"inputs must have as many dimensions, got {len(known.dims)} of {name[:60]!r}")
    shape = Shape(like.shape.height, like.shape.width, known.dims[axis])
    axes = (*like.axes[:axis], (CHANNELS,) if shape.channels > 1 else (), *like.axes[axis + 1 :])
    view = View("", shape, axes, lengths(shape, axes))
    if known.dims != view.dims:
        raise GraphError(f"inputs must be alike but for their channels, got {list(known.dims)} of {name[:60]!r}")
    return replace(view, node=b.constant(name, view, known, whole=True).name)


def concat(b: Builder, op: Operator, name: str, sources: Sequence[View]) -> View:
    """Tensors side by side along the channels, called `name`."""
    if not sources or len({view.rank for view in sources}) > 1:
        raise GraphError("inputs must have as many dimensions")
    axis = sources[0].axis(op.integer("axis", 0))
    for view in sources:
        view.need_channels(axis)
    nodes = [b.node(view) for view in sources]
    rest = {(view.axes[:axis], view.axes[axis + 1 :], view.dims[:axis], view.dims[axis + 1 :]) for view in sources}
    types = {(node.type.dtype, node.type.quant) for node in nodes}
    if len(rest) > 1 or len(types) > 1:
        raise Unsupported("inputs must be alike but for their channels")
    return with_channels(sources[0], axis, b.make(name, Concat(), nodes))


def with_channels(view: View, axis: int, node: Node) -> View:
    """The layout of `view` over a node with other channels, at dimension `axis`."""
    channels = (CHANNELS,) if node.shape.channels > 1 else ()
    axes: Axes = (*view.axes[:axis], channels, *view.axes[axis + 1 :])
    return View(node.name, node.shape, axes, lengths(node.shape, axes))


def _split(b: Builder, op: Operator) -> list[Result]:
    source = b.view(op)
    axis = source.axis(op.integer("axis", 0))
    sizes = folding.parts(op, [None, _array(b, op, 1)], source.dims[axis])
    if len(sizes) == 1:
        return [source]
    out: list[Result] = []
    for name, start, size in zip(op.outputs, np.cumsum([0, *sizes]), sizes, strict=False):
        out.append(_channels(b, source, axis, int(start), int(start) + size, name))
    return out


def _array(b: Builder, op: Operator, position: int) -> Array | None:
    return b.known(op, position).array if b.has(op, position) else None


def _slice(b: Builder, op: Operator) -> View:
    source = b.view(op)
    taken = folding.cuts([None, *(_array(b, op, i) for i in range(1, 5))], source.dims)
    cut = [i for i, places in enumerate(taken) if places != range(source.dims[i])]
    if not cut:
        return source
    if not all(len(taken[axis]) for axis in cut):
        raise Unsupported("must take some of each dimension, got none")
    if len(cut) == 1 and taken[cut[0]].step == 1 and source.axes[cut[0]] == (CHANNELS,):
        return _channels(b, source, cut[0], taken[cut[0]].start, taken[cut[0]].stop, op.outputs[0])
    return _take(b, op, source, {axis: tuple(taken[axis]) for axis in cut})


def _take(b: Builder, op: Operator, source: View, places: dict[int, tuple[int, ...]]) -> View:
    """Channels in any order, and rows and columns in theirs."""
    name, at = op.outputs[0], source
    rows, columns = tuple(range(source.shape.height)), tuple(range(source.shape.width))
    for axis, taken in places.items():
        axes = source.axes[axis]
        if axes == (CHANNELS,):
            part = name if len(places) == 1 else f"{name}/channels"
            at = with_channels(at, axis, b.make(part, Select(taken), [b.node(at)]))
            continue
        source.need_map()
        if axes not in ((HEIGHT,), (WIDTH,)) or list(taken) != sorted(taken):
            raise Unsupported("must take channels, or rows and columns in their order")
        rows, columns = (taken, columns) if axes == (HEIGHT,) else (rows, taken)
    if (len(rows), len(columns)) == (source.shape.height, source.shape.width):
        return at
    return of_map(b.make(name, Resize(rows, columns), [b.node(at)]))


def _channels(b: Builder, source: View, axis: int, start: int, stop: int, name: str) -> View:
    source.need_channels(axis)
    return with_channels(source, axis, b.make(name, Slice(start, stop), [b.node(source)]))


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
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": arithmetic(Add(subtract=True), commutes=False),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
NOTES: dict[str, tuple[str, str]] = {
    "Add": ("add", "one operand may be constant, or one value a channel"),
    "BatchNormalization": ("batchnorm", "running statistics"),
    "Cast": ("nothing", "to FLOAT, or of constants"),
    "Clip": ("activate, or apply", "any bounds"),
    "Concat": ("concat", "along channels, or of constants"),
    "Constant": ("constant, or nothing", "dense tensors and lists of numbers"),
    "Div": ("multiply, or pair", "by a constant, a product; or of constants"),
    "Dropout": ("nothing", "switched off"),
    "Expand": ("nothing", "where the reader broadcasts by itself; or of constants"),
    "Flatten": ("nothing", "the reader takes a vector"),
    "HardSwish": ("activate", ""),
    "Identity": ("nothing", ""),
    "Mul": ("multiply", "as Add (squeeze-and-excite)"),
    "Relu": ("activate", ""),
    "Reshape": ("nothing", "where dimensions stay or merge; or of constants"),
    "Shape": ("nothing", "known without running the network"),
    "Sigmoid": ("activate", "times its input it is a SiLU"),
    "Slice": ("slice, select or resize", "of channels, of rows and columns in their order; or of constants"),
    "Softmax": ("softmax", "over channels"),
    "Split": ("slices", "of channels"),
    "Squeeze": ("nothing", ""),
    "Sub": ("add", "as Add"),
    "Transpose": ("nothing", "the layout is followed: a map must be 1xCxHxW again where an operator needs one"),
    "Unsqueeze": ("nothing", ""),
}
"""What each operator becomes in a graph, and its limits."""
