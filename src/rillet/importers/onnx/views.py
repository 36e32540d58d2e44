"""Mapping of an ONNX tensor's dimensions to the height, width and channels of a node's value.

A graph knows maps of height x width x channels alone. 1xCxHxW, 1xHxWxC, a flattened 1x(CHW) and a vector 1xC are four
views of one: reshapes and transposes change the view, never the value.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Node
from rillet.ir.types import Shape

HEIGHT, WIDTH, CHANNELS = 0, 1, 2
MAX_RANK = 8
Axes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class View:
    """A computed ONNX tensor: the node that holds it, and where its dimensions run."""

    node: str
    shape: Shape
    """Shape of the node's value."""
    axes: Axes
    """For each dimension the axes of the value that it runs over, slowest first; those of length 1 are left out."""
    dims: tuple[int, ...]
    """Lengths of the dimensions; longer than the axes say where the tensor is an expanded one."""

    def __str__(self) -> str:
        return "x".join(map(str, self.dims)) or "a scalar"

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.dims)

    @property
    def atoms(self) -> tuple[int, ...]:
        """The axes in the order in which the tensor's values lie in memory."""
        return tuple(axis for dim in self.axes for axis in dim)

    @property
    def expanded(self) -> bool:
        """True where a dimension repeats values."""
        return self.dims != lengths(self.shape, self.axes)

    def on(self, node: Node) -> "View":
        """The same layout over another node's value, whose axes of length 1 must be the same or gone."""
        axes = tuple(tuple(axis for axis in dim if node.shape.array[axis] > 1) for dim in self.axes)
        return View(node.name, node.shape, axes, lengths(node.shape, axes))

    def reshaped(self, dims: Sequence[int]) -> "View":
        """The same values in the same order under other dimensions; raises Unsupported where an axis would be cut."""
        if len(dims) > MAX_RANK:
            raise Unsupported(f"must have at most {MAX_RANK} dimensions, got {len(dims)}")
        if math.prod(dims) != self.shape.elements or min(dims, default=1) < 1:
            raise GraphError(f"shape must hold the {self.shape.elements} values of {self}, got {list(dims)}")
        atoms = list(self.atoms)
        axes: list[tuple[int, ...]] = []
        for length in dims:
            taken: list[int] = []
            while atoms and length % self.shape.array[atoms[0]] == 0 and length > 1:
                length //= self.shape.array[atoms[0]]
                taken.append(atoms.pop(0))
            if length != 1:
                raise Unsupported(f"must keep or merge dimensions, got {self} as {'x'.join(map(str, dims))}")
            axes.append(tuple(taken))
        return replace(self, axes=tuple(axes), dims=tuple(dims))

    def transposed(self, order: Sequence[int]) -> "View":
        """The dimensions in another order."""
        if sorted(order) != list(range(self.rank)):
            raise GraphError(f"order must be one of {self.rank} dimensions, got {list(order)[:9]}")
        return replace(self, axes=tuple(self.axes[i] for i in order), dims=tuple(self.dims[i] for i in order))

    def axis(self, index: int) -> int:
        """A dimension counted from the front, given from the front or (negative) from the back."""
        return normalised(index, self.rank)

    def position(self, axis: int) -> int | None:
        """The dimension that runs over an axis, and over nothing else; None where there is none."""
        return next((i for i, dim in enumerate(self.axes) if dim == (axis,)), None)

    def to_map(self, array: Array) -> Array:
        """An array with the tensor's dimensions as height x width x channels."""
        atoms = self.atoms
        split = array.reshape([self.shape.array[axis] for axis in atoms])
        order = [atoms.index(axis) for axis in sorted(atoms)]
        return split.transpose(order).reshape(self.shape.array)

    def from_map(self, array: Array) -> Array:
        """A value of height x width x channels with the tensor's dimensions."""
        atoms = self.atoms
        moved = array.transpose([*atoms, *(axis for axis in range(3) if axis not in atoms)])
        return np.broadcast_to(moved.reshape(lengths(self.shape, self.axes)), self.dims)

    def need_map(self) -> "View":
        """The view itself, if it is 1xCxHxW; raises Unsupported otherwise."""
        wanted = ((), (CHANNELS,), (HEIGHT,), (WIDTH,))
        if self.rank != 4 or self.expanded or any(a not in ((), w) for a, w in zip(self.axes, wanted, strict=True)):
            raise Unsupported(f"input must be 1xCxHxW, got {self}{'' if self.rank != 4 else ' in another order'}")
        return self

    def need_channels(self, axis: int) -> None:
        """Raises Unsupported unless a dimension is that of the channels alone."""
        wanted = (CHANNELS,) if self.shape.channels > 1 else ()
        if self.axes[axis] != wanted:
            raise Unsupported(f"dimension {axis} must be the channels alone, got {self}")


