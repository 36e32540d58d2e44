"""Several inputs in a row plan: the first is the image, whose rows are pushed in; the others lie whole in the arena.

What follows from the others alone is computed before the image's first row, so that the rest can stream.
"""

from dataclasses import replace

from rillet.ir.facts import is_constant, is_given, is_input
from rillet.ir.graph import Graph, Node


def in_order(graph: Graph) -> Graph:
    """A graph of several inputs with these first, then constants, what does not follow from the image, and the rest."""
    if len(graph.input_nodes) < 2:
        return graph
    streamed = follows_image(graph)

    def place(node: Node) -> int:
        return 0 if is_input(node.op) else 1 if is_constant(node.op) else 3 if node.name in streamed else 2

    nodes = tuple(sorted(graph.nodes, key=place))
    return graph if nodes == graph.nodes else replace(graph, nodes=nodes)


def early_count(graph: Graph) -> int:
    """How many layers follow from other inputs than the image alone."""
    if len(graph.input_nodes) < 2:
        return 0
    streamed = follows_image(graph)
    return sum(not is_given(node.op) and node.name not in streamed for node in graph.nodes)


def follows_image(graph: Graph) -> frozenset[str]:
    """The first input, and all that follows from it."""
    found = {graph.input_nodes[0].name}
    for node in graph.nodes:
        if not found.isdisjoint(node.inputs):
            found.add(node.name)
    return frozenset(found)


def of_constants(graph: Graph) -> list[str]:
    """Layers that follow from no input."""
    found = {node.name for node in graph.input_nodes}
    for node in graph.nodes:
        if not found.isdisjoint(node.inputs):
            found.add(node.name)
    return [node.name for node in graph.nodes if not is_given(node.op) and node.name not in found]
