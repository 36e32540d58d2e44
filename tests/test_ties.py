"""Ties between foldings: the rings of those chosen hold the fewest values, by brute force on small networks."""

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from blocks import networks
from draws import REFUSED, mostly
from graphs import Builder, graphs
from rillet.errors import Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import Add, Input
from rillet.ir.types import DType, Shape
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.pipeline.fifos import Flow, depth, schedule
from rillet.plan.pipeline.folding import Folding, Work, equals
from rillet.plan.pipeline.ties import MOST_CHOICES, settle
from rillet.simulation.pipeline import simulate
from rillet.zoo.registry import build


def held(graph: Graph, foldings: Mapping[str, Folding], interval: int) -> int:
    """Values of all rings, by the whole schedule."""
    flow = Flow(graph)
    times = schedule(flow, foldings, interval)
    names = [node.name for node in graph.nodes if node.name in times.arrives and graph.consumers[node.name]]
    return sum(depth(flow, foldings, times, name)[0] * graph.by_name[name].shape.channels for name in names)


def tied(graph: Graph, interval: int, ceil: bool) -> dict[str, Sequence[Folding]]:
    """Of each stage, all foldings with as many multipliers as the planned one, found by trying every pair of widths."""
    plan = plan_pixels(graph, interval=interval, ceil=ceil)
    made: dict[str, Sequence[Folding]] = {}
    for stage in plan.stages:
        planned = stage.folding
        found = {(planned.lanes, planned.cycles): planned}
        if planned.multipliers:
            pixels = planned.lanes * planned.firings
            outputs = plan.graph.by_name[stage.node].shape.channels
            reduction = stage.macs // outputs // pixels
            for p, q in product(range(1, outputs + 1), range(1, reduction + 1)):
                lanes, rest = divmod(planned.multipliers, p * q)
                if rest or pixels % max(lanes, 1) or lanes < 1 or (not ceil and (outputs % p or reduction % q)):
                    continue
                cycles = -(-outputs // p) * -(-reduction // q)
                if cycles * (pixels // lanes) <= interval:
                    found[lanes, cycles] = Folding(p, q, 1, lanes, cycles, pixels // lanes)
        made[stage.node] = tuple(found[key] for key in sorted(found))
    return made


@mostly(0.9)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(8) | graphs(3), st.integers(1, 600), st.booleans())
def test_no_choice_of_equal_foldings_holds_fewer_values(graph: Graph, interval: int, ceil: bool) -> object:
    try:
        plan = plan_pixels(graph, interval=interval, ceil=ceil)
    except Unsupported:
        return REFUSED
    choices = tied(graph, interval, ceil)
    assume(math.prod(map(len, choices.values())) <= MOST_CHOICES)
    values = [
        held(plan.graph, dict(zip(choices, chosen, strict=True)), interval) for chosen in product(*choices.values())
    ]
    assert plan.buffer_values == min(values)
    return None


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(12), st.integers(1, 2000), st.booleans())
def test_never_worse_than_the_first_foldings(graph: Graph, interval: int, ceil: bool) -> None:
    plan = plan_pixels(graph, interval=interval, ceil=ceil)
    choices = tied(graph, interval, ceil)
    found = settle(Flow(plan.graph), choices, interval)
    first = {name: own[0] for name, own in choices.items()}
    assert plan.buffer_values == held(plan.graph, found, interval) <= held(plan.graph, first, interval)


def test_the_faster_of_two_equal_foldings_does_not_win_by_itself() -> None:
    """576 channels of 9 taps at 14x14: 36 multipliers take 7 pixels in 864 cycles, or one in 126, 144 or more."""
    found = equals(Work(576, 9, 9, 196), 36, 28_224, True, None)
    assert {(f.lanes, f.cycles) for f in found} >= {(1, 144)}
    assert all(f.multipliers == 36 and f.interval <= 28_224 for f in found)
    graph = build("mobilenet_v2", {"top": "false"})
    for interval, before in ((12_544, 373_806), (50_176, 371_828)):
        by_divisors = plan_pixels(graph, interval=interval)
        by_ceiling = plan_pixels(graph, interval=interval, ceil=True)
        assert by_ceiling.multipliers == by_divisors.multipliers
        assert by_ceiling.buffer_values < 0.85 * by_divisors.buffer_values < 0.85 * before


def test_a_slower_folding_where_its_ring_is_shorter() -> None:
    """A shortcut computed in wider, slower firings keeps its result back until the other branch is about there."""
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(8, 8, 1))
    shortcut = b.add(b.conv(8), at)
    last = b.add(b.conv(8, (3, 3)), at)
    b.add(Add(), last, shortcut)
    graph, interval = b.graph(), 256
    plan = plan_pixels(graph, interval=interval)
    choices = tied(graph, interval, False)
    first = {name: own[0] for name, own in choices.items()}
    assert plan.stage(shortcut).folding.lanes > first[shortcut].lanes
    assert plan.buffer_values < held(plan.graph, first, interval)
    assert simulate(plan, max(3, plan.frames)).passed


@pytest.mark.parametrize("ceil", [False, True])
def test_weights_of_a_multiplier_bound_equal_foldings_too(ceil: bool) -> None:
    work = Work(6, 4, 1, 12)
    assert {f.cycles for f in equals(work, 8, 36, ceil, None)} > {f.cycles for f in equals(work, 8, 36, ceil, 3)}
    assert all(f.cycles <= 3 for f in equals(work, 8, 36, ceil, 3))
