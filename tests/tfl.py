"""Writes small .tflite files for the tests, with the object API of the schema that ai-edge-litert ships."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

CODES = {"int8": schema.TensorType.INT8, "uint8": schema.TensorType.UINT8, "int32": schema.TensorType.INT32}
CODES |= {"float32": schema.TensorType.FLOAT32, "int64": schema.TensorType.INT64}
CODES |= {"int16": schema.TensorType.INT16}
CODES |= {"float16": schema.TensorType.FLOAT16, "int4": schema.TensorType.INT4}


class Writer:
    """One subgraph, built tensor by tensor."""

    def __init__(self) -> None:
        self.model: Any = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.graph: Any = schema.SubGraphT()
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
        made: Any = schema.TensorT()
        made.shape, made.type = list(shape), CODES[dtype]
        made.name = f"t{len(self.graph.tensors)}".encode()
        if scale is not None:
            quant: Any = schema.QuantizationParametersT()
            quant.scale = np.atleast_1d(np.asarray(scale, np.float32)).tolist()
            quant.zeroPoint = np.broadcast_to(np.atleast_1d(np.asarray(zero, np.int64)), len(quant.scale)).tolist()
            quant.quantizedDimension = axis
            made.quantization = quant
        made.buffer = 0
        if data is not None:
            buffer: Any = schema.BufferT()
            buffer.data = packed(data, dtype)
            made.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def op(self, name: str, inputs: list[int], outputs: list[int], options: Any = None, version: int = 3) -> None:
        code: Any = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        made: Any = schema.OperatorT()
        made.opcodeIndex = len(self.model.operatorCodes)
        made.inputs, made.outputs = inputs, outputs
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            made.builtinOptions = options
        self.model.operatorCodes.append(code)
        self.graph.operators.append(made)

    def sparse(self, shape: tuple[int, ...], dtype: str, data: Any, block: int = 1) -> int:
        """A sparse constant: of the last dimension the places, or the blocks, that are not 0."""
        rows = np.asarray(data).reshape(-1, shape[-1] // block, block)
        kept = rows.any(axis=2)
        made = self.tensor(shape, dtype, data=rows[kept])
        levels: list[Any] = [schema.DimensionMetadataT() for _ in shape]
        for level, length in zip(levels[:-1], shape[:-1], strict=True):
            level.format, level.denseSize = schema.DimensionType.DENSE, length
        starts: Any = schema.Int32VectorT()
        places: Any = schema.Uint8VectorT()
        starts.values = [0, *np.cumsum(kept.sum(axis=1)).tolist()]
        places.values = np.argwhere(kept)[:, 1].astype(np.uint8)
        levels[-1].format = schema.DimensionType.SPARSE_CSR
        levels[-1].arraySegmentsType, levels[-1].arraySegments = schema.SparseIndexVector.Int32Vector, starts
        levels[-1].arrayIndicesType, levels[-1].arrayIndices = schema.SparseIndexVector.Uint8Vector, places
        said: Any = schema.SparsityParametersT()
        self.graph.tensors[made].sparsity = said
        said.traversalOrder, said.blockMap = list(range(len(shape))), []
        if block > 1:
            levels.append(schema.DimensionMetadataT())
            levels[-1].format, levels[-1].denseSize = schema.DimensionType.DENSE, block
            said.traversalOrder, said.blockMap = list(range(len(shape) + 1)), [len(shape) - 1]
        said.dimMetadata = levels
        return made

    def bytes(self, inputs: list[int], outputs: list[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        return pack(self.model)


def packed(data: Any, dtype: str) -> Any:
    """The bytes of an array; of int4 two values in each, the first in the low half."""
    if dtype != "int4":
        return np.frombuffer(np.ascontiguousarray(data).astype(dtype).tobytes(), np.uint8)
    halves = np.ascontiguousarray(data).astype(np.int8).reshape(-1).view(np.uint8) & 15
    halves = np.append(halves, np.zeros(halves.size % 2, np.uint8))
    return halves[::2] | halves[1::2] << 4


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
