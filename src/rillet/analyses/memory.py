"""Activation memory of a network: streamed under a row plan, and layer by layer; and its precision."""

from collections import Counter
from dataclasses import dataclass, replace

from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph
from rillet.ir.ops import Op
from rillet.ir.types import DType, Quant, TensorType
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_layerwise
from rillet.transforms.fold import fold, without_weights


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Bytes of activations of one network."""

    arena_bytes: int
    layerwise_bytes: int
    map_bytes: int
    """Full tensors that the plan materialises between segments."""
    segments: int


def memory(graph: Graph, plan: RowPlan) -> MemoryReport:
    """What `plan` takes and what an ordinary interpreter takes, which holds full tensors."""
    return MemoryReport(plan.arena_bytes, plan_layerwise(graph).arena_bytes, plan.map_bytes, len(plan.segments))


_WORDS = {DType.F32: "float32", DType.I32: "int32", DType.I16: "int16", DType.I8: "int8", DType.U8: "uint8"}


def precision(graph: Graph) -> str:
    """What the values of a network are, those that most are first, and its weights where they are of fewer bits:
    `float32`, `int8`, `int8 and float32`, `int8, ternary weights`.
    """
    values = Counter[str]()
    for node in graph.nodes:
        values[_WORDS.get(node.type.dtype, node.type.dtype.value)] += node.shape.elements
    weights = {node.op.weights for node in graph.nodes if has_weights(node.op)}
    few = " and ".join(dtype.value for dtype in (DType.TERNARY, DType.BINARY) if dtype in weights)
    return " and ".join(word for word, _ in values.most_common()) + (f", {few} weights" if few else "")


def value_bits(graph: Graph) -> int:
    """32 for a network that computes in float32, else 8: by its convolutions, or by all values without any."""
    convs = [node for node in graph.nodes if has_weights(node.op)]
    real = [node.op.real for node in convs if has_weights(node.op)] or [n.type.quant is None for n in graph.nodes]
    return 32 if any(real) else 8


def stored_at(graph: Graph, bits: int | None = None) -> Graph:
    """The network as it is planned, folded and without weights: at its own precision, or with values and weights of
    8 or 32 `bits`.
    """
    folded = fold(without_weights(graph))
    return folded if bits is None else stored_as(folded, bits)


def stored_as(graph: Graph, bits: int) -> Graph:
    """The same shapes with values and weights of 8 or 32 bits: for planning memory, not for running."""
    dtype, quant = (DType.F32, None) if bits == 32 else (DType.I8, Quant(1.0, 0))
    nodes = tuple(
        replace(node, op=_stored(node.op, dtype), type=TensorType(node.shape, dtype, quant)) for node in graph.nodes
    )
    return replace(graph, nodes=nodes, params={})


def _stored(op: Op, dtype: DType) -> Op:
    return replace(op, weights=dtype, levels=None) if has_weights(op) else op
