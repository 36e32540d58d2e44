"""The C backend: the reference's bytes in every form, within exactly the planned bytes, clean under sanitizers."""

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image

from conftest import NETWORKS, example_counts, mostly_slow, shared_file
from graphs import ROUNDINGS, Builder, graphs, random_image
from rillet import __version__
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.backends.c.flags import build_line, machine_flags
from rillet.importers.tflite import load
from rillet.ir.graph import Graph
from rillet.ir.ops import Input, Pool, PoolKind, Rounding, Window
from rillet.ir.types import DType, Shape
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.runtime.run import Program, shortened
from rillet.runtime.verify import first_difference
from rillet.system import build
from rillet.system.build import build_program

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # no shrinking: every step would compile
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": PHASES}
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
AS_WRITTEN = ("-O0", "-w")
"""Without warnings: gcc has them of branches that it would else have removed. Those of -O1 and -O3 are errors."""


PLANS: dict[str, Callable[[Graph], RowPlan]] = {
    "layerwise": plan_layerwise,
    "pushed": plan_rows,
    "resident": lambda graph: plan_rows(graph, resident=True),
    "time": lambda graph: plan_rows(graph, objective="time"),
}


def plans(graph: Graph) -> list[RowPlan]:
    return [plan(graph) for plan in PLANS.values()]


