"""Products in bfloat16: each layer gives what its rounded inputs give, to the bit where its order is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rillet
from conftest import example_counts
from graphs import Builder, random_image
from rillet.api import checks
from rillet.arithmetic import bf16
from rillet.backends.c.flags import MACHINE_FLAGS
from rillet.bench.peers import PEERS
from rillet.bench.peers.files import Request, precision_of, prepare
from rillet.bench.rounds import forms
from rillet.errors import GraphError, RilletWarning, TargetError, Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import Conv, Input, Window
from rillet.ir.types import DType, Shape
from rillet.plan.host.planner import plan_host
from rillet.plan.host.tilings import has_pairs, no_pairs
from rillet.plan.options import PlanOptions
from rillet.runtime.agreement import Agreement
from rillet.runtime.run import Program, build
from rillet.runtime.verify import verify
from rillet.targets import host
from rillet.targets.host import Host, this_host
from test_c import QUIET
from test_host import everything_is_shared, layers  # noqa: F401  a fixture

HERE = pytest.mark.skipif(not has_pairs(this_host()), reason="this processor has no products of bfloat16")
ABLE = Host("able", "avx512", extras=("avx512_bf16",))
PAIRS_HERE = pytest.mark.skipif(bool(host.lacking(ABLE)), reason="this processor has no vdpbf16ps")


def test_the_nearest_are_found_and_ties_go_to_even() -> None:
    """Each exact value, and what lies half way and a little beside between it and the next."""
    whole = np.arange(0x0080, 0x7F80, dtype=np.uint32)
    for less, found in ((-1, whole), (0, whole + (whole & 1)), (1, whole + 1)):
        values = ((whole << 16) + np.uint32(0x8000) + np.uint32(less & 0xFFFFFFFF)).view(np.float32)
        assert np.array_equal(bf16.bits(values), found)
        assert np.array_equal(bf16.bits(-values), found | 0x8000)
    assert np.array_equal(bf16.bits((whole << 16).view(np.float32)), whole)


def test_what_is_no_number_stays_so_and_the_smallest_are_zero() -> None:
    given_ = np.array([np.inf, -np.inf, np.nan, 1e-39, -1e-39, 3.4e38, 0.0], np.float32)
    made = bf16.rounded(given_)
    assert np.array_equal(made[[0, 1, 3, 4, 5, 6]], np.array([np.inf, -np.inf, 0, 0, np.inf, 0], np.float32))
    assert np.isnan(made[2])
    assert np.signbit(made[4])
    assert np.isnan(bf16.rounded(np.array([0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32))).all()


def test_the_unit_is_what_is_lost_at_most() -> None:
    values = np.random.default_rng(0).uniform(1, 2, 100_000).astype(np.float32)
    lost = np.abs(bf16.rounded(values) - values) / values
    assert 0.9 * bf16.UNIT < lost.max() <= bf16.UNIT


def layer(kernel: tuple[int, int], channels: int, out: int, seed: int = 0, width: int = 11) -> Graph:
    b = Builder(np.random.default_rng(seed), DType.F32)
    b.add(Conv(out, Window(kernel), weights=DType.F32), b.add(Input(), shape=Shape(6, width, channels)))
    return b.graph()


def chained(graph: Graph, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Bias first; of each pair, row by row of the window, the odd one's product is added first, fused."""
    node = graph.nodes[-1]
    assert isinstance(node.op, Conv)
    weight = bf16.rounded(graph.param(node, "weight")).astype(np.float64)
    read = bf16.rounded(image).astype(np.float64)
    (high, wide), shape = node.op.window.kernel, node.shape
    sums = np.zeros(shape.array, np.float32) + graph.param(node, "bias").astype(np.float32)
    for row in range(high):
        run = [(column, channel) for column in range(wide) for channel in range(read.shape[2])]
        run += [(-1, -1)] * (len(run) % 2)
        for at in range(0, len(run), 2):
            for column, channel in (run[at + 1], run[at]):
                if column < 0:
                    continue
                seen = read[row : row + shape.height, column : column + shape.width, channel]
                # Products have 16 bits, so float64 holds the sum exactly, but for those that do not matter to float32.
                sums = (sums + seen[..., None] * weight[:, row, column, channel]).astype(np.float32)
    return sums


