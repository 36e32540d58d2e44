"""What segments take, computed for all of them at once, is what their definition says of each."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphs import Builder, graphs, several
from rillet.errors import Unsupported
from rillet.ir.facts import is_constant, is_input
from rillet.ir.graph import Graph
from rillet.ir.ops import Activate, Activation, Input
from rillet.ir.types import DType, Shape
from rillet.plan.board.planner import KEPT, CorePlanner, CoreRowsPlanner
from rillet.plan.host.planner import CACHE_SHARE, FAR_BYTES_PER_NS, NEAR_BYTES_PER_NS, HostPlanner
from rillet.plan.rows.arena import Chain, Piece, first_fit, orders, place
from rillet.plan.rows.fits import fits
from rillet.plan.rows.plan import BufferKind, CoreKernels, Split
from rillet.plan.rows.planner import RowPlanner, plan_rows
from rillet.plan.rows.segments import MAP_NS_PER_BYTE, MAX_NODES, NS_STEPS
from rillet.plan.rows.timing import Tile
from rillet.targets.host import Host

SMALL_CACHE = Host("small", "portable", l1_bytes=1 << 10, l2_bytes=1 << 11)
"""A host whose caches are too small for some values of small networks, and not for others."""

PLANNERS = {
    "pixels": lambda graph, resident: RowPlanner(graph, resident),
    "core": lambda graph, resident: CorePlanner(graph, CoreKernels.DSP, resident),
    "core rows": lambda graph, resident: CoreRowsPlanner(graph, CoreKernels.DSP, resident),
    "host": lambda graph, resident: HostPlanner(graph, SMALL_CACHE, resident),
    "threads": lambda graph, resident: HostPlanner(graph, SMALL_CACHE, resident, threads=3),
}


class Definition:
    """Drivers, bytes and time of one segment after another, as they are defined."""

    def __init__(self, planner: RowPlanner) -> None:
        self.planner, self.nodes = planner, planner.nodes

    def drivers(self, start: int, stop: int) -> list[str]:
        nodes, position = self.nodes, self.planner.position
        read = dict.fromkeys(name for node in nodes[start:stop] for name in node.inputs)
        inputs = [n for n in read if position[n] < start and not is_constant(nodes[position[n]].op)]
        if not self.planner.resident:
            passed, first = self.planner.last[0], start == self.planner.first
            if (first and (passed >= stop or inputs != [nodes[0].name])) or (not first and passed >= start):
                return []
        return [driver for driver in inputs if self.follows(start, stop, driver)]

    def follows(self, start: int, stop: int, driver: str) -> bool:
        reached = {driver}
        for node in self.nodes[start:stop]:
            if reached.isdisjoint(node.inputs):
                return False
            reached.add(node.name)
        return True

    def maps(self, start: int, stop: int) -> int:
        made = [i for i in range(stop) if self.planner.last[i] >= (start if i < start else stop)]
        held = [self.nodes[i] for i in made if self.planner.resident or not is_input(self.nodes[i].op)]
        return sum(self.size(n.name, n.shape.pixels) for n in held if not is_constant(n.op))

    def size(self, name: str, pixels: int) -> int:
        return self.planner.align(self.planner.stored_bytes(name, pixels))

    def rings(self, start: int, stop: int, tile: Tile, driver: str) -> list[int]:
        return [size for _, size in self.planner.rings(start, stop, tile, driver).values()]

    def scratch(self, start: int, stop: int, tile: Tile) -> int:
        choices = [self.planner.choice(i, tile) for i in range(start, stop)]
        sums = [c.scratch_bytes for c in choices if c.scratch is BufferKind.SUMS]
        shared = max((c.scratch_bytes for c in choices if c.scratch is not BufferKind.SUMS), default=0)
        return self.planner.align(shared) + sum(map(self.planner.align, sums))

    def apart(self, start: int, stop: int, tile: Tile) -> int:
        rings = (self.rings(start, stop, tile, driver) for driver in self.drivers(start, stop))
        least = min(sum(map(self.planner.align, ring)) for ring in rings)
        return self.maps(start, stop) + self.scratch(start, stop, tile) + least

    def bytes(self, start: int, stop: int, tile: Tile) -> int:
        def total(driver: str) -> int:
            rings = sum(map(self.planner.align, self.rings(start, stop, tile, driver)))
            return rings - self.planner.overlay(start, stop, tile, driver)[1]

        return self.maps(start, stop) + self.scratch(start, stop, tile) + min(map(total, self.drivers(start, stop)))

    def ns(self, start: int, stop: int, tile: Tile) -> float:
        p = self.planner
        kept = [i for i in range(start, stop) if p.last[i] >= stop]
        if not isinstance(p, HostPlanner):
            each = 2 * MAP_NS_PER_BYTE + (KEPT if isinstance(p, CorePlanner) else 0)
            return sum(p.node_times(tile)[start:stop]) + each * sum(self.nodes[i].type.bytes for i in kept)
        rings = sum(self.rings(start, stop, tile, self.drivers(start, stop)[0])) + self.scratch(start, stop, tile)
        rings, room = rings / p.threads, p.host.l2_bytes * CACHE_SHARE
        shares = {i: 1 / p.threads if p.choice(i, tile).split is Split.CHANNELS else 1.0 for i in range(start, stop)}
        walked = {i: float(p.weight_bytes[i]) * share for i, share in shares.items()}
        again = NEAR_BYTES_PER_NS if sum(walked.values()) + rings <= room else FAR_BYTES_PER_NS
        total = 0.0
        for i in range(start, stop):
            size, firings = self.nodes[i].type.bytes, p.spaces[tile].timing.tiles(self.nodes[i].name)
            far = rings > room or (i in kept and size > room * p.threads)
            workers = 1 if p.choice(i, tile).split is Split.NONE else p.threads
            total += 2 * size / (FAR_BYTES_PER_NS if far else NEAR_BYTES_PER_NS) / workers
            total += p.node_times(tile)[i] + (firings - 1) * walked[i] / again
            total += float(p.weight_bytes[i]) / FAR_BYTES_PER_NS / p.threads
        return total


def segments(planner: RowPlanner) -> Iterator[tuple[int, int, Tile]]:
    for start in range(planner.first, planner.count):
        for stop in range(start + 1, planner.count + 1):
            for tile in planner.tiles:
                yield start, stop, tile


@pytest.mark.parametrize("kind", PLANNERS)
def test_all_segments_at_once_take_what_each_does(kind: str) -> None:
    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(graphs(layers=4), st.booleans())
    def check(graph: Graph, resident: bool) -> None:
        planner = PLANNERS[kind](graph, resident)
        defined, (apart, least), times = Definition(planner), planner.all_bounds, planner.all_times
        for start, stop, tile in segments(planner):
            place = (stop, start, planner.tiles.index(tile))
            cost = planner.cost(start, stop, tile)
            assert planner.drivers(start, stop) == defined.drivers(start, stop)
            assert bool(planner.runs[stop, start]) is (cost is not None) is bool(defined.drivers(start, stop))
            if cost is None:
                assert times[place] == np.inf and least[place] == apart[place] == np.iinfo(np.int64).max
                continue
            assert apart[place] == defined.apart(start, stop, tile)
            assert cost.bytes == defined.bytes(start, stop, tile)
            assert least[place] <= cost.bytes <= apart[place]
            # Each of some numbers a node is rounded by half a step at most.
            assert abs(cost.ns - defined.ns(start, stop, tile)) <= 4 * (stop - start) / NS_STEPS
            pushed = isinstance(planner, HostPlanner) and not resident and planner.threads == 1
            only_one = pushed and start == planner.first and tile is not planner.tiles[0]
            assert times[place] == (np.inf if only_one else cost.ns)

    check()


def peak(planner: RowPlanner) -> int | None:
    """The smallest peak of any cuts, each segment by its definition."""
    defined, tile = Definition(planner), planner.tiles[0]

    @cache
    def best(stop: int) -> float:
        starts = [s for s in range(planner.first, stop) if defined.drivers(s, stop)]
        ends = (max(best(start), defined.bytes(start, stop, tile)) for start in starts)
        return 0 if stop == planner.first else min(ends, default=float("inf"))

    found = best(planner.count)
    return None if found == float("inf") else int(found)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(), st.booleans())
def test_a_network_fits_where_its_least_peak_does(graph: Graph, resident: bool) -> None:
    planner = RowPlanner(graph, resident)
    least = peak(planner)
    if least is None:
        with pytest.raises(Unsupported, match="rows cannot be pushed into this network"):
            _ = planner.least_bytes
        with pytest.raises(Unsupported, match="rows cannot be pushed into this network"):
            fits(planner, 1 << 40)
        return
    assert planner.least_bytes == least
    for bytes_ in (0, least // 2, least - 1, least, least + 1, 2 * least):
        assert fits(planner, bytes_) is (bytes_ >= least)


@pytest.mark.parametrize("kind", PLANNERS)
def test_whatever_is_planned_fits_where_its_least_peak_does(kind: str) -> None:
    """Networks of several inputs and longer ones; asked of a planner that knows nothing yet, and of one that does."""

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(several(), graphs(layers=8)), st.booleans())
    def check(graph: Graph, resident: bool) -> None:
        try:
            planner = PLANNERS[kind](graph, resident)
            least = planner.least_bytes
        except Unsupported:
            return
        for bytes_ in (least // 2, least - 1, least, 2 * least):
            assert fits(PLANNERS[kind](graph, resident), bytes_) is fits(planner, bytes_) is (bytes_ >= least)

    check()


@st.composite
def chains(draw: st.DrawFn) -> list[Chain]:
    """Groups of buffers; the members of one follow each other in time, each some way before the one before it."""
    out: list[Chain] = []
    for i in range(draw(st.integers(1, 8))):
        members: list[tuple[Piece, int]] = []
        begin, at = draw(st.integers(0, 4)), 0
        for k in range(draw(st.integers(1, 3))):
            end = begin + draw(st.integers(0, 3))
            members.append((Piece(f"{i}.{k}", BufferKind.MAP, draw(st.integers(1, 9)), 1, begin, end), at))
            begin, at = end, at - 4 * draw(st.integers(0, 2))
        out.append(Chain(tuple(members)))
    return out


@settings(max_examples=20, deadline=None)
@given(chains())
def test_placing_again_makes_no_arena_larger(given_chains: list[Chain]) -> None:
    pieces = {piece.name: piece for chain in given_chains for piece, _ in chain.members}
    fits = [first_fit(order) for order in orders(given_chains)]
    least = min(end for end, _ in fits)
    assert place(given_chains, least) == next(offsets for end, offsets in fits if end == least)
    placed = [(pieces[name], at) for name, at in place(given_chains).items()]
    assert max(at + piece.used for piece, at in placed) <= least
    chained = {piece.name: i for i, chain in enumerate(given_chains) for piece, _ in chain.members}
    for i, (one, at) in enumerate(placed):
        for other, there in placed[:i]:
            apart = at + one.bytes <= there or there + other.bytes <= at
            assert apart or one.last < other.first or other.last < one.first or chained[one.name] == chained[other.name]


def test_a_network_of_too_many_nodes_is_refused() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(1, 1, 1))
    graph = b.graph(b.add(Activate(Activation.RELU), at))
    last = graph.nodes[-1]
    names = [last.name, *(f"more{i}" for i in range(MAX_NODES))]
    more = [replace(last, name=name, inputs=(before,)) for before, name in pairwise(names)]
    with pytest.raises(Unsupported, match="random: must have at most 3,000 nodes to be planned, got 3,002"):
        plan_rows(replace(graph, nodes=(*graph.nodes, *more), outputs=(names[-1],)))
