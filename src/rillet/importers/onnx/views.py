"""Mapping of an ONNX tensor's dimensions to the height, width and channels of a node's value.

A graph knows maps of height x width x channels alone. 1xCxHxW, 1xHxWxC, a flattened 1x(CHW) and a vector 1xC are four
views of one: reshapes and transposes change the view, never the value.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers.axes import Axis, Dim, Dims, axes_of, by_step, parts_of, regrouped, written
from rillet.importers.axes import length as length_of
from rillet.ir.graph import Array, Node
from rillet.ir.types import Shape

MAX_RANK = 8


@dataclass(frozen=True)
class View:
    """A computed ONNX tensor: the node that holds it, and where its dimensions run."""

    node: str
    shape: Shape
    """Shape of the node's value."""
    axes: Dims
    """For each dimension the axes of the value, or parts of its channels, that it runs over, slowest first."""
    dims: tuple[int, ...]
    """Lengths of the dimensions; longer than the axes say where the tensor is an expanded one."""

    def __str__(self) -> str:
        return "x".join(map(str, self.dims)) or "a scalar"

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.dims)

    @property
    def atoms(self) -> tuple[Axis, ...]:
        """The axes in the order in which the tensor's values lie in memory."""
        return tuple(axis for dim in self.axes for axis in dim)

    @property
    def expanded(self) -> bool:
        """True where a dimension repeats values."""
        return self.dims != lengths(self.axes)

    @property
    def channels(self) -> Dim:
        """What a dimension is that has all channels and nothing else."""
        return tuple(filter(None, [axes_of(self.shape).get("C")]))

    def laid(self, axes: Dims) -> "View":
        """The same value under another layout."""
        return replace(self, axes=axes, dims=lengths(axes))

    def on(self, node: Node) -> "View":
        """The same layout over another node's value, whose axes of length 1 must be the same or gone."""
        found = axes_of(node.shape)
        axes = tuple(tuple(axis for axis in dim if axis.of in found) for dim in self.axes)
        return View(node.name, node.shape, axes, lengths(axes))

    def reshaped(self, dims: Sequence[int]) -> "View":
        """The same values in their order under other dimensions; raises Unsupported where no cut gives full parts."""
        if len(dims) > MAX_RANK:
            raise Unsupported(f"must have at most {MAX_RANK} dimensions, got {len(dims)}")
        if math.prod(dims) != self.shape.elements or min(dims, default=1) < 1:
            raise GraphError(f"shape must hold the {self.shape.elements} values of {self}, got {list(dims)}")
        axes = regrouped(self.axes, dims)
        if axes is None:
            raise Unsupported(f"must join dimensions or cut them, got {self} as {'x'.join(map(str, dims))}")
        return replace(self, axes=axes, dims=tuple(dims))

    def transposed(self, order: Sequence[int]) -> "View":
        """The dimensions in another order."""
        if sorted(order) != list(range(self.rank)):
            raise GraphError(f"order must be one of {self.rank} dimensions, got {list(order)[:9]}")
        return replace(self, axes=tuple(self.axes[i] for i in order), dims=tuple(self.dims[i] for i in order))

    def axis(self, index: int) -> int:
        """A dimension counted from the front, given from the front or (negative) from the back."""
        return normalised(index, self.rank)

    def to_map(self, array: Array) -> Array:
        """An array with the tensor's dimensions as height x width x channels."""
        atoms, order = self.atoms, self._order
        split = array.reshape([axis.length for axis in atoms])
        return split.transpose([atoms.index(axis) for axis in order]).reshape(self.shape.array)

    def from_map(self, array: Array) -> Array:
        """A value of height x width x channels with the tensor's dimensions."""
        order = self._order
        split = array.reshape([axis.length for axis in order])
        moved = split.transpose([order.index(axis) for axis in self.atoms])
        return np.broadcast_to(moved.reshape(lengths(self.axes)), self.dims)

    def shown(self, array: Array) -> dict[str, Array]:
        """What an array with the tensor's dimensions says of its node: the value as height x width x channels."""
        return {self.node: self.to_map(array)} if self.node else {}

    def gathered(self, values: Mapping[str, Array]) -> Array:
        """The tensor out of the values of nodes, each height x width x channels."""
        return self.from_map(values[self.node])

    def held(self, renamed: Mapping[str, str]) -> "View":
        """The same over nodes under other names; empty where the node is gone."""
        return replace(self, node=renamed.get(self.node, ""))

    @property
    def pieces(self) -> "tuple[View, ...]":
        """The views that it consists of."""
        return (self,)

    @property
    def _order(self) -> list[Axis]:
        """The axes in the order in which a map has them."""
        return [*parts_of(self.axes, "H"), *parts_of(self.axes, "W"), *by_step(parts_of(self.axes))]

    @property
    def is_map(self) -> bool:
        """True where it is 1xCxHxW."""
        return self.rank == 4 and not self.expanded and self.axes == _in_order(self.shape, (None, "C", "H", "W"))

    def need_map(self) -> "View":
        """The view itself, if it is 1xCxHxW; raises Unsupported otherwise."""
        if not self.is_map:
            got = f"{self}{'' if self.rank != 4 else ' in another order'}"
            raise Unsupported(f"input must be 1xCxHxW, got {got} ({written(self.axes, self.shape)})")
        return self

    def need_channels(self, axis: int) -> None:
        """Raises Unsupported unless a dimension is that of the channels alone."""
        if self.axes[axis] != self.channels:
            raise Unsupported(f"dimension {axis} must be the channels alone, got {self}")


