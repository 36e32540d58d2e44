"""The public face: what `import rillet` brings, records and their forms, and the sentences of wrong calls."""

import ast
import doctest
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import rillet
from conftest import shared_file
from rillet.api import drawing, networks, plans, programs
from rillet.backends import reference
from rillet.errors import GraphError, RilletError, TargetError, Unsupported
from rillet.models.specifier import demo_photo
from rillet.report import records
from rillet.targets.boards import load as board

SMALL = "mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10"
HEAVY = ("numpy", "torch", "onnx", "typer", "rich", "PIL", "rillet.api", "rillet.ir", "rillet.cli")


@pytest.fixture(scope="module")
def net() -> rillet.Graph:
    return rillet.load(SMALL)


@pytest.fixture(scope="module")
def rows(net: rillet.Graph) -> rillet.RowPlan:
    made = rillet.plan(net)
    assert isinstance(made, rillet.RowPlan)
    return made


@pytest.fixture(scope="module")
def pipeline(net: rillet.Graph) -> rillet.PixelPlan:
    made = rillet.plan(net, "zcu102")
    assert isinstance(made, rillet.PixelPlan)
    return made


def test_importing_loads_next_to_nothing() -> None:
    code = "import sys, rillet; print(len(sys.modules)); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    count, loaded = done.stdout.split("\n")[:2]
    assert not set(HEAVY) & set(loaded.split())
    assert int(count) < 120


