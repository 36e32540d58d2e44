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
    now = {name: layer.fewest for name, layer in layers.items()}
    fronts = {name: _front(layer, interval, pipeline) for name, layer in layers.items()}
    # The first of a front is what there is now, the last the fewest block RAMs.
    if sum(front[0][1] - front[-1][1] for front in fronts.values()) < wanted:
        return None
    while wanted > 0:
        steps = [
            ((saved / more, -more), name, folding, saved, more)
            for name, front in fronts.items()
            for folding, blocks in front
            for saved in (_blocks(now[name], layers[name].bits, pipeline) - blocks,)
            for more in (layers[name].firing.cost(folding) - layers[name].firing.cost(now[name]),)
            if saved > 0 and more > 0 and (spare is None or more <= spare)
        ]
        if not steps:
            return None
        _, name, folding, saved, more = max(steps, key=lambda step: step[0])
        now[name] = folding
        wanted -= saved
        spare = None if spare is None else spare - more
    return {name: folding for name, folding in now.items() if folding != layers[name].fewest}


def weights_block_rams(layers: Mapping[str, Weights], pipeline: Pipeline) -> int:
    """Block RAMs of all weights with the fewest multipliers."""
    return sum(_blocks(layer.fewest, layer.bits, pipeline) for layer in layers.values())


def _front(layer: Weights, interval: int, pipeline: Pipeline) -> list[tuple[Folding, int]]:
    """The foldings of which each has fewer block RAMs than all with fewer multipliers, from the fewest on."""
    kept: list[tuple[Folding, int]] = []
    for folding, blocks in _useful(layer.firing, layer.fewest.taps, layer.bits, pipeline):
        fits = folding.interval <= interval and layer.firing.cost(folding) >= layer.firing.cost(layer.fewest)
        if fits and (not kept or blocks < kept[-1][1]):
            kept.append((folding, blocks))
    return kept


@cache
def _useful(firing: Firing, taps: int, bits: int, pipeline: Pipeline) -> list[tuple[Folding, int]]:
    """The foldings that no other beats in multipliers, cycles and block RAMs, with these, fewest multipliers first."""
    kept: list[tuple[Folding, int]] = []
    for folding in with_taps(firing, taps):
        blocks = _blocks(folding, bits, pipeline)
        if not any(other.cycles <= folding.cycles and fewer <= blocks for other, fewer in kept):
            kept.append((folding, blocks))
    return kept


def _blocks(folding: Folding, bits: int, pipeline: Pipeline) -> int:
    return block_rams(folding.multipliers * bits, folding.cycles, pipeline, constant=True)
