"""Sides chosen by the planner: the best of all choices by brute force where there are few, the budgets kept always."""

from itertools import combinations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from graphs import inverted
from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.plan.pipeline.entry import PixelPlan, plan_pixels
from rillet.plan.pipeline.pareto import subsets
from rillet.simulation.pipeline import simulate
from rillet.targets import chips
from rillet.zoo.registry import build


def every_choice(graph: Graph, interval: int) -> list[PixelPlan]:
    blocks = plan_pixels(graph, interval=interval, narrow=("all",)).narrow
    names = [block.expansion for block in blocks]
    return [
        plan_pixels(graph, interval=interval, narrow=chosen)
        for count in range(len(names) + 1)
        for chosen in combinations(names, count)
    ]


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(inverted(3), st.integers(1, 1500), st.integers(0, 100), st.integers(0, 100))
def test_no_choice_is_better(graph: Graph, interval: int, share: int, other_share: int) -> None:
    plans = every_choice(graph, interval)
    assume(len(plans) > 1)
    used = sorted(plan.multipliers for plan in plans)
    budget = used[0] + (used[-1] - used[0]) * share // 100
    found = plan_pixels(graph, interval=interval, multipliers=budget, narrow=("auto",))
    assert found.multipliers <= budget
    assert found.memory_bits == min(plan.memory_bits for plan in plans if plan.multipliers <= budget)
    sizes = sorted(plan.memory_bits for plan in plans)
    memory = sizes[0] + (sizes[-1] - sizes[0]) * other_share // 100
    found = plan_pixels(graph, interval=interval, memory_bits=memory, narrow=("auto",))
    assert found.memory_bits <= memory
    assert found.multipliers == min(plan.multipliers for plan in plans if plan.memory_bits <= memory)
    with pytest.raises(
        TargetError, match=rf"memory must be at least {-(-sizes[0] // 8):,} bytes.* for an interval|for this network"
    ):
        plan_pixels(graph, interval=interval, memory_bits=sizes[0] - 1, narrow=("auto",))
    assert plan_pixels(graph, interval=interval, narrow=("auto",)).memory_bits == sizes[0]


def goal() -> Graph:
    return build("mobilenet_v2", {"top": "false"})


@pytest.mark.slow
def test_a_chip_that_lacks_memory_for_the_wide_sides() -> None:
    """The ZC706 lacks 3,713 bytes even for the least rings; with bottleneck buffering it has a plan, as measured."""
    chip = chips.load("zc706")
    with pytest.raises(TargetError, match="memory must be at least"):
        plan_pixels(goal(), chip=chip)
    made = plan_pixels(goal(), chip=chip, narrow=("auto",))
    assert made.narrow and made.multipliers <= chip.multipliers and made.memory_bits <= (chip.memory_bits or 0)
    run = simulate(made, max(3, made.frames))
    assert run.passed and run.interval_cycles == made.interval_cycles == 401_408
    assert run.peaks == made.depths and not run.stalled_cycles


@pytest.mark.slow
def test_budgets_of_a_network_with_many_blocks() -> None:
    wide = plan_pixels(goal(), interval=50_176)
    last = wide
    for multipliers in (wide.multipliers, 6_300, 7_000, 9_000):
        found = plan_pixels(goal(), interval=50_176, multipliers=multipliers, narrow=("auto",))
        assert found.multipliers <= multipliers and found.memory_bits <= last.memory_bits
        last = found
        # What so much memory takes in multipliers is no more.
        again = plan_pixels(goal(), interval=50_176, memory_bits=found.memory_bits, narrow=("auto",))
        assert again.memory_bits <= found.memory_bits and again.multipliers <= found.multipliers
    assert last.buffer_values < 0.75 * wide.buffer_values
    assert len(last.narrow) < 16  # all sides narrow hold more than the best
    assert last.buffer_values < plan_pixels(goal(), interval=50_176, narrow=("all",)).buffer_values


@pytest.mark.slow
def test_budgets_that_no_choice_keeps() -> None:
    with pytest.raises(TargetError, match="multipliers must be at least 5,976 for an interval of 50,176 .* got 5,000"):
        plan_pixels(goal(), interval=50_176, multipliers=5000, narrow=("auto",))
    with pytest.raises(
        TargetError,
        match=r"memory must be at least [\d,]+ bytes .* for an interval of 50,176 .* got 2,500,000 bytes",
    ):
        plan_pixels(goal(), interval=50_176, memory_bits=8 * 2_500_000, narrow=("auto",))
    with pytest.raises(
        TargetError,
        match=r"memory must be at least [\d,]+ bytes .* for this network, .* got 1,000,000 bytes",
    ):
        plan_pixels(goal(), interval=50_176, memory_bits=8 * 1_000_000, narrow=("auto",))


def test_a_network_without_blocks() -> None:
    net = build("squeezenet1_1")
    assert plan_pixels(net, interval=50_176, narrow=("auto",)) == plan_pixels(net, interval=50_176)
    assert plan_pixels(net, multipliers=500, narrow=("auto",)) == plan_pixels(net, multipliers=500)


@given(st.lists(st.tuples(st.integers(-5, 50), st.integers(-50, 5)), max_size=8))
def test_no_subset_beats_another(options: list[tuple[int, int]]) -> None:
    every = {
        (sum(options[i][0] for i in chosen), sum(options[i][1] for i in chosen))
        for count in range(len(options) + 1)
        for chosen in combinations(range(len(options)), count)
    }
    best = {one for one in every if not any(o != one and o[0] <= one[0] and o[1] <= one[1] for o in every)}
    found = subsets(options)
    assert [point[:2] for point in found] == sorted(best)
    for first, second, bits in found:
        chosen = [option for i, option in enumerate(options) if bits >> i & 1]
        assert (first, second) == (sum(o[0] for o in chosen), sum(o[1] for o in chosen))
