"""Graphs: shapes, checks at birth, and the text form."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from conftest import NETWORKS, shared_file
from graphs import Builder, conv, graphs
from rillet.errors import GraphError, RilletError
from rillet.importers.tflite import load
from rillet.ir.graph import Graph, ImageSpec, Node
from rillet.ir.ops import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Input,
    Multiply,
    Pad,
    Pool,
    PoolKind,
    Slice,
    Window,
    op_macs,
    op_params,
    output_shape,
)
from rillet.ir.remembered import remembered
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import DType, Quant, Shape, TensorType

S = Shape(8, 10, 6)


@pytest.mark.parametrize(
    ("op", "inputs", "expected"),
    [
        (Conv(4, Window((3, 3), (2, 2), (0, 1, 0, 1))), (S,), Shape(4, 5, 4)),
        (Conv(12, Window((1, 5)), groups=6), (S,), Shape(8, 6, 12)),
        (Conv(2, Window((3, 3), dilation=(3, 4))), (S,), Shape(2, 2, 2)),
        (Pool(PoolKind.MAX, Window((8, 10))), (S,), Shape(1, 1, 6)),
        (Add(), (S, S), S),
        (Multiply(), (S, Shape(1, 1, 6)), S),
        (Concat(), (S, Shape(8, 10, 1)), Shape(8, 10, 7)),
        (Slice(2, 5), (S,), Shape(8, 10, 3)),
        (Pad((1, 0, 2, 3)), (S,), Shape(9, 15, 6)),
        (BatchNorm(), (S,), S),
    ],
)
def test_shapes(op, inputs: tuple[Shape, ...], expected: Shape) -> None:
    assert output_shape(op, inputs, S) == expected


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        (Conv(4, groups=4), (S,), "input channels must be a multiple of groups=4, got 6"),
        (Conv(4, groups=3), (S,), "out_channels must be a multiple of groups=3, got 4"),
        (Conv(4, Window((9, 1))), (S,), "padded height must be at least the window's 9, got 8"),
        (Add(), (S,), "add must have 2 inputs, got 1"),
        (Add(), (S, Shape(8, 10, 5)), "second input of add must be 8x10x6 or 1x1x6, got 8x10x5"),
        (Multiply(), (S, Shape(1, 2, 6)), "second input of multiply must be 8x10x6 or 1x1x6, got 1x2x6"),
        (Concat(), (S, Shape(1, 1, 1)), "inputs of concat must have one height and width"),
        (Slice(5, 7), (S,), "slice must lie within 0..6, got 5..7"),
        (Pool(PoolKind.AVERAGE, Window((2, 2), padding=(2, 0, 0, 0))), (S,), "padding of a pool must be smaller"),
    ],
)
def test_shapes_that_do_not_fit(op, inputs: tuple[Shape, ...], message: str) -> None:
    with pytest.raises(GraphError, match=message.replace("(", r"\(")):
        output_shape(op, inputs, S)


def test_macs_and_parameters() -> None:
    op = Conv(12, Window((3, 3), padding=(1, 1, 1, 1)), groups=6, weights=DType.I8)
    assert op_macs(op, (S,)) == 8 * 10 * 9 * 12
    assert {p.name: p.shape for p in op_params(op, (S,), S)} == {
        "weight": (12, 3, 3, 1),
        "bias": (12,),
        "weight_scale": (12,),
    }


def small() -> tuple[Builder, str]:
    b = Builder(np.random.default_rng(0))
    at = b.add(Input(), shape=S)
    return b, b.add(conv(4, (3, 3), activation=Activation.RELU6), at)


def test_checks_at_birth() -> None:
    b, _ = small()
    source, layer = b.nodes
    good = dict(b.params)

    def born(*nodes: Node, outputs: tuple[str, ...] = ("n1",), params: dict[str, np.ndarray] = good) -> Graph:
        return Graph("g", nodes, outputs, params)

    born(source, layer)
    with pytest.raises(GraphError, match="g: n0: name must be unique"):
        born(source, source)
    with pytest.raises(GraphError, match="g: n1: input must be an earlier node, got 'n0'"):
        born(layer, source)
    with pytest.raises(GraphError, match="g: output must be a node, got 'n9'"):
        born(source, layer, outputs=("n9",))
    with pytest.raises(GraphError, match="g: must have an output"):
        born(source, layer, outputs=())
    with pytest.raises(GraphError, match="g: n1: weight_scale is missing"):
        born(source, layer, params={k: v for k, v in good.items() if k != "n1.weight_scale"})
    with pytest.raises(GraphError, match=r"g: n1: bias must have shape \(4,\), got \(5,\)"):
        born(source, layer, params={**good, "n1.bias": np.zeros(5, np.int32)})
    with pytest.raises(GraphError, match="g: n1: bias must be int32, got int64"):
        born(source, layer, params={**good, "n1.bias": np.zeros(4, np.int64)})
    with pytest.raises(GraphError, match="g: n1: weight_scale must be finite"):
        born(source, layer, params={**good, "n1.weight_scale": np.full(4, np.nan, np.float32)})
    wrong = Node("n1", layer.op, layer.inputs, TensorType(Shape(8, 10, 5), DType.I8, layer.type.quant))
    with pytest.raises(GraphError, match="g: n1: shape must be 8x10x4, got 8x10x5"):
        born(source, wrong)
    with pytest.raises(GraphError, match="input must be 1x1x3 as its image is, got 8x10x6"):
        Graph("g", (source, layer), ("n1",), good, ImageSpec(1, 1, 3))


def test_graphs_do_not_change() -> None:
    b, _ = small()
    graph = b.graph()
    with pytest.raises(ValueError, match="read-only"):
        graph.params["n1.bias"][0] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        graph.params["n1.bias"] = np.zeros(4)  # type: ignore[index]


@pytest.mark.parametrize("height", [0, -1, 2**26])
def test_absurd_shapes_are_refused(height: int) -> None:
    with pytest.raises(RilletError, match="must be at least 1|must hold at most"):
        Shape(height, 1, 1)


def test_quantisations_are_checked() -> None:
    with pytest.raises(GraphError, match="scale must be a positive number, got 0"):
        Quant(0.0, 0)
    with pytest.raises(GraphError, match="zero point must be within -128..127 for i8, got 200"):
        TensorType(S, DType.I8, Quant(1.0, 200))


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(more=True))
def test_text_form_parses_back(graph: Graph) -> None:
    assert parse_graph(print_graph(graph), graph.params) == graph


def test_text_form_of_networks(network) -> None:
    graph = load(network)
    assert parse_graph(print_graph(graph), graph.params) == graph


@pytest.mark.parametrize("name", ["resnet", "vww"])
def test_text_golden(name: str, golden) -> None:
    golden(f"{name}.txt", print_graph(load(shared_file(NETWORKS[name]))))


def test_text_form_with_image_and_labels() -> None:
    b, at = small()
    image = ImageSpec(8, 10, 6, "crop", (0.5,), (1.5,), ("a b", 'quote " and ü'), 4)
    graph = Graph("a graph", tuple(b.nodes), (at,), b.params, image)
    assert parse_graph(print_graph(graph), b.params) == graph


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rillet 9", "line 1: must be 'rillet 1'"),
        ("rillet 1\nx = warp y : i8 1x1x1", "line 2: unknown word 'warp'"),
        ("rillet 1\nx = input : i9 1x1x1", "line 2: 'i9' is not a valid DType"),
        ("rillet 1\nx = input : i8 1x1", "line 2: not enough values"),
        ("rillet 1\nx input", "line 2: must be 'name = op"),
        ("rillet 1\ngraph 3", "line 2: must be a quoted string"),
    ],
)
def test_text_form_errors_name_the_line(line: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        parse_graph(line)


def test_a_graph_can_be_copied_and_pickled() -> None:
    b = Builder(np.random.default_rng(0))
    b.add(b.conv(3), b.add(Input(), shape=S))
    graph = b.graph()
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert other == graph
        assert not other.params["n1.weight"].flags.writeable


def test_what_is_remembered_of_a_node_goes_with_its_graph() -> None:
    asked: list[tuple[str, int]] = []

    @remembered
    def found(graph: Graph, node: Node, *, more: int = 0) -> int:
        asked.append((graph.by_name[node.name].name, more))
        return len(asked)

    b = Builder(np.random.default_rng(0))
    b.add(b.conv(3), b.add(Input(), shape=S))
    graph, other = b.graph(), b.graph()
    first, second = graph.nodes
    assert [found(graph, first), found(graph, second), found(graph, first), found(graph, first, more=1)] == [1, 2, 1, 3]
    # An equal graph is another one: what it is asked is asked again.
    assert other == graph and found(other, first) == 4
    gone = weakref.ref(graph)
    del graph
    gc.collect()
    assert gone() is None
