"""Reads a .tflite file into plain records; nothing in it is trusted."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from rillet.errors import GraphError, Unsupported

OP_NAMES: dict[int, str] = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
TYPE_NAMES: dict[int, str] = {v: k for k, v in vars(tflite.TensorType).items() if isinstance(v, int)}


@dataclass(frozen=True)
class Tensor:
    """A tensor as the file describes it; `data` where it is constant."""

    index: int
    name: str
    dims: tuple[int, ...]
    code: int
    scales: npt.NDArray[np.float32]
    zeros: npt.NDArray[np.int64]
    axis: int
    data: memoryview | None
    buffer: int = 0
    """Where the data lie, which tensors may share."""
    sparsity: Any = None
    """Where the values of a sparse constant belong, as the file says it."""
    open: bool = False
    """True where the file leaves dimensions beyond the batch open; `dims` are then those of another size."""

    def __str__(self) -> str:
        return f"tensor {self.index} ({self.name[:60]!r})"


@dataclass(frozen=True)
class Dilated:
    """What a convolution over a batch that was spread out of one map does to the map."""

    block: tuple[int, int]
    """Its dilation, of rows and of columns."""
    padding: tuple[int, int, int, int]
    """Top, bottom, left, right."""


@dataclass(frozen=True)
class Operator:
    """An operator with its tensors' indices; `raw` holds its options."""

    index: int
    code: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    raw: Any
    dilated: Dilated | None = None
    """Of a convolution between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, whose tensors are then its own."""

    def __str__(self) -> str:
        return f"operator {self.index} ({self.name})"


class File:
    """One subgraph of a file: its tensors and operators, each checked against the bytes that are there."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        model = tflite.Model.GetRootAs(data, 0)
        self.model: Any = model
        if self.count(model.SubgraphsLength(), "subgraphs") != 1:
            raise Unsupported(f"{name}: must have one subgraph, got {model.SubgraphsLength()}")
        self.subgraph: Any = model.Subgraphs(0)
        count = self.count(self.subgraph.TensorsLength(), "tensors")
        self.tensors = [self.tensor(i) for i in range(count)]
        self.inputs = self.ints(self.subgraph.InputsLength(), self.subgraph.Inputs, "inputs")
        self.outputs = self.ints(self.subgraph.OutputsLength(), self.subgraph.Outputs, "outputs")
        for index in (*self.inputs, *self.outputs):
            if not 0 <= index < len(self.tensors):
                raise GraphError(f"{name}: tensor must be one of {len(self.tensors)}, got {index}")

    def operators(self) -> Iterator[Operator]:
        """The operators in order."""
        for index in range(self.count(self.subgraph.OperatorsLength(), "operators")):
            yield self.operator(index)

    def count(self, length: int, what: str, item_bytes: int = 4) -> int:
        """A vector's length, refused where the file cannot hold it."""
        if not 0 <= length * item_bytes <= len(self.data):
            raise GraphError(f"{self.name}: number of {what} must fit the file, got {length}")
        return length

    def tensor(self, index: int) -> Tensor:
        """One tensor, its shape fixed and its scales not negative: a channel of weights may have the scale 0."""
        raw = self.subgraph.Tensors(index)
        name = (raw.Name() or b"").decode("utf-8", "replace")
        where = f"{self.name}: tensor {index} ({name[:60]!r})"
        dims = self.ints(raw.ShapeLength(), raw.Shape, "dimensions")
        signature = self.ints(raw.ShapeSignatureLength(), raw.ShapeSignature, "dimensions")
        left_open = len(signature) == len(dims) and any(d < 0 for d in signature[1:])
        if any(d < 0 for d in dims):
            raise GraphError(f"{where}: dimensions must not be negative, got {list(dims)}")
        if any(d < 1 for d in dims):
            raise Unsupported(f"{where}: dimensions must be at least 1, got {list(dims)}")
        if raw.IsVariable():
            raise Unsupported(f"{where}: must not be a variable")
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
        if not np.isfinite(scales).all() or (scales < 0).any():
            raise GraphError(f"{where}: scales must be positive numbers, or 0 for weights that count as zero")
        data = self.buffer(raw.Buffer(), where)
        shape = (name, dims, raw.Type(), scales, zeros, axis)
        return Tensor(index, *shape, data, raw.Buffer(), raw.Sparsity(), left_open and data is None)

    def ints(self, length: int, get: Callable[[int], int], what: str) -> tuple[int, ...]:
        """A vector of integers."""
        return tuple(int(get(i)) for i in range(self.count(length, what)))

    def buffer(self, index: int, where: str) -> memoryview | None:
        """Bytes of a buffer as they lie in the file, None where it is empty."""
        if not 0 <= index < self.count(self.model.BuffersLength(), "buffers"):
            raise GraphError(f"{where}: buffer must be one of {self.model.BuffersLength()}, got {index}")
        raw = self.model.Buffers(index)
        if raw.Offset() > 1:
            raise Unsupported(f"{where}: data must be inside the flatbuffer, got an offset beyond it")
        length = self.count(raw.DataLength(), "bytes", 1)
        return memoryview(raw.DataAsNumpy()) if length else None

    def operator(self, index: int) -> Operator:
        """One operator, its tensors among those of the file."""
        raw = self.subgraph.Operators(index)
        codes = self.count(self.model.OperatorCodesLength(), "operator codes")
        if not 0 <= raw.OpcodeIndex() < codes:
            raise GraphError(f"{self.name}: operator {index}: code must be one of {codes}, got {raw.OpcodeIndex()}")
        entry = self.model.OperatorCodes(raw.OpcodeIndex())
        code = max(entry.BuiltinCode(), entry.DeprecatedBuiltinCode())
        name = OP_NAMES.get(code, str(code))
        if entry.CustomCode():
            name = f"CUSTOM {entry.CustomCode().decode('utf-8', 'replace')[:40]}"
        inputs = self.ints(raw.InputsLength(), raw.Inputs, "inputs")
        outputs = self.ints(raw.OutputsLength(), raw.Outputs, "outputs")
        operator = Operator(index, code, name, inputs, outputs, raw)
        for tensor in (*inputs, *outputs):
            if not -1 <= tensor < len(self.tensors):
                raise GraphError(f"{self.name}: {operator}: tensor must be one of {len(self.tensors)}, got {tensor}")
        return operator

    def options(self, op: Operator, cls: Any) -> Any:
        """The operator's options; defaults where the file leaves them out."""
        wanted = getattr(tflite.BuiltinOptions, cls.__name__)
        got = op.raw.BuiltinOptionsType()
        table = op.raw.BuiltinOptions()
        if got != wanted or table is None:
            raise GraphError(f"{self.name}: {op}: options must be {cls.__name__}, got type {got}")
        options = cls()
        options.Init(table.Bytes, table.Pos)
        return options
