"""What .tflite files say in several ways: constants, sizes left open, parts of a network, views; beside LiteRT."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
from ai_edge_litert import schema_py_generated as schema

import rillet
from rillet.backends import reference
from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.tflite import Imported, constants, load_with_tensors, parse
from rillet.importers.tflite.file import File
from rillet.ir.ops import Conv, Pool
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.oracles import LiteRt
from rillet.runtime.verify import random_inputs, verify
from test_tflite_operators import ints, options, q
from tfl import Writer, conv_options, pack, unpack


def saved(folder: Path, data: bytes) -> Path:
    path = folder / "net.tflite"
    path.write_bytes(data)
    return path


def agree(path: Path, made: Imported, inputs: int = 2) -> None:
    """Every value that the file has a tensor for is LiteRT's: integers to the byte, float32 to its rounding."""
    graph = made.graph
    litert = LiteRt(path, made.input_order, graph.input_nodes[0].shape)
    compared = {name: tensor for name, tensor in made.tensors.items() if name != graph.input_nodes[0].name}
    assert compared
    for image in random_inputs(graph, inputs):
        values = reference.run(graph, image)
        litert.run(image)
        for name, tensor in compared.items():
            value = values[name].reshape(-1)
            got = litert.tensor(tensor).reshape(-1)[made.starts.get(name, 0) :][: value.size]
            if graph.by_name[name].type.quant is None:
                np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-5 * np.abs(value).max())
            else:
                np.testing.assert_array_equal(got, value)


def check(folder: Path, data: bytes, **words: Any) -> Imported:
    path = saved(folder, data)
    made = load_with_tensors(path, **words)
    agree(path, made)
    return made


# -- constants ---------------------------------------------------------------------------------------------------------


