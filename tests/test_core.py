"""Kernels of microcontroller cores: bytes of the reference in an emulator, under both plans, whatever the network."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import NETWORKS, example_counts, mostly_slow, shared_file
from graphs import ROUNDINGS, Builder, graphs, random_image
from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift
from rillet.arithmetic.words import rescaled, word_rounding
from rillet.backends import reference
from rillet.errors import GraphError, Unsupported
from rillet.importers.tflite import load
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Activation, Add, Conv, Input, Rounding, Window
from rillet.ir.types import DType, Quant, Shape
from rillet.plan.board.cost import plan_instructions
from rillet.plan.board.kernels import finish
from rillet.plan.board.planner import plan_core
from rillet.plan.rows.plan import CoreKernels, Kernel, RowPlan

pytest.importorskip("unicorn", reason="pip install rillet[mcu]")
from rillet.runtime import emulator
from rillet.runtime.emulator.on_qemu import find_qemu
from rillet.runtime.verify import first_difference
from test_low_bit_kernels import thinned, windows

OBJECTIVES = ("memory", "time")
CORES = {CoreKernels.DSP: "cortex-m4", CoreKernels.ARMV6M: "cortex-m0plus", CoreKernels.HELIUM: "cortex-m55"}
WITH_QEMU = pytest.param(
    CoreKernels.HELIUM, marks=pytest.mark.skipif(find_qemu() is None, reason="apt install qemu-system-arm")
)
EACH_CORE = pytest.mark.parametrize("core", [CoreKernels.DSP, CoreKernels.ARMV6M, WITH_QEMU])


def check(plan: RowPlan, images: list[Array]) -> emulator.Emulation:
    """The outputs are the reference's: bytes to the bit, float values within what float32 may round."""
    assert plan.core is not None
    made, names = emulator.run(plan, CORES[plan.core], images), plan.graph.outputs
    for image, outputs in zip(images, made.outputs, strict=True):
        wanted = reference.outputs(plan.graph, image)
        expected = dict(zip(names, wanted, strict=True))
        got = {name: out.reshape(want.shape) for name, out, want in zip(names, outputs, wanted, strict=True)}
        assert first_difference(plan.graph, expected, got, 0, "c") is None
    return made


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
@example_counts(2, 40)
def test_random_networks(examples: int, core: CoreKernels) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(st.one_of(separable(), graphs()), st.sampled_from(OBJECTIVES), st.booleans())
    def run(graph: Graph, objective: str, resident: bool) -> None:
        try:
            plan = plan_core(graph, core, objective=objective, resident=resident)
        except Unsupported:
            return
        check(plan, [random_image(graph, seed) for seed in (0, 1)])

    run()


@st.composite
def low_bit(draw: st.DrawFn) -> Graph:
    """A convolution of ternary or binary weights of 8-bit values, dense or depthwise, full or nearly empty."""
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.sampled_from([DType.I8, DType.U8])))
    window, height, width = draw(windows())
    channels = draw(st.sampled_from([1, 5, 8, 33, 70, 300]))
    depthwise = draw(st.integers(0, 3)) == 0
    op = Conv(
        channels if depthwise else draw(st.integers(1, 20)),
        window,
        groups=channels if depthwise else 1,
        activation=draw(st.sampled_from([Activation.NONE, Activation.RELU])),
        bias=draw(st.booleans()),
        weights=draw(st.sampled_from([DType.TERNARY, DType.BINARY])),
        rounding=draw(st.sampled_from(ROUNDINGS)),
        levels=draw(st.sampled_from([None, DType.I8])),
    )
    shape = Shape(min(height, 8), min(width, 9), channels)
    try:
        at = b.add(op, b.add(Input(), shape=shape))
    except GraphError:
        at = b.add(replace(op, window=Window()), b.nodes[0].name)
    if draw(st.booleans()):
        b.add(b.conv(draw(st.integers(1, 9))), at)
    return thinned(b.graph(), draw(st.sampled_from([1.0, 0.5, 0.13, 0.02])))


@EACH_CORE
@example_counts(2, 60)
def test_weights_of_one_and_two_bits(examples: int, core: CoreKernels) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(low_bit(), st.sampled_from(OBJECTIVES), st.booleans())
    def run(graph: Graph, objective: str, resident: bool) -> None:
        plan = plan_core(graph, core, objective=objective, resident=resident)
        assert Kernel.LOW_BIT not in {stage.kernel for segment in plan.segments for stage in segment.stages}
        check(plan, [random_image(graph, seed) for seed in (0, 1)])

    run()


