"""Reads an .onnx file into plain records; nothing in it is trusted."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx import wire
from rillet.importers.onnx.views import MAX_RANK
from rillet.ir.graph import Array
from rillet.system.reading import MODEL_BYTES, open_file

MAX_FILE_BYTES = 2**30
MAX_OPERATORS = 2**13
OPSETS = range(7, 23)
MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

_Proto = onnx.TensorProto
TYPE_NAMES: dict[int, str] = {value: name for name, value in _Proto.DataType.items()}
NUMPY_TYPES: dict[int, np.dtype[np.generic]] = {
    _Proto.FLOAT: np.dtype(np.float32),
    _Proto.INT8: np.dtype(np.int8),
    _Proto.UINT8: np.dtype(np.uint8),
    _Proto.INT32: np.dtype(np.int32),
    _Proto.INT64: np.dtype(np.int64),
    _Proto.BOOL: np.dtype(np.bool_),
}
"""Element types that constants can have."""
_FIELDS = {
    _Proto.FLOAT: "float_data",
    _Proto.INT64: "int64_data",
    **dict.fromkeys((_Proto.INT8, _Proto.UINT8, _Proto.INT32, _Proto.BOOL), "int32_data"),
}
_Attribute = onnx.AttributeProto


@dataclass(frozen=True)
class Value:
    """An input of the network as the file declares it; None for a dimension that is not fixed."""

    name: str
    code: int
    dims: tuple[int | None, ...]


@dataclass(frozen=True)
class Operator:
    """One node of the file. An empty name stands for an input or output that is left out."""

    index: int
    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        named = f" {self.name[:60]!r}" if self.name else ""
        return f"node {self.index} ({self.kind if self.kind.isprintable() else repr(self.kind)}{named})"

    # -- attributes ------------------------------------------------------------------------------------------------

    def integer(self, name: str, default: int) -> int:
        """An attribute that is an integer."""
        found = self._attribute(name, _Attribute.INT)
        return default if found is None else int(found.i)

    def real(self, name: str, default: float) -> float:
        """An attribute that is a real number: the shortest decimal that is the same float32."""
        found = self._attribute(name, _Attribute.FLOAT)
        return default if found is None else shortest(found.f)

    def word(self, name: str, default: str) -> str:
        """An attribute that is a string."""
        found = self._attribute(name, _Attribute.STRING)
        return default if found is None else bytes(found.s).decode("utf-8", "replace")

    def integers(self, name: str) -> list[int] | None:
        """An attribute that is a list of integers, None where it is left out."""
        found = self._attribute(name, _Attribute.INTS)
        return None if found is None else [int(i) for i in found.ints]

    def reals(self, name: str) -> list[float] | None:
        """An attribute that is a list of float32 values, None where it is left out."""
        found = self._attribute(name, _Attribute.FLOATS)
        return None if found is None else [float(f) for f in found.floats]

    def tensor(self, name: str) -> Any:
        """An attribute that is a tensor, as the file has it; None where it is left out."""
        found = self._attribute(name, _Attribute.TENSOR)
        return None if found is None else found.t

    def _attribute(self, name: str, kind: int) -> Any:
        found = self.attributes.get(name)
        if found is not None and (found.type != kind or found.ref_attr_name):
            wanted = _Attribute.AttributeType.Name(kind)  # pyright: ignore[reportArgumentType]
            raise GraphError(f"attribute {name} must be {wanted}, got type {found.type}")
        return found


def shortest(value: float) -> float:
    """The shortest decimal that is the same float32: 0.001 and not 0.0010000000474974513."""
    return float(str(np.float32(value)))


class File:
    """The main graph of a file: its inputs, outputs, operators and constants, each checked as it is read."""

    def __init__(self, data: bytes, name: str, folder: Path | None = None, until: str | None = None) -> None:
        self.name = name
        self.folder = folder
        """Where external data may lie; None where there is no such place."""
        self.model = _parsed(data)
        self.opset = _opset(self.model)
        graph: Any = self.model.graph
        self.graph_name = str(graph.name)
        if len(graph.sparse_initializer):
            raise Unsupported("constants must be dense, got sparse ones")
        if len(graph.node) > MAX_OPERATORS:
            raise Unsupported(f"must have at most {MAX_OPERATORS} nodes, got {len(graph.node)}")
        self.tensors: dict[str, Any] = {}
        for tensor in graph.initializer:
            if tensor.name in self.tensors:
                raise GraphError(f"constants must have names of their own, got {tensor.name[:60]!r} twice")
            self.tensors[tensor.name] = tensor
        self.inputs = [_value(info) for info in graph.input if info.name not in self.tensors]
        self.outputs = [str(info.name) for info in graph.output]
        operators = [_operator(i, node) for i, node in enumerate(graph.node)]
        _made_once(operators, {*self.tensors, *(value.name for value in self.inputs)})
        if until is not None:
            self.outputs = _chosen(operators, until)
        self.read, self.operators = _needed(operators, self.outputs)
        """Every tensor that the outputs follow from, and the operators that these need; the others are nobody's."""
        self.metadata = {str(entry.key): str(entry.value) for entry in self.model.metadata_props}

    def before(self, op: Operator) -> list[str]:
        """The tensors that an operator reads which earlier ones compute from the input."""
        computed, given = set[str](), {value.name for value in self.inputs}
        for earlier in self.operators[: self.operators.index(op)]:
            if not (computed | given).isdisjoint(earlier.inputs):
                computed.update(earlier.outputs)
        return [name for name in dict.fromkeys(op.inputs) if name and name in computed]

    def showing(self, names: Sequence[str]) -> bytes:
        """The file with these tensors as its outputs, without what they do not need, all data inside.

        Raises Unsupported where that is more than a file can hold.
        """
        model: Any = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        kept = [graph.node[op.index] for op in self.operators]
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:], graph.output[:], graph.value_info[:]
        graph.node.extend(nodes)
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        for tensor in graph.initializer:
            if tensor.data_location == _Proto.EXTERNAL:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(self.array(tensor)), tensor.name))
        if model.ByteSize() >= 2**31:
            raise Unsupported("must take less than 2 GiB to be shown to another runtime")
        return model.SerializeToString()

    def array(self, tensor: Any) -> Array:
        """A constant of the file; raises Unsupported for other element types, GraphError where its data do not fit."""
        where = f"tensor {str(tensor.name)[:60]!r}"
        dtype = NUMPY_TYPES.get(tensor.data_type)
        if dtype is None:
            wanted = ", ".join(TYPE_NAMES[code] for code in NUMPY_TYPES)
            got = TYPE_NAMES.get(tensor.data_type, str(tensor.data_type))
            raise Unsupported(f"{where}: type must be one of {wanted}, got {got}")
        dims = tuple(int(d) for d in tensor.dims)
        if any(d < 0 for d in dims):
            raise GraphError(f"{where}: dimensions must not be negative, got {list(dims[:9])}")
        if len(dims) > MAX_RANK or len(tensor.segment.ListFields()):
            raise Unsupported(f"{where}: must be whole, with at most {MAX_RANK} dimensions, got {list(dims[:9])}")
        count = int(np.prod(dims, dtype=object)) if dims else 1
        if tensor.data_location == _Proto.EXTERNAL:
            raw = self._external(tensor, where, count * dtype.itemsize)
        elif tensor.HasField("raw_data"):
            raw = tensor.raw_data
        else:
            return _typed(tensor, where, dtype, dims, count)
        if len(raw) != count * dtype.itemsize:
            raise GraphError(f"{where}: must have {count * dtype.itemsize} bytes, got {len(raw)}")
        stored = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("<")
        return np.frombuffer(raw, stored).astype(dtype, copy=False).reshape(dims)

    def _external(self, tensor: Any, where: str, size: int) -> bytes:
        """Data out of a file beside the model: a plain name, no folder, no link."""
        entries = {str(entry.key): str(entry.value) for entry in tensor.external_data}
        location = entries.get("location", "")
        if self.folder is None:
            raise Unsupported(f"{where}: data must be in the file, got them in {location[:60]!r}")
        parts = location.split("/")
        if any(part in ("", ".", "..") for part in parts) or any(c in location for c in "\\:\0"):
            raise GraphError(f"{where}: data must be in a file beside the model, got {location[:60]!r}")
        if len(parts) > 1:
            raise Unsupported(f"{where}: data must be in a file beside the model, got {location[:60]!r}")
        try:
            offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(size)))
        except ValueError:
            raise GraphError(f"{where}: offset and length of external data must be integers") from None
        if offset < 0 or length != size or size > MAX_FILE_BYTES:
            raise GraphError(f"{where}: external data must be {size} bytes, got {length} at {offset}")
        place = self.folder / location
        try:
            with open_file(place, MODEL_BYTES, follow=False) as file:
                if os.fstat(file.fileno()).st_size < offset + size:
                    raise GraphError(f"must be a file of at least {offset + size} bytes")
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise GraphError(f"{where}: {location[:60]} cannot be read: {error.strerror}") from None
        except GraphError as error:
            reason = str(error).removeprefix(f"{place}: ")
            raise GraphError(f"{where}: {location[:60]} {reason}") from None


