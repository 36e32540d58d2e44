"""Builds a graph from a file's tensors: the node that computes each, the constants, and their names."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.naming import name_nodes
from rillet.importers.tflite.file import TYPE_NAMES, File, Operator, Tensor
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Constant, Input, Op
from rillet.ir.sharing import each_once
from rillet.ir.types import DType, Quant, Shape, TensorType

import tflite  # isort: skip

_DTYPES = {
    tflite.TensorType.INT8: DType.I8,
    tflite.TensorType.UINT8: DType.U8,
    tflite.TensorType.INT32: DType.I32,
    tflite.TensorType.FLOAT32: DType.F32,
}
_VALUES = (DType.I8, DType.U8, DType.F32)


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
        self.values: dict[int, str] = {}
        """Node that holds a tensor's bytes, by tensor."""
        self.folded: dict[int, Array] = {}
        """Integer tensors that are known without running the network (shapes)."""
        self.tensor_of: dict[str, int] = {}
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

    def type(self, tensor: Tensor) -> TensorType:
        """A value's type; raises Unsupported for element types that values cannot have."""
        dtype = _DTYPES.get(tensor.code)
        if dtype not in _VALUES:
            got = TYPE_NAMES.get(tensor.code, str(tensor.code))
            raise Unsupported(f"{self.file.name}: {tensor}: type must be INT8, UINT8 or FLOAT32, got {got}")
        if dtype is DType.F32:
            return TensorType(self.shape(tensor))
        try:
            return TensorType(self.shape(tensor), dtype, self.quant(tensor))
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

    def source(self, op: Operator, position: int = 0, flat: bool = False) -> Node:
        """The node whose value is an input; `flat` where the reader takes a map as one long vector."""
        tensor = self.tensor(op, position)
        name = self.values.get(tensor.index)
        if name is None:
            if tensor.data is not None:
                raise self.refuse(op, f"input must be computed, got the constant {tensor}")
            raise self.fail(op, f"reads {tensor} before it is made")
        node = self.node(name)
        if tensor.index in self.order:
            raise self.refuse(op, f"input must be 1xHxWxC, got the transposed {tensor}")
        if node.shape != self.shape(tensor) and not flat:
            raise self.refuse(op, f"input must not be reshaped, got {tensor} as {self.shape(tensor)} of {node.shape}")
        return node

    def constant(self, op: Operator, position: int, *dtypes: DType) -> Array:
        """A constant input as an array of its declared shape; raises Unsupported for other element types."""
        tensor = self.tensor(op, position)
        if tensor.data is None:
            raise self.refuse(op, f"input {position} must be constant, got {tensor}")
        dtype = _DTYPES.get(tensor.code)
        if dtype not in dtypes:
            got, wanted = TYPE_NAMES.get(tensor.code, str(tensor.code)), " or ".join(d.value for d in dtypes)
            raise self.refuse(op, f"{tensor} must be {wanted}, got {got}")
        size = int(np.prod([int(d) for d in tensor.dims], dtype=object)) * dtype.numpy.itemsize
        if len(tensor.data) != size:
            raise self.fail(op, f"{tensor} must have {size} bytes, got {len(tensor.data)}")
        array = np.frombuffer(tensor.data, dtype.numpy.newbyteorder("<")).astype(dtype.numpy).reshape(tensor.dims)
        if dtype is DType.F32 and not np.isfinite(array).all():
            raise self.fail(op, f"{tensor} must be finite")
        return array

    def widen(self, op: Operator) -> None:
        """The operator's output is its float16 constant as float32: from here on a constant like those of the file."""
        tensor, out = self.tensor(op, 0), self.output(op)
        if tensor.code != tflite.TensorType.FLOAT16 or out.code != tflite.TensorType.FLOAT32:
            got = TYPE_NAMES.get(tensor.code, str(tensor.code))
            raise self.refuse(op, f"constant must be FLOAT16 and become FLOAT32, got {tensor} of {got}")
        assert tensor.data is not None
        if len(tensor.data) != 2 * math.prod(tensor.dims) or tensor.dims != out.dims:
            size = 2 * math.prod(out.dims)
            raise self.fail(op, f"{tensor} must have {size} bytes for {list(out.dims)}, got {len(tensor.data)}")
        wide = np.frombuffer(tensor.data, "<f2").astype("<f4")
        self.file.tensors[out.index] = replace(out, data=memoryview(wide.tobytes()), buffer=tensor.buffer)

    def integers(self, op: Operator, position: int) -> list[int]:
        """A list of integers that is constant, or known without running the network."""
        tensor = self.tensor(op, position)
        if tensor.index in self.folded:
            return self.folded[tensor.index].reshape(-1).tolist()
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
        self.constants.append(Node(name, Constant(dtype), (), kind))
        self.params[f"{name}.value"] = value
        self.made_of[f"{name}.value"] = tensor.buffer
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
        self, op: Operator, made: Op, inputs: Sequence[Node], params: dict[str, Array] | None = None, position: int = 0
    ) -> None:
        """A node for one output of the operator."""
        tensor = self.output(op, position)
        name = f"t{tensor.index}"
        self.nodes.append(Node(name, made, tuple(node.name for node in inputs), self.type(tensor)))
        self.params.update({f"{name}.{key}": array for key, array in (params or {}).items()})
        for key in params or {}:
            self.made_of[f"{name}.{key}"] = self.tensor(op, 2 if key == "bias" else 1).buffer
        self.values[tensor.index] = name
        self.tensor_of[name] = tensor.index

    def add_input(self, index: int) -> None:
        """The node of the network's input."""
        tensor = self.file.tensors[index]
        if tensor.index in self.values or tensor.data is not None:
            raise GraphError(f"{self.file.name}: input must be made once, got {tensor}")
        self.nodes.append(Node(f"t{index}", Input(), (), self.type(tensor)))
        self.values[index] = f"t{index}"
        self.tensor_of[f"t{index}"] = index

    def alias(self, op: Operator, source: Node) -> None:
        """The operator's output has the bytes of `source`, perhaps in another shape of as many values.

        An input vector that is first of all reshaped takes the new shape itself.
        """
        tensor = self.output(op)
        out = self.type(tensor)
        if out.dtype is not source.type.dtype or out.quant != source.type.quant:
            raise self.refuse(op, "output must have the type, scale and zero point of the input")
        if out.shape.elements != source.shape.elements:
            raise self.fail(op, f"output must have {source.shape.elements} values, got {out.shape}")
        if out.shape != source.shape and source.shape.pixels == 1 and len(self.nodes) == 1:
            self.nodes[0] = Node(source.name, source.op, (), out)
        self.values[tensor.index] = source.name

    def view(self, op: Operator, order: Sequence[int]) -> None:
        """The operator's output is its input with the dimensions in another order.

        Bytes do not move in a graph: the view is remembered, and the operator that turns it back finds the map again. A
        network's input that is first of all turned from 1xCxHxW to 1xHxWxC is 1xHxWxC in the graph.
        """
        tensor, out = self.tensor(op, 0), self.output(op)
        if tensor.index not in self.values:
            raise self.fail(op, f"reads {tensor} before it is made")
        node = self.node(self.values[tensor.index])
        before = self.order.get(tensor.index, tuple(range(len(tensor.dims))))
        after = tuple(before[axis] for axis in order)
        if len(self.nodes) == 1 and tuple(order) == _TO_CHANNELS_LAST and tensor.index not in self.order:
            node = self.nodes[0] = Node(node.name, node.op, (), self.type(out))
            self.order[tensor.index], after = _TO_CHANNELS_FIRST, tuple(range(4))
        dims = (1, *node.shape.array)
        self.values[out.index] = node.name
        if len(after) == 4 and tuple(dims[axis] for axis in after) != out.dims:
            raise self.fail(op, f"output must be {[dims[axis] for axis in after]}, got {list(out.dims)}")
        if after != tuple(range(len(after))):
            self.order[out.index] = after

    def finish(self, name: str) -> tuple[Graph, dict[str, int]]:
        """The graph, and the tensor of each node that stands for one."""
        outputs: list[str] = []
        for index in self.file.outputs:
            if self.file.tensors[index].data is not None:
                raise Unsupported(f"{self.file.name}: output must follow from the input, got a constant")
            if index not in self.values:
                raise GraphError(f"{self.file.name}: output {self.file.tensors[index]} is never made")
            outputs.append(self.values[index])
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
        return graph, {renamed[n]: t for n, t in self.tensor_of.items()}
