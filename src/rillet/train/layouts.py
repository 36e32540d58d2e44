"""Layouts of a graph's arrays in PyTorch: channels before rows and columns, dense layers as matrices."""

from collections.abc import Sequence

import numpy as np

from rillet.ir.facts import has_weights, is_batch_norm, is_constant
from rillet.ir.graph import Array
from rillet.ir.ops import Op

_BATCH_NORM = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}


def leaf(op: Op, param: str) -> str:
    """What the attribute of a module is called that holds an array of its op."""
    return _BATCH_NORM[param] if is_batch_norm(op) else param


def torch_shape(op: Op, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that PyTorch has an array of `shape` in."""
    return to_torch(op, np.empty(shape, np.float32)).shape


def to_torch(op: Op, array: Array) -> Array:
    """A graph's array as PyTorch has it: channels before rows and columns."""
    if has_weights(op) and array.ndim == 4:
        moved = array.transpose(0, 3, 1, 2)
        return moved.reshape(len(moved), -1) if op.dense else moved
    return array.transpose(2, 0, 1)[None] if is_constant(op) else array


def laid_as_graph(op: Op, array: Array, shape: Sequence[int]) -> Array:
    """An array of PyTorch as a graph of `shape` has it."""
    if has_weights(op) and len(shape) == 4:
        outputs, rows, columns, channels = shape
        return array.reshape(outputs, channels, rows, columns).transpose(0, 2, 3, 1)
    return array[0].transpose(1, 2, 0) if is_constant(op) else array
