"""Bottleneck buffering: the planner's order of columns is the machine's, and its numbers are the analysis's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from graphs import Builder, inverted
from rillet.analyses.sources import narrow as analysis
from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation, Add, Input
from rillet.ir.types import DType, Shape
from rillet.plan.pipeline.bottleneck import columns_of, named_blocks, narrow_blocks
from rillet.plan.pipeline.entry import plan_pixels, plan_several
from rillet.plan.pipeline.fifos import Flow
from rillet.plan.pipeline.planner import MOST_PIXELS, pipeline_graph
from rillet.simulation import orders
from rillet.simulation.orders import tokens_read, wide_orders
from rillet.simulation.pipeline import simulate
from rillet.zoo.registry import build


def goal() -> Graph:
    return build("mobilenet_v2", {"top": "false"})


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(inverted())
def test_the_planner_reads_what_the_machine_reads(graph: Graph) -> None:
    """First and last place of every pixel, against the machine's list of them."""
    graph = pipeline_graph(graph)
    blocks = narrow_blocks(graph)
    assume(blocks)
    plan = plan_pixels(graph, interval=500, narrow=("all",))
    flow, orders, columns = Flow(graph, blocks), wide_orders(plan), columns_of(graph, blocks)
    assert set(orders) == set(columns) == {name for block in blocks for name in block.wide}
    for block in blocks:
        order = orders[block.expansion]
        high = graph.by_name[block.expansion].shape.height
        inside = [place for place in order.places if 0 <= place[1] < high]
        assert (columns[block.expansion].count, columns[block.expansion].made) == (len(order.places), len(inside))
        for name, source in ((block.expansion, block.source), (block.reader, block.wide[-1])):
            node = graph.by_name[name]
            listed = tokens_read(orders, node, graph.by_name[source])
            assert listed is not None
            found = flow.reading(node, source, 1)
            assert found.needs.tolist() == [max([*tokens, 0]) + 1 for tokens in listed]
            later = flow.pixels(source)
            keeps: list[int] = []
            for tokens in reversed(listed):
                keeps.append(later)
                later = min([*tokens, later])
            assert found.keeps.tolist() == keeps[::-1]


def test_what_is_computed_again_is_what_the_analysis_says() -> None:
    counted = analysis.narrow(goal())
    made = plan_pixels(goal(), interval=50_176, narrow=("all",))
    options = {one.expansion: one for one in counted.options}
    assert {block.expansion for block in made.narrow} == options.keys()
    again = {stage.node: stage.recomputed_macs for stage in made.stages}
    assert {name: macs for name, macs in again.items() if macs} == {n: one.extra_macs for n, one in options.items()}
    assert made.recomputed_macs == counted.extra_macs
    # Places of the padding are paid for by multipliers: three columns' rows a pixel where the stride is 1.
    steady = {name: one.extra_macs_steady for name, one in options.items()}
    for name, extra in steady.items():
        stage = made.stage(name)
        assert stage.multipliers * stage.busy_cycles == stage.macs + extra


def test_rows_are_held_narrow_and_one_window_wide() -> None:
    wide = plan_pixels(goal(), interval=50_176)
    made = plan_pixels(goal(), interval=50_176, narrow=("block2", "block3.depthwise", "block4.expand"))
    assert [block.block for block in made.narrow] == ["block2", "block3", "block4"]
    lines = {b.value: b.line_pixels for b in made.buffers}
    assert (lines["block1.project"], lines["block2.expand"]) == (2 * 112, 9)
    assert (lines["block2.project"], lines["block3.expand"]) == (2 * 56, 9)
    saved = (227 - 9) * 96 + 2 * (115 - 9) * 144 - 224 * 16 - 2 * 112 * 24
    assert wide.line_buffer_values - made.line_buffer_values == saved
    # 50,176 cycles are 4 a pixel of 112x112: 3 x 1,536 products in 4 cycles, where 1,536 were.
    assert (wide.stage("block2.expand").multipliers, made.stage("block2.expand").multipliers) == (384, 576)
    assert made.stage("block3.expand").multipliers == 3 * wide.stage("block3.expand").multipliers
    assert made.macs == wide.macs and made.utilisation < wide.utilisation
    assert made.utilisation == pytest.approx(made.macs / made.multipliers / 50_176)


