"""Detectors of ONNX files: heads of several scales joined in one dimension, and decoded there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
import onnx

import rillet
from onnx_models import compare, ints, model, node, number, real, yolo
from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx import HANDLERS, joined, parse
from rillet.ir.graph import Array

CHANNELS, PLACES = 6, 64 + 16
"""Of the joined tensor, `j`: 1 x 6 x 80, of maps of 8x8 and 4x4."""
Nodes = list[onnx.NodeProto]


def heads(
    more: Nodes, constants: dict[str, Array], outputs: tuple[str, ...] = ("y",), opset: int = 17
) -> onnx.ModelProto:
    """A network of two scales whose heads are joined as `j`, and what follows."""
    nodes = [
        node("Conv", ["x", "w"], "large", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Conv", ["large", "v"], "small", kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["large", "flat"], "a"),
        node("Reshape", ["small", "flat"], "b"),
        node("Concat", ["a", "b"], "j", axis=2),
    ]
    given = {"w": real(CHANNELS, 3, 3, 3) / 3, "v": real(CHANNELS, CHANNELS, 2, 2) / 3, "flat": ints(1, CHANNELS, -1)}
    places = onnx.TensorProto.INT64 if more[-1].op_type == "ArgMax" else onnx.TensorProto.FLOAT
    made = {"outputs": outputs, "opset": opset, "output_dtype": places}
    return model([*nodes, *more], (1, 3, 8, 8), {**given, **constants}, **made)


def plain(kind: str, *constants: Array, **attributes: Any) -> tuple[Nodes, dict[str, Array]]:
    """One operator on `j` and constants."""
    names = [f"c{i}" for i in range(len(constants))]
    return [node(kind, ["j", *names], **attributes)], dict(zip(names, constants, strict=True))


def positive(kind: str, *constants: Array) -> tuple[Nodes, dict[str, Array]]:
    """One operator on values above zero."""
    names = [f"c{i}" for i in range(len(constants))]
    steps = [node("Abs", ["j"], "above"), node("Add", ["above", "one"], "more"), node(kind, ["more", *names])]
    return steps, {"one": number(1), **dict(zip(names, constants, strict=True))}


CASES: dict[str, list[tuple[Nodes, dict[str, Array]]]] = {
    "Add": [plain("Add", real(1, 1, PLACES)), plain("Add", real(PLACES)), plain("Add", real(1, CHANNELS, 1))],
    "ArgMax": [
        plain("ArgMax", axis=1),
        plain("ArgMax", axis=1, keepdims=0),
        ([node("Transpose", ["j"], "t", perm=[0, 2, 1]), node("ArgMax", ["t"], axis=-1, keepdims=0)], {}),
    ],
    "Cast": [plain("Cast", to=1)],
    "Clip": [plain("Clip", number(-0.5), number(1.5))],
    "Concat": [
        ([node("Concat", ["j", "j2"], axis=1), node("Neg", ["j"], "j2")][::-1], {}),
        plain("Concat", real(1, 2, PLACES), axis=-2),
        ([node("Neg", ["a"], "a2"), node("Concat", ["j", "a2"], axis=2)], {}),
    ],
    "Conv": [
        (
            [
                node("Unsqueeze", ["j", "axis"], "m"),
                node("Conv", ["m", "k", "bias"], kernel_shape=[1, 1]),
            ],
            {"axis": ints(2), "k": real(4, CHANNELS, 1, 1), "bias": real(4)},
        ),
        (
            [
                node("Reshape", ["j", "parts"], "p"),
                node("Transpose", ["p"], "q", perm=[0, 2, 1, 3]),
                node("Conv", ["q", "k", "bias"], kernel_shape=[1, 1]),
            ],
            {"parts": ints(1, 2, 3, -1), "k": real(2, 3, 1, 1), "bias": real(2)},
        ),
    ],
    "DequantizeLinear": [
        (
            [node("QuantizeLinear", ["j", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"])],
            {"s": number(0.1), "z": np.array(7, np.uint8)},
        )
    ],
    "Div": [plain("Div", 1 + np.abs(real(1, 1, PLACES))), positive("Div", number(3))],
    "Dropout": [plain("Dropout")],
    "Flatten": [([node("Transpose", ["j"], "t", perm=[0, 2, 1]), node("Flatten", ["t"], axis=2)], {})],
    "Gather": [
        (
            [node("Unsqueeze", ["j", "axis"], "m"), node("Gather", ["m", "at"], axis=1)],
            {"axis": ints(2), "at": ints(3, 0, 5)},
        )
    ],
    "Identity": [plain("Identity")],
    "Log": [positive("Log")],
    "LogSoftmax": [plain("LogSoftmax", axis=1)],
    "MatMul": [
        ([node("Transpose", ["j"], "t", perm=[0, 2, 1]), node("MatMul", ["t", "k"])], {"k": real(CHANNELS, 5)}),
    ],
    "Max": [plain("Max", real(1, 1, PLACES))],
    "Min": [plain("Min", number(0.5))],
    "Mul": [([node("Mul", ["j", "s"]), node("Sigmoid", ["j"], "s")][::-1], {}), plain("Mul", real(CHANNELS, PLACES))],
    "PRelu": [plain("PRelu", real(CHANNELS, 1))],
    "Pow": [positive("Pow", number(0.5))],
    "QuantizeLinear": [],  # with DequantizeLinear
    "Reciprocal": [positive("Reciprocal")],
    "ReduceL2": [plain("ReduceL2", axes=[1], keepdims=0)],
    "ReduceMax": [plain("ReduceMax", axes=[1])],
    "ReduceMean": [plain("ReduceMean", axes=[0, 1], keepdims=0)],
    "ReduceSum": [plain("ReduceSum", ints(-2), keepdims=1)],
    "ReduceSumSquare": [plain("ReduceSumSquare", axes=[1])],
    "Reshape": [
        plain("Reshape", ints(1, 2, 3, -1)),
        ([node("Transpose", ["j"], "t", perm=[0, 2, 1]), node("Reshape", ["t", "to"])], {"to": ints(-1, 2)}),
    ],
    "Slice": [plain("Slice", ints(1, 0), ints(9, PLACES), ints(1, 2), ints(2, 1))],
    "Softmax": [
        plain("Softmax", axis=1),
        ([node("Reshape", ["j", "to"], "p"), node("Softmax", ["p"], axis=2)], {"to": ints(1, 2, 3, -1)}),
        ([node("Reshape", ["j", "to"], "p"), node("Softmax", ["p"], axis=1)], {"to": ints(1, 2, 3, -1)}),
    ],
    "Split": [
        (
            [node("Split", ["j", "sizes"], ["l", "r"], axis=1), node("Add", ["l", "r"])],
            {"sizes": ints(3, 3)},
        )
    ],
    "Sqrt": [positive("Sqrt")],
    "Squeeze": [plain("Squeeze", ints(0))],
    "Sub": [plain("Sub", number(1)), ([node("Sub", ["c", "j"])], {"c": real(1, 1, PLACES)})],
    "Transpose": [plain("Transpose", perm=[2, 0, 1]), plain("Transpose")],
    "Unsqueeze": [plain("Unsqueeze", ints(0, 3))],
}
"""What each operator is tried with; a function of one value is tried by itself."""


@pytest.mark.parametrize("kind", joined.KINDS)
def test_every_operator_is_that_of_the_joined_tensor(kind: str) -> None:
    newer = {"Gelu": 20, "Mish": 18, "Swish": 24}
    for nodes, constants in CASES.get(kind, [plain(kind)]):
        if newer.get(kind, 0) > 22:
            continue
        graph = compare(heads(nodes, constants, opset=newer.get(kind, 17)))
        assert len(graph.outputs) in (2, 3)  # nothing joins them


def test_kinds_are_read_otherwise_too() -> None:
    assert set(joined.KINDS) <= set(HANDLERS)
    assert set(CASES) <= set(joined.KINDS)


def test_a_yolo_is_read_whole_and_runs_scale_by_scale(tmp_path: Path) -> None:
    made = yolo()
    graph = compare(made)
    assert [str(graph.by_name[name].shape) for name in graph.outputs] == ["8x8x7", "4x4x7", "2x2x7"]
    path = tmp_path / "yolo.onnx"
    path.write_bytes(made.SerializeToString())
    done = rillet.verify(rillet.load(path), inputs=1, against="onnxruntime")
    assert done.equal


def test_boxes_of_several_anchors_a_place_are_joined_as_rows() -> None:
    """As SSDs have them: 1 x (H W A) x 4, decoded by exponentials, and 1 x (H W A) x classes with a softmax."""
    nodes: Nodes = []
    constants: dict[str, Array] = {"four": ints(1, -1, 4), "three": ints(1, -1, 3), "v": number(0.2)}
    for i, (side, anchors) in enumerate(((4, 3), (2, 6), (1, 6))):
        window = {"kernel_shape": [8 // side] * 2, "strides": [8 // side] * 2}
        for what, values in (("four", 4), ("three", 3)):
            nodes += [
                node("Conv", ["x", f"{what}{i}/w"], f"{what}{i}/m", **window),
                node("Transpose", [f"{what}{i}/m"], f"{what}{i}/t", perm=[0, 2, 3, 1]),
                node("Reshape", [f"{what}{i}/t", what], f"{what}{i}"),
            ]
            constants[f"{what}{i}/w"] = real(anchors * values, 3, 8 // side, 8 // side) / 8
    rows = 4 * 4 * 3 + 2 * 2 * 6 + 6
    constants |= {"places": real(1, rows, 2), "sizes": np.abs(real(1, rows, 2)), "halves": ints(2, 2)}
    nodes += [
        node("Concat", ["four0", "four1", "four2"], "boxes", axis=1),
        node("Concat", ["three0", "three1", "three2"], "logits", axis=1),
        node("Softmax", ["logits"], "scores", axis=-1),
        node("Split", ["boxes", "halves"], ["centre", "log"], axis=2),
        node("Mul", ["log", "v"], "scaled"),
        node("Exp", ["scaled"], "grown"),
        node("Mul", ["grown", "sizes"], "size"),
        node("Mul", ["centre", "sizes"], "moved"),
        node("Add", ["moved", "places"], "middle"),
        node("Concat", ["middle", "size"], "found", axis=2),
    ]
    graph = compare(model(nodes, (1, 3, 8, 8), constants, outputs=("found", "scores")))
    assert len(graph.outputs) == 6


@pytest.mark.parametrize(
    ("nodes", "constants", "says"),
    [
        (
            [node("Softmax", ["j"], axis=2)],
            {},
            "over other dimensions than that of 1x6x80, 2 joined in dimension 2",
        ),
        ([node("ReduceMax", ["j"], axes=[2])], {}, "must be over other dimensions than that of 1x6x80"),
        (*plain("ArgMax", axis=-1), "must be over another dimension than that of 1x6x80, 2 joined in dimension 2"),
        (*plain("Add", real(1, 1, 7)), "operands must"),
        (*plain("Gather", ints(0), axis=2), "must be over other dimensions than that of"),
        (*plain("Slice", ints(3), ints(9), ints(2)), "must keep the dimension of 1x6x80, 2 joined"),
        (*plain("Reshape", ints(1, -1)), r"must keep the dimension of 1x6x80, 2 joined in dimension 2, got \[1, 480\]"),
        (*plain("Concat", real(1, 6, 3), axis=2), "must join computed tensors alone to 1x6x80"),
        (*plain("MatMul", real(PLACES, 3)), "must multiply another dimension of 1x6x80 by a constant matrix"),
        ([node("GlobalAveragePool", ["j"])], {}, "must be one map, got 1x6x80, which is 2 joined in dimension 2"),
        ([node("Concat", ["a"] * 9 + ["b"] * 9, axis=2)], {}, "must join at most 16 maps, got 18"),
    ],
)
def test_what_needs_all_places_is_refused(nodes: Nodes, constants: dict[str, Array], says: str) -> None:
    with pytest.raises(Unsupported, match=says):
        parse(heads(nodes, constants).SerializeToString(), "net.onnx")


@pytest.mark.parametrize(
    ("nodes", "constants", "says"),
    [
        (*plain("Reshape", ints(1, 6, 7)), "shape must hold the values of 1x6x80"),
        (*plain("Transpose", perm=[0, 1, 1]), "order must be one of 3 dimensions"),
        (*plain("Softmax", axis=3), "axis must be one of 3 dimensions, got 3"),
        (*plain("Concat", real(6, 80), axis=1), "inputs must have as many dimensions"),
    ],
)
def test_what_does_not_fit_is_an_error(nodes: Nodes, constants: dict[str, Array], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        parse(heads(nodes, constants).SerializeToString(), "net.onnx")


def test_softmaxes_of_older_files_are_over_all_dimensions_behind() -> None:
    with pytest.raises(Unsupported, match="must be over other dimensions than that of"):
        parse(heads([node("Softmax", ["j"], axis=1)], {}, opset=12).SerializeToString(), "net.onnx")
    turned = [node("Transpose", ["j"], "t", perm=[0, 2, 1]), node("Softmax", ["t"], axis=2)]
    compare(heads(turned, {}, opset=12))
