"""What the ONNX importer makes of each operator, compared with ONNX Runtime, and what it refuses."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, numpy_helper

from conftest import ROOT
from onnx_models import RNG, compare, ints, model, node, number, one_conv, ops, real
from rillet.importers.onnx import HANDLERS, NOTES, operator_table, parse, parse_with_views, supported_operators
from rillet.importers.onnx.folding import FOLDS
from rillet.ir.ops import Activation, BatchNorm, Conv, Pool

# -- windows ---------------------------------------------------------------------------------------------------------


def padding(data: st.DataObject, kernel: tuple[int, int], most: int) -> dict[str, Any]:
    """Strides and either way to say the padding; ONNX Runtime refuses SAME where a stride is larger than the kernel."""
    auto = data.draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    longest = kernel if auto.startswith("SAME") else (3, 3)
    strides = [data.draw(st.integers(1, min(3, n))) for n in longest]
    if auto == "NOTSET":
        return {"strides": strides, "pads": [data.draw(st.integers(0, min(most, kernel[i % 2] - 1))) for i in range(4)]}
    return {"strides": strides, "auto_pad": auto}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_convolutions(data: st.DataObject) -> None:
    groups, per_group, out = (data.draw(st.integers(1, 3)) for _ in range(3))
    kernel = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))
    attributes = padding(data, kernel, 2) | {"group": groups}
    if "pads" in attributes:
        attributes["dilations"] = [data.draw(st.integers(1, 2)) for _ in range(2)]
    dims = (1, groups * per_group, data.draw(st.integers(7, 11)), data.draw(st.integers(7, 11)))
    bias = ["b"] if data.draw(st.booleans()) else []
    constants = {"w": real(groups * out, per_group, *kernel), "b": real(groups * out)}
    made = model([node("Conv", ["x", "w", *bias], **attributes)], dims, constants, opset=data.draw(st.integers(11, 22)))
    assert ops(compare(made)) == ["conv"]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_pools(data: st.DataObject) -> None:
    kernel = (data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)))
    kind = data.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    attributes = padding(data, kernel, 3) | {"kernel_shape": kernel}
    if "pads" in attributes:
        attributes["ceil_mode"] = data.draw(st.integers(0, 1))
    if kind == "AveragePool":
        attributes["count_include_pad"] = data.draw(st.integers(0, 1))
    dims = (1, 2, data.draw(st.integers(4, 9)), data.draw(st.integers(4, 9)))
    compare(model([node(kind, ["x"], **attributes)], dims, opset=data.draw(st.integers(11, 22))))


@pytest.mark.parametrize(
    ("made", "kind", "kernel"),
    [
        (node("GlobalAveragePool", ["x"]), "average", (4, 5)),
        (node("GlobalMaxPool", ["x"]), "max", (4, 5)),
        (node("ReduceMean", ["x"], axes=[2, 3]), "mean", (4, 5)),
        (node("ReduceMean", ["x"], axes=[-1, -2], keepdims=0), "mean", (4, 5)),
        (node("ReduceMean", ["x"], axes=[3]), "mean", (1, 5)),
        (node("ReduceMean", ["x"], axes=[2], keepdims=0), "mean", (4, 1)),
    ],
)
def test_pools_over_the_map(made: Any, kind: str, kernel: tuple[int, int]) -> None:
    graph = compare(model([made], (1, 3, 4, 5)))
    op = graph.nodes[1].op
    assert isinstance(op, Pool)
    assert (op.kind.value, op.window.kernel) == (kind, kernel)


def test_a_mean_of_no_axes_is_nothing_where_it_says_so() -> None:
    made = node("ReduceMean", ["x"], "m", noop_with_empty_axes=1)
    assert ops(compare(model([made, node("Relu", ["m"])], (1, 3, 4, 5), opset=18))) == ["relu"]


@pytest.mark.parametrize("opset", [11, 17, 18, 22])
def test_pad_becomes_padding_of_the_convolutions_behind_it(opset: int) -> None:
    pads = [0, 0, 1, 2, 0, 0, 3, 0]
    inputs = ["x", "pads"]
    constants = {"pads": ints(*pads), "w": real(4, 3, 3, 3), "v": real(4, 3, 1, 1)}
    if opset >= 18:
        constants |= {"pads": ints(2, 1, 0, 3), "axes": ints(3, 2)}
        inputs += ["", "axes"]
    both = [node("Conv", ["p", "w"], "a", pads=[1, 1, 1, 1]), node("Conv", ["p", "v"], "b", pads=[1, 1, 1, 1])]
    padded = node("Pad", inputs, "p")
    graph = compare(model([padded, *both[:1], node("Relu", ["a"])], (1, 3, 5, 5), constants, opset=opset))
    assert ops(graph) == ["conv", "relu"]
    conv = graph.nodes[1].op
    assert isinstance(conv, Conv)
    assert conv.window.padding == (2, 4, 3, 1)
    two = model([padded, *both], (1, 3, 5, 5), constants, opset=opset, outputs=("a", "b"))
    assert ops(compare(two)) == ["conv", "conv"]
    kept = model(
        [padded, both[0], node("MaxPool", ["p"], "b", kernel_shape=[2, 2])],
        (1, 3, 5, 5),
        constants,
        opset=opset,
        outputs=("a", "b"),
    )
    assert sorted(ops(compare(kept))) == ["conv", "pad", "pool"]


# -- dense layers and layouts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flatten", ["Flatten", "Reshape", "Squeeze"])
def test_dense_layers_of_a_flattened_map(flatten: str) -> None:
    dims = (1, 3, 4, 5) if flatten != "Squeeze" else (1, 60, 1, 1)
    made = {
        "Flatten": node("Flatten", ["x"], "f"),
        "Reshape": node("Reshape", ["x", "shape"], "f"),
        "Squeeze": node("Squeeze", ["x"], "f", axes=[2, 3]),
    }[flatten]
    constants = {"shape": ints(0, -1), "w": real(60, 7), "b": real(7)}
    graph = compare(model([made, node("Gemm", ["f", "w", "b"])], dims, constants, opset=12))
    assert ops(graph) == ["dense"]


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize(
    ("alpha", "beta", "bias"), [(1.0, 1.0, (7,)), (0.5, 2.0, (1, 7)), (1.5, 1.0, ()), (1.0, 1.0, None)]
)
def test_gemm(transposed: int, alpha: float, beta: float, bias: tuple[int, ...] | None) -> None:
    constants = {"w": real(7, 6) if transposed else real(6, 7), "b": real(*(bias or ()))}
    inputs = ["x", "w"] if bias is None else ["x", "w", "b"]
    made = node("Gemm", inputs, transB=transposed, alpha=alpha, beta=beta)
    assert ops(compare(model([made], (1, 6), constants))) == ["dense"]


def test_gemm_of_a_column() -> None:
    nodes = [node("Transpose", ["x"], "t"), node("Gemm", ["t", "w"], transA=1)]
    assert ops(compare(model(nodes, (1, 6), {"w": real(6, 4)}))) == ["dense"]


def test_the_bias_behind_a_matrix_product() -> None:
    constants = {"w": real(6, 4), "b": real(4)}
    product = node("MatMul", ["x", "w"], "p")
    graph = compare(model([product, node("Add", ["b", "p"])], (1, 6), constants))
    assert ops(graph) == ["dense"]
    assert [key for key in graph.params if key.endswith(".bias")]
    twice = model([product, node("Add", ["p", "b"]), node("Relu", ["p"], "z")], (1, 6), constants, outputs=("y", "z"))
    assert sorted(ops(compare(twice))) == ["add", "constant", "dense", "relu"]


def test_a_channels_last_file() -> None:
    """As converters from TensorFlow write it: turned at the input, products by channel, flattened row by row."""
    constants = {"w": real(8, 3, 3, 3), "m": real(8, 5), "b": real(5), "d": real(4 * 6 * 5, 7), "shape": ints(1, -1)}
    nodes = [
        node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], "c", pads=[1, 1, 1, 1]),
        node("Transpose", ["c"], "u", perm=[0, 2, 3, 1]),
        node("MatMul", ["u", "m"], "p"),
        node("Add", ["p", "b"], "a"),
        node("Relu", ["a"], "r"),
        node("Reshape", ["r", "shape"], "f"),
        node("MatMul", ["f", "d"]),
    ]
    graph = compare(model(nodes, (1, 4, 6, 3), constants))
    assert str(graph.nodes[0].shape) == "4x6x3"
    assert ops(graph) == ["conv", "conv", "relu", "dense"]


@pytest.mark.parametrize("dims", [("n", 3, 4, 5), (1, 3, 4, 5), (3, 4, 5), (1, 6), ("n", 6), (6,), ()])
def test_inputs(dims: tuple[int | str, ...]) -> None:
    assert ops(compare(model([node("Relu", ["x"])], dims))) == ["relu"]


def test_layouts_that_come_back() -> None:
    nodes = [
        node("Unsqueeze", ["x"], "a", axes=[0, 4]),
        node("Transpose", ["a"], "b", perm=[4, 0, 2, 3, 1]),
        node("Relu", ["b"], "c"),
        node("Transpose", ["c"], "d", perm=[0, 1, 4, 2, 3]),
        node("Squeeze", ["d"], "e", axes=[0]),
        node("Conv", ["e", "w"], "y"),
    ]
    assert ops(compare(model(nodes, (3, 4, 5), {"w": real(2, 3, 1, 1)}, opset=12))) == ["relu", "conv"]


# -- functions of each value -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (node("Relu", ["x"]), "relu"),
        (node("Clip", ["x", "zero", "six"]), "relu6"),
        (node("Clip", ["x", "zero"]), "relu"),
        (node("Clip", ["x", "minus", "one"]), "relu_n1_to_1"),
        (node("Sigmoid", ["x"]), "sigmoid"),
        (node("HardSwish", ["x"]), "hard_swish"),
        (node("HardSigmoid", ["x"], alpha=1 / 6, beta=0.5), "hard_sigmoid"),
        (node("Softmax", ["x"], axis=1), "softmax"),
        (node("Clip", ["x", "minus", "six"]), "clip"),
        (node("DepthToSpace", ["x"], blocksize=2), "depthtospace"),
        (node("Max", ["x", "one"]), "constant pair"),
        (node("Min", ["zero", "x"]), "constant pair"),
        (node("PRelu", ["x", "slopes"]), "constant pair"),
        (node("PRelu", ["x", "three"]), "leaky_relu"),
        (node("HardSigmoid", ["x"]), "ramp"),
        (node("Celu", ["x"], alpha=0.7), "celu"),
        (node("Elu", ["x"], alpha=0.7), "elu"),
        (node("Erf", ["x"]), "erf"),
        (node("Exp", ["x"]), "exp"),
        (node("LeakyRelu", ["x"], alpha=0.2), "leaky_relu"),
        (node("Neg", ["x"]), "neg"),
        (node("Pow", ["x", "three"]), "power"),
        (node("Selu", ["x"]), "selu"),
        (node("Softplus", ["x"]), "softplus"),
        (node("Softsign", ["x"]), "softsign"),
        (node("Tanh", ["x"]), "tanh"),
    ],
)
def test_functions(made: Any, expected: str) -> None:
    constants = {"zero": number(0), "three": number(3), "six": number(6), "minus": number(-1), "one": number(1)}
    constants["slopes"] = real(4, 1, 1)
    assert ops(compare(model([made], (1, 4, 3, 5), constants, opset=14))) == expected.split()


def test_operators_that_do_nothing() -> None:
    nodes = [
        node("Identity", ["x"], "a"),
        node("Dropout", ["a"], "b"),
        node("Clip", ["b"], "c"),
        node("Cast", ["c"], "d", to=TensorProto.FLOAT),
        node("Relu", ["d"]),
    ]
    assert ops(compare(model(nodes, (1, 4, 3, 5)))) == ["relu"]


@pytest.mark.parametrize("dims", [(1, 4, 3, 5), (1, 7), (4, 3, 5), (1, 1, 3, 5)])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("last", [[], [node("Cast", ["z"], to=TensorProto.INT32)]])
def test_places_of_the_greatest_channel(dims: tuple[int, ...], keep: int, last: list[Any]) -> None:
    """Of values some of which are equal: the first is taken."""
    axis = (0 if len(dims) == 3 else 1) - len(dims) * keep
    found = node("ArgMax", ["r"], "z" if last else "y", axis=axis, keepdims=keep)
    element = TensorProto.INT32 if last else TensorProto.INT64
    graph = compare(model([node("Relu", ["x"], "r"), found, *last], dims, output_dtype=element))
    assert ops(graph) == ["relu", "argmax"]
    assert str(graph.nodes[-1].type.dtype.numpy) == "int32"


@pytest.mark.parametrize("opset", [11, 13])
def test_softmax_of_a_vector(opset: int) -> None:
    assert ops(compare(model([node("Softmax", ["x"])], (1, 5), opset=opset))) == ["softmax"]


def test_batch_norm() -> None:
    constants = {"g": real(4), "b": real(4), "m": real(4), "v": np.abs(real(4)) + 0.5}
    inputs = ["x", "g", "b", "m", "v"]
    graph = compare(model([node("BatchNormalization", inputs, epsilon=1e-3)], (1, 4, 3, 5), constants))
    op = graph.nodes[1].op
    assert isinstance(op, BatchNorm)
    assert op.epsilon == 1e-3  # as people wrote it, not 0.0010000000474974513
    assert ops(compare(model([node("BatchNormalization", inputs)], (1, 4), constants))) == ["batchnorm"]


SPELLED = {
    "hard-sigmoid, by Div": (
        [("Add", "x", "three", "a"), ("Clip", "a", "zero", "six", "c"), ("Div", "c", "six", "y")],
        "hard_sigmoid",
    ),
    "hard-sigmoid, by Mul": (
        [("Add", "three", "x", "a"), ("Clip", "a", "zero", "six", "c"), ("Mul", "sixth", "c", "y")],
        "hard_sigmoid",
    ),
    "hard-swish, divided last": (
        [
            ("Add", "x", "three", "a"),
            ("Clip", "a", "zero", "six", "c"),
            ("Mul", "x", "c", "m"),
            ("Div", "m", "six", "y"),
        ],
        "hard_swish",
    ),
    "hard-swish, multiplied last": (
        [
            ("Add", "x", "three", "a"),
            ("Clip", "a", "zero", "six", "c"),
            ("Mul", "c", "x", "m"),
            ("Mul", "m", "sixth", "y"),
        ],
        "hard_swish",
    ),
    "hard-swish, divided first": (
        [
            ("Add", "x", "three", "a"),
            ("Clip", "a", "zero", "six", "c"),
            ("Div", "c", "six", "h"),
            ("Mul", "x", "h", "y"),
        ],
        "hard_swish",
    ),
    "hard-swish, by HardSigmoid": ([("HardSigmoid", "x", "h"), ("Mul", "h", "x", "y")], "hard_swish"),
    "SiLU": ([("Sigmoid", "x", "s"), ("Mul", "x", "s", "y")], "silu"),
    "swish": ([("Mul", "x", "three", "a"), ("Sigmoid", "a", "s"), ("Mul", "s", "x", "y")], "swish"),
    "Mish": ([("Softplus", "x", "a"), ("Tanh", "a", "t"), ("Mul", "x", "t", "y")], "mish"),
    "GELU": (
        [
            ("Div", "x", "root", "a"),
            ("Erf", "a", "e"),
            ("Add", "e", "one", "g"),
            ("Mul", "x", "g", "m"),
            ("Mul", "m", "half", "y"),
        ],
        "gelu",
    ),
    "GELU by tanh": (
        [
            ("Mul", "x", "x", "s"),
            ("Mul", "x", "s", "c"),
            ("Mul", "small", "c", "d"),
            ("Add", "x", "d", "a"),
            ("Mul", "beta", "a", "b"),
            ("Tanh", "b", "t"),
            ("Add", "one", "t", "g"),
            ("Mul", "x", "g", "m"),
            ("Mul", "half", "m", "y"),
        ],
        "gelu_tanh",
    ),
    "GELU by tanh of a power": (
        [
            ("Pow", "x", "three", "c"),
            ("Mul", "c", "small", "d"),
            ("Add", "x", "d", "a"),
            ("Mul", "a", "beta", "b"),
            ("Tanh", "b", "t"),
            ("Add", "t", "one", "g"),
            ("Mul", "g", "x", "m"),
            ("Mul", "m", "half", "y"),
        ],
        "gelu_tanh",
    ),
}
CONSTANTS = {"zero": number(0), "three": number(3), "six": number(6), "sixth": number(1 / 6)}
CONSTANTS |= {"one": number(1), "half": number(0.5), "root": number(2**0.5), "small": number(0.044715)}
CONSTANTS |= {"beta": number((2 / np.pi) ** 0.5)}


def spelled(name: str) -> list[Any]:
    attributes = {"HardSigmoid": {"alpha": 1 / 6}}
    return [node(kind, words[:-1], words[-1], **attributes.get(kind, {})) for kind, *words in SPELLED[name][0]]


@pytest.mark.parametrize("name", SPELLED)
def test_functions_spelled_out(name: str) -> None:
    assert ops(compare(model(spelled(name), (1, 3, 4, 4), CONSTANTS))) == [SPELLED[name][1]]


@pytest.mark.parametrize("name", SPELLED)
def test_functions_whose_parts_others_read_stay_spelled_out(name: str) -> None:
    nodes = spelled(name)
    middle = nodes[-2].output[0]
    read = [*nodes, node("Relu", [middle], "z")]
    graph = compare(model(read, (1, 3, 4, 4), CONSTANTS, outputs=("y", "z")))
    assert ops(graph)[-1] == "relu"
    assert SPELLED[name][1] not in ops(graph) or name == "hard-swish, divided first"


def test_other_numbers_are_no_hard_swish() -> None:
    nodes = spelled("hard-swish, divided last")
    for key, value in (("three", 2.5), ("sixth", 0.2)):
        for words in (nodes, spelled("hard-swish, multiplied last")):
            constants = CONSTANTS | {key: number(value)}
            if any(key in n.input for n in words):
                assert "hard_swish" not in ops(compare(model(words, (1, 3, 4, 4), constants)))


# -- arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("dims", [(), (1,), (3, 1, 1), (1, 3, 1, 1), (4, 5), (1, 1, 4, 5), (1, 3, 4, 5), (5,)])
def test_constant_operands(kind: str, dims: tuple[int, ...]) -> None:
    constants = {"c": np.abs(real(*dims)) + np.float32(0.5)}
    graph = compare(model([node(kind, ["x", "c"])], (1, 3, 4, 5), constants))
    small = dims in ((), (1,), (3, 1, 1), (1, 3, 1, 1))
    assert str(graph.nodes[1].shape) == ("1x1x3" if small else "4x5x3")
    if kind != "Div":
        compare(model([node(kind, ["c", "x"])], (1, 3, 4, 5), constants))


def gate(**more: Any) -> list[Any]:
    """Squeeze-and-excite around a vector, its gate reshaped in some way."""
    return [
        node("GlobalAveragePool", ["x"], "p"),
        node("Flatten", ["p"], "f"),
        node("Gemm", ["f", "w"], "g"),
        node("Sigmoid", ["g"], "s"),
        *more.get("nodes", [node("Reshape", ["s", "shape"], "r")]),
        node("Mul", ["r", "x"] if more.get("swapped") else ["x", "r"]),
    ]


@pytest.mark.parametrize("swapped", [False, True])
def test_squeeze_and_excite(swapped: bool) -> None:
    constants = {"w": real(3, 3), "shape": ints(1, 3, 1, 1)}
    graph = compare(model(gate(swapped=swapped), (1, 3, 4, 5), constants))
    assert ops(graph) == ["pool", "dense", "sigmoid", "multiply"]
    assert graph.nodes[-1].inputs[0] == "input"


def test_squeeze_and_excite_with_an_expanded_gate() -> None:
    unsqueezed = [
        node("Unsqueeze", ["s"], "u", axes=[2, 3]),
        node("Shape", ["x"], "n"),
        node("Expand", ["u", "n"], "r"),
    ]
    made = model(gate(nodes=unsqueezed), (1, 3, 4, 5), {"w": real(3, 3)}, opset=12)
    assert ops(compare(made)) == ["pool", "dense", "sigmoid", "multiply"]


def test_differences_keep_their_order() -> None:
    nodes = [node("Relu", ["x"], "r"), node("Sub", ["r", "x"])]
    assert ops(compare(model(nodes, (1, 3, 4, 5)))) == ["relu", "add"]


# -- channels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_split_and_concat(opset: int) -> None:
    equal = {"num_outputs": 3} if opset >= 18 else {}
    nodes = [node("Split", ["x"], ["a", "b", "c"], axis=1, **equal), node("Concat", ["c", "a", "b"], axis=1)]
    assert ops(compare(model(nodes, (1, 6, 4, 5), opset=opset))) == ["slice", "slice", "slice", "concat"]
    sizes = {"split": [1, 4, 1]} if opset < 13 else {}
    inputs = ["x"] if opset < 13 else ["x", "sizes"]
    nodes = [node("Split", inputs, ["a", "b", "c"], axis=-3, **sizes), node("Concat", ["b", "c"], axis=-3)]
    graph = compare(model(nodes, (1, 6, 4, 5), {"sizes": ints(1, 4, 1)}, opset=opset))
    assert ops(graph) == ["slice", "slice", "concat"]  # the unread part is gone


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "shape"),
    [([1], [4], [1], "4x5x3"), ([-2], [2**62], [-3], "4x5x2"), ([0, 2, 0], [9, 3, 4], [0, 1, 2], "4x5x1")],
)
def test_slices(starts: list[int], ends: list[int], axes: list[int], shape: str) -> None:
    constants = {"starts": ints(*starts), "ends": ints(*ends), "axes": ints(*axes)}
    graph = compare(model([node("Slice", ["x", "starts", "ends", "axes"])], (1, 6, 4, 5), constants))
    assert str(graph.nodes[-1].shape) == shape


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps", "expected"),
    [
        ([0], [5], [1], [2], ["select"]),
        ([4], [-9], [1], [-1], ["select"]),
        ([1], [3], [2], [1], ["resize"]),
        ([0, 1, 1], [5, 9, 9], [1, 2, 3], [3, 2, 1], ["select", "resize"]),
    ],
)
def test_steps_and_crops(starts: list[int], ends: list[int], axes: list[int], steps: list[int], expected: list) -> None:
    constants = {key: ints(*words) for key, words in zip("abcd", (starts, ends, axes, steps), strict=True)}
    made = model([node("Slice", ["x", "a", "b", "c", "d"])], (1, 5, 4, 6), constants)
    assert ops(compare(made)) == expected


def test_channels_in_another_order() -> None:
    made = model([node("Gather", ["x", "n"], axis=1)], (1, 4, 2, 3), {"n": ints(3, 0, 0, 1, 2, -1)})
    assert ops(compare(made)) == ["select"]


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_squares_of_pixels(mode: str) -> None:
    made = [node("DepthToSpace", ["x"], "s", blocksize=2, mode=mode), node("SpaceToDepth", ["s"], blocksize=4)]
    assert ops(compare(model(made, (1, 12, 2, 4))))[-2:] == ["depthtospace", "spacetodepth"]


def test_a_slice_of_everything_is_nothing() -> None:
    nodes = [node("Slice", ["x", "starts", "ends"], "s"), node("Relu", ["s"])]
    assert ops(compare(model(nodes, (1, 2, 3, 3), {"starts": ints(0), "ends": ints(9)}))) == ["relu"]


def test_constant_channels_beside_computed_ones() -> None:
    graph = compare(model([node("Concat", ["x", "c"], axis=1)], (1, 2, 3, 4), {"c": real(1, 3, 3, 4)}))
    assert ops(graph) == ["constant", "concat"]


# -- shapes that files compute ---------------------------------------------------------------------------------------


def test_a_reshape_out_of_a_computed_shape() -> None:
    nodes = [
        node("Shape", ["x"], "n"),
        node("Gather", ["n", "first"], "b", axis=0),
        node("Unsqueeze", ["b"], "u", axes=[0]),
        node("Constant", [], "rest", value_ints=[-1]),
        node("Concat", ["u", "rest"], "shape", axis=0),
        node("Reshape", ["x", "shape"], "f"),
        node("Gemm", ["f", "w"]),
    ]
    graph = compare(model(nodes, ("n", 3, 2, 2), {"first": np.array(0, np.int64), "w": real(12, 2)}, opset=12))
    assert ops(graph) == ["dense"]


def test_integers_are_computed_as_onnx_does() -> None:
    """Channels cut at ((shape + 1) / 2) * 1: the chunk of older exporters; division rounds towards zero."""
    nodes = [
        node("Shape", ["x"], "n", start=1, end=2),
        node("Add", ["n", "one"], "a"),
        node("Div", ["a", "two"], "d"),
        node("Mul", ["d", "minus"], "m"),
        node("Div", ["m", "two"], "e"),
        node("Sub", ["one", "e"], "stop"),
        node("Cast", ["stop"], "c", to=TensorProto.INT64),
        node("Slice", ["x", "one", "c", "one"]),
    ]
    constants = {"one": ints(1), "two": ints(2), "minus": ints(-1)}
    graph = compare(model(nodes, (1, 5, 3, 3), constants, opset=15))  # (5 + 1) / 2 = 3, -3 / 2 = -1, 1 - -1 = 2
    assert str(graph.nodes[-1].shape) == "3x3x1"


def test_constants_of_every_kind() -> None:
    nodes = [
        node("ConstantOfShape", ["four"], "zeros", value=numpy_helper.from_array(ints(0))),
        node("Constant", [], "a", value=numpy_helper.from_array(ints(2))),
        node("Constant", [], "b", value_int=0),
        node("Constant", [], "f", value_float=1.0),
        node("Constant", [], "g", value_floats=[0.0, 2.0]),
        node("Unsqueeze", ["b", "zero"], "b1"),
        node("Equal", ["a", "b1"], "same"),
        node("Where", ["same", "a", "one"], "w"),
        node("Expand", ["w", "two"], "e"),
        node("Slice", ["zeros", "zero", "two"], "none"),
        node("Concat", ["zeros", "none", "e"], "pads", axis=0),
        node("Pad", ["x", "pads"], "p"),
        node("Mul", ["p", "f"], "m"),
        node("Squeeze", ["g"], "h"),
        node("Transpose", ["h"], "t"),
        node("Add", ["m", "t"]),
    ]
    constants = {"four": ints(4), "one": ints(1), "two": ints(2), "zero": ints(0)}
    graph = compare(model(nodes, (1, 3, 3, 1), constants))
    assert str(graph.nodes[-1].shape) == "4x2x3"


# -- names, contract, views --------------------------------------------------------------------------------------------


def test_files_by_others_get_names_and_an_input_contract() -> None:
    graph = parse(one_conv().SerializeToString(), "folder/net.onnx")
    assert graph.name == "net"
    assert [n.name for n in graph.nodes] == ["input", "stem"]
    assert graph.image is not None
    assert graph.image.deviation == (255.0,)
    assert Activation.NONE is graph.nodes[1].op.activation  # type: ignore[union-attr]


def test_views_of_input_and_outputs() -> None:
    nodes = [node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]), node("Relu", ["t"], "r"), node("Flatten", ["r"])]
    made = parse_with_views(model(nodes, (1, 2, 3, 4)).SerializeToString(), "x.onnx")
    tensor = RNG.normal(0, 1, (1, 2, 3, 4))
    assert np.array_equal(made.input.to_map(tensor), tensor[0])
    assert made.outputs[0].dims == (1, 24)
    assert np.array_equal(made.outputs[0].from_map(tensor[0]), tensor.transpose(0, 3, 1, 2).reshape(1, 24))


def test_the_command_line_does_not_load_onnx() -> None:
    code = "import sys, rillet.cli; sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- documentation ---------------------------------------------------------------------------------------------------


def test_the_table_of_operators_in_the_documentation(request: pytest.FixtureRequest) -> None:
    """docs/onnx.md holds the table that the code makes; --update-golden writes it anew."""
    page = ROOT / "docs" / "onnx.md"
    text = page.read_text()
    start = text.index("| operator |")
    stop = text.index("\n\n", start) + 1
    if request.config.getoption("--update-golden"):
        page.write_text(text[:start] + operator_table() + text[stop:])
        text = page.read_text()
    assert operator_table() in text
    assert set(NOTES) == set(HANDLERS)
    assert set(supported_operators()) == {*HANDLERS, *FOLDS}
