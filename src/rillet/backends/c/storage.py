"""Storage types of a plan: the graph as the program stores it, and conversions at its inputs and outputs."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from rillet.ir.facts import is_constant
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.sharing import remade
from rillet.ir.types import DType, Quant
from rillet.plan.rows.plan import RowPlan

_STORED = {DType.I8: (DType.U8, 128), DType.U8: (DType.I8, -128)}
"""The type in which a value with its sign bit flipped is stored, and what is added to it."""


def as_stored(plan: RowPlan) -> RowPlan:
    """The plan over the graph as its program stores it.

    Values with their sign bit flipped have the other type there, and zero points offset by 128.
    """
    return replace(plan, graph=sign_flipped(plan.graph, plan.sign_flipped)) if plan.sign_flipped else plan


def sign_flipped(graph: Graph, names: Collection[str]) -> Graph:
    """The graph with values of these nodes as the other type of bytes: int8 as uint8, 128 more, or the way back."""
    nodes = tuple(_sign_flipped(node) if node.name in names else node for node in graph.nodes)
    params: dict[str, Array] = graph.arrays
    for node in graph.nodes:
        key = f"{node.name}.value"
        if node.name in names and key in params:
            dtype, added = _STORED[node.type.dtype]
            params[key] = (params[key].astype(np.int16) + added).astype(dtype.numpy)
    return remade(graph, nodes, graph.outputs, params, None)


def _sign_flipped(node: Node) -> Node:
    quant, (dtype, added) = node.type.quant, _STORED[node.type.dtype]
    moved = None if quant is None else Quant(quant.scale, quant.zero_point + added)
    op = replace(node.op, dtype=dtype) if is_constant(node.op) else node.op
    return replace(node, op=op, type=replace(node.type, dtype=dtype, quant=moved))


def offset(plan: RowPlan, node: Node) -> int:
    """The offset of stored values of `node` from those of the graph: 128, -128 or 0."""
    if node.name not in plan.sign_flipped:
        return 0
    return next(added for dtype, added in _STORED.values() if dtype is node.type.dtype)


def moved_table(table: Array, source: int, out: int) -> Array:
    """A lookup table of 256 bytes, shifted for inputs that are stored with an offset."""
    order = (np.arange(256) - source) % 256
    return ((table[order].astype(np.int64) + out) % 256).astype(np.uint8)
