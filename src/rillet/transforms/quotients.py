"""Quotients of two values as products with an inverse: integers have a table for that, and no division."""

from dataclasses import replace

from rillet.ir.facts import is_pair
from rillet.ir.functions import Curve
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Apply, Multiply, PairKind
from rillet.ir.sharing import remade


def as_products(graph: Graph) -> Graph:
    """The graph with each quotient a / b as a * b**-1, which float32 rounds once more; the graph itself without any."""
    nodes = list[Node]()
    for node in graph.nodes:
        if is_pair(node.op) and node.op.kind is PairKind.DIVIDE:
            over, under = node.inputs
            name = f"{node.name}/inverse"
            while name in graph.by_name:
                name += "_"
            kind = replace(node.type, shape=graph.by_name[under].shape)
            nodes.append(Node(name, Apply(Curve.POWER, -1.0), (under,), kind, node.block))
            nodes.append(replace(node, op=Multiply(), inputs=(over, name)))
        else:
            nodes.append(node)
    if len(nodes) == len(graph.nodes):
        return graph
    return remade(graph, tuple(nodes), graph.outputs, graph.arrays, graph.image)
