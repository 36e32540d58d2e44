"""The order in which stages are tried: steps that need no stack, and the recursion that they stand for."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import graphs
from rillet.backends.c.emit import emit
from rillet.ir.graph import Graph
from rillet.plan.rows.order import BACK, END, Order
from rillet.plan.rows.plan import RowPlan, Segment
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from test_plan import residual


def readers_of(graph: Graph, segment: Segment, name: str) -> list[str]:
    """The stages of a segment that read a value, in the order in which they are tried."""
    return [stage.node for stage in segment.stages if name in graph.by_name[stage.node].inputs]


def recursive(graph: Graph, segment: Segment, fires: dict[int, bool]) -> list[str]:
    """Which stages are tried where try number i makes a tile if `fires` says so."""
    tried: list[str] = []

    def run(name: str) -> None:
        while True:
            tried.append(name)
            if not fires.get(len(tried), False):
                return
            for reader in readers_of(graph, segment, name):
                run(reader)

    for reader in readers_of(graph, segment, segment.driver):
        run(reader)
    return tried


def stepped(order: Order, begin: int, fires: dict[int, bool]) -> list[str]:
    """The same by steps, as the emitted loop takes them."""
    tried: list[str] = []
    came: dict[int, int] = {}
    at = begin
    while at != END:
        step = order.steps[at]
        tried.append(step.stage)
        if fires.get(len(tried), False):
            if step.joint and step.idle != BACK:
                came[step.joint] = step.idle
            at = step.fired
        else:
            at = came[step.joint] if step.idle == BACK else step.idle
    return tried


def same_tries(plan: RowPlan, fires: dict[int, bool]) -> None:
    order = plan.order
    for segment, begin in zip(plan.segments, order.begins.values(), strict=True):
        assert stepped(order, begin, fires) == recursive(plan.graph, segment, fires)


@settings(deadline=None, max_examples=20)
@given(graphs(), st.lists(st.booleans(), max_size=200))
def test_steps_try_what_the_recursion_tries(graph: Graph, said: list[bool]) -> None:
    same_tries(plan_rows(graph, resident=True), dict(enumerate(said)))


@pytest.mark.parametrize("plan", [plan_rows(residual(6, 6, 3)), plan_layerwise(residual(6, 6, 3))])
@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_joints_go_back_to_where_they_came_from(plan: RowPlan, every: int) -> None:
    same_tries(plan, {i: i % every == 0 for i in range(300)})


def test_every_stage_is_a_function_of_the_table() -> None:
    plan = plan_rows(residual(6, 6, 3))
    text = emit(plan)["net.c"]
    for segment in plan.segments:
        for stage in segment.stages:
            assert len(re.findall(rf"fire_{stage.node}\(net_context", text)) == 1
            assert f"{{fire_{stage.node}," in text
