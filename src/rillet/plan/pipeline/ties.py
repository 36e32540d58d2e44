"""Tie-break among foldings with the same multiplier count: least total FIFO capacity, by scheduling each.

A beam search over stages in the graph's order: a stage's schedule does not depend on later stages, and a FIFO's depth
is known once the last of its readers has a folding. With at most `MOST_CHOICES` combinations none is dropped, and the
answer is exact. With more, the `SIDE_BY_SIDE` partial choices with the least FIFO capacity so far are kept. The first
folding of every layer is always among them, so the answer is never worse than that.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rillet.ir.facts import is_constant
from rillet.ir.graph import Graph
from rillet.plan.pipeline.fifos import Flow, Schedule, Times, fire, paced, rings
from rillet.plan.pipeline.folding import Folding

MOST_CHOICES = 64
SIDE_BY_SIDE = 4


@dataclass(frozen=True, slots=True)
class _Partial:
    """One choice for all stages so far."""

    values: int
    """Of the rings that are known."""
    foldings: dict[str, Folding]
    times: Schedule


def settle(flow: Flow, choices: Mapping[str, Sequence[Folding]], interval: int) -> dict[str, Folding]:
    """One folding for each stage; of choices with equal FIFO capacity, the first in the order of the stages."""
    width = MOST_CHOICES if math.prod(len(own) for own in choices.values()) <= MOST_CHOICES else SIDE_BY_SIDE
    closes = _closing(flow.graph)
    inputs = flow.graph.input_nodes
    partial = [_Partial(0, {}, Schedule({n.name: paced(n.shape.pixels, interval) for n in inputs}, {}, 0))]
    for name, own in choices.items():
        first, *others = (_grown(flow, one, name, f, closes[name], interval) for one in partial for f in own)
        partial = [first, *sorted(others, key=lambda one: one.values)[: width - 1]]
    return min(partial, key=lambda one: one.values).foldings


def _grown(flow: Flow, before: _Partial, name: str, folding: Folding, closes: Sequence[str], interval: int) -> _Partial:
    """A choice with one more stage."""
    done, made = fire(flow, flow.graph.by_name[name], folding, before.times.arrives, interval)
    foldings = {**before.foldings, name: folding}
    arrives: dict[str, Times] = {**before.times.arrives, name: made}
    times = Schedule(arrives, {**before.times.done, name: done}, 0)
    values = before.values
    for value in closes:
        values += sum(rings(flow, foldings, times, value)[0]) * flow.graph.by_name[value].shape.channels
        # Nobody asks for it again, and large maps fill memory.
        del arrives[value]
    return _Partial(values, foldings, times)


def _closing(graph: Graph) -> dict[str, list[str]]:
    """For each node, the values of which it is the last reader."""
    place = {node.name: i for i, node in enumerate(graph.nodes)}
    closes: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
    for node in graph.nodes:
        readers = graph.consumers[node.name]
        if readers and not is_constant(node.op):
            closes[max(readers, key=lambda reader: place[reader.name]).name].append(node.name)
    return closes
