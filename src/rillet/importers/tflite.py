"""TFLite files to graphs: int8 networks, per-channel weights, int8 or uint8 at the ends."""

import io
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.naming import name_nodes
from rillet.ir.graph import Array, Graph, ImageSpec, Node
from rillet.ir.ops import (
    Activation,
    Add,
    Conv,
    Input,
    Op,
    Pool,
    PoolKind,
    Requantize,
    Rounding,
    Softmax,
    Window,
)
from rillet.ir.types import DType, Quant, Shape, TensorType

MAX_FILE_BYTES = 2**28
_OP_NAMES: dict[int, str] = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
_TYPE_NAMES: dict[int, str] = {v: k for k, v in vars(tflite.TensorType).items() if isinstance(v, int)}
_DTYPES = {
    tflite.TensorType.INT8: DType.I8,
    tflite.TensorType.UINT8: DType.U8,
    tflite.TensorType.INT32: DType.I32,
    tflite.TensorType.FLOAT32: DType.F32,
}
_ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: Activation.NONE,
    tflite.ActivationFunctionType.RELU: Activation.RELU,
    tflite.ActivationFunctionType.RELU_N1_TO_1: Activation.RELU_N1_TO_1,
    tflite.ActivationFunctionType.RELU6: Activation.RELU6,
}


@dataclass(frozen=True)
class Imported:
    """A graph, and for each of its nodes the index of the file's tensor that holds the same bytes."""

    graph: Graph
    tensors: dict[str, int]


def load(path: Path) -> Graph:
    """The graph in a .tflite file; raises GraphError for a broken file, Unsupported for what Rillet does not handle."""
    return load_with_tensors(path).graph


def load_with_tensors(path: Path) -> Imported:
    """As `load`, with the file's tensor index of every node, for comparison with another runtime."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise GraphError(f"{path}: must be at most {MAX_FILE_BYTES} bytes, got {size}")
        data = path.read_bytes()
    except OSError as error:
        raise GraphError(f"{path}: cannot be read: {error.strerror}") from None
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Imported:
    """As `load_with_tensors`, from bytes; `name` stands for the file in messages."""
    if len(data) < 16 or data[4:8] != b"TFL3":
        raise GraphError(f"{name}: must be a TFLite file ('TFL3' at byte 4), got {len(data)} other bytes")
    try:
        return _Importer(data, name).run()
    except RilletError:
        raise
    except (
        struct.error,
        IndexError,
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        AttributeError,
        ArithmeticError,
        MemoryError,
    ) as error:
        # The schema classes read wherever an offset points; a broken offset shows as any of these.
        raise GraphError(f"{name}: must be a well-formed TFLite file, got a broken one ({error})") from None


@dataclass(frozen=True)
class _Tensor:
    index: int
    name: str
    dims: tuple[int, ...]
    code: int
    scales: npt.NDArray[np.float32]
    zeros: npt.NDArray[np.int64]
    axis: int
    data: bytes | None

    def __str__(self) -> str:
        return f"tensor {self.index} ({self.name[:60]!r})"


@dataclass(frozen=True)
class _Operator:
    index: int
    code: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    raw: Any

    def __str__(self) -> str:
        return f"operator {self.index} ({self.name})"


@dataclass(frozen=True)
class _Value:
    """Where a tensor's bytes come from: a node, perhaps seen as a flat vector."""

    node: str
    flat: bool = False


