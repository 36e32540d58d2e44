"""Quantised ONNX files, as QDQ and as QLinear operators, become integer networks."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto

from onnx_models import RNG, ints, model, node, ops, random_tensor, run, session
from rillet.backends import reference
from rillet.errors import RilletError
from rillet.importers.onnx import parse, parse_with_views
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Activation, Constant, Conv, Requantize, Rounding
from rillet.ir.types import DType
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Program
from rillet.targets.host import this_host

SCALES: dict[str, Array] = {
    "s": np.array(0.05, np.float32),
    "z": np.array(3, np.int8),
    "t": np.array(0.1, np.float32),
    "v": np.array(-7, np.int8),
    "u": np.array(1 / 256, np.float32),
    "l": np.array(-128, np.int8),
}
"""Two quantisations, and the one of results between 0 and 1."""


def dq(source: str, out: str, scale: str = "s", zero: str = "z", **attributes: Any) -> Any:
    return node("DequantizeLinear", [source, scale, zero], out, **attributes)


def q(source: str, out: str = "y", scale: str = "t", zero: str = "v") -> Any:
    return node("QuantizeLinear", [source, scale, zero], out)


def weights(outputs: int, inputs: int, kernel: int = 1) -> dict[str, Array]:
    """Stored weights with a scale a channel and a bias."""
    scale = RNG.uniform(0.01, 0.02, outputs).astype(np.float32)
    return {
        "w": RNG.integers(-127, 128, (outputs, inputs, kernel, kernel)).astype(np.int8),
        "ws": scale,
        "wz": np.zeros(outputs, np.int8),
        "b": RNG.integers(-500, 500, outputs).astype(np.int32),
        "bs": scale * SCALES["s"],
        "bz": np.zeros(outputs, np.int32),
    }


WEIGHTS = [dq("w", "wr", "ws", "wz", axis=0), dq("b", "br", "bs", "bz", axis=0)]


def integers(nodes: list[Any], constants: dict[str, Array], dims: tuple[int, ...] = (1, 4, 6, 5), **more: Any) -> Graph:
    """The imported graph of a file with an int8 input; its outputs are ONNX Runtime's to one step, places exactly."""
    more = {"dtype": TensorProto.INT8, "output_dtype": TensorProto.INT8} | more
    data = model(nodes, dims, SCALES | constants, **more).SerializeToString()
    made = parse_with_views(data, "x.onnx")
    tensor = random_tensor(made)
    for got, want in zip(run(made, tensor), session(data).run(None, {"x": tensor}), strict=True):
        places = want.dtype == np.int64
        assert got.dtype == (np.int32 if places else want.dtype) or want.dtype == np.float32
        close = float(not places) if want.dtype != np.float32 else 1e-5 * np.abs(want).max()
        assert np.abs(got.astype(np.float64) - want).max() <= close
    return made.graph


def test_a_convolution_with_its_activation() -> None:
    nodes = [dq("x", "a"), *WEIGHTS, node("Conv", ["a", "wr", "br"], "c"), node("Relu", ["c"], "r"), q("r")]
    graph = integers(nodes, weights(3, 4))
    conv = graph.nodes[-1].op
    assert isinstance(conv, Conv)
    assert (conv.weights, conv.activation, conv.rounding) == (DType.I8, Activation.RELU, Rounding.SINGLE)
    assert graph.nodes[-1].type.quant is not None
    assert graph.params[f"{graph.nodes[-1].name}.bias"].dtype == np.int32


def test_a_bias_of_real_numbers_or_of_another_scale_is_rounded() -> None:
    for other in ({"br": RNG.normal(0, 0.3, 3).astype(np.float32)}, {"bs": np.full(3, 0.004, np.float32)}):
        arrays = weights(3, 4) | other
        stored = WEIGHTS[:1] if "br" in other else WEIGHTS
        graph = integers([dq("x", "a"), *stored, node("Conv", ["a", "wr", "br"], "c"), q("c")], arrays)
        assert [n.type.dtype for n in graph.nodes] == [DType.I8, DType.I8]


