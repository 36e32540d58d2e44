"""The place of the greatest channel: its type, and what becomes of it where others have their values."""

import numpy as np
import pytest

from graphs import Builder, random_image
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Add, ArgMax, Input, Softmax
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import DType, Quant, Shape, TensorType, indices
from rillet.plan.host.planner import plan_host
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Program
from rillet.runtime.verify import verify
from rillet.targets.host import this_host
from rillet.transforms.dequantize import dequantize
from rillet.transforms.live import live
from rillet.transforms.quantize import Quantization, Rule, quantize
from rillet.transforms.statistics import observe
from test_hardware_plan import HARDWARE

SHAPE = Shape(5, 6, 3)


def network(dtype: DType, softmax: bool = False) -> Graph:
    b = Builder(np.random.default_rng(0), dtype)
    at = b.add(b.conv(7, (3, 3)), b.add(Input(), shape=SHAPE))
    at = b.add(Softmax(), at, quant=Quant(1 / 256, -128)) if softmax else at
    b.add(ArgMax(), at)
    return b.graph()


def slowly(values: Array) -> list[list[int]]:
    """The first of the greatest, one pixel after the other."""
    return [[max(range(len(pixel)), key=lambda c: pixel[c]) for pixel in row] for row in values.tolist()]


def alone(dtype: DType, channels: int) -> Graph:
    kind = TensorType(Shape(4, 5, channels), dtype, None if dtype is DType.F32 else Quant(0.1, 0))
    nodes = Node("x", Input(), (), kind), Node("y", ArgMax(), ("x",), indices(Shape(4, 5, 1)))
    return Graph("places", nodes, ("y",))


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8, DType.I16, DType.F32])
@pytest.mark.parametrize("channels", [1, 300])
def test_the_first_of_equal_values(dtype: DType, channels: int) -> None:
    graph, rng = alone(dtype, channels), np.random.default_rng(channels)
    program = Program(plan_rows(graph))
    low, high = (-1, 2) if dtype is DType.F32 else dtype.integers
    for some in ((low, high), (low, low), (high - 1, high)):  # the greatest and least of the type, and many equal ones
        image = rng.choice(np.array(some, dtype.numpy), graph.nodes[0].shape.array)
        made = reference.outputs(graph, image)[0]
        assert made.dtype == np.int32
        assert made[:, :, 0].tolist() == slowly(image)
        for got in (program.run(image), program.push(image)):
            assert np.array_equal(got[0], made)


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8, DType.F32])
def test_behind_a_convolution(dtype: DType) -> None:
    graph = network(dtype)
    assert parse_graph(print_graph(graph), graph.params) == graph
    for plan in (plan_rows(graph), *([plan_host(graph, this_host())] if dtype is DType.U8 else [])):
        found = verify(plan, 3)
        assert found.equal, found.first_difference
        assert "kernels/argmax.h" in emit(plan)


def test_its_type_is_that_of_places() -> None:
    kind = TensorType(SHAPE)
    for wrong in (TensorType(Shape(5, 6, 1)), TensorType(Shape(5, 6, 1), DType.I32, Quant(0.5, 0))):
        with pytest.raises(GraphError, match="net: y: type of argmax must be i32 of scale 1 and zero point 0, got"):
            Graph("net", (Node("x", Input(), (), kind), Node("y", ArgMax(), ("x",), wrong)), ("y",))
    with pytest.raises(GraphError, match="shape must be 5x6x1, got 5x6x3"):
        Graph("net", (Node("x", Input(), (), kind), Node("y", ArgMax(), ("x",), indices(SHAPE))), ("y",))


def test_nothing_computes_with_places() -> None:
    b = Builder(np.random.default_rng(0), DType.I8)
    places = b.add(ArgMax(), b.add(Input(), shape=SHAPE))
    b.add(Add(), places, places, dtype=DType.I32, quant=Quant(1.0, 0))
    with pytest.raises(Unsupported, match="add must have a kernel for its types, got none for i32, i32, i32"):
        plan_rows(b.graph())
    with pytest.raises(Unsupported, match="inputs must be quantised to i8, u8 or i16 as the result is, got i32"):
        reference.outputs(b.graph(), random_image(b.graph()))


@pytest.mark.parametrize("rule", list(Rule))
def test_quantised_and_real_again(rule: Rule) -> None:
    graph = network(DType.F32)
    values = [reference.run(graph, random_image(graph, seed)) for seed in range(3)]
    seen = {node.name: observe(np.stack([run[node.name] for run in values])) for node in graph.nodes}
    made = quantize(graph, seen, Quantization(rule))
    assert [node.type.dtype for node in made.nodes] == [DType.I8, DType.I8, DType.I32]
    back = dequantize(made)
    assert [node.type for node in back.nodes] == [node.type for node in graph.nodes]
    assert dequantize(graph) is graph
    image = random_image(graph)
    same = reference.outputs(back, image)[0] == values[0][graph.outputs[0]]
    assert same.mean() > 0.8


def test_all_channels_before_it_are_live() -> None:
    graph = network(DType.I8)
    dead = {key: array.copy() for key, array in graph.params.items()}
    name = graph.nodes[1].name
    dead[f"{name}.weight"][3] = 0
    dead[f"{name}.bias"][3] = -(2**20)
    made = Graph(graph.name, graph.nodes, graph.outputs, dead)
    assert live(made).graph.by_name[name].shape.channels == 7
    image = random_image(made)
    assert np.array_equal(reference.outputs(live(made).graph, image)[0], reference.outputs(made, image)[0])


def test_chips_leave_it_to_the_host() -> None:
    for softmax in (False, True):
        graph = network(DType.I8, softmax)
        plan = plan_pixels(graph, interval=30, pipeline=HARDWARE)
        assert plan.on_host == tuple(node.name for node in graph.nodes[2:])
        assert [stage.node for stage in plan.stages] == [graph.nodes[1].name]
    with pytest.raises(Unsupported, match="must have a layer before its argmax to be hardware"):
        plan_pixels(alone(DType.I8, 3), interval=30, pipeline=HARDWARE)


def test_it_cannot_be_trained() -> None:
    pytest.importorskip("torch")
    from rillet.train.modules import to_module

    with pytest.raises(Unsupported, match="argmax has no gradient: a module must end before it"):
        to_module(network(DType.F32))


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8, DType.F32])
def test_written_and_read_again(dtype: DType) -> None:
    pytest.importorskip("onnx")
    from rillet.exporters import onnx as to_onnx
    from rillet.exporters import tflite as to_tflite
    from rillet.importers import onnx as of_onnx
    from rillet.importers import tflite as of_tflite

    graph = network(dtype)
    image = random_image(graph)
    want = reference.outputs(graph, image)[0]
    back = of_onnx.parse(to_onnx.export(graph), "net.onnx")
    assert back == graph.with_name(back.name).with_image(back.image)
    assert np.array_equal(reference.outputs(back, image)[0], want)
    plain = to_tflite.rounded(graph)
    read = of_tflite.parse(to_tflite.export(plain), "net").graph
    assert read.nodes[-1].type == graph.nodes[-1].type
    assert np.array_equal(reference.outputs(read, image)[0], reference.outputs(plain, image)[0])
