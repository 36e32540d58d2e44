"""Moves the strides of a network within its stages (source 000: can they be pushed to the last depthwise layer?)."""

from collections.abc import Mapping

from rillet.errors import GraphError
from rillet.ir.facts import has_weights, is_sum
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Window, op_window
from rillet.transforms.refit import refit, with_input


def move_strides(graph: Graph, place: str) -> Graph:
    """The network with the stride of each stage in the first or last of its blocks.

    A stage is a run of blocks with one depthwise convolution each and equal output channels. Parameters stay; a skip
    over a block that now halves its map cannot stay, and is left out; so the function is another one. Raises GraphError
    for another place, or where no stage has a stride to move.
    """
    if place not in ("first", "last"):
        raise GraphError(f"{graph.name}: strides must be first or last, got {place!r}")
    strides: dict[str, tuple[int, int]] = {}
    for stage in _stages(graph):
        product = (1, 1)
        for node in stage:
            down, across = _window(node).stride
            product = (product[0] * down, product[1] * across)
        bearer = stage[0] if place == "first" else stage[-1]
        strides |= {node.name: product if node is bearer else (1, 1) for node in stage}
    if all(_window(graph.by_name[name]).stride == stride for name, stride in strides.items()):
        raise GraphError(f"{graph.name}: strides must have a place to move to, and all are {place} in their stages")
    broken = _broken_skips(graph, strides)
    return with_input(graph, refit(graph, graph.input_nodes[0].shape, strides=strides, dropped=broken), graph.arrays)


def _window(node: Node) -> Window:
    assert has_weights(node.op)
    return node.op.window


def _stages(graph: Graph) -> list[list[Node]]:
    """Depthwise convolutions of neighbouring blocks that end in equally many channels."""
    depthwise: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if has_weights(node.op) and node.op.depthwise(graph.input_shapes(node)[0]) and node.block:
            depthwise.setdefault(node.block, []).append(node)
    last = {node.block: node for node in graph.nodes}
    stages: list[list[Node]] = []
    before = None
    for block, nodes in depthwise.items():
        if len(nodes) != 1:
            raise GraphError(f"{graph.name}: {block}: must have one depthwise convolution for its stride to move")
        channels = last[block].shape.channels
        if channels == before:
            stages[-1] += nodes
        else:
            stages.append(nodes)
        before = channels
    return stages


def _broken_skips(graph: Graph, strides: Mapping[str, tuple[int, int]]) -> frozenset[str]:
    """Additions whose two sides would no longer have one size."""
    scale: dict[str, tuple[int, int]] = {}
    broken: set[str] = set()
    for node in graph.nodes:
        scales = [scale[name] for name in node.inputs]
        if is_sum(node.op) and len(set(scales)) > 1 and len(set(graph.input_shapes(node))) == 1:
            broken.add(node.name)
        window, shapes = op_window(node.op), graph.input_shapes(node)
        down, across = scales[0] if scales else (1, 1)
        if window is not None and not window.covers(shapes[0]):
            step = strides.get(node.name, window.stride)
            down, across = down * step[0], across * step[1]
        scale[node.name] = (down, across)
    return frozenset(broken)
