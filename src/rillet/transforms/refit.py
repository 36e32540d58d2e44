"""Recomputes shapes along a graph whose input or channels have changed, and what ops say of shapes with them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Add, Conv, Input, Multiply, Op, Pool, Resize, Slice, Window, op_window, output_shape
from rillet.ir.types import DType, Shape


def refit(
    graph: Graph,
    image: Shape,
    channels: Callable[[Node], int | None] = lambda _: None,
) -> tuple[Node, ...]:
    """The nodes of `graph` for an input of `image`: shapes, paddings, windows that cover their map, groups.

    `channels` says the new output channels of a convolution (None: as before; depthwise ones follow their input).
    Raises GraphError where something no longer fits, Unsupported for an op that names a size of its own.
    """
    same = pads_as_same(graph)
    shapes: dict[str, Shape] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        old, new = graph.input_shapes(node), tuple(shapes[name] for name in node.inputs)
        op = node.op if not new else _refit_op(graph, node, old[0], new, same, channels)
        try:
            shape = output_shape(op, new, image if isinstance(op, Input) else node.shape)
        except GraphError as error:
            raise GraphError(f"{graph.name}: {node.name}: {error}") from None
        shapes[node.name] = shape
        nodes.append(replace(node, op=op, type=replace(node.type, shape=shape)))
    return tuple(nodes)


def _refit_op(
    graph: Graph,
    node: Node,
    old: Shape,
    new: tuple[Shape, ...],
    same: bool,
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
            return replace(op, window=_refit_window(op.window, old, new[0], same), groups=groups, out_channels=out)
        case Pool():
            return replace(op, window=_refit_window(op.window, old, new[0], same))
        case Slice(start=start, stop=stop):
            ratio = new[0].channels / old.channels
            return Slice(round(start * ratio), round(stop * ratio))
        case Resize() if (old.height, old.width) != (new[0].height, new[0].width):
            raise Unsupported(f"{graph.name}: {node.name}: a resize to a fixed size has no other resolution")
        case Add() | Multiply():
            if new[1] not in (new[0], Shape(1, 1, new[0].channels)):
                raise GraphError(f"{graph.name}: {node.name}: inputs must still fit, got {new[0]} and {new[1]}")
            return op
        case _:
            return op


def _refit_window(window: Window, old: Shape, new: Shape, same: bool) -> Window:
    if window.covers(old) and old.pixels > 1:
        return replace(window, kernel=(new.height, new.width), dilation=(1, 1))
    if old.pixels == 1 and window.kernel == (1, 1):
        return window
    return replace(window, padding=same_padding(window, new)) if same and any(window.padding) else window


def same_padding(window: Window, shape: Shape) -> tuple[int, int, int, int]:
    """Padding by the SAME rule: ceil(size / stride) outputs, an odd row or column at the bottom and right."""
    out: list[int] = []
    for length, extent, stride in zip((shape.height, shape.width), window.extent, window.stride, strict=True):
        total = max((-(-length // stride) - 1) * stride + extent - length, 0)
        out += [total // 2, total - total // 2]
    return (out[0], out[1], out[2], out[3])


def pads_as_same(graph: Graph) -> bool:
    """True where every padded convolution pads as SAME does: then a new size needs new padding."""
    padded = [
        (window, graph.input_shapes(node)[0])
        for node in graph.nodes
        if isinstance(node.op, Conv) and (window := op_window(node.op)) is not None and any(window.padding)
    ]
    return bool(padded) and all(window.padding == same_padding(window, shape) for window, shape in padded)


def with_input(graph: Graph, nodes: Iterable[Node], params: Mapping[str, Array]) -> Graph:
    """`graph` with other nodes, its input contract at the size of the new input."""
    made = tuple(nodes)
    image = graph.image
    inputs = [node for node in made if isinstance(node.op, Input)]
    if image is not None and len(inputs) == 1:
        image = replace(image, height=inputs[0].shape.height, width=inputs[0].shape.width)
    return Graph(graph.name, made, graph.outputs, params, image)


def float_only(graph: Graph, what: str) -> None:
    """Refuses a quantised network with weights; raises Unsupported."""
    for node in graph.nodes:
        if graph.params and isinstance(node.op, Conv) and node.op.weights is not DType.F32:
            raise Unsupported(f"{graph.name}: {what} must have float weights or none, got {node.op.weights.value}")
