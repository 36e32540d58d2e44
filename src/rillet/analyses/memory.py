"""Activation memory of a network: streamed under a row plan, and layer by layer beside it."""

from dataclasses import dataclass

from rillet.ir.graph import Graph
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
