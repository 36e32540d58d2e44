"""Constants of a .tflite file as arrays: sparse, of four bits, and as the real values that integers stand for."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from rillet.errors import GraphError, Unsupported
from rillet.importers.tflite.file import TYPE_NAMES, File, Tensor
from rillet.ir.graph import Array

MAX_DENSE = 2**26
"""Values of a sparse constant, the zeros counted; keeps hostile files from filling memory."""
_STORED: dict[int, str] = {
    tflite.TensorType.FLOAT32: "<f4",
    tflite.TensorType.FLOAT16: "<f2",
    tflite.TensorType.INT32: "<i4",
    tflite.TensorType.INT64: "<i8",
    tflite.TensorType.INT16: "<i2",
    tflite.TensorType.INT8: "i1",
    tflite.TensorType.UINT8: "u1",
}
_SEGMENTS = {
    tflite.SparseIndexVector.Int32Vector: (tflite.Int32Vector, 4),
    tflite.SparseIndexVector.Uint16Vector: (tflite.Uint16Vector, 2),
    tflite.SparseIndexVector.Uint8Vector: (tflite.Uint8Vector, 1),
}
Indices = npt.NDArray[np.int64]


def stored(file: File, tensor: Tensor) -> Array:
    """The values of a constant in its declared shape: of INT4 as int8, of a sparse one with its zeros.

    Raises GraphError where the bytes are not those of the shape, Unsupported for other element types.
    """
    assert tensor.data is not None
    where = f"{file.name}: {tensor}"
    count = math.prod(tensor.dims)
    if tensor.code == tflite.TensorType.INT4:
        if tensor.sparsity is not None:
            raise Unsupported(f"{where}: sparse constants must have at least 8 bits a value, got INT4")
        if len(tensor.data) != -(-count // 2):
            raise GraphError(f"{where} must have {-(-count // 2)} bytes, got {len(tensor.data)}")
        pairs = np.frombuffer(tensor.data, np.uint8)
        # The low half comes first; shifted up and down again it has its sign.
        halves = np.stack([pairs << 4, pairs & 0xF0], axis=1).view(np.int8) >> 4
        return halves.reshape(-1)[:count].reshape(tensor.dims)
    kind = _STORED.get(tensor.code)
    if kind is None:
        raise Unsupported(f"{where}: constant must not be of {TYPE_NAMES.get(tensor.code, str(tensor.code))}")
    dtype = np.dtype(kind)
    if tensor.sparsity is not None:
        if len(tensor.data) % dtype.itemsize:
            raise GraphError(f"{where} must have a multiple of {dtype.itemsize} bytes, got {len(tensor.data)}")
        return _dense(file, tensor, np.frombuffer(tensor.data, dtype), where)
    if len(tensor.data) != count * dtype.itemsize:
        raise GraphError(f"{where} must have {count * dtype.itemsize} bytes, got {len(tensor.data)}")
    return np.frombuffer(tensor.data, dtype).reshape(tensor.dims)


def real(file: File, tensor: Tensor) -> npt.NDArray[np.float32]:
    """The real values that an integer constant stands for, by its scales; raises GraphError where it has none."""
    values = stored(file, tensor).astype(np.float32)
    dims, scales, zeros = tensor.dims, tensor.scales, tensor.zeros
    channels = dims[tensor.axis] if len(dims) > tensor.axis >= 0 else 0
    if len(scales) not in (1, channels) or len(zeros) not in (0, 1, len(scales)):
        raise GraphError(
            f"{file.name}: {tensor} must have 1 or {channels} scales along axis {tensor.axis}, got {len(scales)}"
        )
    along = [1] * len(dims)
    if len(scales) > 1:
        along[tensor.axis] = -1
    offset = np.broadcast_to(zeros if len(zeros) else np.zeros(1, np.int64), len(scales)).astype(np.float32)
    made = (values - offset.reshape(along)) * scales.reshape(along)
    return made.astype(np.float32)


def _dense(file: File, tensor: Tensor, values: Array, where: str) -> Array:
    """A sparse constant's values at their places; https://www.tensorflow.org/lite, SparsityParameters of the schema.

    Levels are walked from the outermost in: of each value its indices on the levels so far are known.
    """
    raw: Any = tensor.sparsity
    rank = len(tensor.dims)
    levels = file.count(raw.TraversalOrderLength(), "sparse levels")
    order = [int(raw.TraversalOrder(i)) for i in range(levels)]
    blocks = [int(raw.BlockMap(i)) for i in range(file.count(raw.BlockMapLength(), "blocks"))]
    if sorted(order) != list(range(rank + len(blocks))) or raw.DimMetadataLength() != levels:
        raise GraphError(f"{where}: sparse levels must be one of each dimension and block, got {order[:9]}")
    if len(set(blocks)) < len(blocks) or any(not 0 <= b < rank for b in blocks):
        raise GraphError(f"{where}: blocks must be of different dimensions, got {blocks[:9]}")
    if math.prod(tensor.dims) > MAX_DENSE:
        raise Unsupported(f"{where}: sparse constant must hold at most {MAX_DENSE} values, got {list(tensor.dims)}")
    sizes = _sizes(raw, order, blocks, tensor.dims, where)
    places: dict[int, Indices] = {}
    count = 1
    for level, axis in enumerate(order):
        metadata = raw.DimMetadata(level)
        if metadata.Format() == tflite.DimensionType.DENSE:
            if count * sizes[axis] > MAX_DENSE:
                raise GraphError(f"{where}: must have no more values than its shape")
            parents, own = np.repeat(np.arange(count), sizes[axis]), np.tile(np.arange(sizes[axis]), count)
        else:
            parents, own = _children(file, metadata, count, sizes[axis], where)
        places = {a: found[parents] for a, found in places.items()} | {axis: own}
        count = len(own)
    if count != len(values):
        raise GraphError(f"{where}: sparse constant must have {count} values, got {len(values)}")
    at = [places[axis] for axis in range(rank)]
    for i, axis in enumerate(blocks):
        at[axis] = at[axis] * sizes[rank + i] + places[rank + i]
    dense = np.zeros(tensor.dims, values.dtype)
    dense[tuple(at)] = values
    return dense


def _sizes(raw: Any, order: list[int], blocks: list[int], dims: tuple[int, ...], where: str) -> list[int]:
    """How many places each dimension has, in blocks where it has blocks, and then each block."""
    inner = [int(raw.DimMetadata(order.index(len(dims) + i)).DenseSize()) for i in range(len(blocks))]
    sizes = list(dims)
    for axis, size in zip(blocks, inner, strict=True):
        if size < 1 or dims[axis] % size:
            raise GraphError(f"{where}: block must divide its dimension of {dims[axis]}, got {size}")
        sizes[axis] //= size
    return sizes + inner


def _children(file: File, metadata: Any, count: int, size: int, where: str) -> tuple[Indices, Indices]:
    """Of each place that a sparse level has, the place of the level before, and its index."""
    starts = _vector(file, metadata.ArraySegmentsType(), metadata.ArraySegments(), where)
    own = _vector(file, metadata.ArrayIndicesType(), metadata.ArrayIndices(), where)
    lengths = np.diff(starts)
    if len(starts) != count + 1 or starts[0] != 0 or starts[-1] != len(own) or (lengths < 0).any():
        raise GraphError(f"{where}: sparse segments must cut {len(own)} indices into {count} parts")
    if len(own) and not 0 <= own.min() <= own.max() < size:
        raise GraphError(f"{where}: sparse indices must be within 0..{size - 1}")
    return np.repeat(np.arange(count), lengths), own


def _vector(file: File, kind: int, table: Any, where: str) -> Indices:
    found = _SEGMENTS.get(kind)
    if found is None or table is None:
        raise GraphError(f"{where}: sparse level must have segments and indices, got type {kind}")
    made = found[0]()
    made.Init(table.Bytes, table.Pos)
    length = file.count(made.ValuesLength(), "sparse indices", found[1])
    return np.asarray(made.ValuesAsNumpy() if length else [], np.int64).reshape(-1)
