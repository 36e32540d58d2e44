"""Pixel plans as hardware: results that arrive later, slots taken when a firing begins, a ring for each reader."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rillet
from blocks import networks
from draws import REFUSED, mostly
from graphs import Builder, graphs
from rillet.errors import TargetError, Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import Conv, Input, Rounding, Window
from rillet.ir.types import DType, Shape
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.pipeline.estimates import estimates
from rillet.plan.pipeline.fifos import schedule_of
from rillet.plan.pipeline.folding import Folding
from rillet.plan.pipeline.hardware import same_timing
from rillet.plan.pipeline.memories import Content, block_rams, memories, ring_memory
from rillet.plan.pipeline.plan import PixelPlan, Resource
from rillet.plan.pipeline.planner import Planner
from rillet.targets import chips, pipeline
from rillet.targets.quantity import plain
from rillet.zoo.registry import build

HARDWARE = pipeline.default()


def check_foldings(plan: PixelPlan) -> None:
    """One pixel a firing; all work is done within the interval, with words that need not divide the channels."""
    for stage in plan.stages:
        node, folding = plan.graph.by_name[stage.node], stage.folding
        assert folding.lanes == 1 and folding.interval <= plan.interval_cycles
        at_once = folding.cycles * folding.outputs * folding.taps * max(1, folding.inputs)
        window = getattr(node.op, "window", None)
        taps = 1 if window is None or stage.accumulates else window.taps
        row = 1 if window is None or taps == 1 else window.kernel[1]
        assert folding.taps in (1, row, taps)
        products = plan.graph.input_shapes(node)[0].channels // node.op.groups if isinstance(node.op, Conv) else 1
        assert at_once >= node.shape.channels * products * taps


@mostly(0.8)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(networks(12) | graphs(), st.integers(1, 8))
def test_random_networks_have_foldings_and_rings(graph: Graph, slower: int) -> Any:
    try:
        least = plan_pixels(graph, multipliers=10**9, pipeline=HARDWARE)
    except Unsupported:
        return REFUSED
    for interval in (least.interval_cycles, slower * least.interval_cycles):
        plan = plan_pixels(graph, interval=interval, pipeline=HARDWARE)
        check_foldings(plan)
        assert all(len(b.rings) == len(b.readers) and max(b.rings) == b.depth_pixels for b in plan.buffers)
        ends = [schedule_of(plan).arrives[name].rows[0, -1] for name in plan.graph.outputs]
        first = min(schedule_of(plan).arrives[node.name].rows[0, 0] for node in plan.graph.input_nodes)
        assert plan.latency_cycles == max(ends) - first
    return None


@pytest.mark.parametrize(("interval", "multipliers"), [(50_176, 5_976), (129_024, 2_439), (802_816, 391)])
def test_as_few_multipliers_as_the_ideal(interval: int, multipliers: int) -> None:
    graph = build("mobilenet_v2", {"top": "false"})
    ideal, made = plan_pixels(graph, interval=interval), plan_pixels(graph, interval=interval, pipeline=HARDWARE)
    assert made.multipliers == multipliers <= ideal.multipliers * 1.005
    assert made.buffer_values < ideal.buffer_values and made.latency_cycles < ideal.latency_cycles
    assert made.buffer_values == made.line_buffer_values + made.skip_values + made.fifo_values + made.fork_values
    assert made.pipeline == HARDWARE and ideal.pipeline is None


def test_what_only_the_ideal_has() -> None:
    graph = build("mobilenet_v2", {"top": "false"})
    with pytest.raises(TargetError, match="at least 50176 cycles .* as hardware, a pixel of input a cycle, got 49"):
        plan_pixels(graph, interval=49, pipeline=HARDWARE)
    for more, message in (({"narrow": ("all",)}, "narrow"), ({"weight_bits": 16}, "bits"), ({"ceil": True}, "divide")):
        with pytest.raises(TargetError, match=message):
            plan_pixels(graph, interval=50_176, pipeline=HARDWARE, **more)  # type: ignore[arg-type]


def test_a_final_softmax_stays_on_the_host() -> None:
    plan = plan_pixels(build("mobilenet_v3_small"), interval=50_176, pipeline=HARDWARE)
    assert all(stage.op != "softmax" for stage in plan.stages)


def test_a_chip_says_what_differs() -> None:
    own, zcu102 = chips.load("ice40_up5k").pipeline, chips.load("zcu102").pipeline
    assert own is not None
    assert zcu102 == HARDWARE and (own.block_ram_bits, own.block_ram_width) == (4096, 16)
    assert own.registers("read", "operand") == HARDWARE.registers("read", "operand") == 2


def test_memories_take_the_best_shape_of_block_rams() -> None:
    for width, words, blocks in ((36, 512, 1), (37, 512, 2), (36, 513, 2), (8, 2048, 1), (1, 16384, 1), (72, 64, 0)):
        assert block_rams(width, words, HARDWARE, constant=False) == blocks
    plan = plan_pixels(build("mobilenet_v2", {"top": "false"}), interval=50_176, pipeline=HARDWARE)
    found = memories(plan)
    for stage in plan.stages:
        held = [one.bits for one in found if (one.stage, one.content) == (stage.node, Content.WEIGHTS)]
        assert sum(held) >= stage.weights * stage.weight_bits
    rings = {(one.value, one.stage): one for one in found if one.content is Content.RING}
    assert len(rings) == len(plan.depths)
    for buffer in plan.buffers:
        for reader, depth in zip(buffer.readers, buffer.rings, strict=True):
            one, folding = rings[buffer.value, reader], plan.stage(reader).folding
            assert one.copies == folding.taps
            assert one.bits >= one.copies * depth * buffer.channels * buffer.bits


def test_shapes_of_equal_timing_need_less_memory() -> None:
    planner = Planner(build("mobilenet_v2", {"top": "false"}), None, None, 8, ceil=False, pipeline=HARDWARE)
    made = planner.plan(50_176)
    pixels = {(b.value, r): (d, b.bits) for b in made.buffers for r, d in zip(b.readers, b.rings, strict=True)}
    first = {s.node: same_timing(planner.firings[s.node], s.folding)[0] for s in made.stages}

    def blocks(foldings: dict[str, Folding]) -> int:
        found = (ring_memory(made.graph, foldings, *ring, *pixels[ring]) for ring in pixels)
        return sum(one.block_rams(HARDWARE) for one in found)

    assert blocks({s.node: s.folding for s in made.stages}) < blocks(first)


def test_what_bounds_and_what_is_missing() -> None:
    graph, zcu102 = build("mobilenet_v2", {"top": "false"}), chips.load("zcu102")
    made = plan_pixels(graph, chip=zcu102, pipeline=zcu102.pipeline)
    assert made.bound == Resource.MULTIPLIERS and made.images_per_s >= 1_550
    assert {use.resource: use.used <= (use.room or 0) for use in made.uses} == dict.fromkeys(Resource, True)
    with pytest.raises(TargetError, match=r"multipliers .* got 2,520: 671 too few; the least .* 125,440 cycles"):
        plan_pixels(graph, interval=100_000, chip=zcu102, pipeline=zcu102.pipeline)
    fast = plan_pixels(graph, multipliers=10**6, pipeline=HARDWARE)
    assert fast.bound == "a pixel of input a cycle" and fast.interval_cycles == 50_176


def test_multipliers_are_spent_to_save_block_rams() -> None:
    graph, zcu102 = build("mobilenet_v2"), chips.load("zcu102")
    fewest = plan_pixels(graph, interval=169_344, pipeline=HARDWARE)
    made = plan_pixels(graph, interval=169_344, chip=zcu102, pipeline=zcu102.pipeline)
    before, after = ({use.resource: use.used for use in plan.uses} for plan in (fewest, made))
    assert before[Resource.BLOCK_RAMS] > (zcu102.block_rams or 0) >= after[Resource.BLOCK_RAMS]
    assert before[Resource.MULTIPLIERS] < after[Resource.MULTIPLIERS] <= zcu102.multipliers
    check_foldings(made)


def test_block_rams_bound_where_multipliers_do_not() -> None:
    graph, zc706 = build("mobilenet_v2", {"width": "0.35", "resolution": "96"}), chips.load("zc706")
    made = plan_pixels(graph, chip=zc706, pipeline=HARDWARE)
    room = next(use.used for use in made.uses if use.resource is Resource.BLOCK_RAMS) * 24 // 25
    small = replace(zc706, quantities={**zc706.quantities, "block_rams": plain(room, "fewer", "assumed")})
    slower = plan_pixels(graph, chip=small, pipeline=HARDWARE)
    assert (made.bound, slower.bound) == (Resource.MULTIPLIERS, Resource.BLOCK_RAMS)
    assert slower.interval_cycles > made.interval_cycles


@pytest.mark.slow
def test_too_few_block_rams_for_any_interval() -> None:
    graph, zc706 = build("mobilenet_v2", {"width": "0.35", "resolution": "96"}), chips.load("zc706")
    tiny = replace(zc706, quantities={**zc706.quantities, "block_rams": plain(9, "few", "assumed")})
    with pytest.raises(TargetError, match=r"block RAMs must be at least [\d,]+ for .* got 9: .* no interval fits"):
        plan_pixels(graph, interval=10**5, chip=tiny, pipeline=HARDWARE)


@pytest.mark.parametrize(("levels", "sums"), [(None, 0), (DType.I8, 2)])
def test_products_that_are_additions_take_no_multipliers(levels: DType | None, sums: int) -> None:
    """A ternary layer keeps pace with the input whatever the budget is; levels multiply sums, not products."""
    b = Builder(np.random.default_rng(0))
    near = Window((3, 3), padding=(1, 1, 1, 1))
    shifts = Rounding.SHIFT
    first = b.add(Input(), shape=Shape(8, 8, 8))
    at = b.add(Conv(16, near, weights=DType.TERNARY, levels=levels, rounding=shifts), first)
    b.add(Conv(4, weights=DType.I8, rounding=shifts), at)
    both = plan_pixels(b.graph(), multipliers=16 * 8 * 9 + 16 * 4, pipeline=HARDWARE)
    assert both.interval_cycles == 64 and both.multipliers == 16 * 8 * 9 + 16 * 4
    few = plan_pixels(b.graph(), multipliers=16 * 4 + 16 * sums, pipeline=HARDWARE)
    (used,) = (use for use in few.uses if use.resource is Resource.MULTIPLIERS)
    assert few.interval_cycles == 64 and (used.used, used.requantising) == (16 * 4 + 16 * sums, 16 * sums)


def test_multipliers_that_requantise_are_counted() -> None:
    """By the rule `fixed_point` values that leave take DSP blocks, and the least interval leaves room for them."""
    net = rillet.load("mobilenet_v1:width=0.25,resolution=32,classes=10,seed=1")
    ecp5 = chips.load("ecp5_85")
    plans = {
        rule: plan_pixels(rillet.quantize(net, "random", limit=2, rule=rule).graph, chip=ecp5, pipeline=ecp5.pipeline)
        for rule in ("shift", "fixed_point")
    }
    used = {
        rule: next(use for use in plan.uses if use.resource is Resource.MULTIPLIERS) for rule, plan in plans.items()
    }
    assert used["shift"].requantising == 0 < used["fixed_point"].requantising
    assert all(use.used <= ecp5.multipliers for use in used.values())
    assert ecp5.family is not None
    for rule, plan in plans.items():
        assert sum(one.taken.multipliers for one in estimates(plan, ecp5.family)) == used[rule].used


def test_too_few_look_up_tables_are_told() -> None:
    """By how much they are too few at an interval, and the least interval at which they are enough."""
    ecp5 = chips.load("ecp5_85")
    few = replace(ecp5, quantities={**ecp5.quantities, "luts": plain(17_000, "few", "assumed")})
    net = build("mobilenet_v1", {"width": "0.25", "resolution": "32", "classes": "10"})
    with pytest.raises(
        TargetError, match="look-up tables must be at least about .*: .* too few; the least inter"
    ) as no:
        plan_pixels(net, interval=8_192, chip=few, pipeline=few.pipeline)
    least = int(re.findall(r"fits is ([\d,]+) cycles", str(no.value))[0].replace(",", ""))
    made = plan_pixels(net, chip=few, pipeline=few.pipeline)
    assert (made.bound, made.interval_cycles) == (Resource.LUTS, least)
    assert plan_pixels(net, interval=least, chip=few, pipeline=few.pipeline).interval_cycles == least
