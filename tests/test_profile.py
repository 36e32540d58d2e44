"""The profile: the same answers with clocks, parts that add up to the whole, and how both are shown."""

import ctypes
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from graphs import graphs, random_image
from rillet.backends.c.emit import emit
from rillet.bench.ceiling import Ceiling
from rillet.bench.machine import Machine
from rillet.bench.profile import LayerTime, Profile, fastest, moved_bytes, profile
from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.models.convert import convert
from rillet.plan.rows.planner import plan_rows
from rillet.report import profile as report
from rillet.report.tables import as_csv
from rillet.runtime.run import Program
from rillet.system.build import build_library
from rillet.system.library import Context
from rillet.transforms.dequantize import dequantize
from test_cli import failed, rillet
from test_plan import residual

MACHINE = Machine("A processor", 2, ("avx2",), {}, "Linux x86_64", "cc 12", "3.12", 0.1, "2026-01-02")
CEILING = Ceiling(1, 100.0, "AVX2 FMA", 10.0, "AVX2 VPMADDUBSW", 200.0, 20.0)


def made(graph: Graph | None = None) -> Profile:
    graph = graph or residual(6, 6, 2)
    layers = (
        LayerTime("n1", 3.0, 0.6, 36, 1296, 0.000432, 4.32e-05, 198, 6.6e-05),
        LayerTime("n2", 1.0, 0.2, 36, 1296, 0.001296, None, 198, 0.0002),
        LayerTime("n3", 0.0, 0.0, 36, 0, 0.0, 0.0, 216, 0.0),
    )
    return Profile(graph, "int8", 20, layers, 1.0, 5.1, 4.8, CEILING, MACHINE)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs())
def test_clocks_change_no_answer_and_count_every_stage(graph: Graph) -> None:
    plan = plan_rows(graph)
    library = ctypes.CDLL(str(build_library(emit(plan, profile=True))))
    outputs = [graph.by_name[name].type for name in dict.fromkeys(graph.outputs)]
    image = np.ascontiguousarray(random_image(graph))
    got = [np.empty(kind.shape.array, kind.dtype.numpy) for kind in outputs]
    context = Context(library)
    library.net_run(context.pointer, *(ctypes.c_void_p(array.ctypes.data) for array in (image, *got)))
    for want, have in zip(Program(plan).run(image), got, strict=True):
        assert np.array_equal(want, have)
    stages = sum(len(segment.stages) for segment in plan.segments)
    library.net_profile_calls.restype = ctypes.POINTER(ctypes.c_uint64)
    counts = library.net_profile_calls(context.pointer)
    assert all(counts[i] > 0 for i in range(stages))


def test_without_clocks_the_program_is_what_it_was() -> None:
    plan = plan_rows(residual(6, 6, 2))
    plain, clocked = emit(plan), emit(plan, profile=True)
    assert "profile" not in plain["net.c"]
    assert clocked.keys() - plain.keys() == {"kernels/profile.h"}
    added = [line for line in clocked["net.c"].splitlines() if line not in plain["net.c"].splitlines()]
    assert all("profile" in line or "PROFILE" in line or line.startswith("/* Ticks") for line in added)


def test_parts_add_up_to_the_whole() -> None:
    graph = residual(40, 40, 16)
    told: list[tuple[int, int]] = []
    found = profile(plan_rows(graph), 12, lambda done, total: told.append((done, total)))
    assert told == [(done, 12) for done in range(13)]
    assert [layer.name for layer in found.layers] == ["n1", "n2", "n3", "n4"]
    assert sum(layer.macs for layer in found.layers) == graph.macs
    assert all(layer.ms > 0 for layer in found.layers)
    shares = sum(layer.share for layer in found.layers) + found.between_ms / found.sum_ms
    assert shares == pytest.approx(1)
    # The clocks lie inside of the call that is timed, next to its ends.
    assert 0.5 < found.sum_ms / found.clocked_ms < 1.01
    for layer in found.layers:
        assert layer.gmacs == pytest.approx(layer.macs / layer.ms / 1e6)
        assert layer.gbytes == pytest.approx(layer.bytes / layer.ms / 1e6)


