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
from rillet.runtime.emulator.on_qemu import find_qemu
from rillet.runtime.verify import first_difference

OBJECTIVES = ("memory", "time")
CORES = {CoreKernels.DSP: "cortex-m4", CoreKernels.ARMV6M: "cortex-m0plus", CoreKernels.HELIUM: "cortex-m55"}
WITH_QEMU = pytest.param(
    CoreKernels.HELIUM, marks=pytest.mark.skipif(find_qemu() is None, reason="apt install qemu-system-arm")
)
EACH_CORE = pytest.mark.parametrize("core", [CoreKernels.DSP, CoreKernels.ARMV6M, WITH_QEMU])


def check(plan: RowPlan, images: list[Array]) -> None:
    """The outputs are the reference's: bytes to the bit, float values within what float32 may round."""
    assert plan.core is not None
    made, names = emulator.run(plan, CORES[plan.core], images), plan.graph.outputs
    for image, outputs in zip(images, made.outputs, strict=True):
        wanted = reference.outputs(plan.graph, image)
        expected = dict(zip(names, wanted, strict=True))
        got = {name: out.reshape(want.shape) for name, out, want in zip(names, outputs, wanted, strict=True)}
        assert first_difference(plan.graph, expected, got, 0, "c") is None


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


@EACH_CORE
@settings(max_examples=20, deadline=None)
@given(data=st.data(), objective=st.sampled_from(OBJECTIVES))
def test_random_networks(data: st.DataObject, objective: str, core: CoreKernels) -> None:
    graph = data.draw(st.one_of(separable(), graphs()))
    try:
        plan = plan_core(graph, core, objective=objective, resident=data.draw(st.booleans()))
    except Unsupported:
        return
    check(plan, [random_image(graph, seed) for seed in (0, 1)])
