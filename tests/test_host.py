"""Host plans: whole rows, register tiles and bytes kept unsigned give the reference's values on all kernels here."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from hypothesis import given, settings
from hypothesis import strategies as st

import rillet.plan.host.planner as planner
import rillet.targets.host as hosts
from conftest import NETWORKS, example_counts, shared_file
from graphs import ROUNDINGS, Builder, graphs, mean, product, random_image
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.backends.c.flags import MACHINE_FLAGS
from rillet.errors import BuildError, TargetError
from rillet.importers.tflite import load
from rillet.ir.graph import Graph
from rillet.ir.ops import Activate, Activation, Add, Conv, Input, Window
from rillet.ir.types import DType, Quant, Shape
from rillet.models.opening import open_model
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import Kernel, RowPlan
from rillet.runtime.run import Program, build
from rillet.runtime.verify import first_difference
from rillet.targets.host import KERNELS, Host, extras_of, lacking, this_host
from rillet.transforms.fold import fold
from test_c import QUIET, check_outputs, run_sanitized

_VNNI = () if lacking(Host("avxvnni", "avxvnni")) else ("avxvnni",)
RUNNABLE = {
    "amx": ("portable", "avx2", *_VNNI, "avx512", "amx"),
    "avx512": ("portable", "avx2", *_VNNI, "avx512"),
    "avxvnni": ("portable", "avx2", "avxvnni"),
    "avx2": ("portable", "avx2"),
    "neon": ("portable", "neon"),
    "portable": ("portable",),
}[this_host().kernels]
"""Kernel sets that this machine can run."""


def _small(name: str) -> Host:
    """A set with small caches, and what this machine has beside it."""
    extras = tuple(word for word in extras_of(name) if not lacking(Host(name, name, extras=(word,))))
    return Host(name, name, l1_bytes=32 << 10, l2_bytes=256 << 10, extras=extras)


HOSTS = [_small(name) for name in RUNNABLE]

_LACKING = {
    "avx2": "this processor has no AVX2 with FMA",
    "avxvnni": "this processor has no AVX-VNNI; another test runs its kernels without that instruction",
    "avx512": "this processor has no AVX-512 F, BW, DQ, VL and VNNI",
    "amx": "this processor has no AMX; another test runs its kernels with the unit simulated",
    "neon": "this processor has no NEON; tests/test_neon.py emulates one",
    "wasm128": "no processor has it; tests/test_wasm.py runs it in Node",
}


def _each_host() -> Iterator[ParameterSet]:
    here = {host.name: host for host in HOSTS}
    for name in KERNELS:
        host = here.get(name, Host(name, name))
        lacks = [] if name in here else [pytest.mark.skip(reason=_LACKING[name])]
        yield pytest.param(host, id=name, marks=lacks)


EACH_HOST = pytest.mark.parametrize("host", list(_each_host()))
"""All kernel sets; those that this machine cannot run are skipped, with what it lacks."""


@st.composite
def layers(draw: st.DrawFn) -> Graph:
    """One convolution of any kind on an odd map: channels 1 to 70, widths 1 to 40, kernels 1 to 7, any padding; and
    perhaps something that takes its values in.
    """
    dtype = draw(st.sampled_from([DType.I8, DType.I8, DType.U8, DType.F32]))
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), dtype)
    kernel = (draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    top, bottom, left, right = (draw(st.integers(0, n - 1)) for n in (extent[0], extent[0], extent[1], extent[1]))
    window = Window(kernel, (draw(st.integers(1, 3)), draw(st.integers(1, 3))), (top, bottom, left, right), dilation)
    if draw(st.integers(0, 2)) == 0:
        window = Window()
    height = draw(st.integers(max(1, window.extent[0] - sum(window.padding[:2])), 14))
    width = draw(st.integers(max(1, window.extent[1] - sum(window.padding[2:])), 40))
    channels, depthwise = draw(st.integers(1, 70)), draw(st.booleans())
    op = Conv(
        channels if depthwise else draw(st.integers(1, 70)),
        window,
        groups=channels if depthwise else 1,
        activation=draw(st.sampled_from([Activation.NONE, Activation.RELU, Activation.RELU6])),
        bias=draw(st.booleans()),
        weights=dtype,
        rounding=draw(st.sampled_from(ROUNDINGS)),
    )
    made = b.add(op, b.add(Input(), shape=Shape(height, width, channels)))
    match draw(st.sampled_from(["nothing", "pointwise", "sum", "product", "excited"])):
        case "pointwise":
            b.add(b.conv(draw(st.integers(1, 40))), made)
        case "sum":
            other = b.add(b.conv(op.out_channels), made)
            b.add(Add(draw(st.sampled_from([Activation.NONE, Activation.RELU])), draw(st.booleans())), made, other)
        case "product":
            product(draw, b, made, b.add(b.conv(op.out_channels), made))
        case "excited":
            product(draw, b, made, b.add(b.conv(op.out_channels), mean(draw, b, made)))
        case _:
            pass
    return b.graph()


@pytest.fixture
def everything_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads share the smallest tiles and networks, too."""
    monkeypatch.setattr(planner, "LEAST_SHARED_NS", 0.0)
    monkeypatch.setattr(planner, "LEAST_GAIN", -1.0)