def test_dense_layers() -> None:
    arrays = weights(3, 120)
    gemm = arrays | {"w": arrays["w"].reshape(3, 120)}
    flat = [dq("x", "a"), node("Flatten", ["a"], "f")]
    assert ops(integers([*flat, *WEIGHTS, node("Gemm", ["f", "wr", "br"], "c", transB=1), q("c")], gemm)) == ["dense"]
    turned = [
        *flat,
        *WEIGHTS,
        node("Transpose", ["wr"], "wt"),
        node("MatMul", ["f", "wt"], "m"),
        node("Add", ["m", "br"], "c"),
    ]
    assert ops(integers([*turned, q("c")], gemm)) == ["dense"]
    per_tensor = gemm | {"ws": np.array(0.01, np.float32), "wz": np.array(0, np.int8)}
    shaped = [*flat, WEIGHTS[0], node("Reshape", ["wr", "n"], "w2"), node("Gemm", ["f", "w2"], "c", transB=1), q("c")]
    assert ops(integers(shaped, per_tensor | {"n": np.array([3, 120], np.int64)})) == ["dense"]


def test_weights_that_the_file_quantises_itself() -> None:
    arrays = weights(3, 4) | {"real": RNG.normal(0, 1, (3, 4, 1, 1)).astype(np.float32)}
    fake = [node("QuantizeLinear", ["real", "ws", "wz"], "w2", axis=0), dq("w2", "wr", "ws", "wz", axis=0)]
    assert ops(integers([dq("x", "a"), *fake, node("Conv", ["a", "wr"], "c"), q("c")], arrays)) == ["conv"]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([node("Relu", ["a"], "r"), q("r")], ["relu"]),
        ([node("HardSwish", ["a"], "r"), q("r")], ["hard_swish"]),
        ([node("Sigmoid", ["a"], "r"), q("r", scale="u", zero="l")], ["sigmoid"]),
        ([node("Sigmoid", ["a"], "r"), q("r")], ["sigmoid"]),
        ([node("HardSigmoid", ["a"], "r", alpha=1 / 6), q("r")], ["hard_sigmoid"]),
        ([node("Softmax", ["a"], "r", axis=1), q("r", scale="u", zero="l")], ["softmax"]),
        ([node("GlobalAveragePool", ["a"], "r"), q("r", scale="s", zero="z")], ["pool"]),
        ([node("GlobalAveragePool", ["a"], "r"), q("r")], ["pool"]),
        ([node("AveragePool", ["a"], "r", kernel_shape=[2, 2]), q("r", scale="s", zero="z")], ["pool"]),
        ([node("MaxPool", ["a"], "r", kernel_shape=[2, 2]), q("r")], ["pool", "requantize"]),
        (
            [node("MaxPool", ["a"], "r", kernel_shape=[2, 2]), node("Relu", ["r"], "p"), q("p", scale="s", zero="z")],
            ["pool"],
        ),
        ([node("Add", ["a", "a"], "r"), q("r")], ["add"]),
        ([node("Sub", ["a", "k"], "r"), q("r")], ["constant", "add"]),
        ([node("Mul", ["a", "k"], "r"), q("r")], ["constant", "multiply"]),
        ([q("a")], ["requantize"]),
        ([q("a", "r", "s", "z"), dq("r", "p"), q("p")], ["requantize"]),
        ([node("Concat", ["a", "a"], "r", axis=1), q("r", scale="s", zero="z")], ["concat"]),
        (
            [q("a", "o"), dq("o", "p", "t", "v"), node("Concat", ["a", "p"], "r", axis=1), q("r")],
            ["requantize", "requantize", "concat"],
        ),
        ([node("Pad", ["a", "pads"], "r"), q("r", scale="s", zero="z")], ["pad"]),
    ],
)
def test_operations_between_dequantise_and_quantise(made: list[Any], expected: list[str]) -> None:
    constants = {
        "k8": np.array([[[5]], [[-9]], [[70]], [[1]]], np.int8),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 2], np.int64),
    }
    nodes = [dq("x", "a"), dq("k8", "k", "t", "v"), *made]
    got = ops(integers(nodes, constants, opset=14))
    assert sorted(got) == sorted(expected)


