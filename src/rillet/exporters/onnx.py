"""Graphs to ONNX files: float32 networks, and quantised ones as QDQ.

A value is 1xCxHxW, or 1xC behind a dense layer. Each node's result is called as the node is; what else its operators
need has a name that begins with the node's, and a slash or a dot; an array that layers share is one initialiser,
called after the first of them.
"""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, assert_never

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rillet.errors import Unsupported
from rillet.ir.functions import Curve
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.linear import of_onnx as linear_of_onnx
from rillet.ir.moves import widened
from rillet.ir.nearest import of_onnx
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Interpolate,
    Multiply,
    Pad,
    Pair,
    PairKind,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
    Window,
)
from rillet.ir.types import DType, TensorType

OPSET = 17
IR_VERSION = 8
"""As old as the opset allows, so that older runtimes read the files."""
_RESIZES = (
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("align_corners", "round_prefer_ceil"),
)
"""Coordinate modes and roundings that are tried for a resize."""
_CURVES: dict[Curve, tuple[str, tuple[str, ...]]] = {
    Curve.LEAKY_RELU: ("LeakyRelu", ("alpha",)),
    Curve.ELU: ("Elu", ("alpha",)),
    Curve.SELU: ("Selu", ("alpha", "gamma")),
    Curve.CELU: ("Celu", ("alpha",)),
    Curve.ERF: ("Erf", ()),
    Curve.TANH: ("Tanh", ()),
    Curve.SOFTPLUS: ("Softplus", ()),
    Curve.SOFTSIGN: ("Softsign", ()),
    Curve.RAMP: ("HardSigmoid", ("alpha", "beta")),
    Curve.ABS: ("Abs", ()),
    Curve.NEG: ("Neg", ()),
    Curve.SQRT: ("Sqrt", ()),
    Curve.EXP: ("Exp", ()),
    Curve.LOG: ("Log", ()),
}
"""Operators of functions with numbers, and what their attributes are called."""
_PAIRS = {PairKind.MAXIMUM: "Max", PairKind.MINIMUM: "Min", PairKind.DIVIDE: "Div"}
MAX_FILE_BYTES = 2**31 - 2**20
"""Protobuf holds no more than 2 GiB."""
_ELEMENTS = {
    DType.F32: onnx.TensorProto.FLOAT,
    DType.I8: onnx.TensorProto.INT8,
    DType.U8: onnx.TensorProto.UINT8,
}


def export(graph: Graph, batch: int = 1) -> bytes:
    """The graph as an ONNX file, which `importers.onnx` reads back as the same graph (docs/onnx.md says how nearly).

    batch: images that the file takes at once; one of several is for other runtimes, Rillet reads no such file.

    Raises Unsupported for what ONNX has no operator for, GraphError for a graph without weights.
    """
    size = sum(array.nbytes for array in graph.params.values())
    if size > MAX_FILE_BYTES:
        raise Unsupported(f"{graph.name}: weights must take at most {MAX_FILE_BYTES} bytes in ONNX, got {size}")
    writer = _Writer(graph, batch)
    for node in graph.nodes:
        writer.add(node)
    return writer.model().SerializeToString()


