"""What a plan says that each stage will take of an FPGA, before anything is synthesised."""

from collections.abc import Mapping
from dataclasses import dataclass

from rillet.arithmetic.convolution import level_sums
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.plan.pipeline.memories import Content, StageMemory, memories
from rillet.plan.pipeline.plan import PixelPlan, PixelStage
from rillet.plan.pipeline.registers import blocks_of
from rillet.plan.pipeline.requantisers import PRODUCT_BITS, Unit, all_units, count_units
from rillet.targets.families import Family, Taken
from rillet.targets.pipeline import Pipeline

VALUE_BITS = 8


@dataclass(frozen=True, slots=True)
class _Logic:
    """Look-up tables that are no memories."""

    steps: int
    """Of the steps of a convolution."""
    window: int
    """More of one with a window: its taps, and what lies in the padding."""
    stream: int
    """Of each input of a layer without weights: its ring and its steps."""
    summed: float
    """For each bit of a sum over the steps of a block."""
    held: float
    """More where sums wait to leave."""
    shifted: float
    """For each bit of a sum that is rounded by a shift: bias, shifter, rounding, clamp."""
    multiplied: float
    """The same by the rule `fixed_point`."""
    few: float
    """For each bit of a word of a memory that is never written, of so few words that many bits are alike."""
    many: float
    """The same for each look-up table that its words fill."""


# Fitted to what yosys 0.70 makes of layers of MobileNetV2 on a ZCU102 and of MobileNetV1 on an ECP5-85, each by itself
# (docs/rtl.md): near the least squares of relative errors, but for what rounds, which was synthesised alone.
_LOGIC = {
    6: _Logic(120, 60, 55, 1.6, 0.0, 7.2, 12.0, 0.15, 0.6),
    4: _Logic(70, 110, 55, 1.6, 1.7, 12.3, 24.0, 0.6, 1.2),
}
"""By the inputs of a look-up table."""
FEW_WORDS = 16
FIXED, NEAR = 0.4, 0.6
"""Shares of what rounds that are left where all channels have one shift, and where few words say the shifts."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one stage is expected to take."""

    node: str
    taken: Taken
    products: int
    """Of its DSP blocks those that take products; the others requantise."""
    constant_luts: int
    """Of its look-up tables those that are memories which are never written."""


def estimates(plan: PixelPlan, family: Family, units: Mapping[str, Unit] | None = None) -> tuple[Estimate, ...]:
    """Of every stage of a plan of hardware: multipliers and block RAMs as its modules have them; look-up tables are
    those of adders, rounding, operands, memories and steps, about so many.

    units: what brings the results of each stage to bytes, where the caller knows it (`all_units`).
    """
    assert plan.pipeline is not None
    units = all_units(plan.graph, family) if units is None else units
    found: dict[str, list[StageMemory]] = {stage.node: [] for stage in plan.stages}
    for memory in memories(plan):
        found[memory.stage].append(memory)
    return tuple(
        _stage(plan.graph, stage, units[stage.node], found[stage.node], plan.pipeline, family) for stage in plan.stages
    )


def _stage(
    graph: Graph, stage: PixelStage, unit: Unit, found: list[StageMemory], pipeline: Pipeline, family: Family
) -> Estimate:
    within = [memory for memory in found if not memory.block_rams(pipeline)]
    rings = sum(_memory(family, memory) for memory in within if not memory.content.constant)
    constants = sum(_memory(family, memory) for memory in within if memory.content.constant)
    chosen = sum(
        memory.copies * memory.width_bits * family.choice_luts(memory.behind_one_another(pipeline)) for memory in found
    )
    node = graph.by_name[stage.node]
    products, scaling = products_of(node, stage), unit.dsp_blocks * count_units(node, stage.folding)
    taken = Taken(
        luts=rings + constants + chosen + _logic(graph, stage, unit, found, family),
        memory_luts=rings,
        multipliers=products + scaling,
        block_rams=sum(memory.block_rams(pipeline) for memory in found),
    )
    return Estimate(stage.node, taken, products, constants)


def products_of(node: Node, stage: PixelStage) -> int:
    """DSP blocks of products, with weights or of two values; those of signs are additions."""
    return 0 if has_weights(node.op) and node.op.only_adds else stage.folding.multipliers


def _memory(family: Family, memory: StageMemory) -> int:
    full = family.memory_luts(memory.width_bits, memory.words, memory.content.constant)
    if memory.content.constant:
        logic = _LOGIC[family.inputs]
        full = round(full * (logic.few if memory.words <= FEW_WORDS else logic.many))
    return memory.copies * full


def _logic(graph: Graph, stage: PixelStage, unit: Unit, found: list[StageMemory], family: Family) -> int:
    """Look-up tables that are no memories."""
    node, folding, logic = graph.by_name[stage.node], stage.folding, _LOGIC[family.inputs]
    rounded = count_units(node, folding) * unit.bits * (logic.multiplied if unit.multiplies else logic.shifted)
    if not has_weights(node.op):
        return round(logic.stream * len(stage.reads) + 2 * VALUE_BITS * folding.outputs + FIXED * rounded)
    blocks = blocks_of(node.op.out_channels, node.op.groups, folding)
    sums = folding.outputs * max(1, level_sums(graph, node, node.op))
    added = sums * (folding.inputs * folding.taps - 1) * PRODUCT_BITS
    if folding.cycles > blocks.count:
        added += sums * unit.bits * logic.summed
    if folding.outputs > blocks.units:
        added += sums * unit.bits * logic.held
    if any(memory.content is Content.SCALES and memory.words <= FEW_WORDS for memory in found):
        rounded *= NEAR
    ring = next(memory for memory in found if memory.content is Content.RING)
    operand = VALUE_BITS * (folding.inputs if node.op.groups == 1 else blocks.groups)
    chosen = family.choice_luts(-(-ring.width_bits // operand)) * operand * folding.taps
    return round(logic.steps + (logic.window if node.op.window.taps > 1 else 0) + added + rounded + chosen)
