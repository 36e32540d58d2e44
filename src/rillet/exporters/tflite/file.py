"""A .tflite file under construction: tensors, operators and buffers, by the schema of TensorFlow Lite, version 3."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import tflite

from rillet.ir.graph import Array

VERSION = 3
IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Of data, which runtimes map and read in place."""
_LARGEST_OLD_CODE = 127
"""Operators beyond it have their code in a later field alone."""

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quantized:
    """Scales and zero points of a tensor, along an axis where there are several."""

    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    dims: tuple[int, ...]
    code: int
    quant: Quantized | None
    data: bytes | None
    shared: str


@dataclass(frozen=True, slots=True)
class _Operator:
    code: int
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: str
    fields: Fields


class FileWriter:
    """One subgraph; tensors are known by the number that `tensor` gives."""

    def __init__(self) -> None:
        self._tensors: list[_Tensor] = []
        self._operators: list[_Operator] = []
        self._builder = flatbuffers.Builder(2**16)

    def tensor(
        self,
        name: str,
        dims: Sequence[int],
        code: int,
        quant: Quantized | None = None,
        data: Array | None = None,
        shared: str = "",
    ) -> int:
        """A tensor of a type of `tflite.TensorType`, constant where it has data; returns its number.

        Tensors of equal data that say the same word for `shared` have one buffer.
        """
        stored = None if data is None else np.ascontiguousarray(data, data.dtype.newbyteorder("<")).tobytes()
        self._tensors.append(_Tensor(name, tuple(dims), code, quant, stored, shared))
        return len(self._tensors) - 1

    def operator(
        self, name: str, version: int, inputs: Sequence[int], output: int, options: str = "", **fields: Any
    ) -> None:
        """An operator by its name in `tflite.BuiltinOperator`, with its table of options and their fields."""
        code = getattr(tflite.BuiltinOperator, name)
        self._operators.append(_Operator(code, version, tuple(inputs), (output,), options, fields))

    def finish(self, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The bytes of the file."""
        kinds = list(dict.fromkeys((op.code, op.version) for op in self._operators))
        buffers = [self._table("Buffer", {})]
        tensors: list[int] = []
        places: dict[tuple[str, bytes], int] = {}
        for tensor in self._tensors:
            place = 0
            if tensor.shared and tensor.data is not None and (tensor.shared, tensor.data) in places:
                place = places[tensor.shared, tensor.data]
            elif tensor.data is not None:
                place = places[tensor.shared, tensor.data] = len(buffers)
                buffers.append(self._table("Buffer", {"Data": self._bytes(tensor.data)}))
            tensors.append(self._tensor_table(tensor, place))
        operators = [self._operator_table(op, kinds) for op in self._operators]
        codes = [
            self._table(
                "OperatorCode",
                {"DeprecatedBuiltinCode": min(code, _LARGEST_OLD_CODE), "Version": version, "BuiltinCode": code},
            )
            for code, version in kinds
        ]
        subgraph = {
            "Tensors": self._offsets(tensors),
            "Inputs": self._integers(inputs),
            "Outputs": self._integers(outputs),
            "Operators": self._offsets(operators),
            "Name": self._builder.CreateString(name),
        }
        model = {
            "Version": VERSION,
            "OperatorCodes": self._offsets(codes),
            "Subgraphs": self._offsets([self._table("SubGraph", subgraph)]),
            "Description": self._builder.CreateString("rillet"),
            "Buffers": self._offsets(buffers),
        }
        self._builder.Finish(self._table("Model", model), IDENTIFIER)
        return bytes(self._builder.Output())

    def _tensor_table(self, tensor: _Tensor, place: int) -> int:
        fields: Fields = {
            "Shape": self._integers(tensor.dims),
            "Type": tensor.code,
            "Buffer": place,
            "Name": self._builder.CreateString(tensor.name),
        }
        if tensor.quant is not None:
            quant = {
                "Scale": self._builder.CreateNumpyVector(np.array(tensor.quant.scales, "<f4")),
                "ZeroPoint": self._builder.CreateNumpyVector(np.array(tensor.quant.zeros, "<i8")),
                "QuantizedDimension": tensor.quant.axis,
            }
            fields["Quantization"] = self._table("QuantizationParameters", quant)
        return self._table("Tensor", fields)

    def _operator_table(self, op: _Operator, kinds: list[tuple[int, int]]) -> int:
        fields: Fields = {
            "OpcodeIndex": kinds.index((op.code, op.version)),
            "Inputs": self._integers(op.inputs),
            "Outputs": self._integers(op.outputs),
        }
        if op.options:
            fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, op.options)
            made = {key: self._integers(v) if isinstance(v, tuple) else v for key, v in op.fields.items()}
            fields["BuiltinOptions"] = self._table(op.options, made)
        return self._table("Operator", fields)

    # -- parts of a flatbuffer ---------------------------------------------------------------------------------------

    def _table(self, kind: str, fields: Fields) -> int:
        """A table of the schema; strings, vectors and tables in it must have been made before."""
        getattr(tflite, f"{kind}Start")(self._builder)
        for key, value in fields.items():
            getattr(tflite, f"{kind}Add{key}")(self._builder, value)
        return getattr(tflite, f"{kind}End")(self._builder)

    def _integers(self, numbers: Sequence[int]) -> int:
        return self._builder.CreateNumpyVector(np.array(numbers, "<i4"))

    def _offsets(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return self._builder.EndVector()

    def _bytes(self, data: bytes) -> int:
        self._builder.Prep(ALIGNMENT, len(data))
        return self._builder.CreateByteVector(data)
