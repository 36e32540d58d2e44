"""ncnn's files: what stands in them, and that ncnn, where it is installed, answers as the reference does."""

import numpy as np
import pytest

from graphs import Builder, conv
from rillet.backends import reference
from rillet.bench.peers import sessions
from rillet.bench.peers.files import Request, prepare
from rillet.errors import Unsupported
from rillet.exporters.ncnn import FLOAT32_TAG, export
from rillet.ir.graph import Graph
from rillet.ir.ops import Add, Input
from rillet.ir.types import Shape
from rillet.models.opening import open_model
from rillet.runtime.verify import random_inputs
from rillet.transforms.dequantize import dequantize
from rillet.transforms.fold import fold
from test_plan import residual


def skip() -> Graph:
    b = Builder(np.random.default_rng(1))
    at = b.add(Input(), shape=Shape(4, 5, 2))
    first = b.add(conv(2, (3, 3)), at)
    return dequantize(b.graph(b.add(Add(), at, first)))


def test_the_files() -> None:
    made = export(skip())
    lines = made.param.splitlines()
    assert lines[0] == "7767517"
    assert lines[1] == "4 5"
    assert lines[2] == "Input Input.v0 0 1 v0 0=5 1=4 2=2"
    assert lines[3] == "Split Split.v0 1 2 v0 v0.0 v0.1"
    assert lines[4].startswith(
        "Convolution Convolution.v1 1 1 v0.0 v1 0=2 1=3 11=3 3=1 13=1 4=1 15=1 14=1 16=1 5=1 6=36"
    )
    assert lines[5] == "BinaryOp BinaryOp.v2 2 1 v0.1 v1 v2 0=0"
    assert (made.input, made.output) == ("v0", "v2")
    graph = skip()
    weight = graph.params[f"{graph.nodes[1].name}.weight"]
    stored = made.weights[4 : 4 + weight.nbytes]
    assert made.weights[:4] == FLOAT32_TAG
    assert np.array_equal(np.frombuffer(stored, "<f4").reshape(2, 2, 3, 3), weight.transpose(0, 3, 1, 2))
    assert len(made.weights) == 4 + weight.nbytes + 2 * 4


def test_what_is_refused() -> None:
    with pytest.raises(Unsupported, match="must be float32"):
        export(residual(8, 8, 4))
    with pytest.raises(Unsupported, match="ncnn is written no batchnorm"):
        export(open_model("mobilenet_v1:width=0.25,resolution=32,seed=0").graph)


NETWORKS = (
    "mobilenet_v2:width=0.35,resolution=64",
    "mobilenet_v3_small:resolution=64",
    "mnasnet_b1:resolution=64",
    "squeezenet_cifar10",
    "microbotnet:width=0.32",
)


@pytest.mark.parametrize("name", NETWORKS)
def test_ncnn_answers_as_the_reference_does(name: str, tmp_path) -> None:
    pytest.importorskip("ncnn")
    joint = "," if "=" in name else ":"
    graph = fold(open_model(f"{name}{joint}seed=1").graph)
    session = sessions.start(prepare("ncnn", Request(graph, 1, tmp_path)))
    for image in random_inputs(graph, 2):
        session.feed([image[None]])
        session.run()
        want = reference.outputs(graph, image)[0]
        assert np.abs(session.result() - want).max() < 1e-5 * np.abs(want).max()
