"""Shape inference for a graph whose input or channels have changed: shapes, paddings, windows and groups."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from rillet.errors import GraphError, RilletError, Unsupported
from rillet.ir.facts import has_weights, is_input, is_pool
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import (
    Add,
    Conv,
    DepthToSpace,
    Interpolate,
    Multiply,
    Op,
    Pair,
    Pool,
    PoolKind,
    Resize,
    Slice,
    Window,
    op_window,
    output_shape,
)
from rillet.ir.sharing import remade
from rillet.ir.types import DType, Shape

_NO_STRIDES: Mapping[str, tuple[int, int]] = {}


class _Style(NamedTuple):
    """How the paddings of a network follow from its sizes: SAME for convolutions, ceil_mode for pools."""

    same: bool
    ceil: bool


def refit(
    graph: Graph,
    image: Shape,
    channels: Callable[[Node], int | None] = lambda _: None,
    strides: Mapping[str, tuple[int, int]] = _NO_STRIDES,
    dropped: frozenset[str] = frozenset(),
) -> tuple[Node, ...]:
    """The nodes of `graph` for an input of `image`: shapes, paddings, windows that cover their map, groups.

    `channels` says the new output channels of a convolution (None: as before; depthwise ones follow their input),
    `strides` new strides by node; nodes of `dropped` hand on their first input.
    Raises GraphError where something no longer fits, Unsupported for an op that names a size of its own.
    """
    style = _Style(pads_as_same(graph), _pools_hang_over(graph))
    shapes: dict[str, Shape] = {}
    nodes: list[Node] = []
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        if node.name in dropped:
            renamed[node.name] = inputs[0]
            continue
        old, new = graph.input_shapes(node), tuple(shapes[name] for name in inputs)
        op = node.op
        if has_weights(op) and node.name in strides:
            op = replace(op, window=replace(op.window, stride=strides[node.name]))
        if new:
            op = _refit_op(graph, replace(node, op=op), old[0], new, style, channels)
        try:
            shape = output_shape(op, new, image if node == graph.input_nodes[0] else node.shape)
        except RilletError as error:
            raise type(error)(f"{graph.name}: {node.name}: {error}") from None
        shapes[node.name] = shape
        nodes.append(replace(node, op=op, inputs=inputs, type=replace(node.type, shape=shape)))
    return tuple(nodes)


def _refit_op(
    graph: Graph,
    node: Node,
    old: Shape,
    new: tuple[Shape, ...],
    style: _Style,
    channels: Callable[[Node], int | None],
) -> Op:
    op = node.op
    match op:
        case Conv():
            if op.depthwise(old):
                groups, multiple = new[0].channels, op.out_channels // old.channels
                out = groups * multiple
            else:
                groups, out = op.groups, channels(node) or op.out_channels
            window = _padded(op.window, new[0], style) if not op.dense else _covering(new[0])
            return replace(op, window=window, groups=groups, out_channels=out)
        case Pool():
            # A maximum with a stride is a pool that happens to be as large as its map, not a global one.
            covers = op.window.covers(old) and (op.kind is not PoolKind.MAX or op.window.stride == (1, 1))
            if style.ceil and not covers:
                return replace(op, window=replace(op.window, padding=_ceil_padding(op.window, new[0])))
            return replace(op, window=_covering(new[0]) if covers else _padded(op.window, new[0], style))
        case Slice(start=start, stop=stop):
            ratio = new[0].channels / old.channels
            return Slice(round(start * ratio), round(stop * ratio))
        case Resize() | Interpolate() if (old.height, old.width) != (new[0].height, new[0].width):
            raise Unsupported(f"{graph.name}: {node.name}: a resize to a fixed size has no other resolution")
        case DepthToSpace():
            return replace(op, height=new[0].height, width=new[0].width)
        case Add() | Multiply() | Pair():
            if new[1] not in (new[0], Shape(1, 1, new[0].channels)):
                raise GraphError(f"{graph.name}: {node.name}: inputs must still fit, got {new[0]} and {new[1]}")
            return op
        case _:
            return op


def _covering(shape: Shape) -> Window:
    return Window((shape.height, shape.width))


def _padded(window: Window, shape: Shape, style: _Style) -> Window:
    """The window with the padding that its style gives it on a map of another size."""
    if style.same and any(window.padding):
        return replace(window, padding=same_padding(window, shape))
    return window


def same_padding(window: Window, shape: Shape) -> tuple[int, int, int, int]:
    """Padding by the SAME rule: ceil(size / stride) outputs, an odd row or column at the bottom and right."""
    out: list[int] = []
    for length, extent, stride in zip((shape.height, shape.width), window.extent, window.stride, strict=True):
        total = max((-(-length // stride) - 1) * stride + extent - length, 0)
        out += [total // 2, total - total // 2]
    return (out[0], out[1], out[2], out[3])


def _ceil_padding(window: Window, shape: Shape) -> tuple[int, int, int, int]:
    """Padding below and to the right that also takes the windows hanging over the edge."""
    below = (window.extent[0] - shape.height) % window.stride[0]
    right = (window.extent[1] - shape.width) % window.stride[1]
    return (0, below, 0, right)


def _pools_hang_over(graph: Graph) -> bool:
    """True where every maximum over strided windows also takes those that hang over the edge (ceil_mode)."""
    pools = [
        (node.op.window, graph.input_shapes(node)[0])
        for node in graph.nodes
        if is_pool(node.op) and node.op.window.stride != (1, 1)
    ]
    hangs = any(any(window.padding) for window, _ in pools)
    return hangs and all(window.padding == _ceil_padding(window, shape) for window, shape in pools)


def pads_as_same(graph: Graph) -> bool:
    """True where every padded convolution pads as SAME does: then a new size needs new padding."""
    padded = [
        (window, graph.input_shapes(node)[0])
        for node in graph.nodes
        if has_weights(node.op) and (window := op_window(node.op)) is not None and any(window.padding)
    ]
    return bool(padded) and all(window.padding == same_padding(window, shape) for window, shape in padded)


def with_input(graph: Graph, nodes: Iterable[Node], params: Mapping[str, Array]) -> Graph:
    """`graph` with other nodes, its input contract at the size of the new input.

    `params` has the arrays of each node under its own keys; those that were one and are different now are several.
    """
    made = tuple(nodes)
    image = graph.image
    inputs = [node for node in made if is_input(node.op)]
    if image is not None and inputs:
        image = replace(image, height=inputs[0].shape.height, width=inputs[0].shape.width)
    return remade(graph, made, graph.outputs, params, image)


def float_only(graph: Graph, what: str) -> None:
    """Refuses a quantised network with weights; raises Unsupported."""
    for node in graph.nodes:
        if graph.params and has_weights(node.op) and node.op.weights is not DType.F32:
            got = node.op.weights.value
            raise Unsupported(f"{graph.name}: {node.name}: {what} must have float weights or none, got {got}")