@pytest.mark.usefixtures("everything_is_shared")
@EACH_HOST
@example_counts(4, 60)
def test_odd_layers_give_the_references_values(host: Host, examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(layers(), st.booleans(), st.integers(1, 3))
    def run(graph: Graph, resident: bool, threads: int) -> None:
        plan = plan_host(graph, host, resident=resident, threads=threads)
        program = check_outputs(graph, plan, [random_image(graph, seed) for seed in range(2)])
        assert program.touched_bytes(random_image(graph)) <= plan.arena_bytes

    run()


@pytest.mark.skipif("avx2" not in RUNNABLE, reason=_LACKING["avx2"])
@pytest.mark.usefixtures("everything_is_shared")
@example_counts(3, 60)
def test_avx_vnni_but_for_its_one_instruction(examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set's kernels where the compiler may not use the dot product, as most processors that test them lack it."""
    host = Host("avxvnni", "avxvnni", l1_bytes=32 << 10, l2_bytes=256 << 10)
    b = Builder(np.random.default_rng(0), DType.I8)
    b.add(b.conv(20), b.add(Input(), shape=Shape(3, 5, 7)))
    assert build(plan_host(b.graph(), host)).library.exists()  # with the instruction, not run
    monkeypatch.setitem(MACHINE_FLAGS, "avxvnni", MACHINE_FLAGS["avx2"])

    @settings(max_examples=examples, **QUIET)
    @given(layers(), st.booleans(), st.integers(1, 3))
    def run(graph: Graph, resident: bool, threads: int) -> None:
        plan = plan_host(graph, host, resident=resident, threads=threads)
        check_outputs(graph, plan, [random_image(graph, seed) for seed in range(2)])

    run()


@pytest.mark.skipif("avx512" not in RUNNABLE, reason=_LACKING["avx512"])
@pytest.mark.usefixtures("everything_is_shared")
@example_counts(3, 60)
def test_amx_with_its_unit_simulated(examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set's kernels where the unit is C, as most processors that test them lack it."""
    host = Host("amx", "amx", l1_bytes=32 << 10, l2_bytes=256 << 10)
    assert build(plan_host(wide_layers(), host)).library.exists()  # with the unit, not run
    without = [flag for flag in MACHINE_FLAGS["amx"] if not flag.startswith("-mamx") and flag != "-mavx512bf16"]
    monkeypatch.setitem(MACHINE_FLAGS, "amx", (*without, "-DRILLET_MATRIX_SIMULATED"))
    taken = 0

    @settings(max_examples=examples, **QUIET)
    @given(layers().filter(lambda g: g.nodes[0].type.quant is not None), st.booleans(), st.integers(1, 3))
    def run(graph: Graph, resident: bool, threads: int) -> None:
        nonlocal taken
        plan = plan_host(graph, host, resident=resident, threads=threads)
        taken += plan.has_matrices
        check_outputs(graph, plan, [random_image(graph, seed) for seed in range(2)])

    run()
    assert taken or examples < 60
    plan = plan_host(wide_layers(), host)
    assert plan.has_matrices
    check_outputs(plan.graph, plan, [random_image(plan.graph)])


def wide_layers() -> Graph:
    """Windows and pixels in line, some in pieces that are no whole number of a unit's rows."""
    b = Builder(np.random.default_rng(0), DType.I8)
    first = b.add(b.conv(40, (3, 3)), b.add(Input(), shape=Shape(5, 21, 27)))
    b.add(b.conv(100), b.add(b.conv(40, (3, 3), groups=40), first))
    return b.graph()


@EACH_HOST
def test_each_host_computes_wide_layers(host: Host) -> None:
    graph = wide_layers()
    plan = plan_host(graph, host)
    assert plan.has_matrices == (host.kernels == "amx")
    check_outputs(graph, plan, [random_image(graph, seed) for seed in range(3)])


@pytest.mark.skipif("amx" not in RUNNABLE, reason=_LACKING["amx"])
def test_a_system_that_keeps_the_unit_to_itself_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program says so before its first use, which would end the process."""
    monkeypatch.setitem(MACHINE_FLAGS, "amx", (*MACHINE_FLAGS["amx"], "-DRILLET_MATRIX_COMPONENT=99"))
    with pytest.raises(BuildError, match="must give this process the registers of AMX, got a refusal"):
        Program(plan_host(wide_layers(), Host("amx", "amx")))


def test_a_refused_unit_is_not_this_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "avx2 fma avx512f avx512bw avx512dq avx512vl avx512_vnni avx512_bf16 amx_tile amx_int8 amx_bf16"
    for allowed, kernels in ((True, "amx"), (False, "avx512")):
        monkeypatch.setattr(hosts, "tiles_allowed", lambda allowed=allowed: allowed)
        monkeypatch.setattr(hosts.Path, "read_text", lambda *_, **__: f"flags : {words}\n")
        hosts.this_host.cache_clear()
        assert hosts.this_host().kernels == kernels
        assert (hosts.lacking(Host("amx", "amx")) == ()) == allowed
    hosts.this_host.cache_clear()


@EACH_HOST
@pytest.mark.parametrize("dtype", [DType.I8, DType.F32])
def test_depthwise_windows_that_see_nothing_but_padding(host: Host, dtype: DType) -> None:
    b = Builder(np.random.default_rng(0), dtype)
    window = Window((1, 1), (1, 1), (0, 0, 16, 0))
    op = Conv(4, window, groups=4, weights=dtype)
    b.add(op, b.add(Input(), shape=Shape(3, 2, 4)))
    check_outputs(b.graph(), plan_host(b.graph(), host), [random_image(b.graph())])


@pytest.mark.usefixtures("everything_is_shared")
@EACH_HOST
@example_counts(3, 30)
def test_odd_layers_are_clean_under_sanitizers(host: Host, tmp_path: Path, examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(layers(), st.integers(1, 3), st.booleans())
    def run(graph: Graph, threads: int, whole: bool) -> None:
        image, plan = random_image(graph), plan_host(graph, host, threads=threads)
        expected, out = reference.outputs(graph, image)[0], graph.by_name[graph.outputs[0]]
        made = np.frombuffer(run_sanitized(plan, image, tmp_path, whole=whole), out.type.dtype.numpy)
        got = {out.name: made.reshape(expected.shape)}
        assert first_difference(graph, {out.name: expected}, got, 0, "c") is None

    run()


@pytest.mark.usefixtures("everything_is_shared")
@EACH_HOST
@example_counts(3, 40)
def test_random_networks_give_the_references_values(host: Host, examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(graphs(), st.booleans(), st.integers(1, 3))
    def run(graph: Graph, resident: bool, threads: int) -> None:
        plan = plan_host(graph, host, resident=resident, threads=threads)
        program = check_outputs(graph, plan, [random_image(graph, seed) for seed in range(2)])
        assert program.touched_bytes(random_image(graph)) <= plan.arena_bytes

    run()


def any_factors(scale: float) -> tuple[Graph, Graph]:
    """Two networks with left shifts, sums near the ends of 32 bits, divisions by up to 2**31."""
    b = Builder(np.random.default_rng(3))
    at = b.add(Input(), shape=Shape(9, 9, 21))
    at = b.add(b.conv(21, (3, 3), groups=21), at, quant=Quant(scale, -100))
    at = b.add(b.conv(37), at, quant=Quant(0.1, 10))
    at = b.add(b.conv(5), at, quant=Quant(scale, 3))
    modest = b.graph(at)
    for name in [n for n in b.params if n.endswith("bias")]:
        b.params[name] = (b.rng.integers(-(2**31), 2**31 - 1, b.params[name].shape) * 0.98).astype(np.int32)
    return modest, b.graph(at)


@EACH_HOST
@pytest.mark.parametrize("scale", [1e-9, *(pytest.param(scale, marks=pytest.mark.slow) for scale in (1e-3, 3.0)), 3e8])
def test_factors_of_any_size_round_alike(host: Host, scale: float) -> None:
    for graph in any_factors(scale):
        check_outputs(graph, plan_host(graph, host), [random_image(graph, seed) for seed in range(3)])


def looked_up(width: int, dtype: DType) -> Graph:
    """Two functions by table, of a row of so many bytes."""
    b = Builder(np.random.default_rng(5), dtype)
    at = b.add(Activate(Activation.HARD_SWISH), b.add(Input(), shape=Shape(3, width, 1)))
    b.add(Activate(Activation.SIGMOID), at)
    return b.graph()


@EACH_HOST
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
@pytest.mark.parametrize("width", [1, 64, 143])
def test_tables_of_any_length(width: int, dtype: DType, host: Host) -> None:
    graph = looked_up(width, dtype)
    plan = plan_host(graph, host)
    assert tiled(plan) == {Kernel.LOOKUP}
    check_outputs(graph, plan, [random_image(graph, seed) for seed in range(3)])


def tiled(plan: RowPlan) -> set[Kernel]:
    return {stage.kernel for segment in plan.segments for stage in segment.stages}


@EACH_HOST
@pytest.mark.parametrize(
    "name", ["vww", *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet", "person"))]
)
def test_published_networks_give_the_references_bytes(name: str, host: Host) -> None:
    graph = load(shared_file(NETWORKS[name]))
    plan = plan_host(graph, host)
    assert (Kernel.TILES in tiled(plan)) == (host.kernels != "portable")
    program, image = Program(plan), random_image(graph)
    assert np.array_equal(program.run(image)[0], reference.outputs(graph, image)[0])
    assert program.touched_bytes(image) == plan.arena_bytes


def test_a_trace_shows_signed_values_though_they_are_kept_unsigned() -> None:
    graph, image = load(shared_file(NETWORKS["resnet"])), None
    image = random_image(graph)
    expected = reference.run(graph, image)
    for name, values in Program(plan_host(graph, HOSTS[-1]), trace=True).trace(image).items():
        assert np.array_equal(values, expected[name]), name


def test_rows_lie_in_one_piece_and_a_budget_is_kept() -> None:
    graph, host = load(shared_file(NETWORKS["vww"])), Host("wide", "avx512")
    plan = plan_host(graph, host)
    for segment in plan.segments:
        for stage in segment.stages:
            buffer, node = plan.buffers[stage.output], graph.by_name[stage.node]
            assert buffer.pixels % stage.tile_pixels == 0 or buffer.pixels == node.shape.pixels
            assert buffer.offset % 64 == 0
    tight = plan_host(graph, host, ram_bytes=plan.arena_bytes - 1)
    assert tight.arena_bytes < plan.arena_bytes
    with pytest.raises(TargetError, match="--ram must be at least"):
        plan_host(graph, host, ram_bytes=100)


@pytest.mark.slow
def test_any_budget_above_the_smallest_plan_is_kept_though_buffers_leave_gaps() -> None:
    graph, host = fold(open_model("mobilenet_v2:width=0.35,resolution=96,seed=0").graph), Host("wide", "avx512")
    least = plan_host(graph, host, slower=100.0, threads=2).arena_bytes
    fastest = plan_host(graph, host, threads=2).arena_bytes
    for budget in range(least, fastest, max(1, (fastest - least) // 4)):
        assert plan_host(graph, host, ram_bytes=budget, threads=2).arena_bytes <= budget


def test_a_host_names_its_kernels() -> None:
    assert this_host().kernels in KERNELS
    with pytest.raises(
        TargetError, match="kernels must be one of portable, avx2, avxvnni, avx512, amx, neon, wasm128, got 'sse'"
    ):
        Host("old", "sse")


def test_a_function_with_a_long_name_is_called_by_all_of_it() -> None:
    """A row of many kinds of tiles, each with its edges in its name."""
    b = Builder(np.random.default_rng(0), DType.F32)
    window = Window((2, 7), (1, 1), (0, 1, 12, 1), (1, 2))
    b.add(Conv(37, window, groups=37, weights=DType.F32), b.add(Input(), shape=Shape(9, 36, 37)))
    files = emit(plan_host(b.graph(), Host("avx2", "avx2")))
    rows = re.compile(r"rillet_f32_row_\w+")
    called, defined = (set(rows.findall(files[name])) for name in ("net.c", "kernels/tiles.h"))
    assert called == defined
    assert max(map(len, called)) > 120
