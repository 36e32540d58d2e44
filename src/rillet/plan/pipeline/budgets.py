"""What a plan takes of a chip, and what of it bounds the plan."""

from dataclasses import dataclass

from rillet.ir.facts import has_weights
from rillet.plan.pipeline.memories import memories
from rillet.plan.pipeline.plan import PixelPlan, Resource, Use
from rillet.system.quantities import bits_text


@dataclass(frozen=True, slots=True)
class Budgets:
    """The most that a plan may take; None where nothing bounds it."""

    multipliers: int | None = None
    memory_bits: int | None = None
    block_rams: int | None = None
    """Of hardware."""


def uses(plan: PixelPlan, budgets: Budgets) -> tuple[Use, ...]:
    """What a plan takes of each resource, beside what there is."""
    multipliers = plan.multipliers
    if plan.pipeline is not None:
        ops = {node.name: node.op for node in plan.graph.nodes}
        added = {name for name, op in ops.items() if has_weights(op) and op.only_adds}
        multipliers = sum(stage.multipliers for stage in plan.stages if stage.node not in added)
    found = [Use(Resource.MULTIPLIERS, multipliers + plan.elementwise_multipliers, budgets.multipliers)]
    found.append(Use(Resource.MEMORY, plan.memory_bits, budgets.memory_bits))
    if plan.pipeline is not None:
        blocks = sum(memory.block_rams(plan.pipeline) for memory in memories(plan))
        found.append(Use(Resource.BLOCK_RAMS, blocks, budgets.block_rams))
    return tuple(found)


def lacking(found: tuple[Use, ...]) -> Use | None:
    """The first resource of which there is too little; None where the plan fits."""
    return next((use for use in found if use.room is not None and use.used > use.room), None)


def refusal(use: Use, what: str) -> str:
    """A sentence that says what is missing for `what`: this network, or an interval."""
    assert use.room is not None
    if use.resource is Resource.MEMORY:
        return f"memory must be at least {bits_text(use.used)} for {what}, got {bits_text(use.room, up=False)}"
    return f"{use.resource} must be at least {use.used:,} for {what}, got {use.room:,}"