def sparse_weights(dtype: str, block: int) -> tuple[bytes, np.ndarray]:
    rng = np.random.default_rng(block)
    w = Writer()
    source, out = q(w, 1, 4, 5, 8, dtype="float32"), q(w, 1, 4, 5, 6, dtype="float32")
    kept = rng.random((6, 3, 3, 8 // block, 1)) < 0.3
    weights = (rng.normal(size=(6, 3, 3, 8 // block, block)) * kept).reshape(6, 3, 3, 8).astype(dtype)
    dense = w.tensor((6, 3, 3, 8), dtype)
    w.op("DENSIFY", [w.sparse((6, 3, 3, 8), dtype, weights, block)], [dense], schema.DensifyOptionsT(), 1)
    if dtype == "float16":
        half, dense = dense, w.tensor((6, 3, 3, 8), "float32")
        w.op("DEQUANTIZE", [half], [dense])
    bias = w.tensor((6,), "float32", data=rng.normal(size=6))
    w.op("CONV_2D", [source, dense, bias], [out], conv_options())
    return w.bytes([source], [out]), weights


@pytest.mark.parametrize(("dtype", "block"), [("float32", 1), ("float16", 1), ("float32", 4)])
def test_sparse_constants_have_their_zeros_again(dtype: str, block: int, tmp_path: Path) -> None:
    data, weights = sparse_weights(dtype, block)
    # LiteRT has kernels for blocks of dense layers alone.
    made = check(tmp_path, data) if block == 1 else parse(data, "x")
    assert [type(node.op).__name__ for node in made.graph.nodes] == ["Input", "Conv"]
    np.testing.assert_array_equal(made.graph.params[f"{made.graph.nodes[1].name}.weight"], weights.astype("float32"))


def broken_sparsity(change: Callable[[Any], None]) -> bytes:
    model = unpack(sparse_weights("float32", 4)[0])
    found = next(t for t in model.subgraphs[0].tensors if t.sparsity is not None)
    change(found)
    return pack(model)


def level(at: int, **values: Any) -> Callable[[Any], None]:
    def change(tensor: Any) -> None:
        for name, value in values.items():
            setattr(tensor.sparsity.dimMetadata[at], name, value)

    return change


def order(*axes: int) -> Callable[[Any], None]:
    def change(tensor: Any) -> None:
        tensor.sparsity.traversalOrder = list(axes)

    return change


def starts(*values: int) -> Callable[[Any], None]:
    def change(tensor: Any) -> None:
        tensor.sparsity.dimMetadata[3].arraySegments.values = list(values)

    return change


def places(tensor: Any) -> None:
    own = tensor.sparsity.dimMetadata[3].arrayIndices
    own.values = np.full(len(own.values), 200, np.uint8)


def shape(tensor: Any) -> None:
    tensor.shape = [2**16, 2**10, 3, 8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (order(0, 1, 2, 3), "sparse levels must be one of each dimension and block"),
        (order(0, 1, 2, 2, 4), "sparse levels must be one of each dimension and block"),
        (level(4, denseSize=3), "block must divide its dimension of 8, got 3"),
        (level(3, arraySegmentsType=0, arraySegments=None), "must have segments and indices"),
        (level(3, format=0), "sparse constant must have 432 values, got"),
        (starts(0, 1), "sparse segments must cut"),
        (places, r"sparse indices must be within 0\.\.1"),
        (shape, "sparse constant must hold at most 67108864 values"),
    ],
)
def test_broken_sparse_constants_are_refused(change: Callable[[Any], None], message: str) -> None:
    with pytest.raises(RilletError, match=message):
        parse(broken_sparsity(change), "x.tflite")


@pytest.mark.parametrize("count", [6, 7])
def test_four_bits_come_two_in_a_byte(count: int) -> None:
    w = Writer()
    values = np.arange(count) * 5 % 16 - 8
    made = w.tensor((count,), "int4", 0.1, data=values)
    file = File(w.bytes([made], [made]), "x")
    np.testing.assert_array_equal(constants.stored(file, file.tensors[0]), values)
    np.testing.assert_allclose(constants.real(file, file.tensors[0]), values * np.float32(0.1))


def test_weights_of_four_bits_give_the_bytes_of_the_same_in_eight(tmp_path: Path) -> None:
    def net(dtype: str) -> bytes:
        rng = np.random.default_rng(2)
        w = Writer()
        source, out = q(w, 1, 4, 5, 3, zero=4), q(w, 1, 4, 5, 5, scale=0.7, zero=-3)
        weight = w.tensor((5, 3, 3, 3), dtype, rng.uniform(0.05, 0.1, 5), data=rng.integers(-8, 8, (5, 3, 3, 3)))
        w.op("CONV_2D", [source, weight, w.tensor((5,), "int32", data=range(5))], [out], conv_options())
        return w.bytes([source], [out])

    assert check(tmp_path, net("int4")).graph == check(tmp_path, net("int8")).graph


def hybrid(dtype: str) -> bytes:
    """Float32 values with weights of integers: what converters call dynamic range."""
    rng = np.random.default_rng(1)
    w = Writer()
    source, middle, out = (q(w, 1, 4, 5, c, dtype="float32") for c in (3, 6, 6))
    low, high = (-7, 8) if dtype == "int4" else (-127, 128)
    first = w.tensor((6, 1, 1, 3), dtype, rng.uniform(0.1, 0.2, 6), data=rng.integers(low, high, (6, 1, 1, 3)))
    second = w.tensor((1, 3, 3, 6), dtype, rng.uniform(0.1, 0.2, 6), data=rng.integers(low, high, (1, 3, 3, 6)), axis=3)
    w.op("CONV_2D", [source, first, w.tensor((6,), "float32", data=range(6))], [middle], conv_options())
    bias = w.tensor((6,), "float32", data=range(6))
    w.op("DEPTHWISE_CONV_2D", [middle, second, bias], [out], conv_options(kind="DepthwiseConv2DOptionsT"))
    return w.bytes([source], [out])


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_dynamic_range_weights_are_the_real_values_that_they_stand_for(dtype: str, tmp_path: Path) -> None:
    path = saved(tmp_path, hybrid(dtype))
    net = rillet.load(str(path))
    model = unpack(path.read_bytes())
    stored = parse(path.read_bytes(), "x")
    assert stored.hybrid == 2
    file = File(path.read_bytes(), "x")
    for node, axis in zip(net.nodes[1:], (0, 3), strict=True):
        assert isinstance(node.op, Conv)
        tensor = file.tensors[[int(op.inputs[1]) for op in model.subgraphs[0].operators][axis // 3]]
        scales = np.asarray(tensor.scales).reshape([-1 if i == axis else 1 for i in range(4)])
        real = (constants.stored(file, tensor) * scales).astype(np.float32)
        np.testing.assert_array_equal(net.param(node, "weight"), real if axis == 0 else real.transpose(3, 1, 2, 0))
    with pytest.raises(Unsupported, match="2 operators of int8 weights read to 8 bits.* rillet convert"):
        rillet.verify(net, 1, "litert")
    wide = tmp_path / "wide.tflite"
    rillet.save(net, wide)
    agree(wide, load_with_tensors(wide))


# -- sizes that a file leaves open -------------------------------------------------------------------------------------


def open_net(*signature: int) -> bytes:
    """Two convolutions, a product with itself pooled, and a dense layer, as a Keras file with open sizes has them."""
    rng = np.random.default_rng(5)
    w = Writer()
    source = q(w, 1, 1, 1, 3)
    maps = [q(w, 1, 1, 1, 4, scale=s) for s in (4.0, 20.0, 100.0)]
    w.op("CONV_2D", [source, *weights(w, rng, 4, 3, 3, 3)], maps[:1], conv_options(stride=(2, 2)))
    w.op("CONV_2D", [maps[0], *weights(w, rng, 4, 3, 3, 4)], maps[1:2], conv_options())
    w.op("ADD", maps[:2], maps[2:], options("Add"))
    flat, out = q(w, 1, 4, scale=50.0), q(w, 1, 5, scale=60.0)
    w.op("MEAN", [maps[2], ints(w, 1, 2)], [flat], options("Reducer"))
    dense = [w.tensor((5, 4), "int8", 0.01, data=rng.integers(-99, 99, (5, 4))), w.tensor((5,), "int32", data=range(5))]
    w.op("FULLY_CONNECTED", [flat, *dense], [out], options("FullyConnected"))
    for index in (source, *maps):
        w.graph.tensors[index].shapeSignature = [-1, *signature, w.graph.tensors[index].shape[3]]
    return w.bytes([source], [out])


def weights(w: Writer, rng: np.random.Generator, *dims: int) -> list[int]:
    made = w.tensor(dims, "int8", 0.1, data=rng.integers(-127, 128, dims))
    return [made, w.tensor(dims[:1], "int32", data=rng.integers(-99, 99, dims[0]))]


def test_a_size_left_open_is_said_behind_the_name(tmp_path: Path) -> None:
    path = saved(tmp_path, open_net(-1, -1))
    net = rillet.load(f"{path}:input=7x10")
    assert [str(node.shape) for node in net.nodes] == ["7x10x3", "4x5x4", "4x5x4", "4x5x4", "1x1x4", "1x1x5"]
    assert rillet.verify(net, 2, "litert").equal
    with pytest.raises(Unsupported, match=r"shape must be fixed, got \[-1, -1, -1, 3\]; .* net.tflite:input=224x224"):
        rillet.load(str(path))


def test_sizes_other_than_the_files_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, open_net(-1, 12))
    with pytest.raises(GraphError, match="height and width must be those of the file"):
        load_with_tensors(tmp_path / "net.tflite", size=(8, 8))
    saved(tmp_path, hybrid("int8"))
    with pytest.raises(GraphError, match="height and width must be those of the file"):
        load_with_tensors(tmp_path / "net.tflite", size=(8, 8))
    with pytest.raises(GraphError, match="input must be a height and a width"):
        rillet.load(f"{tmp_path}/net.tflite:input=wide")


# -- operators on other axes, and views --------------------------------------------------------------------------------


def mean(dims: tuple[int, int], axes: tuple[int, ...], dtype: str) -> bytes:
    w = Writer()
    source = q(w, 1, *dims, 3, zero=3, dtype=dtype)
    kept = [1 if i in [axis % 4 for axis in axes] else n for i, n in enumerate((1, *dims, 3))]
    out = q(w, *kept, scale=0.3, zero=5, dtype=dtype)
    w.op("MEAN", [source, ints(w, *axes)], [out], options("Reducer", keepDims=True))
    return w.bytes([source], [out])


@pytest.mark.parametrize(
    ("dims", "axes", "dtype"),
    [
        ((5, 7), (1,), "float32"),
        ((5, 7), (2,), "float32"),
        ((5, 7), (-3,), "float32"),
        ((1, 7), (2,), "int8"),
        ((5, 1), (1,), "int8"),
        ((5, 1), (1,), "uint8"),
    ],
)
def test_mean_along_one_axis(dims: tuple[int, int], axes: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    made = check(tmp_path, mean(dims, axes, dtype))
    assert isinstance(made.graph.nodes[1].op, Pool)
    if axes == (2,) and dtype == "float32":
        assert verify(plan_rows(made.graph), 2).equal


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("taken", [24, 4])
def test_dense_layers_of_a_map_take_all_of_it_or_a_pixel_at_a_time(dtype: str, taken: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(taken)
    w = Writer()
    source = q(w, 1, 2, 3, 4, zero=3, dtype=dtype)
    data = rng.integers(0, 100, (5, taken))
    weight = w.tensor((5, taken), dtype, None if dtype == "float32" else 0.1, 0 if dtype == "int8" else 50, data=data)
    bias = w.tensor((5,), "float32" if dtype == "float32" else "int32", data=rng.integers(-9, 9, 5))
    out = q(w, *((1, 5) if taken == 24 else (1, 2, 3, 5)), scale=20.0, zero=9, dtype=dtype)
    w.op("FULLY_CONNECTED", [source, weight, bias], [out], options("FullyConnected", keepNumDims=taken == 4))
    made = check(tmp_path, w.bytes([source], [out]))
    assert str(made.graph.nodes[1].shape) == ("1x1x5" if taken == 24 else "2x3x5")
    if dtype == "int8":
        assert verify(plan_rows(made.graph), 2).equal


def heads(name: str, dtype: str = "int8") -> bytes:
    """Two maps of a detector whose channels become rows of three classes, joined behind one another; then `name`."""
    w = Writer()
    source = q(w, 1, 4, 4, 6, dtype=dtype)
    small = q(w, 1, 2, 2, 6, dtype=dtype)
    pool = options("Pool2D", filterHeight=2, filterWidth=2, strideH=2, strideW=2, padding=schema.Padding.VALID)
    w.op("MAX_POOL_2D", [source], [small], pool)
    rows = [q(w, 1, n, 3, dtype=dtype) for n in (32, 8, 40)]
    w.op("RESHAPE", [source, ints(w, 1, 32, 3)], rows[:1], options("Reshape"), 1)
    w.op("RESHAPE", [small, ints(w, 1, 8, 3)], rows[1:2], options("Reshape"), 1)
    w.op("CONCATENATION", rows[:2], rows[2:], options("Concatenation", axis=1))
    if not name:
        return w.bytes([source], rows[2:])
    out = q(w, 1, 40, 3, scale=1 / 256, zero=-128, dtype=dtype)
    w.op(name, rows[2:], [out], options("Softmax", beta=1.0) if name == "SOFTMAX" else None, version=1)
    return w.bytes([source], [out])


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("name", ["", "LOGISTIC", "SOFTMAX"])
def test_rows_of_a_detector_are_outputs_one_behind_another(name: str, dtype: str, tmp_path: Path) -> None:
    made = check(tmp_path, heads(name, dtype))
    outputs = [made.graph.by_name[output] for output in made.graph.outputs]
    assert [str(node.shape) for node in outputs] == ["4x4x6", "2x2x6"]
    assert list(made.starts.values()) == ([96] if name else [])


def test_joined_rows_are_no_map() -> None:
    model = Writer()
    model.model = unpack(heads("LOGISTIC"))
    model.graph = model.model.subgraphs[0]
    out = q(model, 1, 40, 3, scale=1 / 256, zero=-128)
    model.op("MAX_POOL_2D", [int(model.graph.outputs[0])], [out], options("Pool2D", filterHeight=1, filterWidth=1))
    with pytest.raises(Unsupported, match=r"input must be one map, got tensor 7 .* which is 2 joined by their rows"):
        parse(model.bytes([0], [out]), "x.tflite")


# -- a part of a network -----------------------------------------------------------------------------------------------


def decoded() -> bytes:
    """A network, and behind it an operator that no importer reads."""
    w = Writer()
    source, one, two, out = (q(w, 1, 2, 3, 4) for _ in range(4))
    w.op("RELU", [source], [one])
    w.op("RELU6", [one], [two])
    w.op("CUSTOM", [one, two], [out])
    w.model.operatorCodes[-1].customCode = b"Decode"
    return w.bytes([source], [out])


def test_the_network_before_a_decoder_is_offered_and_read(tmp_path: Path) -> None:
    path = saved(tmp_path, decoded())
    offered = r"all but CUSTOM Decode \(1\); .*; net.tflite:until=1\+2 reads .* up to tensor 1 \('t1'\)"
    with pytest.raises(Unsupported, match=offered):
        rillet.load(str(path))
    both = rillet.load(f"{path}:until=1+2")
    assert [type(both.by_name[name].op).__name__ for name in both.outputs] == ["Activate"] * 2
    assert rillet.load(f"{path}:until=t1").outputs == both.outputs[:1]
    with pytest.raises(GraphError, match=r"until must be tensors, by number \(0 to 3\) or name, got 'boxes'"):
        rillet.load(f"{path}:until=boxes")
    with pytest.raises(GraphError, match="until must come with a .tflite file"):
        rillet.save(both, tmp_path / "net.rlt")
        rillet.load(f"{tmp_path}/net.rlt:until=1")


@pytest.mark.parametrize(("classes", "scale", "ends"), [(520, 1e-6, True), (520, 0.5, False), (511, 1e-6, False)])
def test_a_softmax_at_which_litert_ends_the_process(classes: int, scale: float, ends: bool, tmp_path: Path) -> None:
    w, options = Writer(), schema.SoftmaxOptionsT()
    source, out = w.tensor((1, classes), "int8", scale), w.tensor((1, classes), "int8", 1 / 256, -128)
    options.beta = 1.0
    w.op("SOFTMAX", [source], [out], options, version=2)
    path = tmp_path / "soft.tflite"
    path.write_bytes(w.bytes([source], [out]))
    plan, made = plan_rows(load_with_tensors(path).graph), load_with_tensors(path)
    if not ends:
        assert verify(plan, 1, path=path, imported=made, against="litert").equal
        return
    with pytest.raises(Unsupported, match="soft.tflite: LiteRT ends the process at a softmax of 512 or more classes"):
        verify(plan, 1, path=path, imported=made, against="litert")
