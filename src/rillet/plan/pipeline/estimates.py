"""What a plan says that each stage will take of an FPGA, before anything is synthesised."""

from dataclasses import dataclass
from typing import assert_never

from rillet.ir.graph import Graph
from rillet.ir.ops import (
    Activate,
    Add,
    Apply,
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
from rillet.plan.pipeline.budgets import MOST_ADDED_BITS
from rillet.plan.pipeline.memories import StageMemory, memories
from rillet.plan.pipeline.plan import PixelPlan, PixelStage
from rillet.plan.pipeline.registers import blocks_of, plain_sum
from rillet.targets.families import Taken
from rillet.targets.pipeline import Pipeline

SCALE = 4
"""DSP blocks of a product of 32 by 31 bits, which the rule `fixed_point` takes for each value that leaves."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one stage is expected to take."""

    node: str
    taken: Taken


def estimates(plan: PixelPlan) -> tuple[Estimate, ...]:
    """Of every stage of a plan of hardware: multipliers and block RAMs as its modules have them."""
    assert plan.pipeline is not None
    found: dict[str, list[StageMemory]] = {stage.node: [] for stage in plan.stages}
    for memory in memories(plan):
        found[memory.stage].append(memory)
    return tuple(
        Estimate(stage.node, _stage(plan.graph, stage, found[stage.node], plan.pipeline)) for stage in plan.stages
    )


def _stage(graph: Graph, stage: PixelStage, found: list[StageMemory], pipeline: Pipeline) -> Taken:
    return Taken(
        multipliers=_multipliers(graph, stage),
        block_rams=sum(memory.block_rams(pipeline) for memory in found),
    )


def _multipliers(graph: Graph, stage: PixelStage) -> int:
    """Products with weights or of two values, and what requantises them."""
    node = graph.by_name[stage.node]
    match node.op:
        case Conv(out_channels=outputs, groups=groups, rounding=rounding):
            added = stage.weight_bits <= MOST_ADDED_BITS
            units = blocks_of(outputs, groups, stage.folding).units
            return (0 if added else stage.multipliers) + units * _scale(rounding)
        case Multiply(rounding=rounding):
            return stage.elementwise_multipliers + stage.folding.outputs * _scale(rounding)
        case Pool(rounding=rounding):
            return stage.folding.outputs * _scale(rounding)
        case Add():
            return 0 if plain_sum(graph, node) else stage.folding.outputs * SCALE
        case Activate() | Apply() | Requantize() | BatchNorm() | Softmax():
            return 0
        case Concat() | Slice() | Pad() | Resize():
            return 0
        case Input() | Constant():
            raise AssertionError(f"{node.name} is no stage")
        case _ as other:
            assert_never(other)


def _scale(rounding: Rounding) -> int:
    return 0 if rounding is Rounding.SHIFT else SCALE
