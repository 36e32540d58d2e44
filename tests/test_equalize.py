"""Cross-layer equalisation: the same function, evener weights."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from graphs import Builder, graphs, random_image
from rillet.backends import reference
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation, Input
from rillet.ir.types import DType, Shape
from rillet.transforms.equalize import equalize


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(real=True))
def test_the_function_stays(graph: Graph) -> None:
    even, image = equalize(graph), random_image(graph)
    assert even.nodes == graph.nodes
    for got, want in zip(reference.outputs(even, image), reference.outputs(graph, image), strict=True):
        assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def chain(activation: Activation) -> Graph:
    """Two pointwise convolutions and a depthwise one, channels of very different weights."""
    b = Builder(np.random.default_rng(0), DType.F32)
    first = b.add(b.conv(6, activation=activation), b.add(Input(), shape=Shape(4, 4, 3)))
    deep = b.add(b.conv(6, (3, 3), groups=6, activation=activation), first)
    b.add(b.conv(4), deep)
    b.params[f"{first}.weight"] *= 10.0 ** np.arange(-3, 3).reshape(-1, 1, 1, 1).astype(np.float32)
    return b.graph()


def spread(graph: Graph, name: str, axes: tuple[int, ...]) -> float:
    ranges = np.abs(graph.params[f"{name}.weight"]).max(axes)
    return float(ranges.max() / ranges.min())


@pytest.mark.parametrize("activation", [Activation.NONE, Activation.RELU])
def test_channels_become_even(activation: Activation) -> None:
    graph = chain(activation)
    even = equalize(graph)
    assert spread(graph, "n1", (1, 2, 3)) > 1e4
    for name, made_by in (("n2", "n1"), ("n3", "n2")):
        made = np.abs(even.params[f"{made_by}.weight"]).max((1, 2, 3))
        read = np.abs(even.params[f"{name}.weight"]).max((1, 2, 3) if name == "n2" else (0, 1, 2))
        assert np.allclose(made, read, rtol=0.05)


def test_a_clamp_at_6_does_not_scale() -> None:
    graph = chain(Activation.RELU6)
    assert equalize(graph) == graph


def test_what_others_read_too_stays() -> None:
    graph = chain(Activation.RELU)
    both = Graph(graph.name, graph.nodes, ("n1", "n2", "n3"), graph.params)
    assert equalize(both) == both


def test_dead_channels_stay() -> None:
    graph = chain(Activation.RELU)
    dead = {name: array.copy() for name, array in graph.params.items()}
    dead["n1.weight"][2] = 0
    dead["n2.weight"][4] = 0
    even = equalize(Graph(graph.name, graph.nodes, graph.outputs, dead))
    assert all(np.isfinite(array).all() for array in even.params.values())
    assert not even.params["n1.weight"][2].any()
