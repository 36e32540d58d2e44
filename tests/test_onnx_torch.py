"""Networks written in plain PyTorch, exported to ONNX by either of its exporters, are read and agree."""

import contextlib
import importlib.util
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import torch

import torch_nets
from onnx_models import AGREEMENT, deviation, run, session
from rillet.importers.onnx import load_with_views
from rillet.ir.ops import Activate, Activation, Add, BatchNorm, Constant, Conv, Multiply
from rillet.zoo.registry import build

SIDE = 64
CASES = {
    "mobilenet_v2": (torch_nets.MobileNetV2, {"padding": "torch"}),
    "mobilenet_v3_small": (torch_nets.MobileNetV3, None),
    "mnasnet_b1": (torch_nets.MnasNet, {"padding": "torch"}),
    "resnet18": (torch_nets.ResNet, {}),
    "squeezenet1_1": (torch_nets.SqueezeNet, {}),
}
"""The module, and what the zoo is told to make the same network; None where it has no such one."""
FAST = (("mobilenet_v3_small", 17), ("resnet18", 11), ("squeezenet1_1", None))
"""What the fast suite has; None is the newer exporter."""
torch.set_num_threads(1)


def exported(net: Any, path: Path, opset: int | None) -> None:
    """The file that the older exporter makes at an opset, or (None) the newer one."""
    image = torch.zeros(1, 3, SIDE, SIDE)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if opset is None:
            torch.onnx.export(net, (image,), path, dynamo=True, verbose=False)
        else:
            torch.onnx.export(
                net, (image,), path, dynamo=False, opset_version=opset, dynamic_axes={"x": {0: "n"}}, input_names=["x"]
            )


@pytest.mark.parametrize(
    ("name", "opset"),
    [
        pytest.param(name, opset, marks=() if (name, opset) in FAST else pytest.mark.slow)
        for name in CASES
        for opset in (11, 17, None)
    ],
)
def test_networks_in_plain_pytorch(name: str, opset: int | None, tmp_path: Path) -> None:
    if opset is None and importlib.util.find_spec("onnxscript") is None:
        pytest.skip("onnxscript absent, which the newer exporter needs")
    torch.manual_seed(0)
    module, words = CASES[name]
    net = torch_nets.trained(module())
    path = tmp_path / "net.onnx"
    exported(net, path, opset)
    made = load_with_views(path)
    tensor = np.random.default_rng(0).normal(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32)
    runtime = session(path.read_bytes() if opset else str(path))
    with torch.no_grad():
        want = net(torch.from_numpy(tensor)).numpy()
    for other in (want, runtime.run(None, {runtime.get_inputs()[0].name: tensor})[0]):
        assert deviation(run(made, tensor)[0], other) <= AGREEMENT
    # Nothing is left of how a function was spelled.
    assert all(
        isinstance(n.op, Conv | Activate | Add | Multiply | BatchNorm)
        or n.op.__class__.__name__ in ("Input", "Pool", "Concat")
        for n in made.graph.nodes
    )
    assert not any(isinstance(n.op, Constant) for n in made.graph.nodes)
    if words is not None:
        assert made.graph.macs == build(name, {"resolution": str(SIDE), "classes": "10", **words}).macs
    else:
        functions = [n.op.activation for n in made.graph.nodes if isinstance(n.op, Activate)]
        assert functions.count(Activation.HARD_SWISH) == 19
        assert functions.count(Activation.HARD_SIGMOID) == 9
