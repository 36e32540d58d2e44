"""Builds a draft graph from a file's operators: the node of each tensor, and the constant tensors.

In a draft all arithmetic is in float32, as in the file: QuantizeLinear and DequantizeLinear are Requantize nodes,
and quantised weights wait beside their convolutions. `quantized.py` then makes integer operations of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError, Unsupported
from rillet.importers.axes import Dims
from rillet.importers.onnx.draft import Draft
from rillet.importers.onnx.file import File, Operator
from rillet.importers.onnx.views import Joined, View, constant_like
from rillet.ir.graph import Array, Node
from rillet.ir.ops import Constant, Op, Requantize, output_shape
from rillet.ir.types import DType, Quant, Shape, TensorType

MAX_ARRAY_BYTES = 2**31
"""Bytes of all arrays made while a file is read; keeps a file from using one constant a thousand times."""
Floats = npt.NDArray[np.float32]
_ONE = Shape(1, 1, 1)
BYTES: dict[np.dtype[np.generic], DType] = {np.dtype(np.int8): DType.I8, np.dtype(np.uint8): DType.U8}
"""Element types of quantised values."""


@dataclass(frozen=True)
class Stored:
    """Integers that stand for scale * (integer - zero): one scale, or one for each index along `axis`."""

    integers: Array
    scale: Floats
    zero: Array
    axis: int

    @property
    def real(self) -> Floats:
        """The values, dequantised to float32."""
        shape = [1] * self.integers.ndim
        if self.scale.size > 1:
            shape[self.axis] = -1
        wide = np.float64 if self.integers.dtype.itemsize > 1 else np.float32
        centred = self.integers.astype(wide) - self.zero.reshape(shape).astype(wide)
        return (centred * self.scale.reshape(shape)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor that does not depend on the network's input: an array, or stored integers that are dequantised.

    Two are equal where they are one and the same.
    """

    given: Array | None
    stored: Stored | None = None
    name: str = ""
    """What the file calls the stored integers."""
    source: str = ""
    """The constant of the file that it follows from, perhaps turned, scaled or dequantised."""

    @property
    def dims(self) -> tuple[int, ...]:
        """Lengths of its dimensions."""
        return self.stored.integers.shape if self.stored is not None else self.array.shape

    @cached_property
    def array(self) -> Array:
        """Its values."""
        if self.given is not None:
            return self.given
        assert self.stored is not None
        return self.stored.real


Result = View | Known
Made = Result | Joined
"""What an operator makes."""


