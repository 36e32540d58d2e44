"""Vectorised sums and products of bytes in float32, where that is proved exact."""

from functools import lru_cache

from rillet.arithmetic import pairwise
from rillet.arithmetic.fixed_point import Clamp, activation_clamp
from rillet.arithmetic.pairwise import Pairwise
from rillet.backends.c import threads
from rillet.backends.c.constants import quant, real
from rillet.backends.c.reads import source_at
from rillet.backends.c.records import record
from rillet.ir.facts import is_given
from rillet.ir.graph import Node
from rillet.ir.ops import Add, Multiply, Rounding
from rillet.ir.types import DType, Quant
from rillet.plan.host.tilings import VECTORS
from rillet.plan.rows.plan import Kernel, RowPlan, Stage

_add = lru_cache(1024)(pairwise.add)
_multiply = lru_cache(1024)(pairwise.multiply)


def pairwise_constants(plan: RowPlan, stage: Stage) -> Pairwise | None:
    """Constants of the vectors; None where the kernels of arithmetic.h are needed, or are faster."""
    graph, node = plan.graph, plan.graph.by_name[stage.node]
    if stage.kernel is not Kernel.ARITHMETIC or plan.host is None or plan.host.kernels not in VECTORS:
        return None
    values = [graph.by_name[source] for source in node.inputs] + [node]
    if any(value.type.dtype is not VECTORS[plan.host.kernels].byte for value in values):
        return None
    # Vectors may be read past the end of what lies in the arena, and of nothing else.
    if any(is_given(value.op) for value in values):
        return None
    return _found(node, *(quant(graph, value) for value in values), fused=VECTORS[plan.host.kernels].fused)


def _found(node: Node, left: Quant, right: Quant, out: Quant, *, fused: bool) -> Pairwise | None:
    dtype: DType = node.type.dtype
    match node.op:
        case Add(activation, subtract) if not left == right == out:
            clamp = _less_zero(activation_clamp(activation, out, dtype), out)
            return _add(left, right, out, subtract, dtype, clamp, fused=fused)
        case Multiply(activation, Rounding.SHIFT):
            clamp = _less_zero(activation_clamp(activation, out, dtype), out)
            return _multiply(left, right, out, dtype, clamp, fused=fused)
        case Multiply():
            return pairwise.multiply_twice(left, right, out)
        case _:
            return None


def _less_zero(clamp: Clamp, quant: Quant) -> Clamp:
    return Clamp(clamp.low - quant.zero_point, clamp.high - quant.zero_point)


def pairwise_lines(plan: RowPlan, stage: Stage, k: Pairwise, low: str, high: str) -> tuple[list[str], list[str]]:
    """The record of constants, and the lines of a tile."""
    graph, node = plan.graph, plan.graph.by_name[stage.node]
    mantissa, by = (k.multiplier.mantissa, k.multiplier.shift) if k.multiplier else (0, 0)
    reals = map(real, (k.slope, k.level, k.along, k.offset))
    integers = mantissa, max(by, 0), max(-by, 0), quant(graph, node).zero_point, low, high
    numbers = [*reals, *map(str, integers)]
    first, channels, name = threads.piece(stage)[0], node.shape.channels, node.name
    sides = [source_at(graph, source, node, first) for source in node.inputs]
    places = ", ".join([*sides, f"at_{name}(self, self->made.of_{name} + {first})"])
    pixels, with_one = threads.piece_pixels(stage), graph.by_name[node.inputs[1]].shape != node.shape
    kernel, sizes = ("pairs_with_one", f"{pixels}, {channels}") if with_one else ("pairs", f"{pixels} * {channels}")
    lines = [*threads.each_piece(node, stage), f"    rillet_{kernel}({places},", f"      {sizes}, constants);"]
    return [record("rillet_pairwise", "constants", numbers)], lines
