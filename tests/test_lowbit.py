"""Ternary weights: which they are, and their signs."""

import numpy as np
import pytest

from conftest import shared_file
from graphs import ROUNDINGS, Builder, random_image
from rillet.backends import reference
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import Activate, Activation, Conv, Input, Rounding, Window
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import DType, Quant, Shape
from rillet.models.opening import open_model
from rillet.runtime.quantization import quantize_with, with_few_bits
from rillet.runtime.verify import random_inputs
from rillet.transforms.dequantize import dequantize
from rillet.transforms.fold import fold
from rillet.transforms.lowbit import binarize, census, large_layers, pack, signs, ternarize, ternary_tensors, unpack
from rillet.transforms.quantize import Quantization, Rule
from rillet.zoo.layers import Layers, square


def network(*weights: list[float]) -> Graph:
    """Pointwise convolutions of 2x2 weights one behind the other."""
    net = Layers("net", square(4), channels=2)
    for i in range(len(weights)):
        net.block = f"block{i}"
        net.conv("conv", 2)
        net.bn("conv")
    graph = net.graph()
    params = {
        f"{node.name}.{param.name}": np.ones(param.shape, np.float32)
        for node in graph.nodes
        for param in graph.node_params(node)
    }
    for i, values in enumerate(weights):
        params[f"block{i}.conv.weight"] = np.array(values, np.float32).reshape(2, 1, 1, 2)
    return Graph(graph.name, graph.nodes, graph.outputs, params)


def test_which_weights_are_ternary() -> None:
    graph = network(
        [0.5, 0, -0.5, 0],  # ternary
        [0.5, 0, -0.25, 0],  # scales of their own
        [0.5, 0.5, -0.5, -0.5],  # binary
        [0.5, 0.25, 0, 0],  # two positive values
        [0.5, -0.25, -0.5, 0],  # two negative ones
        [0, 0, 0, 0],
    )
    assert ternary_tensors(graph) == [f"block{i}.conv.weight" for i in (0, 1, 2, 5)]


def test_signs() -> None:
    graph = network([0.5, 0, -0.25, 0], [0.5, 0.25, 0, -1])
    signed = signs(graph, ["block0.conv.weight"])
    assert signed.params["block0.conv.weight"].ravel().tolist() == [1, 0, -1, 0]
    assert signed.params["block0.conv.weight"].dtype == np.float32
    assert np.array_equal(signed.params["block1.conv.weight"], graph.params["block1.conv.weight"])


def test_what_is_not_there() -> None:
    with pytest.raises(GraphError, match=r"net: must have an array head\.weight, got none"):
        signs(network([1, 0, 0, 0]), ["head.weight"])
    with pytest.raises(GraphError, match="must have weights"):
        ternary_tensors(Graph(*_untrained()))


def _untrained() -> tuple:
    graph = network([1, 0, 0, 0])
    return graph.name, graph.nodes, graph.outputs


def low_bit(dtype: DType, levels: DType | None, rounding: Rounding = Rounding.DOUBLE) -> Graph:
    b = Builder(np.random.default_rng(1), DType.F32 if levels is DType.F32 else DType.I8)
    window = Window((3, 3), (2, 1), (1, 1, 1, 1))
    at = b.add(Input(), shape=Shape(7, 6, 5))
    return b.graph(b.add(Conv(9, window, weights=dtype, levels=levels, rounding=rounding), at))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("levels", [None, DType.I8])
@pytest.mark.parametrize("dtype", [DType.TERNARY, DType.BINARY])
def test_low_bit_weights_are_what_their_levels_say(dtype: DType, levels: DType | None, rounding: Rounding) -> None:
    """The same bytes as int8 weights that are written out."""
    graph = low_bit(dtype, levels, rounding)
    assert parse_graph(print_graph(graph), graph.params) == graph
    weight = graph.params["n1.weight"].astype(np.int64)
    pairs = graph.params.get("n1.levels", np.ones((9, 2), np.int8))
    for channel in range(9):
        weight[channel] = np.where(
            weight[channel] > 0, int(pairs[channel, 0]), np.sign(weight[channel]) * pairs[channel, 1]
        )
    node = graph.nodes[1]
    wide = type(node)(node.name, Conv(9, node.op.window, weights=DType.I8, rounding=rounding), node.inputs, node.type)
    params = {name: graph.params[name] for name in ("n1.bias", "n1.weight_scale")}
    params["n1.weight"] = weight.astype(np.int8)
    written = Graph("written", (graph.nodes[0], wide), graph.outputs, params)
    image = random_image(graph)
    assert np.array_equal(reference.outputs(graph, image)[0], reference.outputs(written, image)[0])
    if levels is not None and dtype is DType.TERNARY:
        assert pack(written).params["n1.weight"].tolist() == np.sign(weight).tolist()
        assert np.array_equal(reference.outputs(pack(written), image)[0], reference.outputs(graph, image)[0])
    assert np.array_equal(dequantize(graph).params["n1.weight"], dequantize(written).params["n1.weight"])


def test_real_levels() -> None:
    graph = low_bit(DType.TERNARY, DType.F32)
    image = random_image(graph)
    whole = dequantize(graph)
    assert whole.nodes[1].op.weights is DType.F32
    assert np.allclose(reference.outputs(graph, image)[0], reference.outputs(whole, image)[0], atol=1e-6)
    again = pack(whole)
    assert again.nodes[1].op.levels is DType.F32
    assert np.array_equal(again.params["n1.weight"], graph.params["n1.weight"])


