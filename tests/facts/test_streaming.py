"""MobileNetV2 as a pipeline: reference numbers of foldings, line buffers, skips, and the chips that were promised."""

import json
from functools import cache
from typing import Any

import pytest

from conftest import SHARED
from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.ir.ops import Add
from rillet.plan.pipeline.claims import check_claim
from rillet.plan.pipeline.entry import PixelPlan, plan_pixels, plan_several
from rillet.simulation.pipeline import simulate
from rillet.targets import chips
from rillet.zoo.registry import build

FACTS = SHARED.parent / "facts" / "streaming_mobilenetv2.json"


@cache
def facts() -> dict[str, Any]:
    if not FACTS.exists():
        pytest.skip("reference numbers absent")
    return json.loads(FACTS.read_text())


@cache
def network() -> Graph:
    return build("mobilenet_v2", {"top": "false"})


@cache
def plan(interval: int, ceil: bool = False) -> PixelPlan:
    return plan_pixels(network(), interval=interval, ceil=ceil)


@pytest.mark.parametrize(
    ("interval", "multipliers", "by_ceiling"),
    [
        (49, 6_112_128, 6_112_128),
        (196, 1_528_032, 1_528_032),
        (784, 382_008, 382_008),
        (3_136, 95_502, 95_502),
        (12_544, 23_880, 23_880),
        (50_176, 5_976, 5_976),
        (200_704, 1_517, 1_506),
        (802_816, 393, 390),
    ],
)
def test_multipliers_at_an_interval(interval: int, multipliers: int, by_ceiling: int) -> None:
    for ceil, wanted in ((False, multipliers), (True, by_ceiling)):
        made = plan(interval, ceil)
        assert made.multipliers <= wanted
        assert made.utilisation == pytest.approx(299_494_272 / (made.multipliers * interval))
        assert max(stage.busy_cycles for stage in made.stages) <= interval
        row = facts()["folding"][str(interval)]["ceil" if ceil else "div"]
        assert wanted == row["mult"] and made.utilisation >= row["util"] - 1e-9


def test_the_count_of_the_table_is_that_of_multipliers_with_one_weight_each() -> None:
    """Totals of the impossible goal: 6,112,128 at 49 cycles, 2,734,080 at a quarter of the rate."""
    assert plan(49).unshared_multipliers == 6_112_128
    assert plan(196).unshared_multipliers == 2_734_080
    assert plan(49).multipliers * 49 == 299_494_272
    assert plan(50_176).weights == 2_189_760 == plan(50_176).unshared_multipliers


@pytest.mark.parametrize("interval", [12_544, 50_176, 802_816])
def test_line_buffers_and_skips(interval: int) -> None:
    made = plan(interval)
    assert (made.line_buffer_values, made.skip_values, made.hold_values) == (247_657, 12_336, 0)
    assert made.fifo_values == made.buffer_values - 259_993
    lines = [(b.line_pixels * b.channels) for b in made.buffers if b.line_pixels]
    assert lines == [row[4] for row in facts()["line_buffers"]["rows"] if row[1] == "line"]
    skips = [(b.skip_pixels, b.skip_pixels * b.channels) for b in made.buffers if b.skip_pixels]
    given = [row for row in facts()["line_buffers"]["rows"] if row[1] == "residual"]
    assert skips == [(row[2] + 2, row[4]) for row in given]


def test_a_skip_may_need_more_than_its_lag() -> None:
    """At 802,816 cycles block 5 keeps 46 pixels, not W + 4 = 32: its layers do not run at one pace."""
    readers = {b.value: b for b in plan(802_816).buffers}
    added = next(n for n in plan(802_816).graph.nodes if n.block == "block5" and isinstance(n.op, Add))
    assert max(readers[name].depth_pixels for name in added.inputs) == 46


def test_pytorch_padding_has_the_same_formula() -> None:
    made = plan_pixels(build("mobilenet_v2", {"top": "false", "padding": "torch"}), interval=50_176)
    assert made.skip_values == facts()["line_buffers_peak_pytorch_padding"]["sum_res_values"]
    assert made.line_buffer_values == 247_657


@pytest.mark.parametrize(
    ("chip", "most", "held", "interval"),
    [("tensorasic_16384", 54_705.6, 524_288, 18_816), ("tensorasic_65536", 218_822.2, 2_097_152, 4_704)],
)
def test_half_a_million_images_a_second(chip: str, most: float, held: int, interval: int) -> None:
    claim = check_claim(network(), chips.load(chip))
    assert claim.claimed_images_per_s == 500_000
    assert claim.multipliers_needed == 149_748
    assert claim.most_images_per_s == pytest.approx(most, abs=0.05)
    assert (claim.weights, claim.weights_held) == (2_189_760, held)
    assert claim.weights_missing == 2_189_760 - held
    assert (claim.chips_needed - 1) * held < 2_189_760 <= claim.chips_needed * held
    assert (claim.weights_each - 1) * claim.multipliers < 2_189_760 <= claim.weights_each * claim.multipliers
    assert claim.unbound_cycles == interval == plan_pixels(network(), multipliers=claim.multipliers).interval_cycles
    assert claim.planned_cycles is None and not claim.holds
    with pytest.raises(TargetError, match=f"weights must be at most {held} to stay on 1 x TensorAsic"):
        plan_pixels(network(), chip=chips.load(chip))
    assert f"weights must be at most {held} to stay" in claim.refused


def test_a_narrower_network_keeps_the_promise_without_its_top_only() -> None:
    """At width 0.35 all weights fit; the 1,280,000 of the last layer then take 40,000 multipliers, 32 in turn."""
    chip = chips.load("tensorasic_65536")
    bare = check_claim(build("mobilenet_v2", {"top": "false", "width": "0.35"}), chip)
    assert (bare.holds, bare.planned_cycles, bare.refused, bare.weights_missing) == (True, 980, "", 0)
    whole = check_claim(build("mobilenet_v2", {"width": "0.35"}), chip)
    assert (whole.holds, whole.planned_cycles, whole.weights_missing) == (False, 3_072, 0)
    assert check_claim(build("mobilenet_v2", {"width": "0.35"}), chip, 325_000).holds
    with pytest.raises(TargetError, match="claimed_images_per_s must be given"):
        check_claim(network(), chips.load("zcu102"))


def test_the_simulation_keeps_the_planned_interval() -> None:
    assert simulate(plan_pixels(network(), interval=50_176), 3).interval_cycles == 50_176


def test_two_of_the_larger_chips_hold_every_weight() -> None:
    made, parts = plan_several(network(), 2, chip=chips.load("tensorasic_65536"))
    assert max(part.multipliers for part in parts) <= 65_536
    assert max(stage.folding.cycles for stage in made.stages) <= 32
    assert sum(part.weights for part in parts) == 2_189_760