def test_the_greatest_channel_is_that_of_the_stored_values() -> None:
    """Also of what is moved before, and of integers as they are."""
    made = node("ArgMax", ["a"], axis=1)
    assert ops(integers([dq("x", "a"), made], {}, output_dtype=TensorProto.INT64)) == ["argmax"]
    assert ops(integers([node("ArgMax", ["x"], axis=1)], {}, output_dtype=TensorProto.INT64)) == ["argmax"]
    moved = [
        dq("x", "b"),
        node("Relu", ["b"], "c"),
        q("c", "d"),
        dq("d", "e", "t", "v"),
        node("Slice", ["e", "one", "four", "one"], "a"),
    ]
    bounds = {"one": ints(1), "four": ints(4)}
    graph = integers([*moved, made], bounds, output_dtype=TensorProto.INT64)
    assert ops(graph) == ["relu", "slice", "argmax"]
    assert [n.type.dtype for n in graph.nodes[-2:]] == [DType.I8, DType.I32]


@pytest.mark.parametrize(
    "made",
    [
        [node("Softmax", ["a"], "r", axis=1), q("r")],
        [node("AveragePool", ["a"], "r", kernel_shape=[2, 2]), q("r")],
        [
            node("Relu", ["a"], "r"),
            node("QuantizeLinear", ["r", "t", "zu"], "y8"),
            node("DequantizeLinear", ["y8", "t", "zu"], "p"),
            q("p"),
        ],
        [node("Add", ["a", "k"], "r"), q("r")],
    ],
)
def test_what_stays_on_real_numbers(made: list[Any]) -> None:
    """Functions without an integer rule, results of another type, operands that are not quantised, other readers."""
    constants = {"k": np.ones((4, 1, 1), np.float32), "zu": np.array(3, np.uint8)}
    graph = integers([dq("x", "a"), *made], constants)
    assert any(n.type.dtype is DType.F32 and not isinstance(n.op, Constant | Requantize) for n in graph.nodes)


def test_a_value_that_others_read_stays_a_real_number() -> None:
    nodes = [dq("x", "a"), node("HardSwish", ["a"], "r"), q("r"), node("Sigmoid", ["r"], "g"), q("g", "more")]
    graph = integers(nodes, {}, outputs=("y", "more"))
    assert ops(graph) == ["requantize", "hard_swish", "requantize", "sigmoid", "requantize"]


def test_a_convolution_whose_result_is_not_quantised_has_real_weights() -> None:
    nodes = [dq("x", "a"), *WEIGHTS, node("Conv", ["a", "wr", "br"], "c"), node("Relu", ["c"])]
    graph = integers(nodes, weights(3, 4), output_dtype=TensorProto.FLOAT)
    assert [n.type.dtype for n in graph.nodes] == [DType.I8, DType.F32, DType.F32, DType.F32]


def test_values_move_as_integers() -> None:
    """No QuantizeLinear behind what only moves values."""
    pool = node("MaxPool", ["a"], "m", kernel_shape=[2, 2])
    cut = node("Slice", ["m", "one", "three", "one"], "n")
    nodes = [dq("x", "a"), pool, cut, *WEIGHTS, node("Conv", ["n", "wr", "br"], "c"), q("c")]
    arrays = weights(3, 2) | {"one": np.array([1], np.int64), "three": np.array([3], np.int64)}
    graph = integers(nodes, arrays)
    assert ops(graph) == ["pool", "slice", "conv"]
    assert {n.type.dtype for n in graph.nodes} == {DType.I8}


