"""Multipliers spent where they save block RAMs: weights whose words fill the shapes of these.

A block RAM holds so many words; a layer whose firing takes a few cycles more than these needs as many block RAMs again.
Faster foldings have fewer, wider words. Each step takes the layer and the folding that save the most block RAMs for
each multiplier more, until enough are saved or no multipliers are left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from rillet.plan.pipeline.folding import Folding
from rillet.plan.pipeline.hardware import Firing, with_taps
from rillet.plan.pipeline.memories import block_rams
from rillet.targets.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Weights:
    """A layer whose weights lie in a memory."""

    firing: Firing
    fewest: Folding
    """The folding with the fewest multipliers."""
    bits: int
    """Of a weight."""


def save_block_rams(
    layers: Mapping[str, Weights], interval: int, wanted: int, spare: int | None, pipeline: Pipeline
) -> dict[str, Folding] | None:
    """Other foldings for some layers, `wanted` block RAMs fewer together; None where `spare` multipliers do not reach.

    `spare` of None is as many as it takes.
    """
    fronts = {name: _front(layer, interval, pipeline) for name, layer in layers.items()}
    now = {
        name: _Choice(one.fewest, one.firing.cost(one.fewest), _blocks(one.fewest, one.bits, pipeline))
        for name, one in layers.items()
    }
    # The first of a front costs what there is now, the last has the fewest block RAMs.
    if sum(front[0].blocks - front[-1].blocks for front in fronts.values()) < wanted:
        return None
    while wanted > 0:
        steps = [
            ((saved / more, -more), name, choice, saved, more)
            for name, front in fronts.items()
            for choice in front
            for saved in (now[name].blocks - choice.blocks,)
            for more in (choice.cost - now[name].cost,)
            if saved > 0 and more > 0 and (spare is None or more <= spare)
        ]
        if not steps:
            return None
        _, name, choice, saved, more = max(steps, key=lambda step: step[0])
        now[name] = choice
        wanted -= saved
        spare = None if spare is None else spare - more
    return {name: choice.folding for name, choice in now.items() if choice.folding != layers[name].fewest}


def weights_block_rams(layers: Mapping[str, Weights], pipeline: Pipeline) -> int:
    """Block RAMs of all weights with the fewest multipliers."""
    return sum(_blocks(layer.fewest, layer.bits, pipeline) for layer in layers.values())


@dataclass(frozen=True, slots=True)
class _Choice:
    """A folding, and what it takes."""

    folding: Folding
    cost: int
    blocks: int
    """Block RAMs of its weights."""


def _front(layer: Weights, interval: int, pipeline: Pipeline) -> list[_Choice]:
    """The foldings of which each has fewer block RAMs than all with fewer multipliers, from the fewest on."""
    kept: list[_Choice] = []
    least = layer.firing.cost(layer.fewest)
    for choice in _useful(layer.firing, layer.fewest.taps, layer.bits, pipeline):
        fits = choice.folding.interval <= interval and choice.cost >= least
        if fits and (not kept or choice.blocks < kept[-1].blocks):
            kept.append(choice)
    return kept


@cache
def _useful(firing: Firing, taps: int, bits: int, pipeline: Pipeline) -> list[_Choice]:
    """The foldings that no other beats in multipliers, cycles and block RAMs, with these, fewest multipliers first."""
    kept: list[_Choice] = []
    for folding in with_taps(firing, taps):
        blocks = _blocks(folding, bits, pipeline)
        if not any(other.folding.cycles <= folding.cycles and other.blocks <= blocks for other in kept):
            kept.append(_Choice(folding, firing.cost(folding), blocks))
    return kept


def _blocks(folding: Folding, bits: int, pipeline: Pipeline) -> int:
    return block_rams(folding.multipliers * bits, folding.cycles, pipeline, constant=True)
