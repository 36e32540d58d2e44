"""What a draft needs so that tensors lie as their readers want: parts in order, squares of pixels, operands alike."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rillet.errors import Unsupported
from rillet.importers.axes import (
    Axis,
    Dims,
    behind_pixels,
    channels_for,
    laid,
    length,
    needs_whole,
    order_of,
    paired,
    parts_of,
    pixels_of,
    renamed,
    size_of,
    squares,
    unordered,
    with_squares,
    written,
)
from rillet.importers.onnx.builder import Builder
from rillet.importers.onnx.views import View, lengths
from rillet.ir.graph import Array, Node
from rillet.ir.ops import Add, Concat, DepthToSpace, Op, Pad, Resize, Select, Slice, SpaceToDepth
from rillet.ir.types import Shape


class Steps:
    """Where the parts of what a graph has as several nodes go, called after the tensor that they make."""

    def __init__(self, b: Builder, name: str) -> None:
        self.b, self.name = b, name

    def make(self, op: Op, inputs: Sequence[str], params: Mapping[str, Array] | None = None) -> str:
        """A node, and its name."""
        return self.b.make(self.name, op, [self.b.draft.nodes[name] for name in inputs], params).name

    def shape(self, name: str) -> Shape:
        """Shape of a node's value."""
        return self.b.draft.nodes[name].shape


def view_of(b: Builder, node: str, axes: Dims) -> View:
    """A node's value under a layout."""
    return View(node, b.draft.nodes[node].shape, axes, lengths(axes))


def ordered(b: Builder, name: str, view: View, parts: Sequence[Axis]) -> View:
    """The view with its channels in the order in which parts of them, the slowest first, run over them."""
    order = order_of(parts)
    if order == tuple(range(view.shape.channels)):
        return view
    made = b.make(name, Select(order), [b.node(view)])
    return view_of(b, made.name, renamed(view.axes, laid(parts)))


def settled(b: Builder, name: str, view: View) -> View:
    """The view with parts of the channels that meet in a dimension put in order, and squares of them as pixels.

    Raises Unsupported for parts of rows and columns that are no squares.
    """
    if view.expanded:
        return view
    found = squares(view.axes, view.shape)
    if found is not None:
        view = view_of(b, b.make(name, SpaceToDepth(found[0]), [b.node(view)]).name, renamed(view.axes, found[1]))
    behind = behind_pixels(view.axes)
    if behind is not None:
        view = ordered(b, name, view, [*behind, *(part for part in parts_of(view.axes) if part not in behind)])
        behind = behind_pixels(view.axes)
        assert behind is not None
        made = b.make(name, DepthToSpace(behind[0].length, view.shape.height, view.shape.width), [b.node(view)])
        view = view_of(b, made.name, with_squares(view.axes, behind))
    if unordered(view.axes):
        view = ordered(b, name, view, parts_of(view.axes))
    if needs_whole(view.axes, view.shape):
        raise Unsupported(f"must keep rows and columns, or cut them into squares, got {written(view.axes, view.shape)}")
    return replace(view, axes=renamed(view.axes, {}))


def operands(b: Builder, name: str, left: View, right: View, ordered: bool) -> tuple[Node, Node, View]:
    """Two operands as nodes, and the layout of their result: the first is as large as it if `ordered`, else one is."""
    found = paired(left.axes, right.axes)
    rank = max(left.rank, right.rank)
    if found is None:
        raise Unsupported(f"operands must have the same dimensions, got {left} and {right}")
    one, other, dims = found
    reach = [max(sides) for sides in zip(*((1,) * (rank - v.rank) + v.dims for v in (left, right)), strict=True)]
    if lengths(dims) != tuple(reach):
        raise Unsupported(f"operands must not both be expanded, got {left} and {right}")
    large = [pixels_of(own) == pixels_of(dims) for own in (one, other)]
    first = fitted(b, name, left, one, dims, large[0] or ordered or not large[1])
    second = fitted(b, name, right, other, dims, large[1])
    if not ordered and second.shape.elements > first.shape.elements:
        first, second = second, first
    return first, second, view_of(b, first.name, renamed(dims, {}))


