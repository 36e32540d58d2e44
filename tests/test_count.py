"""Counting: conventions, sums, bytes, and PyTorch's own counter beside ours."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from blocks import networks
from conftest import NETWORKS, example_counts, shared_file
from rillet.analyses.count import Convention, by, count, kind
from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.models.opening import open_model
from rillet.transforms import fuseconv
from torch_graph import run_torch


def torch_macs(graph: Graph) -> tuple[int, dict[str, tuple[int, ...]]]:
    """MACs by torch.utils.flop_counter, and the shape of every value as height, width, channels."""
    source = graph.input_nodes[0].shape
    image = torch.empty(1, source.channels, source.height, source.width, device="meta")
    with FlopCounterMode(display=False) as counter:
        values = run_torch(graph, image)
    shapes = {name: (value.shape[2], value.shape[3], value.shape[1]) for name, value in values.items()}
    return counter.get_total_flops() // 2, shapes


@example_counts(25, 250)
def test_shapes_and_macs_are_those_of_pytorch(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(networks(), st.sampled_from(("none", "half", "full")))
    def run(graph: Graph, variant: str) -> None:
        check_shapes_and_macs(graph, variant)

    run()


def check_shapes_and_macs(graph: Graph, variant: str) -> None:
    if variant != "none" and fuseconv.sites(graph):
        try:
            graph = fuseconv.fuse(graph, variant, fuseconv.sites(graph))
        except GraphError:
            variant = "none"  # no place for it
    macs, shapes = torch_macs(graph)
    assert graph.macs == count(graph).macs == macs
    assert shapes == {node.name: node.shape.array for node in graph.nodes}


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small:fuse=full", "squeezenet1_0:bypass=complex"])
def test_whole_networks_are_those_of_pytorch(name: str) -> None:
    graph = open_model(name).graph
    macs, shapes = torch_macs(graph)
    assert graph.macs == macs
    assert shapes == {node.name: node.shape.array for node in graph.nodes}


def test_what_is_not_counted_is_listed() -> None:
    graph = open_model("mobilenet_v2").graph
    left = {u.what: (u.nodes, u.values) for u in count(graph).uncounted}
    assert left == {
        "batch norm": (52, 6_678_112),
        "relu6": (35, 6_105_792),
        "add": (10, 216_384),
        "global mean pool": (1, 1280),
        "bias": (1, 1000),
    }
    assert {u.what for u in count(graph, Convention.PTHFLOPS).uncounted} == {"relu6", "global mean pool", "bias"}
    assert {u.what for u in count(graph, Convention.THOP_2020).uncounted} == {"relu6", "add", "global mean pool"}


@pytest.mark.parametrize("convention", Convention)
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "microbotnet:width=0.32", "squeezenet1_1", "binarynet_cifar10"])
def test_every_node_is_counted_or_listed(name: str, convention: Convention) -> None:
    graph = open_model(name).graph
    counted = count(graph, convention)
    listed = {u.what for u in counted.uncounted}
    for node, layer in zip(graph.nodes[1:], counted.layers, strict=True):
        assert layer.name == node.name
        assert layer.macs > 0 or kind(graph, node) in listed


def test_sums_by_block_and_kind_add_up() -> None:
    counted = count(open_model("mobilenet_v3_large").graph)
    for groups in (by(counted, lambda layer: layer.block), by(counted, lambda layer: layer.kind)):
        assert sum(g.macs for g in groups) == counted.macs
        assert sum(g.params for g in groups) == counted.params
        assert sum(g.activations for g in groups) == counted.activations
    kinds = {g.name for g in by(counted, lambda layer: layer.kind)}
    assert {"standard", "depthwise", "pointwise", "dense", "hard_swish", "global average pool", "multiply"} <= kinds


def test_kinds_of_fuse_convolutions() -> None:
    graph = open_model("mobilenet_v2:fuse=half").graph
    assert kind(graph, graph.by_name["block2.depthwise_row"]) == "row"
    assert kind(graph, graph.by_name["block2.depthwise_column"]) == "column"


def test_bytes_at_8_bits() -> None:
    counted = count(open_model("mobilenet_v2").graph, bits=8)
    assert counted.peak_activation_bytes == 1_505_280
    # 3,469,760 kernels of a byte, 18,056 biases of 4 (17,056 channels with folded batch norms, 1000 classes).
    assert counted.weights == 3_469_760
    assert counted.weight_bytes == 3_469_760 + 4 * 18_056
    assert counted.macs_per_weight == pytest.approx(300_774_272 / 3_469_760)
    assert counted.arithmetic_intensity == counted.macs / counted.traffic_bytes


def test_an_imported_network_counts_the_same() -> None:
    imported = count(open_model(shared_file(NETWORKS["vww"])).graph)
    zoo = count(open_model("mobilenet_v1:width=0.25,resolution=96,classes=2,form=fuseconv").graph, bits=8)
    assert imported.macs == zoo.macs == 7_489_664
    assert imported.weights == zoo.weights
    assert imported.weight_bytes == zoo.weight_bytes


@pytest.mark.parametrize("bits", [0, 33, -8])
def test_bits_that_are_none(bits: int) -> None:
    with pytest.raises(GraphError, match="--bits must be 1 to 32, got"):
        count(open_model("mobilenet_v2").graph, bits=bits)