def test_blocks_that_stay_wide() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(6, 6, 2))
    twice = b.add(b.conv(4), at)
    left = b.add(b.conv(4, (3, 3), groups=4), twice)
    b.add(Add(), left, twice)  # the wide map has two readers
    flat = b.add(b.conv(4), left)
    row = b.add(b.conv(4, (1, 3), groups=4), flat)  # one row
    mixed = b.add(b.conv(4, (3, 3)), b.add(b.conv(4), row))  # not depthwise
    sparse = b.add(b.conv(4, (2, 2), (3, 3), groups=4, padding=(0, 0, 0, 0)), b.add(b.conv(4), mixed))  # nothing again
    whole = b.add(b.conv(4, (2, 2), groups=4, padding=(0, 0, 0, 0)), b.add(b.conv(4), sparse))  # the full tensor
    graph = pipeline_graph(b.graph(whole, b.nodes[3].name))
    assert narrow_blocks(graph) == ()
    assert named_blocks(graph, ("all",)) == ()
    with pytest.raises(TargetError, match=r"narrow must be all, auto or blocks by name \(none here\), got 'n2'"):
        plan_pixels(graph, interval=100, narrow=("n2",))
    b = Builder(np.random.default_rng(0), DType.F32)
    wide = b.add(b.conv(4, activation=Activation.RELU), b.add(Input(), shape=Shape(6, 6, 2)))
    deep = b.add(b.conv(4, (3, 3), groups=4), wide)
    assert [block.expansion for block in narrow_blocks(pipeline_graph(b.graph(deep)))] == [wide]
    assert narrow_blocks(pipeline_graph(b.graph(deep, wide))) == ()  # the wide map is wanted itself


def test_names_that_no_block_has() -> None:
    for name in ("block1", "head.conv", "", "auto,all"):
        with pytest.raises(TargetError, match="narrow must be all, auto or blocks by name"):
            plan_pixels(goal(), interval=50_176, narrow=(name,))
    with pytest.raises(TargetError, match="for several devices, got auto"):
        plan_several(goal(), 2, interval=50_176, narrow=("auto",))


def test_several_devices_send_what_is_made_again() -> None:
    made, parts = plan_several(goal(), 2, interval=50_176, narrow=("all",))
    assert sum(part.multipliers for part in parts) == made.multipliers
    rings = {b.value: b for b in made.buffers}
    assert rings["block5.expand"].image_pixels == 3 * 28 * 28
    last = rings[parts[0].nodes[-1]]
    crossing = [b for b in made.buffers if b.value in parts[0].nodes and set(b.readers) & set(parts[1].nodes)]
    assert last in crossing
    assert parts[0].link_bits == sum(b.image_pixels * b.channels * b.bits for b in crossing)


def test_too_many_places_are_refused() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(b.conv(2), b.add(Input(), shape=Shape(1000, 1000, 1)))
    b.add(b.conv(2, (16, 1), groups=2), at)
    with pytest.raises(TargetError, match=f"maps made again must have at most {MOST_PIXELS} pixels"):
        plan_pixels(b.graph(), interval=10**8, narrow=("all",))


def test_too_many_places_to_be_simulated_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "MOST_PLACES", 2699)
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(b.conv(2), b.add(Input(), shape=Shape(30, 30, 1)))
    b.add(b.conv(2, (3, 3), groups=2), at)
    made = plan_pixels(b.graph(), interval=10**7, narrow=("all",))
    with pytest.raises(TargetError, match="must expand at most 2699 pixels to be simulated, got 2700"):
        simulate(made)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(inverted(2), st.integers(1, 2000))
def test_nothing_else_changes(graph: Graph, interval: int) -> None:
    """Stages outside the blocks take what they took."""
    wide = plan_pixels(graph, interval=interval)
    made = plan_pixels(graph, interval=interval, narrow=("all",))
    expansions = {name for block in made.narrow for name in block.wide}
    for one, other in zip(wide.stages, made.stages, strict=True):
        assert (one.node, one.macs, one.weights) == (other.node, other.macs, other.weights)
        if one.node not in expansions:
            assert one.folding.multipliers == other.folding.multipliers and other.recomputed_macs == 0
    assert (made.recomputed_macs > 0) == bool(made.narrow)
    assert replace(made, narrow=()).resident_bits == wide.resident_bits
