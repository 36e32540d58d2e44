"""The impossible goal's table on any network, and the buffers behind it."""

import pytest
from hypothesis import HealthCheck, given, settings

from blocks import networks
from rillet.analyses.sources.buffers import BufferKind, buffers
from rillet.analyses.sources.impossible import impossible
from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.ir.ops import Conv
from rillet.models.opening import open_model

MODELS = (
    "mobilenet_v1", "mobilenet_v1:top=false", "mobilenet_v2", "mobilenet_v2:width=0.5,resolution=160,top=false",
    "mobilenet_v2:fuse=half,top=false", "mobilenet_v3_small", "mnasnet_b1:top=false", "efficientnet_lite0", "resnet18",
    "resnet50", "vgg16", "microbotnet",
)  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_the_total_times_the_points_of_the_last_map_is_the_macs(model: str) -> None:
    graph = open_model(model).graph
    found = impossible(graph)
    assert found.total * found.last.pixels == found.macs == graph.macs
    assert len(found.rows) == sum(isinstance(node.op, Conv) for node in graph.nodes)
    assert found.weights <= found.slower_total <= found.total
    assert sum(row.line_values for row in found.rows) == found.line_values
    assert sum(row.skip_values for row in found.rows) == found.skip_values
    for row in found.rows:
        assert row.product == row.points[0] * row.points[1] * row.weights
        assert row.slower == max(row.weights, -(-row.product // 4))
        assert 0 < row.slower_busy <= 1


def test_bits() -> None:
    graph = open_model("mobilenet_v2:top=false").graph
    assert impossible(graph, weight_bits=8).total_bytes * 2 == impossible(graph).total_bytes
    assert impossible(graph, weight_bits=1).total_bytes == impossible(graph).total / 8
    with pytest.raises(GraphError, match="weight_bits must be 1 to 32, got 0"):
        impossible(graph, weight_bits=0)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "mobilenet_v3_small:top=false",
            "block1.reduce: map must be a multiple of .* 7x7, got 1x1",
        ),
        ("squeezenet1_0", "multiple of the last convolution's 13x13, got 109x109"),
    ],
)
def test_maps_that_do_not_nest(model: str, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        impossible(open_model(model).graph)


@pytest.mark.parametrize("padding", ["keras", "torch"])
@pytest.mark.parametrize("side", [96, 224])
def test_buffers_follow_the_closed_forms(padding: str, side: int) -> None:
    graph = open_model(f"mobilenet_v2:top=false,resolution={side},padding={padding}").graph
    found = buffers(graph)
    assert [one.kind for one in found].count(BufferKind.LINE) == 18
    assert [one.kind for one in found].count(BufferKind.SKIP) == 10
    for one in found:
        pixels = 2 * one.width + 3 if one.kind is BufferKind.LINE else one.width + 2
        assert one.pixels == pixels
        assert one.values == pixels * one.channels


def test_squeeze_and_excite_holds_whole_maps() -> None:
    graph = open_model("mobilenet_v3_small").graph
    held = {one.value: one.pixels for one in buffers(graph)}
    assert held["block1.depthwise"] == 56 * 56


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks())
def test_a_buffer_holds_at_most_its_map(graph: Graph) -> None:
    for one in buffers(graph):
        assert 1 < one.pixels <= graph.by_name[one.value].shape.pixels
        assert one.values == one.pixels * one.channels
