"""From a plan to what carries it out: the one place that knows which backend each kind of plan has."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, assert_never

from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan

Plan: TypeAlias = RowPlan | PixelPlan


@dataclass(frozen=True, slots=True)
class Backend:
    """What can be done with a plan; None where its kind has no answer."""

    draw: Callable[[], str]
    """The plan as an SVG document."""
    program: RowPlan | None = None
    """What is emitted as C, compiled, called, verified and evaluated."""
    pipeline: PixelPlan | None = None
    """What is simulated cycle by cycle."""


def backend_of(plan: Plan) -> Backend:
    """What carries a plan out."""
    match plan:
        case RowPlan():
            return Backend(partial(_draw_rows, plan), program=plan)
        case PixelPlan():
            return Backend(partial(_draw_pipeline, plan), pipeline=plan)
        case _ as other:
            assert_never(other)


def _draw_rows(plan: RowPlan) -> str:
    from rillet.report import memory

    return memory.svg(plan)


def _draw_pipeline(plan: PixelPlan) -> str:
    from rillet.report import pipeline
    from rillet.simulation.pipeline import simulate

    return pipeline.svg(plan, simulate(plan, 2, bins=pipeline.BINS))
