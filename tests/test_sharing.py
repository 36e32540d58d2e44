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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
from rillet.ir.ops import Activate, Activation, Add, BatchNorm, Conv, Input, Rounding, Window
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import DType, Shape, TensorType
from rillet.plan.host import plan_host
from rillet.plan.pixels import plan_pixels
from rillet.plan.rows import plan_rows
from rillet.runtime.run import Program
from rillet.targets.host import this_host
from rillet.train.modules import from_module, from_state, to_module
from rillet.train.quantized import QuantizedNetwork, scales_of
from rillet.train.recipe import Quantize, Ternary
from rillet.train.ternary import make_ternary, plain_state
from rillet.transforms.dequantize import dequantize
from rillet.transforms.equalize import equalize
from rillet.transforms.fold import fold, without_weights
from rillet.transforms.lowbit import binarize, census, large_layers, pack, ternarize, unpack
from rillet.transforms.prune import prune
from rillet.transforms.quantize import Quantization, Rule, quantize
from rillet.transforms.resize import with_classes, with_resolution
from rillet.transforms.share import share
from rillet.transforms.statistics import Calibration, observe
from rillet.zoo.weights import with_seeded_weights

QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
CHANNELS = 4


@st.composite
def tied(draw: st.DrawFn, dtype: DType | None = None, norms: bool = False) -> Graph:
    """A chain of layers, some of whose arrays are those of earlier layers: all of a layer's, or some."""
    dtype = dtype or draw(st.sampled_from([DType.F32, DType.I8, DType.U8]))
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), dtype)
    at = b.add(Input(), shape=Shape(draw(st.integers(3, 7)), draw(st.integers(3, 7)), CHANNELS))
    shared: dict[str, str] = {}
    before: dict[str, list[str]] = {}
    for _ in range(draw(st.integers(2, 6))):
        kind = draw(st.sampled_from(["conv", "conv", "pointwise", "depthwise", *(["norm"] if norms else [])]))
        source, groups = at, CHANNELS if kind == "depthwise" else 1
        if kind == "norm":
            at = b.add(BatchNorm(draw(st.sampled_from([1e-3, 1e-5]))), at)
            for name in ("gamma", "beta", "mean", "variance"):
                b.params[f"{at}.{name}"] = b.rng.uniform(0.5, 1.5, CHANNELS).astype(np.float32)
        else:
            activation = draw(st.sampled_from([Activation.NONE, Activation.NONE, Activation.RELU]))
            kernel, rounding = (1, 1) if kind == "pointwise" else (3, 3), draw(st.sampled_from(ROUNDINGS))
            op = b.conv(CHANNELS, kernel, groups=groups, activation=activation, rounding=rounding)
            at = b.add(op, at)
        own = [key.removeprefix(f"{at}.") for key in b.params if key.startswith(f"{at}.")]
        if before.get(kind) and draw(st.booleans()):
            first, whole = draw(st.sampled_from(before[kind])), draw(st.booleans())
            shared |= {f"{at}.{name}": f"{first}.{name}" for name in own if whole or draw(st.booleans())}
        else:
            before.setdefault(kind, []).append(at)
        if draw(st.integers(0, 4)) == 0:
            at = b.add(Add(), at, source)
    if len(b.nodes) == 2 and norms:
        at = b.add(b.conv(CHANNELS), at)
    params = {key: array for key, array in b.params.items() if key not in shared}
    return Graph("tied", tuple(b.nodes), (at,), params, None, shared)


ROUNDINGS = [Rounding.SINGLE, Rounding.DOUBLE]


def copies(graph: Graph) -> Graph:
    """The same network without sharing."""
    return replace(graph, params=graph.arrays, shared={})


def same_values(one: Graph, other: Graph, seed: int = 0) -> None:
    image = random_image(one, seed)
    for left, right in zip(reference.outputs(one, image), reference.outputs(other, image), strict=True):
        assert np.array_equal(left, right)


def groups_of(graph: Graph) -> list[set[str]]:
    found: dict[str, set[str]] = {}
    for key, first in graph.shared.items():
        found.setdefault(first, {first}).add(key)
    return list(found.values())


class Twice(nn.Module):
    """One convolution three times."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(16, 16, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.c(torch.relu(self.c(x)))))


def twice() -> Graph:
    torch.manual_seed(0)
    return from_torch(Twice().eval(), torch.randn(1, 16, 8, 8))


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
        r"union net_\w+_weights_bytes \{ char bytes\[\d+\]; float values\[(\d+)\]", text
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


def layers_of(graph: Graph) -> tuple[str, ...]:
    return tuple(node.name for node in graph.nodes if isinstance(node.op, Conv))


def quantized(graph: Graph) -> Graph:
    values = reference.run(graph, random_image(graph))
    seen = {name: observe(value) for name, value in values.items()}
    how = Quantization(Rule.FIXED_POINT, Calibration.MINMAX)
    return quantize(graph, seen, how)


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


# -- modules of other frameworks ---------------------------------------------------------------------------------------


class Tied(nn.Module):
    """Two layers with one weight and biases of their own, and a layer whose bias is that of another."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.b.weight = self.a.weight
        self.c.bias = self.a.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.b(torch.relu(self.a(x)))))