def fitted(b: Builder, name: str, view: View, own: Dims, dims: Dims, whole: bool) -> Node:
    """A value repeated and put in order so that it has the layout `dims`; or as one pixel, unless it must be whole."""
    node, channels, (height, width) = b.node(view), channels_for(own, dims), size_of(dims)
    shape = node.shape
    if channels != tuple(range(shape.channels)):
        node = b.make(name, Select(channels), [node])
    if (shape.height, shape.width) != (height, width) and (whole or shape.pixels > 1):
        rows = tuple(range(height)) if shape.height > 1 else (0,) * height
        columns = tuple(range(width)) if shape.width > 1 else (0,) * width
        node = b.make(name, Resize(rows, columns), [node])
    return node


def taken(b: Builder, name: str, view: View, dim: int, places: Sequence[int]) -> View:
    """Some of a dimension's places in this order; rows and columns never go back."""
    own = view.axes[dim]
    if tuple(places) == tuple(range(length(own))):
        return view
    if len(own) != 1:
        raise Unsupported(f"must take channels, rows or columns, got dimension {dim} of {view}")
    axis, shape = own[0], view.shape
    if axis.of != "C":
        if list(places) != sorted(places):
            raise Unsupported("must take rows and columns in their order")
        sides = {"H": tuple(range(shape.height)), "W": tuple(range(shape.width)), axis.of: tuple(places)}
        made = b.make(name, Resize(sides["H"], sides["W"]), [b.node(view)])
        kept = (Axis(axis.of, len(places)),) if len(places) > 1 else ()
        return view_of(b, made.name, (*view.axes[:dim], kept, *view.axes[dim + 1 :]))
    # The part is made the slowest one, so that what is cut off are whole runs of channels.
    others = sorted((part for part in parts_of(view.axes) if part != axis), key=lambda part: -part.step)
    names, order = laid([axis, *others]), order_of([axis, *others])
    each = shape.channels // axis.length
    channels = [order[place * each + i] for place in places for i in range(each)]
    run = channels == list(range(channels[0], channels[0] + len(channels)))
    op = Slice(channels[0], channels[-1] + 1) if run else Select(tuple(channels))
    made = b.make(name, op, [b.node(view)])
    axes = [tuple(names.get(a, a) for a in mine) for mine in view.axes]
    axes[dim] = (Axis("C", len(places), each),) if len(places) > 1 else ()
    return settled(b, name, view_of(b, made.name, tuple(axes)))


def stacked(b: Builder, name: str, views: Sequence[View], dim: int) -> View:
    """Channels of values side by side: dimension `dim` becomes the slowest part of them, or the only one."""

    def beside(view: View) -> list[Axis]:
        return parts_of((*view.axes[:dim], *view.axes[dim + 1 :]))

    nodes = [b.node(ordered(b, name, view, [*view.axes[dim], *beside(view)])) for view in views]
    if len({(node.type.dtype, node.type.quant) for node in nodes}) > 1:
        raise Unsupported("inputs must be alike but for their channels")
    total = Axis("C", sum(length(view.axes[dim]) for view in views), 0)
    names = laid([total, *beside(views[0])])
    axes = list(renamed(views[0].axes, names))
    axes[dim] = (names[total],) if total.length > 1 else ()
    return settled(b, name, view_of(b, b.make(name, Concat(), nodes).name, tuple(axes)))


def one_behind_another(b: Builder, name: str, views: Sequence[View], dim: int, letter: str) -> View:
    """Rows or columns of values one behind another: each with zeros around it, and their sum."""
    like = views[0]
    whole, before, out = Axis(letter, sum(length(view.axes[dim]) for view in views)), 0, None
    for view in views:
        count = length(view.axes[dim])
        node = fitted(b, name, view, view.axes, (*like.axes[:dim], view.axes[dim], *like.axes[dim + 1 :]), True)
        after = whole.length - before - count
        border = (before, after, 0, 0) if letter == "H" else (0, 0, before, after)
        padded = b.make(name, Pad(border), [node])
        out = padded if out is None else b.make(name, Add(), [out, padded])
        before += count
    assert out is not None
    return view_of(b, out.name, (*like.axes[:dim], (whole,), *like.axes[dim + 1 :]))
