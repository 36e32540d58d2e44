"""Broken, hostile and unsupported ONNX files: one clean error each, naming the file and the node."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_models import ints, model, node, number, one_conv, ops, real
from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.onnx import load, parse, wire
from rillet.ir.graph import Array

# -- what it refuses -------------------------------------------------------------------------------------------------


def edited(change: Callable[[Any], Any]) -> bytes:
    made = one_conv()
    change(made)
    return made.SerializeToString()


def tensor(made: Any) -> Any:
    return made.graph.initializer[0]


def external(location: str) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        onnx.external_data_helper.set_external_data(tensor(made), location)
        tensor(made).ClearField("raw_data")

    return change


def attribute(**values: Any) -> Callable[[Any], None]:
    return lambda made: made.graph.node[0].attribute.extend(helper.make_attribute(k, v) for k, v in values.items())


def shape(*dims: int) -> Callable[[Any], None]:
    return lambda made: made.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, dims))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda m: setattr(m.graph.node[0], "op_type", "LSTM"),
            Unsupported,
            r"x.onnx: node 0 \(LSTM 'c'\): is not supported; supported are Add, AveragePool",
        ),
        (
            lambda m: setattr(m.graph.node[0], "domain", "com.example"),
            Unsupported,
            r"node 0 \(com.example.Conv 'c'\): is not",
        ),
        (lambda m: setattr(m.opset_import[0], "version", 10), Unsupported, "x.onnx: opset must be 11 to 22, got 10"),
        (lambda m: setattr(m.opset_import[0], "version", 23), Unsupported, "opset must be 11 to 22, got 23"),
        (lambda m: m.ClearField("opset_import"), Unsupported, "opset must be 11 to 22, got none"),
        (lambda m: m.ClearField("graph"), GraphError, "must be an ONNX file with a graph"),
        (shape(2, 3, 5, 5), Unsupported, "input 'x': shape must be 1xCxHxW, CxHxW, 1xC or C, got"),
        (shape(1, 1, 3, 5, 5), Unsupported, "shape must be 1xCxHxW"),
        (shape(1, 3, 0, 5), GraphError, "input 'x': dimensions must be at least 1"),
        (shape(1, 3, 2**20, 2**20), GraphError, "input 'x': shape must hold at most"),
        (shape(1, 4, 5, 5), GraphError, "weights must fit 4 channels, 1 groups"),
        (shape(1, 3), Unsupported, "input must be 1xCxHxW, got 1x3"),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[2], "dim_param", "h"),
            Unsupported,
            "shape must be fixed but for the batch, got 1, 3, ., 5",
        ),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 11),
            Unsupported,
            "type must be FLOAT, INT8 or UINT8, got DOUBLE",
        ),
        (lambda m: m.graph.input[0].type.Clear(), Unsupported, "input 'x' must be a tensor with a shape"),
        (lambda m: m.graph.input.extend(list(m.graph.input)), Unsupported, "must have one input, got 2"),
        (
            lambda m: m.graph.initializer.extend(list(m.graph.initializer)),
            GraphError,
            "constants must have names of their own, got 'w' twice",
        ),
        (lambda m: m.graph.sparse_initializer.add(), Unsupported, "constants must be dense"),
        (
            lambda m: setattr(tensor(m), "data_type", 10),
            Unsupported,
            "tensor 'w': type must be one of FLOAT, .*, got FLOAT16",
        ),
        (
            lambda m: setattr(tensor(m), "data_type", 99),
            Unsupported,
            "tensor 'w': type must be one of FLOAT, .*, got 99",
        ),
        (lambda m: setattr(tensor(m), "raw_data", b"123"), GraphError, "tensor 'w': must have 216 bytes, got 3"),
        (lambda m: tensor(m).ClearField("raw_data"), GraphError, "tensor 'w': must have 54 values, got 0"),
        (lambda m: tensor(m).dims.append(-1), GraphError, "tensor 'w': must be whole, with at most 8 dimensions"),
        (lambda m: tensor(m).dims.extend([1] * 8), GraphError, "with at most 8 dimensions"),
        (lambda m: tensor(m).dims.append(2**40), GraphError, "tensor 'w': must have 237494511599616 bytes"),
        (
            lambda m: setattr(tensor(m), "raw_data", np.full(54, np.nan, np.float32).tobytes()),
            GraphError,
            "weights must be finite numbers of type FLOAT",
        ),
        (external("w.bin"), Unsupported, "tensor 'w': data must be in the file, got them in 'w.bin'"),
        (lambda m: m.graph.node[0].input.pop(), GraphError, "input 1 is missing"),
        (lambda m: m.graph.node[0].input.__setitem__(1, "nowhere"), GraphError, "reads 'nowhere' before it is made"),
        (
            lambda m: m.graph.node[0].input.__setitem__(1, "x"),
            Unsupported,
            "input 1 must be constant, got the computed 'x'",
        ),
        (
            lambda m: m.graph.node[0].input.__setitem__(0, "w"),
            Unsupported,
            "input 0 must be computed, got the constant 'w'",
        ),
        (lambda m: m.graph.node[0].output.pop(), GraphError, "must have an output"),
        (lambda m: m.graph.node[0].output.__setitem__(0, "x"), GraphError, "output must be made once, got 'x'"),
        (lambda m: setattr(m.graph.output[0], "name", "w"), GraphError, "output 'w' must be computed by a node"),
        (lambda m: m.graph.output.extend(list(m.graph.output)), Unsupported, "outputs must be different values"),
        (lambda m: m.graph.ClearField("output"), GraphError, "must have an output"),
        (attribute(strides=[1]), Unsupported, "strides must be that of two dimensions, got"),
        (attribute(strides=[0, 1]), GraphError, "stride must be at least 1x1, got 0x1"),
        (attribute(strides=2), GraphError, "attribute strides must be INTS, got type 2"),
        (attribute(dilations=[9, 9]), GraphError, "padded height must be at least the window's 19, got 5"),
        (attribute(pads=[1, 1]), GraphError, "pads must be 4 numbers"),
        (attribute(pads=[-1, 0, 0, 0]), GraphError, "padding must not be negative"),
        (attribute(pads=[2**60, 0, 0, 0]), GraphError, "padded map must hold at most"),
        (
            attribute(auto_pad="LEFT"),
            GraphError,
            "auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, got 'LEFT'",
        ),
        (attribute(kernel_shape=[1, 1]), GraphError, "weights must fit 3 channels, 1 groups and kernel"),
        (attribute(group=3), GraphError, "weights must fit 3 channels, 3 groups"),
        (attribute(group=0), GraphError, "weights must fit 3 channels, 0 groups"),
    ],
)
def test_what_it_refuses(change: Callable[[Any], Any], error: type[RilletError], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        parse(edited(change), "x.onnx")
    assert str(raised.value).startswith("x.onnx: ")


REFUSED: dict[str, tuple[list[Any], dict[str, Array], str]] = {
    "Clip": (
        [node("Clip", ["x", "c"])],
        {"c": number(0.5)},
        "bounds must be 0 and 6, 0 and none, or -1 and 1, got 0.5",
    ),
    "computed bound": ([node("GlobalMaxPool", ["x"], "c"), node("Clip", ["x", "c"])], {}, "input 1 must be constant"),
    "HardSigmoid": ([node("HardSigmoid", ["x"])], {}, "alpha and beta must be 1/6 and 0.5, got 0.2 and 0.5"),
    "Softmax over rows": ([node("Softmax", ["x"], axis=2)], {}, "dimension 2 must be the channels alone, got 1x4x3x5"),
    "Softmax over all": (
        [node("Flatten", ["x"], "f"), node("Softmax", ["f"])],
        {},
        "dimension 1 must be the channels alone",
    ),
    "Concat of rows": ([node("Concat", ["x", "x"], axis=2)], {}, "dimension 2 must be the channels alone"),
    "Concat of ranks": (
        [node("Flatten", ["x"], "f"), node("Concat", ["x", "f"], axis=1)],
        {},
        "must have as many dimensions",
    ),
    "Slice of rows": (
        [node("Slice", ["x", "a", "b", "b"])],
        {"a": ints(0), "b": ints(2)},
        "dimension 2 must be the channels",
    ),
    "Slice by twos": (
        [node("Slice", ["x", "a", "b", "c", "d"])],
        {"a": ints(0), "b": ints(4), "c": ints(1), "d": ints(2)},
        "neighbouring channels",
    ),
    "Split": (
        [node("Split", ["x", "n"], ["y", "z"], axis=1)],
        {"n": ints(1, 1)},
        r"must cut 4 into 2 parts, got \[1, 1\]",
    ),
    "Reshape": (
        [node("Reshape", ["x", "n"])],
        {"n": ints(1, 2, 2, 15)},
        "must keep or merge dimensions, got 1x4x3x5 as 1x2x2x15",
    ),
    "Reshape to more": ([node("Reshape", ["x", "n"])], {"n": ints(1, 4, 4)}, "shape must hold the 60 values"),
    "Reshape twice -1": ([node("Reshape", ["x", "n"])], {"n": ints(-1, -1)}, "shape must hold the values of"),
    "Transpose": ([node("Transpose", ["x"], perm=[0, 1, 1, 2])], {}, "order must be one of 4 dimensions"),
    "turned map": (
        [node("Transpose", ["x"], "t", perm=[0, 1, 3, 2]), node("MaxPool", ["t"], kernel_shape=[1, 1])],
        {},
        "input must be 1xCxHxW, got 1x4x5x3 in another order",
    ),
    "expanded": (
        [node("Expand", ["x", "n"], "e"), node("Relu", ["e"])],
        {"n": ints(2, 4, 3, 5)},
        "input 0 must not be expanded, got 2x4x3x5",
    ),
    "outer product": (
        [node("GlobalMaxPool", ["x"], "p"), node("ReduceMean", ["x"], "m", axes=[1]), node("Mul", ["p", "m"])],
        {},
        "axes must be height and width",
    ),
    "operands": (
        [node("ReduceMean", ["x"], "m", axes=[2]), node("Mul", ["x", "m"])],
        {},
        "operands must be of one shape, or the second one value a channel",
    ),
    "constant operand": (
        [node("Add", ["x", "c"])],
        {"c": np.zeros((2, 4, 3, 5), np.float32)},
        r"constant must broadcast to 1x4x3x5, got \[2, 4, 3, 5\]",
    ),
    "integer operand": ([node("Add", ["x", "c"])], {"c": ints(1)}, "must be finite numbers of type FLOAT, got INT64"),
    "Div by computed": ([node("Div", ["x", "x"])], {}, "input 1 must be constant"),
    "Div by 0": ([node("Div", ["x", "c"])], {"c": number(0)}, "divisor must not be 0"),
    "Gemm of a map": ([node("Gemm", ["x", "c"])], {"c": np.zeros((5, 2), np.float32)}, "input must be one vector"),
    "Gemm bias": (
        [node("Flatten", ["x"], "f"), node("Gemm", ["f", "c", "b"])],
        {"c": np.zeros((60, 2), np.float32), "b": np.zeros((2, 2), np.float32)},
        "bias must be one row",
    ),
    "MatMul of rows": (
        [node("MatMul", ["x", "c"])],
        {"c": np.zeros((5, 2), np.float32)},
        "last dimension must be the channels, or all there is",
    ),
    "MatMul of matrices": (
        [node("MatMul", ["x", "c"])],
        {"c": np.zeros((1, 5, 2), np.float32)},
        "second operand must be a constant matrix",
    ),
    "ReduceMean": ([node("ReduceMean", ["x"])], {}, "axes must be height and width"),
    "Pad": (
        [node("Pad", ["x", "n"], mode="reflect")],
        {"n": ints(0, 0, 1, 1, 0, 0, 1, 1)},
        "must pad with zeros, got mode 'reflect'",
    ),
    "Pad with ones": (
        [node("Pad", ["x", "n", "c"])],
        {"n": ints(0, 0, 1, 1, 0, 0, 1, 1), "c": number(1)},
        "must pad with zeros",
    ),
    "Pad of channels": (
        [node("Pad", ["x", "n"])],
        {"n": ints(0, 1, 0, 0, 0, 0, 0, 0)},
        "must add rows and columns alone",
    ),
    "Pad away": ([node("Pad", ["x", "n"])], {"n": ints(0, 0, -1, 0, 0, 0, 0, 0)}, "must add rows and columns alone"),
    "pool dilation": ([node("MaxPool", ["x"], kernel_shape=[2, 2], dilations=[2, 1])], {}, "dilations must be 1"),
    "pool indices": ([node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])], {}, "values alone, not their indices"),
    "pool kernel": ([node("MaxPool", ["x"])], {}, "kernel_shape must be that of two dimensions, got None"),
    "VALID and ceil_mode": (
        [node("MaxPool", ["x"], kernel_shape=[2, 2], ceil_mode=1, auto_pad="VALID")],
        {},
        "ceil_mode must go with pads",
    ),
    "Resize": (
        [node("Resize", ["x", "", "", "n"], mode="linear")],
        {"n": ints(1, 4, 6, 6)},
        "must take the nearest by one of asymmetric floor",
    ),
    "Resize of channels": (
        [
            node(
                "Resize",
                ["x", "", "", "n"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ],
        {"n": ints(1, 8, 6, 6)},
        "height and width alone",
    ),
    "BatchNormalization": (
        [node("BatchNormalization", ["x", "c", "c", "c", "c"], training_mode=1)],
        {"c": np.ones(4, np.float32)},
        "must use running statistics",
    ),
    "BatchNormalization of others": (
        [node("BatchNormalization", ["x", "c", "c", "c", "c"])],
        {"c": np.ones(3, np.float32)},
        "gamma must have 4 values",
    ),
    "Dropout": ([node("Dropout", ["x", "", "t"])], {"t": np.array(True)}, "must be off, got training_mode"),
    "Cast": (
        [node("Cast", ["x"], "i", to=TensorProto.INT64), node("Cast", ["i"], to=TensorProto.FLOAT)],
        {},
        "computed values must stay FLOAT",
    ),
    "Gather": (
        [node("Gather", ["x", "n"], axis=1)],
        {"n": ints(0)},
        "inputs must be constants, or shapes, got computed ones",
    ),
    "huge constant": (
        [node("ConstantOfShape", ["n"], "c"), node("Add", ["x", "c"])],
        {"n": ints(2**20, 2**20)},
        "result of constants must have at most 65536 values",
    ),
    "Constant": (
        [node("Constant", [], "c", value_string="a"), node("Add", ["x", "c"])],
        {},
        "must be a dense tensor of numbers",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_operators_refuse(name: str) -> None:
    nodes, constants, message = REFUSED[name]
    with pytest.raises(RilletError, match=message):
        parse(model(nodes, (1, 4, 3, 5), constants).SerializeToString(), "x.onnx")


def test_outputs_are_computed_and_the_rest_is_dropped() -> None:
    unread = model([node("Relu", ["x"]), node("Conv", ["x", "w"], "z")], (1, 3, 5, 5), {"w": real(2, 3, 3, 3)})
    assert ops(parse(unread.SerializeToString(), "x.onnx")) == ["relu"]


# -- hostile files ---------------------------------------------------------------------------------------------------


def test_wrong_files() -> None:
    good = one_conv().SerializeToString()
    for data in (b"", b"\0" * 64, b"TFL3", good[: len(good) // 2], b"\xff" * 100, b"\x0b" * 40, good + b"\x07"):
        with pytest.raises(GraphError, match=r"x\.onnx: must be an ONNX file"):
            parse(data, "x.onnx")


def test_files_of_too_many_or_too_deep_messages() -> None:
    empty_nodes = b"\x0a\x00" * 2**20
    length = len(empty_nodes)
    varint = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14 & 0x7F | 0x80, length >> 21])
    with pytest.raises(GraphError, match="must have at most 1048576 fields"):
        parse(b"\x3a" + varint + empty_nodes, "x.onnx")
    inner = helper.make_graph([], "g", [], [])
    for _ in range(12):
        inner = helper.make_graph([helper.make_node("If", [], [], then_branch=inner)], "g", [], [])
    with pytest.raises(GraphError, match="messages must be nested at most 32 deep"):
        parse(helper.make_model(inner).SerializeToString(), "x.onnx")


def test_packed_integers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_PACKED_BYTES", 100)
    made = one_conv()
    made.graph.initializer.add(name="n", data_type=TensorProto.INT64, dims=[101], int64_data=[1] * 101)
    with pytest.raises(GraphError, match="must have at most 100 bytes of packed integers, got 101"):
        parse(made.SerializeToString(), "x.onnx")


def test_one_constant_used_often_does_not_fill_memory() -> None:
    """A thousand convolutions that share 4 MB of weights would need 4 GB of their own."""
    weight = np.zeros((1024, 1024, 1, 1), np.float32)
    nodes = [node("Conv", ["x" if i == 0 else f"c{i - 1}", "w"], f"c{i}" if i < 999 else "y") for i in range(1000)]
    with pytest.raises(GraphError, match="constants must take at most 1073741824 bytes in all"):
        parse(model(nodes, (1, 1024, 1, 1), {"w": weight}).SerializeToString(), "x.onnx")


def test_constants_that_double() -> None:
    nodes = [node("Concat", [f"c{i}", f"c{i}"], f"c{i + 1}", axis=0) for i in range(40)]
    made = model([*nodes, node("Reshape", ["x", "c40"])], (1, 3), {"c0": ints(1)})
    with pytest.raises(Unsupported, match="result of constants must have at most 65536 values"):
        parse(made.SerializeToString(), "x.onnx")


def test_too_many_nodes() -> None:
    nodes = [node("Relu", ["x" if i == 0 else f"r{i - 1}"], f"r{i}") for i in range(8193)]
    with pytest.raises(Unsupported, match="must have at most 8192 nodes, got 8193"):
        parse(model(nodes, (1, 3), outputs=("r8192",)).SerializeToString(), "x.onnx")


def saved(folder: Path, location: str, **entries: str) -> Path:
    """A model whose weights are in another file, wherever that is."""
    made = one_conv()
    array = numpy_helper.to_array(made.graph.initializer[0])
    external(location)(made)
    for key, value in entries.items():
        made.graph.initializer[0].external_data.add(key=key, value=value)
    (folder / "data.bin").write_bytes(b"1234" + array.tobytes())
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    graph = load(saved(tmp_path, "data.bin", offset="4"))
    inside = parse(one_conv().SerializeToString(), "net.onnx")
    assert graph.nodes[1] == inside.nodes[1]
    assert graph.params.keys() == inside.params.keys()


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("../data.bin", {}, "data must be in a file beside the model, got '../data.bin'"),
        ("/etc/passwd", {}, "data must be in a file beside the model"),
        ("inner/data.bin", {}, "data must be in a file beside the model"),
        ("..", {}, "data must be in a file beside the model"),
        ("", {}, "data must be in a file beside the model"),
        ("inner\\data.bin", {}, "data must be in a file beside the model"),
        ("C:data.bin", {}, "data must be in a file beside the model"),
        ("a\0b", {}, "data must be in a file beside the model"),
        ("missing.bin", {}, "missing.bin cannot be read: No such file"),
        ("link.bin", {}, "link.bin cannot be read"),
        ("inner", {}, "inner cannot be read: Is a directory"),
        ("pipe.bin", {}, "pipe.bin must be a file of at least 216 bytes"),
        ("x" * 5000, {}, "cannot be read: File name too long"),
        ("data.bin", {"offset": "8"}, "data.bin must be a file of at least 224 bytes"),
        ("data.bin", {"offset": "-1"}, "external data must be 216 bytes, got 216 at -1"),
        ("data.bin", {"length": "9"}, "external data must be 216 bytes, got 9 at 0"),
        ("data.bin", {"offset": "many"}, "offset and length of external data must be integers"),
        ("data.bin", {"offset": str(2**70)}, "data.bin must be a file of at least"),
    ],
)
def test_external_data_elsewhere(tmp_path: Path, location: str, entries: dict[str, str], message: str) -> None:
    folder = tmp_path / "models"
    (folder / "inner").mkdir(parents=True)
    (folder / "link.bin").symlink_to("data.bin")
    os.mkfifo(folder / "pipe.bin")
    for place in (tmp_path, folder / "inner"):
        (place / "data.bin").write_bytes(bytes(216))
    with pytest.raises(GraphError, match=message):
        load(saved(folder, location, **entries))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="cannot be read"):
        load(tmp_path / "missing.onnx")
    large = tmp_path / "large.onnx"
    with large.open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(GraphError, match="must be at most 1073741824 bytes"):
        load(large)


# -- notes of Rillet's own exporter, which others may write too --------------------------------------------------------


def contract(**values: Any) -> str:
    noted = {"height": 5, "width": 5, "channels": 3, "resize": "crop", "mean": [0], "deviation": [1], "labels": []}
    return json.dumps(noted | values)


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"rillet.blocks": "{"}, "metadata rillet.blocks must be a JSON object"),
        ({"rillet.blocks": "[" * 100_000}, "metadata rillet.blocks must be a JSON object"),
        ({"rillet.blocks": "[]"}, "metadata rillet.blocks must be a JSON object"),
        ({"rillet.blocks": '{"y": 3}'}, "must have a string for each node"),
        (
            {"rillet.blocks": "{}", "rillet.rounding": '{"y": "up"}'},
            "metadata rillet.rounding must be one of double, single",
        ),
        ({"rillet.image": '{"height": 5}'}, "metadata rillet.image must be an input contract"),
        ({"rillet.image": contract(resize=1)}, "metadata rillet.image must be an input contract"),
        ({"rillet.image": contract(mean=0)}, "metadata rillet.image must be an input contract"),
        ({"rillet.image": contract(labels=[1])}, "metadata rillet.image must be an input contract"),
        ({"rillet.image": contract(deviation=[0])}, "deviation must not be zero"),
        ({"rillet.image": contract(height=6)}, "input must be 6x5x3 as its image is"),
    ],
)
def test_notes_are_not_trusted(notes: dict[str, str], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        parse(one_conv(metadata=notes).SerializeToString(), "x.onnx")


def test_notes_and_names() -> None:
    graph = parse(one_conv(metadata={"rillet.blocks": '{"y": "block7"}'}).SerializeToString(), "x.onnx")
    assert [(n.name, n.block) for n in graph.nodes] == [("x", ""), ("y", "block7")]
    made = model([node("Relu", ["x"], "a b")], (1, 3), outputs=("a b",), metadata={"rillet.blocks": "{}"})
    with pytest.raises(GraphError, match="values must be named by letters, digits and _./-, got 'a b'"):
        parse(made.SerializeToString(), "x.onnx")
