"""Layouts: the tensor dimension of each axis of a feature map, so that reshapes move no data."""

from rillet.importers.axes import REPEATED, Dims, axes_of, length
from rillet.ir.types import Shape


def as_map(shape: Shape) -> Dims:
    """The layout of a 1xCxHxW tensor."""
    axes = axes_of(shape)
    return ((), *((axes[letter],) if letter in axes else () for letter in "CHW"))


def as_vector(shape: Shape) -> Dims:
    """The layout of a 1xN tensor whose values lie in the order of 1xCxHxW."""
    return ((), tuple(axes_of(shape).values()))


def repeats(dims: Dims) -> bool:
    """True where a dimension repeats its values."""
    return any(axis.of == REPEATED for dim in dims for axis in dim)


def sizes(dims: Dims) -> tuple[int, ...] | None:
    """The shape of the tensor that has this layout; None where it repeats values."""
    return None if repeats(dims) else tuple(length(dim) for dim in dims)