def _parsed(data: bytes) -> Any:
    try:
        wire.check(data, onnx.ModelProto.DESCRIPTOR)
        model = onnx.ModelProto()
        model.ParseFromString(data)
    except DecodeError:
        raise GraphError("must be an ONNX file, got other bytes") from None
    except GraphError as error:
        raise GraphError(f"must be an ONNX file: {error}") from None
    if not model.HasField("graph"):
        raise GraphError(f"must be an ONNX file with a graph, got {len(data)} other bytes")
    return model


def _opset(model: Any) -> int:
    versions = [int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] not in OPSETS:
        got = ", ".join(map(str, versions[:3])) or "none"
        raise Unsupported(f"opset must be {OPSETS[0]} to {OPSETS[-1]}, got {got}")
    return versions[0]


def _value(info: Any) -> Value:
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise Unsupported(f"input {str(info.name)[:60]!r} must be a tensor with a shape")
    # Some exporters write -1 where others leave a dimension out or give it a name.
    dims = tuple(int(d.dim_value) if d.HasField("dim_value") and d.dim_value != -1 else None for d in tensor.shape.dim)
    return Value(str(info.name), int(tensor.elem_type), dims)


def _operator(index: int, node: Any) -> Operator:
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    attributes = {str(attribute.name): attribute for attribute in node.attribute}
    inputs, outputs = tuple(map(str, node.input)), tuple(map(str, node.output))
    return Operator(index, f"{domain}{node.op_type}"[:60], str(node.name), inputs, outputs, attributes)