def binary_values(bias: int = 0) -> Graph:
    """int8 to binary by a ternary layer, binary by binary, and the sums."""
    b = Builder(np.random.default_rng(2))
    one = Quant(1.0, 0)
    at = b.add(Input(), shape=Shape(5, 4, 6), quant=Quant(0.1, 3))
    sign = {"activation": Activation.SIGN}
    at = b.add(Conv(10, weights=DType.TERNARY, **sign), at, dtype=DType.BINARY, quant=one)
    at = b.add(Conv(3, Window((2, 3), padding=(0, 1, 1, 1)), weights=DType.BINARY), at, dtype=DType.I32, quant=one)
    b.params["n2.bias"] += bias
    return b.graph(at)


def test_binary_values_are_signs_and_padding_adds_nothing() -> None:
    graph, image = binary_values(), random_image(binary_values())
    values = reference.run(graph, image)
    sums = (image.astype(np.int64) - 3) @ graph.params["n1.weight"][:, 0, 0].astype(np.int64).T + graph.params[
        "n1.bias"
    ]
    assert np.array_equal(values["n1"], np.where(sums >= 0, 1, -1))
    weight = graph.params["n2.weight"].astype(np.int64)
    corner = (values["n1"][0:2, 0:2].astype(np.int64)[None] * weight[:, :, 1:3]).sum((1, 2, 3)) + graph.params[
        "n2.bias"
    ]
    assert np.array_equal(values["n2"][0, 0], corner)
    more = reference.run(binary_values(bias=100), image)
    assert np.array_equal(more["n2"], values["n2"] + 100)


def test_the_published_binary_network_runs() -> None:
    graph = open_model("binarynet_cifar10:seed=1").graph
    image = next(iter(random_inputs(graph, 1)))
    values = reference.run(graph, image)
    assert values["head.logits"].dtype == np.int32
    assert {int(v) for name in ("encode.conv", "block8.conv") for v in np.unique(values[name])} == {-1, 1}


def test_what_binary_values_are_not() -> None:
    b = Builder(np.random.default_rng(0))
    at = b.add(Input(), shape=Shape(2, 2, 2))
    binary = b.add(Activate(Activation.SIGN), at, dtype=DType.BINARY, quant=Quant(1.0, 0))
    assert set(np.unique(reference.run(b.graph(), random_image(b.graph()))[binary])) <= {-1, 1}
    b.add(Activate(Activation.RELU), binary)
    with pytest.raises(Unsupported, match="inputs must be quantised to i8, u8 or i16 as the result is, got binary"):
        reference.outputs(b.graph(), random_image(b.graph()))
    b.add(Activate(Activation.RELU), at, dtype=DType.BINARY, quant=Quant(1.0, 0))
    with pytest.raises(Unsupported, match="binary values must come of sign"):
        reference.outputs(Graph("g", (b.nodes[0], b.nodes[-1]), ("n3",), {}), random_image(b.graph()))
    with pytest.raises(GraphError, match="levels must be i8 or f32, of ternary or binary weights; got f32 of i8"):
        Conv(1, weights=DType.I8, levels=DType.F32)


@pytest.mark.parametrize("rule", list(Rule))
def test_a_trained_ternary_network_is_packed_without_loss(rule: Rule) -> None:
    path = shared_file("microbotnet/micro_large_conv_and_fc_ttq_x0_32.pytorch_state")
    graph = open_model("microbotnet:width=0.32", weights=path).graph
    assert with_few_bits(graph, "ternary") == (graph, True)
    whole = quantize_with(graph, random_inputs(graph, 2), Quantization(rule))
    packed = pack(whole)
    counted = census(packed)
    assert (counted.tensors, counted.params, counted.zero) == (31, 153_792, 134_124)
    assert unpack(packed) == whole
    assert counted.plus + counted.minus == 19_668
    assert whole.weight_bytes - packed.weight_bytes == 153_792 * 3 // 4
    image = next(iter(random_inputs(whole, 1)))
    ours, theirs = reference.run(packed, image), reference.run(whole, image)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_weights_that_were_not_trained_for_it() -> None:
    graph = open_model("microbotnet:width=0.25,seed=1").graph
    layers = large_layers(graph)
    for bits, made in (("ternary", ternarize(graph, layers)), ("binary", binarize(graph, layers))):
        few, trained = with_few_bits(graph, bits)
        assert few == made
        assert not trained
        kinds = {node.op.weights for node in pack(fold(made)).nodes if isinstance(node.op, Conv)}
        assert kinds == {DType.F32, DType.TERNARY if bits == "ternary" else DType.BINARY}
        assert census(pack(fold(made))).tensors == len(layers)
    half = ternarize(graph, layers[:1], threshold=0.5).params[f"{layers[0]}.weight"]
    weight = graph.params[f"{layers[0]}.weight"]
    assert np.array_equal(half > 0, weight > 0.5 * np.abs(weight).max())
    assert np.isclose(half.max(), weight[half > 0].mean())
    with pytest.raises(GraphError, match="nothing: must be a convolution"):
        ternarize(graph, ["nothing"])
