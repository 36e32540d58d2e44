"""ONNX networks that are read up to a tensor, and what the sentence of a refusal offers."""

from pathlib import Path

import pytest

pytest.importorskip("onnx")
import rillet
from onnx_models import ints, model, node, real
from rillet.errors import GraphError, Unsupported


def test_a_network_is_read_up_to_a_tensor_before_what_cannot_be(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], "/conv/out", name="conv"),
        node("Relu", ["/conv/out"], "act"),
        node("TopK", ["act", "k"], ["values", "places"], name="decode"),
    ]
    path = tmp_path / "net.onnx"
    made = model(nodes, [1, 3, 8, 8], {"w": real(4, 3, 3, 3), "k": ints(2)}, outputs=["values"])
    path.write_bytes(made.SerializeToString())
    with pytest.raises(Unsupported, match=r"all but TopK \(1\); .*; net.onnx:until=act reads the network up to there$"):
        rillet.load(path)
    both = rillet.load(f"{path}:until=/conv/out+act")
    assert len(both.outputs) == 2
    assert rillet.load(f"{path}:until=act").outputs == both.outputs[1:]
    assert rillet.verify(both, inputs=1, against="onnxruntime").equal
    for word in ("values2", "x", "w", "", "act+"):
        with pytest.raises(GraphError, match=r"net.onnx: until must be tensors that nodes make, by name, got '"):
            rillet.load(f"{path}:until={word}")
    with pytest.raises(Unsupported, match="outputs must be different values, got one twice"):
        rillet.load(f"{path}:until=act+act")


def test_a_detector_is_read_up_to_its_heads(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], "large"),
        node("MaxPool", ["large"], "small", kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["large", "flat"], "a"),
        node("Reshape", ["small", "flat"], "b"),
        node("Concat", ["a", "b"], "rows", axis=2),
        node("TopK", ["rows", "k"], ["y", "places"], name="best"),
    ]
    path = tmp_path / "net.onnx"
    constants = {"w": real(4, 3, 1, 1), "flat": ints(1, 4, -1), "k": ints(1)}
    path.write_bytes(model(nodes, [1, 3, 8, 8], constants).SerializeToString())
    with pytest.raises(Unsupported, match=r"all but TopK \(1\); .*; net.onnx:until=rows reads the network up"):
        rillet.load(path)
    graph = rillet.load(f"{path}:until=rows")
    assert [str(graph.by_name[name].shape) for name in graph.outputs] == ["8x8x4", "4x4x4"]
