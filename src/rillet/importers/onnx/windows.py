"""Import of ONNX convolutions, dense layers and pools."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers.axes import axes_of, by_step
from rillet.importers.onnx.builder import BYTES, Builder, Known, Stored, finite
from rillet.importers.onnx.draft import StoredWeights
from rillet.importers.onnx.file import Operator
from rillet.importers.onnx.layout import one_behind_another, taken
from rillet.importers.onnx.views import View, lengths, of_map
from rillet.ir.graph import Array, Node
from rillet.ir.moves import widened
from rillet.ir.nearest import MAX_PLACES
from rillet.ir.ops import Conv, Pad, Pool, PoolKind, Resize, Window
from rillet.ir.types import DType, Shape

Sides = tuple[int, int, int, int]
MOST_MIRRORED = 8
"""Rows or columns on a side; each is three nodes."""


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
    return of_map(weighted(b, name, made, source, weight, 0, lambda array: array.transpose(0, 2, 3, 1), bias))


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
    if not any(source.axes[:-1]):
        looks, is_dense = Window((shape.height, shape.width)), True
    elif last == source.channels:
        looks, is_dense = Window(), False
    else:
        raise Unsupported(f"last dimension must be the channels, or all there is, got {source} of {shape}")
    order = [last.index(axis) for letter in "HWC" for axis in by_step(a for a in last if a.of == letter)]

    def moved(array: Array) -> Array:
        matrix = (array if transposed else array.T).reshape(outputs, *(axis.length for axis in last))
        return matrix.transpose(0, *(1 + i for i in order)).reshape(outputs, *looks.kernel, shape.channels)

    made = Conv(outputs, looks, bias=bias is not None, dense=is_dense)
    node = weighted(b, name, made, source, weight, 1 - int(transposed), moved, bias, factor)
    axes = (*source.axes[:-1], tuple(axes_of(Shape(1, 1, outputs)).values()))
    return View(node.name, node.shape, axes, lengths(axes))


def weighted(
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
    """A convolution called `name`; `axis` is that of the output channels in the file, `moved` puts it first."""
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


def _pad(b: Builder, op: Operator) -> View:
    source, mode = b.view(op), op.word("mode", "constant")
    value, quant = b.number(op, 2, 0.0), b.node(source).type.quant
    if mode not in ("constant", "reflect", "edge") or (
        mode == "constant" and value != (quant.zero_point if quant else 0)
    ):
        raise Unsupported(f"must pad with zeros, edges or mirrored, got mode {mode[:20]!r} and {value}")
    sides = b.integers(op, 1)
    axes = b.integers(op, 3) if b.has(op, 3) else list(range(source.rank))
    if len(sides) != 2 * len(axes):
        raise GraphError(f"pads must be two numbers for each axis, got {sides[:9]}")
    wide: dict[int, tuple[int, int]] = {}
    for i, axis in enumerate(axes):
        if sides[i] or sides[i + len(axes)]:
            wide[source.axis(axis)] = sides[i], sides[i + len(axes)]
    if min(sides, default=0) < 0 or any(axis == 0 for axis in wide):
        raise Unsupported(f"must add rows, columns and channels alone, got {sides[:9]}")
    letters = _letters(source, wide)
    by_letter = {letters[axis]: both for axis, both in wide.items()}
    if mode != "constant":
        return _bordered(b, op, source, mode, {axis: (letters[axis], *both) for axis, both in wide.items()})
    (top, bottom), (left, right), (before, after) = (by_letter.get(letter, (0, 0)) for letter in "HWC")
    node, name = b.node(source), op.outputs[0]
    if any((top, bottom, left, right)) or not (before or after):
        node = b.make(f"{name}/around" if before or after else name, Pad((top, bottom, left, right)), [node])
    if before or after:
        node = b.make(name, widened(source.shape.channels, before, after), [node])
    return _widened(source, node, letters)


def _letters(source: View, wide: Iterable[int]) -> dict[int, str]:
    """What each dimension that is padded is of: those of a map, or of the axes that it runs over."""
    order = "HWC" if source.rank == 4 and source.axes[3] == source.channels and source.channels else "CHW"
    found: dict[int, str] = {}
    for axis in wide:
        own = source.axes[axis]
        letter = own[0].of if own else order[axis - 1] if source.rank == 4 else ""
        if len(own) > 1 or not letter or (own and own != (axes_of(source.shape).get(letter),)):
            raise Unsupported(f"must add rows, columns and channels alone, got dimension {axis} of {source}")
        found[axis] = letter
    return found


def _widened(source: View, node: Node, letters: Mapping[int, str]) -> View:
    """The layout over a node with more rows, columns or channels in these dimensions."""
    made = axes_of(node.shape)
    axes = [tuple(made.get(a.of, a) if a.of in letters.values() else a for a in dim) for dim in source.axes]
    for axis, letter in letters.items():
        axes[axis] = (made[letter],) if letter in made else ()
    return View(node.name, node.shape, tuple(axes), lengths(tuple(axes)))


def _bordered(b: Builder, op: Operator, source: View, mode: str, wide: Mapping[int, tuple[str, int, int]]) -> View:
    """Rows and columns beside the border repeated, or mirrored."""
    for axis, (letter, before, after) in wide.items():
        count = source.dims[axis]
        if letter == "C" or not source.axes[axis]:
            raise Unsupported(f"must repeat rows and columns alone, got axis {axis} of {source}")
        if mode == "edge":
            if before + count + after > MAX_PLACES:
                raise Unsupported(f"must make at most {MAX_PLACES} rows and columns, got {before + count + after}")
            places = (0,) * before + tuple(range(count)) + (count - 1,) * after
            sides = {"H": tuple(range(source.shape.height)), "W": tuple(range(source.shape.width)), letter: places}
            node = b.make(op.outputs[0], Resize(sides["H"], sides["W"]), [b.node(source)])
            source = _widened(source, node, {axis: letter})
            continue
        if max(before, after) > min(MOST_MIRRORED, count - 1):
            raise Unsupported(f"must mirror at most {MOST_MIRRORED} rows or columns, got {max(before, after)}")
        name = op.outputs[0]
        places = [*range(before, 0, -1)], [*range(count - 2, count - 2 - after, -1)]
        lines = [[taken(b, name, source, axis, [place]) for place in side] for side in places]
        source = one_behind_another(b, name, [*lines[0], source, *lines[1]], axis, letter)
    return source


HANDLERS = {
    "AveragePool": _pool(PoolKind.AVERAGE),
    "Gemm": _gemm,
    "GlobalAveragePool": _global(PoolKind.AVERAGE),
    "GlobalMaxPool": _global(PoolKind.MAX),
    "MaxPool": _pool(PoolKind.MAX),
    "Pad": _pad,
}
NOTES = {
    "AveragePool": ("pool", "padding that counts becomes a pad; no dilation"),
    "Gemm": ("conv over the full tensor", "of one vector or a flattened map; constant matrix and row"),
    "GlobalAveragePool": ("global pool", ""),
    "GlobalMaxPool": ("global pool", ""),
    "MaxPool": ("pool", "values alone, no indices, no dilation"),
    "Pad": ("pad, select or resize", "zeros around rows, columns and channels; rows and columns repeated or mirrored"),
}
"""What each operator becomes in a graph, and its limits."""
