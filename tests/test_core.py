"""Kernels of microcontroller cores: bytes of the reference in an emulator, under both plans, whatever the network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import shared_file
from graphs import Builder, graphs, random_image
from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift
from rillet.arithmetic.words import rescaled, word_rounding
from rillet.backends import reference
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Activation, Input, Rounding
from rillet.ir.types import DType, Shape
from rillet.models.opening import open_model
from rillet.plan.board.planner import plan_core
from rillet.plan.rows.plan import CoreKernels, Kernel, RowPlan

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


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([Rounding.DOUBLE, Rounding.SHIFT]),
    st.integers(2**30, 2**31 - 1),
    st.integers(-8, 31),
    st.integers(-128, 127),
    st.tuples(st.integers(-(2**24), 2**24), st.integers(-(2**24), 2**24)).map(sorted),
    st.integers(0, 2**32 - 1),
)
def test_constants_that_are_said_to_be_exact_are(
    rule: Rounding, mantissa: int, right: int, zero: int, reach: list[int], seed: int
) -> None:
    """Stored values by the core's instructions and by the rule, at both ends of the sums and between."""
    ends = np.array([[reach[0]], [reach[1]]], np.int64)
    if rule is Rounding.SHIFT and right < 0:
        return
    exponent = np.array([right if rule is Rounding.SHIFT else -right], np.int64)
    factors = np.array([mantissa], np.int64), exponent
    made = word_rounding(rule, factors, zero, fp.Clamp(-128, 127), (ends[0], ends[1]))
    rng = np.random.default_rng(seed)
    sums = np.concatenate([ends, rng.integers(reach[0], reach[1] + 1, (500, 1)), ends[:1] + np.arange(3)[:, None]])
    sums = np.clip(sums, reach[0], reach[1])
    scaled = shift.rescale(sums, exponent) if rule is Rounding.SHIFT else fp.multiply_double(sums, *factors)
    wanted = np.clip(scaled + zero, -128, 127)
    seen = np.zeros_like(sums) if made.constant[0] else sums
    got = np.clip(rescaled(rule, seen, made), -128, 127)
    if made.exact[0]:
        assert np.array_equal(got, wanted)
    else:
        assert right < 1 or right > 30 or max(map(abs, reach)) * 2 + abs(zero << right) >= 2**30


def test_usual_channels_are_exact_and_sums_alone_are_not() -> None:
    """Factors of trained networks take the core's instructions; those that round once do not, unless constant."""
    sums = np.array([-40_000, 5], np.int64), np.array([50_000, 5], np.int64)
    factors = np.array([1_500_000_000, 1_500_000_000], np.int64), np.array([-9, -9], np.int64)
    made = word_rounding(Rounding.DOUBLE, factors, -128, fp.Clamp(-128, 127), sums)
    assert made.exact.tolist() == [True, True] and made.constant.tolist() == [False, True]
    once = word_rounding(Rounding.SINGLE, factors, -128, fp.Clamp(-128, 127), sums)
    assert once.exact.tolist() == [False, True]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("file", ["mlperf_tiny/vww_96_int8.tflite"])
def test_published_networks(file: str, objective: str) -> None:
    graph = open_model(str(shared_file(file))).graph
    plan = plan_core(graph, CoreKernels.DSP, objective=objective)
    kernels = {stage.kernel for segment in plan.segments for stage in segment.stages}
    assert Kernel.CORE_DENSE in kernels and Kernel.DENSE not in kernels
    assert (Kernel.CORE_PLANES in kernels) is (objective == "time")
    assert wrong_bytes(plan, [random_image(graph, 3)]) == 0
