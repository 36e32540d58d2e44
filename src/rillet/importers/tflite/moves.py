"""Import of TFLite operators that cut a map, or put its channels and pixels elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import tflite

from rillet.errors import RilletError
from rillet.importers.tflite.builder import Builder
from rillet.importers.tflite.file import Operator
from rillet.ir.graph import Node
from rillet.ir.ops import DepthToSpace, Op, Resize, Select, Slice, SpaceToDepth
from rillet.ir.types import Shape

_BLOCKS = 16
"""Greatest side of a square of pixels."""


def _cut(b: Builder, op: Operator, ranges: Sequence[Sequence[int]], position: int = 0, read: int = 0) -> None:
    """An output that has these places of each dimension of a map: rows and columns first, then channels."""
    source = b.source(op, read)
    lead, (rows, columns, channels) = ranges[:-3], ([range(1)] * 3 + [list(r) for r in ranges])[-3:]
    if any(list(places) != [0] for places in lead) or not all(map(len, (rows, columns, channels))):
        raise b.refuse(op, "must cut height, width and channels alone, and leave some of each")
    b.same_type(op, source, position)
    out, wanted = b.output(op, position), [len(rows), len(columns), len(channels)]
    if not out.open and [n for n in out.dims if n > 1] != [n for n in wanted if n > 1]:
        raise b.fail(op, f"output must be {wanted}, got {list(out.dims)}")
    steps: list[Op] = []
    height, width, depth = source.shape.array
    if list(rows) != list(range(height)) or list(columns) != list(range(width)):
        if any(sorted(places) != list(places) for places in (rows, columns)):
            raise b.refuse(op, "rows and columns must be taken from first to last")
        steps.append(Resize(tuple(rows), tuple(columns)))
    first = channels[0]
    if list(channels) == list(range(first, first + len(channels))):
        if len(channels) < depth or not steps:
            steps.append(Slice(first, first + len(channels)))
    else:
        steps.append(Select(tuple(channels)))
    for step in steps[:-1]:
        shape = Shape(len(rows), len(columns), depth)
        source = b.add_step(op, step, [source], replace(source.type, shape=shape))
    b.add(op, steps[-1], [source], position=position, shape=Shape(len(rows), len(columns), len(channels)))


def _split(b: Builder, op: Operator) -> None:
    source, lengths = (1, None) if op.code == tflite.BuiltinOperator.SPLIT else (0, b.integers(op, 1))
    dims, parts = b.tensor(op, source).dims, len(op.outputs)
    axes = b.integers(op, 0 if lengths is None else 2)
    if len(axes) != 1 or not -len(dims) <= axes[0] < len(dims) or not parts:
        raise b.fail(op, f"axis must be one of {len(dims)}, got {axes}")
    axis = axes[0] % len(dims)
    if lengths is None:
        lengths = [dims[axis] // parts] * parts
    if lengths.count(-1) == 1:
        rest = dims[axis] - sum(n for n in lengths if n != -1)
        lengths = [rest if n == -1 else n for n in lengths]
    if len(lengths) != parts or sum(lengths) != dims[axis] or min(lengths) < 1:
        raise b.fail(op, f"parts must have {dims[axis]} together, got {lengths}")
    start = 0
    for i, length in enumerate(lengths):
        ranges = [range(start, start + length) if at == axis else range(n) for at, n in enumerate(dims)]
        _cut(b, op, ranges, i, source)
        start += length


def _strided_slice(b: Builder, op: Operator) -> None:
    options = b.file.options(op, tflite.StridedSliceOptions)
    begin, end, strides = (b.integers(op, i) for i in (1, 2, 3))
    dims = b.tensor(op, 0).dims
    if not len(begin) == len(end) == len(strides) <= len(dims) or options.EllipsisMask() or options.NewAxisMask():
        raise b.refuse(op, "must give begin, end and stride for each dimension")
    ranges: list[range] = [range(length) for length in dims]
    for i, length in enumerate(dims[: len(begin)]):
        cut = slice(
            None if options.BeginMask() >> i & 1 else begin[i],
            None if options.EndMask() >> i & 1 else end[i],
            strides[i] or 1,
        )
        if options.ShrinkAxisMask() >> i & 1:
            cut = slice(begin[i] % length, begin[i] % length + 1)
        ranges[i] = range(*cut.indices(length))
    folded = b.tensor(op, 0).index
    if folded in b.folded:
        if len(ranges) != 1:
            raise b.refuse(op, "shapes must be sliced along their one axis")
        b.folded[b.output(op).index] = b.folded[folded].reshape(-1)[list(ranges[0])]
        return
    _cut(b, op, ranges)


def _slice(b: Builder, op: Operator) -> None:
    begin, size = b.integers(op, 1), b.integers(op, 2)
    dims = b.tensor(op, 0).dims
    if not len(begin) == len(size) == len(dims):
        raise b.refuse(op, "must give begin and size for each dimension")
    ranges = [range(f, f + n if n >= 0 else length) for f, n, length in zip(begin, size, dims, strict=True)]
    if any(r and not 0 <= r[0] <= r[-1] < n for r, n in zip(ranges, dims, strict=True)):
        raise b.fail(op, f"must cut within {list(dims)}, got {begin} and {size}")
    _cut(b, op, ranges)


def _gather(b: Builder, op: Operator) -> None:
    options = b.file.options(op, tflite.GatherOptions)
    dims, places = b.tensor(op, 0).dims, b.integers(op, 1)
    if options.BatchDims() or not -len(dims) <= options.Axis() < len(dims):
        raise b.refuse(op, f"must take along one axis without batches, got axis {options.Axis()}")
    axis = options.Axis() % len(dims)
    if b.tensor(op, 0).index in b.folded:
        b.folded[b.output(op).index] = b.folded[b.tensor(op, 0).index].reshape(-1)[places]
        return
    if not places or not 0 <= min(places) <= max(places) < dims[axis]:
        raise b.fail(op, f"must take from 0 to {dims[axis] - 1}, got {places[:9]}")
    _cut(b, op, [places if at == axis else range(n) for at, n in enumerate(dims)])


# -- squares of pixels -----------------------------------------------------------------------------------------------


def _block(b: Builder, op: Operator, block: int) -> int:
    if not 1 <= block <= _BLOCKS:
        raise b.refuse(op, f"block must be 1 to {_BLOCKS}, got {block}")
    return block


def _depth_to_space(b: Builder, op: Operator) -> None:
    source, block = b.source(op), _block(b, op, b.file.options(op, tflite.DepthToSpaceOptions).BlockSize())
    b.same_type(op, source)
    b.add(op, DepthToSpace(block, source.shape.height, source.shape.width), [source])


def _space_to_depth(b: Builder, op: Operator) -> None:
    source, block = b.source(op), _block(b, op, b.file.options(op, tflite.SpaceToDepthOptions).BlockSize())
    b.same_type(op, source)
    b.add(op, SpaceToDepth(block), [source])


# -- dimensions of channels and squares in another order -------------------------------------------------------------


def turned(source: Node, dims: Sequence[int], order: Sequence[int]) -> tuple[Op, Shape] | None:
    """What a transposition makes of a map whose values lie there as `dims`; None for what no op of the graph does.

    Channels that are cut into dimensions and put in another order are a shuffle; where some of them go between rows, or
    between columns, each pixel becomes a square.
    """
    height, width, channels = source.shape.array
    ends = [int(n) for n in np.cumprod(dims)]
    if height not in ends or height * width not in ends:
        return None
    rows = len(ends) - ends[::-1].index(height)
    columns = len(ends) - ends[::-1].index(height * width)
    parts = [axis for axis in range(columns, len(dims)) if dims[axis] > 1]
    moved = [axis for axis in order if dims[axis] > 1]
    before = [axis for axis in range(columns) if dims[axis] > 1]
    if moved[: len(before)] == before:
        places = np.arange(channels).reshape([dims[axis] for axis in parts] or [1])
        picked = places.transpose([parts.index(axis) for axis in moved[len(before) :]] or [0]).reshape(-1)
        return Select(tuple(picked.tolist())), source.shape
    lines = [axis for axis in range(rows) if dims[axis] > 1]
    across = [axis for axis in range(rows, columns) if dims[axis] > 1]
    if len(parts) in (2, 3) and len(lines) <= 1 and len(across) <= 1:
        first, second, *rest = parts
        if moved == [*lines, first, *across, second, *rest] and dims[first] == dims[second]:
            block = dims[first]
            made = Shape(height * block, width * block, channels // block**2)
            return DepthToSpace(block, height, width), made
    return None


def of_turned(b: Builder, op: Operator, order: Sequence[int]) -> bool:
    """Makes the output of a transposition where an op of the graph does it; False where none does."""
    found = b.pieces(op)
    tensor, out = b.tensor(op, 0), b.output(op)
    made = turned(found[0], tensor.dims, order) if len(found) == 1 else None
    if made is None:
        return False
    wanted = tuple(tensor.dims[axis] for axis in order)
    if out.dims != wanted:
        raise b.fail(op, f"output must be {list(wanted)}, got {list(out.dims)}")
    b.same_type(op, found[0])
    try:
        b.add(op, made[0], found, shape=made[1])
    except RilletError as error:
        raise type(error)(f"{b.file.name}: {op}: {error}") from None
    return True


_Op = tflite.BuiltinOperator
HANDLERS: dict[int, Callable[[Builder, Operator], None]] = {
    _Op.DEPTH_TO_SPACE: _depth_to_space,
    _Op.GATHER: _gather,
    _Op.SLICE: _slice,
    _Op.SPACE_TO_DEPTH: _space_to_depth,
    _Op.SPLIT: _split,
    _Op.SPLIT_V: _split,
    _Op.STRIDED_SLICE: _strided_slice,
}
NOTES: dict[str, tuple[str, str]] = {
    "DEPTH_TO_SPACE": ("depthtospace", ""),
    "GATHER": ("select, or resize", "of channels in any order; of rows and columns that never go back"),
    "SLICE": ("slice, or resize", "of channels, rows and columns"),
    "SPACE_TO_DEPTH": ("spacetodepth", ""),
    "SPLIT": ("slices", "of channels, rows or columns, into equal parts"),
    "SPLIT_V": ("slices", "of channels, rows or columns"),
    "STRIDED_SLICE": ("slice, select or resize", "of channels, rows and columns, or of a shape"),
}
"""What each operator becomes in a graph, and its limits."""
