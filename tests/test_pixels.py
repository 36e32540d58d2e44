"""Pixel plans: demands are met or refused with the number that would do, and the parts of a cut are the best ones."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks import networks
from conftest import mostly_slow
from draws import REFUSED, mostly
from graphs import Builder, graphs
from rillet.errors import TargetError, Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import Activate, Activation, Add, Constant, Input, Multiply, Pool, PoolKind, Window
from rillet.ir.types import DType, Shape
from rillet.plan.pipeline.entry import PixelPlan, cut_over_devices, plan_pixels, plan_several
from rillet.plan.pipeline.fifos import Flow, depth, schedule
from rillet.plan.pipeline.planner import pipeline_graph
from rillet.simulation.pipeline import simulate
from rillet.targets import chips
from rillet.zoo.registry import NETWORKS, build

SMALL = "mobilenet_v1", {"width": "0.25", "resolution": "96", "classes": "2"}


def small() -> Graph:
    return build(*SMALL)


def loads(plan: PixelPlan) -> list[int]:
    return [stage.multipliers + stage.elementwise_multipliers for stage in plan.stages]


def test_the_best_interval_within_a_budget() -> None:
    for budget in (100, 900, 2520):
        made = plan_pixels(small(), multipliers=budget)
        assert made.multipliers <= budget
        assert plan_pixels(small(), interval=made.interval_cycles).multipliers == made.multipliers
        assert plan_pixels(small(), interval=made.interval_cycles - 1).multipliers > budget
        assert made.images_per_s == pytest.approx(200e6 / made.interval_cycles)


def test_a_target_gives_clock_and_budgets() -> None:
    chip = chips.load("u250")
    made = plan_pixels(small(), chip=chip)
    assert made.multipliers <= chip.multipliers and made.memory_bits <= (chip.memory_bits or 0)
    assert (made.chip, made.clock_hz) == ("Alveo U250", 200e6)
    assert plan_pixels(small(), chip=chip, clock_hz=1e8).images_per_s == pytest.approx(made.images_per_s / 2)


def test_memory_of_weights_biases_and_rings() -> None:
    made = plan_pixels(small(), interval=50_000)
    wide = plan_pixels(small(), interval=50_000, weight_bits=16)
    biases = 32 * sum(n.op.out_channels for n in made.graph.nodes if hasattr(n.op, "out_channels"))
    assert made.memory_bits == 8 * (made.weights + made.buffer_values) + biases
    assert wide.memory_bits == 16 * (made.weights + made.buffer_values) + biases
    assert made.buffer_values == (
        made.line_buffer_values + made.skip_values + made.hold_values + made.fifo_values
    )  # no ring is shorter than its window


def test_weights_of_one_bit() -> None:
    made = plan_pixels(build("binarynet_cifar10"), interval=50_000)
    biases = sum(stage.bias_bits for stage in made.stages)
    encode, *rest = made.stages
    ternary = encode.weights * 2 + sum(stage.weights for stage in rest)
    assert made.resident_bits == ternary + biases
    assert {b.bits for b in made.buffers} == {8, 1}


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        ({"interval": 0}, "interval must be at least 1 cycles for this network, got 0"),
        ({"multipliers": 3}, "multipliers must be at least 28 for this network, got 3"),
        (
            {"interval": 1000, "multipliers": 100},
            r"multipliers must be at least [\d,]+ for an interval of 1,000 .* got 100",
        ),
        (
            {"memory_bits": 1000},
            r"memory must be at least [\d,]+ bytes .* for this network, .* of it for weights, got 125 bytes",
        ),
        ({}, "interval, multipliers, memory or a target must be given"),
        ({"interval": 10**14}, "interval must be at most 10000000000000 cycles"),
        ({"interval": 1000, "weight_bits": 4}, "bits of a weight must be 8 or 16, got 4"),
        ({"interval": 1000, "clock_hz": 0.0}, "clock must be from 1 Hz"),
        ({"interval": 1000, "clock_hz": float("nan")}, "clock must be from 1 Hz"),
    ],
)
def test_demands_that_cannot_be_met(demand: dict[str, int], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        plan_pixels(small(), **demand)  # type: ignore[arg-type]


def test_memory_is_checked_at_the_interval() -> None:
    made = plan_pixels(small(), interval=10_000)
    assert plan_pixels(small(), interval=10_000, memory_bits=made.memory_bits) == made
    with pytest.raises(
        TargetError, match=rf"memory must be at least {-(-made.memory_bits // 8):,} bytes .* for an interval"
    ):
        plan_pixels(small(), interval=10_000, memory_bits=made.memory_bits - 1)
    slower = plan_pixels(small(), multipliers=900, memory_bits=made.memory_bits)
    assert slower.memory_bits <= made.memory_bits and slower.multipliers <= 900


def test_squeeze_and_excite_waits_whole() -> None:
    made = plan_pixels(build("mobilenet_v3_small"), interval=50_176)
    assert len(made.barriers) == 9 == sum(stage.elementwise for stage in made.stages)
    rings = {b.value: b for b in made.buffers}
    for barrier in made.barriers:
        node = made.graph.by_name[barrier.node]
        ring = rings[node.inputs[0]]
        assert ring.hold_pixels == node.shape.pixels <= ring.depth_pixels
        assert barrier.hold_values == node.shape.elements
        assert barrier.second_pass_values <= barrier.hold_values
        assert (barrier.second_pass_macs > 0) == (barrier.source != node.inputs[0])
    assert made.hold_values == sum(b.hold_values for b in made.barriers)
    # The widest: 576 channels of 7x7, from the 96 that the block begins with.
    last = made.barriers[-1]
    assert (last.second_pass_values, last.hold_values) == (96 * 49, 576 * 49)
    assert last.second_pass_macs == 49 * 576 * (96 + 25)
    # The skip around that block waits for the gate too.
    assert last.held_anyway and not made.barriers[0].held_anyway
    assert rings[last.source].skip_pixels == 49


def test_what_does_not_stream_is_refused() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(4, 4, 2))
    free = b.add(Activate(Activation.RELU), b.add(Constant(DType.F32), shape=Shape(4, 4, 2)))
    b.add(Add(), at, free)
    with pytest.raises(Unsupported, match="random: n2: must follow from the input"):
        pipeline_graph(b.graph())
    with pytest.raises(Unsupported, match="must have a layer"):
        pipeline_graph(b.graph(at))
    other = b.add(Input(), shape=Shape(4, 4, 2))
    with pytest.raises(
        Unsupported, match="must have one input to be a pipeline, whose pixels set its pace, got n0 and n4"
    ):
        pipeline_graph(b.graph(b.add(Add(), at, other)))


def test_an_image_too_large_is_refused() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    b.add(b.conv(1), b.add(Input(), shape=Shape(3000, 3000, 1)))
    with pytest.raises(Unsupported, match="maps must have at most 16777216 pixels to be a pipeline, got 18000000"):
        plan_pixels(b.graph(), interval=10**9)


def test_the_slowest_interval_is_exact() -> None:
    """Products beyond 64 bits do not arise."""
    made = plan_pixels(small(), interval=10**13)
    assert made.multipliers == 28
    after_the_first = 10**13 - 10**13 // 96**2
    assert after_the_first <= made.latency_cycles < after_the_first + 10**9


def test_a_skip_over_many_skips_takes_no_time() -> None:
    """Paths between its ends double with each; they are not walked one by one."""
    b = Builder(np.random.default_rng(0), DType.F32)
    at = first = b.add(b.conv(2), b.add(Input(), shape=Shape(6, 6, 2)))
    for _ in range(60):
        at = b.add(Add(), b.add(b.conv(2, (3, 3)), at), at)
    b.add(Add(), at, first)
    made = plan_pixels(b.graph(), interval=100)
    assert next(ring for ring in made.buffers if ring.value == first).depth_pixels >= 36


def test_a_skip_over_very_many_layers() -> None:
    """No recursion: how far its ends are apart is summed layer by layer."""
    b = Builder(np.random.default_rng(0), DType.F32)
    at = first = b.add(b.conv(1), b.add(Input(), shape=Shape(2, 2, 1)))
    for _ in range(1500):
        at = b.add(b.conv(1), at)
    b.add(Add(), at, first)
    made = plan_pixels(b.graph(), interval=100)
    found = simulate(made, 2)
    assert (found.interval_cycles, found.latency_cycles) == (100, made.latency_cycles)
    assert not found.deadlock and not found.wrong


def test_what_no_output_needs_is_left_out() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(4, 4, 2))
    kept = b.add(b.conv(3), at)
    b.add(b.conv(4), at)
    made = plan_pixels(b.graph(kept), interval=100)
    assert [stage.node for stage in made.stages] == [kept]


@mostly(0.9)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(12) | graphs(), st.integers(1, 3000))
def test_the_schedule_is_periodic_where_it_says_so(graph: Graph, interval: int) -> object:
    """Played further, every stage repeats; and no ring is shorter than what one firing needs."""
    try:
        made = plan_pixels(graph, interval=interval)
    except Unsupported:
        return REFUSED
    foldings = {stage.node: stage.folding for stage in made.stages}
    flow = Flow(made.graph)
    times = schedule(flow, foldings, interval)
    for name, found in times.done.items():
        folding, frames = foldings[name], len(found.rows) + 4
        flat = None
        for source in {n for n in made.graph.by_name[name].inputs if n in times.arrives}:
            needs = flow.reading(made.graph.by_name[name], source, folding.lanes).needs
            ready = times.arrives[source].frames(frames)[:, needs - 1].reshape(-1)
            flat = ready if flat is None else np.maximum(flat, ready)
        assert flat is not None
        before, done = 0, []
        for at in flat.tolist():
            before = max(at, before) + folding.cycles
            done.append(before)
        assert np.array_equal(np.reshape(done, (frames, -1)), found.frames(frames))
    for ring in made.buffers:
        readers = [made.graph.by_name[name] for name in ring.readers]
        spans = [flow.reading(r, ring.value, foldings[r.name].lanes).span for r in readers]
        assert max(spans) <= ring.depth_pixels == depth(flow, foldings, times, ring.value)[0]
    return None


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(8), st.integers(1, 4), st.integers(20, 2000))
def test_no_cut_over_devices_is_better(graph: Graph, devices: int, interval: int) -> None:
    made = plan_pixels(graph, interval=interval)
    count = len(made.stages)
    if count > 12 or devices > count:
        return
    parts = cut_over_devices(made, devices)
    assert [name for part in parts for name in part.nodes] == [stage.node for stage in made.stages]
    place = {stage.node: i for i, stage in enumerate(made.stages)}

    def link(cut: int) -> int:
        crossing = [
            b for b in made.buffers if place.get(b.value, -1) < cut <= max(place[reader] for reader in b.readers)
        ]
        return sum(made.graph.by_name[b.value].shape.elements * b.bits for b in crossing)

    every = [(0, *inner, count) for inner in combinations(range(1, count), devices - 1)]
    used = loads(made)
    cost = {cuts: max(sum(used[a:b]) for a, b in pairwise(cuts)) for cuts in every}
    fullest = min(cost.values())
    widest = min(max([0, *map(link, cuts[1:-1])]) for cuts in every if cost[cuts] == fullest)
    assert max(part.multipliers for part in parts) == fullest
    assert max(part.link_bits for part in parts) == widest
    assert parts[-1].link_bits == 0
    assert all(part.link_bits_per_s == pytest.approx(part.link_bits * made.images_per_s) for part in parts)


def test_several_devices() -> None:
    made, parts = plan_several(small(), 3, multipliers=156)
    assert max(part.multipliers for part in parts) <= 156
    assert sum(part.weights for part in parts) == made.weights
    one = plan_pixels(small(), multipliers=156)
    assert made.interval_cycles <= one.interval_cycles / 2
    assert sum(part.memory_bits for part in cut_over_devices(made, 1)) == made.memory_bits
    assert sum(part.memory_bits for part in parts) >= made.memory_bits
    limit = max(part.memory_bits for part in parts) - 1
    assert max(part.memory_bits for part in cut_over_devices(made, 3, limit)) <= limit
    with pytest.raises(TargetError, match="memory must be more than 125 bytes a device"):
        cut_over_devices(made, 3, 1000)
    with pytest.raises(TargetError, match=r"devices must be from 1 to \d+"):
        cut_over_devices(made, 1000)
    with pytest.raises(TargetError, match="interval, multipliers or a target must be given for several"):
        plan_several(small(), 2)
    with pytest.raises(TargetError, match="interval, multipliers or a target must be given for several"):
        plan_several(small(), 2, memory_bits=10**9)
    with pytest.raises(TargetError, match="multipliers must be more than 1 each"):
        plan_several(small(), 3, multipliers=1)


def test_several_devices_at_an_interval_and_within_budgets() -> None:
    free, parts = plan_several(small(), 3, multipliers=156)
    slower, found = plan_several(small(), 3, interval=2 * free.interval_cycles)
    assert slower.interval_cycles == 2 * free.interval_cycles
    fullest = max(part.multipliers for part in found)
    assert plan_several(small(), 3, interval=slower.interval_cycles, multipliers=fullest)[1] == found
    with pytest.raises(TargetError, match=f"multipliers must be at least {fullest} each for 3 devices at an interval"):
        plan_several(small(), 3, interval=slower.interval_cycles, multipliers=fullest - 1)
    roomy = max(part.memory_bits for part in parts)
    assert plan_several(small(), 3, multipliers=156, memory_bits=roomy)[1] == parts
    with pytest.raises(
        TargetError, match=r"memory must be at least [\d,]+ bytes .*a device for 3 devices, got 125 bytes"
    ):
        plan_several(small(), 3, multipliers=156, memory_bits=1000)
    with pytest.raises(TargetError, match="interval must be at most"):
        plan_several(small(), 3, interval=10**14)
    with pytest.raises(TargetError, match=r"devices must be from 1 to \d+, the layers of"):
        plan_several(small(), 1000, multipliers=156)


@pytest.mark.slow
def test_several_devices_with_little_memory_run_slower() -> None:
    graph = build("mobilenet_v2", {"top": "false"})
    chip = chips.load("ecp5_85")
    with pytest.raises(TargetError, match="memory must be at least"):
        plan_several(graph, 5, chip=chip)
    made, parts = plan_several(graph, 7, chip=chip)
    assert made.interval_cycles == 903_168
    assert max(part.multipliers for part in parts) <= 156
    assert max(part.memory_bits for part in parts) <= (chip.memory_bits or 0)
    roomy, _ = plan_several(graph, 7, multipliers=156)
    assert roomy.interval_cycles < made.interval_cycles
    with pytest.raises(
        TargetError, match="multipliers must be at least 429 each for 7 devices at an interval of 301056"
    ):
        plan_several(graph, 7, interval=301_056, chip=chip)


def test_a_second_pass_starts_from_the_narrowest_map() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(6, 6, 2))
    wide = b.add(b.conv(8, (3, 3)), at)
    gate = b.add(b.conv(8), b.add(Pool(PoolKind.MEAN, Window((6, 6))), wide))
    b.add(Multiply(), wide, gate)
    (barrier,) = plan_pixels(b.graph(), interval=36).barriers
    assert (barrier.source, barrier.second_pass_values, barrier.hold_values) == (at, 72, 288)
    assert (barrier.second_pass_macs, barrier.second_pass_multipliers) == (36 * 8 * 18, 144)
    assert barrier.choice == "hold" and not barrier.held_anyway


@pytest.mark.parametrize("name", mostly_slow(NETWORKS, *list(NETWORKS)[::3]))
def test_every_network_has_a_plan(name: str) -> None:
    made = plan_pixels(build(name), interval=50_176)
    assert max(stage.busy_cycles for stage in made.stages) <= 50_176
    assert sum(stage.macs for stage in made.stages) == made.graph.macs
    assert 0.6 < made.utilisation <= 1
