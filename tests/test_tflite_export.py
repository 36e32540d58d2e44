"""Graphs to TFLite files and back: the same function to the last bit, and LiteRT computes it too."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tflite
from hypothesis import HealthCheck, given, settings

from conftest import NETWORKS, shared_file
from draws import REFUSED, mostly
from graphs import Builder, conv, graphs, random_image
from rillet.backends import reference
from rillet.errors import GraphError, Unsupported
from rillet.exporters.tflite import export, rounded
from rillet.exporters.tflite.file import ALIGNMENT, FileWriter, Quantized
from rillet.importers.tflite import load, parse
from rillet.importers.tflite.file import File
from rillet.ir.graph import Graph
from rillet.ir.ops import Activate, Activation, Conv, Input, Op, Pool, PoolKind, Rounding, Window
from rillet.ir.types import DType, Shape
from rillet.models.convert import convert
from rillet.models.opening import open_model
from rillet.runtime.oracles import LiteRt, installed
from rillet.transforms.dequantize import dequantize
from rillet.transforms.fold import fold
from test_plan import residual


def agree(graph: Graph, got: list[np.ndarray], image: np.ndarray) -> None:
    """Outputs are the reference's: the same bytes, or for float32 nearly so."""
    for want, have in zip(reference.outputs(graph, image), got, strict=True):
        if want.dtype.kind == "f":
            scale = max(float(np.abs(value).max()) for value in reference.run(graph, image).values())
            assert np.abs(want - have.reshape(want.shape)).max() <= 1e-5 * scale
        else:
            assert np.array_equal(want, have.reshape(want.shape))


