"""Arrays that layers share: one array, counted once, emitted once, trained once, through every file and transform."""

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from safetensors.numpy import load as load_tensors
from torch import nn

from conftest import example_counts
from graphs import Builder, random_image
from rillet import from_torch
from rillet.analyses.coding import network_size
from rillet.analyses.count import count
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.errors import GraphError
from rillet.exporters import rlt as rlt_writer
from rillet.exporters import safetensors
from rillet.exporters.tflite import export as to_tflite
from rillet.importers import rlt
from rillet.importers.tflite import parse as parse_tflite
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Activate, Activation, Conv, Input, Rounding
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import DType, Shape, TensorType
from rillet.plan.host.planner import plan_host
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Program
from rillet.targets.host import this_host
from rillet.train.modules import from_state, to_module
from rillet.transforms.dequantize import dequantize
from rillet.transforms.equalize import equalize
from rillet.transforms.fold import fold, without_weights
from rillet.transforms.lowbit import binarize, census, large_layers, pack, ternarize, unpack
from rillet.transforms.prune import prune
from rillet.transforms.resize import with_classes, with_resolution
from rillet.transforms.share import share
from rillet.zoo.weights import with_seeded_weights
from tied import QUIET, copies, groups_of, layers_of, quantized, same_values, tied, twice

# -- the graph ---------------------------------------------------------------------------------------------------------


def test_one_convolution_three_times_is_one_array_everywhere() -> None:
    graph = twice()
    counted, plan = count(graph), plan_rows(graph)
    assert (counted.params, counted.weights, counted.weight_bytes, graph.weight_bytes) == (2304, 2304, 9216, 9216)
    assert sum(layer.params for layer in counted.layers) == 2304
    assert network_size(graph).dense_bytes == 9216
    assert count(without_weights(graph)).weight_bytes == 9216
    assert tables(emit(plan)) == ["2304"]
    assert tables(emit(plan_host(graph, this_host()))) == [str(2304)]
    assert sum(p.numel() for p in to_module(graph).parameters()) == 2304
    image = random_image(graph)
    assert np.allclose(Program(plan).run(image)[0], reference.outputs(graph, image)[0], rtol=1e-4, atol=1e-5)


def tables(files: dict[str, str]) -> list[str]:
    """Values of each table of weights of an emitted program."""
    text = files["net_weights.h"]
    return re.findall(r"extern const float net_\w+_weights\[(\d+)\]", text) or re.findall(
        r"union net_\w+_weights_\w+ \{ \w+ \w+\[\d+\]; float values\[(\d+)\]", text
    )


def test_who_shares_is_checked_and_said_in_one_way() -> None:
    graph = twice()
    first, second, third = (node.name for node in graph.nodes if isinstance(node.op, Conv))
    assert graph.shared == {f"{name}.weight": f"{first}.weight" for name in (second, third)}
    array = graph.params[f"{first}.weight"]
    other = replace(
        graph,
        params={f"{third}.weight": array},
        shared={f"{name}.weight": f"{third}.weight" for name in (first, second)},
    )
    assert other == graph
    assert graph != copies(graph)
    assert copies(graph).weight_bytes == 3 * graph.weight_bytes
    for shared, params, message in (
        ({"nobody.weight": f"{first}.weight"}, {}, "must be an array of a node to be shared"),
        ({f"{second}.weight": f"{first}.bias"}, {}, "must be an array of a node to be shared"),
        ({f"{second}.weight": f"{first}.weight", f"{third}.weight": f"{second}.weight"}, {}, "must share an array of"),
        ({f"{second}.weight": f"{first}.weight"}, {f"{second}.weight": array}, "must have no array beside"),
        ({}, {}, "weight is missing"),
    ):
        with pytest.raises(GraphError, match=message):
            replace(graph, shared=shared, params={f"{first}.weight": array} | params)


def test_arrays_of_other_shapes_are_not_shared() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    first = b.add(b.conv(3), b.add(Input(), shape=Shape(4, 4, 2)))
    second = b.add(b.conv(3), first)
    graph = b.graph()
    with pytest.raises(GraphError, match=rf"{second}.weight: must be as {first}.weight is to share it"):
        params = {key: array for key, array in graph.params.items() if key != f"{second}.weight"}
        replace(graph, params=params, shared={f"{second}.weight": f"{first}.weight"})


def test_nodes_called_as_the_words_of_the_text_form_are_read_back() -> None:
    names = ("image", "graph", "block", "label", "output", "shared", "rillet")
    nodes = [Node("x", Input(), (), TensorType(Shape(2, 2, 1)))]
    for name in names:
        nodes.append(Node(name, Activate(Activation.RELU), (nodes[-1].name,), TensorType(Shape(2, 2, 1))))
    graph = Graph("words", tuple(nodes), (nodes[-1].name,))
    assert parse_graph(print_graph(graph)) == graph


