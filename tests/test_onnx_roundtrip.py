"""Graphs through ONNX and back: the same graph, and ONNX Runtime computes what the reference does."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import onnx

from conftest import NETWORKS as FILES
from conftest import shared_file
from draws import REFUSED, mostly
from graphs import Builder, graphs, random_image
from onnx_models import AGREEMENT, deviation, session
from rillet.backends import reference
from rillet.errors import GraphError, Unsupported
from rillet.exporters.onnx import export
from rillet.importers.onnx import parse, parse_with_views
from rillet.importers.tflite import load
from rillet.ir.graph import Graph
from rillet.ir.ops import Activate, Activation, Conv, Input, Op, Pool, PoolKind, Softmax, Window
from rillet.ir.text import print_graph
from rillet.ir.types import DType, Shape
from rillet.transforms.fold import fold, without_weights
from rillet.zoo.registry import NETWORKS, build
from rillet.zoo.weights import with_seeded_weights

SEED = 1
FAST = ("mobilenet_v2", "mobilenet_v3_small", "mnasnet_b1", "microbotnet", "squeezenet1_0", "resnet18")
REFUSED_NETWORKS = ("binarynet_cifar10",)
FLOAT_FILES = ("mlperf_tiny/vww_96_float.tflite", "mlperf_tiny/pretrainedResnet.tflite")
INTEGER_FILES = (
    *FILES.values(),
    "mobilenet_tflite/mobilenet_v1_0.25_128_quant.tflite",
    "mobilenet_tflite/mobilenet_v2_1.0_224_quant.tflite",
)


def same(graph: Graph) -> bytes:
    """The exported file; reading it back gives the graph to the last bit, name and note."""
    data = export(graph)
    onnx.checker.check_model(data, full_check=True)
    back = parse(data, "net.onnx")
    assert print_graph(back) == print_graph(graph)
    assert back == graph
    return data


def agrees(graph: Graph, data: bytes, cancels: bool = False) -> None:
    """ONNX Runtime's outputs are the reference's within AGREEMENT of the greatest value.

    `cancels` where outputs can be what is left of much larger values: then of the greatest value anywhere.
    """
    made = parse_with_views(data, "net.onnx")
    image = random_image(graph)
    values = reference.run(made.graph, image)
    greatest = max(float(np.abs(value).max()) for value in values.values())
    got = session(data).run(None, {made.input.node: made.input.from_map(image)})
    for view, tensor in zip(made.outputs, got, strict=True):
        want = view.from_map(values[view.node])
        assert np.abs(tensor - want).max() <= AGREEMENT * (greatest if cancels else np.abs(want).max())


@pytest.mark.parametrize("name", FAST)
def test_networks_of_the_zoo(name: str) -> None:
    graph = with_seeded_weights(build(name, {"resolution": "32"}), SEED)
    agrees(graph, same(graph))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in REFUSED_NETWORKS])
def test_networks_of_the_zoo_in_full(name: str) -> None:
    graph = with_seeded_weights(build(name), SEED)
    agrees(graph, same(graph))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mobilenet_v2", {"width": "0.35", "padding": "torch", "top": "false"}),
        ("mobilenet_v3_small", {"form": "fuseconv"}),
        ("mobilenet_v3_large", {"padding": "torch", "width": "0.5"}),
        ("squeezenet1_1", {"bypass": "complex"}),
        ("mobilenet_v1", {"channels": "1", "bias": "true", "classes": "2", "width": "0.25"}),
    ],
)
def test_variants_whole_and_folded(name: str, words: dict[str, str]) -> None:
    graph = with_seeded_weights(build(name, {"resolution": "64x96", **words}), SEED)
    agrees(graph, same(graph))
    agrees(fold(graph), same(fold(graph)))


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_float_networks_from_tflite(name: str) -> None:
    graph = load(shared_file(name))
    agrees(graph, same(graph))


@pytest.mark.parametrize("name", INTEGER_FILES)
def test_integer_networks_from_tflite(name: str) -> None:
    same(load(shared_file(name)))


@mostly(0.8)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_random_networks_compute_the_same(graph: Graph) -> object:
    """What comes back may be spelled more simply (docs/onnx.md), computes the same, and comes back as itself."""
    try:
        data = export(graph)
    except Unsupported:
        return REFUSED
    back = parse(data, "net.onnx")
    image = random_image(graph)
    for got, want in zip(reference.outputs(back, image), reference.outputs(graph, image), strict=True):
        assert got.dtype == want.dtype
        assert np.array_equal(got, want) if got.dtype != np.float64 else deviation(got, want) <= AGREEMENT
    if len(back.nodes) > 1:  # nothing is left of a slice of everything
        same(back)
    if all(node.type.quant is None for node in graph.nodes):
        agrees(graph, data, cancels=True)
    return None


# -- what it refuses -------------------------------------------------------------------------------------------------


def test_binary_networks_are_refused() -> None:
    graph = with_seeded_weights(build("binarynet_cifar10"), SEED)
    with pytest.raises(
        Unsupported, match="binarynet_cifar10: encode.conv: values must be f32, or i8 or u8 with a scale"
    ):
        export(graph)


def small(*ops: Op, dtype: DType = DType.F32) -> Graph:
    """The ops one after the other, on a 4x5x6 map."""
    b = Builder(np.random.default_rng(0), dtype)
    at = b.add(Input(), shape=Shape(4, 5, 6))
    for op in ops:
        at = b.add(op, at, same=True)
    return b.graph()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (small(Activate(Activation.SIGN)), "n1: activation must be other than sign"),
        (small(Softmax(2.0)), "n1: beta of a softmax must be 1, got 2"),
        (small(Pool(PoolKind.MEAN, Window((2, 2)))), "n1: window of a mean must cover height or width, got"),
        (small(Conv(3, weights=DType.TERNARY)), "n1: weights must be f32 as values are, or i8 or u8, got ternary"),
        (small(Conv(3, weights=DType.F32), dtype=DType.I8), "n1: weights must be f32 as values are"),
        (
            replace(small(Activate(Activation.RELU)), outputs=("n1", "n1")),
            "outputs must be different values that nodes compute",
        ),
        (
            replace(small(Activate(Activation.RELU)), outputs=("n0",)),
            "outputs must be different values that nodes compute",
        ),
    ],
)
def test_what_is_refused(graph: Graph, message: str) -> None:
    with pytest.raises(Unsupported, match=f"random: {message}"):
        export(graph)


def test_nodes_called_as_parts_of_others_are_refused() -> None:
    graph = small(Activate(Activation.RELU), Conv(3))
    first, relu, conv = graph.nodes
    nodes = (first, replace(relu, name="n2.weight"), replace(conv, inputs=("n2.weight",)))
    with pytest.raises(Unsupported, match=r"nodes must not be called as parts of others are, got 'n2\.weight'"):
        export(replace(graph, nodes=nodes))


def test_networks_without_weights_are_refused() -> None:
    with pytest.raises(GraphError, match="must have weights for this, and stem.conv has no weight"):
        export(without_weights(build("mobilenet_v2")))