@dataclass(frozen=True)
class Joined:
    """A tensor that no node holds: views one behind another along a dimension, of one length in each other one.

    So detectors join the heads of several scales: rows and columns of maps of different sizes in one dimension.
    """

    pieces: tuple[View, ...]
    axis: int

    def __str__(self) -> str:
        return "x".join(map(str, self.dims))

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return self.pieces[0].rank

    @property
    def runs(self) -> tuple[int, ...]:
        """How many places of the dimension each piece has."""
        return tuple(piece.dims[self.axis] for piece in self.pieces)

    @property
    def dims(self) -> tuple[int, ...]:
        """Lengths of the dimensions."""
        first = self.pieces[0].dims
        return (*first[: self.axis], sum(self.runs), *first[self.axis + 1 :])

    def shown(self, array: Array) -> dict[str, Array]:
        """As `View.shown`, of every piece's node."""
        cuts = np.split(array, np.cumsum(self.runs)[:-1], self.axis)
        return {
            name: value
            for piece, cut in zip(self.pieces, cuts, strict=True)
            for name, value in piece.shown(cut).items()
        }

    def gathered(self, values: Mapping[str, Array]) -> Array:
        """As `View.gathered`."""
        return np.concatenate([piece.gathered(values) for piece in self.pieces], self.axis)

    def held(self, renamed: Mapping[str, str]) -> "Joined":
        """As `View.held`."""
        return replace(self, pieces=tuple(piece.held(renamed) for piece in self.pieces))


def lengths(axes: Dims) -> tuple[int, ...]:
    """Lengths of the dimensions that run over these axes."""
    return tuple(length_of(dim) for dim in axes)


def normalised(index: int, rank: int) -> int:
    """A dimension counted from the front; raises GraphError where there is none."""
    if not -rank <= index < rank:
        raise GraphError(f"axis must be one of {rank} dimensions, got {index}")
    return index % rank


def of_map(node: Node) -> View:
    """The view of a node's value as 1xCxHxW."""
    axes = _in_order(node.shape, (None, "C", "H", "W"))
    return View(node.name, node.shape, axes, lengths(axes))


def of_input(name: str, dims: tuple[int, ...], channels_last: bool) -> tuple[Shape, View]:
    """The shape and view of an input: 1xCxHxW (or 1xHxWxC), CxHxW, 1xC or C."""
    orders: dict[int, tuple[str | None, ...]] = {
        0: (),
        1: ("C",),
        2: (None, "C"),
        3: ("C", "H", "W"),
        4: (None, "H", "W", "C") if channels_last else (None, "C", "H", "W"),
    }
    order = orders.get(len(dims))
    if order is None or any(letter is None and size != 1 for letter, size in zip(order, dims, strict=True)):
        raise Unsupported(f"shape must be 1xCxHxW, CxHxW, 1xC or C, got {list(dims[:9])}")
    sizes = {letter: size for letter, size in zip(order, dims, strict=True) if letter is not None}
    shape = Shape(*(sizes.get(letter, 1) for letter in "HWC"))
    return shape, View(name, shape, _in_order(shape, order), dims)


def _in_order(shape: Shape, order: Iterable[str | None]) -> Dims:
    found = axes_of(shape)
    return tuple((found[letter],) if letter in found else () for letter in order)


def constant_like(view: View, array: Array, whole: bool = False) -> Array:
    """A constant that broadcasts to a view, as 1x1xC, or as the full tensor where it must be (or `whole` says so)."""
    missing = view.rank - array.ndim
    if view.expanded or missing < 0:
        raise Unsupported(f"constant must broadcast to {view}, got {list(array.shape)}")
    wide = array.reshape((1,) * missing + array.shape)
    if any(n not in (1, size) for n, size in zip(wide.shape, view.dims, strict=True)):
        raise Unsupported(f"constant must broadcast to {view}, got {list(array.shape)}")
    for i, dim in enumerate(view.axes):
        if not whole and wide.shape[i] > 1 and dim and all(a.of != "C" for a in dim):
            one = wide.take([0], i)
            wide = one if np.array_equal(np.broadcast_to(one, wide.shape), wide) else wide  # as strides of a scale are
    pixels = any(n > 1 and any(a.of != "C" for a in dim) for n, dim in zip(wide.shape, view.axes, strict=True))
    if not whole and not pixels:
        axes = tuple(tuple(axis for axis in dim if axis.of == "C") for dim in view.axes)
        view = View(view.node, Shape(1, 1, view.shape.channels), axes, lengths(axes))
    return np.ascontiguousarray(view.to_map(np.broadcast_to(wide, view.dims)))