def test_layers_of_one_parameter_share_it_and_equal_ones_do_not() -> None:
    module = Tied().eval()
    nn.init.zeros_(module.a.bias)
    nn.init.zeros_(module.b.bias)
    graph = from_torch(module, torch.randn(1, 3, 4, 4))
    a, b, c = layers_of(graph)
    assert graph.shared == {f"{b}.weight": f"{a}.weight", f"{c}.bias": f"{a}.bias"}
    assert count(graph).params == sum(p.numel() for p in module.parameters())


class Computed(nn.Module):
    """A weight that is computed at each of two calls, and the same transposed at a third."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for weight in (self.w.tanh(), self.w.tanh(), self.w.transpose(0, 1).tanh()):
            x = torch.relu(nn.functional.conv2d(x, weight))
        return x


def test_what_follows_from_one_parameter_is_one_array_where_it_is_equal() -> None:
    graph = from_torch(Computed().eval(), torch.randn(1, 3, 4, 4))
    a, b, _ = layers_of(graph)
    assert graph.shared == {f"{b}.weight": f"{a}.weight"}


def dense_and_pointwise() -> Graph:
    """A convolution of one pixel and a dense layer with one array."""
    b = Builder(np.random.default_rng(0), DType.F32)
    first = b.add(b.conv(4), b.add(Input(), shape=Shape(1, 1, 4)))
    second = b.add(Conv(4, Window(), weights=DType.F32, dense=True), first)
    third = b.add(b.conv(4), second)
    graph = b.graph()
    shared = {f"{name}.{what}": f"{first}.{what}" for name in (second, third) for what in ("weight", "bias")}
    return replace(graph, params={k: v for k, v in graph.params.items() if k not in shared}, shared=shared)


def test_a_dense_layer_and_a_convolution_train_one_tensor() -> None:
    graph = dense_and_pointwise()
    module = to_module(graph)
    assert sum(p.numel() for p in module.parameters()) == 20
    assert from_module(module, graph) == graph
    gradients_add_up(graph)


# -- training ----------------------------------------------------------------------------------------------------------


def gradients_add_up(graph: Graph) -> None:
    """The gradient of a shared tensor is the sum of what it is for copies."""
    torch.manual_seed(1)
    image = torch.randn(2, graph.nodes[0].shape.channels, *graph.nodes[0].shape.array[:2])
    found: list[dict[str, torch.Tensor]] = []
    for one in (graph, copies(graph)):
        module = to_module(one).eval()
        (module(image) ** 2).sum().backward()
        parameters = dict(module.named_parameters(remove_duplicate=False))
        found.append({key: p.grad for key, p in parameters.items() if p.grad is not None})
    together, apart = found
    names = {node.name: node for node in graph.nodes}

    def place(key: str) -> str:
        node, _, leaf = key.rpartition(".")
        norm = isinstance(names[node].op, BatchNorm)
        own = f"{node}.{ {'weight': 'gamma', 'bias': 'beta'}[leaf] if norm else leaf }".replace(" ", "")
        return graph.shared.get(own, own)

    for key, grad in together.items():
        parts = [other.flatten() for name, other in apart.items() if place(name) == place(key)]
        total = torch.stack(parts).sum(0)
        assert torch.allclose(grad.flatten(), total, rtol=1e-3, atol=1e-4 * float(total.abs().max() + 1))


@example_counts(6, 40)
def test_one_parameter_is_trained_by_all_its_layers_and_comes_back_shared(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(tied(DType.F32, norms=True))
    def run(graph: Graph) -> None:
        module = to_module(graph)
        learned = [key for key in graph.params if not key.endswith((".mean", ".variance"))]
        assert len(list(module.parameters())) == len(learned)
        assert from_module(module, graph) == graph
        gradients_add_up(graph)
        optimizer = torch.optim.SGD(module.parameters(), 0.01)
        shape = graph.nodes[0].shape
        module.train()(torch.randn(2, CHANNELS, shape.height, shape.width)).square().mean().backward()
        optimizer.step()
        moved = module.to(torch.float64).to(torch.float32)
        trained = from_module(moved, graph)
        assert trained.shared == graph.shared
        assert from_torch(moved, torch.randn(1, CHANNELS, shape.height, shape.width)).shared == graph.shared

    run()


def test_ternary_layers_that_share_learn_one_pair_of_levels() -> None:
    graph = twice()
    module = to_module(graph)
    make_ternary(module, layers_of(graph)[1:], Ternary(threshold=0.1))
    assert sum(p.numel() for p in module.parameters()) == 2304 + 2
    made = from_state(plain_state(module), graph)
    assert made.shared == graph.shared
    assert len(np.unique(next(iter(made.params.values())))) == 3


def test_a_quantised_training_has_one_weight_that_each_layer_rounds_for_itself() -> None:
    graph = fold(twice())
    module = QuantizedNetwork(graph)
    module.load_state_dict(to_module(graph).state_dict())
    assert sum(p.numel() for p in module.parameters()) == 2304
    module.use(scales_of(graph, to_module(graph), [torch.randn(2, 16, 8, 8)], Quantize()))
    module(torch.randn(1, 16, 8, 8)).sum().backward()
    assert next(module.parameters()).grad is not None
    assert from_module(module, graph) == graph