def _made_once(operators: list[Operator], given: set[str]) -> None:
    """Raises GraphError where a name stands for two tensors."""
    made = set(given)
    for op in operators:
        for name in filter(None, op.outputs):
            if name in made:
                raise GraphError(f"{op}: output must be made once, got {name[:60]!r}")
            made.add(name)


def _chosen(operators: list[Operator], until: str) -> list[str]:
    """The tensors that `until` names, with `+` between; raises GraphError where a node makes none of that name."""
    made = {name for op in operators for name in op.outputs if name}
    found = [until] if until in made else until.split("+")
    for word in found:
        if word not in made:
            raise GraphError(f"until must be tensors that nodes make, by name, got {word[:60]!r}")
    return found


def _needed(operators: list[Operator], outputs: list[str]) -> tuple[frozenset[str], list[Operator]]:
    """The tensors that `outputs` follow from, and the operators that make some of them, in the file's order."""
    maker = {name: op for op in operators for name in op.outputs if name}
    read, waiting = set(outputs), list(outputs)
    while waiting:
        op = maker.get(waiting.pop())
        if op is not None:
            waiting += [name for name in op.inputs if name and name not in read]
            read.update(op.inputs)
    return frozenset(read - {""}), [op for op in operators if not read.isdisjoint(filter(None, op.outputs))]


def _typed(tensor: Any, where: str, dtype: np.dtype[np.generic], dims: tuple[int, ...], count: int) -> Array:
    """A constant whose values are in a field of their own type."""
    values = getattr(tensor, _FIELDS[tensor.data_type])
    if len(values) != count:
        raise GraphError(f"{where}: must have {count} values, got {len(values)}")
    if dtype.kind == "f":
        return np.array(values, dtype).reshape(dims)
    wide = np.array(values, np.int64)
    bits = 8 * dtype.itemsize
    low, high = {"b": (0, 1), "u": (0, 2**bits - 1)}.get(dtype.kind, (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    if count and not low <= int(wide.min()) <= int(wide.max()) <= high:
        raise GraphError(f"{where}: values must be within {low}..{high}")
    return wide.astype(dtype).reshape(dims)
