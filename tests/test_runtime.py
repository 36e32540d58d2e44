"""Builds are cached and atomic; a wrong program is found, named and placed."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import rillet.runtime.verify as verification
from graphs import Builder, random_image
from rillet.backends import reference
from rillet.backends.c import data
from rillet.backends.c import emit as c
from rillet.backends.c.emit import emit, sources
from rillet.backends.c.flags import machine_flags
from rillet.errors import BuildError, Unsupported
from rillet.ir.ops import Input
from rillet.ir.types import DType, Shape
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.planner import plan_rows
from rillet.runtime import oracles
from rillet.runtime.run import Built, Program
from rillet.runtime.verify import verify
from rillet.system import build, cache
from rillet.targets.host import this_host
from test_plan import residual


def test_builds_are_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path))
    files = c.emit(plan_rows(residual(6, 6, 2)))
    first = build.build_library(files)
    stamp = first.stat().st_mtime_ns
    assert build.build_library(files) == first
    assert first.stat().st_mtime_ns == stamp
    assert build.build_library({**files, "net.c": files["net.c"] + "\n"}) != first
    kernels = {**files, "kernels/arithmetic.h": files["kernels/arithmetic.h"] + "\n"}
    assert build.build_library(kernels) != first
    assert build.build_library(files, flags=("-O1",)) != first
    assert {p.name for p in tmp_path.iterdir()} == {"building", "objects", "programs"}


@pytest.mark.parametrize("target", ["portable", "host", "host:threads=2"])
def test_a_program_in_pieces_is_the_same_program(target: str) -> None:
    """Stages in several files, constants as bytes: what is compiled here has the outputs of what is emitted."""
    graph = residual(6, 6, 2)
    host, threads = (this_host(), 2 if target.endswith("2") else 1) if target != "portable" else (None, 1)
    plan = plan_rows(graph) if host is None else plan_host(graph, host, threads=threads)
    whole = emit(plan)
    library = build.build_library(whole, machine_flags(plan))
    image = random_image(graph)
    expected = reference.outputs(graph, image)[0]
    for count in (1, 3):
        made = sources(plan, count)
        assert sum(name.startswith("net") and name.endswith(".c") for name in made.files) == count
        assert "net_weights.c" not in made.files and made.data
        pieces = build.build_library(made.files, machine_flags(plan), (), made.data)
        assert pieces != library
        for one in (library, pieces):
            built = Built(one, graph, plan.arena_bytes, threads, host is not None)
            assert np.array_equal(Program(built).run(image)[0], expected)


def test_other_constants_make_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that an assembler includes count, not only the text that names them."""
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path))
    made = sources(plan_rows(residual(6, 6, 2)))
    pieces = made.data["net_weights.bin"]
    first = build.build_library(made.files, data={"net_weights.bin": [*pieces]})
    assert build.build_library(made.files, data={"net_weights.bin": [*pieces]}) == first
    other = [bytearray(piece) for piece in pieces]
    other[0][0] ^= 1
    assert build.build_library(made.files, data={"net_weights.bin": [memoryview(piece) for piece in other]}) != first


def test_weights_are_neither_widened_nor_kept_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of 8 MB: emission makes one copy of it, in the order of the kernels, and building lets that go."""
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path))
    b = Builder(np.random.default_rng(0), DType.I8)
    b.add(b.conv(512), b.add(Input(), shape=Shape(1, 1, 16384)))
    plan = plan_host(b.graph(), this_host())
    tracemalloc.start()
    try:
        made = sources(plan)
        most, weights = tracemalloc.get_traced_memory()[1], 512 * 16384
        assert weights < most < 2.5 * weights
        build.build_library(made.files, machine_flags(plan), data=made.data)
        assert tracemalloc.get_traced_memory()[0] < weights / 2
    finally:
        tracemalloc.stop()


def test_arrays_however_they_lie() -> None:
    """Those that may not be written, that are not contiguous, and those given back: each call makes new ones."""
    graph = residual(6, 6, 2)
    program, image = Program(plan_rows(graph)), random_image(graph)
    expected = reference.outputs(graph, image)[0]
    wide = np.repeat(image, 2, axis=1)
    still = image.copy()
    still.setflags(write=False)
    made = [program.run(given)[0] for given in (image, still, wide[:, ::2], np.asfortranarray(image))]
    assert all(np.array_equal(one, expected) for one in made)
    made[0][...] = 0
    assert np.array_equal(made[1], expected)


def test_the_compiler_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("gcc", "cc", "clang"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
        assert build.find_compiler() == (str(tmp_path / name),)
    assert build.find_compiler(portable=True) == (str(tmp_path / "cc"),)


def test_the_compilers_first_error_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path))
    files = c.emit(plan_rows(residual(6, 6, 2)))
    with pytest.raises(BuildError, match=r"net\.c:1:\d+: error"):
        build.build_library({**files, "net.c": "nonsense;\n" + files["net.c"]})
    assert [place.name for place in (tmp_path / "building").iterdir()] == [cache.MARKER]


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BuildError, match="a C compiler must be on this machine, got none"):
        build.find_compiler()


def test_the_wheel_serves_where_the_system_has_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ziglang")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path))
    assert build.find_compiler()[1:] == ("-m", "ziglang", "cc")
    result = verify(plan_rows(residual(6, 6, 2)), 2)
    assert result.equal


def test_verify_finds_and_places_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_rows(residual(6, 6, 2))
    real = data.conv_arrays

    def wrong(graph, stage):
        arrays = real(graph, stage)
        if stage.node == "n2":
            arrays["bias"] = arrays["bias"] + 4000
        return arrays

    monkeypatch.setattr(data, "conv_arrays", wrong)
    result = verify(plan, 3)
    assert not result.equal
    assert result.inputs == 1
    found = result.first_difference
    assert found is not None
    assert (found.node, found.backend) == ("n2", "c")
    assert str(found).startswith("n2, row 0, column 0, channel 0: reference")


def test_verify_compares_an_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_rows(residual(6, 6, 2))
    truth = verification.reference.run(plan.graph, random_image(plan.graph))
    lying = {**truth, "n1": truth["n1"] + (truth["n1"] < 0)}
    monkeypatch.setattr(verification, "require", lambda _: None)
    monkeypatch.setattr(verification, "_oracle", lambda *_: verification._Oracle("litert", lambda _: lying))
    monkeypatch.setattr(verification, "random_given", lambda graph, count: [random_image(graph)] * count)
    found = verify(plan, 1, against="litert").first_difference
    assert found is not None
    assert (found.node, found.backend) == ("n1", "litert")


def test_too_small_a_plan_is_noticed() -> None:
    """Measurement is independent of the plan: a plan that states too few bytes is caught."""
    plan = plan_rows(residual(12, 12, 3))
    ring = plan.buffers["n1"]
    moved = replace(ring, offset=plan.arena_bytes)
    grown = replace(plan, buffers={**plan.buffers, "n1": moved})
    assert Program(grown).touched_bytes(random_image(plan.graph)) == plan.arena_bytes + ring.bytes


def test_oracles_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracles, "installed", lambda _: False)
    with pytest.raises(Unsupported, match="pip install ai-edge-litert"):
        oracles.require("litert")
