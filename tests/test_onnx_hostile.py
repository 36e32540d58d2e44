"""Hostile ONNX files: bounded memory and time, no file read but those beside the model, nothing but clean errors."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_models import external, ints, model, node, one_conv
from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx import builder, load, parse, wire


def test_wrong_files() -> None:
    good = one_conv().SerializeToString()
    for data in (b"", b"\0" * 64, b"TFL3", good[: len(good) // 2], b"\xff" * 100, b"\x0b" * 40, good + b"\x07"):
        with pytest.raises(GraphError, match=r"x\.onnx: must be an ONNX file"):
            parse(data, "x.onnx")


def test_files_of_too_many_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FIELDS", 1000)
    with pytest.raises(GraphError, match="must have at most 1000 fields"):
        parse(
            helper.make_model(helper.make_graph([onnx.NodeProto()] * 1000, "g", [], [])).SerializeToString(), "x.onnx"
        )


def test_files_of_too_deep_messages() -> None:
    inner = helper.make_graph([], "g", [], [])
    for _ in range(12):
        inner = helper.make_graph([helper.make_node("If", [], [], then_branch=inner)], "g", [], [])
    with pytest.raises(GraphError, match="messages must be nested at most 32 deep"):
        parse(helper.make_model(inner).SerializeToString(), "x.onnx")


def test_packed_integers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_PACKED_BYTES", 100)
    made = one_conv()
    made.graph.initializer.add(name="n", data_type=TensorProto.INT64, dims=[101], int64_data=[1] * 101)
    with pytest.raises(GraphError, match="must have at most 100 bytes of packed integers, got 101"):
        parse(made.SerializeToString(), "x.onnx")


def test_one_constant_used_often_does_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred convolutions that share 1 MB of weights need 100 MB of their own."""
    monkeypatch.setattr(builder, "MAX_ARRAY_BYTES", 2**26)
    weight = np.zeros((512, 512, 1, 1), np.float32)
    nodes = [node("Conv", ["x" if i == 0 else f"c{i - 1}", "w"], f"c{i}" if i < 99 else "y") for i in range(100)]
    with pytest.raises(GraphError, match=r"node 63 .*constants must take at most 67108864 bytes in all"):
        parse(model(nodes, (1, 512, 1, 1), {"w": weight}).SerializeToString(), "x.onnx")


def test_constants_that_double() -> None:
    nodes = [node("Concat", [f"c{i}", f"c{i}"], f"c{i + 1}", axis=0) for i in range(40)]
    made = model([*nodes, node("Reshape", ["x", "c40"])], (1, 3), {"c0": ints(1)})
    with pytest.raises(Unsupported, match="result of constants must have at most 16777216 values"):
        parse(made.SerializeToString(), "x.onnx")


def test_too_many_nodes() -> None:
    nodes = [node("Relu", ["x" if i == 0 else f"r{i - 1}"], f"r{i}") for i in range(8193)]
    with pytest.raises(Unsupported, match="must have at most 8192 nodes, got 8193"):
        parse(model(nodes, (1, 3), outputs=("r8192",)).SerializeToString(), "x.onnx")


def saved(folder: Path, location: str, **entries: str) -> Path:
    """A model whose weights are in another file, wherever that is."""
    made = one_conv()
    array = numpy_helper.to_array(made.graph.initializer[0])
    external(location)(made)
    for key, value in entries.items():
        made.graph.initializer[0].external_data.add(key=key, value=value)
    (folder / "data.bin").write_bytes(b"1234" + array.tobytes())
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    graph = load(saved(tmp_path, "data.bin", offset="4"))
    inside = parse(one_conv().SerializeToString(), "net.onnx")
    assert graph.nodes[1] == inside.nodes[1]
    assert graph.params.keys() == inside.params.keys()


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("../data.bin", {}, "data must be in a file beside the model, got '../data.bin'"),
        ("/etc/passwd", {}, "data must be in a file beside the model"),
        ("inner/data.bin", {}, "data must be in a file beside the model"),
        ("..", {}, "data must be in a file beside the model"),
        ("", {}, "data must be in a file beside the model"),
        ("inner\\data.bin", {}, "data must be in a file beside the model"),
        ("C:data.bin", {}, "data must be in a file beside the model"),
        ("a\0b", {}, "data must be in a file beside the model"),
        ("missing.bin", {}, "missing.bin must be a file, got no file"),
        ("link.bin", {}, "link.bin must be a file, got a link"),
        ("inner", {}, "inner must be a file, got a folder"),
        ("pipe.bin", {}, "pipe.bin must be a file, got a FIFO"),
        ("x" * 5000, {}, "cannot be read: File name too long"),
        ("data.bin", {"offset": "8"}, "data.bin must be a file of at least 224 bytes"),
        ("data.bin", {"offset": "-1"}, "external data must be 216 bytes, got 216 at -1"),
        ("data.bin", {"length": "9"}, "external data must be 216 bytes, got 9 at 0"),
        ("data.bin", {"offset": "many"}, "offset and length of external data must be integers"),
        ("data.bin", {"offset": str(2**70)}, "data.bin must be a file of at least"),
    ],
)
def test_external_data_elsewhere(tmp_path: Path, location: str, entries: dict[str, str], message: str) -> None:
    folder = tmp_path / "models"
    (folder / "inner").mkdir(parents=True)
    (folder / "link.bin").symlink_to("data.bin")
    os.mkfifo(folder / "pipe.bin")
    for place in (tmp_path, folder / "inner"):
        (place / "data.bin").write_bytes(bytes(216))
    wanted = Unsupported if location == "inner/data.bin" else GraphError  # well formed, and not read
    with pytest.raises(wanted, match=message):
        load(saved(folder, location, **entries))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="must be an ONNX file, got no file"):
        load(tmp_path / "missing.onnx")
    large = tmp_path / "large.onnx"
    with large.open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(GraphError, match="must be at most 1073741824 bytes"):
        load(large)


