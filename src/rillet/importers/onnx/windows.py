"""Import of ONNX convolutions, dense layers and pools."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx.builder import BYTES, Builder, Known, Stored, finite
from rillet.importers.onnx.draft import StoredWeights
from rillet.importers.onnx.file import Operator
from rillet.importers.onnx.views import CHANNELS, HEIGHT, WIDTH, View, lengths, of_map
from rillet.ir.graph import Array, Node
from rillet.ir.moves import widened
from rillet.ir.ops import Conv, Pad, Pool, PoolKind, Window
from rillet.ir.types import DType, Shape

Sides = tuple[int, int, int, int]


def window(op: Operator, shape: Shape, kernel: tuple[int, int]) -> tuple[Window, Sides]:
    """Where an operator looks; and the rows and columns below and right that ceil_mode adds to the padding."""
    stride, dilation = _pair(op, "strides"), _pair(op, "dilations")
    pads = op.integers("pads") or [0, 0, 0, 0]
    if len(pads) != 4:
        raise GraphError(f"pads must be 4 numbers, got {pads[:9]}")
    bare = Window(kernel, stride, (0, 0, 0, 0), dilation)
    auto, ceiling = op.word("auto_pad", "NOTSET"), op.integer("ceil_mode", 0) != 0
    if auto == "VALID" and ceiling:  # the definition and ONNX Runtime differ
        raise Unsupported("ceil_mode must go with pads, got auto_pad VALID")
    before_after: list[int] = []
    added = [0, 0]
    for i, length in enumerate((shape.height, shape.width)):
        before, after, step, extent = pads[i], pads[i + 2], stride[i], bare.extent[i]
        match auto:
            case "NOTSET":
                if ceiling:
                    added[i] = _hanging_over(length, before, after, step, extent)
            case "VALID":
                before = after = 0
            case "SAME_UPPER" | "SAME_LOWER":
                total = max((-(-length // step) - 1) * step + extent - length, 0)
                before = total // 2 if auto == "SAME_UPPER" else total - total // 2
                after = total - before
            case _:
                raise GraphError(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, got {auto[:20]!r}")
        before_after += [before, after]
    top, bottom, left, right = before_after
    return replace(bare, padding=(top, bottom, left, right)), (0, added[0], 0, added[1])


def _hanging_over(length: int, before: int, after: int, step: int, extent: int) -> int:
    """Places behind the padding that the last window takes in ceil_mode; it may not begin there."""
    windows = -((extent - length - before - after) // step) + 1
    if (windows - 1) * step >= length + before:
        windows -= 1
    return max(0, (windows - 1) * step + extent - length - before - after)


def _pair(op: Operator, name: str, default: tuple[int, int] | None = (1, 1)) -> tuple[int, int]:
    values = op.integers(name)
    if values is None and default is not None:
        return default
    if values is None or len(values) != 2:
        raise Unsupported(f"{name} must be that of two dimensions, got {values if values is None else values[:9]}")
    return values[0], values[1]


def _sum(left: Sides, right: Sides) -> Sides:
    return left[0] + right[0], left[1] + right[1], left[2] + right[2], left[3] + right[3]


# -- convolutions ----------------------------------------------------------------------------------------------------


def convolve(b: Builder, op: Operator, name: str, source: View, weight: Known, bias: Known | None) -> View:
    """A convolution of float32 values called `name`."""
    source = source.need_map()
    dims = weight.dims
    if len(dims) != 4:
        raise Unsupported(f"weights must be outputs x inputs x height x width, got {list(dims)}")
    kernel = _pair(op, "kernel_shape", (dims[2], dims[3]))
    groups = op.integer("group", 1)
    if kernel != dims[2:] or source.shape.channels != dims[1] * groups:
        raise GraphError(
            f"weights must fit {source.shape.channels} channels, {groups} groups and kernel {kernel}, got {list(dims)}"
        )
    looks, _ = window(op, source.shape, kernel)
    made = Conv(dims[0], looks, groups, bias=bias is not None)
    return of_map(_weighted(b, name, made, source, weight, 0, lambda array: array.transpose(0, 2, 3, 1), bias))


def dense(
    b: Builder, name: str, source: View, weight: Known, transposed: bool, bias: Known | None, factor: float = 1.0
) -> View:
    """A product of the last dimension with a matrix: a dense layer, or a 1x1 convolution of a 1xHxWxC tensor.

    `transposed` where the matrix is outputs x inputs.
    """
    dims = weight.dims
    if len(dims) != 2:
        raise Unsupported(f"second operand must be a constant matrix, got {list(dims)}")
    if not source.rank or dims[int(transposed)] != source.dims[-1] or min(dims) < 1:
        raise GraphError(f"matrix must fit the last dimension of {source}, got {list(dims)}")
    outputs = dims[1 - int(transposed)]
    last, shape = source.axes[-1], source.shape
    if set(last) == set(source.atoms):
        looks, is_dense = Window((shape.height, shape.width)), True
    elif last == ((CHANNELS,) if shape.channels > 1 else ()):
        looks, is_dense = Window(), False
    else:
        raise Unsupported(f"last dimension must be the channels, or all there is, got {source} of {shape}")
    order = [last.index(axis) for axis in sorted(last)]

    def moved(array: Array) -> Array:
        matrix = (array if transposed else array.T).reshape(outputs, *(shape.array[axis] for axis in last))
        return matrix.transpose(0, *(1 + i for i in order)).reshape(outputs, *looks.kernel, shape.channels)

    made = Conv(outputs, looks, bias=bias is not None, dense=is_dense)
    node = _weighted(b, name, made, source, weight, 1 - int(transposed), moved, bias, factor)
    axes = (*((() for _ in source.axes[:-1]) if is_dense else source.axes[:-1]), (CHANNELS,) if outputs > 1 else ())
    return View(node.name, node.shape, axes, lengths(node.shape, axes))


def _weighted(
    b: Builder,
    name: str,
    made: Conv,
    source: View,
    weight: Known,
    axis: int,
    moved: Callable[[Array], Array],
    bias: Known | None,
    factor: float = 1.0,
) -> Node:
    """A convolution with its weights; `axis` is that of the output channels in the file, `moved` puts it first."""
    outputs = made.out_channels
    params: dict[str, Array] = {}
    if bias is not None:
        if bias.array.shape != (outputs,):
            raise GraphError(f"bias must have {outputs} values, got {list(bias.array.shape)}")
        params["bias"] = finite(bias.array, "bias")
        b.draft.follows(params["bias"], bias.source)
    stored = _stored(weight.stored, axis, outputs, moved, bias) if weight.stored and factor == 1.0 else None
    if stored is None:
        real = finite(weight.array, "weights")
        with np.errstate(over="ignore"):
            params["weight"] = np.ascontiguousarray(moved(real if factor == 1.0 else real * np.float32(factor)))
        b.draft.follows(params["weight"], weight.source)
    else:
        b.draft.follows(stored.weight, weight.source)
        b.draft.follows(stored.scale, weight.source)
        if stored.bias is not None and bias is not None:
            b.draft.follows(stored.bias, bias.source)
        b.spend(4 * stored.weight.size)  # as float32, to which they may be dequantised
    node = b.make(name, made, [b.node(source)], params)
    if stored is not None:
        b.draft.stored[node.name] = stored
    return node


def _stored(
    weight: Stored, axis: int, outputs: int, moved: Callable[[Array], Array], bias: Known | None
) -> StoredWeights | None:
    """Quantised weights as a graph can hold them, None where it cannot."""
    dtype = BYTES.get(weight.integers.dtype)
    if dtype is None or np.unique(weight.zero).size != 1:
        return None
    zero = int(weight.zero.reshape(-1)[0])
    if (weight.scale.size > 1 and weight.axis != axis) or (dtype is DType.I8 and zero):
        return None
    of_bias = bias.stored if bias is not None else None
    if of_bias is not None and (of_bias.integers.dtype != np.int32 or of_bias.zero.any()):
        of_bias = None
    return StoredWeights(
        np.ascontiguousarray(moved(weight.integers)),
        dtype,
        np.ascontiguousarray(np.broadcast_to(weight.scale.reshape(-1), (outputs,))),
        zero,
        of_bias.integers if of_bias else None,
        np.broadcast_to(of_bias.scale.reshape(-1), (outputs,)) if of_bias else None,
    )


def _conv(b: Builder, op: Operator) -> View:
    bias = b.known(op, 2) if b.has(op, 2) else None
    return convolve(b, op, op.outputs[0], b.map(op), b.known(op, 1), bias)


def _gemm(b: Builder, op: Operator) -> View:
    source, weight = b.real(op), b.known(op, 1)
    if op.integer("transA", 0):
        source = source.transposed(list(range(source.rank))[::-1])
    if source.rank != 2 or source.dims[0] != 1:
        raise Unsupported(f"input must be one vector, got {source}")
    transposed = op.integer("transB", 0) != 0
    bias = row_bias(b.known(op, 2), op.real("beta", 1.0)) if b.has(op, 2) else None
    dims = weight.dims
    outputs = dims[0 if transposed else -1] if dims else 0
    if bias is not None and bias.array.size == 1 < outputs:
        bias = Known(np.full(outputs, bias.array.reshape(-1)[0]), source=bias.source)
    return dense(b, op.outputs[0], source, weight, transposed, bias, op.real("alpha", 1.0))


def row_bias(known: Known, factor: float) -> Known:
    """The bias of a dense layer out of what a Gemm adds: one row, or one number."""
    stored, dims = known.stored, known.dims
    if math.prod(dims[:-1]) != 1:
        raise Unsupported(f"bias must be one row, got {list(dims)}")
    if stored is not None and factor == 1.0:
        return Known(None, replace(stored, integers=stored.integers.reshape(-1), axis=0), source=known.source)
    with np.errstate(over="ignore"):
        row = (finite(known.array, "bias").reshape(-1) * np.float32(factor)).astype(np.float32)
    return Known(row, source=known.source)


def _matmul(b: Builder, op: Operator) -> View:
    out = dense(b, op.outputs[0], b.real(op), b.known(op, 1), False, None)
    b.draft.products.add(out.node)
    return out


# -- pools -----------------------------------------------------------------------------------------------------------


def _pool(kind: PoolKind) -> Callable[[Builder, Operator], View]:
    def handle(b: Builder, op: Operator) -> View:
        source = b.view(op).need_map() if kind is PoolKind.MAX else b.map(op)
        if b.gives_more(op):
            raise Unsupported("must give the greatest values alone, not their indices")
        return pool(b, op, op.outputs[0], source, kind)

    return handle


def pool(b: Builder, op: Operator, name: str, source: View, kind: PoolKind) -> View:
    """A pool called `name`. Padding that counts becomes a Pad of its own; what ceil_mode adds never counts."""
    looks, added = window(op, source.shape, _pair(op, "kernel_shape", None))
    if looks.dilation != (1, 1):
        raise Unsupported(f"dilations must be 1, got {list(looks.dilation)}")
    node = b.node(source)
    if kind is PoolKind.AVERAGE and op.integer("count_include_pad", 0) and any(looks.padding):
        node = b.make(f"{name}/pad", Pad(looks.padding), [node])
        looks = replace(looks, padding=(0, 0, 0, 0))
    looks = replace(looks, padding=_sum(looks.padding, added))
    return of_map(b.make(name, Pool(kind, looks), [node]))


def global_pool(b: Builder, name: str, source: View, kind: PoolKind) -> View:
    """A global pool called `name`."""
    source = source.need_map()
    return of_map(b.make(name, Pool(kind, Window((source.shape.height, source.shape.width))), [b.node(source)]))


def _global(kind: PoolKind) -> Callable[[Builder, Operator], View]:
    return lambda b, op: global_pool(b, op.outputs[0], b.map(op), kind)


def _reduce_mean(b: Builder, op: Operator) -> View:
    source = b.real(op)
    axes = b.integers(op, 1) if b.has(op, 1) else op.integers("axes")
    if not axes:
        if op.integer("noop_with_empty_axes", 0):
            return source
        axes = list(range(source.rank))
    gone = {source.axis(axis) for axis in axes}
    over = {axis for i in gone for axis in source.axes[i]}
    kept = {axis for i, dim in enumerate(source.axes) if i not in gone for axis in dim}
    if CHANNELS in over or over & kept:
        raise Unsupported(f"axes must be height and width, got {axes[:9]} of {source}")
    shape = source.shape
    kernel = (shape.height if HEIGHT in over else 1, shape.width if WIDTH in over else 1)
    node = b.make(op.outputs[0], Pool(PoolKind.MEAN, Window(kernel)), [b.node(source)])
    keep = op.integer("keepdims", 1) != 0
    left = tuple(() if i in gone else dim for i, dim in enumerate(source.axes) if keep or i not in gone)
    return View(node.name, node.shape, left, lengths(node.shape, left))


def _pad(b: Builder, op: Operator) -> View:
    source = b.view(op).need_map()
    mode, value, quant = op.word("mode", "constant"), b.number(op, 2, 0.0), b.node(source).type.quant
    if mode != "constant" or value != (quant.zero_point if quant else 0):
        raise Unsupported(f"must pad with zeros, got mode {mode[:20]!r} and {value}")
    sides = b.integers(op, 1)
    axes = b.integers(op, 3) if b.has(op, 3) else list(range(4))
    if len(sides) != 2 * len(axes):
        raise GraphError(f"pads must be two numbers for each axis, got {sides[:9]}")
    before, after = [0] * 4, [0] * 4
    for i, axis in enumerate(axes):
        before[source.axis(axis)], after[source.axis(axis)] = sides[i], sides[i + len(axes)]
    if before[0] or after[0] or min(sides, default=0) < 0:
        raise Unsupported(f"must add rows, columns and channels alone, got {sides[:9]}")
    padding, node = (before[2], after[2], before[3], after[3]), b.node(source)
    if not before[1] and not after[1]:
        return of_map(b.make(op.outputs[0], Pad(padding), [node]))
    if any(padding):
        node = b.make(f"{op.outputs[0]}/around", Pad(padding), [node])
    return of_map(b.make(op.outputs[0], widened(source.shape.channels, before[1], after[1]), [node]))


HANDLERS = {
    "AveragePool": _pool(PoolKind.AVERAGE),
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(PoolKind.AVERAGE),
    "GlobalMaxPool": _global(PoolKind.MAX),
    "MatMul": _matmul,
    "MaxPool": _pool(PoolKind.MAX),
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
}
NOTES = {
    "AveragePool": ("pool", "padding that counts becomes a pad; no dilation"),
    "Conv": ("conv", "of 1xCxHxW: any kernel, stride, dilation, groups, auto_pad; constant weights"),
    "Gemm": ("conv over the full tensor", "of one vector or a flattened map; constant matrix and row"),
    "GlobalAveragePool": ("global pool", ""),
    "GlobalMaxPool": ("global pool", ""),
    "MatMul": ("conv over the full tensor, or 1x1", "by a constant matrix; an Add of constants behind it is its bias"),
    "MaxPool": ("pool", "values alone, no indices, no dilation"),
    "Pad": ("pad, or padding of the convolutions behind it", "zeros, height and width"),
    "ReduceMean": ("pool", "over height, width or both"),
}
"""What each operator becomes in a graph, and its limits."""