class _Writer:
    def __init__(self, graph: Graph, batch: int) -> None:
        self.graph, self.batch = graph, batch
        self.operators: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.flat: set[str] = set()
        """Nodes whose result is 1xC, not 1xCxHxW."""
        self.made: set[str] = set()
        """Results that are there besides those of nodes."""

    def model(self) -> onnx.ModelProto:
        graph = self.graph
        outputs = [graph.by_name[name] for name in graph.outputs]
        if len(set(graph.outputs)) < len(outputs) or any(isinstance(node.op, Input | Constant) for node in outputs):
            raise Unsupported(f"{graph.name}: outputs must be different values that nodes compute")
        names = Counter(name for op in self.operators for name in op.output) + Counter(self.constants.keys())
        if twice := [name for name, count in names.items() if count > 1]:
            raise Unsupported(f"{graph.name}: nodes must not be called as parts of others are, got {twice[0]!r}")
        body = helper.make_graph(
            self.operators,
            graph.name,
            [self.described(node) for node in graph.input_nodes],
            [self.described(node) for node in outputs],
            list(self.constants.values()),
        )
        made = helper.make_model(
            body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="rillet"
        )
        blocks = {node.name: node.block for node in graph.nodes if node.block}
        image = {} if graph.image is None else dataclasses.asdict(graph.image)
        notes = {"blocks": blocks, "rounding": self.roundings(), "image": image}
        helper.set_model_props(made, {f"rillet.{key}": json.dumps(value) for key, value in notes.items()})
        return made

    def roundings(self) -> dict[str, str]:
        """How each node rounds that does not as the importer would have it."""
        out: dict[str, str] = {}
        for node in self.graph.nodes:
            op = node.op
            if not isinstance(op, Conv | Activate | Apply | Multiply | Pool):
                continue
            once = isinstance(op, Conv) and op.weights is not DType.F32
            exact = isinstance(op, Apply) and node.type.quant is not None
            if op.rounding is not (Rounding.SINGLE if once else Rounding.SHIFT if exact else Rounding.DOUBLE):
                out[node.name] = op.rounding.value
        return out

    def described(self, node: Node) -> onnx.ValueInfoProto:
        """Type and dimensions of a node's result."""
        height, width, channels = node.shape.array
        dims = [self.batch, channels] if node.name in self.flat else [self.batch, channels, height, width]
        element = onnx.TensorProto.INT64 if isinstance(node.op, ArgMax) else _ELEMENTS[node.type.dtype]
        return helper.make_tensor_value_info(node.name, element, dims)

    def refuse(self, node: Node, message: str) -> Unsupported:
        return Unsupported(f"{self.graph.name}: {node.name}: {message}")

    # -- parts of a file -------------------------------------------------------------------------------------------

    def constant(self, name: str, array: Array) -> str:
        """A constant tensor, once."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def param(self, node: Node, name: str) -> str:
        """An array of a node as a constant called after both, or after the first node that shares it."""
        return self.constant(self.graph.key(node, name), self.graph.param(node, name))

    def operator(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """An operator with one result."""
        self.operators.append(helper.make_node(kind, inputs, [output], f"{output}:{kind}", **attributes))
        return output

    def scale(self, name: str, kind: TensorType) -> tuple[str, str]:
        """Scale and zero point of a value, as constants called after it."""
        assert kind.quant is not None
        scale = self.constant(f"{name}/scale", np.array(kind.quant.scale, np.float32))
        return scale, self.constant(f"{name}/zero_point", np.array(kind.quant.zero_point, kind.dtype.numpy))

    def real(self, node: Node) -> str:
        """A node's result as float32 values."""
        if node.type.quant is None:
            return node.name
        name = f"{node.name}/real"
        if name not in self.made:
            self.made.add(name)
            self.operator("DequantizeLinear", (node.name, *self.scale(node.name, node.type)), name)
        return name

    def as_map(self, node: Node) -> str:
        """A node's result as float32 values, 1xCxHxW."""
        if node.name not in self.flat:
            return self.real(node)
        name = f"{node.name}/map"
        if name not in self.made:
            self.made.add(name)
            shape = self.constant(f"{node.name}/shape", np.array([self.batch, node.shape.channels, 1, 1], np.int64))
            self.operator("Reshape", (self.real(node), shape), name)
        return name

    def as_vector(self, node: Node) -> str:
        """A node's result as float32 values, 1x(CHW)."""
        if node.name in self.flat:
            return self.real(node)
        name = f"{node.name}/vector"
        if name not in self.made:
            self.made.add(name)
            self.operator("Flatten", (self.real(node),), name, axis=1)
        return name

    # -- nodes -----------------------------------------------------------------------------------------------------

    def add(self, node: Node) -> None:
        """The operators of one node."""
        known = node.type.dtype in _ELEMENTS and (node.type.dtype is DType.F32 or node.type.quant is not None)
        if not known and not isinstance(node.op, ArgMax):
            got = node.type.dtype.value + ("" if node.type.quant else " without a scale")
            raise self.refuse(node, f"values must be f32, or i8 or u8 with a scale, got {got}")
        op, sources = node.op, [self.graph.by_name[name] for name in node.inputs]
        match op:
            case Input():
                pass
            case Constant():
                self.constant(node.name, _channels_first(self.graph.param(node, "value")[None]))
            case Conv():
                self.convolution(node, op, sources[0])
            case BatchNorm(epsilon=epsilon):
                arrays = [self.param(node, name) for name in ("gamma", "beta", "mean", "variance")]
                read = self.alike(node, sources)
                self.finish(node, Activation.NONE, "BatchNormalization", [*read, *arrays], epsilon=epsilon)
            case Activate(activation=Activation.NONE, rounding=Rounding.SHIFT) if node.type != sources[0].type:
                # It would come back as a plain requantisation, which rounds by another rule.
                raise self.refuse(node, "a change of scale alone must not round by shift")
            case Activate(activation=activation):
                self.function(node, activation, *self.alike(node, sources))
                self.quantize(node)
            case Apply():
                self.curve(node, op, *self.alike(node, sources))
                self.quantize(node)
            case Pool():
                self.pool(node, op, sources[0])
            case Add():
                self.finish(node, op.activation, "Sub" if op.subtract else "Add", self.alike(node, sources))
            case Multiply():
                self.finish(node, op.activation, "Mul", self.alike(node, sources))
            case Pair(kind=PairKind.PRELU):
                self.finish(node, Activation.NONE, "PRelu", [self.as_map(source) for source in sources])
            case Pair(kind=kind):
                self.finish(node, Activation.NONE, _PAIRS[kind], self.alike(node, sources))
            case Select(channels=channels):
                if min(channels) < 0:
                    self.widened(node, channels, sources[0])
                    return
                places = self.constant(f"{node.name}/channels", np.array(channels, np.int64))
                self.finish(node, Activation.NONE, "Gather", [*self.alike(node, sources), places], axis=1)
            case DepthToSpace(block=block):
                self.finish(node, Activation.NONE, "DepthToSpace", [self.as_map(sources[0])], blocksize=block)
            case SpaceToDepth(block=block):
                self.finish(node, Activation.NONE, "SpaceToDepth", [self.as_map(sources[0])], blocksize=block)
            case Concat():
                self.finish(node, Activation.NONE, "Concat", self.alike(node, sources), axis=1)
            case Slice(start=start, stop=stop):
                bounds = (("start", start), ("stop", stop), ("axis", 1))
                numbers = [self.constant(f"{node.name}/{key}", np.array([n], np.int64)) for key, n in bounds]
                self.finish(node, Activation.NONE, "Slice", [*self.alike(node, sources), *numbers])
            case Pad(padding=(top, bottom, left, right)):
                sides = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
                read = [self.as_map(sources[0]), self.constant(f"{node.name}/pads", sides)]
                self.finish(node, Activation.NONE, "Pad", read)
            case Resize():
                self.resize(node, op, sources[0])
            case Interpolate():
                self.interpolate(node, op, sources[0])
            case Requantize():
                self.requantize(node, sources[0])
            case Softmax(beta=beta):
                if beta != 1.0:
                    raise self.refuse(node, f"beta of a softmax must be 1, got {beta:g}")
                self.finish(node, Activation.NONE, "Softmax", self.alike(node, sources), axis=1)
            case ArgMax():
                self.operator("ArgMax", self.alike(node, sources), node.name, axis=1, keepdims=1)
            case _:
                assert_never(op)

    def alike(self, node: Node, sources: Sequence[Node]) -> list[str]:
        """Inputs that all are 1xC, and then so is the result, or all 1xCxHxW."""
        if all(source.name in self.flat for source in sources):
            self.flat.add(node.name)
            return [self.real(source) for source in sources]
        return [self.as_map(source) for source in sources]

    def finish(self, node: Node, activation: Activation, kind: str, inputs: Sequence[str], **attributes: Any) -> None:
        """An operator, its activation, and the quantisation of the result."""
        if activation is Activation.NONE:
            self.operator(kind, inputs, _exact(node), **attributes)
        else:
            self.function(node, activation, self.operator(kind, inputs, f"{node.name}/linear", **attributes))
        self.quantize(node)

    def quantize(self, node: Node) -> None:
        """The result as stored, where the node has a quantisation."""
        if node.type.quant is not None:
            self.operator("QuantizeLinear", (_exact(node), *self.scale(node.name, node.type)), node.name)

    def function(self, node: Node, activation: Activation, source: str) -> None:
        """A function of each value, before the result is quantised."""
        out = _exact(node)
        match activation:
            case Activation.NONE:
                self.operator("Identity", (source,), out)
            case Activation.RELU:
                self.operator("Relu", (source,), out)
            case Activation.RELU6:
                self.operator("Clip", (source, self.number(0.0), self.number(6.0)), out)
            case Activation.RELU_N1_TO_1:
                self.operator("Clip", (source, self.number(-1.0), self.number(1.0)), out)
            case Activation.SIGMOID:
                self.operator("Sigmoid", (source,), out)
            case Activation.HARD_SIGMOID:
                self.operator("HardSigmoid", (source,), out, alpha=1 / 6, beta=0.5)
            case Activation.HARD_SWISH:
                self.operator("HardSwish", (source,), out)
            case Activation.SILU:
                gate = self.operator("Sigmoid", (source,), f"{node.name}/gate")
                self.operator("Mul", (source, gate), out)
            case Activation.SIGN:
                raise self.refuse(node, "activation must be other than sign, which is 1 for 0 where ONNX has 0")
            case _:
                assert_never(activation)

    def curve(self, node: Node, op: Apply, source: str) -> None:
        """A function with numbers of its own; those that opset 17 lacks as PyTorch's exporter spells them out."""
        out, curve = _exact(node), op.curve

        def part(kind: str, inputs: Sequence[str], word: str) -> str:
            return self.operator(kind, inputs, f"{node.name}/{word}")

        match curve:
            case Curve.CLIP:
                bounds = (self.number(bound) if math.isfinite(bound) else "" for bound in (op.a, op.b))
                self.operator("Clip", (source, *bounds), out)
            case Curve.POWER:
                self.operator("Pow", (source, self.number(op.a)), out)
            case Curve.SOFTPLUS if op.a != 1.0:
                raise self.refuse(node, f"softplus must be of 1 in ONNX, got {op.a:g}")
            case Curve.SWISH:
                gate = part("Sigmoid", (part("Mul", (source, self.number(op.a)), "scaled"),), "gate")
                self.operator("Mul", (source, gate), out)
            case Curve.MISH:
                gate = part("Tanh", (part("Softplus", (source,), "softplus"),), "gate")
                self.operator("Mul", (source, gate), out)
            case Curve.GELU:
                error = part("Erf", (part("Div", (source, self.number(math.sqrt(2.0))), "scaled"),), "erf")
                twice = part("Mul", (source, part("Add", (error, self.number(1.0)), "gate")), "twice")
                self.operator("Mul", (twice, self.number(0.5)), out)
            case Curve.GELU_TANH:
                cube = part("Mul", (source, part("Mul", (source, source), "square")), "cube")
                inner = part("Add", (source, part("Mul", (cube, self.number(0.044715)), "small")), "sum")
                scaled = part("Mul", (inner, self.number(math.sqrt(2.0 / math.pi))), "scaled")
                gate = part("Add", (part("Tanh", (scaled,), "tanh"), self.number(1.0)), "gate")
                self.operator("Mul", (part("Mul", (source, gate), "twice"), self.number(0.5)), out)
            case _:
                kind, words = _CURVES[curve]
                said = dict(zip(words, (op.a, op.b), strict=False))
                self.operator(kind, (source,), out, **said)

    def requantize(self, node: Node, source: Node) -> None:
        """The same real values under another quantisation."""
        if source.name in self.flat:
            self.flat.add(node.name)
        if node.type.quant is not None:
            self.operator("QuantizeLinear", (self.real(source), *self.scale(node.name, node.type)), node.name)
        elif source.type.quant is not None:
            self.operator("DequantizeLinear", (source.name, *self.scale(source.name, source.type)), node.name)
        else:
            self.operator("Identity", (source.name,), node.name)

    def convolution(self, node: Node, op: Conv, source: Node) -> None:
        """A convolution, or a dense layer as the product of a flattened map and a matrix."""
        if (op.weights is DType.F32) != (node.type.quant is None) or op.weights not in _ELEMENTS:
            raise self.refuse(node, f"weights must be f32 as values are, or i8 or u8, got {op.weights.value}")
        weight, key = _channels_first(self.graph.param(node, "weight")), self.graph.key(node, "weight")
        first = self.graph.by_name[key.rpartition(".")[0]].op
        if op.dense:
            weight = weight.reshape(op.out_channels, -1)
        if isinstance(first, Conv) and first.dense != op.dense:
            key = f"{node.name}.weight"  # the same numbers in other dimensions
        names = [self.constant(key, weight)]
        if op.bias:
            names.append(self.param(node, "bias"))
        if op.weights is not DType.F32:
            names = self.dequantized(node, op, source, names)
        if op.dense:
            self.flat.add(node.name)
            self.finish(node, op.activation, "Gemm", [self.as_vector(source), *names], transB=1)
            return
        looks = {**_looks(op.window), "dilations": op.window.dilation, "group": op.groups}
        self.finish(node, op.activation, "Conv", [self.as_map(source), *names], **looks)

    def dequantized(self, node: Node, op: Conv, source: Node, names: Sequence[str]) -> list[str]:
        """Stored weights and bias as float32 values, each output channel under its scale."""
        if source.type.quant is None:
            raise self.refuse(node, "input must be quantised as the result is, got float32 values")
        scale = np.asarray(self.graph.param(node, "weight_scale"), np.float32)
        zero = np.zeros(op.out_channels, op.weights.numpy)
        if op.weights is DType.U8:
            zero[:] = self.graph.param(node, "weight_zero_point")[0]
        arrays: list[tuple[Array, ...]] = [(scale, zero), (np.float32(source.type.quant.scale) * scale,)]
        if op.weights is DType.U8 and np.unique(scale).size == 1:
            arrays[0] = (scale[0], zero[0])
        out: list[str] = []
        for name, what, quant in zip(names, ("weight", "bias"), arrays, strict=False):
            own = f"{node.name}.{what}"
            keys = (f"{own}_scale", f"{own}_zero_point")
            read = [self.constant(key, array) for key, array in zip(keys, quant, strict=False)]
            out.append(self.operator("DequantizeLinear", (name, *read), f"{own}/real", axis=0))
        return out

    def pool(self, node: Node, op: Pool, source: Node) -> None:
        """A pool by the operator that says what it looks at: means over the map or its rows, else windows."""
        whole, read, shape = Window((source.shape.height, source.shape.width)), [self.as_map(source)], source.shape
        match op.kind:
            case PoolKind.MAX:
                self.finish(node, op.activation, "MaxPool", read, **_looks(op.window))
            case PoolKind.AVERAGE if op.window == whole:
                self.finish(node, op.activation, "GlobalAveragePool", read)
            case PoolKind.AVERAGE:
                self.finish(node, op.activation, "AveragePool", read, **_looks(op.window))
            case PoolKind.MEAN:
                axes = {whole: [2, 3], Window((shape.height, 1)): [2], Window((1, shape.width)): [3]}.get(op.window)
                if axes is None:
                    raise self.refuse(node, f"window of a mean must cover height or width, got {op.window.kernel}")
                self.finish(node, op.activation, "ReduceMean", read, axes=axes, keepdims=1)
            case _:
                assert_never(op.kind)

    def resize(self, node: Node, op: Resize, source: Node) -> None:
        """Nearest-neighbour resizing: a Resize where one copies what this does, otherwise one Gather for each side."""
        shape = node.shape
        for coordinates, rounding in _RESIZES:
            how = (coordinates, rounding)
            if (
                list(op.rows) == of_onnx(source.shape.height, shape.height, *how)
                and list(op.columns) == of_onnx(source.shape.width, shape.width, *how)
                and shape != source.shape  # that would be read as nothing
            ):
                sizes = np.array([self.batch, shape.channels, shape.height, shape.width], np.int64)
                modes = {"mode": "nearest", "coordinate_transformation_mode": how[0], "nearest_mode": how[1]}
                read = [self.as_map(source), "", "", self.constant(f"{node.name}/sizes", sizes)]
                self.finish(node, Activation.NONE, "Resize", read, **modes)
                return
        rows = self.constant(f"{node.name}/rows", np.array(op.rows, np.int64))
        columns = self.constant(f"{node.name}/columns", np.array(op.columns, np.int64))
        self.operator("Gather", [self.as_map(source), rows], f"{node.name}/down", axis=2)
        self.finish(node, Activation.NONE, "Gather", [f"{node.name}/down", columns], axis=3)

    def widened(self, node: Node, channels: tuple[int, ...], source: Node) -> None:
        """All channels, and channels of zeros before and behind them."""
        own = source.shape.channels
        before = next((i for i, channel in enumerate(channels) if channel >= 0), 0)
        after = len(channels) - before - own
        if after < 0 or Select(channels) != widened(own, before, after):
            raise self.refuse(node, "channels of zeros must stand before or behind all others")
        sides = np.array([0, before, 0, 0, 0, after, 0, 0], np.int64)
        self.finish(node, Activation.NONE, "Pad", [self.as_map(source), self.constant(f"{node.name}/pads", sides)])

    def interpolate(self, node: Node, op: Interpolate, source: Node) -> None:
        """Linear resizing, where ONNX has a word for where it looks."""
        shape, wanted = node.shape, [(op.rows, op.row_shares), (op.columns, op.column_shares)]
        lengths = [(source.shape.height, shape.height), (source.shape.width, shape.width)]
        words = (word for word, _ in _RESIZES)
        found = (w for w in dict.fromkeys(words) if [linear_of_onnx(*pair, w) for pair in lengths] == wanted)
        how = next(found, None)
        if how is None or shape == source.shape:
            raise self.refuse(node, "places of an interpolate must be those between which ONNX looks")
        sizes = np.array([self.batch, shape.channels, shape.height, shape.width], np.int64)
        read = [self.as_map(source), "", "", self.constant(f"{node.name}/sizes", sizes)]
        self.finish(node, Activation.NONE, "Resize", read, mode="linear", coordinate_transformation_mode=how)

    def number(self, value: float) -> str:
        """A real number as a constant of its own."""
        return self.constant(f"/{value:g}", np.array(value, np.float32))


def _exact(node: Node) -> str:
    """Name of a node's result before it is quantised, if it is."""
    return node.name if node.type.quant is None else f"{node.name}/exact"


def _looks(window: Window) -> dict[str, Any]:
    """A window as attributes of a convolution or a pool."""
    top, bottom, left, right = window.padding
    return {"kernel_shape": window.kernel, "strides": window.stride, "pads": (top, left, bottom, right)}


def _channels_first(array: Array) -> Array:
    """Something x height x width x channels as something x channels x height x width."""
    return array.transpose(0, 3, 1, 2)
