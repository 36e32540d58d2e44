"""Small ONNX models for the tests, and ONNX Runtime beside them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from rillet.backends import reference
from rillet.importers.onnx import Imported, parse_with_views
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Activate, Apply, Conv, op_name

AGREEMENT = 1e-5
"""Greatest difference from ONNX Runtime, relative to the greatest value."""
INPUT = "x"
RNG = np.random.default_rng(0)


def real(*dims: int) -> Array:
    return RNG.normal(0, 1, dims).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def number(value: float) -> Array:
    return np.array(value, np.float32)


def ops(graph: Graph) -> list[str]:
    """The ops behind the input, activations by their functions and dense layers as such."""
    return [
        n.op.activation.value
        if isinstance(n.op, Activate)
        else n.op.curve.value
        if isinstance(n.op, Apply)
        else "dense"
        if isinstance(n.op, Conv) and n.op.dense
        else op_name(n.op)
        for n in graph.nodes[1:]
    ]


def model(
    nodes: Sequence[onnx.NodeProto],
    dims: Sequence[int | str],
    constants: Mapping[str, Array] | None = None,
    *,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
    output_dtype: int = TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """A model whose input is `x` and whose output is `y`."""
    body = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(INPUT, dtype, dims)],
        [helper.make_tensor_value_info(name, output_dtype, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_model(body, opset_imports=imports, ir_version=8)
    if metadata:
        helper.set_model_props(made, dict(metadata))
    return made


def node(kind: str, inputs: Sequence[str], outputs: str | Sequence[str] = "y", **attributes: Any) -> onnx.NodeProto:
    """One operator."""
    domain = attributes.pop("domain", None)
    names = [outputs] if isinstance(outputs, str) else outputs
    return helper.make_node(kind, inputs, names, domain=domain, **attributes)


def one_conv(**more: Any) -> onnx.ModelProto:
    """The smallest network."""
    return model([node("Conv", ["x", "w"], name="c")], (1, 3, 5, 5), {"w": real(2, 3, 3, 3)}, **more)


def yolo(
    strides: tuple[int, ...] = (2, 4, 8), bins: int = 4, classes: int = 3, times: float = 1, **more: Any
) -> onnx.ModelProto:
    """What Ultralytics' exporter writes behind its convolutions: distances to four sides as softmaxes over bins."""
    side, each = 16, 4 * bins + classes
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Array] = {"flat": ints(1, each, -1), "four": ints(1, 4, -1), "bins": ints(1, 4, bins, -1)}
    anchors: list[Array] = []
    steps: list[Array] = []
    for i, stride in enumerate(strides):
        window = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        nodes += [node("Conv", ["x", f"w{i}"], f"m{i}", **window), node("Reshape", [f"m{i}", "flat"], f"f{i}")]
        constants[f"w{i}"] = real(each, 3, stride, stride) / stride
        count = side // stride
        rows, columns = np.meshgrid(np.arange(count) + 0.5, np.arange(count) + 0.5, indexing="ij")
        anchors.append(np.stack([columns.reshape(-1), rows.reshape(-1)]).astype(np.float32))
        steps.append(np.full((1, count * count), times * stride, np.float32))
    constants |= {"anchors": np.concatenate(anchors, 1)[None], "steps": np.concatenate(steps, 1)}
    constants |= {"sizes": ints(4 * bins, classes), "k": np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1)}
    constants |= {"zero": ints(0), "two": ints(2), "last": ints(4), "along": ints(1), "half": number(2)}
    nodes += [
        node("Concat", [f"f{i}" for i in range(len(strides))], "j", axis=2),
        node("Split", ["j", "sizes"], ["sides", "logits"], axis=1),
        node("Sigmoid", ["logits"], "scores"),
        node("Reshape", ["sides", "bins"], "d0"),
        node("Transpose", ["d0"], "d1", perm=[0, 2, 1, 3]),
        node("Softmax", ["d1"], "d2", axis=1),
        node("Conv", ["d2", "k"], "d3", kernel_shape=[1, 1]),
        node("Reshape", ["d3", "four"], "d"),
        node("Slice", ["d", "zero", "two", "along"], "before"),
        node("Slice", ["d", "two", "last", "along"], "after"),
        node("Sub", ["anchors", "before"], "corner"),
        node("Add", ["anchors", "after"], "other"),
        node("Add", ["corner", "other"], "both"),
        node("Div", ["both", "half"], "centre"),
        node("Sub", ["other", "corner"], "size"),
        node("Concat", ["centre", "size"], "cells", axis=1),
        node("Mul", ["cells", "steps"], "boxes"),
        node("Concat", ["boxes", "scores"], "y", axis=1),
    ]
    return model(nodes, (1, 3, side, side), constants, **more)


def external(location: str) -> Callable[[Any], None]:
    """Puts the first constant of a model elsewhere."""

    def change(made: Any) -> None:
        tensor = made.graph.initializer[0]
        onnx.external_data_helper.set_external_data(tensor, location)
        tensor.ClearField("raw_data")

    return change


def session(data: bytes, optimised: bool = False) -> onnxruntime.InferenceSession:
    """ONNX Runtime as the file says, on one thread; `optimised` lets it put integer operators in."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")  # no saturated products without VNNI
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def random_tensor(made: Imported, seed: int = 0) -> Array:
    """A random input with the dimensions that the file's input has."""
    value, rng = made.graph.nodes[0].type, np.random.default_rng(seed)
    if value.quant is None:
        return rng.normal(0, 2, made.input.dims).astype(np.float32)
    low, high = value.dtype.integers
    return rng.integers(low, high + 1, made.input.dims).astype(value.dtype.numpy)


def run(made: Imported, tensor: Array) -> list[Array]:
    """The reference's outputs, each with the dimensions of the file's."""
    values = reference.run(made.graph, np.ascontiguousarray(made.input.to_map(tensor)))
    return [view.gathered(values) for view in made.outputs]


def deviation(got: Array, want: Array) -> float:
    """Greatest difference relative to the greatest value."""
    assert got.shape == want.shape, (got.shape, want.shape)
    return float(np.abs(got.astype(np.float64) - want).max() / max(np.abs(want).max(), 1e-30))


def compare(made: onnx.ModelProto, seed: int = 0) -> Graph:
    """The imported graph; its outputs are ONNX Runtime's within AGREEMENT."""
    data = made.SerializeToString()
    imported = parse_with_views(data, "test.onnx")
    tensor = random_tensor(imported, seed)
    for got, want in zip(run(imported, tensor), session(data).run(None, {INPUT: tensor}), strict=True):
        assert deviation(got, want) <= AGREEMENT
    return imported.graph
