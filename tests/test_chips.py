"""A network on every known chip, and at many rates: the rows are the plans', and say why there is none."""

import numpy as np
import pytest

from graphs import Builder
from rillet.analyses.sources.chips import on_chips
from rillet.errors import TargetError, Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import Input
from rillet.ir.types import DType, Shape
from rillet.plan.pipeline.entry import plan_pixels
from rillet.report.sources.impossible import chips_table, rates_table
from rillet.simulation.sweep import RATES, rates
from rillet.targets import chips
from rillet.zoo.registry import build

GOAL = build("mobilenet_v2", {"top": "false"})


@pytest.mark.parametrize("graph", [GOAL, build("binarynet_cifar10")], ids=["mobilenet_v2", "binarynet"])
def test_rows_of_chips_are_plans(graph: Graph) -> None:
    rows = {row.chip: row for row in on_chips(graph)}
    assert tuple(rows) == chips.names()
    for name, row in rows.items():
        chip = chips.load(name)
        if row.interval_cycles is None:
            assert row.missing_bits or row.missing_weights
            with pytest.raises(TargetError) as error:
                plan_pixels(graph, chip=chip)
            assert str(error.value) == row.refused
        else:
            assert row.missing_bits == row.missing_weights == 0 and not row.refused
            assert plan_pixels(graph, chip=chip).interval_cycles == row.interval_cycles
            assert row.planned_multipliers is not None and row.planned_multipliers <= chip.multipliers
            assert row.planned_bits is not None
            assert row.needed_bits <= row.planned_bits <= (chip.memory_bits or row.planned_bits)


def test_the_goal_misses_the_zc706_by_a_little() -> None:
    rows = {row.chip: row for row in on_chips(GOAL)}
    assert rows["zc706"].missing_bits == 20_120_584 - 20_090_880
    assert rows["tensorasic_65536"].missing_weights == 2_189_760 - 2_097_152
    cells = {row[0]: row[-1] for row in chips_table("goal", on_chips(GOAL)).rows}
    assert cells["zc706"] == "3,713 B (3.6 KiB) of memory"
    assert cells["tensorasic_65536"] == "room for 92,608 of 2,189,760 weights"
    assert cells["zcu102"] == ""


@pytest.mark.slow
def test_rows_of_rates_are_planned_and_measured() -> None:
    rows = rates(GOAL)
    assert [row.interval_cycles for row in rows] == [49 * 4**i for i in range(RATES)]
    for row in rows:
        assert row.multipliers == plan_pixels(GOAL, interval=row.interval_cycles).multipliers
        assert row.measured_interval_cycles == row.interval_cycles
        assert row.measured_latency_cycles == row.latency_cycles
        assert (row.rings_full, row.rings_over, row.stalled_cycles) == (row.rings, 0, 0)
    assert [row.unshared_multipliers for row in rows[:2]] == [6_112_128, 2_734_080]
    assert rates_table("goal", rows).notes[-1].endswith(": 0; cycles in which a layer waited for room: 0")


def test_small_images_have_fewer_rates() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    b.add(b.conv(4, (3, 3)), b.add(Input(), shape=Shape(4, 4, 2)))
    assert [row.interval_cycles for row in rates(b.graph())] == [1, 4, 16, 64, 256]


def test_what_does_not_stream_is_refused() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    b.add(Input(), shape=Shape(4, 4, 2))
    for refused in (rates, on_chips):
        with pytest.raises(Unsupported, match="must have a layer"):
            refused(b.graph())
