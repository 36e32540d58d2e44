"""Constant folding: operators that do not depend on the network's input, as for shapes and transposed weights.

Each function takes the operator and its inputs (None for one that is left out) and gives the results.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx.file import NUMPY_TYPES, File, Operator
from rillet.importers.onnx.views import normalised

MAX_ELEMENTS = 2**24
"""Largest result of those that can be larger than their inputs."""
MAX_LISTED = 2**16
"""Integers of a list, as shapes and axes are."""

Array = npt.NDArray[Any]
Inputs = Sequence[Array | None]
Fold = Callable[[File, Operator, Inputs], list[Array]]


def need(inputs: Inputs, position: int) -> Array:
    """An input, which must be there."""
    if position >= len(inputs) or (found := inputs[position]) is None:
        raise GraphError(f"input {position} is missing")
    return found


def integers(inputs: Inputs, position: int) -> list[int]:
    """An input that is a list of integers."""
    array = need(inputs, position)
    if array.dtype.kind != "i" or array.ndim > 1 or array.size > MAX_LISTED:
        raise GraphError(f"input {position} must be a list of integers, got {array.dtype} of {list(array.shape)}")
    return [int(i) for i in array.reshape(-1)]


def _bounded(elements: int) -> None:
    if elements > MAX_ELEMENTS:
        raise Unsupported(f"result of constants must have at most {MAX_ELEMENTS} values, got {elements}")


# -- the same rules for constants and for views ----------------------------------------------------------------------


def squeezed(dims: Sequence[int], axes: Sequence[int] | None) -> list[int]:
    """Dimensions without those of length 1, or without the named ones."""
    if axes is None:
        return [n for n in dims if n != 1]
    gone = {normalised(axis, len(dims)) for axis in axes}
    if any(dims[axis] != 1 for axis in gone):
        raise GraphError(f"squeezed dimensions must have length 1, got axes {list(axes)[:9]} of {list(dims)}")
    return [n for i, n in enumerate(dims) if i not in gone]


def unsqueezed(dims: Sequence[int], axes: Sequence[int]) -> list[int]:
    """Dimensions with ones at the named places of the result."""
    rank = len(dims) + len(axes)
    places = {normalised(axis, rank) for axis in axes}
    if len(places) != len(axes):
        raise GraphError(f"axes must be different, got {list(axes)[:9]}")
    rest = iter(dims)
    return [1 if i in places else next(rest) for i in range(rank)]


def flattened(dims: Sequence[int], axis: int) -> list[int]:
    """Two dimensions: those before the axis, and the others."""
    if not -len(dims) <= axis <= len(dims):
        raise GraphError(f"axis must be one of {len(dims)} dimensions, got {axis}")
    at = axis if axis >= 0 else axis + len(dims)
    return [math.prod(dims[:at]), math.prod(dims[at:])]


def reshaped(dims: Sequence[int], wanted: Sequence[int], allow_zero: bool) -> list[int]:
    """The shape that Reshape means: 0 keeps a dimension, -1 is what remains."""
    out = [dims[i] if n == 0 and not allow_zero and i < len(dims) else n for i, n in enumerate(wanted)]
    known = math.prod(n for n in out if n != -1)
    if out.count(-1) > 1 or min(out, default=1) < -1 or (-1 in out and (known < 1 or math.prod(dims) % known)):
        raise GraphError(f"shape must hold the values of {list(dims)}, got {list(wanted)[:9]}")
    return [math.prod(dims) // known if n == -1 else n for n in out]


def axes_of(op: Operator, inputs: Inputs) -> list[int] | None:
    """Axes of Squeeze, Unsqueeze or ReduceMean: an attribute in older opsets, an input in newer ones."""
    if len(inputs) > 1 and inputs[1] is not None:
        return integers(inputs, 1)
    return op.integers("axes")


def cuts(inputs: Inputs, dims: Sequence[int]) -> list[range]:
    """What Slice takes of each dimension."""
    starts, ends = integers(inputs, 1), integers(inputs, 2)
    axes = integers(inputs, 3) if len(inputs) > 3 and inputs[3] is not None else list(range(len(starts)))
    steps = integers(inputs, 4) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise GraphError("must give a start, an end and a step other than 0 for each axis")
    out = [range(n) for n in dims]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        at = normalised(axis, len(dims))
        out[at] = range(*slice(start, end, step).indices(dims[at]))
    return out


def parts(op: Operator, inputs: Inputs, length: int) -> list[int]:
    """Lengths of the pieces that Split makes."""
    sizes = integers(inputs, 1) if len(inputs) > 1 and inputs[1] is not None else op.integers("split")
    if sizes is None:
        count = op.integer("num_outputs", len(op.outputs))
        each = -(-length // max(count, 1))
        sizes = [min(each, length - i * each) for i in range(min(count, length + 1))]
    if sum(sizes) != length or min(sizes, default=0) < 1 or len(sizes) != len(op.outputs):
        raise GraphError(f"must cut {length} into {len(op.outputs)} parts, got {sizes[:9]}")
    return sizes


# -- operators -------------------------------------------------------------------------------------------------------


def _same(_: File, __: Operator, inputs: Inputs) -> list[Array]:
    return [need(inputs, 0)]


def _cast(_: File, op: Operator, inputs: Inputs) -> list[Array]:
    dtype = NUMPY_TYPES.get(op.integer("to", 0))
    if dtype is None:
        raise Unsupported(f"must cast to a type that constants can have, got {op.integer('to', 0)}")
    with np.errstate(invalid="ignore"):
        return [need(inputs, 0).astype(dtype)]


def _squeeze(_: File, op: Operator, inputs: Inputs) -> list[Array]:
    array = need(inputs, 0)
    return [array.reshape(squeezed(array.shape, axes_of(op, inputs)))]


def _unsqueeze(_: File, op: Operator, inputs: Inputs) -> list[Array]:
    array = need(inputs, 0)
    return [array.reshape(unsqueezed(array.shape, axes_of(op, inputs) or []))]


def _flatten(_: File, op: Operator, inputs: Inputs) -> list[Array]:
    array = need(inputs, 0)
    return [array.reshape(flattened(array.shape, op.integer("axis", 1)))]


def _reshape(_: File, op: Operator, inputs: Inputs) -> list[Array]:
    array = need(inputs, 0)
    return [array.reshape(reshaped(array.shape, integers(inputs, 1), op.integer("allowzero", 0) != 0))]


def _transpose(_: File, op: Operator, inputs: Inputs) -> list[Array]:
    array = need(inputs, 0)
    order = op.integers("perm")
    return [array.transpose(list(range(array.ndim))[::-1] if order is None else order)]


def _concat(_: File, op: Operator, inputs: Inputs) -> list[Array]:
    arrays = [need(inputs, i) for i in range(len(inputs))]
    _bounded(sum(array.size for array in arrays))
    return [np.concatenate(arrays, op.integer("axis", 0))]


def _slice(_: File, __: Operator, inputs: Inputs) -> list[Array]:
    array = need(inputs, 0)
    taken = cuts(inputs, array.shape)
    return [array[np.ix_(*taken)]]


def _gather(_: File, op: Operator, inputs: Inputs) -> list[Array]:
    array, indices = need(inputs, 0), need(inputs, 1)
    axis = normalised(op.integer("axis", 0), array.ndim)
    if indices.dtype.kind != "i":
        raise GraphError(f"indices must be integers, got {indices.dtype}")
    _bounded(array.size // max(array.shape[axis], 1) * indices.size)
    return [np.take(array, indices, axis)]


def _constant_of_shape(file: File, op: Operator, inputs: Inputs) -> list[Array]:
    dims, tensor = integers(inputs, 0), op.tensor("value")
    value = np.zeros(1, np.float32) if tensor is None else file.array(tensor)
    if value.size != 1 or min(dims, default=0) < 0:
        raise GraphError(f"must fill a shape with one value, got {value.size} values for {dims[:9]}")
    _bounded(math.prod(dims))
    return [np.full(dims, value.reshape(-1)[0], value.dtype)]


def _expand(_: File, __: Operator, inputs: Inputs) -> list[Array]:
    array = need(inputs, 0)
    dims = np.broadcast_shapes(array.shape, integers(inputs, 1))
    _bounded(math.prod(dims))
    return [np.broadcast_to(array, dims)]


def _binary(function: Callable[[Array, Array], Array]) -> Fold:
    def fold(_: File, __: Operator, inputs: Inputs) -> list[Array]:
        left, right = need(inputs, 0), need(inputs, 1)
        if left.dtype != right.dtype:
            raise GraphError(f"inputs must be of one type, got {left.dtype} and {right.dtype}")
        _bounded(math.prod(np.broadcast_shapes(left.shape, right.shape)))
        with np.errstate(all="ignore"):
            return [np.asarray(function(left, right))]

    return fold


def _divide(left: Array, right: Array) -> Array:
    if left.dtype.kind == "f":
        return np.asarray(np.true_divide(left, right), left.dtype)
    if not right.all():
        raise GraphError("divisor must not be 0")
    # Integer division rounds towards zero; NumPy's rounds down.
    down, rest = np.divmod(left, right)
    return np.asarray(down + ((rest != 0) & ((left < 0) != (right < 0))), left.dtype)


def _unary(function: Callable[[Array], Array]) -> Fold:
    def fold(_: File, __: Operator, inputs: Inputs) -> list[Array]:
        array = need(inputs, 0)
        with np.errstate(all="ignore"):
            return [np.asarray(function(array), array.dtype)]

    return fold


def _reduced(function: Callable[..., Array]) -> Fold:
    def fold(_: File, op: Operator, inputs: Inputs) -> list[Array]:
        array, axes = need(inputs, 0), axes_of(op, inputs)
        if not axes and op.integer("noop_with_empty_axes", 0):
            return [array]
        over = tuple(normalised(axis, array.ndim) for axis in axes) if axes else None
        made = function(array, axis=over, keepdims=op.integer("keepdims", 1) != 0)
        return [np.asarray(made, array.dtype)]

    return fold


def _range(_: File, __: Operator, inputs: Inputs) -> list[Array]:
    start, limit, step = (need(inputs, i) for i in range(3))
    if len({start.dtype, limit.dtype, step.dtype}) > 1 or max(start.size, limit.size, step.size) > 1:
        raise GraphError("must have a start, a limit and a step of one type, each one number")
    first, stop, by = (array.reshape(-1)[0] for array in (start, limit, step))
    if not by:
        raise GraphError("step must not be 0")
    span = (float(stop) - float(first)) / float(by)
    count = max(math.ceil(span), 0) if math.isfinite(span) else MAX_ELEMENTS + 1
    _bounded(count)
    return [np.asarray(first + np.arange(count) * by, start.dtype)]


def _where(_: File, __: Operator, inputs: Inputs) -> list[Array]:
    condition, left, right = need(inputs, 0), need(inputs, 1), need(inputs, 2)
    _bounded(math.prod(np.broadcast_shapes(condition.shape, left.shape, right.shape)))
    return [np.where(condition, left, right)]


FOLDS: dict[str, Fold] = {
    "Add": _binary(np.add),
    "And": _binary(np.logical_and),
    "Cast": _cast,
    "Ceil": _unary(np.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _binary(_divide),
    "Dropout": _same,
    "Equal": _binary(np.equal),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _unary(np.floor),
    "Gather": _gather,
    "Greater": _binary(np.greater),
    "Identity": _same,
    "Less": _binary(np.less),
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "Not": _unary(np.logical_not),
    "Or": _binary(np.logical_or),
    "Range": _range,
    "ReduceProd": _reduced(np.prod),
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
