"""Foldings whose ring words are narrow: of those with equal timing, how multipliers are shared out over channels.

A ring's word has whole beats of its writer and whole operands of its reader: where these have no common measure it is
as wide as their product, and takes many block RAMs for little memory. So each stage in turn takes the shape with
which the rings about it need the least memory, until none changes. Whatever comes last is no worse than the first.
"""

from collections.abc import Mapping

from rillet.ir.graph import Graph
from rillet.plan.pipeline.fifos import streamed
from rillet.plan.pipeline.folding import Folding
from rillet.plan.pipeline.hardware import Firing, same_timing
from rillet.plan.pipeline.memories import ring_memory
from rillet.targets.pipeline import Pipeline

MOST_ROUNDS = 8
Ring = tuple[str, str]
"""A value and its reader."""


def fit_words(
    graph: Graph,
    firings: Mapping[str, Firing],
    chosen: Mapping[str, Folding],
    rings: Mapping[Ring, tuple[int, int]],
    pipeline: Pipeline,
) -> dict[str, Folding]:
    """The foldings in the shapes that need the least memory; `rings` has pixels and bits of a channel of each."""
    found = dict(chosen)
    about = {
        name: [
            *((value, name) for value in streamed(graph, graph.by_name[name])),
            *((name, reader.name) for reader in graph.consumers[name]),
        ]
        for name in chosen
    }
    for _ in range(MOST_ROUNDS):
        before = dict(found)
        for name, folding in before.items():
            shapes = same_timing(firings[name], folding)
            if len(shapes) > 1:
                taken = [
                    (_cost(graph, {**found, name: shape}, about[name], rings, pipeline), i)
                    for i, shape in enumerate(shapes)
                ]
                found[name] = shapes[min(taken)[1]]
        if found == before:
            break
    return found


def _cost(
    graph: Graph,
    foldings: Mapping[str, Folding],
    about: list[Ring],
    rings: Mapping[Ring, tuple[int, int]],
    pipeline: Pipeline,
) -> int:
    """Bits of memory that these rings take: of whole block RAMs, and of what lies in look-up tables."""
    total = 0
    for value, reader in about:
        memory = ring_memory(graph, foldings, value, reader, *rings[value, reader])
        blocks = memory.block_rams(pipeline)
        total += blocks * pipeline.block_ram_bits or memory.bits
    return total
