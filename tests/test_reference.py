"""The reference executor equals LiteRT's reference kernels and TensorFlow Lite Micro, byte for byte."""

from pathlib import Path

import numpy as np
import pytest

from conftest import NETWORKS, SHARED, shared_file
from graphs import Builder, conv, random_image
from rillet.backends import reference
from rillet.data.images import load_input
from rillet.errors import GraphError, Unsupported
from rillet.importers.tflite import load, load_with_tensors
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Activate, Activation, Conv, Input, Window
from rillet.ir.types import Shape
from rillet.models.opening import open_model
from rillet.runtime.oracles import LiteRt, Tflm

PHOTOS = (
    "bird.bmp",
    "cat.bmp",
    "dragonfly.bmp",
    "grace_hopper.bmp",
    "hot_dog.jpg",
    "parrot.jpg",
    "squat.bmp",
    "sunflower.bmp",
)
ANSWERS = {
    "bird.bmp": "chickadee",
    "cat.bmp": "Egyptian cat",
    "dragonfly.bmp": "dragonfly",
    "hot_dog.jpg": "hotdog",
    "parrot.jpg": "macaw",
    "sunflower.bmp": "daisy",
}


def assert_equals_litert(path: Path, images: list[Array]) -> None:
    """Every tensor of the file, for every image."""
    imported = load_with_tensors(path)
    litert = LiteRt(path)
    for image in images:
        values = reference.run(imported.graph, image)
        litert.run(image)
        for name, index in imported.tensors.items():
            assert np.array_equal(values[name].reshape(-1), litert.tensor(index).reshape(-1)), name


@pytest.mark.parametrize(
    ("name", "count"),
    [("mobilenet_v2", 2), pytest.param("mobilenet_v2", 20, marks=pytest.mark.slow), ("vww", 20), ("resnet", 20)],
)
def test_random_inputs_equal_litert_on_every_tensor(name: str, count: int) -> None:
    path = shared_file(NETWORKS[name])
    pytest.importorskip("ai_edge_litert")
    graph = load(path)
    assert_equals_litert(path, [random_image(graph, seed) for seed in range(count)])


@pytest.mark.parametrize("name", ["mobilenet_v2", "vww", "resnet"])
def test_photos_equal_litert_on_every_tensor(name: str) -> None:
    path = shared_file(NETWORKS[name])
    pytest.importorskip("ai_edge_litert")
    graph = open_model(path).graph
    assert_equals_litert(path, [load_input(SHARED / "photos" / photo, graph) for photo in PHOTOS])


def test_person_detection_equals_tflite_micro() -> None:
    path = shared_file(NETWORKS["person"])
    pytest.importorskip("tflite_micro")
    graph, micro = load(path), Tflm(path)
    for seed in range(20):
        image = random_image(graph, seed)
        assert np.array_equal(micro.run(image).reshape(-1), reference.outputs(graph, image)[0].reshape(-1))


def test_person_detection_gives_the_published_answers() -> None:
    graph = load(shared_file(NETWORKS["person"]))
    from PIL import Image

    for name, answer in (("person.bmp", (-113, 113)), ("no_person.bmp", (57, -57))):
        pixels = np.asarray(Image.open(SHARED / "vww" / name)).view(np.int8)[:, :, None]
        assert tuple(reference.outputs(graph, pixels)[0].reshape(-1)) == answer


@pytest.mark.parametrize("photo", sorted(ANSWERS))
def test_photographs_are_recognised(photo: str) -> None:
    graph = open_model(shared_file(NETWORKS["mobilenet_v2"])).graph
    assert graph.image is not None
    output = reference.outputs(graph, load_input(SHARED / "photos" / photo, graph))[0]
    assert graph.image.labels[int(output.argmax())].startswith(ANSWERS[photo])


def test_convolution_against_plain_loops() -> None:
    rng = np.random.default_rng(0)
    source = rng.integers(-9, 10, (5, 7, 4)).astype(float)
    op = Conv(6, Window((2, 3), (2, 1), (1, 0, 2, 1), (2, 1)), groups=2)
    weight = rng.integers(-9, 10, op.weight_shape(Shape(5, 7, 4))).astype(float)
    got = reference.convolve(source, weight, op)
    for y, x, o in np.ndindex(got.shape):
        total = 0.0
        for i, j, c in np.ndindex(2, 3, 2):
            row, column = y * 2 - 1 + i * 2, x - 2 + j
            if 0 <= row < 5 and 0 <= column < 7:
                total += source[row, column, o // 3 * 2 + c] * weight[o, i, j, c]
        assert got[y, x, o] == total


def test_wrong_input_is_refused() -> None:
    b = Builder(np.random.default_rng(0))
    graph = b.graph(b.add(conv(2), b.add(Input(), shape=Shape(2, 2, 1))))
    with pytest.raises(GraphError, match="input must be i8 of 2x2x1, got uint8"):
        reference.run(graph, np.zeros((2, 2, 1), np.uint8))


def test_ops_without_integer_rules_say_so() -> None:
    b = Builder(np.random.default_rng(0))
    graph = b.graph(b.add(Activate(Activation.SILU), b.add(Input(), shape=Shape(2, 2, 1))))
    with pytest.raises(Unsupported, match="silu must be rounded by shift, got double"):
        reference.run(graph, np.zeros((2, 2, 1), np.int8))


def test_a_graph_without_weights_says_which_are_missing() -> None:
    b = Builder(np.random.default_rng(0))
    graph = b.graph(b.add(conv(2), b.add(Input(), shape=Shape(2, 2, 1))))
    bare = Graph(graph.name, graph.nodes, graph.outputs)
    with pytest.raises(GraphError, match="must have weights for this, and n1 has no weight"):
        reference.run(bare, np.zeros((2, 2, 1), np.int8))