class _Importer:
    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.file = name
        model = tflite.Model.GetRootAs(data, 0)
        self.model: Any = model
        if self.count(model.SubgraphsLength(), "subgraphs") != 1:
            raise Unsupported(f"{name}: must have one subgraph, got {model.SubgraphsLength()}")
        self.subgraph: Any = model.Subgraphs(0)
        count = self.count(self.subgraph.TensorsLength(), "tensors")
        self.tensors = [self.tensor(i) for i in range(count)]
        self.values: dict[int, _Value] = {}
        self.nodes: list[Node] = []
        self.params: dict[str, Array] = {}
        self.tensor_of: dict[str, int] = {}

    # -- reading ---------------------------------------------------------------------------------------------------

    def count(self, length: int, what: str, item_bytes: int = 4) -> int:
        """A vector's length, refused where the file cannot hold it."""
        if not 0 <= length * item_bytes <= len(self.data):
            raise GraphError(f"{self.file}: number of {what} must fit the file, got {length}")
        return length

    def tensor(self, index: int) -> _Tensor:
        raw = self.subgraph.Tensors(index)
        name = (raw.Name() or b"").decode("utf-8", "replace")
        where = f"{self.file}: tensor {index} ({name[:60]!r})"
        dims = self.ints(raw.ShapeLength(), raw.Shape, "dimensions")
        signature = self.ints(raw.ShapeSignatureLength(), raw.ShapeSignature, "dimensions")
        if any(d < 0 for d in signature[1:]):
            raise Unsupported(f"{where}: shape must be fixed, got {list(signature)}")
        if any(d < 1 for d in dims):
            raise GraphError(f"{where}: dimensions must be at least 1, got {list(dims)}")
        if raw.Sparsity() is not None or raw.IsVariable():
            raise Unsupported(f"{where}: must be dense and not a variable")
        quant = raw.Quantization()
        scales: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        zeros: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        axis = 0
        if quant is not None:
            if self.count(quant.ScaleLength(), "scales"):
                scales = np.asarray(quant.ScaleAsNumpy(), np.float32)
            if self.count(quant.ZeroPointLength(), "zero points", 8):
                zeros = np.asarray(quant.ZeroPointAsNumpy(), np.int64)
            axis = quant.QuantizedDimension()
        if not np.isfinite(scales).all() or (scales <= 0).any():
            raise GraphError(f"{where}: scales must be positive numbers")
        return _Tensor(index, name, dims, raw.Type(), scales, zeros, axis, self.buffer(raw.Buffer(), where))

    def ints(self, length: int, get: Callable[[int], int], what: str) -> tuple[int, ...]:
        return tuple(int(get(i)) for i in range(self.count(length, what)))

    def buffer(self, index: int, where: str) -> bytes | None:
        if not 0 <= index < self.count(self.model.BuffersLength(), "buffers"):
            raise GraphError(f"{where}: buffer must be one of {self.model.BuffersLength()}, got {index}")
        raw = self.model.Buffers(index)
        if raw.Offset() > 1:
            raise Unsupported(f"{where}: data must be inside the flatbuffer, got an offset beyond it")
        length = self.count(raw.DataLength(), "bytes", 1)
        return raw.DataAsNumpy().tobytes() if length else None

    def operator(self, index: int) -> _Operator:
        raw = self.subgraph.Operators(index)
        codes = self.count(self.model.OperatorCodesLength(), "operator codes")
        if not 0 <= raw.OpcodeIndex() < codes:
            raise GraphError(f"{self.file}: operator {index}: code must be one of {codes}, got {raw.OpcodeIndex()}")
        entry = self.model.OperatorCodes(raw.OpcodeIndex())
        code = max(entry.BuiltinCode(), entry.DeprecatedBuiltinCode())
        name = _OP_NAMES.get(code, str(code))
        if entry.CustomCode():
            name = f"CUSTOM {entry.CustomCode().decode('utf-8', 'replace')[:40]}"
        inputs = self.ints(raw.InputsLength(), raw.Inputs, "inputs")
        outputs = self.ints(raw.OutputsLength(), raw.Outputs, "outputs")
        operator = _Operator(index, code, name, inputs, outputs, raw)
        for tensor in (*inputs, *outputs):
            if not -1 <= tensor < len(self.tensors):
                raise GraphError(f"{self.file}: {operator}: tensor must be one of {len(self.tensors)}, got {tensor}")
        return operator

    def options(self, op: _Operator, cls: Any) -> Any:
        """The operator's options; defaults where the file leaves them out."""
        wanted = getattr(tflite.BuiltinOptions, cls.__name__)
        got = op.raw.BuiltinOptionsType()
        table = op.raw.BuiltinOptions()
        if got != wanted or table is None:
            raise GraphError(f"{self.file}: {op}: options must be {cls.__name__}, got type {got}")
        options = cls()
        options.Init(table.Bytes, table.Pos)
        return options

    # -- types and values ------------------------------------------------------------------------------------------

    def shape(self, tensor: _Tensor) -> Shape:
        dims = tensor.dims
        if not 1 <= len(dims) <= 4 or (len(dims) > 1 and dims[0] != 1):
            raise Unsupported(f"{self.file}: {tensor}: shape must be 1xHxWxC or 1xC, got {list(dims)}")
        if len(dims) == 3:
            raise Unsupported(f"{self.file}: {tensor}: shape must be 1xHxWxC or 1xC, got {list(dims)}")
        height, width, channels = dims[1:] if len(dims) == 4 else (1, 1, *dims[-1:])
        try:
            return Shape(height, width, channels)
        except GraphError as error:
            raise GraphError(f"{self.file}: {tensor}: {error}") from None

    def dtype(self, tensor: _Tensor) -> DType:
        dtype = _DTYPES.get(tensor.code)
        if dtype not in (DType.I8, DType.U8):
            got = _TYPE_NAMES.get(tensor.code, str(tensor.code))
            raise Unsupported(f"{self.file}: {tensor}: type must be INT8 or UINT8, got {got}")
        return dtype

    def type(self, tensor: _Tensor) -> TensorType:
        dtype = self.dtype(tensor)
        if len(tensor.scales) != 1 or len(tensor.zeros) > 1:
            raise GraphError(f"{self.file}: {tensor}: must have one scale, got {len(tensor.scales)}")
        zero = int(tensor.zeros[0]) if len(tensor.zeros) else 0
        try:
            return TensorType(self.shape(tensor), dtype, Quant(float(tensor.scales[0]), zero))
        except GraphError as error:
            raise GraphError(f"{self.file}: {tensor}: {error}") from None

    def source(self, op: _Operator, position: int, flat: bool = False) -> Node:
        """The node whose value is an input; `flat` where the reader takes a map as one long vector."""
        if position >= len(op.inputs):
            raise GraphError(f"{self.file}: {op}: must have at least {position + 1} inputs, got {len(op.inputs)}")
        tensor = self.tensors[op.inputs[position]]
        value = self.values.get(tensor.index)
        if value is None:
            if tensor.data is not None:
                raise Unsupported(f"{self.file}: {op}: input must be computed, got the constant {tensor}")
            raise GraphError(f"{self.file}: {op}: reads {tensor} before it is made")
        if value.flat and not flat:
            raise Unsupported(f"{self.file}: {op}: input must not be reshaped, got the flattened {tensor}")
        return next(node for node in reversed(self.nodes) if node.name == value.node)

    def constant(self, op: _Operator, position: int, dtype: DType) -> Array:
        """A constant input as an array of its declared shape."""
        if position >= len(op.inputs) or op.inputs[position] < 0:
            raise GraphError(f"{self.file}: {op}: input {position} is missing")
        tensor = self.tensors[op.inputs[position]]
        if tensor.data is None:
            raise Unsupported(f"{self.file}: {op}: input {position} must be constant, got {tensor}")
        if _DTYPES.get(tensor.code) is not dtype:
            got = _TYPE_NAMES.get(tensor.code, str(tensor.code))
            raise Unsupported(f"{self.file}: {op}: {tensor} must be {dtype.value}, got {got}")
        size = int(np.prod([int(d) for d in tensor.dims], dtype=object)) * dtype.numpy.itemsize
        if len(tensor.data) != size:
            raise GraphError(f"{self.file}: {op}: {tensor} must have {size} bytes, got {len(tensor.data)}")
        return np.frombuffer(tensor.data, dtype.numpy.newbyteorder("<")).astype(dtype.numpy).reshape(tensor.dims)

    def add(self, op: _Operator, made: Op, inputs: Sequence[Node], params: dict[str, Array] | None = None) -> None:
        """A node for the operator's output."""
        if len(op.outputs) != 1 or op.outputs[0] < 0:
            raise Unsupported(f"{self.file}: {op}: must have one output, got {len(op.outputs)}")
        tensor = self.tensors[op.outputs[0]]
        self.node(tensor, made, tuple(node.name for node in inputs), f"{op}", params or {})

    def node(self, tensor: _Tensor, made: Op, inputs: tuple[str, ...], where: str, params: dict[str, Array]) -> None:
        if tensor.index in self.values or tensor.data is not None:
            raise GraphError(f"{self.file}: {where}: output must be made once, got {tensor}")
        name = f"t{tensor.index}"
        self.nodes.append(Node(name, made, inputs, self.type(tensor)))
        self.params.update({f"{name}.{key}": array for key, array in params.items()})
        self.values[tensor.index] = _Value(name)
        self.tensor_of[name] = tensor.index

    # -- the whole file --------------------------------------------------------------------------------------------

    def run(self) -> Imported:
        inputs = self.ints(self.subgraph.InputsLength(), self.subgraph.Inputs, "inputs")
        outputs = self.ints(self.subgraph.OutputsLength(), self.subgraph.Outputs, "outputs")
        for index in (*inputs, *outputs):
            if not 0 <= index < len(self.tensors):
                raise GraphError(f"{self.file}: tensor must be one of {len(self.tensors)}, got {index}")
        if len(inputs) != 1:
            raise Unsupported(f"{self.file}: must have one input, got {len(inputs)}")
        for index in inputs:
            self.node(self.tensors[index], Input(), (), "input", {})
        for index in range(self.count(self.subgraph.OperatorsLength(), "operators")):
            op = self.operator(index)
            handler = _HANDLERS.get(op.code)
            if handler is None or op.name.startswith("CUSTOM"):
                supported = ", ".join(_OP_NAMES[code] for code in _HANDLERS)
                raise Unsupported(f"{self.file}: {op} is not supported; supported are {supported}")
            handler(self, op)
        return self.finish(outputs)

    def finish(self, outputs: tuple[int, ...]) -> Imported:
        names: list[str] = []
        for index in outputs:
            value = self.values.get(index)
            if value is None:
                raise GraphError(f"{self.file}: output {self.tensors[index]} is never made")
            if value.flat:
                raise Unsupported(f"{self.file}: output must not be a flattened map, got {self.tensors[index]}")
            names.append(value.node)
        nodes, renamed = name_nodes(tuple(self.nodes))
        params = {f"{renamed[key.split('.')[0]]}.{key.split('.')[1]}": a for key, a in self.params.items()}
        try:
            graph = Graph(Path(self.file).stem, nodes, tuple(renamed[n] for n in names), params)
        except GraphError as error:
            raise GraphError(f"{self.file}: {error}") from None
        classes = graph.by_name[graph.outputs[0]].shape.channels
        image = _image(graph.input_nodes[0].type, labels_in_file(self.data, classes))
        return Imported(graph.with_image(image), {renamed[n]: t for n, t in self.tensor_of.items()})


