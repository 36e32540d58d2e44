"""How many cycles a stage's result takes from the end of its firing to the rings behind it, as hardware."""

from typing import assert_never

from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Add,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    Input,
    Multiply,
    Pad,
    Pool,
    Requantize,
    Resize,
    Rounding,
    Slice,
    Softmax,
)
from rillet.plan.pipeline.folding import Folding
from rillet.targets.pipeline import Pipeline

ADDENDS = 4
"""Terms that the adders in front of one register sum up."""


def latency_cycles(graph: Graph, pipeline: Pipeline, node: Node, folding: Folding) -> int:
    """Registers between the last operand that a firing of `node` reads and its result, in cycles."""
    fetched = pipeline.registers("read", "operand")
    match node.op:
        case Input() | Constant():
            return 0
        case Conv(rounding=rounding):
            # What has no scales yet is quantised by shifts unless it is said otherwise.
            shifts = graph.by_name[node.inputs[0]].type.quant is None or rounding is Rounding.SHIFT
            scaled = "shift" if shifts else "fixed_point"
            levels = _levels(folding.taps * folding.inputs) * pipeline.registers("sum")
            return fetched + levels + pipeline.registers("multiply", "accumulate", scaled, "output")
        case Pool() | Activate() | Add() | Multiply() | Requantize() | BatchNorm() | Softmax():
            return fetched + pipeline.registers("output")
        case Concat() | Slice() | Pad() | Resize():
            return fetched + pipeline.registers("output")
        case _ as other:
            assert_never(other)


def _levels(terms: int) -> int:
    """Levels of adders, of ADDENDS each, that make one sum of so many terms."""
    levels = 0
    while ADDENDS**levels < terms:
        levels += 1
    return levels
