"""Programs of several threads: the same bytes, however often they begin, stop and are forked."""

import _ctypes
import ctypes
import multiprocessing
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import rillet.plan.host.planner as planner
from conftest import NETWORKS, shared_file
from graphs import Builder, random_image
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.backends.c.flags import build_line, machine_flags
from rillet.backends.c.image import borrows_image
from rillet.backends.c.threads import marks, waits
from rillet.bench.profile import profile
from rillet.errors import TargetError
from rillet.importers.tflite import load
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Activate, Activation, Conv, Input, Pool, PoolKind, Window
from rillet.ir.types import DType, Quant, Shape
from rillet.models.opening import open_model
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import Kernel, RowPlan, Split
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Program
from rillet.runtime.verify import first_difference
from rillet.system.build import build_library, build_program
from rillet.system.library import _number, _pages
from rillet.targets.host import Host, this_host
from rillet.transforms.dequantize import dequantize
from rillet.transforms.fold import fold
from test_c import check_outputs, run_sanitized
from test_cli import failed, rillet
from test_plan import residual

needs_tiles = pytest.mark.skipif(this_host().kernels == "portable", reason="no register tiles here")
HOST = Host(this_host().kernels, this_host().kernels, l2_bytes=256 << 10)


@pytest.fixture(autouse=True)
def everything_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest tiles and networks, too."""
    monkeypatch.setattr(planner, "LEAST_SHARED_NS", 0.0)
    monkeypatch.setattr(planner, "LEAST_GAIN", -1.0)


def splits(plan: RowPlan) -> set[Split]:
    return {stage.split for segment in plan.segments for stage in segment.stages}


NETS: dict[str, Callable[[], Graph]] = {
    "vww": lambda: load(shared_file(NETWORKS["vww"])),
    "resnet": lambda: load(shared_file(NETWORKS["resnet"])),
    "float": lambda: dequantize(load(shared_file(NETWORKS["vww"]))),
    "excited": lambda: fold(open_model("mobilenet_v3_small:width=0.35,resolution=64,classes=10,seed=1").graph),
}
"""A depthwise-separable one, one with gathered windows and additions, one of float32 values, one with branches."""


SLOW = pytest.mark.slow
# Two networks on one number of threads in the fast suite, all on both in the slow one.
QUICK = {("resnet", 3), ("float", 3)}
CASES = [
    pytest.param(name, threads, marks=[] if (name, threads) in QUICK else pytest.mark.slow)
    for name in NETS
    for threads in (2, 3)
]


@pytest.mark.parametrize(("name", "threads"), CASES)
def test_the_bytes_do_not_depend_on_the_threads(name: str, threads: int) -> None:
    graph = NETS[name]()
    images = np.stack([random_image(graph, seed) for seed in range(2)])
    expected = {graph.outputs[0]: reference.outputs(graph, images[0])[0]}
    one = Program(plan_host(graph, HOST)).run_batch(images)[0]
    plan = plan_host(graph, HOST, threads=threads)
    program = Program(plan)
    assert Split.CHANNELS in splits(plan)
    assert splits(plan) & {Split.ROWS, Split.COLUMNS}
    assert np.array_equal(program.run_batch(images)[0], one)
    for image, want in zip(images, one, strict=True):
        assert np.array_equal(program.push(image)[0], want)
    got = dict.fromkeys(graph.outputs, program.run(images[0])[0])
    assert first_difference(graph, expected, got, 0, "c") is None
    assert program.touched_bytes(images[0]) == plan.arena_bytes
    program.stop()


@pytest.mark.parametrize("planned", [plan_rows, lambda graph: plan_host(graph, HOST)])
def test_images_dealt_out_to_threads_have_their_own_answers(planned: Callable[[Graph], RowPlan]) -> None:
    """Also where a share is larger than another, and where there are more threads than images."""
    graph = NETS["resnet"]()
    images = np.stack([random_image(graph, seed) for seed in range(5)])
    program = Program(planned(graph))
    wanted = np.stack([program.run(image)[0] for image in images])
    for threads in (2, 3, 9):
        assert np.array_equal(program.run_batch(images, threads)[0], wanted)


BANDS = {
    Split.COLUMNS: (Shape(5, 51, 8), 24),
    Split.ROWS: (Shape(24, 7, 8), 24),
    Split.CHANNELS: (Shape(2, 5, 64), 384),
}
"""Maps, and output channels of windows over them, that threads share in this way."""


@needs_tiles
@pytest.mark.parametrize("dtype", [DType.I8, pytest.param(DType.F32, marks=SLOW)])
@pytest.mark.parametrize("split", BANDS, ids=lambda s: s.value)
def test_each_thread_has_a_band_of_padded_rows(split: Split, dtype: DType, tmp_path: Path) -> None:
    b, (shape, channels) = Builder(np.random.default_rng(2), dtype), BANDS[split]
    at = b.add(b.conv(shape.channels), b.add(Input(), shape=shape))
    graph = b.graph(b.add(b.conv(channels, (3, 3)), at))
    plan, image = plan_host(graph, HOST, threads=3, resident=True), random_image(graph)
    stage = plan.segments[-1].stages[-1]
    assert (stage.kernel, stage.split) == (Kernel.TILES, split)
    assert stage.scratch
    expected = Program(plan_host(graph, HOST)).run(image)[0]
    assert (
        first_difference(
            graph,
            dict(zip(graph.outputs, reference.outputs(graph, image), strict=True)),
            {graph.outputs[0]: expected},
            0,
            "c",
        )
        is None
    )
    assert run_sanitized(plan, image, tmp_path) == expected.tobytes()


def test_a_thread_waits_for_the_whole_rows_that_it_copies() -> None:
    """Weights in two parts have a band even where no window looks beside its own pixel."""
    b = Builder(np.random.default_rng(4), DType.U8)
    at = b.add(b.conv(16), b.add(b.conv(16), b.add(Input(), shape=Shape(4, 40, 8))))
    graph = b.graph(at)
    plan = plan_host(graph, Host("avx512", "avx512"), threads=2, resident=True, ram_bytes=1 << 20)
    (segment,) = plan.segments
    last = segment.stages[-1]
    assert last.tiling
    assert (last.tiling.parts, last.split) == (2, Split.COLUMNS)
    assert f"wrote_{segment.stages[0].node}" in waits(plan, segment, last)


@pytest.mark.parametrize(
    ("channels", "dtype"),
    [
        (95, DType.U8),
        *(pytest.param(n, dtype, marks=SLOW) for n in (7, 95) for dtype in (DType.I8, DType.F32)),
        pytest.param(7, DType.U8, marks=SLOW),
    ],
)
def test_a_mean_of_any_channels_is_shared_by_whole_vectors(channels: int, dtype: DType, tmp_path: Path) -> None:
    """The last thread's are fewer, and the first one's none where there is one vector."""
    b, shape = Builder(np.random.default_rng(5), dtype), Shape(9, 11, channels)
    at = b.add(b.conv(channels), b.add(Input(), shape=shape))
    graph = b.graph(b.add(Pool(PoolKind.AVERAGE, Window((shape.height, shape.width))), at, same=True))
    image = random_image(graph)
    one = Program(plan_host(graph, HOST)).run(image)[0]
    expected = {graph.outputs[0]: reference.outputs(graph, image)[0]}
    assert first_difference(graph, expected, {graph.outputs[0]: one}, 0, "c") is None
    for threads in (2, 3):
        plan = plan_host(graph, HOST, threads=threads)
        assert plan.segments[-1].stages[-1].split is Split.CHANNELS
        assert run_sanitized(plan, image, tmp_path) == one.tobytes()


@pytest.mark.parametrize("weights", [DType.TERNARY, DType.BINARY])
def test_layers_of_few_bits_are_made_by_one_thread(weights: DType) -> None:
    b = Builder(np.random.default_rng(3))
    at = b.add(b.conv(24, (3, 3)), b.add(Input(), shape=Shape(9, 20, 5)))
    at = b.add(Conv(24, Window((3, 3)), weights=weights), at)
    at = b.add(Activate(Activation.SIGN), at, dtype=DType.BINARY, quant=Quant(1.0, 0))
    at = b.add(Conv(16, Window((3, 3)), weights=DType.BINARY), at)
    graph = b.graph(b.add(b.conv(24), at))
    for host in (HOST, Host("portable", "portable", l2_bytes=256 << 10)):
        plan = plan_host(graph, host, threads=3)
        few = [s for g in plan.segments for s in g.stages if s.kernel in (Kernel.LOW_BIT, Kernel.XNOR, Kernel.SIGN)]
        assert few
        assert {stage.split for stage in few} == {Split.NONE}
        assert splits(plan) - {Split.NONE}
        check_outputs(graph, plan, [random_image(graph, seed) for seed in range(2)])


@pytest.mark.parametrize(
    ("threads", "resident"),
    [(3, False), *(pytest.param(*case, marks=SLOW) for case in ((2, False), (2, True), (3, True)))],
)
def test_networks_are_clean_under_sanitizers(threads: int, resident: bool, tmp_path: Path) -> None:
    graph = load(shared_file(NETWORKS["resnet"]))
    image = random_image(graph)
    plan = plan_host(graph, HOST, threads=threads, resident=resident)
    assert run_sanitized(plan, image, tmp_path) == reference.outputs(graph, image)[0].tobytes()


@needs_tiles
@pytest.mark.parametrize("threads", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_threads_race_for_nothing(threads: int, tmp_path: Path) -> None:
    """Whole images, pushed ones and given-up ones in turn, under the thread sanitizer."""
    graph = load(shared_file(NETWORKS["vww"]))
    image, plan = random_image(graph), plan_host(graph, HOST, threads=threads)
    assert borrows_image(plan)
    sources = emit(plan) | {"main.c": (Path(__file__).parent / "turns.c").read_text()}
    program = build_program(sources, (*machine_flags(plan), "-O1", "-fsanitize=thread"))
    (tmp_path / "image.raw").write_bytes(image.tobytes())
    command = [str(program), str(tmp_path / "image.raw"), str(tmp_path / "out.raw")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unexpected memory mapping" in done.stderr:  # where addresses are drawn from too wide a range for it
        done = subprocess.run(["setarch", "-R", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.raw").read_bytes() == reference.outputs(graph, image)[0].tobytes()


@pytest.fixture
def small() -> tuple[Program, Array, Array]:
    """A program of two threads, an image, and what it makes of it."""
    graph = residual(8, 8, 4)
    image = random_image(graph)
    return Program(plan_host(graph, HOST, threads=2)), image, reference.outputs(graph, image)[0]


def test_images_may_stop_midway_and_begin_again(small: tuple[Program, Array, Array]) -> None:
    program, image, expected = small
    library, row = program._library, np.ascontiguousarray(image[0])
    context = program._contexts[0].pointer
    for rows in (0, 1, 5):
        library.net_start(context)
        for _ in range(rows):
            library.net_push_row(context, ctypes.c_void_p(row.ctypes.data))
        if rows == 5:
            program.stop()
            program.stop()
        assert np.array_equal(program.run(image)[0], expected)


def test_a_forked_process_has_threads_of_its_own(small: tuple[Program, Array, Array]) -> None:
    program, image, expected = small
    assert np.array_equal(program.run(image)[0], expected)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=lambda: answers.put(program.run(image)[0]))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert np.array_equal(answers.get(), expected)
    assert np.array_equal(program.run(image)[0], expected)


def test_a_library_with_threads_can_be_unloaded() -> None:
    graph = residual(8, 8, 4)
    plan, image = plan_host(graph, HOST, threads=3), np.ascontiguousarray(random_image(graph))
    library = ctypes.CDLL(str(build_library(emit(plan), machine_flags(plan))))
    out = np.empty(graph.by_name[graph.outputs[0]].shape.array, np.int8)
    # Memory of our own: a Context would ask the library to stop its threads when it is gone.
    context, arena = (_pages(_number(library, f"net_{what}_bytes")) for what in ("context", "arena"))
    pointer = ctypes.c_void_p(ctypes.addressof(context))
    library.net_init(pointer, ctypes.c_void_p(ctypes.addressof(arena)))
    library.net_run(pointer, ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(out.ctypes.data))
    _ctypes.dlclose(library._handle)
    assert np.array_equal(out, reference.outputs(graph, image)[0])


def test_a_trace_and_a_profile_of_threads() -> None:
    graph = residual(8, 8, 4)
    plan, image = plan_host(graph, HOST, threads=2), random_image(graph)
    expected = reference.run(graph, image)
    for name, values in Program(plan, trace=True).trace(image).items():
        assert np.array_equal(values, expected[name]), name
    found = profile(plan, runs=5)
    assert found.ceiling.threads == 2
    assert all(layer.calls for layer in found.layers)


def test_what_is_waited_for_was_set() -> None:
    """A wait for a field that no stage sets would be none at all."""
    graph = load(shared_file(NETWORKS["resnet"]))
    plan = plan_host(graph, HOST, threads=2)
    for segment in plan.segments:
        set_ = {field for stage in segment.stages for field in marks(plan, segment, stage)}
        wanted = {field for stage in segment.stages for field in waits(plan, segment, stage)}
        assert wanted <= set_


def test_only_programs_with_threads_need_pthreads() -> None:
    graph = residual(8, 8, 4)
    one, two = plan_host(graph, HOST), plan_host(graph, HOST, threads=2)
    assert "-pthread" not in build_line(one)
    assert "-pthread" in build_line(two)
    assert "kernels/threads.h" not in emit(one)
    assert "net_stop" not in emit(one)["net.h"]
    assert "net_run_batch" not in emit(plan_rows(graph))["net.h"]


def test_a_network_that_more_threads_would_hardly_help_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    host = Host("wide", "avx512")
    small, large = (
        fold(open_model(name).graph) for name in ("microbotnet:width=0.25,seed=0", "mobilenet_v2:resolution=128,seed=0")
    )
    assert plan_host(small, host, threads=2).threads == 1
    assert plan_host(large, host, threads=2).threads == 2


def test_numbers_of_threads_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="--threads must be from 1 to 64, got 0"):
        plan_host(residual(8, 8, 4), HOST, threads=0)
    assert "--threads must come with --target" in failed("verify", "microbotnet:width=0.25,seed=0", "--threads", 2)
    none = failed("verify", "microbotnet:width=0.25,seed=0", "--target", "portable", "--threads", 0)
    assert none == "--threads must be from 1 to 64, got 0"
    assert "--threads must come with --target" in failed("plan", "microbotnet:width=0.25", "--threads", 2)
    done = rillet("emit", "microbotnet:width=0.25,seed=0", "-o", tmp_path, "--target", "host", "--threads", 2)
    assert "-pthread" in done.stdout
