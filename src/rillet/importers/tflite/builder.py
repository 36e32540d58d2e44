"""Builds a graph from a file's tensors: the node that computes each, the constants, and their names."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.naming import name_nodes
from rillet.importers.tflite import constants
from rillet.importers.tflite.file import TYPE_NAMES, File, Operator, Tensor
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Constant, Input, Op, output_shape
from rillet.ir.sharing import each_once
from rillet.ir.types import DType, Quant, Shape, TensorType, indices

import tflite  # isort: skip

_DTYPES = {
    tflite.TensorType.INT8: DType.I8,
    tflite.TensorType.INT4: DType.I8,
    tflite.TensorType.UINT8: DType.U8,
    tflite.TensorType.INT16: DType.I16,
    tflite.TensorType.INT32: DType.I32,
    tflite.TensorType.INT64: DType.I64,
    tflite.TensorType.FLOAT32: DType.F32,
}
_VALUES = (DType.I8, DType.U8, DType.I16, DType.F32)
INDICES = (tflite.TensorType.INT32, tflite.TensorType.INT64)
"""Types of places along an axis in files; a graph keeps them in 32 bits."""


_TO_CHANNELS_LAST = (0, 2, 3, 1)
_TO_CHANNELS_FIRST = (0, 3, 1, 2)


class Builder:
    """The graph so far. Handlers of operators read their inputs from it and add nodes to it."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.nodes: list[Node] = []
        self.constants: list[Node] = []
        self.params: dict[str, Array] = {}
        self.made_of: dict[str, int] = {}
        """The buffer of the file that an array comes from."""
        self.values: dict[int, tuple[str, ...]] = {}
        """Nodes that hold a tensor's bytes, one after another, by tensor; most tensors are one node's."""
        self.folded: dict[int, Array] = {}
        """Integer tensors that are known without running the network (shapes)."""
        self.tensor_of: dict[str, int] = {}
        self.starts: dict[str, int] = {}
        """Where a node's values begin in its tensor, of those that do not begin with it."""
        self.hybrid = 0
        """Operators of float32 values with weights of int8, which other runtimes compute in their own ways."""
        self.order: dict[int, tuple[int, ...]] = {}
        """For transposed views: the axis of the node's 1xHxWxC that each dimension of the tensor is."""

    def fail(self, op: Operator, message: str) -> GraphError:
        """A GraphError about an operator."""
        return GraphError(f"{self.file.name}: {op}: {message}")

    def refuse(self, op: Operator, message: str) -> Unsupported:
        """An Unsupported about an operator."""
        return Unsupported(f"{self.file.name}: {op}: {message}")

    # -- types -----------------------------------------------------------------------------------------------------

    def shape(self, tensor: Tensor) -> Shape:
        """A tensor's shape without its batch: 1xHxWxC, 1xWxC or 1xC."""
        dims = tensor.dims
        if not 1 <= len(dims) <= 4 or (len(dims) > 1 and dims[0] != 1):
            raise Unsupported(f"{self.file.name}: {tensor}: shape must be 1xHxWxC, 1xWxC or 1xC, got {list(dims)}")
        height, width, channels = ((1, 1, 1) + (dims[1:] if len(dims) > 1 else dims))[-3:]
        try:
            return Shape(height, width, channels)
        except RilletError as error:
            raise type(error)(f"{self.file.name}: {tensor}: {error}") from None

    def type(self, tensor: Tensor, shape: Shape | None = None) -> TensorType:
        """A value's type, in another shape than the tensor's where one is said.

        Raises Unsupported for element types that values cannot have.
        """
        dtype = None if tensor.code == tflite.TensorType.INT4 else _DTYPES.get(tensor.code)
        if dtype not in _VALUES:
            got = TYPE_NAMES.get(tensor.code, str(tensor.code))
            raise Unsupported(f"{self.file.name}: {tensor}: type must be INT8, UINT8, INT16 or FLOAT32, got {got}")
        shape = shape or self.shape(tensor)
        if dtype is DType.F32:
            return TensorType(shape)
        try:
            return TensorType(shape, dtype, self.quant(tensor))
        except RilletError as error:
            raise type(error)(f"{self.file.name}: {tensor}: {error}") from None

    def quant(self, tensor: Tensor) -> Quant:
        """The one scale and zero point of a tensor, whatever its shape; raises Unsupported for others."""
        if len(tensor.scales) != 1 or len(tensor.zeros) > 1:
            raise Unsupported(f"must have one scale, got {len(tensor.scales)}")
        return Quant(float(tensor.scales[0]), int(tensor.zeros[0]) if len(tensor.zeros) else 0)

    # -- inputs of an operator -------------------------------------------------------------------------------------

    def tensor(self, op: Operator, position: int) -> Tensor:
        """An input tensor, which must be there."""
        if position >= len(op.inputs) or op.inputs[position] < 0:
            raise self.fail(op, f"input {position} is missing")
        return self.file.tensors[op.inputs[position]]

    def node(self, name: str) -> Node:
        """A node by its name."""
        return next(node for node in (*self.nodes, *self.constants) if node.name == name)

    def computed(self, op: Operator, position: int) -> bool:
        """True where an input is made by the network, False where it is constant."""
        return self.tensor(op, position).data is None

    def pieces(self, op: Operator, position: int = 0) -> list[Node]:
        """The nodes that hold an input's bytes, one after another, each in a shape of its own."""
        tensor = self.tensor(op, position)
        names = self.values.get(tensor.index)
        if names is None:
            if tensor.data is not None:
                raise self.refuse(op, f"input must be computed, got the constant {tensor}")
            raise self.fail(op, f"reads {tensor} before it is made")
        if tensor.index in self.order:
            raise self.refuse(op, f"input must be 1xHxWxC, got the transposed {tensor}")
        return [self.node(name) for name in names]

    def plain(self, op: Operator, position: int = 0) -> bool:
        """True where an input is one node's value in the shape that the tensor has."""
        found, dims = self.pieces(op, position), self.tensor(op, position).dims
        lead = dims[0] == 1 if len(dims) > 1 else True
        return len(found) == 1 and lead and (1, 1, 1, *dims[1 if len(dims) > 1 else 0 :])[-3:] == found[0].shape.array

    def source(self, op: Operator, position: int = 0, flat: bool = False) -> Node:
        """The node whose value is an input; `flat` where the reader takes the values in whatever shape they have."""
        found, tensor = self.pieces(op, position), self.tensor(op, position)
        if len(found) > 1:
            raise self.refuse(op, f"input must be one map, got {tensor}, which is {len(found)} joined by their rows")
        if not flat and found[0].shape != self.shape(tensor):
            got = f"{tensor} as {self.shape(tensor)} of {found[0].shape}"
            raise self.refuse(op, f"input must not be reshaped, got {got}")
        return found[0]

    def constant(self, op: Operator, position: int, *dtypes: DType) -> Array:
        """A constant input as an array of its declared shape; raises Unsupported for other element types."""
        tensor = self.tensor(op, position)
        if tensor.data is None:
            raise self.refuse(op, f"input {position} must be constant, got {tensor}")
        dtype = _DTYPES.get(tensor.code)
        if dtype not in dtypes:
            got, wanted = TYPE_NAMES.get(tensor.code, str(tensor.code)), " or ".join(d.value for d in dtypes)
            raise self.refuse(op, f"{tensor} must be {wanted}, got {got}")
        array = constants.stored(self.file, tensor).astype(dtype.numpy)
        if dtype is DType.F32 and not np.isfinite(array).all():
            raise self.fail(op, f"{tensor} must be finite")
        return array

    def is_real_by_scale(self, op: Operator, position: int) -> bool:
        """True of a constant of signed integers, of eight bits or four, that stand for real values."""
        tensor = self.tensor(op, position)
        return tensor.data is not None and _DTYPES.get(tensor.code) is DType.I8

    def real_by_scale(self, op: Operator, position: int) -> Array:
        """The real values that such a constant stands for."""
        return constants.real(self.file, self.tensor(op, position))

    def known(self, op: Operator, position: int) -> bool:
        """True of integers that are constant, or known without running the network."""
        tensor = self.tensor(op, position)
        return tensor.index in self.folded or (
            tensor.data is not None and tensor.code in (tflite.TensorType.INT32, tflite.TensorType.INT64)
        )

    def widen(self, op: Operator) -> None:
        """The operator's output is its constant as float32: from here on a constant like those of the file."""
        tensor, out = self.tensor(op, 0), self.output(op)
        small = (tflite.TensorType.INT8, tflite.TensorType.UINT8, tflite.TensorType.INT4)
        if tensor.code not in (tflite.TensorType.FLOAT16, *small) or out.code != tflite.TensorType.FLOAT32:
            got = TYPE_NAMES.get(tensor.code, str(tensor.code))
            raise self.refuse(op, f"constant must be FLOAT16 or by a scale and become FLOAT32, got {tensor} of {got}")
        whole = tensor.code == tflite.TensorType.FLOAT16
        wide = constants.stored(self.file, tensor) if whole else constants.real(self.file, tensor)
        self._keep(op, wide.astype("<f4"), tensor)

    def densify(self, op: Operator) -> None:
        """The operator's output is its sparse constant with the zeros: from here on a constant like others."""
        tensor, out = self.tensor(op, 0), self.output(op)
        if tensor.data is None or tensor.code == tflite.TensorType.INT4 or out.code != tensor.code:
            got = TYPE_NAMES.get(tensor.code, str(tensor.code))
            raise self.refuse(op, f"input must be a constant of the output's type, got {tensor} of {got}")
        self._keep(op, constants.stored(self.file, tensor), tensor)

    def _keep(self, op: Operator, array: Array, tensor: Tensor) -> None:
        out = self.output(op)
        if tensor.dims != out.dims:
            raise self.fail(op, f"output must be {list(tensor.dims)}, got {list(out.dims)}")
        data = memoryview(np.ascontiguousarray(array).tobytes())
        self.file.tensors[out.index] = replace(out, data=data, buffer=tensor.buffer)

    def integers(self, op: Operator, position: int) -> list[int]:
        """A list of integers that is constant, or known without running the network."""
        tensor = self.tensor(op, position)
        if tensor.index in self.folded:
            return self.folded[tensor.index].reshape(-1).tolist()
        if tensor.data is not None and tensor.code == tflite.TensorType.INT64:
            return constants.stored(self.file, tensor).reshape(-1).tolist()
        return self.constant(op, position, DType.I32).reshape(-1).tolist()

    def operand(self, op: Operator, position: int, shape: Shape, broadcast: bool = True) -> Node:
        """An operand of arithmetic: computed, or a constant brought to one pixel or to the whole `shape`."""
        if self.computed(op, position):
            return self.source(op, position)
        tensor = self.tensor(op, position)
        array = self.constant(op, position, *_VALUES)
        dims = (1, 1, 1, 1, *array.shape)[-4:]
        one = broadcast and dims[:3] == (1, 1, 1)
        target = (1, 1, shape.channels) if one else shape.array
        try:
            value = np.ascontiguousarray(np.broadcast_to(array.reshape(dims)[0], target))
        except ValueError:
            raise self.refuse(op, f"{tensor} must broadcast to {shape}, got {list(tensor.dims)}") from None
        dtype = _DTYPES[tensor.code]
        try:
            # By its quantisation alone: the constant itself may have any shape that broadcasts, [] too.
            kind = TensorType(Shape(*target), dtype, None if dtype is DType.F32 else self.quant(tensor))
        except GraphError as error:
            raise GraphError(f"{self.file.name}: {tensor}: {error}") from None
        name = f"c{op.index}_{position}"
        return self.hold(name, Constant(dtype), kind, value, tensor.buffer)

    def hold(self, name: str, made: Constant, kind: TensorType, value: Array, buffer: int) -> Node:
        """A node for a constant of the file's `buffer`."""
        self.constants.append(Node(name, made, (), kind))
        self.params[f"{name}.value"] = value
        self.made_of[f"{name}.value"] = buffer
        return self.constants[-1]

    # -- outputs ---------------------------------------------------------------------------------------------------

    def output(self, op: Operator, position: int = 0) -> Tensor:
        """An output tensor, which must be there and not made before."""
        if position >= len(op.outputs) or op.outputs[position] < 0:
            raise self.fail(op, f"output {position} is missing")
        tensor = self.file.tensors[op.outputs[position]]
        if tensor.index in self.values or tensor.index in self.folded or tensor.data is not None:
            raise self.fail(op, f"output must be made once, got {tensor}")
        return tensor

    def add(
        self,
        op: Operator,
        made: Op,
        inputs: Sequence[Node],
        params: dict[str, Array] | None = None,
        position: int = 0,
        shape: Shape | None = None,
    ) -> None:
        """A node for one output of the operator; `shape` where it is not the tensor's, but has its values in order."""
        tensor = self.output(op, position)
        tensor = self._sized(op, made, inputs, tensor)
        name = f"t{tensor.index}"
        self._append(Node(name, made, tuple(node.name for node in inputs), self.type(tensor, shape)))
        self.params.update({f"{name}.{key}": array for key, array in (params or {}).items()})
        for key in params or {}:
            self.made_of[f"{name}.{key}"] = self.tensor(op, 2 if key == "bias" else 1).buffer
        self.set_pieces(op, [name], position)

    def add_piece(
        self, op: Operator, made: Op, inputs: Sequence[Node], shape: Shape, type: TensorType | None = None
    ) -> Node:
        """A node for a piece of the operator's output; `set_pieces` says which pieces it has.

        type: where it does not follow from the tensor.
        """
        tensor = self.output(op)
        name = f"t{tensor.index}_{len(self.nodes)}"
        type = type or self.type(tensor, shape)
        return self._append(Node(name, made, tuple(node.name for node in inputs), type))

    def add_step(
        self,
        op: Operator,
        made: Op,
        inputs: Sequence[Node],
        type: TensorType,
        params: Mapping[str, Array] | None = None,
    ) -> Node:
        """A node on the way to the operator's output, for which the file has no tensor."""
        name = f"s{op.index}_{len(self.nodes)}"
        for key, array in (params or {}).items():
            self.params[f"{name}.{key}"] = array
            self.made_of[f"{name}.{key}"] = -1 - op.index  # laid otherwise than in any buffer
        return self._append(Node(name, made, tuple(node.name for node in inputs), type))

    def same_dims(self, op: Operator) -> None:
        """The operator's output has the dimensions of its input; raises GraphError where the file says others."""
        tensor, dims = self.output(op), self.tensor(op, 0).dims
        if tensor.open:
            self.set_dims(op, tensor, dims)
        elif tensor.dims != dims:
            raise self.fail(op, f"output must be {list(dims)}, got {list(tensor.dims)}")

    def set_pieces(self, op: Operator, names: Sequence[str], position: int = 0) -> None:
        """The operator's output are these nodes, made for it, one after another."""
        tensor, start = self.output(op, position), 0
        for name in names:
            self.tensor_of[name] = tensor.index
            if start:
                self.starts[name] = start
            start += self.node(name).shape.elements
        self.values[tensor.index] = tuple(names)

    def same_type(self, op: Operator, source: Node, position: int = 0) -> None:
        """Raises Unsupported where an output has another type or quantisation than a value that it copies."""
        if source.type == indices(source.shape):
            self.need_indices(op, position)
            return
        out = self.type(self.output(op, position), source.shape)
        if out.dtype is not source.type.dtype or out.quant != source.type.quant:
            raise self.refuse(op, "output must have the type, scale and zero point of the input")

    def need_indices(self, op: Operator, position: int = 0) -> None:
        """Raises Unsupported unless an output has a type that places along an axis may have."""
        code = self.output(op, position).code
        if code not in INDICES:
            raise self.refuse(op, f"output must be INT32 or INT64, got {TYPE_NAMES.get(code, str(code))}")

    def _append(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def _sized(self, op: Operator, made: Op, inputs: Sequence[Node], tensor: Tensor) -> Tensor:
        """The tensor with the shape that follows from the inputs', where the file leaves it open."""
        if not tensor.open:
            return tensor
        try:
            shape = output_shape(made, tuple(node.shape for node in inputs), Shape(1, 1, 1))
        except RilletError as error:
            raise type(error)(f"{self.file.name}: {op}: {error}") from None
        return self.set_dims(op, tensor, (1, *shape.array)[-len(tensor.dims) :] if len(tensor.dims) > 1 else ())

    def set_dims(self, op: Operator, tensor: Tensor, dims: Sequence[int]) -> Tensor:
        """A tensor whose shape the file leaves open, with these dimensions."""
        if len(dims) != len(tensor.dims) or min(dims, default=1) < 1:
            raise self.fail(op, f"output must have {len(tensor.dims)} dimensions of at least 1, got {list(dims)}")
        made = self.file.tensors[tensor.index] = replace(tensor, dims=tuple(dims), open=False)
        return made

    def add_input(self, index: int) -> None:
        """The node of the network's input."""
        tensor = self.file.tensors[index]
        if tensor.index in self.values or tensor.data is not None:
            raise GraphError(f"{self.file.name}: input must be made once, got {tensor}")
        self.nodes.append(Node(f"t{index}", Input(), (), self.type(tensor)))
        self.values[index] = (f"t{index}",)
        self.tensor_of[f"t{index}"] = index

    def alias(self, op: Operator, position: int = 0) -> None:
        """The operator's output has the bytes of its input, perhaps in another shape of as many values.

        An input vector that is first of all reshaped takes the new shape itself.
        """
        found, tensor = self.pieces(op, position), self.output(op)
        total, source = sum(node.shape.elements for node in found), found[0]
        if math.prod(tensor.dims) != total:
            raise self.fail(op, f"output must have {total} values, got {'x'.join(map(str, tensor.dims))}")
        self.same_type(op, source)
        first = source.shape.pixels == 1 and self._unread(source) and len(tensor.dims) <= 4
        if first and self.shape(tensor) != source.shape:
            self._retype(source, self.type(tensor))
        self.values[tensor.index] = tuple(node.name for node in found)

    def view(self, op: Operator, order: Sequence[int]) -> None:
        """The operator's output is its input with the dimensions in another order.

        Bytes do not move in a graph: the view is remembered, and the operator that turns it back finds the map again. A
        network's input that is first of all turned from 1xCxHxW to 1xHxWxC is 1xHxWxC in the graph.
        """
        tensor, out = self.tensor(op, 0), self.output(op)
        if tensor.index not in self.values:
            raise self.fail(op, f"reads {tensor} before it is made")
        names = self.values[tensor.index]
        if len(names) != 1:
            raise self.refuse(op, f"input must be one map, got {len(names)} joined by their rows")
        node = self.node(names[0])
        before = self.order.get(tensor.index, tuple(range(len(tensor.dims))))
        after = tuple(before[axis] for axis in order)
        if self._unread(node) and tuple(order) == _TO_CHANNELS_LAST and tensor.index not in self.order:
            node = self._retype(node, self.type(out))
            self.order[tensor.index], after = _TO_CHANNELS_FIRST, tuple(range(4))
        dims = (1, *node.shape.array)
        self.values[out.index] = (node.name,)
        if len(after) == 4 and tuple(dims[axis] for axis in after) != out.dims:
            raise self.fail(op, f"output must be {[dims[axis] for axis in after]}, got {list(out.dims)}")
        if after != tuple(range(len(after))):
            self.order[out.index] = after

    def _unread(self, node: Node) -> bool:
        """True for an input that no node has read yet."""
        return isinstance(node.op, Input) and not any(node.name in other.inputs for other in self.nodes)

    def _retype(self, node: Node, type: TensorType) -> Node:
        """An input in another shape."""
        made = replace(node, type=type)
        self.nodes[self.nodes.index(node)] = made
        return made

    def finish(self, name: str) -> tuple[Graph, dict[str, int], dict[str, int]]:
        """The graph, the tensor of each node that holds values of one, and where they begin where not with it."""
        outputs: list[str] = []
        for index in self.file.outputs:
            if self.file.tensors[index].data is not None:
                raise Unsupported(f"{self.file.name}: output must follow from the input, got a constant")
            if index not in self.values:
                raise GraphError(f"{self.file.name}: output {self.file.tensors[index]} is never made")
            outputs += self.values[index]
        count = sum(isinstance(node.op, Input) for node in self.nodes)
        nodes, renamed = name_nodes((*self.nodes[:count], *self.constants, *self.nodes[count:]))
        arrays: dict[str, Array] = {}
        made_of: dict[str, Hashable] = {}
        for key, array in self.params.items():
            node, _, param = key.partition(".")
            arrays[f"{renamed[node]}.{param}"] = array
            made_of[f"{renamed[node]}.{param}"] = (param, self.made_of[key])
        params, shared = each_once(arrays, made_of)
        try:
            graph = Graph(name, nodes, tuple(renamed[n] for n in outputs), params, None, shared)
        except RilletError as error:
            raise type(error)(f"{self.file.name}: {error}") from None
        starts = {renamed[n]: start for n, start in self.starts.items()}
        return graph, {renamed[n]: t for n, t in self.tensor_of.items()}, starts
