"""Writes small .tflite files for the tests, with the object API of the schema that ai-edge-litert ships."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

CODES = {"int8": schema.TensorType.INT8, "uint8": schema.TensorType.UINT8, "int32": schema.TensorType.INT32}
CODES |= {"float32": schema.TensorType.FLOAT32, "int64": schema.TensorType.INT64}
CODES |= {"float16": schema.TensorType.FLOAT16}


class Writer:
    """One subgraph, built tensor by tensor."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]
        self.model.buffers = [schema.BufferT()]

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "int8",
        scale: Any = None,
        zero: Any = 0,
        data: Any = None,
        axis: int = 0,
    ) -> int:
        made = schema.TensorT()
        made.shape, made.type = list(shape), CODES[dtype]
        made.name = f"t{len(self.graph.tensors)}".encode()
        if scale is not None:
            quant = schema.QuantizationParametersT()
            quant.scale = np.atleast_1d(np.asarray(scale, np.float32)).tolist()
            quant.zeroPoint = np.broadcast_to(np.atleast_1d(np.asarray(zero, np.int64)), len(quant.scale)).tolist()
            quant.quantizedDimension = axis
            made.quantization = quant
        made.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).astype(dtype).tobytes(), np.uint8)
            made.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def op(self, name: str, inputs: list[int], outputs: list[int], options: Any = None, version: int = 3) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        made = schema.OperatorT()
        made.opcodeIndex = len(self.model.operatorCodes)
        made.inputs, made.outputs = inputs, outputs
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            made.builtinOptions = options
        self.model.operatorCodes.append(code)
        self.graph.operators.append(made)

    def bytes(self, inputs: list[int], outputs: list[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        return pack(self.model)


def pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpack(data: bytes) -> Any:
    return schema.ModelT.InitFromPackedBuf(data, 0)


def conv_options(
    padding: str = "SAME",
    stride: tuple[int, int] = (1, 1),
    activation: str = "NONE",
    dilation: tuple[int, int] = (1, 1),
    kind: str = "Conv2DOptionsT",
) -> Any:
    options = getattr(schema, kind)()
    options.padding = getattr(schema.Padding, padding)
    options.strideH, options.strideW = stride
    options.dilationHFactor, options.dilationWFactor = dilation
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
    return options


def pool_options(padding: str, stride: tuple[int, int], size: tuple[int, int], activation: str = "NONE") -> Any:
    options = schema.Pool2DOptionsT()
    options.padding = getattr(schema.Padding, padding)
    options.strideH, options.strideW = stride
    options.filterHeight, options.filterWidth = size
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
    return options


def output_size(length: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    extent = (kernel - 1) * dilation + 1
    return -(-length // stride) if padding == "SAME" else (length - extent) // stride + 1


def one_conv(seed: int = 0) -> bytes:
    """A 5x5x2 image and one 3x3 convolution to 4 channels."""
    rng = np.random.default_rng(seed)
    w = Writer()
    source = w.tensor((1, 5, 5, 2), scale=0.5, zero=3)
    weight = w.tensor((4, 3, 3, 2), scale=rng.uniform(0.01, 0.02, 4), data=rng.integers(-127, 128, (4, 3, 3, 2)))
    bias = w.tensor((4,), "int32", scale=0.01, data=rng.integers(-99, 99, 4))
    out = w.tensor((1, 5, 5, 4), scale=0.9, zero=-5)
    w.op("CONV_2D", [source, weight, bias], [out], conv_options())
    return w.bytes([source], [out])