def test_a_value_that_is_quantised_once_for_each_reader() -> None:
    conv = [dq("x", "a"), *WEIGHTS, node("Conv", ["a", "wr", "br"], "c")]
    nodes = [
        *conv,
        q("c", "q1"),
        q("c", "q2"),
        dq("q1", "d1", "t", "v"),
        dq("q2", "d2", "t", "v"),
        node("Add", ["d1", "d2"], "e"),
        q("e"),
    ]
    assert ops(integers(nodes, weights(3, 4))) == ["conv", "add"]


def test_real_inputs_and_outputs_around_integers() -> None:
    inner = [dq("x8", "a"), node("HardSwish", ["a"], "r"), q("r", "y8"), dq("y8", "y", "t", "v")]
    made = model([node("QuantizeLinear", ["x", "s", "z"], "x8"), *inner], (1, 4, 3, 3), SCALES)
    data = made.SerializeToString()
    graph = parse(data, "x.onnx")
    assert ops(graph) == ["requantize", "hard_swish", "requantize"]
    assert [n.type.dtype for n in graph.nodes] == [DType.F32, DType.I8, DType.I8, DType.F32]


def test_uint8_concatenation_rescales_its_parts() -> None:
    constants = {"zu": np.array(120, np.uint8)}
    parts = [node("DequantizeLinear", ["x", "s", "zu"], "a"), node("QuantizeLinear", ["a", "t", "zu"], "b8")]
    joined = [node("DequantizeLinear", ["b8", "t", "zu"], "b"), node("Concat", ["a", "b"], "c", axis=1)]
    last = [node("QuantizeLinear", ["c", "t", "zu"], "y")]
    graph = integers([*parts, *joined, *last], constants, dtype=TensorProto.UINT8, output_dtype=TensorProto.UINT8)
    assert ops(graph) == ["requantize", "concat"]


def test_a_channels_last_integer_input() -> None:
    nodes = [
        dq("x", "a"),
        node("Transpose", ["a"], "t4", perm=[0, 3, 1, 2]),
        *WEIGHTS,
        node("Conv", ["t4", "wr", "br"], "c"),
        q("c"),
    ]
    graph = integers(nodes, weights(3, 4), (1, 5, 6, 4))
    assert str(graph.nodes[0].shape) == "5x6x4"
    assert ops(graph) == ["conv"]


def test_integers_without_a_scale_stand_for_themselves() -> None:
    graph = integers([node("MaxPool", ["x"], kernel_shape=[2, 2])], {})
    assert graph.nodes[0].type.quant is not None
    assert (graph.nodes[0].type.quant.scale, graph.nodes[0].type.quant.zero_point) == (1.0, 0)


# -- QLinear operators -----------------------------------------------------------------------------------------------

MICROSOFT = {"domain": "com.microsoft"}
X, Y = ["x", "s", "z"], ["t", "v"]