def run_sanitized(plan: RowPlan, image: np.ndarray, folder: Path, *, whole: bool = False) -> bytes:
    """The output of the program, under address and undefined-behaviour sanitizers, with its own main.c, which pushes
    rows, or of the `whole` image in memory.

    At -O0: what the optimiser has removed cannot be seen to be wrong, and it compiles in a third of the time.
    """
    sources = emit(plan)
    if whole:
        sources["main.c"] = (Path(__file__).parent / "whole.c").read_text()
    program = build_program(sources, (*machine_flags(plan), *SANITIZE, *AS_WRITTEN))
    (folder / "image.raw").write_bytes(image.tobytes())
    done = subprocess.run(
        [program, folder / "image.raw", folder / "out.raw"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return (folder / "out.raw").read_bytes()


def check_outputs(graph: Graph, plan: RowPlan, images: list[np.ndarray]) -> Program:
    """The program's outputs are the reference's, whole and pushed row by row."""
    program, names = Program(plan), tuple(dict.fromkeys(graph.outputs))
    for image in images:
        expected = dict(zip(names, reference.outputs(graph, image), strict=True))
        for outputs in (program.run(image), program.push(image)):
            got = dict(zip(names, outputs, strict=True))
            assert first_difference(graph, expected, got, 0, "c") is None
    return program


@example_counts(4, 40)
def test_random_networks_give_the_references_values(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(graphs(more=True))
    def run(graph: Graph) -> None:
        images = [random_image(graph, seed) for seed in range(2)]
        for plan in plans(graph):
            program = check_outputs(graph, plan, images)
            assert program.touched_bytes(images[0]) == plan.arena_bytes

    run()


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
def test_depthwise_convolutions_round_as_they_say(dtype: DType, rounding: Rounding) -> None:
    b = Builder(np.random.default_rng(1), dtype)
    b.add(b.conv(8, (3, 3), groups=8, rounding=rounding), b.add(Input(), shape=Shape(16, 16, 8)))
    graph = b.graph()
    check_outputs(graph, plan_rows(graph), [random_image(graph, seed) for seed in range(4)])


@example_counts(2, 20)
def test_random_networks_are_clean_under_sanitizers(tmp_path: Path, examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(graphs(more=True))
    def run(graph: Graph) -> None:
        image = random_image(graph)
        expected, out = reference.outputs(graph, image)[0], graph.by_name[graph.outputs[0]]
        for plan in (plan_rows(graph), plan_rows(graph, resident=True, objective="time")):
            got = np.frombuffer(run_sanitized(plan, image, tmp_path), out.type.dtype.numpy).reshape(expected.shape)
            assert first_difference(graph, {out.name: expected}, {out.name: got}, 0, "c") is None

    run()


@cache
def published(name: str) -> tuple[Graph, list[tuple[np.ndarray, np.ndarray]]]:
    """A published network, and what the reference makes of three images: the same for every plan."""
    graph = load(shared_file(NETWORKS[name]))
    images = [random_image(graph, seed) for seed in range(3)]
    return graph, [(image, reference.outputs(graph, image)[0]) for image in images]


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("name", mostly_slow(["vww", "resnet", "person"], "vww"))
def test_published_networks_give_the_references_bytes(name: str, kind: str) -> None:
    graph, cases = published(name)
    plan = PLANS[kind](graph)
    program = Program(plan)
    for image, expected in cases:
        assert np.array_equal(program.run(image)[0], expected)
        assert np.array_equal(program.push(image)[0], expected)
    assert program.touched_bytes(cases[0][0]) == plan.arena_bytes


@pytest.mark.slow
def test_mobilenet_v2_gives_the_references_bytes_within_the_planned_bytes() -> None:
    graph = load(shared_file(NETWORKS["mobilenet_v2"]))
    plan = plan_rows(graph)
    program, image = Program(plan), random_image(graph)
    assert np.array_equal(program.push(image)[0], reference.outputs(graph, image)[0])
    assert program.touched_bytes(image) == plan.arena_bytes


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANS)
def test_published_networks_are_clean_under_sanitizers(network: Path, kind: str, tmp_path: Path) -> None:
    graph = load(network)
    image = random_image(graph)
    expected = reference.outputs(graph, image)[0].tobytes()
    assert run_sanitized(PLANS[kind](graph), image, tmp_path) == expected


def check_every_ring_is_needed(graph: Graph, only: int | None = None) -> None:
    """Each ring one pixel shorter gives wrong values somewhere, on one of a few images."""
    cases = list(shortened(plan_rows(graph)))
    assert cases
    for name, plan in cases[:only]:
        program = Program(plan, trace=True)
        for seed in range(4):
            image = random_image(graph, seed)
            expected, got = reference.run(graph, image), program.trace(image)
            if any(not np.array_equal(expected[n], got[n]) for n in got):
                break
        else:
            pytest.fail(f"ring of {name} one pixel shorter changes nothing")


def test_every_ring_is_needed() -> None:
    check_every_ring_is_needed(load(shared_file(NETWORKS["resnet"])))


@pytest.mark.slow
def test_every_ring_of_every_network_is_needed(network: Path) -> None:
    check_every_ring_is_needed(load(network))


# MobileNetV2's output is compared above; its every value takes as long as the other three networks together.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n == "mobilenet_v2" else []) for n in sorted(NETWORKS)]
)
def test_trace_shows_every_value(name: str) -> None:
    graph = load(shared_file(NETWORKS[name]))
    image = random_image(graph)
    expected = reference.run(graph, image)
    for name, values in Program(plan_layerwise(graph), trace=True).trace(image).items():
        assert np.array_equal(values, expected[name]), name


def test_emitted_program_builds_with_the_printed_command(tmp_path: Path) -> None:
    b = Builder(np.random.default_rng(7))
    at = b.add(b.conv(8, (3, 3), (2, 2)), b.add(Input(), shape=Shape(12, 9, 3)))
    at = b.add(b.conv(8, (3, 3), groups=8), at)
    at = b.add(Pool(PoolKind.AVERAGE, Window((b.node(at).shape.height, b.node(at).shape.width))), at, same=True)
    graph = b.graph(b.add(b.conv(10), at))
    plan = plan_rows(graph)
    for name, text in emit(plan).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(build_line(plan), shell=True, cwd=tmp_path, check=True)
    image = random_image(graph)
    (tmp_path / "image.raw").write_bytes(image.tobytes())
    done = subprocess.run(["./net", "image.raw"], cwd=tmp_path, capture_output=True, text=True, check=True)
    best = int(reference.outputs(graph, image)[0].argmax())
    assert done.stdout.startswith(f"class {best}, stored value")
    (tmp_path / "short.raw").write_bytes(image.tobytes()[:50])
    done = subprocess.run(["./net", "short.raw"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    sized = "must have 324 bytes, the values of 12 x 9 x 3 as the net stores them, got"
    assert done.stderr == f"short.raw: {sized} 50\n"
    Image.fromarray(np.zeros((9, 12, 3), np.uint8)).save(tmp_path / "picture", "PNG")
    png = (tmp_path / "picture").read_bytes()
    # A picture is one at any size of its file.
    for data, got in ((bytes(325), "more"), (png, "a PNG picture"), (png[:80] + bytes(244), "a PNG picture")):
        (tmp_path / "other.raw").write_bytes(data)
        done = subprocess.run(["./net", "other.raw"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and done.stderr == f"other.raw: {sized} {got}\n"


def test_schedule_text(golden) -> None:
    """The whole program of one small network, so that changes of the emitted text are read."""
    from test_plan import residual

    files = emit(plan_rows(residual(6, 6, 2)))
    for end in ("c", "h"):
        golden(f"residual_net.{end}", files[f"net.{end}"].replace(f"Rillet {__version__}", "Rillet VERSION"))


def test_huge_factors_saturate_alike() -> None:
    """Found by fuzzing: at the ends of 32 bits the zero point must not wrap a result round."""
    from graphs import Builder, conv
    from rillet.ir.ops import Input
    from rillet.ir.types import Quant, Shape

    b = Builder(np.random.default_rng(3))
    at = b.add(Input(), shape=Shape(5, 5, 3))
    at = b.add(conv(4, (3, 3)), at, quant=Quant(1e-9, -128))
    graph = b.graph(b.add(conv(3), at, quant=Quant(1e-9, 100)))
    for plan in plans(graph):
        check_outputs(graph, plan, [random_image(graph, seed) for seed in range(3)])


def test_a_pool_of_the_whole_map_builds_as_users_build_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Found by fuzzing: gcc 12 at -O3 warns of what a window outside the map would read, and there is none."""
    monkeypatch.setattr(build, "FLAGS", tuple("-O3" if flag == "-O1" else flag for flag in build.FLAGS))
    b = Builder(np.random.default_rng(0))
    at = b.add(b.conv(9), b.add(Input(), shape=Shape(1, 2, 4)))
    at = b.add(Pool(PoolKind.MAX, Window((1, 2))), at, same=True)
    graph = b.graph(b.add(b.conv(5), at))
    image, plan = random_image(graph), plan_rows(graph)
    check_outputs(graph, plan, [image])
    assert run_sanitized(plan, image, tmp_path) == reference.outputs(graph, image)[0].tobytes()
