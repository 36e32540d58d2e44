"""Row plans: the numbers they state are those that a play-through and a run give."""

# pyright: reportArgumentType=false

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from conftest import NETWORKS, shared_file
from graphs import Builder, conv, graphs
from rillet.errors import TargetError, Unsupported
from rillet.importers.tflite import load
from rillet.ir.functions import Curve
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    Input,
    Op,
    Pad,
    Resize,
    Rounding,
    Window,
    op_window,
)
from rillet.ir.types import DType, Quant, Shape, TensorType
from rillet.plan.rows import arena
from rillet.plan.rows.arena import Chain, Piece, first_fit
from rillet.plan.rows.plan import BufferKind, RowPlan
from rillet.plan.rows.planner import ROUNDED, RowPlanner, plan_layerwise, plan_rows
from rillet.zoo.layers import Layers, square
from schedule import planned_rings, ring_spans

OPTIONS = ({}, {"resident": True}, {"objective": "time"}, {"objective": "time", "resident": True})


def check_arena(plan: RowPlan) -> None:
    """No two buffers overlap while both are alive, but for an output that lies over its segment's driver."""
    buffers = list(plan.buffers.values())
    for i, one in enumerate(buffers):
        assert one.offset >= 0
        for other in buffers[:i]:
            together = one.first <= other.last and other.first <= one.last
            apart = one.offset + one.bytes <= other.offset or other.offset + other.bytes <= one.offset
            if together and not apart:
                assert one.kind is other.kind is BufferKind.MAP
                shared = max(one.first, other.first)
                segment = plan.segments[shared]
                assert {one.name, other.name} == {segment.driver, segment.stages[-1].node}
                assert shared == min(one.last, other.last)


PIECES = st.tuples(st.integers(1, 9), st.integers(0, 5), st.integers(0, 4), st.integers(-12, 12))


@given(st.lists(st.lists(PIECES, min_size=1, max_size=3), min_size=1, max_size=7))
def test_first_fit_finds_the_lowest_place(said: list[list[tuple[int, int, int, int]]]) -> None:
    """Against a search byte by byte."""
    chains = [
        Chain(
            tuple(
                (Piece(f"{i}.{k}", BufferKind.MAP, size, 1, first, first + more, 1), offset)
                for k, (size, first, more, offset) in enumerate(pieces)
            )
        )
        for i, pieces in enumerate(said)
    ]
    placed: list[tuple[Piece, int]] = []
    for chain in chains:
        base = -chain.floor
        while any(
            one.first <= other.last
            and other.first <= one.last
            and base + offset < at + other.bytes
            and at < base + offset + one.bytes
            for one, offset in chain.members
            for other, at in placed
        ):
            base += 1
        placed += [(piece, base + offset) for piece, offset in chain.members]
    end, offsets = first_fit(chains)
    assert offsets == {piece.name: at for piece, at in placed}
    assert end == max(at + piece.used for piece, at in placed)


def beside_its_padding(window: Window) -> bool:
    """True for windows that may lie in the padding alone, or jump over the border: taken to begin at it."""
    top, bottom, left, right = window.padding
    wholly = max(top, bottom) >= window.extent[0] or max(left, right) >= window.extent[1]
    return wholly or max(window.dilation) > 1


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(more=True), st.sampled_from(OPTIONS))
def test_rings_are_as_long_as_a_play_through_needs(graph: Graph, options: dict[str, object]) -> None:
    plan = plan_rows(graph, **options)  # type: ignore[arg-type]
    check_arena(plan)
    spans = ring_spans(plan)
    loose = any(w is not None and beside_its_padding(w) for w in (op_window(n.op) for n in graph.nodes))
    tiles = {stage.node: stage.tile_pixels for s in plan.segments for stage in s.stages}
    tiles |= {s.driver: min(s.tile_pixels, graph.by_name[s.driver].shape.width) for s in plan.segments[:1]}
    for name, pixels in planned_rings(plan).items():
        needed = max(spans.get(name, 0), tiles[name])
        assert needed <= pixels
        assert loose or pixels == needed


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_least_memory_is_least(graph: Graph) -> None:
    memory, time = plan_rows(graph), plan_rows(graph, objective="time")
    least = max(s.peak_bytes for s in memory.segments)
    assert least <= max(s.peak_bytes for s in time.segments)
    # Layer by layer is one of the cuts that a plan with the image resident chooses from.
    peaks = [max(s.peak_bytes for s in p.segments) for p in (plan_rows(graph, resident=True), plan_layerwise(graph))]
    assert peaks[0] <= peaks[1]
    for budget in {memory.arena_bytes, max(memory.arena_bytes, time.arena_bytes)}:
        assert plan_rows(graph, objective="time", ram_bytes=budget).arena_bytes <= budget
    with pytest.raises(TargetError, match=f"--ram must be at least {memory.arena_bytes} bytes"):
        plan_rows(graph, ram_bytes=memory.arena_bytes - 1)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(), st.booleans())