@pytest.mark.parametrize(
    ("nodes", "dims", "expected"),
    [
        ([node("QLinearConv", [*X, "w", "ws", "wz", *Y, "b"], pads=[1, 0, 1, 0])], (1, 4, 6, 5), ["conv"]),
        ([node("QLinearMatMul", [*X, "m", "ms", "mz", *Y])], (1, 4), ["dense"]),
        ([node("QGemm", [*X, "m", "ms", "mz", "b", *Y], **MICROSOFT)], (1, 4), ["dense"]),
        ([node("QLinearAdd", [*X, *X, *Y], **MICROSOFT)], (1, 4, 6, 5), ["add"]),
        ([node("QLinearAdd", ["k", "t", "v", *X, *Y], **MICROSOFT)], (1, 4, 6, 5), ["constant", "add"]),
        ([node("QLinearMul", [*X, "k", "t", "v", *Y], **MICROSOFT)], (1, 4, 6, 5), ["constant", "multiply"]),
        ([node("QLinearGlobalAveragePool", [*X, *Y], **MICROSOFT)], (1, 4, 6, 5), ["pool"]),
        ([node("QLinearAveragePool", [*X, "s", "z"], kernel_shape=[2, 2], **MICROSOFT)], (1, 4, 6, 5), ["pool"]),
        ([node("QLinearConcat", [*Y, *X, *X], axis=1, **MICROSOFT)], (1, 4, 6, 5), ["requantize", "concat"]),
        ([node("QLinearSigmoid", [*X, "u", "l"], **MICROSOFT)], (1, 4, 6, 5), ["sigmoid"]),
        ([node("QLinearSoftmax", [*X, "u", "l"], axis=1, opset=13, **MICROSOFT)], (1, 4), ["softmax"]),
    ],
)
def test_qlinear_operators(nodes: list[Any], dims: tuple[int, ...], expected: list[str]) -> None:
    constants = weights(3, 4) | {
        "m": RNG.integers(-127, 128, (4, 3)).astype(np.int8),
        "ms": np.array(0.02, np.float32),
        "mz": np.array(0, np.int8),
        "k": RNG.integers(-127, 128, (4, 1, 1)).astype(np.int8),
    }
    graph = integers(nodes, constants, dims)
    assert ops(graph) == expected
    assert {n.type.dtype for n in graph.nodes} == {DType.I8}


def test_a_gemm_whose_result_is_real() -> None:
    constants = {
        "m": RNG.integers(-127, 128, (4, 3)).astype(np.int8),
        "ms": np.array(0.02, np.float32),
        "mz": np.array(0, np.int8),
    }
    graph = integers(
        [node("QGemm", [*X, "m", "ms", "mz"], **MICROSOFT)], constants, (1, 4), output_dtype=TensorProto.FLOAT
    )
    assert ops(graph) == ["requantize", "dense"]


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        (
            [dq("x", "a"), q("a", "b"), dq("b", "y")],
            {},
            "scale and zero point must be those that input 0 was quantised with",
        ),
        (
            [dq("x", "a"), node("QuantizeLinear", ["a", "n", "nz"])],
            {"n": np.ones(4, np.float32), "nz": np.zeros(4, np.int8)},
            "must have one scale and one zero point, got 4 and 4",
        ),
        (
            [dq("x", "a"), node("QuantizeLinear", ["a", "s", "zi"])],
            {"zi": np.array(0, np.int32)},
            "type must be INT8 or UINT8, got INT32",
        ),
        (
            [dq("x", "a"), node("QuantizeLinear", ["a", "n", "z"])],
            {"n": np.array(0, np.float32)},
            "scale must be a positive number, got 0.0",
        ),
        (
            [dq("x", "a"), node("QuantizeLinear", ["a", "n", "z"])],
            {"n": np.array(np.inf, np.float32)},
            "input 1 must be finite numbers",
        ),
        ([dq("x", "y", block_size=2)], {}, "must have one scale, or one a channel, got blocks"),
        ([node("QuantizeLinear", ["x", "s", "z"])], {}, "input 0 must be FLOAT, got INT8"),
        ([node("Relu", ["x"])], {}, "input 0 must be FLOAT, got INT8"),
        (
            [dq("x", "a"), dq("w", "wr", "ws", "wz", axis=3), node("Conv", ["a", "wr"])],
            weights(3, 4),
            "scales must be one for each index of axis 3",
        ),
        (
            [dq("x", "a"), dq("w", "wr", "ws", "wz", axis=9), node("Conv", ["a", "wr"])],
            weights(3, 4),
            "scales must be one for each index of axis 9",
        ),
        (
            [dq("x", "a"), dq("w", "wr", "ws", "bz", axis=0), node("Conv", ["a", "wr"])],
            weights(3, 4),
            "zero point must be INT8, got INT32",
        ),
        (
            [dq("x", "a"), dq("w", "wr", "n", "wz", axis=0), node("Conv", ["a", "wr"])],
            weights(3, 4) | {"n": np.array([1, -1, 1], np.float32)},
            "scales must be positive numbers with a zero point each",
        ),
        (
            [node("QLinearGlobalAveragePool", [*X, *Y], channels_last=1, **MICROSOFT)],
            {},
            "must be 1xCxHxW, got channels_last",
        ),
        (
            [node("QLinearAdd", ["k", "s", "z", "k", "s", "z", *Y], **MICROSOFT)],
            {"k": np.zeros(4, np.int8)},
            "must have a computed input",
        ),
        (
            [node("QGemm", [*X, "k", "s", "z"], **MICROSOFT)],
            {"k": np.zeros((4, 3), np.int8)},
            "input must be one vector, got 1x4x6x5",
        ),
        ([node("QLinearConv", [*X, "w", "ws", "wz", *Y, "ws"])], weights(3, 4), "bias must be INT32, got FLOAT32"),
    ],
)
def test_what_is_refused(nodes: list[Any], constants: dict[str, Array], message: str) -> None:
    made = model(nodes, (1, 4, 6, 5), SCALES | constants, dtype=TensorProto.INT8, output_dtype=TensorProto.INT8)
    with pytest.raises(RilletError, match=message):
        parse(made.SerializeToString(), "x.onnx")


