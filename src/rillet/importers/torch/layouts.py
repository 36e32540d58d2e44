"""Layouts: the tensor dimension of each axis of a feature map, so that reshapes move no data."""

import math
from collections.abc import Mapping, Sequence

from rillet.ir.types import Shape

Dims = tuple[str, ...]
"""For each dimension of a tensor the axes of its map that lie in it, the slowest first: `C`, or `CHW` where a map lies
flat. Axes of length 1 lie nowhere: a dimension without axes is written "", and one that repeats its value `*`."""

REPEATED = "*"


def lengths(shape: Shape) -> Mapping[str, int]:
    """The axes of a map that are longer than 1, in the order in which a tensor of PyTorch has them."""
    axes = {"C": shape.channels, "H": shape.height, "W": shape.width}
    return {axis: length for axis, length in axes.items() if length > 1}


def as_map(shape: Shape) -> Dims:
    """The layout of a 1xCxHxW tensor."""
    axes = lengths(shape)
    return ("", *(axis if axis in axes else "" for axis in "CHW"))


def as_vector(shape: Shape) -> Dims:
    """The layout of a 1xN tensor whose values lie in the order of 1xCxHxW."""
    return ("", "".join(lengths(shape)))


def sizes(dims: Dims, shape: Shape) -> tuple[int, ...] | None:
    """The shape of the tensor that has this layout; None where it repeats values."""
    if REPEATED in dims:
        return None
    axes = lengths(shape)
    return tuple(math.prod(axes[axis] for axis in dim) for dim in dims)


def regrouped(dims: Dims, shape: Shape, wanted: Sequence[int]) -> Dims | None:
    """The layout of the same values as a tensor of `wanted` dimensions; None where an axis would be cut or repeated."""
    axes, left = lengths(shape), list("".join(dims))
    out: list[str] = []
    if REPEATED in left:
        return None
    for size in wanted:
        taken = ""
        while left and math.prod(axes[axis] for axis in taken) < size:
            taken += left.pop(0)
        if math.prod(axes[axis] for axis in taken) != size:
            return None
        out.append(taken)
    return None if left else tuple(out)


def broadcast(left: Dims, right: Dims) -> Dims | None:
    """The layout of an operation on two tensors; None where other axes than the same ones meet."""
    rank = max(len(left), len(right))
    out: list[str] = []
    for one, other in zip(("",) * (rank - len(left)) + left, ("",) * (rank - len(right)) + right, strict=True):
        real = {dim for dim in (one, other) if dim not in ("", REPEATED)}
        if len(real) > 1:
            return None
        out.append(real.pop() if real else max(one, other))
    return tuple(out)
