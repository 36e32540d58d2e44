"""What the ONNX importer refuses: one clean error each, naming the file and the node."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
from onnx import TensorProto, helper

from onnx_models import external, ints, model, node, number, one_conv, ops, real
from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.onnx import parse
from rillet.ir.graph import Array
from rillet.models.opening import open_model


def edited(change: Callable[[Any], Any]) -> bytes:
    made = one_conv()
    change(made)
    return made.SerializeToString()


def tensor(made: Any) -> Any:
    return made.graph.initializer[0]


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
            r"x.onnx: node 0 \(LSTM 'c'\): is not supported; 0 of 1 nodes are, all but LSTM \(1\); rillet ops",
        ),
        (
            lambda m: setattr(m.graph.node[0], "domain", "com.example"),
            Unsupported,
            r"node 0 \(com.example.Conv 'c'\): is not",
        ),
        (lambda m: setattr(m.opset_import[0], "version", 6), Unsupported, "x.onnx: opset must be 7 to 22, got 6"),
        (lambda m: setattr(m.opset_import[0], "version", 23), Unsupported, "opset must be 7 to 22, got 23"),
        (lambda m: m.ClearField("opset_import"), Unsupported, "opset must be 7 to 22, got none"),
        (lambda m: m.ClearField("graph"), GraphError, "must be an ONNX file with a graph"),
        (shape(2, 3, 5, 5), Unsupported, "input 'x': shape must be 1xCxHxW, CxHxW, 1xC or C, got"),
        (shape(1, 1, 3, 5, 5), Unsupported, "shape must be 1xCxHxW"),
        (shape(1, 3, 0, 5), Unsupported, "input 'x': dimensions must be at least 1"),
        (shape(1, 3, 2**20, 2**20), Unsupported, "input 'x': shape must hold at most"),
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
        (lambda m: m.graph.input.extend(list(m.graph.input)), GraphError, "name must be that of one input, got two"),
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
        (lambda m: tensor(m).dims.append(-1), GraphError, "tensor 'w': dimensions must not be negative"),
        (lambda m: tensor(m).dims.extend([1] * 8), Unsupported, "with at most 8 dimensions"),
        (lambda m: tensor(m).dims.append(2**40), GraphError, "tensor 'w': must have 237494511599616 bytes"),
        (
            lambda m: setattr(tensor(m), "raw_data", np.full(54, np.nan, np.float32).tobytes()),
            GraphError,
            "weights must be finite numbers, got 54 that are not, as nan",
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
        (lambda m: m.graph.node[0].output.pop(), GraphError, "output 'y' must be computed by a node"),
        (lambda m: m.graph.node[0].output.__setitem__(0, "x"), GraphError, "output must be made once, got 'x'"),
        (lambda m: setattr(m.graph.output[0], "name", "w"), Unsupported, "output 'w' must follow from the input"),
        (lambda m: m.graph.output.extend(list(m.graph.output)), Unsupported, "outputs must be different values"),
        (lambda m: m.graph.ClearField("output"), GraphError, "must have an output"),
        (attribute(strides=[1]), Unsupported, "strides must be that of two dimensions, got"),
        (attribute(strides=[0, 1]), GraphError, "stride must be at least 1x1, got 0x1"),
        (attribute(strides=2), GraphError, "attribute strides must be INTS, got type 2"),
        (attribute(dilations=[9, 9]), GraphError, "padded height must be at least the window's 19, got 5"),
        (attribute(pads=[1, 1]), GraphError, "pads must be 4 numbers"),
        (attribute(pads=[-1, 0, 0, 0]), GraphError, "padding must not be negative"),
        (attribute(pads=[2**60, 0, 0, 0]), Unsupported, "padded map must hold at most"),
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
    "Clip": ([node("Clip", ["x", "c", "c"])], {"c": number(0.5)}, "clip must be between two numbers, the first the"),
    "computed exponent": ([node("GlobalMaxPool", ["x"], "c"), node("Pow", ["x", "c"])], {}, "input 1 must be constant"),
    "computed bound": ([node("GlobalMaxPool", ["x"], "c"), node("Clip", ["x", "c"])], {}, "input 1 must be constant"),
    "the last of equal values": (
        [node("ArgMax", ["x"], axis=1, select_last_index=1)],
        {},
        "select_last_index must be 0, got 1: of equal values the first is taken",
    ),
    "ArgMax over rows": ([node("ArgMax", ["x"], axis=2)], {}, "dimension 2 must be the channels alone, got 1x4x3x5"),
    "ArgMax of places": (
        [node("ArgMax", ["x"], "z", axis=1), node("ArgMax", ["z"], axis=1)],
        {},
        "input must be values, got the places that another ArgMax found",
    ),
    "arithmetic with places": (
        [node("ArgMax", ["x"], "z", axis=1), node("Relu", ["z"])],
        {},
        "input 0 must be FLOAT, got INT32",
    ),
    "Softmax over rows": (
        [node("Softmax", ["x"], axis=2)],
        {},
        "dimension 2 must be channels or all pixels, got 1x4x3x5",
    ),
    "Softmax over all": (
        [node("Flatten", ["x"], "f"), node("Softmax", ["f"])],
        {},
        "dimension 1 must be channels or all pixels, got 1x60",
    ),
    "Concat of a flattened map": (
        [node("Flatten", ["x"], "f"), node("Concat", ["f", "f"], "c", axis=1), node("Gemm", ["c", "w"])],
        {"w": real(120, 2)},
        "input must be one map, got 1x120, which is 2 joined in dimension 1",
    ),
    "attention": (
        [node("Reshape", ["x", "n"], "r"), node("Transpose", ["r"], "t", perm=[0, 2, 1]), node("MatMul", ["r", "t"])],
        {"n": ints(1, 4, 15)},
        "multiplies two computed matrices, as attention does, which a graph has no op for: 1x4x15 by 1x15x4",
    ),
    "LayerNormalization over rows": (
        [node("LayerNormalization", ["x", "s"])],
        {"s": np.ones(5, np.float32)},
        "must be over the channels, got axis 3 of 1x4x3x5",
    ),
    "GroupNormalization": (
        [node("GroupNormalization", ["x", "s", "s"], num_groups=3)],
        {"s": np.ones(4, np.float32)},
        "channels must be a multiple of the groups, got 4 and 3",
    ),
    "LpNormalization": ([node("LpNormalization", ["x"], axis=1, p=1)], {}, "p must be 2, got 1"),
    "Concat of ranks": (
        [node("Flatten", ["x"], "f"), node("Concat", ["x", "f"], axis=1)],
        {},
        "must have as many dimensions",
    ),
    "Slice of rows backwards": (
        [node("Slice", ["x", "a", "b", "c", "d"])],
        {"a": ints(2), "b": ints(0), "c": ints(2), "d": ints(-1)},
        "must take rows and columns in their order",
    ),
    "Split": (
        [node("Split", ["x", "n"], ["y", "z"], axis=1)],
        {"n": ints(1, 1)},
        r"must cut 4 into 2 parts, got \[1, 1\]",
    ),
    "Reshape": (
        [node("Reshape", ["x", "n"])],
        {"n": ints(1, 5, 2, 6)},
        "must join dimensions or cut them, got 1x4x3x5 as 1x5x2x6",
    ),
    "Reshape to more": ([node("Reshape", ["x", "n"])], {"n": ints(1, 4, 4)}, "shape must hold the 60 values"),
    "Reshape to many": (
        [node("Reshape", ["x", "n"])],
        {"n": ints(*[1] * 9, 4, 3, 5)},
        "must have at most 8 dimensions, got 12",
    ),
    "Expand to many": (
        [node("Expand", ["x", "n"], "e"), node("Mul", ["x", "e"])],
        {"n": ints(*[1] * 9, 4, 3, 5)},
        "must have at most 8 dimensions, got 12",
    ),
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
    "two expanded operands": (
        [
            node("GlobalMaxPool", ["x"], "p"),
            node("Expand", ["p", "n"], "e"),
            node("Mul", ["e", "e"]),
        ],
        {"n": ints(1, 4, 2, 2)},
        "operands must not both be expanded, got 1x4x2x2 and 1x4x2x2",
    ),
    "operands": (
        [node("Reshape", ["x", "n"], "r"), node("Mul", ["x", "r"])],
        {"n": ints(4, 3, 1, 5)},
        "operands must have the same dimensions, got 1x4x3x5 and 4x3x1x5",
    ),
    "constant operand": (
        [node("Add", ["x", "c"])],
        {"c": np.zeros((2, 4, 3, 5), np.float32)},
        r"constant must broadcast to 1x4x3x5, got \[2, 4, 3, 5\]",
    ),
    "integer operand": ([node("Add", ["x", "c"])], {"c": ints(1)}, "constant 'c' must be of type FLOAT, got INT64"),
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
    "Pad": (
        [node("Pad", ["x", "n"], mode="wrap")],
        {"n": ints(0, 0, 1, 1, 0, 0, 1, 1)},
        "must pad with zeros, edges or mirrored, got mode 'wrap'",
    ),
    "Pad with ones": (
        [node("Pad", ["x", "n", "c"])],
        {"n": ints(0, 0, 1, 1, 0, 0, 1, 1), "c": number(1)},
        "must pad with zeros",
    ),
    "Pad of the batch": (
        [node("Pad", ["x", "n"])],
        {"n": ints(1, 0, 0, 0, 0, 0, 0, 0)},
        "must add rows, columns and channels alone",
    ),
    "Pad away": (
        [node("Pad", ["x", "n"])],
        {"n": ints(0, 0, -1, 0, 0, 0, 0, 0)},
        "must add rows, columns and channels alone",
    ),
    "pool dilation": ([node("MaxPool", ["x"], kernel_shape=[2, 2], dilations=[2, 1])], {}, "dilations must be 1"),
    "pool indices": (
        [node("MaxPool", ["x"], ["a", "i"], kernel_shape=[2, 2]), node("Add", ["a", "i"])],
        {},
        "values alone, not their indices",
    ),
    "pool kernel": ([node("MaxPool", ["x"])], {}, "kernel_shape must be that of two dimensions, got None"),
    "VALID and ceil_mode": (
        [node("MaxPool", ["x"], kernel_shape=[2, 2], ceil_mode=1, auto_pad="VALID")],
        {},
        "ceil_mode must go with pads",
    ),
    "Resize": (
        [node("Resize", ["x", "", "", "n"], mode="cubic")],
        {"n": ints(1, 4, 6, 6)},
        "mode must be nearest or linear, got 'cubic'",
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
        [node("Gather", ["x", "n"], axis=0)],
        {"n": ints(0).reshape(1, 1)},
        "must take a list of places, at most 65536, got ",
    ),
    "huge constant": (
        [node("ConstantOfShape", ["n"], "c"), node("Add", ["x", "c"])],
        {"n": ints(2**20, 2**20)},
        "result of constants must have at most 16777216 values",
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


DEAD = {
    "an unsupported operator": [node("Relu", ["x"]), node("Sin", ["x"], "s"), node("Det", ["s"], "z")],
    "a malformed operator": [node("Relu", ["x"]), node("Conv", ["x"], "z")],
    "an operator of another domain": [node("Relu", ["x"]), node("Own", ["x"], "z", domain="me")],
    "a mask": [node("Dropout", ["x"], ["d", "mask"]), node("Relu", ["d"])],
    "a mask and its reader": [
        node("Dropout", ["x"], ["d", "mask"]),
        node("Relu", ["d"]),
        node("Cast", ["mask"], "z", to=TensorProto.FLOAT),
    ],
    "indices": [node("MaxPool", ["x"], ["m", "i"], kernel_shape=[1, 1]), node("Relu", ["m"])],
    "parts of a split": [node("Split", ["x"], ["a", "b", "c"], axis=1, num_outputs=3), node("Relu", ["b"])],
}


@pytest.mark.parametrize("name", DEAD)
def test_what_no_output_needs_is_ignored(name: str) -> None:
    made = model(DEAD[name], (1, 3, 5, 5), opset=18)
    assert ops(parse(made.SerializeToString(), "x.onnx"))[-1] == "relu"


def test_a_branch_that_an_output_needs_is_not_ignored() -> None:
    nodes = [node("Relu", ["x"]), node("Sin", ["x"], "z")]
    with pytest.raises(Unsupported, match="node 1 .Sin.: is not supported"):
        parse(model(nodes, (1, 3, 5, 5), outputs=("y", "z")).SerializeToString(), "x.onnx")


def test_a_branch_that_nobody_needs_says_nothing_of_the_input() -> None:
    """A transpose in a dead branch does not make the input channels last, nor one less the other way round."""
    turned = node("Transpose", ["x"], "t", perm=[0, 3, 1, 2])
    dead = model([turned, node("Flatten", ["x"])], (1, 3, 5, 4)).SerializeToString()
    assert str(parse(dead, "x.onnx").nodes[0].shape) == "5x4x3"
    live = model([turned, node("Relu", ["t"]), node("Sin", ["x"], "z")], (1, 5, 4, 3)).SerializeToString()
    assert str(parse(live, "x.onnx").nodes[0].shape) == "5x4x3"


@pytest.mark.parametrize(
    ("nodes", "error"),
    [
        ([node("Conv", ["x", "wide"])], Unsupported),  # FLOAT64 is an element type of ONNX
        ([node("Conv", ["x", "nan"])], GraphError),
        ([node("Conv", ["x", "few"])], GraphError),
        ([node("Conv", ["x", "few"], group=3, pads=[9] * 4), node("Sin", ["y"], "y2")], GraphError),
        ([node("Pad", ["x", "sides"])], Unsupported),
        ([node("MaxPool", ["x"], kernel_shape=[2, 2], dilations=[2, 2])], Unsupported),
    ],
)
def test_a_well_formed_file_is_not_called_malformed(nodes: list[Any], error: type[RilletError]) -> None:
    constants = {
        "wide": np.zeros((2, 3, 1, 1)),
        "nan": np.full((2, 3, 1, 1), np.nan, np.float32),
        "few": real(2, 2, 1, 1),
        "sides": ints(0, 0, 2**14, 2**14, 0, 0, 2**14, 2**14),
    }
    with pytest.raises(error):
        parse(model(nodes, (1, 3, 5, 5), constants).SerializeToString(), "x.onnx")


def _open_sizes(made: Any) -> None:
    for place, name in ((2, "height"), (3, "width")):
        made.graph.input[0].type.tensor_type.shape.dim[place].dim_param = name


def test_a_height_and_a_width_that_the_file_leaves_open_may_be_said() -> None:
    data = edited(_open_sizes)
    with pytest.raises(Unsupported, match=r"got 1, 3, \?, \?; say it behind the name, as in x.onnx:input=224x224"):
        parse(data, "x.onnx")
    assert parse(data, "x.onnx", size=(7, 9)).nodes[0].shape.array == (7, 9, 3)
    with pytest.raises(GraphError, match=r"height and width must be those of the file, \[1, 3, 5, 5\], got 7x9"):
        parse(one_conv().SerializeToString(), "x.onnx", size=(7, 9))


@pytest.mark.parametrize("word", ["0x3", "3x", "x3", "3x3x3", "a", "999999", ""])
def test_an_input_that_is_no_size(word: str, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(edited(_open_sizes))
    with pytest.raises(GraphError, match="input must be a height and a width as in 320x240, got"):
        open_model(f"{tmp_path / 'x.onnx'}:input={word}")
    assert open_model(f"{tmp_path / 'x.onnx'}:input=6").graph.nodes[0].shape.array == (6, 6, 3)