def test_no_plan_takes_more_than_layer_by_layer(graph: Graph, resident: bool) -> None:
    # Rows are pushed once: layers that all read the image must stream together.
    assume(resident or len(graph.consumers[graph.input_nodes[0].name]) == 1)
    assert plan_rows(graph, resident=resident).arena_bytes <= plan_layerwise(graph).arena_bytes


@pytest.mark.parametrize("resident", [False, True])
def test_bytes_that_align_nothing_are_not_in_the_arena(resident: bool) -> None:
    b = Builder(np.random.default_rng(1))
    at = b.add(conv(10, (5, 5), (2, 2)), b.add(Input(), shape=Shape(4, 4, 1)))
    graph = b.graph(at)
    # An image of 4 x 4, a map of 2 x 2 x 10, and a window of 5 x 5 in 16 bits, whose last two bytes end the arena.
    assert plan_rows(graph, resident=resident).arena_bytes == plan_layerwise(graph).arena_bytes == 16 + 40 + 50


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(), st.sampled_from([0, 0.01, 0.1, 1, 10]))
def test_least_memory_within_a_time_is_least_of_all_cuts(graph: Graph, slower: float) -> None:
    planner = RowPlanner(graph, resident=True)
    # Every sequence of cuts and tiles, as (peak, nanoseconds), without those that another one beats in both.
    fronts: dict[int, list[tuple[int, float]]] = {planner.first: [(0, 0.0)]}
    for stop in range(planner.first + 1, planner.count + 1):
        found: list[tuple[int, float]] = []
        for start in range(planner.first, stop):
            costs = [cost for tile in planner.tiles if (cost := planner.cost(start, stop, tile)) is not None]
            found += [(max(peak, c.bytes), ns + c.ns) for peak, ns in fronts[start] for c in costs]
        fronts[stop] = [p for p in found if not any(q[0] <= p[0] and q[1] < p[1] for q in found)]
    front = fronts[planner.count]
    allowed = min(ns for _, ns in front) * (1 + slower)
    least = min(peak for peak, ns in front if ns <= allowed * (1 + ROUNDED))
    check_arena(plan_rows(graph, resident=True, slower=slower))
    # A plan may undo overlays where its arena has gaps: its segments then take more than its cuts.
    assert max(cost.bytes for _, _, cost in planner.smallest_cuts(slower)) == least


def residual(height: int, width: int, channels: int) -> Graph:
    """Two convolutions 3x3 with a skip over both, as in a ResNet, and a third behind."""
    b = Builder(np.random.default_rng(1))
    at = b.add(Input(), shape=Shape(height, width, channels))
    first = b.add(conv(channels, (3, 3)), at)
    second = b.add(conv(channels, (3, 3)), first)
    total = b.add(Add(), at, second)
    return b.graph(b.add(conv(2, (3, 3)), total))


def test_skip_over_two_windows_keeps_two_rows_and_three_pixels() -> None:
    plan = plan_rows(residual(20, 20, 4))
    rings = planned_rings(plan)
    assert rings["n0"] == rings["n1"] == 2 * 20 + 3
    assert rings["n2"] == 1


def test_of_two_paths_that_fire_at_once_the_one_tried_first_runs_ahead() -> None:
    # One column put behind the others: its path is tried first, although its last node comes last.
    said: list[tuple[Op, tuple[str, ...], int]] = [
        (Input(), (), 6),
        (Resize((0, 1, 2), (4,)), ("n0",), 1),
        (Pad((0, 0, 0, 1)), ("n0",), 7),
        (Pad((0, 0, 6, 0)), ("n1",), 7),
        (Add(), ("n2", "n3"), 7),
    ]
    nodes = [Node(f"n{i}", op, inputs, TensorType(Shape(3, wide, 1))) for i, (op, inputs, wide) in enumerate(said)]
    plan = plan_rows(Graph("columns", tuple(nodes), ("n4",), {}))
    assert planned_rings(plan)["n3"] == ring_spans(plan)["n3"] == 3


