"""Activation memory of a network: streamed under a row plan, and layer by layer beside it."""

from dataclasses import dataclass, replace

from rillet.ir.graph import Graph
from rillet.ir.ops import Conv, Op
from rillet.ir.types import DType, Quant, TensorType
from rillet.plan.plan import Plan
from rillet.plan.rows import plan_layerwise


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Bytes of activations of one network."""

    arena_bytes: int
    layerwise_bytes: int
    map_bytes: int
    """Whole maps that the plan materialises between segments."""
    segments: int


def memory(graph: Graph, plan: Plan) -> MemoryReport:
    """What `plan` takes and what an ordinary interpreter takes, which holds whole maps."""
    return MemoryReport(plan.arena_bytes, plan_layerwise(graph).arena_bytes, plan.map_bytes, len(plan.segments))


def stored_as(graph: Graph, bits: int) -> Graph:
    """The same shapes with values and weights of 8 or 32 bits: for planning memory, not for running."""
    dtype, quant = (DType.F32, None) if bits == 32 else (DType.I8, Quant(1.0, 0))
    nodes = tuple(
        replace(node, op=_stored(node.op, dtype), type=TensorType(node.shape, dtype, quant)) for node in graph.nodes
    )
    return replace(graph, nodes=nodes, params={})


def _stored(op: Op, dtype: DType) -> Op:
    return replace(op, weights=dtype, levels=None) if isinstance(op, Conv) else op
