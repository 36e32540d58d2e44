"""The nearest network that TFLite has operators for, where it has none that give the same bytes: for speed alone."""

from dataclasses import replace

import numpy as np

from rillet.ir.facts import is_input
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Activate, Activation, Add, Constant, Multiply, Requantize
from rillet.ir.sharing import remade
from rillet.ir.types import DType, Quant, Shape, TensorType

_MOST = 127


def nearest(graph: Graph) -> Graph:
    """The graph with each hard sigmoid of int8 as TensorFlow's converter writes one: relu6(x + 3) * (1 / 6)."""
    nodes: list[Node] = []
    params: dict[str, Array] = graph.arrays
    for node in graph.nodes:
        match node.op:
            case Activate(activation=Activation.HARD_SIGMOID) if node.type.dtype is DType.I8:
                made = _sum_and_product(node)
                nodes += made
                params |= {f"{one.name}.value": np.full(one.shape.array, _MOST, np.int8) for one in made[:2]}
            case _:
                nodes.append(node)
    return remade(graph, tuple(nodes), graph.outputs, params, None)


def unsigned_ends(graph: Graph) -> Graph:
    """The graph with an input and outputs of uint8 for int8, for runtimes whose callers have none of int8."""
    nodes, outputs = list[Node](), list[str]()
    for node in graph.nodes:
        if is_input(node.op) and node.type.dtype is DType.I8:
            given = replace(node, name=f"{node.name}/uint8", type=_unsigned(node.type))
            nodes += [given, replace(node, op=Requantize(), inputs=(given.name,))]
        else:
            nodes.append(node)
    for name in graph.outputs:
        node = graph.by_name[name]
        if node.type.dtype is DType.I8:
            made = Node(f"{name}/uint8", Requantize(), (name,), _unsigned(node.type))
            nodes.append(made)
            name = made.name
        outputs.append(name)
    return remade(graph, tuple(nodes), tuple(outputs), graph.arrays, None)


def _unsigned(kind: TensorType) -> TensorType:
    quant = kind.quant
    return replace(kind, dtype=DType.U8, quant=None if quant is None else Quant(quant.scale, quant.zero_point + 128))


def _sum_and_product(node: Node) -> list[Node]:
    """Both constants, the sum and the product, which has the node's name and quantisation."""
    names = [f"{node.name}/{word}" for word in ("three", "sixth", "sum")]
    one, whole = Shape(1, 1, node.shape.channels), Quant(6 / 255, -128)
    three, sixth = (
        Node(name, Constant(DType.I8), (), TensorType(one, DType.I8, Quant(value / _MOST, 0)), node.block)
        for name, value in zip(names, (3.0, 1 / 6), strict=False)
    )
    total = Node(
        names[2], Add(Activation.RELU6), (node.inputs[0], names[0]), replace(node.type, quant=whole), node.block
    )
    return [three, sixth, total, replace(node, op=Multiply(), inputs=(names[2], names[1]))]