def test_the_fastest_quarter() -> None:
    assert fastest([5.0, 1.0, 4.0, 2.0, 9.0, 8.0, 7.0, 6.0]) == [1, 3]
    assert fastest([3.0]) == [0]


def test_bytes_moved_are_inputs_output_and_arrays() -> None:
    graph = residual(6, 6, 2)
    weights, bias, scales = 2 * 3 * 3 * 2, 2 * 4, 2 * 4
    assert moved_bytes(graph, graph.by_name["n1"]) == 2 * 72 + weights + bias + scales
    assert moved_bytes(graph, graph.by_name["n3"]) == 3 * 72
    real = dequantize(graph)
    assert moved_bytes(real, real.by_name["n1"]) == 4 * (2 * 72 + weights + 2)


def test_numbers_of_runs_that_make_no_sense() -> None:
    with pytest.raises(GraphError, match="--runs must be from 1 to 100000, got 0"):
        profile(plan_rows(residual(6, 6, 2)), runs=0)


def test_the_table() -> None:
    lines = as_csv(report.table(made())).splitlines()
    assert lines[1] == f"n1,conv 3x3,3.000,60.0%,{'█' * 24},1296,0.00,0.0%,0.2,0.00,36"
    assert lines[2] == f"n2,conv 3x3,1.000,20.0%,{'█' * 8},1296,0.00,,0.2,0.00,36"
    assert lines[3] == "n3,add,0.000,0.0%,,,,,0.2,0.00,36"
    assert lines[4] == "between layers,,1.000,20.0%,,,,,,,"
    assert lines[5].startswith("sum,,5.000,100.0%,,3888,")
    notes = report.table(made()).notes
    assert notes[0].startswith("whole: 4.800 ms; with clocks 5.100 ms, of which the sum is 98.0%")


def test_the_record() -> None:
    found = json.loads(json.dumps(report.record(made())))
    assert found["sum_ms"] == 5.0
    assert found["layers"][0]["name"] == "n1"
    assert found["machine"]["cpu"] == "A processor"


def test_the_picture() -> None:
    graph = residual(6, 6, 2).with_name("<net> & co")
    tree = ElementTree.fromstring(report.svg(made(graph)))
    texts = [element.text or "" for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert "<net> & co" in texts
    assert {"n1", "n2", "n3", "between layers"} <= set(texts)
    assert "3.000 · 60.0% · 0.0%" in texts
    bars = [e for e in tree.iter("{http://www.w3.org/2000/svg}rect") if e.get("x") == "214" or e.get("height") == "14"]
    widths = [float(bar.get("width") or 0) for bar in bars]
    assert widths == pytest.approx([460, 460 / 3, 0, 460 / 3], abs=0.01)


def test_a_profile_of_nothing_takes_no_time() -> None:
    still = replace(made(), layers=tuple(replace(layer, ms=0.0) for layer in made().layers))
    assert report.table(still).rows[0][4] == ""
    assert ElementTree.fromstring(report.svg(still)) is not None


def test_the_command(tmp_path: Path) -> None:
    path, picture = tmp_path / "net.rlt", tmp_path / "net.svg"
    convert(residual(8, 8, 4), path)
    done = rillet("profile", path, "--runs", 4, "--json", "-o", picture)
    assert done.returncode == 0, done.stderr
    assert [layer["name"] for layer in json.loads(done.stdout)["layers"]] == ["n1", "n2", "n3", "n4"]
    assert ElementTree.parse(picture).getroot().get("viewBox")
    real = rillet("profile", path, "--runs", 1, "--precision", "f32", "--csv")
    assert real.stdout.splitlines()[-1].startswith("sum,")
    assert "--precision must be of f32, bf16, int8, got 'f64'" in failed("profile", path, "--precision", "f64")
    assert "must have weights to run" in failed("profile", "mobilenet_v2")
