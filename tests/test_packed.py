"""Ternary and binary weights as bytes, there and back; bytes that are none; files of them."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from graphs import Builder
from rillet.errors import GraphError
from rillet.exporters import rlt
from rillet.importers.rlt import parse
from rillet.ir.graph import Graph
from rillet.ir.ops import Conv, Input
from rillet.ir.packed import SKIP, from_lists, from_planes, to_lists, to_planes, to_smallest
from rillet.ir.types import DType, Shape


@st.composite
def rows(draw: st.DrawFn) -> np.ndarray:
    shape = (draw(st.integers(1, 5)), draw(st.sampled_from([1, 7, 8, 9, 253, 254, 255, 508, 509, 1200])))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    there = rng.random(shape) < draw(st.sampled_from([0.0, 0.002, 0.1, 0.6, 1.0]))
    return (rng.choice([-1, 1], shape) * there).astype(np.int8)


@settings(deadline=None)
@given(rows())
def test_weights_come_back(weights: np.ndarray) -> None:
    assert np.array_equal(from_planes(to_planes(weights, DType.TERNARY), weights.shape, DType.TERNARY), weights)
    assert np.array_equal(from_lists(to_lists(weights), weights.shape), weights)
    binary = np.where(weights > 0, 1, -1).astype(np.int8)
    assert np.array_equal(from_planes(to_planes(binary, DType.BINARY), binary.shape, DType.BINARY), binary)
    assert to_planes(binary, DType.BINARY).size == weights.shape[0] * -(-weights.shape[1] // 8)
    assert to_smallest(weights, DType.TERNARY)[1].size == min(
        2 * len(to_planes(binary, DType.BINARY)), len(to_lists(weights))
    )


def test_a_list_counts_from_the_weight_before() -> None:
    weights = np.zeros((1, 600), np.int8)
    weights[0, [0, 3, 300]] = 1
    weights[0, 253] = -1
    assert to_lists(weights).tolist() == [1, 3, SKIP, 43, 0, 254, 0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1, 0], "lists of 1 rows must be 2, each ended by 0, got 1"),
        ([], "lists of 1 rows must be 2, each ended by 0, got 0"),
        ([0, 0, 1], "lists of 1 rows must be 2"),
        ([0, 0, 0], "lists of 1 rows must be 2, each ended by 0, got 3"),
        ([5, 0, 0], "weights of a list must lie within 4, got one at 4"),
        ([SKIP, 0, 0], "weights of a list must lie within 4"),
        ([2, 0, 2, 0], "must not be both"),
    ],
)
def test_bytes_that_are_no_lists(data: list[int], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        from_lists(np.array(data, np.uint8), (1, 4))


def test_bytes_that_are_no_planes() -> None:
    for data, message in (([0], "must be 2 bytes, got 1"), ([16, 0], "bits behind"), ([1, 1], "must not be both")):
        with pytest.raises(GraphError, match=message):
            from_planes(np.array(data, np.uint8), (1, 4), DType.TERNARY)
    with pytest.raises(GraphError, match="at most"):
        from_lists(np.zeros(2, np.uint8), (1, 2**40))


def network(dtype: DType = DType.TERNARY, density: float = 0.1) -> Graph:
    b = Builder(np.random.default_rng(0))
    at = b.add(Input(), shape=Shape(4, 4, 64))
    at = b.add(Conv(40, weights=dtype, levels=DType.I8), at)
    graph = b.graph(b.add(b.conv(3), at))
    if dtype is DType.TERNARY:
        thin = graph.params["n1.weight"] * (b.rng.random((40, 1, 1, 64)) < density)
        graph = Graph(graph.name, graph.nodes, graph.outputs, {**graph.params, "n1.weight": thin.astype(np.int8)})
    return graph


@pytest.mark.parametrize(
    ("dtype", "density", "how", "most"),
    [(DType.TERNARY, 0.1, "lists", 450), (DType.TERNARY, 1.0, "planes", 640), (DType.BINARY, 1.0, "planes", 320)],
)
def test_files_hold_packed_weights(dtype: DType, density: float, how: str, most: int) -> None:
    graph = network(dtype, density)
    data = rlt.to_bytes(graph)
    assert parse(data, "net.rlt") == graph
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("version") == b"rillet 2\n"
        tensors = load(archive.read("weights.safetensors"))
    assert "n1.weight" not in tensors
    assert tensors[f"n1.weight.{how}"].size <= most


def test_old_files_with_plain_ternary_weights_load() -> None:
    graph = network()
    assert parse(_file(graph, dict(graph.params), "rillet 1"), "net.rlt") == graph


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n1.weight.planes": np.zeros(4, np.uint8)}, "n1.weight: planes of 40 x 64 weights must be 640 bytes, got 4"),
        ({"n1.weight.lists": np.zeros(4, np.uint8)}, "n1.weight: lists of 40 rows must be 80, each ended by 0, got 4"),
        ({"n1.weight.lists": np.zeros(80, np.int8)}, "n1.weight.lists: must be bytes, got int8"),
        ({"n1.weight.lists": np.zeros((8, 10), np.uint8)}, "must be bytes, got uint8 of 2 dimensions"),
        ({"n1.weight.lists": np.zeros(80, np.uint8), "n1.weight.planes": np.zeros(640, np.uint8)}, "got both"),
        ({"n1.weight": np.full((40, 1, 1, 64), 2, np.int8)}, "ternary weights must be -1, 0 or 1"),
        ({"n2.weight.lists": np.zeros(80, np.uint8)}, "n1: weight is missing"),
        ({"n1.levels": np.full((40, 2), -1, np.int8), "n1.weight.planes": np.zeros(640, np.uint8)}, "not be negative"),
    ],
)
def test_hostile_files_are_one_sentence(change: dict[str, np.ndarray], message: str) -> None:
    graph = network()
    params = {name: array for name, array in graph.params.items() if name != "n1.weight"}
    with pytest.raises(GraphError, match=message) as caught:
        parse(_file(graph, params | change), "net.rlt")
    assert str(caught.value).startswith("net.rlt: ")


def _file(graph: Graph, tensors: dict[str, np.ndarray], version: str = "rillet 2") -> bytes:
    with zipfile.ZipFile(io.BytesIO(rlt.to_bytes(graph))) as archive:
        text = archive.read("graph.txt")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in (("version", version), ("graph.txt", text), ("weights.safetensors", save(tensors))):
            archive.writestr(name, data)
    return out.getvalue()