@example_counts(12, 300)
def test_each_array_is_counted_once_and_the_values_are_those_of_copies(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(tied())
    def run(graph: Graph) -> None:
        apart = copies(graph)
        same_values(graph, apart)
        sizes = {key: array.nbytes for key, array in graph.params.items() if key.endswith((".weight", ".bias"))}
        assert graph.weight_bytes == sum(sizes.values())
        assert len(graph.params) == len(apart.params) - len(graph.shared)
        for one in (graph, without_weights(graph)):
            counted = count(one)
            assert counted.weight_bytes == sum(sizes.values())
            assert counted.params == sum(graph.params[key].size for key in sizes)

    run()


@example_counts(2, 15)
def test_each_table_is_emitted_once_and_c_gives_the_references_values(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(tied())
    def run(graph: Graph) -> None:
        for plan in (plan_rows(graph), plan_host(graph, this_host())):
            image = random_image(graph)
            (got,), (expected,) = Program(plan).run(image), reference.outputs(graph, image)
            if graph.nodes[-1].type.dtype is DType.F32:
                assert np.allclose(got, expected, rtol=1e-4, atol=1e-4)
            else:
                assert np.array_equal(got, expected)
            header = emit(plan)["net_weights.h"]
            made = re.findall(r"^extern const (?!union)\w+ (\w+)\[|^#define (\w+) \(", header, re.MULTILINE)
            also = re.findall(r"^#define (\w+) (\w+)$", header, re.MULTILINE)
            assert {first for _, first in also} <= {a or b for a, b in made}
            apart = emit(plan_rows(copies(graph)) if plan.host is None else plan_host(copies(graph), this_host()))
            assert apart["net_weights.h"] == header

    run()


# -- files -------------------------------------------------------------------------------------------------------------


@example_counts(12, 300)
def test_rillets_own_file_has_each_array_once_and_gives_the_sharing_back(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(tied())
    def run(graph: Graph) -> None:
        for one in (graph, without_weights(graph), pack(graph)):
            data = rlt_writer.to_bytes(one)
            assert rlt.parse(data, "x.rlt") == one
            weights = zipfile.ZipFile(io.BytesIO(data)).read("weights.safetensors")
            assert len(load_tensors(weights)) == len(one.params)

    run()


@pytest.mark.parametrize("line", ["shared n1.weight", "shared n1.weight n0.weight n2.weight", "shared a.b c.d"])
def test_hostile_sharing_is_refused(line: str) -> None:
    with pytest.raises(GraphError):
        parse_graph(print_graph(without_weights(twice())) + line + "\n")


@example_counts(8, 200)
def test_onnx_files_have_each_array_once_and_give_the_sharing_back(examples: int) -> None:
    pytest.importorskip("onnx")
    import onnx

    from rillet.exporters.onnx import export
    from rillet.importers.onnx import parse

    @settings(max_examples=examples, **QUIET)
    @given(tied())
    def run(graph: Graph) -> None:
        data = export(graph)
        back = parse(data, "x.onnx")
        same_values(back, graph)
        names = {t.name for t in onnx.load_from_string(data).graph.initializer}
        assert not names & {key for key in graph.shared if key.endswith((".weight", ".bias"))}
        weights = [group for group in groups_of(graph) if next(iter(group)).endswith((".weight", ".bias"))]
        found = groups_of(back)
        assert all(any(group <= other for other in found) for group in weights)
        assert back.weight_bytes == graph.weight_bytes

    run()


@example_counts(8, 200)
def test_tflite_files_have_each_array_once_and_give_the_sharing_back(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(tied())
    def run(graph: Graph) -> None:
        graph = replace(graph, nodes=tuple(replace(n, op=doubled(n.op)) for n in graph.nodes))
        back = parse_tflite(to_tflite(graph), "x.tflite").graph
        same_values(back, graph)
        assert back.weight_bytes == graph.weight_bytes

    run()


def doubled(op: Any) -> Any:
    return replace(op, rounding=Rounding.DOUBLE) if isinstance(op, Conv) else op


def test_safetensors_has_each_tensor_once_and_names_the_others() -> None:
    graph = twice()
    first, *others = (node.name for node in graph.nodes if isinstance(node.op, Conv))
    data = safetensors.to_bytes(graph)
    state = load_tensors(data)
    assert list(state) == [f"{first}.weight"]
    header = data[8 : 8 + int.from_bytes(data[:8], "little")].decode()
    assert all(f'"{name}.weight":"{first}.weight"' in header for name in others)
    tensors = {key: torch.from_numpy(array) for key, array in state.items()}
    assert from_state(tensors, without_weights(graph)) == graph


# -- transforms --------------------------------------------------------------------------------------------------------


FLOAT_TRANSFORMS: dict[str, Callable[[Graph], Graph]] = {
    "prune": lambda g: prune(g, 0.5, layers_of(g)),
    "share": lambda g: share(g, 2, layers_of(g)),
    "ternarize": lambda g: ternarize(g, layers_of(g)),
    "binarize and pack": lambda g: pack(binarize(g, layers_of(g))),
    "pack and unpack": lambda g: unpack(pack(ternarize(g, layers_of(g)))),
    "quantize": quantized,
    "quantize and back": lambda g: dequantize(quantized(g)),
    "resolution": lambda g: with_resolution(g, 9, 10),
}
KEEP = {"prune", "share", "ternarize", "binarize and pack", "pack and unpack", "resolution"}


@example_counts(6, 100)
@pytest.mark.parametrize("name", FLOAT_TRANSFORMS)
def test_transforms_do_the_same_to_shared_arrays_as_to_copies(name: str, examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(tied(DType.F32))
    def run(graph: Graph) -> None:
        made = FLOAT_TRANSFORMS[name](graph)
        same_values(made, FLOAT_TRANSFORMS[name](copies(graph)))
        if name in KEEP:
            assert made.shared.items() >= graph.shared.items()
        else:  # a layer's own scales may make other integers of a shared array, and never more sharing
            assert all(any(group <= other for other in groups_of(graph)) for group in groups_of(weights_only(made)))

    run()


def weights_only(graph: Graph) -> Graph:
    shared = {k: v for k, v in graph.shared.items() if k.endswith((".weight", ".bias"))}
    return replace(graph, params={}, shared=shared)


@example_counts(6, 100)
def test_int8_networks_become_float_with_what_they_share_under_one_scale(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(tied(DType.I8))
    def run(graph: Graph) -> None:
        made = dequantize(graph)
        same_values(made, dequantize(copies(graph)))
        assert dequantize(without_weights(graph)).shared == made.shared
        for key in graph.shared:
            if key.endswith(".weight"):
                scale = key.removesuffix("weight") + "weight_scale"
                same = graph.shared.get(scale, scale) == graph.shared[key].removesuffix("weight") + "weight_scale"
                assert (key in made.shared) == same

    run()


@example_counts(15, 300)
def test_batch_norms_are_folded_into_shared_arrays_as_into_copies(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(tied(DType.F32, norms=True))
    def run(graph: Graph) -> None:
        made = fold(graph)
        same_values(made, fold(copies(graph)))
        assert fold(without_weights(graph)).shared == made.shared
        for key, first in made.shared.items():
            assert np.array_equal(made.arrays[key], fold(copies(graph)).params[first])

    run()


class Normed(nn.Module):
    """One convolution three times, behind it batch norms."""

    def __init__(self, norms: int) -> None:
        super().__init__()
        self.c = nn.Conv2d(4, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(norms))
        for norm in self.norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(3):
            x = torch.relu(self.norms[i % len(self.norms)](self.c(x)))
        return x


@pytest.mark.parametrize(("norms", "kept"), [(1, 1), (2, 2), (3, 3)])
def test_a_convolution_behind_which_batch_norms_differ_becomes_as_many(norms: int, kept: int) -> None:
    module = Normed(norms).eval()
    graph = from_torch(module, torch.randn(1, 4, 6, 6))
    parameters = sum(p.numel() for p in module.parameters())
    assert count(graph).params == parameters
    folded = fold(graph)
    assert len(folded.params) == 2 * kept
    assert count(graph).weight_bytes == folded.weight_bytes == kept * 4 * (4 * 4 * 9 + 4)
    same_values(folded, fold(copies(graph)))


def test_layers_that_share_with_an_end_keep_their_weights_and_others_go_together() -> None:
    graph = twice()
    with pytest.raises(GraphError, match="must have layers of more than"):
        large_layers(graph, 10)
    first, second, _ = layers_of(graph)
    for made in (ternarize(graph, [second]), prune(graph, 0.5, [first])):
        assert made.shared == graph.shared
        assert len(made.params) == 1
    report = census(ternarize(graph, [second]), [second])
    assert (report.tensors, report.other_tensors, report.params) == (1, 0, 2304)


def test_equalize_leaves_shared_arrays_alone_and_a_new_head_is_its_own() -> None:
    graph = fold(twice())
    assert equalize(graph) == graph
    for one in (graph, without_weights(graph)):
        made = with_classes(one, 16, 1)
        assert len(made.shared) == 1 + (not one.params)  # without weights nothing tells the new head from the old
        assert len(with_classes(one, 5, 1).shared) == 1


def test_seeded_weights_keep_the_sharing() -> None:
    graph = without_weights(twice())
    assert with_seeded_weights(graph).shared == graph.shared


# -- chips and costs ---------------------------------------------------------------------------------------------------


def test_a_pipeline_has_the_weights_of_each_stage_in_its_own_memory() -> None:
    graph = quantized(fold(twice()))
    made, apart = plan_pixels(graph, interval=9216), plan_pixels(copies(graph), interval=9216)
    # Stages fire at the same time, each from its own memory: hardware has a shared array as often as it is used.
    assert made.weights == apart.weights == 3 * 2304
    assert made.multipliers == apart.multipliers
    assert made.resident_bits == apart.resident_bits
