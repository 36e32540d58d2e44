"""Import of TFLite operators that move values and compute none, and of what is known of shapes alone."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import tflite

from rillet.errors import RilletError
from rillet.importers.tflite.builder import Builder
from rillet.importers.tflite.file import Operator, Tensor
from rillet.importers.tflite.moves import of_turned
from rillet.ir.graph import Node
from rillet.ir.linear import of_tensorflow, of_tensorflow_int8
from rillet.ir.moves import widened
from rillet.ir.ops import Concat, Interpolate, Pad, Select, output_shape, resize
from rillet.ir.types import DType, Shape, indices


def _pad(b: Builder, op: Operator) -> None:
    source = b.source(op)
    sides = b.integers(op, 1)
    if len(b.tensor(op, 0).dims) != 4 or len(sides) != 8 or any(sides[i] for i in (0, 1)) or min(sides) < 0:
        raise b.refuse(op, f"must pad height, width and channels alone, got {sides}")
    b.same_type(op, source)
    if op.code == tflite.BuiltinOperator.PADV2:
        _check_zero(b, op, source)
    around, beside = Pad((sides[2], sides[3], sides[4], sides[5])), (sides[6], sides[7])
    if not any(beside):
        b.add(op, around, [source])
        return
    if any(around.padding):
        shape = output_shape(around, (source.shape,), source.shape)
        source = b.add_step(op, around, [source], replace(source.type, shape=shape))
    b.add(op, widened(source.shape.channels, *beside), [source])


def _check_zero(b: Builder, op: Operator, source: Node) -> None:
    fill = b.constant(op, 2, source.type.dtype).reshape(-1)
    zero = source.type.quant.zero_point if source.type.quant else 0
    if fill.size != 1 or fill[0] != zero:
        raise b.refuse(op, f"must pad with zeros, got {fill[:3].tolist()}")


def _concat(b: Builder, op: Operator) -> None:
    options = b.file.options(op, tflite.ConcatenationOptions)
    dims = [b.tensor(op, i).dims for i in range(len(op.inputs))]
    if not dims or options.FusedActivationFunction() != 0:
        raise b.refuse(op, "must join one input or more without an activation")
    if all(b.known(op, i) for i in range(len(op.inputs))):
        joined = [number for i in range(len(op.inputs)) for number in b.integers(op, i)]
        b.folded[b.output(op).index] = np.array(joined, np.int64)
        return
    axis = options.Axis() % len(dims[0])
    if axis == len(dims[0]) - 1 and all(b.plain(op, i) for i in range(len(dims))):
        _join_channels(b, op)
    elif all(length == 1 for own in dims for length in own[:axis]):
        _join_rows(b, op, axis)
    else:
        raise b.refuse(
            op, f"must join channels, or maps one behind another, got axis {options.Axis()} of {list(dims[0])}"
        )


def _join_channels(b: Builder, op: Operator) -> None:
    sources = [b.source(op, i) for i in range(len(op.inputs))]
    out = b.type(b.output(op), sources[0].shape)
    if out.dtype in (DType.I8, DType.I16) and any(node.type.quant != out.quant for node in sources):
        raise b.refuse(op, f"{out.dtype.numpy} inputs must have the scale and zero point of the output")
    b.add(op, Concat(), sources)


def _join_rows(b: Builder, op: Operator, axis: int) -> None:
    """The bytes of the inputs lie one behind another: the output is several values, and no node makes it."""
    pieces = [piece for i in range(len(op.inputs)) for piece in b.pieces(op, i)]
    out, rows = b.output(op), sum(b.tensor(op, i).dims[axis] for i in range(len(op.inputs)))
    wanted = tuple(rows if i == axis else length for i, length in enumerate(b.tensor(op, 0).dims))
    out = b.set_dims(op, out, wanted) if out.open else out
    if out.dims != wanted:
        raise b.fail(op, f"output must be {list(wanted)}, got {list(out.dims)}")
    for piece in pieces:
        b.same_type(op, piece)
    b.values[out.index] = tuple(piece.name for piece in pieces)


def _resize(b: Builder, op: Operator) -> None:
    source = b.source(op)
    options = b.file.options(op, tflite.ResizeNearestNeighborOptions)
    size, out = b.integers(op, 1), b.output(op)
    if len(size) != 2 or (not out.open and list(out.dims[1:3]) != size):
        raise b.fail(op, f"size must be that of the output, got {size}")
    b.same_type(op, source)
    flags = bool(options.AlignCorners()), bool(options.HalfPixelCenters())
    try:
        Shape(size[0], size[1], source.shape.channels)
        made = resize(source.shape, size[0], size[1], *flags)
    except RilletError as error:
        raise type(error)(f"{b.file.name}: {op}: {error}") from None
    b.add(op, made, [source])


def _resize_bilinear(b: Builder, op: Operator) -> None:
    source = b.source(op)
    options = b.file.options(op, tflite.ResizeBilinearOptions)
    size, out = b.integers(op, 1), b.output(op)
    if len(size) != 2 or min(size) < 1 or (not out.open and list(out.dims[1:3]) != size):
        raise b.fail(op, f"size must be that of the output, got {size}")
    b.same_type(op, source)
    flags = bool(options.AlignCorners()), bool(options.HalfPixelCenters())
    places = of_tensorflow_int8 if source.type.dtype in (DType.I8, DType.I16) else of_tensorflow
    try:
        (rows, down), (columns, right) = (
            places(length, made, *flags) for length, made in zip(source.shape.array[:2], size, strict=True)
        )
        made = Interpolate(rows, columns, down, right)
    except RilletError as error:
        raise type(error)(f"{b.file.name}: {op}: {error}") from None
    if source.type.dtype is DType.U8 and any(share * 64 % 1 for share in (*down, *right)):
        # LiteRT's sums of these are of float32, which is exact for such shares alone.
        raise b.refuse(op, f"uint8 maps must be resized by shares of 64ths, got {size} of {source.shape}")
    b.add(op, made, [source])


def _reshape(b: Builder, op: Operator) -> None:
    out = b.output(op)
    if out.open:
        b.set_dims(op, out, _reshaped(b, op, out))
    b.alias(op)


def _reshaped(b: Builder, op: Operator, out: Tensor) -> list[int]:
    """The dimensions of a result that the file leaves open: as asked for, or those of the input but for length 1."""
    dims = b.tensor(op, 0).dims
    if op.code == tflite.BuiltinOperator.RESHAPE:
        options = b.file.options(op, tflite.ReshapeOptions)
        said = b.integers(op, 1) if len(op.inputs) > 1 else [int(n) for n in np.atleast_1d(options.NewShapeAsNumpy())]
    else:
        said = list(out.dims)
        lengths = [length for length in dims[1:] if length > 1]
        if sum(length > 1 for length in said) != len(lengths):
            said = [1] * (len(said) - len(lengths)) + lengths
    if said.count(-1) > 1 or min(said, default=1) < -1 or 0 in said:
        raise b.fail(op, f"shape must have one open dimension at most, got {said}")
    rest = math.prod(n for n in said if n > 0)
    return [math.prod(dims) // rest if n == -1 else n for n in said]


def _cast(b: Builder, op: Operator) -> None:
    found = b.pieces(op)
    if any(piece.type != indices(piece.shape) for piece in found):
        raise b.refuse(op, f"input must be places that ARG_MAX found, got {b.tensor(op, 0)}")
    b.same_dims(op)
    b.alias(op)


def _transpose(b: Builder, op: Operator) -> None:
    order, dims, out = b.integers(op, 1), b.tensor(op, 0).dims, b.output(op)
    if out.open and len(order) == len(dims):
        b.set_dims(op, out, [dims[axis] for axis in order if 0 <= axis < len(dims)])
    if sorted(order) != list(range(len(dims))):
        raise b.fail(op, f"order must be one of {len(dims)} dimensions, got {order}")
    moved = [axis for axis in order if dims[axis] > 1]
    if moved == sorted(moved) and b.tensor(op, 0).index not in b.order:
        b.alias(op)
    elif len(dims) == 4 and order[0] == 0 and (b.tensor(op, 0).index in b.order or b.plain(op)):
        b.view(op, order)
    elif b.tensor(op, 0).index not in b.order and of_turned(b, op, order):
        return
    else:
        raise b.refuse(op, f"must move height, width and channels alone, got {order} of {list(dims)}")


def _shape(b: Builder, op: Operator) -> None:
    b.folded[b.output(op).index] = np.array(b.tensor(op, 0).dims, np.int64)


def _pack(b: Builder, op: Operator) -> None:
    if not all(b.known(op, i) for i in range(len(op.inputs))):
        _stack(b, op)
        return
    parts = [b.integers(op, i) for i in range(len(op.inputs))]
    if any(len(part) != 1 for part in parts):
        raise b.refuse(op, "must pack the numbers of a shape, or maps")
    b.folded[b.output(op).index] = np.array(parts, np.int64).reshape(-1)


def _stack(b: Builder, op: Operator) -> None:
    """Maps along a dimension of their own: side by side in the channels, between these, or one behind another."""
    dims, count, out = b.tensor(op, 0).dims, len(op.inputs), b.output(op)
    axis = b.file.options(op, tflite.PackOptions).Axis()
    axis += len(dims) + 1 if axis < 0 else 0
    if not 0 <= axis <= len(dims) or any(b.tensor(op, i).dims != dims for i in range(count)):
        raise b.fail(op, f"must stack inputs of one shape along one of {len(dims) + 1} dimensions")
    wanted = (*dims[:axis], count, *dims[axis:])
    out = b.set_dims(op, out, wanted) if out.open else out
    if out.dims != wanted:
        raise b.fail(op, f"output must be {list(wanted)}, got {list(out.dims)}")
    sources, run = [b.source(op, i, flat=True) for i in range(count)], math.prod(dims[axis:])
    for source in sources:
        b.same_type(op, source)
    shape, channels = sources[0].shape, sources[0].shape.channels
    if any(source.shape != shape for source in sources):
        raise b.refuse(op, f"must stack maps of one shape, got {', '.join(str(s.shape) for s in sources)}")
    if run == shape.elements and shape.pixels > 1:
        b.values[out.index] = tuple(source.name for source in sources)
        return
    if channels % run:
        raise b.refuse(op, f"must stack channels, parts of them or full tensors, got axis {axis} of {list(dims)}")
    made = Shape(shape.height, shape.width, count * channels)
    if run == channels:
        b.add(op, Concat(), sources, shape=made)
        return
    whole = b.add_step(op, Concat(), sources, replace(sources[0].type, shape=made))
    places = np.arange(count * channels).reshape(count, channels // run, run).transpose(1, 0, 2)
    b.add(op, Select(tuple(places.reshape(-1).tolist())), [whole], shape=made)


def _densify(b: Builder, op: Operator) -> None:
    b.densify(op)


HANDLERS: dict[int, Callable[[Builder, Operator], None]] = {
    tflite.BuiltinOperator.PAD: _pad,
    tflite.BuiltinOperator.PADV2: _pad,
    tflite.BuiltinOperator.CONCATENATION: _concat,
    tflite.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR: _resize,
    tflite.BuiltinOperator.RESIZE_BILINEAR: _resize_bilinear,
    tflite.BuiltinOperator.RESHAPE: _reshape,
    tflite.BuiltinOperator.SQUEEZE: _reshape,
    tflite.BuiltinOperator.EXPAND_DIMS: _reshape,
    tflite.BuiltinOperator.CAST: _cast,
    tflite.BuiltinOperator.TRANSPOSE: _transpose,
    tflite.BuiltinOperator.SHAPE: _shape,
    tflite.BuiltinOperator.PACK: _pack,
    tflite.BuiltinOperator.DENSIFY: _densify,
}

NOTES: dict[str, tuple[str, str]] = {
    "CAST": ("nothing", "of what ARG_MAX makes, between int32 and int64"),
    "CONCATENATION": (
        "concat",
        "along channels; int8 parts in the scale of the whole, uint8 parts in any. "
        "One map behind another becomes several outputs",
    ),
    "DENSIFY": ("nothing", "of a constant"),
    "EXPAND_DIMS": ("nothing", "the bytes stay as they are"),
    "PACK": (
        "concat, or select",
        "of channels, parts of them, or full tensors (several outputs); of the numbers of a shape nothing",
    ),
    "PAD": ("pad, or select", "height, width and channels"),
    "PADV2": ("pad, or select", "as PAD, with zeros"),
    "RESHAPE": (
        "nothing",
        "where the reader takes the values in any shape: a dense layer, a function of each, an output",
    ),
    "RESIZE_BILINEAR": ("interpolate", "all flags; uint8 maps by shares of 64ths"),
    "RESIZE_NEAREST_NEIGHBOR": ("resize", "both flags"),
    "SHAPE": ("nothing", "known without running the network"),
    "SQUEEZE": ("nothing", "the bytes stay as they are"),
    "TRANSPOSE": (
        "nothing, select or depthtospace",
        "where dimensions of length 1 move, between 1xCxHxW and 1xHxWxC and back, "
        "of parts of the channels (a shuffle), or of these between rows and columns",
    ),
}
"""As in `operators.py`."""