LAYERS = pytest.mark.parametrize(
    ("kernel", "channels", "out"), [((1, 1), 24, 40), ((1, 1), 7, 130), ((3, 3), 3, 33), ((2, 5), 16, 16)]
)


@PAIRS_HERE
@LAYERS
def test_sums_are_the_documented_ones_to_the_bit(kernel: tuple[int, int], channels: int, out: int) -> None:
    graph = layer(kernel, channels, out)
    made = plan_host(graph, ABLE, bf16=True)
    assert made.bf16_nodes == {graph.nodes[-1].name}
    image = random_image(graph)
    assert np.array_equal(Program(made).run(image)[0].reshape(graph.nodes[-1].shape.array), chained(graph, image))


def by_blocks(graph: Graph, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """As a matrix unit sums: of each row of the window 32 values at a time, the even ones and the odd ones apart, each
    product fused; then both together, then what was there.
    """
    node = graph.nodes[-1]
    assert isinstance(node.op, Conv)
    weight = bf16.rounded(graph.param(node, "weight")).astype(np.float64)
    read = bf16.rounded(image).astype(np.float64)
    (high, wide), shape = node.op.window.kernel, node.shape
    sums = np.zeros(shape.array, np.float32) + graph.param(node, "bias").astype(np.float32)
    for row in range(high):
        run = [(column, channel) for column in range(wide) for channel in range(read.shape[2])]
        for first in range(0, len(run), 32):
            parts = [np.zeros(shape.array, np.float32), np.zeros(shape.array, np.float32)]
            for at, (column, channel) in enumerate(run[first : first + 32]):
                seen = read[row : row + shape.height, column : column + shape.width, channel]
                product = seen[..., None] * weight[:, row, column, channel]
                parts[at % 2] = (parts[at % 2] + product).astype(np.float32)
            sums = sums + (parts[0] + parts[1])
    return sums


MATRIX = Host("unit", "amx")


@pytest.mark.parametrize("simulated", [False, True])
@LAYERS
def test_a_matrix_unit_sums_as_documented_to_the_bit(
    kernel: tuple[int, int], channels: int, out: int, simulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host.lacking(replace(ABLE, kernels="avx512") if simulated else MATRIX):
        pytest.skip("this processor has no AMX, or cannot round to bfloat16")
    if simulated:
        flags = [flag for flag in MACHINE_FLAGS["amx"] if not flag.startswith("-mamx")]
        monkeypatch.setitem(MACHINE_FLAGS, "amx", (*flags, "-DRILLET_MATRIX_SIMULATED"))
    graph = layer(kernel, channels, out, width=23)
    made = plan_host(graph, MATRIX, bf16=True)
    assert made.bf16_nodes == {graph.nodes[-1].name}
    assert made.has_matrices
    image = random_image(graph)
    assert np.array_equal(Program(made).run(image)[0].reshape(graph.nodes[-1].shape.array), by_blocks(graph, image))


def test_pieces_that_are_less_than_the_unit_has_rows_stay_float32() -> None:
    graph = layer((1, 1), 24, 40, width=5)
    assert not plan_host(graph, MATRIX, resident=False, bf16=True).bf16_nodes


@HERE
@pytest.mark.usefixtures("everything_is_shared")
@example_counts(3, 40)
def test_odd_layers_are_within_their_bound(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(layers().filter(lambda g: g.nodes[0].type.quant is None), st.booleans(), st.integers(1, 3))
    def run(graph: Graph, resident: bool, threads: int) -> None:
        plan = plan_host(graph, this_host(), resident=resident, threads=threads, bf16=True)
        assert verify(plan, 2).first_difference is None
        assert Program(plan).touched_bytes(random_image(graph)) <= plan.arena_bytes

    run()


@HERE
def test_an_error_of_float32_alone_would_be_noticed() -> None:
    """The bound is that of float32 sums of rounded values: values that are not rounded lie far outside."""
    graph = layer((3, 3), 32, 32, width=23)
    plan, image = plan_host(graph, this_host(), bf16=True), random_image(graph)
    found = verify(plan, 1)
    assert found.equal
    assert found.bf16_error is not None and 1e-4 < found.bf16_error < 1e-2
    exact = Program(plan_host(graph, this_host())).run(image)[0]
    seen = {graph.nodes[-1].name: exact}
    assert Agreement(graph, bf16=plan.bf16_nodes).compare(image, seen) is not None
    assert Agreement(graph).compare(image, seen) is None


def test_the_program_is_made_for_a_processor_that_can() -> None:
    """Compiled wherever there is a compiler for it, and not run."""
    if this_host().kernels not in ("amx", "avx512", "avxvnni", "avx2"):
        pytest.skip("this is no x86-64")
    plan = plan_host(layer((3, 3), 16, 16), ABLE, bf16=True)
    assert len(plan.bf16_nodes) == 1
    assert build(plan).library.exists()


def test_where_a_processor_cannot_float32_is_taken_and_said() -> None:
    graph, lacking = layer((3, 3), 16, 16), replace(ABLE, name="lacking", extras=())
    assert not plan_host(graph, lacking, bf16=True).bf16_nodes
    (said,) = PlanOptions(target=lacking, precision="bf16").doubts
    assert said == no_pairs(lacking)
    assert "lacking has no products of bfloat16" in said
    assert PlanOptions(target=ABLE, precision="bf16").doubts == ()
    assert PlanOptions(target=lacking).doubts == ()


def test_python_warns_of_what_the_command_says() -> None:
    lacking = replace(ABLE, name="lacking", extras=())
    with pytest.warns(RilletWarning, match="lacking has no products of bfloat16"):
        rillet.plan(layer((3, 3), 16, 16), target=lacking, precision="bf16")


def test_more_threads_than_cores_are_said() -> None:
    """Of a machine whose cores are known; of a kernel set alone they are not."""
    known = replace(this_host(), name="two", cores=2)
    (said,) = PlanOptions(target=known, threads=4).doubts
    assert said == "--threads 4: two has 2 cores, so threads wait for one another"
    assert PlanOptions(target=known, threads=2).doubts == ()
    assert PlanOptions(target=ABLE, threads=64).doubts == ()


def test_what_cannot_be_so_is_refused() -> None:
    b = Builder(np.random.default_rng(0), DType.I8)
    b.add(b.conv(20), b.add(Input(), shape=Shape(3, 5, 7)))
    with pytest.raises(TargetError, match="must be given for a network of float32, got one of integers"):
        plan_host(b.graph(), ABLE, bf16=True)
    with pytest.raises(TargetError, match="--precision must be f32 or bf16, got 'int8': rillet quantize"):
        PlanOptions(target=ABLE, precision="int8")
    with pytest.raises(TargetError, match="--precision must come with --target host"):
        PlanOptions(precision="bf16")


def test_a_bench_takes_the_network_in_float32_and_openvino_alone_beside_it(tmp_path: Path) -> None:
    graph = layer((3, 3), 16, 16)
    (form,) = forms(graph, ("bf16",)).values()
    assert form == graph
    request = Request(graph, 1, tmp_path, bf16=True)
    assert request.precision == "bf16"
    assert precision_of(request.graph) == "f32"
    assert "bf16" in PEERS["openvino"].precisions
    with pytest.raises(Unsupported, match="precision must be f32 or int8 here, got bf16"):
        prepare("litert", request)
    with pytest.raises(GraphError, match="--precision must be of f32, bf16, int8, got 'f16'"):
        forms(graph, ("f16",))


def test_a_program_for_instructions_that_are_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan_host(layer((3, 3), 16, 16), ABLE, bf16=True)
    monkeypatch.setattr(checks, "lacking", lambda _: ("avx512_bf16",))
    for run in (rillet.compile, rillet.verify):
        with pytest.raises(TargetError, match="got avx512 kernels: this processor has no avx512_bf16"):
            run(made)


def test_what_a_processor_lacks_is_read_from_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = frozenset(("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"))
    monkeypatch.setattr(host, "_cpu", lambda _: (flags, ""))
    assert host.lacking(ABLE) == ("avx512_bf16",)
    assert host.lacking(Host("vnni", "avxvnni")) == ("avx_vnni",)
    assert host.lacking(Host("wide", "avx512")) == host.lacking(Host("plain", "portable")) == ()
    monkeypatch.setattr(host, "_cpu", lambda _: (frozenset(), ""))
    assert host.lacking(ABLE) == ()