def litert(data: bytes, image: np.ndarray) -> list[np.ndarray]:
    """What LiteRT's reference kernels make of a file."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    made.allocate_tensors()
    details = made.get_input_details()[0]
    made.set_tensor(details["index"], image.reshape(details["shape"]))
    made.invoke()
    return [made.get_tensor(out["index"]) for out in made.get_output_details()]


@pytest.mark.parametrize("dtype", [DType.I8, DType.F32])
def test_maxima_of_values_that_are_never_below_zero_are_padded_with_zeros(dtype: DType) -> None:
    b = Builder(np.random.default_rng(6), dtype)
    at = b.add(b.conv(4, activation=Activation.RELU), b.add(Input(), shape=Shape(9, 7, 3)))
    graph = rounded(b.graph(b.add(Pool(PoolKind.MAX, Window((3, 3), (2, 2), (1, 1, 1, 1))), at, same=True)))
    data, image = export(graph), random_image(graph)
    agree(graph, litert(data, image), image)
    read = parse(data, "x.tflite").graph
    agree(graph, list(reference.outputs(read, image)), image)


@mostly(0.5)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(graphs())
def test_what_is_written_is_read_as_the_same_function(graph: Graph) -> object:
    graph = rounded(graph)
    try:
        data = export(graph)
    except Unsupported:
        return REFUSED
    image = random_image(graph)
    back = parse(data, "net.tflite").graph
    assert back.input_nodes[0].type == graph.input_nodes[0].type
    assert [back.by_name[name].type.quant for name in back.outputs] == [
        graph.by_name[name].type.quant for name in graph.outputs
    ]
    agree(graph, list(reference.outputs(back, image)), image)
    return None


@pytest.mark.parametrize("name", [*NETWORKS.values(), "mobilenet_tflite/mobilenet_v1_0.25_128_quant.tflite"])
def test_published_networks_come_back_as_themselves(name: str) -> None:
    graph = load(shared_file(name))
    back = parse(export(graph), graph.name + ".tflite").graph
    assert [(node.op, node.type) for node in back.nodes] == [(node.op, node.type) for node in graph.nodes]
    for old, new in zip(graph.nodes, back.nodes, strict=True):
        for param in graph.node_params(old):
            assert np.array_equal(graph.param(old, param.name), back.param(new, param.name))


@pytest.mark.parametrize("name", [*NETWORKS.values(), "mobilenet_tflite/mobilenet_v1_0.25_128_quant.tflite"])
@pytest.mark.parametrize("real", [False, True])
def test_litert_computes_the_same(name: str, real: bool) -> None:
    pytest.importorskip("ai_edge_litert")
    graph = load(shared_file(name))
    graph = dequantize(graph) if real else graph
    image = random_image(graph)
    agree(graph, litert(export(graph), image), image)


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v3_small:resolution=64,seed=1", "squeezenet_cifar10:seed=1", "microbotnet:width=0.32,seed=1"],
)
def test_litert_computes_networks_of_the_zoo(name: str) -> None:
    pytest.importorskip("ai_edge_litert")
    graph = fold(open_model(name).graph)
    image = random_image(graph)
    agree(graph, litert(export(graph), image), image)


@pytest.mark.parametrize("function", [a for a in Activation if a not in (Activation.NONE, Activation.SIGN)])
@pytest.mark.parametrize("fused", [False, True])
def test_every_function_of_real_numbers(function: Activation, fused: bool) -> None:
    pytest.importorskip("ai_edge_litert")
    b = Builder(np.random.default_rng(1), DType.F32)
    at = b.add(Input(), shape=Shape(3, 4, 2))
    at = b.add(b.conv(3, activation=function if fused else Activation.NONE), at)
    graph = b.graph(at if fused else b.add(Activate(function), at))
    image = random_image(graph) * 5
    agree(graph, litert(export(graph), image), image)


def test_a_dense_layer_over_a_map_and_one_behind_it() -> None:
    pytest.importorskip("ai_edge_litert")
    b = Builder(np.random.default_rng(1), DType.F32)
    at = b.add(Input(), shape=Shape(3, 4, 2))
    at = b.add(b.conv(2, (3, 3)), at)
    first = b.add(Conv(5, Window((3, 4)), dense=True, activation=Activation.RELU), at)
    second = b.add(Conv(4, dense=True, bias=False), first)
    graph = b.graph(b.add(b.conv(3), second))
    image = random_image(graph)
    agree(graph, litert(export(graph), image), image)


def test_padding_that_tflite_has_no_word_for_is_made_before() -> None:
    b = Builder(np.random.default_rng(1))
    at = b.add(Input(), shape=Shape(8, 8, 2))
    graph = b.graph(b.add(conv(3, (3, 3), (2, 2), padding=(1, 1, 1, 1)), at))
    assert [type(node.op).__name__ for node in parse(export(graph), "x").graph.nodes] == ["Input", "Pad", "Conv"]


def test_padding_that_tflite_calls_same_stays_with_the_window() -> None:
    graph = one(conv(3, (3, 3), (2, 2), padding=(0, 1, 0, 1)))
    assert [node.op for node in parse(export(graph), "x").graph.nodes] == [node.op for node in graph.nodes]


REFUSALS = {
    "no batch norm": lambda: open_model("mobilenet_v1:width=0.25,resolution=32,seed=0").graph,
    "must be f32, or i8, u8 or i16": lambda: open_model("binarynet_cifar10:seed=0").graph,
    "rounding must be TFLite's, double, got single": lambda: one(conv(2, rounding=Rounding.SINGLE)),
    "must have a clamp or nothing behind it": lambda: one(conv(2, activation=Activation.HARD_SWISH)),
    "no sign of i8 here": lambda: one(Activate(Activation.SIGN)),
    "padding of a pool": lambda: one(Pool(PoolKind.MAX, Window((3, 3), padding=(2, 0, 2, 0)))),
    "mean must be over height, width or both and alone": lambda: one(Pool(PoolKind.MEAN, Window((3, 3)))),
}


def one(op: Op) -> Graph:
    b = Builder(np.random.default_rng(1))
    return b.graph(b.add(op, b.add(Input(), shape=Shape(8, 8, 2)), same=isinstance(op, Pool)))


@pytest.mark.parametrize("why", REFUSALS)
def test_what_is_refused(why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        export(REFUSALS[why]())


def test_a_network_without_weights() -> None:
    with pytest.raises(GraphError, match="must have weights for this"):
        export(replace(residual(8, 8, 4), params={}))


def test_convert_writes_it(tmp_path: Path) -> None:
    graph, path = residual(8, 8, 4), tmp_path / "net.tflite"
    assert convert(graph, path) == path.stat().st_size
    image = random_image(graph)
    agree(graph, list(reference.outputs(load(path), image)), image)
    if installed("litert"):
        assert LiteRt(path).run(image) is None


def test_the_file_is_laid_as_the_schema_asks() -> None:
    w = FileWriter()
    data = np.arange(5, dtype=np.float32)
    source = w.tensor("in", (1, 5), tflite.TensorType.INT8, Quantized((0.5,), (3,)))
    other = w.tensor("other", (5,), tflite.TensorType.FLOAT32, data=data)
    out = w.tensor("out", (1, 5), tflite.TensorType.INT8)
    w.operator("ADD", 2, [source, other], out, "AddOptions", FusedActivationFunction=1)
    w.operator("RELU", 1, [source], out)
    made = w.finish("net", [source], [out])
    assert made[4:8] == b"TFL3"
    assert made.find(data.tobytes()) % ALIGNMENT == 0
    model = tflite.Model.GetRootAs(made)
    assert model.Version() == 3
    assert model.Buffers(0).DataLength() == 0
    codes = [(model.OperatorCodes(i).BuiltinCode(), model.OperatorCodes(i).Version()) for i in range(2)]
    assert codes == [(tflite.BuiltinOperator.ADD, 2), (tflite.BuiltinOperator.RELU, 1)]
    file = File(made, "net")
    assert [tensor.dims for tensor in file.tensors] == [(1, 5), (5,), (1, 5)]
    assert (file.tensors[0].scales.tolist(), file.tensors[0].zeros.tolist()) == ([0.5], [3])
    operators = list(file.operators())
    assert list(operators[0].inputs) == [source, other]
    assert file.options(operators[0], tflite.AddOptions).FusedActivationFunction() == 1
