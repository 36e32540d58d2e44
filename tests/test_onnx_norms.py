"""ONNX operators that become several nodes: norms, sums, softmaxes of parts, shuffles, gates, borders."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from onnx_models import compare, ints, model, node, ops, real
from rillet.importers.onnx import parse

DIMS = (1, 4, 6, 4)


def reduced(kind: str, *axes: int, keep: int = 1) -> list[Any]:
    """A reduction whose axes are an attribute up to opset 17, an input in a ReduceSum."""
    if kind == "ReduceSum":
        return [node(kind, ["x", "axes"], keepdims=keep)]
    return [node(kind, ["x"], axes=list(axes), keepdims=keep)]


def turned(*inner: Any) -> list[Any]:
    """Nodes from `t` to `n` of a tensor with the channels last, and back."""
    return [
        node("Transpose", ["x"], "t", perm=[0, 2, 3, 1]), *inner, node("Transpose", ["n"], "y", perm=[0, 3, 1, 2]),
    ]  # fmt: skip


def shuffled(*more: Any) -> list[Any]:
    """Channels cut into parts that change places."""
    return [
        node("Reshape", ["x", "cut"], "c"), node("Transpose", ["c"], "s", perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["s", "dims"], "r"), *more,
    ]  # fmt: skip


CASES: dict[str, tuple[list[Any], str]] = {
    "mean of channels": (reduced("ReduceMean", 1), "conv"),
    "mean of everything": (reduced("ReduceMean", 1, 2, 3), "pool conv"),
    "mean of a row": (reduced("ReduceMean", 2, keep=0), "pool"),
    "sum": ([node("ReduceSum", ["x", "axes"], keepdims=0)], "pool multiply"),
    "greatest": (reduced("ReduceMax", 1, 3), "pool slice slice pair slice slice pair"),
    "root of squares": (reduced("ReduceL2", 1), "multiply conv sqrt"),
    "sum of squares": (reduced("ReduceSumSquare", 1), "multiply conv"),
    "layer norm": (
        turned(node("LayerNormalization", ["t", "scale", "bias"], "n", epsilon=1e-4)),
        "conv select add multiply conv power select multiply conv",
    ),
    "layer norm by hand": (
        [
            *turned(
                node("ReduceMean", ["t"], "m", axes=[-1]), node("Sub", ["t", "m"], "d"), node("Mul", ["d", "d"], "q"),
                node("ReduceMean", ["q"], "v", axes=[-1]), node("Add", ["v", "small"], "e"), node("Sqrt", ["e"], "r"),
                node("Div", ["d", "r"], "n"),
            )
        ],
        "conv select add multiply conv add sqrt select pair",
    ),
    "instance norm": (
        [node("InstanceNormalization", ["x", "scale", "bias"])], "pool add multiply pool conv power multiply conv",
    ),
    "norm of groups by reshapes": (
        [
            node("Reshape", ["x", "groups"], "g"), node("InstanceNormalization", ["g", "ones", "zeros"], "i"),
            node("Reshape", ["i", "dims"]),
        ],
        "pool conv select add multiply pool conv power select multiply conv",
    ),
    "lengths of one": (
        [node("LpNormalization", ["x"], axis=1)], "multiply conv clip power select multiply",
    ),
    "log softmax": ([node("LogSoftmax", ["x"], axis=1)], "softmax log"),
    "softmax of a part": (
        [
            node("Reshape", ["x", "cut"], "c"), node("Softmax", ["c"], "s", axis=1),
            node("ReduceSum", ["s", "one"], "r", keepdims=0), node("Mul", ["r", "half"]),
        ],
        "select add sigmoid select conv multiply",
    ),
    "softmax of all pixels": (
        [node("Reshape", ["x", "flat"], "f"), node("Softmax", ["f"], axis=2)],
        "pool add exp pool pair multiply",
    ),
    "shuffle": (shuffled(node("Conv", ["r", "w"])), "select conv"),
    "half of a shuffle": (shuffled(node("Split", ["r"], ["y", "z"], axis=1)), "select slice slice"),
    "squares of pixels by views": (
        [
            node("Reshape", ["x", "square"], "q"), node("Transpose", ["q"], "t", perm=[0, 1, 4, 2, 5, 3]),
            node("Reshape", ["t", "large"]),
        ],
        "depthtospace",
    ),
    "pixels of squares by views": (
        [
            node("Reshape", ["x", "windows"], "q"), node("Transpose", ["q"], "t", perm=[0, 3, 5, 1, 2, 4]),
            node("Reshape", ["t", "small_map"]),
        ],
        "spacetodepth",
    ),
    "gate by pixel": ([node("ReduceMean", ["x"], "m", axes=[1]), node("Mul", ["m", "x"])], "conv select multiply"),
    "gates by row and column": (
        [
            node("ReduceMean", ["x"], "h", axes=[3]), node("ReduceMean", ["x"], "v", axes=[2]),
            node("Sub", ["h", "v"], "o"), node("Div", ["o", "x"]),
        ],
        "pool pool resize resize add pair",
    ),
    "conv over channels": (
        [
            node("GlobalAveragePool", ["x"], "p"), node("Reshape", ["p", "line"], "l"),
            node("Conv", ["l", "taps"], "c", pads=[1, 1]), node("Reshape", ["c", "pixel"], "g"),
            node("Mul", ["x", "g"]),
        ],
        "pool select select conv multiply",
    ),
    "conv of a row": (
        [
            node("ReduceMean", ["x"], "m", axes=[2], keepdims=0),
            node("Conv", ["m", "wide", "bias"], pads=[1, 0], strides=[2], dilations=[2]),
        ],
        "pool conv",
    ),
    "weighted sum": (
        [
            node("Reshape", ["x", "flat"], "f"), node("ReduceMean", ["f"], "m", axes=[1]),
            node("Transpose", ["m"], "t", perm=[0, 2, 1]), node("MatMul", ["f", "t"]),
        ],
        "conv select multiply pool multiply",
    ),
    "rows one behind another": (
        [node("Slice", ["x", "one", "two", "two"], "s"), node("Concat", ["x", "s"], axis=2)], "resize pad pad add",
    ),
    "a mirrored border": ([node("Pad", ["x", "sides"], mode="reflect")],
        "resize pad pad add resize resize pad pad add pad add"),
    "a repeated border": ([node("Pad", ["x", "sides"], mode="edge")], "resize"),
    "a border with the channels last": (turned(node("Pad", ["t", "around"], "n")), "pad"),
}  # fmt: skip
CONSTANTS = {
    "axes": ints(2, 3), "one": ints(1), "two": ints(2), "dims": ints(*DIMS), "cut": ints(1, 2, 2, 6, 4),
    "groups": ints(1, 2, -1), "flat": ints(1, 4, 24), "line": ints(1, 1, 4), "pixel": ints(1, 4, 1, 1),
    "square": ints(1, 1, 2, 2, 6, 4), "large": ints(1, 1, 12, 8), "windows": ints(1, 4, 3, 2, 2, 2),
    "small_map": ints(1, 16, 3, 2), "sides": ints(0, 0, 1, 0, 0, 0, 0, 2), "around": ints(0, 1, 2, 0, 0, 0, 1, 0),
    "scale": real(4), "bias": real(4), "ones": np.ones(2, np.float32), "zeros": np.zeros(2, np.float32),
    "small": np.float32([1e-4]), "half": np.float32([0.5]), "w": real(3, 4, 3, 3), "taps": real(1, 1, 3),
    "wide": real(4, 4, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators_of_several_nodes(name: str) -> None:
    nodes, words = CASES[name]
    read = {tensor for each in nodes for tensor in each.input}
    outputs = ["y", "z"] if any("z" in each.output for each in nodes) else ["y"]
    constants = {key: array for key, array in CONSTANTS.items() if key in read}
    made = ops(compare(model(nodes, DIMS, constants, outputs=outputs)))
    assert " ".join(word for word in made if word != "constant") == words


@pytest.mark.parametrize(("opset", "each"), [(18, 2), (21, 4)])
def test_group_norm(opset: int, each: int) -> None:
    made = model(
        [node("GroupNormalization", ["x", "s", "b"], num_groups=2)],
        DIMS,
        {"s": real(each), "b": real(each)},
        opset=opset,
    )
    compare(made)


def test_a_file_of_channels_last_that_begins_with_a_border() -> None:
    nodes = [
        node("Pad", ["x", "n"], "p"),
        node("Transpose", ["p"], "t", perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"]),
    ]
    made = model(nodes, (1, 6, 5, 3), {"n": ints(0, 1, 1, 0, 0, 1, 1, 0), "w": real(2, 3, 3, 3)})
    graph = compare(made)
    assert (str(graph.nodes[0].shape), ops(parse(made.SerializeToString(), "t"))) == ("6x5x3", ["conv"])
