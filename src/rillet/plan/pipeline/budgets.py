"""What a plan takes of a chip, and what of it bounds the plan."""

from collections.abc import Mapping
from dataclasses import dataclass

from rillet.plan.pipeline.estimates import estimates, products_of
from rillet.plan.pipeline.memories import memories
from rillet.plan.pipeline.plan import PixelPlan, Resource, Use
from rillet.plan.pipeline.requantisers import Unit, all_units, count_units
from rillet.system.quantities import bits_text


@dataclass(frozen=True, slots=True)
class Budgets:
    """The most that a plan may take; None where nothing bounds it."""

    multipliers: int | None = None
    memory_bits: int | None = None
    block_rams: int | None = None
    """Of hardware."""
    luts: int | None = None
    """Look-up tables, of hardware for a known family."""


def uses(plan: PixelPlan, budgets: Budgets, units: Mapping[str, Unit] | None = None) -> tuple[Use, ...]:
    """What a plan takes of each resource, beside what there is.

    units: what brings the results of each stage of hardware to bytes, where the caller knows it (`all_units`).
    """
    memory = Use(Resource.MEMORY, plan.memory_bits, budgets.memory_bits)
    if plan.pipeline is None:
        return Use(Resource.MULTIPLIERS, plan.multipliers + plan.elementwise_multipliers, budgets.multipliers), memory
    family = plan.machine.family if plan.machine else None
    units = all_units(plan.graph, family) if units is None else units
    pairs = [(plan.graph.by_name[stage.node], stage) for stage in plan.stages]
    requantising = sum(units[node.name].dsp_blocks * count_units(node, stage.folding) for node, stage in pairs)
    multipliers = requantising + sum(products_of(node, stage) for node, stage in pairs)
    blocks = sum(memory.block_rams(plan.pipeline) for memory in memories(plan))
    found = [
        Use(Resource.MULTIPLIERS, multipliers, budgets.multipliers, requantising),
        memory,
        Use(Resource.BLOCK_RAMS, blocks, budgets.block_rams),
    ]
    if family is not None:
        luts = sum(one.taken.luts for one in estimates(plan, family, units))
        found.append(Use(Resource.LUTS, luts, budgets.luts))
    return tuple(found)


def lacking(found: tuple[Use, ...]) -> Use | None:
    """The first resource of which there is too little; None where the plan fits."""
    return next((use for use in found if use.room is not None and use.used > use.room), None)


def refusal(use: Use, what: str) -> str:
    """A sentence that says what is missing for `what`: this network, or an interval."""
    assert use.room is not None
    if use.resource is Resource.MEMORY:
        return f"memory must be at least {bits_text(use.used)} for {what}, got {bits_text(use.room, up=False)}"
    about = "about " if use.resource is Resource.LUTS else ""
    more = f", {use.requantising:,} of them to bring sums to bytes" if use.requantising else ""
    return f"{use.resource} must be at least {about}{use.used:,} for {what}{more}, got {use.room:,}"
