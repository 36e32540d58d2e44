"""Convolutions with weights of one and two bits in C: the reference's bytes, whatever their shape."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import example_counts
from graphs import ROUNDINGS, Builder, random_image
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.errors import Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import Activate, Activation, Conv, Input, Pool, PoolKind, Rounding, Window
from rillet.ir.types import DType, Quant, Shape
from rillet.models.opening import open_model
from rillet.plan.host import tilings
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import Kernel, Packing, RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Program
from rillet.runtime.verify import first_difference, random_inputs
from test_c import QUIET, check_outputs, run_sanitized
from test_host import EACH_HOST, HOSTS

ONE = Quant(1.0, 0)
SIGN = {"activation": Activation.SIGN}


def thinned(graph: Graph, density: float) -> Graph:
    """The graph with fewer ternary weights that are not zero."""
    rng, params = np.random.default_rng(5), dict(graph.params)
    for node in graph.nodes:
        if isinstance(node.op, Conv) and node.op.weights is DType.TERNARY:
            weight = params[f"{node.name}.weight"]
            params[f"{node.name}.weight"] = (weight * (rng.random(weight.shape) < density)).astype(np.int8)
    return Graph(graph.name, graph.nodes, graph.outputs, params)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, int, int]:
    """A window of any kind, and the height and width of a map that it fits."""
    if draw(st.integers(0, 2)) == 0:
        return Window(), draw(st.integers(1, 9)), draw(st.integers(1, 40))
    kernel = (draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    sides = tuple(draw(st.integers(0, n - 1)) for n in (extent[0], extent[0], extent[1], extent[1]))
    window = Window(kernel, (draw(st.integers(1, 3)), draw(st.integers(1, 3))), sides, dilation)
    height = draw(st.integers(max(1, extent[0] - sides[0] - sides[1]), 14))
    return window, height, draw(st.integers(max(1, extent[1] - sides[2] - sides[3]), 40))


@st.composite
def layers(draw: st.DrawFn) -> Graph:
    """One convolution of ternary or binary weights, perhaps between others."""
    dtype = draw(st.sampled_from([DType.I8, DType.I8, DType.U8, DType.F32]))
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), dtype)
    window, height, width = draw(windows())
    channels = draw(st.integers(1, 70))
    groups = draw(st.sampled_from([1, 1, channels, 2 if channels % 2 == 0 else 1]))
    levels = DType.F32 if dtype is DType.F32 else draw(st.sampled_from([None, DType.I8]))
    op = Conv(
        channels if groups > 1 else draw(st.integers(1, 70)),
        window,
        groups=groups,
        activation=draw(st.sampled_from([Activation.NONE, Activation.RELU, Activation.RELU6])),
        bias=draw(st.booleans()),
        weights=draw(st.sampled_from([DType.TERNARY, DType.BINARY])),
        rounding=draw(st.sampled_from(ROUNDINGS)),
        levels=levels,
    )
    at = b.add(op, b.add(Input(), shape=Shape(height, width, channels)))
    if draw(st.booleans()):
        b.add(b.conv(draw(st.integers(1, 40))), at)
    return thinned(b.graph(), draw(st.sampled_from([1.0, 0.13, 0.02])))


@st.composite
def binary_layers(draw: st.DrawFn) -> Graph:
    """8-bit values to signs, a binary convolution over them, and then 8 bits, signs again or sums."""
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.sampled_from([DType.I8, DType.U8])))
    window, height, width = draw(windows())
    channels = draw(st.integers(1, 70))
    at = b.add(Input(), shape=Shape(height, width, draw(st.integers(1, 20))))
    few = draw(st.sampled_from([None, DType.TERNARY, DType.BINARY]))
    if few is None:
        at = b.add(Activate(Activation.SIGN), b.add(b.conv(channels), at), dtype=DType.BINARY, quant=ONE)
    else:
        levels = draw(st.sampled_from([None, DType.I8]))
        at = b.add(Conv(channels, weights=few, levels=levels, **SIGN), at, dtype=DType.BINARY, quant=ONE)
    if draw(st.booleans()):
        at = b.add(Pool(PoolKind.MAX, Window((2, 3), (1, 1), (1, 0, 1, 1))), at, dtype=DType.BINARY, quant=ONE)
        source = b.node(at).shape
        window = window if source.height >= height and source.width >= width else Window()
    made = Conv(
        draw(st.integers(1, 70)),
        window,
        bias=draw(st.booleans()),
        weights=DType.BINARY,
        levels=draw(st.sampled_from([None, DType.I8])),
        rounding=draw(st.sampled_from(ROUNDINGS)),
    )
    match draw(st.sampled_from(["bytes", "signs", "sums"])):
        case "bytes":
            at = b.add(made, at)
            if draw(st.booleans()):
                b.add(b.conv(5), at)
        case "signs":
            b.add(Conv(made.out_channels, window, weights=DType.BINARY, **SIGN), at, dtype=DType.BINARY, quant=ONE)
        case _:
            b.add(made, at, dtype=DType.I32, quant=ONE)
    return b.graph()


ANY = st.one_of(layers(), binary_layers())


@example_counts(6, 60)
def test_layers_give_the_references_values(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(ANY, st.booleans())
    def run(graph: Graph, resident: bool) -> None:
        plan = plan_rows(graph, resident=resident)
        program = check_outputs(graph, plan, [random_image(graph, seed) for seed in range(2)])
        assert program.touched_bytes(random_image(graph)) <= plan.arena_bytes

    run()


@EACH_HOST
@example_counts(3, 30)
def test_layers_give_the_references_values_on_hosts(host, examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(ANY)
    def run(graph: Graph) -> None:
        check_outputs(graph, plan_host(graph, host), [random_image(graph, seed) for seed in range(2)])

    run()


@example_counts(3, 40)
def test_layers_are_clean_under_sanitizers(tmp_path: Path, examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(ANY, st.sampled_from([None, *HOSTS]))
    def run(graph: Graph, host) -> None:
        image, out = random_image(graph), graph.by_name[graph.outputs[0]]
        expected = reference.outputs(graph, image)[0]
        made = run_sanitized(plan_rows(graph) if host is None else plan_host(graph, host), image, tmp_path)
        got = np.frombuffer(made, np.uint8 if out.type.dtype is DType.BINARY else out.type.dtype.numpy)
        if out.type.dtype is DType.BINARY:
            bits = np.unpackbits(got.reshape(out.shape.pixels, -1), axis=1, bitorder="little")
            got = 2 * bits[:, : out.shape.channels].astype(np.int8) - 1
        assert first_difference(graph, {out.name: expected}, {out.name: got}, 0, "c") is None

    run()


needs_lists = pytest.mark.skipif(
    HOSTS[-1].kernels not in ("avx512", "amx"), reason="this machine must have AVX-512 for lists"
)


@st.composite
def sparse_layers(draw: st.DrawFn) -> Graph:
    """Ternary layers of 8-bit values, one behind another, so that tiles of several sizes meet."""
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.sampled_from([DType.I8, DType.U8])))
    window, height, width = draw(windows())
    at = b.add(Input(), shape=Shape(height, width, draw(st.integers(1, 70))))
    for one in (window, Window()):
        op = Conv(
            draw(st.integers(1, 70)),
            one,
            activation=draw(st.sampled_from([Activation.NONE, Activation.RELU6])),
            bias=draw(st.booleans()),
            weights=DType.TERNARY,
            levels=draw(st.sampled_from([None, DType.I8])),
            rounding=draw(st.sampled_from(ROUNDINGS)),
        )
        at = b.add(op, at)
    return thinned(b.graph(at), draw(st.sampled_from([0.5, 0.13, 0.0])))


@needs_lists
@example_counts(3, 40)
def test_lists_give_the_references_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, examples: int) -> None:
    monkeypatch.setattr(tilings, "LISTS_GAIN", 0.0)
    listed = 0

    @settings(max_examples=examples, **QUIET)
    @given(sparse_layers(), st.booleans())
    def run(graph: Graph, resident: bool) -> None:
        nonlocal listed
        plan = plan_host(graph, HOSTS[-1], resident=resident)
        listed += [kernel for kernel, _ in stages(plan)].count(Kernel.LISTS)
        program = check_outputs(graph, plan, [random_image(graph, seed) for seed in range(2)])
        assert program.touched_bytes(random_image(graph)) <= plan.arena_bytes

    run()
    assert listed > examples

    @settings(max_examples=examples // 2, **QUIET)
    @given(sparse_layers())
    def clean(graph: Graph) -> None:
        image = random_image(graph)
        made = np.frombuffer(
            run_sanitized(plan_host(graph, HOSTS[-1]), image, tmp_path), graph.nodes[-1].type.dtype.numpy
        )
        expected = reference.outputs(graph, image)[0]
        assert np.array_equal(made.reshape(expected.shape), expected)

    clean()


@needs_lists
def test_lists_are_taken_where_they_pay() -> None:
    def kernel(shape: Shape, channels: int, density: float) -> Kernel:
        b = Builder(np.random.default_rng(0))
        op = Conv(channels, weights=DType.TERNARY, levels=DType.I8, rounding=Rounding.SHIFT)
        graph = thinned(b.graph(b.add(op, b.add(Input(), shape=shape))), density)
        return stages(plan_host(graph, HOSTS[-1], resident=True))[0][0]

    assert kernel(Shape(14, 14, 576), 96, 0.13) is Kernel.LISTS
    assert kernel(Shape(14, 14, 576), 96, 1.0) is Kernel.TILES
    assert kernel(Shape(32, 32, 96), 16, 0.13) is Kernel.TILES
    # 16 bits do not hold the sum of a longer list.
    assert kernel(Shape(14, 14, 3000), 96, 0.2) is Kernel.TILES


def stages(plan: RowPlan) -> list[tuple[Kernel, Packing]]:
    return [(stage.kernel, stage.packing) for segment in plan.segments for stage in segment.stages]


def weight_bytes(plan: RowPlan) -> int:
    """Bytes of the emitted arrays of weights."""
    import re

    declared = re.findall(r"extern const u?int8_t net_\w+_weights\[(\d+)\];", emit(plan)["net_weights.h"])
    return sum(map(int, declared))


@pytest.mark.parametrize(
    ("density", "packing", "most"), [(0.13, Packing.LISTS, 1100), (0.5, Packing.PLANES, 64 * 96 // 4)]
)
def test_portable_programs_keep_weights_packed(density: float, packing: Packing, most: int) -> None:
    b = Builder(np.random.default_rng(0))
    at = b.add(Input(), shape=Shape(6, 5, 96))
    graph = thinned(b.graph(b.add(Conv(64, weights=DType.TERNARY, levels=DType.I8), at)), density)
    plan = plan_rows(graph)
    assert stages(plan) == [(Kernel.LOW_BIT, packing)]
    assert weight_bytes(plan) <= most
    check_outputs(graph, plan, [random_image(graph)])


def test_binary_values_take_a_bit() -> None:
    b = Builder(np.random.default_rng(0))
    at = b.add(Input(), shape=Shape(6, 5, 8))
    for _ in range(3):
        at = b.add(
            Conv(64, Window((3, 3), padding=(1, 1, 1, 1)), weights=DType.BINARY, **SIGN),
            at,
            dtype=DType.BINARY,
            quant=ONE,
        )
    graph = b.graph(b.add(Conv(4, weights=DType.BINARY), at))
    plan = plan_rows(graph)
    assert [kernel for kernel, _ in stages(plan)] == [Kernel.LOW_BIT, Kernel.XNOR, Kernel.XNOR, Kernel.XNOR]
    assert plan.buffers["n2"].pixel_bytes == 8
    expected, image = reference.run(graph, random_image(graph)), random_image(graph)
    for name, values in Program(plan, trace=True).trace(image).items():
        assert np.array_equal(values, expected[name]), name


def test_the_published_binary_network_gives_the_references_sums() -> None:
    graph = open_model("binarynet_cifar10:seed=1").graph
    image = next(iter(random_inputs(graph, 1)))
    expected = reference.outputs(graph, image)[0]
    for plan in (plan_rows(graph), plan_host(graph, HOSTS[-1])):
        assert np.array_equal(Program(plan).run(image)[0], expected)


def test_what_has_no_kernel() -> None:
    def refused(message: str, op: Conv, **more) -> None:
        b = Builder(np.random.default_rng(0))
        at = b.add(
            Conv(4, weights=DType.TERNARY, **SIGN), b.add(Input(), shape=Shape(3, 3, 4)), dtype=DType.BINARY, quant=ONE
        )
        b.add(op, at, **more)
        with pytest.raises(Unsupported, match=message):
            plan_rows(b.graph())

    refused("weights beside binary values must be binary, got ternary", Conv(3, weights=DType.TERNARY))
    refused("groups must be 1 with binary values, got 2", Conv(4, weights=DType.BINARY, groups=2))
    refused("conv must have a kernel for its types, got none for binary, i8", Conv(4, weights=DType.I8))