def lengths(shape: Shape, axes: Axes) -> tuple[int, ...]:
    """Lengths of the dimensions that run over these axes."""
    return tuple(math.prod(shape.array[axis] for axis in dim) for dim in axes)


def normalised(index: int, rank: int) -> int:
    """A dimension counted from the front; raises GraphError where there is none."""
    if not -rank <= index < rank:
        raise GraphError(f"axis must be one of {rank} dimensions, got {index}")
    return index % rank


def of_map(node: Node) -> View:
    """The view of a node's value as 1xCxHxW."""
    return _of(node, (None, CHANNELS, HEIGHT, WIDTH))


def of_input(name: str, dims: tuple[int, ...], channels_last: bool) -> tuple[Shape, View]:
    """The shape and view of an input: 1xCxHxW (or 1xHxWxC), CxHxW, 1xC or C."""
    orders: dict[int, tuple[int | None, ...]] = {
        0: (),
        1: (CHANNELS,),
        2: (None, CHANNELS),
        3: (CHANNELS, HEIGHT, WIDTH),
        4: (None, HEIGHT, WIDTH, CHANNELS) if channels_last else (None, CHANNELS, HEIGHT, WIDTH),
    }
    order = orders.get(len(dims))
    if order is None or any(axis is None and length != 1 for axis, length in zip(order, dims, strict=True)):
        raise Unsupported(f"shape must be 1xCxHxW, CxHxW, 1xC or C, got {list(dims[:9])}")
    sizes = {axis: length for axis, length in zip(order, dims, strict=True) if axis is not None}
    shape = Shape(*(sizes.get(axis, 1) for axis in (HEIGHT, WIDTH, CHANNELS)))
    axes = tuple((axis,) if axis is not None and shape.array[axis] > 1 else () for axis in order)
    return shape, View(name, shape, axes, dims)


def _of(node: Node, order: Iterable[int | None]) -> View:
    axes = tuple((axis,) if axis is not None and node.shape.array[axis] > 1 else () for axis in order)
    return View(node.name, node.shape, axes, lengths(node.shape, axes))


def joined(left: View, right: View) -> tuple[View, View]:
    """Two operands with as many dimensions, of which broadcasting makes the dimensions of the first.

    Raises Unsupported unless the second is as large, or one value a channel (or one value) in the same order.
    """
    rank = max(left.rank, right.rank)
    first, second = (_padded(view, rank) for view in (left, right))
    fits = all(b in ((), a) for a, b in zip(first.axes, second.axes, strict=True))
    fits = fits and all(b in (1, a) for a, b in zip(first.dims, second.dims, strict=True))
    same = second.shape in (first.shape, Shape(1, 1, first.shape.channels))
    if not fits or not same or first.expanded:
        raise Unsupported(f"operands must be of one shape, or the second one value a channel, got {left} and {right}")
    return first, second


def _padded(view: View, rank: int) -> View:
    missing = rank - view.rank
    return replace(view, axes=((),) * missing + view.axes, dims=(1,) * missing + view.dims)


def constant_like(view: View, array: Array, whole: bool = False) -> Array:
    """A constant that broadcasts to a view, as 1x1xC, or as the full tensor where it must be (or `whole` says so)."""
    missing = view.rank - array.ndim
    if view.expanded or missing < 0:
        raise Unsupported(f"constant must broadcast to {view}, got {list(array.shape)}")
    wide = array.reshape((1,) * missing + array.shape)
    if any(n not in (1, length) for n, length in zip(wide.shape, view.dims, strict=True)):
        raise Unsupported(f"constant must broadcast to {view}, got {list(array.shape)}")
    channels = view.position(CHANNELS)
    if not whole and all(n == 1 or i == channels for i, n in enumerate(wide.shape)):
        return np.ascontiguousarray(np.broadcast_to(wide.reshape(1, 1, -1), (1, 1, view.shape.channels)))
    return np.ascontiguousarray(view.to_map(np.broadcast_to(wide, view.dims)))
