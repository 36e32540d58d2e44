"""Rillet's own file, safetensors, and the float network behind a quantised one."""

import io
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load as load_tensors

from conftest import NETWORKS as FILES
from conftest import shared_file
from rillet.analyses.count import count
from rillet.backends import reference
from rillet.data.images import load_input
from rillet.errors import BuildError, GraphError, RilletError, Unsupported
from rillet.exporters import rlt, safetensors
from rillet.importers.rlt import load, parse
from rillet.importers.tflite import load as load_tflite
from rillet.importers.torch import from_torch
from rillet.ir.types import DType
from rillet.models.convert import convert
from rillet.models.opening import open_model
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Program
from rillet.runtime.verify import verify
from rillet.targets.host import this_host
from rillet.train.modules import to_module
from rillet.transforms.dequantize import dequantize
from rillet.zoo.registry import NETWORKS, build


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_comes_back(name: str) -> None:
    graph = build(name)
    assert parse(rlt.to_bytes(graph), "net.rlt") == graph


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1:fuse=full", "microbotnet:width=0.32"])
def test_weights_come_back(name: str, tmp_path: Path) -> None:
    joint = "," if ":" in name else ":"
    graph = open_model(f"{name}{joint}seed=1").graph
    convert(graph, tmp_path / "net.rlt")
    assert load(tmp_path / "net.rlt") == graph
    assert open_model(tmp_path / "net.rlt").graph == graph
    assert rlt.to_bytes(graph) == (tmp_path / "net.rlt").read_bytes()


def test_quantised_networks_come_back(network: Path) -> None:
    graph = load_tflite(network)
    assert parse(rlt.to_bytes(graph), "net.rlt") == graph


def test_safetensors_hold_every_array(tmp_path: Path) -> None:
    graph = open_model("microbotnet:seed=1").graph
    convert(graph, tmp_path / "net.safetensors")
    found = load_tensors((tmp_path / "net.safetensors").read_bytes())
    assert found["stem.conv.weight"].shape == (16, 3, 3, 3)
    assert found["head.logits.weight"].shape == (10, 1024)
    assert np.array_equal(found["stem.conv_bn.running_var"], graph.params["stem.conv_bn.variance"])
    assert len(found) == len(graph.params)
    again = open_model("microbotnet", weights=tmp_path / "net.safetensors").graph
    assert all(np.array_equal(again.params[key], graph.params[key]) for key in again.params)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    graph = build("microbotnet")
    with pytest.raises(GraphError, match="must end in .*, got '.txt'"):
        convert(graph, tmp_path / "net.txt")
    with pytest.raises(GraphError, match="must have weights for a safetensors file"):
        convert(graph, tmp_path / "net.safetensors")
    with pytest.raises(BuildError, match="cannot be written"):
        convert(graph, tmp_path / "none" / "net.rlt")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(GraphError):
        safetensors.to_bytes(graph)


def zipped(members: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(rlt.to_bytes(open_model("microbotnet:width=0.25,seed=1").graph))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_broken_files_are_one_sentence() -> None:
    whole = members()
    for change, sentence in (
        (
            {"version": b"rillet 9\n"},
            "must be 'rillet 1' or 'rillet 2' or 'rillet 3' or 'rillet 4', got 'rillet 9'",
        ),
        ({"graph.txt": b"\xff"}, "graph.txt must be text in UTF-8"),
        ({"graph.txt": b"rillet 1\nnonsense\n"}, "line 2: must be 'name = op"),
        ({"weights.safetensors": b"x"}, "weights.safetensors: "),
        ({"more": b""}, "must be a .rlt file of version, graph.txt, weights.safetensors"),
    ):
        with pytest.raises((GraphError, Unsupported)) as caught:
            parse(zipped(whole | change), "net.rlt")
        assert str(caught.value).startswith("net.rlt: ")
        assert sentence in str(caught.value)
    with pytest.raises(GraphError, match="must be stored uncompressed"):
        parse(zipped(whole, zipfile.ZIP_DEFLATED), "net.rlt")
    with pytest.raises(GraphError, match="must be a .rlt file"):
        parse(b"no zip", "net.rlt")


def test_mutations_are_clean_errors() -> None:
    data, rng, refused = zipped(members()), np.random.default_rng(0), 0
    for _ in range(400):
        broken = bytearray(data)
        for _ in range(int(rng.integers(1, 5))):
            # Half of the changes hit the text and the zip's own records.
            at = int(rng.integers(len(data))) if rng.random() < 0.5 else int(rng.integers(0, 4000)) - 2000
            broken[at] = int(rng.integers(256))
        try:
            parse(bytes(broken), "net.rlt")
        except RilletError:
            refused += 1
    assert refused > 200


# -- dequantize ------------------------------------------------------------------------------------------------------


def test_the_float_mobilenet_v2_behind_the_int8_one() -> None:
    graph = dequantize(load_tflite(shared_file(FILES["mobilenet_v2"])))
    assert {node.type.dtype for node in graph.nodes} == {DType.F32}
    assert count(graph).params == 3_489_097
    image = load_input(shared_file("photos/cat.bmp"), graph)
    assert int(reference.outputs(graph, image)[0].argmax()) == 286


@pytest.mark.slow
def test_the_float_mobilenet_v2_by_every_path(tmp_path: Path) -> None:
    """ONNX out and in, PyTorch out and in, and C: the same graph again, and the reference's answer."""
    graph = dequantize(load_tflite(shared_file(FILES["mobilenet_v2"])))
    image = load_input(shared_file("photos/cat.bmp"), graph)
    expected = reference.outputs(graph, image)[0].ravel()

    convert(graph, tmp_path / "net.onnx")
    by_onnx = open_model(tmp_path / "net.onnx").graph
    example = torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1)[None])
    module = to_module(graph).eval()
    by_torch = from_torch(module, example)
    for found in (by_onnx, by_torch):
        assert found.nodes == graph.nodes
        assert {key: array.tobytes() for key, array in found.params.items()} == {
            key: array.tobytes() for key, array in graph.params.items()
        }
    with torch.no_grad():
        answers = {"torch": module(example).numpy().ravel()}
    answers["C"] = Program(plan_host(by_torch, this_host())).run(image)[0].ravel()
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    answers["onnxruntime"] = np.asarray(session.run(None, {session.get_inputs()[0].name: example.numpy()})[0]).ravel()
    for name, answer in answers.items():
        assert np.abs(answer - expected).max() <= 1e-5 * np.abs(expected).max(), name


@pytest.mark.parametrize("name", ["vww", "resnet", "person"])
def test_dequantised_networks_answer_alike_and_run(name: str) -> None:
    """The float network's outputs lie within a few steps of the quantised one's."""
    quantised = load_tflite(shared_file(FILES[name]))
    graph = dequantize(quantised)
    node, rng = quantised.input_nodes[0], np.random.default_rng(0)
    stored = rng.integers(-128, 128, node.shape.array).astype(np.int8)
    assert node.type.quant is not None
    real = ((stored.astype(np.float64) - node.type.quant.zero_point) * node.type.quant.scale).astype(np.float32)
    out = quantised.by_name[quantised.outputs[0]].type.quant
    assert out is not None
    seen = (reference.outputs(quantised, stored)[0].astype(np.float64) - out.zero_point) * out.scale
    assert np.abs(seen - reference.outputs(graph, real)[0]).max() < 0.1
    assert verify(plan_rows(graph), 2).equal


def test_a_float_network_stays_as_it_is() -> None:
    graph = build("microbotnet")
    assert dequantize(graph) is graph
