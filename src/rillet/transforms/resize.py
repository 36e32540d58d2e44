"""Another resolution, width or number of classes for a network that exists already."""

from dataclasses import replace

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.ir.inputs import sole_input
from rillet.ir.types import Shape
from rillet.transforms.refit import refit, with_input

MAX_RESOLUTION = 4096


def with_resolution(graph: Graph, height: int, width: int) -> Graph:
    """The network for an input of `height` x `width`; weights stay, unless a dense layer sees a map of another size."""
    if not (1 <= height <= MAX_RESOLUTION and 1 <= width <= MAX_RESOLUTION):
        raise GraphError(f"{graph.name}: resolution must be 1 to {MAX_RESOLUTION}, got {height}x{width}")
    old = sole_input(graph, "to be resized").shape
    if (old.height, old.width) == (height, width):
        return graph
    strides = _total_stride(graph)
    if min(height, width) < strides:
        raise GraphError(
            f"{graph.name}: resolution must be at least {strides}, the product of its strides, got {height}x{width}"
        )
    nodes = refit(graph, Shape(height, width, old.channels))
    for before, after in zip(graph.nodes, nodes, strict=True):
        if graph.params and _kernel(before) != _kernel(after):
            raise Unsupported(f"{graph.name}: {after.name}: a trained dense layer must keep its map {before.shape}")
    return with_input(graph, nodes, graph.arrays)


def _kernel(node: Node) -> tuple[int, int] | None:
    return node.op.window.kernel if has_weights(node.op) else None


def _total_stride(graph: Graph) -> int:
    """The largest product of strides on a way from the input, windows that cover their map not counted."""
    product: dict[str, int] = {}
    for node in graph.nodes:
        window = getattr(node.op, "window", None)
        shapes = graph.input_shapes(node)
        stride = 1 if window is None or window.covers(shapes[0]) else max(window.stride)
        product[node.name] = stride * max((product[name] for name in node.inputs), default=1)
    return max(product.values())


def with_width(graph: Graph, width: float, divisor: int = 8) -> Graph:
    """The untrained network with its channels times `width`, to multiples of `divisor` that lose at most a tenth.

    The last layer keeps its classes, and what meets in an addition stays alike. Raises GraphError for one with weights.
    """
    if graph.params:
        raise GraphError(f"{graph.name}: width can change in an untrained network only, and this one has weights")
    if not 0 < width <= 8:
        raise GraphError(f"{graph.name}: width must be above 0 and at most 8, got {width:g}")
    last = last_convolution(graph).name

    def channels(node: Node) -> int | None:
        assert has_weights(node.op)
        if node.name == last:
            return None
        value = node.op.out_channels * width
        out = max(divisor, int(value + divisor / 2) // divisor * divisor)
        out = out + divisor if out < 0.9 * value else out
        return -(-out // node.op.groups) * node.op.groups

    return with_input(graph, refit(graph, graph.input_nodes[0].shape, channels), {})


def with_classes(graph: Graph, classes: int, seed: int = 0) -> Graph:
    """The network with a new last layer of `classes` outputs; where it has weights, the layer's are drawn by `seed`."""
    if not 1 <= classes <= 2**17:
        raise GraphError(f"{graph.name}: classes must be 1 to {2**17}, got {classes}")
    last = last_convolution(graph)
    assert has_weights(last.op)
    if last.op.weights.value != "f32" and graph.params:
        got = last.op.weights.value
        raise Unsupported(f"{graph.name}: {last.name}: classes can change in a float network only, got {got}")
    nodes = refit(graph, graph.input_nodes[0].shape, lambda node: classes if node.name == last.name else None)
    params = graph.arrays
    if params:
        shape = last.op.weight_shape(graph.input_shapes(last)[0])
        deviation = 1.0 / np.sqrt(np.prod(shape[1:]))
        drawn = np.random.default_rng(seed).normal(0.0, deviation, (classes, *shape[1:]))
        params[f"{last.name}.weight"] = drawn.astype(np.float32)
        if last.op.bias:
            params[f"{last.name}.bias"] = np.zeros(classes, np.float32)
    image = None if graph.image is None else replace(graph.image, labels=())
    return with_input(replace(graph, image=image), nodes, params)


def last_convolution(graph: Graph) -> Node:
    """The convolution that makes the classes; raises GraphError where the network does not end with one."""
    for node in reversed(graph.nodes):
        if has_weights(node.op):
            if node.shape.channels != graph.by_name[graph.outputs[0]].shape.channels:
                break
            return node
    raise GraphError(f"{graph.name}: must end with a layer of classes")