def test_every_public_name_is_there_and_typed() -> None:
    tree = ast.parse(Path(rillet.__file__).read_text())
    typed = {
        alias.asname
        for block in tree.body
        if isinstance(block, ast.If)
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
    assert typed == set(rillet._NAMES)
    for name in rillet.__all__:
        assert getattr(rillet, name) is not None
        assert name in dir(rillet)
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = rillet.nothing  # type: ignore[attr-defined]


def test_a_function_may_have_the_name_of_a_package() -> None:
    """In whatever order they are imported."""
    for first in ("import rillet.plan.rows.planner", "import rillet.api.plans", "rillet.plan", "rillet.load"):
        code = f"import rillet; {first}; assert callable(rillet.plan); import rillet.plan.options as o; print(o.USES)"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert "mobilenet_v2" in rillet.models("mobilenet*")
    assert rillet.DEMO_MODEL in rillet.models()
    assert rillet.models("mobilenet_v2_cifar10") == (rillet.DEMO_MODEL,)


def functions() -> Iterator[Any]:
    for module in (drawing, networks, plans, programs):
        for name in rillet._NAMES:
            found = vars(module).get(name)
            if inspect.isfunction(found) and found.__module__ == module.__name__:
                yield found


def test_every_public_function_has_an_example() -> None:
    found = list(functions())
    assert {"load", "plan", "compile", "verify", "emit", "draw"} < {one.__name__ for one in found}
    for one in found:
        assert ">>> " in (one.__doc__ or ""), one.__name__


@pytest.mark.parametrize("function", list(functions()), ids=lambda one: one.__name__)
def test_the_examples_run(function: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "torch" in (function.__doc__ or "").partition("import")[2].partition("\n")[0]:
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    runner, shown = doctest.DocTestRunner(), list[str]()
    for case in doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={}):
        runner.run(case, out=shown.append)
    assert runner.tries > 0
    assert runner.failures == 0, "".join(shown)


def test_records_have_one_line_and_the_json_of_the_commands(
    net: rillet.Graph, rows: rillet.RowPlan, pipeline: rillet.PixelPlan, tmp_path: Path
) -> None:
    assert net.to_dict() == records.graph_record(net)
    assert rows.to_dict() == records.plan_record(rows)
    checked, emitted = rillet.verify(rows, inputs=1), rillet.emit(rows, tmp_path / "out")
    simulated = rillet.simulate(pipeline, 2)
    assert simulated.passed
    assert simulated.to_dict()["passed"] is True
    assert simulated.interval_cycles == pipeline.interval_cycles
    assert checked.to_dict()["equal"] is True
    for record in (net, rows, pipeline, checked, emitted, simulated):
        assert "\n" not in repr(record)
        assert len(repr(record)) < 220
        assert str(record.table()).strip()
        assert "</pre>" in record._repr_html_()
    for one in (rillet.compile(rows), simulated.measured, rillet.draw(net)):
        assert "\n" not in repr(one)
    assert "<svg" in net._repr_html_()
    assert (net._repr_svg_() or "").startswith("<svg")
    assert rows._repr_svg_() == rillet.draw(rows).text
    assert pipeline._repr_svg_() is None


def test_machines_are_records() -> None:
    for name in rillet.targets():
        machine = rillet.target(name)
        assert "\n" not in repr(machine) and len(repr(machine)) < 120
        assert machine.name in repr(machine) and machine.name in str(machine.table())
        assert machine.to_dict()["numbers"].keys() == machine.quantities.keys()
        assert all(one.source.split()[0] in machine._repr_html_() for one in machine.quantities.values())


def test_the_summary_has_every_layer_and_the_totals(net: rillet.Graph) -> None:
    text = str(net.summary())
    assert all(node.name in text for node in net.nodes)
    assert f"total MACs: {net.macs:,}" in text
    assert text == repr(net.summary())


def test_tables_show_names_and_obey_nothing(net: rillet.Graph) -> None:
    text = str(net.with_name("[bold]\x1b[31mred").table())
    assert "\x1b" not in text
    assert "[bold]" in str(rillet.plan(net.with_name("[bold]x")).table()) + "[bold]"


def test_programs_take_arrays_and_pictures(tmp_path: Path) -> None:
    net = rillet.load(rillet.DEMO_MODEL)
    program = rillet.compile(rillet.plan(net))
    photo = demo_photo()
    with Image.open(photo) as picture:
        picture.load()
    stored = networks.as_input(net, photo)
    np.save(tmp_path / "input.npy", stored)
    expected = program(stored)
    for same in (photo, str(photo), picture, np.asarray(picture), tmp_path / "input.npy"):
        assert all(np.array_equal(a, b) for a, b in zip(program(same), expected, strict=True))
    assert np.array_equal(program.run_batch([photo, stored])[0], np.stack([expected[0]] * 2))
    assert program.classify(photo, top=2)[0].label == "cat"
    reference_outputs = reference.outputs(net, stored)
    assert np.allclose(rillet.reference(net, picture)[0], reference_outputs[0])


def test_a_board_bounds_the_plan(net: rillet.Graph) -> None:
    made = rillet.plan(net, target="nano33ble")
    assert isinstance(made, rillet.RowPlan)
    assert made.host is None
    assert made.arena_bytes <= board("nano33ble").ram_bytes
    fast = rillet.plan(net, target="nano33ble", objective="time", ram="32KiB")
    assert isinstance(fast, rillet.RowPlan)
    assert made.arena_bytes < fast.arena_bytes <= 32 << 10
    need = made.arena_bytes
    with pytest.raises(TargetError, match=f"must have {need:,} bytes of RAM .*, got {need - 7:,}: 7 too few"):
        rillet.plan(net, target="nano33ble", ram=need - 7)
    with pytest.raises(TargetError, match="--ram must be at most the 262,144 bytes of .*, got 1,048,576"):
        rillet.plan(net, target="nano33ble", ram="1MiB")


def test_several_devices(net: rillet.Graph) -> None:
    made = rillet.plan(net, interval=4096, devices=2, ideal=True)
    assert isinstance(made, rillet.PixelPlan)
    assert len(made.devices) == 2
    assert len(made.to_dict()["devices"]) == 2


def test_a_project_for_cmake(rows: rillet.RowPlan, tmp_path: Path) -> None:
    made = rillet.emit(rows, tmp_path / "out", layout="cmake")
    assert "CMakeLists.txt" in made.files
    text = (tmp_path / "out" / "CMakeLists.txt").read_text()
    assert all(f in made.files for f in ("net.c", "net_weights.c", "main.c"))
    assert "add_library(net STATIC net.c net_weights.c)" in text


def test_a_picture_is_text_that_can_be_saved(net: rillet.Graph, pipeline: rillet.PixelPlan, tmp_path: Path) -> None:
    for what in (net, rillet.plan(net), pipeline):
        rillet.draw(what).save(tmp_path / "net.svg")
        assert (tmp_path / "net.svg").read_text() == rillet.draw(what).text


def test_another_runtime_is_asked_about_the_file_of_a_loaded_network() -> None:
    pytest.importorskip("ai_edge_litert")
    net = rillet.load(shared_file("mlperf_tiny/vww_96_int8.tflite"))
    found = rillet.verify(rillet.plan(net), inputs=1, against="litert")
    assert found.equal
    assert found.against == ("c", "litert")
    with pytest.raises(Unsupported, match="must be given a file as it is"):
        rillet.verify(rillet.plan(net.with_name("other")), against="litert")


def test_progress_is_told(rows: rillet.RowPlan) -> None:
    done: list[tuple[int, int]] = []
    rillet.verify(rows, inputs=2, progress=lambda made, count: done.append((made, count)))
    assert done == [(1, 2), (2, 2)]


def wrong(n: Any, p: Any) -> tuple[tuple[type[RilletError], str, Any], ...]:
    """Calls with a network and a chip's plan, and what each is told."""
    r: Any = rillet
    return (
        (GraphError, r"model must be a Graph \(rillet.load opens one\), got str 'net'", lambda: r.plan("net")),
        (GraphError, "model must be a Graph, got int 3", lambda: r.save(3, "a.rlt")),
        (GraphError, "model must be a path, got int 3", lambda: r.load(3)),
        (GraphError, "resize must be stretch or crop, got 'x'", lambda: r.load(SMALL, resize="x")),
        (Unsupported, "quantise first: rillet quantize", lambda: r.emit(p, "out")),
        (TargetError, "layout and prefix must be left out for hardware", lambda: r.emit(p, "out", layout="cmake")),
        (TargetError, "hardware must be compared with the reference alone", lambda: r.verify(p, against="litert")),
        (TargetError, "plan must be a RowPlan .*, got str 'net'", lambda: r.compile("net")),
        (TargetError, "plan must be a PixelPlan .*, got Graph", lambda: r.simulate(n)),
        (
            TargetError,
            "must be planned for a host or a board to run as C, got the chip",
            lambda: r.compile(n, "zcu102"),
        ),
        (TargetError, "target must be a machine's name, .*, got int", lambda: r.plan(n, 3)),
        (TargetError, "--ram must be a size such as", lambda: r.plan(n, ram="much")),
        (TargetError, "--ram must be a size such as", lambda: r.plan(n, ram=0)),
        (TargetError, "--clock must be a frequency", lambda: r.plan(n, "zcu102", clock="fast")),
        (TargetError, "--threads must come with --target host", lambda: r.plan(n, threads=2)),
        (GraphError, "interval must be a whole number", lambda: r.plan(n, interval=0)),
        (GraphError, "layout must be one of c, cmake", lambda: r.emit(r.plan(n), "out", layout="make")),
        (GraphError, "inputs must be a whole number", lambda: r.verify(n, inputs=0)),
        (GraphError, "input must be an array of f32 .*, got list", lambda: r.reference(n, [1])),
        (
            GraphError,
            "input must be f32 of 32x32x3, .*, got float64 of 2x2",
            lambda: r.reference(n, np.zeros((2, 2))),
        ),
        (GraphError, "must have weights to run", lambda: r.compile(r.load("microbotnet"))),
        (GraphError, "must be a classifier with labels", lambda: r.compile(n).classify(demo_photo())),
        (GraphError, "what is drawn must be a Graph", lambda: r.draw("net")),
    )


def test_wrong_calls_are_told_what_was_wanted(net: rillet.Graph, pipeline: rillet.PixelPlan) -> None:
    for error, sentence, call in wrong(net, pipeline):
        with pytest.raises(error, match=sentence):
            call()


def test_a_missing_extra_is_a_sentence() -> None:
    code = "import sys, rillet; sys.modules['torch'] = None; rillet.to_torch(rillet.load('microbotnet'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Unsupported: torch must be installed for this: pip install rillet[torch]" in done.stderr


def test_no_command_is_long() -> None:
    """A command parses words, makes one call and prints."""
    from rillet.cli import chips, streams

    for module in (chips, streams):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 40, node.name