@pytest.mark.parametrize("value", [[], ["z"]])
def test_padding_of_stored_integers_must_be_their_zero(value: list[str]) -> None:
    nodes = [dq("x", "a"), q("a", "b", "s", "z"), node("Pad", ["b", "pads", *value], "p"), dq("p", "c"), q("c")]
    pads = {"pads": np.array([0, 0, 1, 0, 0, 0, 0, 0], np.int64)}
    if value:
        assert ops(integers(nodes, pads)) == ["pad", "requantize"]
        return
    with pytest.raises(RilletError, match="must pad with zeros, edges or mirrored, got mode 'constant' and 0"):
        integers(nodes, pads)


TINY = 1.1920929e-07


@pytest.mark.parametrize("name", ["Conv", "Relu", "Mul", "Add"])
@pytest.mark.parametrize("sign", [1, -1])
def test_results_far_beyond_a_byte_saturate(name: str, sign: int) -> None:
    """As ONNX says and ONNX Runtime does: scales so far apart that 32 bits do not hold the result."""
    channels = 128 if name == "Conv" else 1
    scale = {"Conv": 0.0235, "Relu": 2.0, "Mul": 0.04, "Add": 0.5}[name]
    inner = {
        "Conv": [dq("w", "wr", "ws", "wz"), node("Conv", ["a", "wr"], "c")],
        "Relu": [node("Relu", ["a"], "c")],
        "Mul": [node("Mul", ["a", "a"], "c")],
        "Add": [node("Add", ["a", "a"], "c")],
    }[name]
    constants = {
        "s": np.array(scale, np.float32),
        "z": np.array(0, np.int8),
        "t": np.array(TINY, np.float32),
        "v": np.array(0, np.int8),
        "w": np.full((1, channels, 1, 1), 127, np.int8),
        "ws": np.array(0.01, np.float32),
        "wz": np.array(0, np.int8),
    }
    kinds = {"dtype": TensorProto.INT8, "output_dtype": TensorProto.INT8}
    data = model([dq("x", "a"), *inner, q("c")], (1, channels, 1, 1), constants, **kinds).SerializeToString()
    tensor = np.full((1, channels, 1, 1), 127 * sign, np.int8)
    expected = session(data).run(None, {"x": tensor})[0].reshape(-1).tolist()
    assert expected == [127 if sign > 0 or name == "Mul" else 0 if name == "Relu" else -128]
    graph = parse(data, "x.onnx")
    assert all(n.type.dtype is DType.I8 for n in graph.nodes)
    image = tensor.reshape(1, 1, channels)
    assert reference.outputs(graph, image)[0].reshape(-1).tolist() == expected
    for plan in (plan_rows(graph), plan_host(graph, this_host())):
        assert Program(plan).run(image)[0].reshape(-1).tolist() == expected