@pytest.mark.parametrize("rounding", [Rounding.DOUBLE, Rounding.SHIFT])
@pytest.mark.parametrize("core", [CoreKernels.DSP, CoreKernels.ARMV6M])
def test_lists_of_places_take_the_planned_instructions(core: CoreKernels, rounding: Rounding) -> None:
    """Runs of 255 and what is left, lists of no place and of all: counted from the text of the kernels."""
    b = Builder(np.random.default_rng(7), DType.I8)
    op = Conv(24, weights=DType.TERNARY, levels=DType.I8, rounding=rounding)
    at = b.add(op, b.add(Input(), shape=Shape(7, 9, 600)))
    b.params[f"{at}.weight"][0], b.params[f"{at}.weight"][1] = 0, 1
    graph = thinned(b.graph(), 0.13)
    for objective in OBJECTIVES:
        plan = plan_core(graph, core, objective=objective)
        assert plan.segments[0].stages[0].kernel is Kernel.CORE_LISTS
        made = check(plan, [random_image(graph)])
        assert abs(plan_instructions(plan) / made.instructions - 1) < 0.05


EXTREMES = [np.full((3, 7, 640), -128, np.int8), np.full((3, 7, 640), 127, np.int8)]


@EACH_CORE
@pytest.mark.parametrize("least", [pytest.param(-127, marks=pytest.mark.slow), -128])
@pytest.mark.parametrize("rounding", mostly_slow(Rounding, Rounding.DOUBLE))
def test_largest_sums(rounding: Rounding, least: int, core: CoreKernels) -> None:
    """Weights and values at the ends of their ranges: sums of more than 2^23, which the kernels must know."""
    b = Builder(np.random.default_rng(3), DType.I8)
    at = b.add(b.conv(5, rounding=rounding), b.add(Input(), shape=Shape(3, 7, 640)))
    b.params[f"{at}.weight"] = np.array([127, least, 127, least, 1], np.int8)[:, None, None, None] * np.ones(
        (1, 1, 1, 640), np.int8
    )
    b.params[f"{at}.weight"][2, ..., ::2] = least
    graph = b.graph()
    assert finish(graph, graph.nodes[1], core).wide == (least == -128 or core is CoreKernels.DSP)
    signs = np.where(np.arange(640) % 2 == 0, np.int8(-128), np.int8(127)) * np.ones((3, 7, 1), np.int8)
    for objective in OBJECTIVES:
        check(plan_core(graph, core, objective=objective), [*EXTREMES, signs, random_image(graph)])


@EACH_CORE
@pytest.mark.parametrize("rounding", [Rounding.DOUBLE, Rounding.SHIFT])
@pytest.mark.parametrize("stride", mostly_slow([1, 2], 1))
def test_largest_sums_of_depthwise_rows(stride: int, rounding: Rounding, core: CoreKernels) -> None:
    b = Builder(np.random.default_rng(4), DType.I8)
    at = b.add(b.conv(9, rounding=rounding), b.add(Input(), shape=Shape(8, 11, 4)))
    at = b.add(b.conv(9, (3, 3), (stride, stride), groups=9, rounding=rounding), at)
    weight = b.params[f"{at}.weight"]
    weight[:4], weight[4] = np.array([127, -127, -128, 0], np.int8)[:, None, None, None], 127
    graph = b.graph()
    plan = plan_core(graph, core, objective="time")
    assert plan.segments[0].stages[1].kernel is Kernel.CORE_PLANES
    images = [np.full((8, 11, 4), value, np.int8) for value in (-128, 127)]
    check(plan, [*images, *(random_image(graph, seed) for seed in range(3))])


@EACH_CORE
@pytest.mark.parametrize("objective", [pytest.param("memory", marks=pytest.mark.slow), "time"])
@pytest.mark.parametrize("dtype", mostly_slow([DType.I8, DType.U8], DType.I8))
def test_sums_and_differences(dtype: DType, objective: str, core: CoreKernels) -> None:
    """Of one scale and of several, and of scales so far apart that one side is shifted to nothing."""
    b = Builder(np.random.default_rng(5), dtype)
    source = b.add(Input(), shape=Shape(5, 7, 6))
    zero = b.quant(source).zero_point
    near, far = (b.add(b.conv(6), source, quant=Quant(scale, zero)) for scale in (0.05, 3.0))
    made = [b.add(Add(subtract=subtract), one, near) for subtract in (False, True) for one in (source, far)]
    made += [b.add(Add(subtract=subtract), source, near, quant=b.quant(source)) for subtract in (False, True)]
    same = b.add(b.conv(6), source, quant=b.quant(source))
    made += [b.add(Add(Activation.RELU, subtract), source, same, quant=b.quant(source)) for subtract in (False, True)]
    graph = b.graph(*made)
    check(plan_core(graph, core, objective=objective, resident=True), [random_image(graph, seed) for seed in range(3)])


@pytest.mark.slow
@EACH_CORE
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["vww", "person", "resnet"])
def test_published_networks_take_the_planned_instructions(name: str, objective: str, core: CoreKernels) -> None:
    graph = load(shared_file(NETWORKS[name]))
    plan = plan_core(graph, core, objective=objective)
    made = check(plan, [random_image(graph)])
    assert abs(plan_instructions(plan) / made.instructions - 1) < 0.05


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
