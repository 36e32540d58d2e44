"""How a plan keeps its values: the graph as the program stores it, and the way between the two at its ends."""

from dataclasses import replace

import numpy as np

from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Constant
from rillet.ir.types import DType, Quant
from rillet.plan.plan import Plan

UNSIGNED_OFFSET = 128
"""What is added to an int8 value that is kept as uint8."""


def as_stored(plan: Plan) -> Plan:
    """The plan over the graph as its program stores it: what is kept unsigned has type uint8, its zero point moved."""
    if not plan.unsigned:
        return plan
    nodes = tuple(_unsigned(node) if node.name in plan.unsigned else node for node in plan.graph.nodes)
    params: dict[str, Array] = dict(plan.graph.params)
    for node in plan.graph.nodes:
        key = f"{node.name}.value"
        if node.name in plan.unsigned and key in params:
            params[key] = (params[key].astype(np.int16) + UNSIGNED_OFFSET).astype(np.uint8)
    return replace(plan, graph=Graph(plan.graph.name, nodes, plan.graph.outputs, params))


def _unsigned(node: Node) -> Node:
    quant = node.type.quant
    moved = None if quant is None else Quant(quant.scale, quant.zero_point + UNSIGNED_OFFSET)
    op = replace(node.op, dtype=DType.U8) if isinstance(node.op, Constant) else node.op
    return replace(node, op=op, type=replace(node.type, dtype=DType.U8, quant=moved))


def offset(plan: Plan, node: Node) -> int:
    """What the stored values of `node` are more than the graph says."""
    return UNSIGNED_OFFSET if node.name in plan.unsigned else 0


def moved_table(table: Array, source: int, out: int) -> Array:
    """A table of 256 bytes for values stored so much higher than it was made for."""
    order = (np.arange(256) - source) % 256
    return ((table[order].astype(np.int64) + out) % 256).astype(np.uint8)
