"""Seeded weights: the same for the same seed, and such that every network computes numbers in proportion."""

import numpy as np
import pytest

from graphs import random_image
from rillet.backends import reference
from rillet.ir.ops import BatchNorm, Conv
from rillet.ir.types import DType
from rillet.zoo.registry import NETWORKS, build
from rillet.zoo.weights import with_seeded_weights


def test_seeds() -> None:
    graph = build("mobilenet_v3_small", {"resolution": "32", "width": "0.35"})
    assert with_seeded_weights(graph, 1) == with_seeded_weights(graph, 1)
    assert with_seeded_weights(graph, 1) == with_seeded_weights(with_seeded_weights(graph, 2), 1)
    assert with_seeded_weights(graph, 1) != with_seeded_weights(graph, 2)


def test_statistics() -> None:
    graph = with_seeded_weights(build("resnet18", {"resolution": "32"}), 1)
    for node in graph.nodes:
        match node.op:
            case Conv():
                weight = graph.param(node, "weight")
                gain = weight.std() ** 2 * np.prod(weight.shape[1:])
                behind_an_activation = node.inputs[0] != "input"
                assert gain == pytest.approx(2.0 if behind_an_activation else 1.0, rel=0.05)
            case BatchNorm():
                for name in ("gamma", "variance"):
                    values = graph.param(node, name)
                    assert 0.65 < values.min() < 0.95
                    assert 1.05 < values.max() < 1.45
                for name in ("beta", "mean"):
                    values = graph.param(node, name)
                    assert 0.01 < np.abs(values).mean() < 0.2
            case _:
                pass


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "vgg16"])
def test_every_network_computes_something(name: str) -> None:
    words = {} if name == "binarynet_cifar10" else {"resolution": "32"}
    graph = with_seeded_weights(build(name, words), 3)
    values = reference.run(graph, random_image(graph) if graph.nodes[0].type.dtype is DType.F32 else pixels())
    out = values[graph.outputs[0]]
    assert np.isfinite(out).all()
    assert np.unique(out).size > 5
    assert 1e-3 < np.abs(out).max() < 1e4


def pixels() -> np.ndarray:
    """Pixels of 7 bits, which have no scale."""
    return np.random.default_rng(0).integers(-64, 64, (32, 32, 3)).astype(np.int8)
