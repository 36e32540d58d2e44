"""Transforms: what must stay the same does, to the value."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks import networks
from conftest import NETWORKS as FILES
from conftest import shared_file
from rillet.analyses.count import count
from rillet.backends import reference
from rillet.errors import GraphError, Unsupported
from rillet.importers.tflite import load
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import BatchNorm, Conv
from rillet.models.opening import open_model
from rillet.transforms import fuseconv
from rillet.transforms.fold import fold
from rillet.transforms.resize import with_classes, with_resolution, with_width
from rillet.transforms.stride import move_strides
from rillet.zoo.registry import NETWORKS, build
from rillet.zoo.weights import with_seeded_weights
from torch_graph import run_torch

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def image_for(graph: Graph, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 1, graph.input_nodes[0].shape.array).astype(np.float32)


def close(one: Array, other: Array, tolerance: float = 1e-5) -> bool:
    a, b = one.astype(np.float64), other.astype(np.float64)
    return a.shape == b.shape and bool(np.abs(a - b).max() <= tolerance * max(np.abs(a).max(), 1e-30))


# -- fold ------------------------------------------------------------------------------------------------------------


@QUICK
@given(networks(), st.integers(0, 9))
def test_folding_keeps_the_outputs(graph: Graph, seed: int) -> None:
    trained = with_seeded_weights(graph, seed)
    folded = fold(trained)
    assert not any(isinstance(node.op, BatchNorm) for node in folded.nodes)
    assert fold(graph).nodes == folded.nodes
    image = image_for(graph, seed)
    (before,), (after,) = reference.outputs(trained, image), reference.outputs(folded, image)
    assert close(before, after)


def test_folding_leaves_a_quantised_network_as_it_is() -> None:
    graph = load(shared_file(FILES["resnet"]))
    assert fold(graph) == graph


@QUICK
@given(networks(), st.integers(0, 9))
def test_the_reference_is_pytorch(graph: Graph, seed: int) -> None:
    trained, image = with_seeded_weights(graph, seed), image_for(graph, seed)
    seen = run_torch(trained, torch.tensor(image).permute(2, 0, 1)[None])
    expected = reference.run(trained, image)
    for name in graph.outputs:
        assert close(expected[name], seen[name][0].permute(1, 2, 0).numpy())


# -- resolution, width, classes --------------------------------------------------------------------------------------


# No pool of SqueezeNet 1.1 hangs over the edge at 224 pixels: a finished network cannot tell that it may at 65.
RESIZED = [
    (name, size)
    for name in NETWORKS
    for size in ("96x128", "65x33")
    if name != "binarynet_cifar10" and (name, size) != ("squeezenet1_1", "65x33")
]


@pytest.mark.parametrize(("name", "size"), RESIZED)
def test_another_resolution_is_that_of_the_zoo(name: str, size: str) -> None:
    height, width = map(int, size.split("x"))
    assert with_resolution(build(name), height, width).nodes == build(name, {"resolution": size}).nodes


def test_a_trained_network_keeps_its_weights_at_another_resolution() -> None:
    graph = load(shared_file(FILES["vww"]))
    other = with_resolution(graph, 64, 64)
    assert all(
        array is other.params[key] or np.array_equal(array, other.params[key]) for key, array in graph.params.items()
    )
    assert reference.outputs(other, np.zeros((64, 64, 3), np.int8))[0].shape == (1, 1, 2)


def test_a_trained_dense_layer_keeps_its_map() -> None:
    trained = with_seeded_weights(build("vgg16", {"resolution": "32"}))
    with pytest.raises(Unsupported, match=r"head.dense1: a trained dense layer must keep its map"):
        with_resolution(trained, 64, 64)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v1", "fd_mobilenet"])
def test_half_the_width_is_that_of_the_zoo(name: str) -> None:
    assert with_width(build(name), 0.5).nodes == build(name, {"width": "0.5"}).nodes


def test_width_of_what_the_zoo_cannot_scale() -> None:
    graph = open_model("squeezenet1_1:width=0.5").graph
    assert graph.by_name["fire2.concat"].shape.channels == 64
    assert graph.by_name[graph.outputs[0]].shape.channels == 1000
    fused = open_model("mobilenet_v2:fuse=half").graph
    assert with_width(fused, 0.5).by_name["block2.depthwise_row"].shape.channels == 24


def test_width_of_a_trained_network_is_refused() -> None:
    with pytest.raises(GraphError, match="width can change in an untrained network only"):
        open_model(f"{shared_file(FILES['vww'])}:width=0.5")


def test_width_of_an_imported_network_without_its_weights() -> None:
    graph = open_model(f"{shared_file(FILES['vww'])}:untrained=true,width=0.5").graph
    assert graph.by_name["block13.project"].shape.channels == 128
    assert not graph.params


def test_classes() -> None:
    trained = with_seeded_weights(build("mobilenet_v2", {"resolution": "32"}))
    other = with_classes(trained, 7)
    assert reference.outputs(other, image_for(other))[0].shape == (1, 1, 7)
    same = [key for key in trained.params if not key.startswith("head.logits")]
    assert all(np.array_equal(trained.params[key], other.params[key]) for key in same)


# -- FuSe ------------------------------------------------------------------------------------------------------------


def lines_only(graph: Graph, variant: str) -> Graph:
    """The network with depthwise kernels that a pair can hold: a row or a column of them, or for `full` the centre."""
    params = dict(graph.params)
    for site in fuseconv.sites(graph):
        op = site.node.op
        assert isinstance(op, Conv)
        key, (top, _, left, _) = f"{site.node.name}.weight", op.window.padding
        weight, kept = np.array(params[key]), np.zeros_like(params[key])
        half = weight.shape[0] // 2
        if variant == "full":
            kept[:, top, left] = weight[:, top, left]
        else:
            kept[:half, top] = weight[:half, top]
            kept[half:, :, left] = weight[half:, :, left]
        params[key] = kept
    return Graph(graph.name, graph.nodes, graph.outputs, params, graph.image)


@pytest.mark.parametrize("padding", ["keras", "torch"])
@pytest.mark.parametrize("variant", ["half", "full"])
@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mnasnet_b1"])
def test_a_pair_starts_as_the_row_and_column_of_its_kernel(name: str, variant: str, padding: str) -> None:
    """Where the kernels are lines, nothing is lost: the changed network computes the same function."""
    words = {"resolution": "48", "width": "0.25", "classes": "5", "padding": padding}
    graph = lines_only(with_seeded_weights(build(name, words), 1), variant)
    fused = fuseconv.fuse(graph, variant, fuseconv.sites(graph))
    image = image_for(graph)
    assert close(reference.outputs(graph, image)[0], reference.outputs(fused, image)[0])
    assert fused.macs != graph.macs


def test_an_imported_network_takes_pairs_too() -> None:
    """The float VWW network has folded batch norms and fused activations."""
    graph = lines_only(load(shared_file("mlperf_tiny/vww_96_float.tflite")), "half")
    fused = fuseconv.fuse(graph, "half", fuseconv.choose(graph, "2-4+block6"))
    image = np.random.default_rng(0).uniform(0, 1, (96, 96, 3)).astype(np.float32)
    assert close(reference.outputs(graph, image)[0], reference.outputs(fused, image)[0])
    pairs = [node.block for node in fused.nodes if node.name.endswith("_pair")]
    assert pairs == ["block2", "block3", "block4", "block6"]


@pytest.mark.parametrize("variant", ["half", "full"])
def test_a_dense_convolution_becomes_a_pair_and_a_mix(variant: str) -> None:
    """Kernels that are one line for each input channel, times a mix, are carried over without loss."""
    graph = with_seeded_weights(build("vgg16", {"resolution": "32", "form": "fuseconv", "classes": "4"}), 2)
    rng, params = np.random.default_rng(3), dict(graph.params)
    for site in fuseconv.sites(graph):
        key = f"{site.node.name}.weight"
        out, rows, columns, channels = params[key].shape
        mix = rng.normal(0, np.sqrt(1 / channels), (out, channels))
        lines, kept = rng.normal(0, 1, (channels, rows)), np.zeros((out, rows, columns, channels))
        half = channels // 2
        if variant == "half":
            kept[:, 1, :, :half] = mix[:, None, :half] * lines[:half].T[None]
            kept[:, :, 1, half:] = mix[:, None, half:] * lines[half:].T[None]
        else:
            kept[:, 1, 1] = mix
        params[key] = kept.astype(np.float32)
    graph = Graph(graph.name, graph.nodes, graph.outputs, params, graph.image)
    fused = fuseconv.fuse(graph, variant, fuseconv.sites(graph))
    image = image_for(graph)
    assert close(reference.outputs(graph, image)[0], reference.outputs(fused, image)[0], 1e-4)


def test_the_rank_one_fit_keeps_what_a_line_can() -> None:
    """On a map that changes along rows only, a row filter with the fit does all that a rank-one kernel does."""
    graph = with_seeded_weights(build("mobilenet_v1", {"resolution": "32", "width": "0.25"}), 4)
    site = fuseconv.sites(graph)[0]
    key = f"{site.node.name}.weight"
    rng = np.random.default_rng(5)
    channels = graph.params[key].shape[0]
    kernels = rng.normal(0, 1, (channels, 3, 1)) * rng.normal(0, 1, (channels, 1, 3))
    params = {**graph.params, key: kernels[..., None].astype(np.float32)}
    graph = Graph(graph.name, graph.nodes, graph.outputs, params, graph.image)
    fused = fuseconv.fuse(graph, "half", (site,), fit=True)
    row = fused.params[f"{site.node.name}_row.weight"][:, 0, :, 0]
    column = fused.params[f"{site.node.name}_column.weight"][:, :, 0, 0]
    half = channels // 2
    np.testing.assert_allclose(row, kernels.sum(1)[:half], atol=1e-5)
    np.testing.assert_allclose(column, kernels.sum(2)[half:], atol=1e-5)


def test_shares_and_blocks() -> None:
    graph = build("mobilenet_v2")
    assert len(fuseconv.choose(graph)) == 17
    assert [s.node.block for s in fuseconv.choose(graph, share=0.25)] == ["block1", "block2", "block3", "block4"]
    assert [s.node.block for s in fuseconv.choose(graph, "3+block9")] == ["block3", "block9"]
    published = open_model("mobilenet_v2:fuse=half50").graph
    assert published.nodes == open_model("mobilenet_v2:fuse=half,blocks=2-10").graph.nodes


def test_what_fuse_has_no_place_for() -> None:
    with pytest.raises(Unsupported, match="must have float weights or none, got i8"):
        open_model(f"{shared_file(FILES['vww'])}:fuse=half")
    trained = with_seeded_weights(build("squeezenet1_1", {"resolution": "64"}))
    with pytest.raises(Unsupported, match="a trained fire module has no weights for a wider 1x1"):
        fuseconv.fuse(trained, "full", fuseconv.sites(trained))
    with pytest.raises(GraphError, match="fuse must be half or full, got 'third'"):
        fuseconv.fuse(build("mobilenet_v2"), "third", ())


# -- strides ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mnasnet_b1", "mobilenet_v3_large", "microbotnet"])
def test_moving_strides_keeps_parameters_and_can_be_undone(name: str) -> None:
    graph = build(name)
    moved = move_strides(graph, "last")
    before, after = count(graph), count(moved)
    assert after.params == before.params
    assert after.macs > before.macs
    assert moved.by_name[moved.outputs[0]].shape == graph.by_name[graph.outputs[0]].shape
    back = {node.name: node.shape for node in move_strides(moved, "first").nodes}
    assert back.items() <= {node.name: node.shape for node in graph.nodes}.items()


def test_moved_strides_are_another_function() -> None:
    graph = build("mobilenet_v1", {"resolution": "64", "width": "0.25"})
    moved, image = move_strides(graph, "last"), image_for(graph)
    one, other = (reference.outputs(with_seeded_weights(g), image)[0] for g in (graph, moved))
    assert not close(one, other, 0.01)
