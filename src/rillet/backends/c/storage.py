"""How a plan keeps its values: the graph as the program stores it, and the way between the two at its ends."""

from dataclasses import replace

import numpy as np

from rillet.ir.facts import is_constant
from rillet.ir.graph import Array, Node
from rillet.ir.sharing import remade
from rillet.ir.types import DType, Quant
from rillet.plan.rows.plan import RowPlan

_STORED = {DType.I8: (DType.U8, 128), DType.U8: (DType.I8, -128)}
"""The type in which a flipped value is kept, and what is added to it."""


def as_stored(plan: RowPlan) -> RowPlan:
    """The plan over the graph as its program stores it: flipped values have the other type, their zero points moved."""
    if not plan.flipped:
        return plan
    nodes = tuple(_flipped(node) if node.name in plan.flipped else node for node in plan.graph.nodes)
    params: dict[str, Array] = plan.graph.arrays
    for node in plan.graph.nodes:
        key = f"{node.name}.value"
        if node.name in plan.flipped and key in params:
            dtype, added = _STORED[node.type.dtype]
            params[key] = (params[key].astype(np.int16) + added).astype(dtype.numpy)
    return replace(plan, graph=remade(plan.graph, nodes, plan.graph.outputs, params, None))


def _flipped(node: Node) -> Node:
    quant, (dtype, added) = node.type.quant, _STORED[node.type.dtype]
    moved = None if quant is None else Quant(quant.scale, quant.zero_point + added)
    op = replace(node.op, dtype=dtype) if is_constant(node.op) else node.op
    return replace(node, op=op, type=replace(node.type, dtype=dtype, quant=moved))


def offset(plan: RowPlan, node: Node) -> int:
    """What the values of `node`, which `plan` stores, are more than the graph says."""
    if node.name not in plan.flipped:
        return 0
    return next(added for dtype, added in _STORED.values() if dtype is node.type.dtype)


def moved_table(table: Array, source: int, out: int) -> Array:
    """A table of 256 bytes for values stored so much higher than it was made for."""
    order = (np.arange(256) - source) % 256
    return ((table[order].astype(np.int64) + out) % 256).astype(np.uint8)
