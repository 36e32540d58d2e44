"""Kernels of microcontroller cores: bytes of the reference in an emulator, under both plans, whatever the network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import Builder, graphs, random_image
from rillet.backends import reference
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Activation, Input, Rounding
from rillet.ir.types import DType, Shape
from rillet.plan.board.planner import plan_core
from rillet.plan.rows.plan import CoreKernels, RowPlan

pytest.importorskip("unicorn", reason="pip install rillet[mcu]")
from rillet.runtime import emulator

OBJECTIVES = ("memory", "time")
CORES = {CoreKernels.DSP: "cortex-m4"}


def wrong_bytes(plan: RowPlan, images: list[Array]) -> int:
    assert plan.core is not None
    made = emulator.run(plan, CORES[plan.core], images)
    wrong = 0
    for image, outputs in zip(images, made.outputs, strict=True):
        for got, want in zip(outputs, reference.outputs(plan.graph, image), strict=True):
            wrong += int((got != want.ravel()).sum())
    return wrong


@st.composite
def separable(draw: st.DrawFn) -> Graph:
    """Depthwise separable blocks of 8-bit values: odd widths and channels, strides, paddings, clamps, both rules."""
    dtype = draw(st.sampled_from([DType.I8, DType.U8]))
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), dtype)
    rounding = draw(st.sampled_from([Rounding.DOUBLE, Rounding.SHIFT, Rounding.SINGLE]))
    activation = draw(st.sampled_from([Activation.NONE, Activation.RELU, Activation.RELU6]))
    at = b.add(Input(), shape=Shape(draw(st.integers(1, 9)), draw(st.integers(1, 14)), draw(st.integers(1, 9))))
    for _ in range(draw(st.integers(1, 3))):
        channels, kernel = draw(st.integers(1, 13)), draw(st.sampled_from([(1, 1), (1, 1), (3, 3), (2, 3)]))
        at = b.add(b.conv(channels, kernel, activation=activation, rounding=rounding), at)
        padding, step = tuple(draw(st.integers(0, 1)) for _ in range(4)), draw(st.integers(1, 2))
        try:
            more = {"rounding": rounding, "padding": padding, "groups": channels}
            at = b.add(b.conv(channels, (3, 3), (step, step), **more), at)
        except GraphError:
            break  # the map has become too small for the window
    return b.graph()


@settings(max_examples=20, deadline=None)
@given(st.data(), st.sampled_from(OBJECTIVES))
def test_random_networks(data: st.DataObject, objective: str) -> None:
    graph = data.draw(st.one_of(separable(), graphs()))
    try:
        plan = plan_core(graph, CoreKernels.DSP, objective=objective, resident=data.draw(st.booleans()))
    except Unsupported:
        return
    assert wrong_bytes(plan, [random_image(graph, seed) for seed in (0, 1)]) == 0