def _image(value: TensorType, labels: tuple[str, ...]) -> ImageSpec | None:
    """Pixel bytes go in as they are (uint8) or less 128 (int8), whatever real numbers the scale makes of them."""
    shape, quant = value.shape, value.quant
    if shape.channels not in (1, 3) or quant is None:
        return None
    mean = float(quant.zero_point - value.dtype.integers[0])
    return ImageSpec(
        shape.height, shape.width, shape.channels, mean=(mean,), deviation=(1.0 / quant.scale,), labels=labels
    )


def labels_in_file(data: bytes, classes: int) -> tuple[str, ...]:
    """The label file that TFLite metadata packs behind the model, if it has a line for each class."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            for info in packed.infolist()[:16]:
                if info.filename.endswith(".txt") and info.file_size < 2**20:
                    lines = packed.read(info).decode("utf-8", "replace").splitlines()
                    if len(lines) == classes:
                        return tuple(lines)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError):
        pass  # No zip behind the model, or a broken one: the network works without labels.
    return ()


# -- the operators ---------------------------------------------------------------------------------------------------


def _activation(self: _Importer, op: _Operator, code: int) -> Activation:
    if code not in _ACTIVATIONS:
        raise Unsupported(f"{self.file}: {op}: fused activation must be none or a clamp, got code {code}")
    return _ACTIVATIONS[code]


def _window(self: _Importer, op: _Operator, options: Any, kernel: tuple[int, int], shape: Shape) -> Window:
    stride = (options.StrideH(), options.StrideW())
    dilation = (1, 1)
    if hasattr(options, "DilationHFactor"):
        dilation = (options.DilationHFactor(), options.DilationWFactor())
    try:
        window = Window(kernel, stride, dilation=dilation)
        if options.Padding() == tflite.Padding.VALID:
            return window
        if options.Padding() != tflite.Padding.SAME:
            raise GraphError(f"padding must be SAME or VALID, got code {options.Padding()}")
        sides: list[int] = []
        for length, step, extent in zip((shape.height, shape.width), stride, window.extent, strict=True):
            total = max((-(-length // step) - 1) * step + extent - length, 0)
            sides += [total // 2, total - total // 2]
        return Window(kernel, stride, (sides[0], sides[1], sides[2], sides[3]), dilation)
    except GraphError as error:
        raise GraphError(f"{self.file}: {op}: {error}") from None


def _weight_scales(self: _Importer, op: _Operator, channels: int, axis: int) -> Array:
    tensor = self.tensors[op.inputs[1]]
    if tensor.zeros.any():
        raise Unsupported(f"{self.file}: {op}: zero points of int8 weights must be 0, got others")
    if len(tensor.scales) == 1:
        return np.repeat(tensor.scales, channels)
    if len(tensor.scales) != channels or tensor.axis != axis:
        raise GraphError(
            f"{self.file}: {op}: weights must have 1 or {channels} scales along axis {axis}, "
            f"got {len(tensor.scales)} along axis {tensor.axis}"
        )
    return tensor.scales.copy()


def _bias(self: _Importer, op: _Operator, channels: int) -> dict[str, Array]:
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return {}
    bias = self.constant(op, 2, DType.I32).reshape(-1)
    if bias.shape != (channels,):
        raise GraphError(f"{self.file}: {op}: bias must have {channels} values, got {bias.size}")
    return {"bias": bias}


def _integer_source(self: _Importer, op: _Operator, flat: bool = False) -> Node:
    source = self.source(op, 0, flat)
    if source.type.dtype is not DType.I8:
        raise Unsupported(f"{self.file}: {op}: input must be INT8, got {source.type.dtype.value}")
    return source


def _rank4(self: _Importer, op: _Operator, weight: Array) -> None:
    if weight.ndim != 4:
        raise GraphError(f"{self.file}: {op}: weights must have 4 dimensions, got {weight.ndim}")


def _conv(self: _Importer, op: _Operator) -> None:
    source = _integer_source(self, op)
    options = self.options(op, tflite.Conv2DOptions)
    weight = self.constant(op, 1, DType.I8)
    _rank4(self, op, weight)
    channels, height, width, depth = weight.shape
    if source.shape.channels % depth:
        raise GraphError(
            f"{self.file}: {op}: input channels must be a multiple of the filter's {depth}, got {source.shape.channels}"
        )
    params = {
        "weight": weight,
        "weight_scale": _weight_scales(self, op, channels, 0),
        **_bias(self, op, channels),
    }
    made = Conv(
        channels,
        _window(self, op, options, (height, width), source.shape),
        source.shape.channels // depth,
        _activation(self, op, options.FusedActivationFunction()),
        "bias" in params,
        DType.I8,
    )
    self.add(op, made, [source], params)


def _depthwise(self: _Importer, op: _Operator) -> None:
    source = _integer_source(self, op)
    options = self.options(op, tflite.DepthwiseConv2DOptions)
    weight = self.constant(op, 1, DType.I8)
    _rank4(self, op, weight)
    _, height, width, channels = weight.shape
    if weight.shape[0] != 1:
        raise GraphError(f"{self.file}: {op}: depthwise weights must be 1xHxWxC, got {list(weight.shape)}")
    params = {
        "weight": np.ascontiguousarray(weight.transpose(3, 1, 2, 0)),
        "weight_scale": _weight_scales(self, op, channels, 3),
        **_bias(self, op, channels),
    }
    made = Conv(
        channels,
        _window(self, op, options, (height, width), source.shape),
        source.shape.channels,
        _activation(self, op, options.FusedActivationFunction()),
        "bias" in params,
        DType.I8,
    )
    self.add(op, made, [source], params)


def _fully_connected(self: _Importer, op: _Operator) -> None:
    source = _integer_source(self, op, flat=True)
    options = self.options(op, tflite.FullyConnectedOptions)
    if options.WeightsFormat() != 0 or (options.KeepNumDims() and len(self.tensors[op.inputs[0]].dims) != 2):
        raise Unsupported(f"{self.file}: {op}: weights must be in the default format, of a vector")
    weight = self.constant(op, 1, DType.I8)
    if weight.ndim != 2 or weight.shape[1] != source.shape.elements:
        raise GraphError(
            f"{self.file}: {op}: weights must be outputs x {source.shape.elements}, got {list(weight.shape)}"
        )
    channels = weight.shape[0]
    kernel = (source.shape.height, source.shape.width)
    params = {
        "weight": weight.reshape(channels, *source.shape.array),
        "weight_scale": _weight_scales(self, op, channels, 0),
        **_bias(self, op, channels),
    }
    made = Conv(
        channels,
        Window(kernel),
        1,
        _activation(self, op, options.FusedActivationFunction()),
        "bias" in params,
        DType.I8,
        Rounding.SINGLE,
    )
    self.add(op, made, [source], params)


def _add(self: _Importer, op: _Operator) -> None:
    left, right = _integer_source(self, op), self.source(op, 1)
    if right.type.dtype is not DType.I8:
        raise Unsupported(f"{self.file}: {op}: input must be INT8, got {right.type.dtype.value}")
    if left.shape != right.shape:
        raise Unsupported(f"{self.file}: {op}: inputs must have one shape, got {left.shape} and {right.shape}")
    options = self.options(op, tflite.AddOptions)
    self.add(op, Add(_activation(self, op, options.FusedActivationFunction())), [left, right])


def _average_pool(self: _Importer, op: _Operator) -> None:
    source = _integer_source(self, op)
    options = self.options(op, tflite.Pool2DOptions)
    window = _window(self, op, options, (options.FilterHeight(), options.FilterWidth()), source.shape)
    out = self.type(self.tensors[op.outputs[0]]) if op.outputs else None
    if out is None or out.quant != source.type.quant:
        raise GraphError(f"{self.file}: {op}: output must have the scale and zero point of the input")
    made = Pool(PoolKind.AVERAGE, window, _activation(self, op, options.FusedActivationFunction()))
    self.add(op, made, [source])


def _mean(self: _Importer, op: _Operator) -> None:
    source = _integer_source(self, op)
    axes = self.constant(op, 1, DType.I32).reshape(-1).tolist()
    rank = len(self.tensors[op.inputs[0]].dims)
    if rank != 4 or sorted(axis % rank for axis in axes) != [1, 2]:
        raise Unsupported(f"{self.file}: {op}: axes must be height and width, got {axes}")
    window = Window((source.shape.height, source.shape.width))
    self.add(op, Pool(PoolKind.MEAN, window), [source])


def _reshape(self: _Importer, op: _Operator) -> None:
    source = self.source(op, 0)
    if len(op.outputs) != 1 or op.outputs[0] < 0:
        raise GraphError(f"{self.file}: {op}: must have one output, got {len(op.outputs)}")
    tensor = self.tensors[op.outputs[0]]
    shape, out = source.shape, self.type(tensor)
    if out.dtype is not source.type.dtype or out.quant != source.type.quant:
        raise GraphError(f"{self.file}: {op}: output must have the type of the input")
    flat = out.shape == Shape(1, 1, shape.elements)
    if not (flat or out.shape == shape):
        raise Unsupported(f"{self.file}: {op}: must make a vector of {shape.elements}, got {out.shape}")
    if tensor.index in self.values:
        raise GraphError(f"{self.file}: {op}: output must be made once, got {tensor}")
    self.values[tensor.index] = _Value(source.name, out.shape != shape)


def _softmax(self: _Importer, op: _Operator) -> None:
    source = _integer_source(self, op)
    options = self.options(op, tflite.SoftmaxOptions)
    out = self.type(self.tensors[op.outputs[0]]) if op.outputs else None
    if out is None or out.dtype is not DType.I8 or out.quant != Quant(1 / 256, -128):
        raise Unsupported(f"{self.file}: {op}: output must be INT8 with scale 1/256 and zero point -128")
    beta = float(options.Beta())
    if not (np.isfinite(beta) and beta > 0):
        raise GraphError(f"{self.file}: {op}: beta must be a positive number, got {beta}")
    self.add(op, Softmax(beta), [source])


def _quantize(self: _Importer, op: _Operator) -> None:
    self.add(op, Requantize(), [self.source(op, 0)])


_HANDLERS: dict[int, Callable[[_Importer, _Operator], None]] = {
    tflite.BuiltinOperator.CONV_2D: _conv,
    tflite.BuiltinOperator.DEPTHWISE_CONV_2D: _depthwise,
    tflite.BuiltinOperator.FULLY_CONNECTED: _fully_connected,
    tflite.BuiltinOperator.ADD: _add,
    tflite.BuiltinOperator.AVERAGE_POOL_2D: _average_pool,
    tflite.BuiltinOperator.MEAN: _mean,
    tflite.BuiltinOperator.RESHAPE: _reshape,
    tflite.BuiltinOperator.SOFTMAX: _softmax,
    tflite.BuiltinOperator.QUANTIZE: _quantize,
}