def test_output_lies_over_its_input_where_that_is_spent() -> None:
    b = Builder(np.random.default_rng(1))
    at = b.add(Input(), shape=Shape(16, 16, 8))
    at = b.add(conv(8, (3, 3)), at)
    plan = plan_rows(b.graph(at), resident=True)
    # A 3x3 window looks one row and one pixel back: that far before the image must the result begin.
    assert plan.arena_bytes == 16 * 16 * 8 + (16 + 1) * 8 + 3 * 3 * 8 * 2 + 8


def test_layerwise_holds_two_whole_maps() -> None:
    b = Builder(np.random.default_rng(1))
    at = b.add(Input(), shape=Shape(8, 8, 4))
    at = b.add(conv(16, groups=4, kernel=(3, 3)), at)
    assert plan_layerwise(b.graph(at)).arena_bytes == 8 * 8 * (4 + 16) + 4 * 9 * 2


@pytest.mark.parametrize(
    ("name", "pushed", "resident", "layerwise"),
    [("mobilenet_v2", 90780, 181776, 1505280), ("vww", 10956, 27808, 55360), ("resnet", 10764, 13568, 50304)],
)
def test_published_networks(name: str, pushed: int, resident: int, layerwise: int) -> None:
    graph = load(shared_file(NETWORKS[name]))
    assert plan_rows(graph).arena_bytes <= pushed
    assert plan_rows(graph, resident=True).arena_bytes <= resident
    assert plan_layerwise(graph).arena_bytes == layerwise
    check_arena(plan_rows(graph, resident=True))


def test_budget_is_kept_and_an_impossible_one_names_the_least() -> None:
    graph = residual(20, 20, 4)
    least = plan_rows(graph).arena_bytes
    with pytest.raises(TargetError, match=f"at least {least} bytes for this network, got 10"):
        plan_rows(graph, ram_bytes=10)
    with pytest.raises(TargetError, match="--objective must be memory or time, got 'speed'"):
        plan_rows(graph, objective="speed")


def test_integers_of_other_kinds_have_no_kernel() -> None:
    graph = residual(8, 8, 4)
    mixed = (*graph.nodes[:-1], replace(graph.nodes[-1], type=replace(graph.nodes[-1].type, quant=None)))
    with pytest.raises(Unsupported, match="n4: must be quantised to i8, u8 or i16, got i8"):
        plan_rows(Graph("mixed", mixed, graph.outputs, graph.params))


def test_a_long_chain_of_overlaid_maps_is_split_where_that_helps_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each map begins a little before the one that it is made of, so that together they take far more than two."""
    layers = Layers("long", square(8), 4)
    for i in range(100):
        layers.block = f"block{i}"
        layers.conv("depthwise", 4, 3, groups=4)
    graph, placed = layers.graph(), list[int]()

    def counted(order: Sequence[Chain]) -> tuple[int, dict[str, int]]:
        placed.append(len(order))
        return first_fit(order)

    monkeypatch.setattr(arena, "first_fit", counted)
    planner = RowPlanner(graph, False)
    made = planner.plan(planner.least_bytes)
    assert len(made.segments) > 80
    assert made.arena_bytes <= 2 * graph.nodes[-1].type.bytes
    assert len(placed) < 100


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Apply(Curve.ELU, 1.0), "elu has no rule for 16-bit values"),
        (Activate(Activation.HARD_SWISH), "hard_swish has no rule for 16-bit values"),
        (Apply(Curve.EXP, rounding=Rounding.SHIFT), "functions of 16-bit values must be rounded by double, got shift"),
    ],
)
def test_functions_of_16_bits_without_a_rule_are_refused(op: Activate | Apply, message: str) -> None:
    kind = TensorType(Shape(2, 2, 2), DType.I16, Quant(0.001, 0))
    graph = Graph("wide", (Node("x", Input(), (), kind), Node("y", op, ("x",), kind)), ("y",))
    with pytest.raises(Unsupported, match=f"wide: y: {message}"):
        plan_rows(graph)