# -- notes of Rillet's own exporter, which others may write too --------------------------------------------------------


def contract(**values: Any) -> str:
    noted = {"height": 5, "width": 5, "channels": 3, "resize": "crop", "mean": [0], "deviation": [1], "labels": []}
    return json.dumps(noted | values)


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"rillet.blocks": "{"}, "metadata rillet.blocks must be a JSON object"),
        ({"rillet.blocks": "[" * 100_000}, "metadata rillet.blocks must be a JSON object"),
        ({"rillet.blocks": "[]"}, "metadata rillet.blocks must be a JSON object"),
        ({"rillet.blocks": '{"y": 3}'}, "must have a word for each node"),
        (
            {"rillet.blocks": "{}", "rillet.rounding": '{"y": "up"}'},
            "metadata rillet.rounding must be one of double, single",
        ),
        ({"rillet.image": '{"height": 5}'}, "metadata rillet.image must be an input contract"),
        ({"rillet.image": contract(resize=1)}, "metadata rillet.image must be an input contract"),
        ({"rillet.image": contract(mean=0)}, "metadata rillet.image must be an input contract"),
        ({"rillet.blocks": '{"y": "\\u001b[2J"}'}, "must have a word for each node"),
        ({"rillet.image": contract(labels=["\x1b[2J"])}, "metadata rillet.image must be an input contract"),
        ({"rillet.image": contract(labels=[1])}, "metadata rillet.image must be an input contract"),
        ({"rillet.image": contract(deviation=[0])}, "deviation must not be zero"),
        ({"rillet.image": contract(height=6)}, "input must be 6x5x3 as its image is"),
    ],
)
def test_notes_are_not_trusted(notes: dict[str, str], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        parse(one_conv(metadata=notes).SerializeToString(), "x.onnx")


def test_names_that_would_write_on_a_terminal() -> None:
    made = one_conv(metadata={"rillet.blocks": "{}"})
    made.graph.name = "two\nlines"
    with pytest.raises(GraphError, match=r"name of the graph must be printable, got 'two\\nlines'"):
        parse(made.SerializeToString(), "x.onnx")
    made.graph.node[0].op_type = "\x1b[2J"
    with pytest.raises(Unsupported, match=r"node 0 \('\\x1b\[2J' 'c'\): is not supported"):
        parse(made.SerializeToString(), "x.onnx")


def test_notes_and_names() -> None:
    graph = parse(one_conv(metadata={"rillet.blocks": '{"y": "block7"}'}).SerializeToString(), "x.onnx")
    assert [(n.name, n.block) for n in graph.nodes] == [("x", ""), ("y", "block7")]
    made = model([node("Relu", ["x"], "a b")], (1, 3), outputs=("a b",), metadata={"rillet.blocks": "{}"})
    with pytest.raises(GraphError, match="values must be named by letters, digits and _./-, got 'a b'"):
        parse(made.SerializeToString(), "x.onnx")


# -- mutated files ---------------------------------------------------------------------------------------------------


def fuzz(first: int, count: int) -> None:
    """Runs tests/fuzz_onnx.py in a process of its own, with limits on its memory and time."""
    script = Path(__file__).with_name("fuzz_onnx.py")
    command = [sys.executable, str(script), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    ran, refused = map(int, done.stdout.split())
    assert ran + refused == count
    assert ran
    assert refused


def test_broken_files_give_clean_errors() -> None:
    fuzz(0, 200)


@pytest.mark.slow
def test_many_broken_files_give_clean_errors() -> None:
    fuzz(1000, 2000)
