"""What a plan says that each stage will take of an FPGA, before anything is synthesised."""

from dataclasses import dataclass
from typing import assert_never

from rillet.arithmetic.convolution import level_sums
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Add,
    Apply,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Interpolate,
    Multiply,
    Pad,
    Pair,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
)
from rillet.ir.types import DType
from rillet.plan.pipeline.memories import Content, StageMemory, memories
from rillet.plan.pipeline.plan import PixelPlan, PixelStage
from rillet.plan.pipeline.registers import blocks_of, plain_sum
from rillet.targets.families import Family, Taken
from rillet.targets.pipeline import Pipeline

# Look-up tables, fitted to what yosys makes of layers (docs/rtl.md): of the steps of a
# convolution, of a window's taps, and of the steps of what has no weights.
STEPS, WINDOW, STREAM = 120, 170, 60
ROUNDED = 6
"""Look-up tables for each bit of a sum that is rounded by a shift: shifter, rounding, clamp."""
VALUE_BITS, PRODUCT_BITS = 8, 18
SCALE = 4
"""DSP blocks of a product of 32 by 31 bits, which the rule `fixed_point` takes for each value that leaves."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one stage is expected to take."""

    node: str
    taken: Taken
    products: int
    """Of its DSP blocks those that take products; the others requantise."""
    constant_luts: int
    """Of its look-up tables those that are memories which are never written."""


def estimates(plan: PixelPlan, family: Family) -> tuple[Estimate, ...]:
    """Of every stage of a plan of hardware: multipliers and block RAMs as its modules have them; look-up tables are
    those of adders, rounding, operands, memories and steps, about so many.
    """
    assert plan.pipeline is not None
    found: dict[str, list[StageMemory]] = {stage.node: [] for stage in plan.stages}
    for memory in memories(plan):
        found[memory.stage].append(memory)
    return tuple(_stage(plan.graph, stage, found[stage.node], plan.pipeline, family) for stage in plan.stages)


def _stage(graph: Graph, stage: PixelStage, found: list[StageMemory], pipeline: Pipeline, family: Family) -> Estimate:
    within = [memory for memory in found if not memory.block_rams(pipeline)]
    rings = sum(_memory(family, memory) for memory in within if memory.content is Content.RING)
    constants = sum(_memory(family, memory) for memory in within if memory.content is not Content.RING)
    products, scaling = _multipliers(graph, stage)
    taken = Taken(
        luts=rings + constants + _logic(graph, stage, found, family),
        memory_luts=rings,
        multipliers=products + scaling,
        block_rams=sum(memory.block_rams(pipeline) for memory in found),
    )
    return Estimate(stage.node, taken, products, constants)


def _memory(family: Family, memory: StageMemory) -> int:
    constant = memory.content is not Content.RING
    return memory.copies * family.memory_luts(memory.width_bits, memory.words, constant)


def _logic(graph: Graph, stage: PixelStage, found: list[StageMemory], family: Family) -> int:
    """Look-up tables that are no memories."""
    node, folding = graph.by_name[stage.node], stage.folding
    if not has_weights(node.op):
        return STREAM + 2 * VALUE_BITS * folding.outputs
    blocks = blocks_of(node.op.out_channels, node.op.groups, folding)
    products = node.op.window.taps * graph.input_shapes(node)[0].channels // node.op.groups
    total_bits = 2 * VALUE_BITS + (products - 1).bit_length()
    sums = folding.outputs * max(1, level_sums(graph, node, node.op))
    added = sums * (folding.inputs * folding.taps - 1) * PRODUCT_BITS + sums * total_bits
    held = sums * total_bits if folding.outputs > blocks.units else 0
    rounded = ROUNDED * blocks.units * total_bits
    ring = next(memory for memory in found if memory.content is Content.RING)
    operand = VALUE_BITS * (folding.inputs if node.op.groups == 1 else blocks.groups)
    chosen = family.choice_luts(max(1, ring.width_bits // operand)) * operand * folding.taps
    return STEPS + (WINDOW if node.op.window.taps > 1 else 0) + added + held + rounded + chosen


def _multipliers(graph: Graph, stage: PixelStage) -> tuple[int, int]:
    """Products with weights or of two values, and what requantises them."""
    node, lanes = graph.by_name[stage.node], stage.folding.outputs
    match node.op:
        case Conv(out_channels=outputs, groups=groups, rounding=rounding) as op:
            plain = node.type.dtype in (DType.BINARY, DType.I32)
            each = (0 if plain else _scale(graph, node, rounding)) + level_sums(graph, node, op)
            return 0 if op.only_adds else stage.multipliers, blocks_of(outputs, groups, stage.folding).units * each
        case Multiply(rounding=rounding):
            return stage.elementwise_multipliers, lanes * _scale(graph, node, rounding)
        case Pool(kind=PoolKind.MEAN, rounding=rounding):
            return 0, lanes * _scale(graph, node, rounding)
        case Pool(kind=kind):
            # A product with the reciprocal of the count.
            return 0, lanes if kind is PoolKind.AVERAGE else 0
        case Add():
            return 0, 0 if plain_sum(graph, node) else lanes * SCALE
        case Activate() | Apply() | Pair() | Requantize() | BatchNorm() | Softmax():
            return 0, 0
        case Concat() | Slice() | Select() | DepthToSpace() | SpaceToDepth() | Pad() | Resize():
            return 0, 0
        case Interpolate():
            # Of each of a pixel's values with the shares of its rows and columns.
            return 0, 3 * lanes
        case Input() | Constant():
            raise AssertionError(f"{node.name} is no stage")
        case _ as other:
            assert_never(other)


def _scale(graph: Graph, node: Node, rounding: Rounding) -> int:
    # What has no scales yet is quantised by shifts unless it is said otherwise.
    shifts = rounding is Rounding.SHIFT or graph.by_name[node.inputs[0]].type.quant is None
    return 0 if shifts else SCALE