@dataclass
class Builder:
    """The draft so far. Handlers of operators read their inputs from it and add nodes to it."""

    file: File
    draft: Draft = field(default_factory=Draft)
    values: dict[str, Made] = field(default_factory=dict[str, Made])
    """Every tensor made so far, by its name."""
    quantized: dict[tuple[str, TensorType], str] = field(default_factory=dict[tuple[str, TensorType], str])
    """The node that holds another's value under a quantisation; files may quantise a value once for each reader."""
    constants: dict[tuple[Known, Shape, Dims], str] = field(default_factory=dict[tuple[Known, Shape, Dims], str])
    """The nodes of constant operands, each for one layout."""
    array_bytes: int = 0

    def spend(self, size: int) -> None:
        """Counts bytes of arrays to be made; raises GraphError where there are too many."""
        self.array_bytes += size
        if self.array_bytes > MAX_ARRAY_BYTES:
            raise GraphError(f"constants must take at most {MAX_ARRAY_BYTES} bytes in all")

    # -- inputs of an operator -------------------------------------------------------------------------------------

    def has(self, op: Operator, position: int) -> bool:
        """True where an input is not left out."""
        return position < len(op.inputs) and op.inputs[position] != ""

    def gives_more(self, op: Operator) -> bool:
        """True where something reads an output other than the first."""
        return not self.file.read.isdisjoint(op.outputs[1:])

    def value(self, op: Operator, position: int) -> Result:
        """An input, which must be there."""
        if not self.has(op, position):
            raise GraphError(f"input {position} is missing")
        found = self.named(op.inputs[position])
        if isinstance(found, Joined):
            raise Unsupported(f"input {position} must be one map, got {found}, which is {len(found.pieces)} joined")
        return found

    def named(self, name: str) -> Made:
        """The tensor called `name`."""
        found = self.values.get(name)
        if found is None:
            tensor = self.file.tensors.get(name)
            if tensor is None:
                raise GraphError(f"reads {name[:60]!r} before it is made")
            array = self.file.array(tensor)
            self.spend(array.nbytes)
            found = self.values[name] = Known(array, source=name)
        return found

    def view(self, op: Operator, position: int = 0, expanded: bool = False) -> View:
        """An input that is computed; `expanded` where the reader takes one that repeats values."""
        found = self.value(op, position)
        if isinstance(found, Known):
            raise Unsupported(f"input {position} must be computed, got the constant {op.inputs[position][:60]!r}")
        if found.expanded and not expanded:
            raise Unsupported(f"input {position} must not be expanded, got {found}")
        return found

    def real(self, op: Operator, position: int = 0, expanded: bool = False) -> View:
        """A computed input of float32 values."""
        view = self.view(op, position, expanded)
        dtype = self.node(view).type.dtype
        if dtype is not DType.F32:
            raise Unsupported(f"input {position} must be FLOAT, got {dtype.numpy.name.upper()}")
        return view

    def map(self, op: Operator) -> View:
        """A computed input of float32 values that is 1xCxHxW."""
        return self.real(op).need_map()

    def known(self, op: Operator, position: int) -> Known:
        """A constant input."""
        found = self.value(op, position)
        if isinstance(found, View):
            raise Unsupported(f"input {position} must be constant, got the computed {op.inputs[position][:60]!r}")
        return found

    def floats(self, op: Operator, position: int) -> Floats:
        """A constant input of finite float32 values."""
        return finite(self.known(op, position).array, f"input {position}")

    def integers(self, op: Operator, position: int) -> list[int]:
        """A constant list of integers."""
        array = self.known(op, position).array
        if array.dtype.kind != "i" or array.ndim > 1:
            raise GraphError(f"input {position} must be a list of integers, got {array.dtype} of {list(array.shape)}")
        return [int(i) for i in array.reshape(-1)]

    def number(self, op: Operator, position: int, default: float) -> float:
        """A constant number, or the default where it is left out."""
        if not self.has(op, position):
            return default
        array = self.known(op, position).array
        if array.size != 1:
            raise GraphError(f"input {position} must be one number, got {list(array.shape)}")
        return float(array.reshape(-1)[0])

    def quant(self, op: Operator, position: int, default: DType = DType.U8) -> tuple[DType, Quant]:
        """Element type and quantisation that a constant scale, and the zero point behind it, say of a tensor."""
        scale = self.floats(op, position)
        zero = self.known(op, position + 1).array if self.has(op, position + 1) else np.zeros(1, default.numpy)
        dtype = BYTES.get(zero.dtype)
        if dtype is None:
            raise Unsupported(f"type must be INT8 or UINT8, got {zero.dtype.name.upper()}")
        if scale.size != 1 or zero.size != 1:
            raise Unsupported(f"must have one scale and one zero point, got {scale.size} and {zero.size}")
        return dtype, Quant(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]))

    # -- nodes -----------------------------------------------------------------------------------------------------

    def node(self, view: View) -> Node:
        """The node that holds a view's values."""
        return self.draft.nodes[view.node]

    def make(
        self,
        name: str,
        op: Op,
        inputs: Sequence[Node],
        params: Mapping[str, Array] | None = None,
        type: TensorType | None = None,
    ) -> Node:
        """A node called `name`, or nearly so; of the first input's type unless told otherwise."""
        shape = output_shape(op, tuple(node.shape for node in inputs), type.shape if type else _ONE)
        if type is None:
            type = TensorType(shape, inputs[0].type.dtype, inputs[0].type.quant)
        node = Node(self.draft.fresh(name), op, tuple(node.name for node in inputs), type)
        self.spend(sum(array.nbytes for array in (params or {}).values()))
        self.draft.add(node, params)
        return node

    def requantized(self, name: str, view: View, dtype: DType, quant: Quant | None) -> View:
        """The view under another quantisation."""
        return replace(view, node=self._requantized(name, self.node(view), dtype, quant).name)

    def _requantized(self, name: str, node: Node, dtype: DType, quant: Quant | None) -> Node:
        kind = TensorType(node.shape, dtype, quant)
        if kind == node.type:
            return node
        if quant is None:
            return self.make(name, Requantize(), [node], type=kind)
        made = self.quantized.get((node.name, kind)) or self.make(name, Requantize(), [node], type=kind).name
        self.quantized[node.name, kind] = made
        return self.draft.nodes[made]

    def constant(self, name: str, view: View, known: Known, whole: bool = False) -> Node:
        """A constant operand of `view`: float32 values, dequantised where the file stores it so."""
        stored = known.stored
        if stored is None or stored.scale.size > 1 or stored.integers.dtype not in BYTES:
            finite(known.array, f"constant {name[:60]!r}")
            return self._constant(name, view, known, known.array, None, whole)
        quant = Quant(float(stored.scale.reshape(-1)[0]), int(stored.zero.reshape(-1)[0]))
        kept = self._constant(known.name, view, known, stored.integers, quant, whole)
        return self._requantized(f"{known.name}/real", kept, DType.F32, None)

    def _constant(self, name: str, view: View, known: Known, array: Array, quant: Quant | None, whole: bool) -> Node:
        value = constant_like(view, array, whole)
        key = (known, Shape(*value.shape), view.axes)
        if key not in self.constants:
            dtype = BYTES.get(value.dtype, DType.F32)
            kind = TensorType(Shape(*value.shape), dtype, quant)
            self.draft.follows(value, known.source)
            self.constants[key] = self.make(name, Constant(dtype), [], {"value": value}, kind).name
        return self.draft.nodes[self.constants[key]]


def finite(array: Array, what: str) -> Floats:
    """The array, if it holds finite float32 values."""
    if array.dtype != np.float32:
        raise Unsupported(f"{what} must be of type FLOAT, got {array.dtype.name.upper()}")
    real = array.astype(np.float32, copy=False)
    wrong = real[~np.isfinite(real)]
    if wrong.size:
        raise GraphError(f"{what} must be finite numbers, got {wrong.size} that are not, as {wrong[0]:g}")
    return real
