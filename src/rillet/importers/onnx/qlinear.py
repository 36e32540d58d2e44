"""Import of quantised ONNX operators to a draft: DequantizeLinear, the operation in float32, QuantizeLinear."""

from collections.abc import Callable

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx.builder import BYTES, Builder, Floats, Known, Result, Stored, finite
from rillet.importers.onnx.file import MICROSOFT, Operator
from rillet.importers.onnx.layout import operands
from rillet.importers.onnx.norms import softmax
from rillet.importers.onnx.operators import Handler, activate, concat
from rillet.importers.onnx.views import View
from rillet.importers.onnx.windows import convolve, dense, global_pool, pool, row_bias
from rillet.ir.graph import Array
from rillet.ir.ops import Activation, Add, Multiply, Op, PoolKind
from rillet.ir.types import DType

import onnx  # isort: skip

_OUTPUT_TYPES = {0: DType.U8, onnx.TensorProto.UINT8: DType.U8, onnx.TensorProto.INT8: DType.I8}


def _plain(op: Operator) -> None:
    if op.integer("block_size", 0):
        raise Unsupported("must have one scale, or one a channel, got blocks")


def _quantize(b: Builder, op: Operator) -> Result:
    _plain(op)
    default = _OUTPUT_TYPES.get(op.integer("output_dtype", 0))
    if default is None:
        raise Unsupported(f"type must be INT8 or UINT8, got {op.integer('output_dtype', 0)}")
    found = b.value(op, 0)
    if isinstance(found, Known):
        return _quantized_constant(b, op, finite(found.array, "input 0"), default)
    dtype, quant = b.quant(op, 1, default)
    return b.requantized(op.outputs[0], b.real(op), dtype, quant)


def _quantized_constant(b: Builder, op: Operator, array: Floats, default: DType) -> Known:
    scale, zero = _scales(b, op, 1, default)
    axis = _check_axis(scale, array, op.integer("axis", 1))
    if zero.dtype not in BYTES:
        raise Unsupported(f"type must be INT8 or UINT8, got {zero.dtype.name.upper()}")
    shape = [1] * array.ndim
    if scale.size > 1:
        shape[axis] = -1
    low, high = BYTES[zero.dtype].integers
    with np.errstate(over="ignore"):
        steps = np.rint(array / scale.reshape(shape)).astype(np.float64) + zero.reshape(shape).astype(np.float64)
    return Known(np.clip(steps, low, high).astype(zero.dtype))


def _scales(b: Builder, op: Operator, position: int, default: DType) -> tuple[Floats, Array]:
    """A scale, or one a channel, and as many zero points."""
    scale = b.floats(op, position).reshape(-1)
    given = b.has(op, position + 1)
    zero = b.known(op, position + 1).array.reshape(-1) if given else np.zeros(scale.size, default.numpy)
    if not (scale > 0).all() or not scale.size or zero.size != scale.size or zero.dtype.kind not in "iu":
        raise GraphError(f"scales must be positive numbers with a zero point each, got {scale.size} and {zero.size}")
    return scale, zero


def _check_axis(scale: Array, array: Array, axis: int) -> int:
    if scale.size == 1:
        return 0
    if not -array.ndim <= axis < array.ndim or array.shape[axis] != scale.size:
        raise GraphError(f"scales must be one for each index of axis {axis} of {list(array.shape)}, got {scale.size}")
    return axis % array.ndim


def _dequantize(b: Builder, op: Operator) -> Result:
    _plain(op)
    found = b.value(op, 0)
    if isinstance(found, Known):
        return _stored(b, op, found, 1, op.integer("axis", 1))
    return _real(b, op, 0, op.outputs[0])


def _stored(b: Builder, op: Operator, found: Known, position: int, axis: int) -> Known:
    """A constant with the scale and zero point at `position`."""
    integers = found.array
    if integers.dtype not in (*BYTES, np.dtype(np.int32)):
        raise Unsupported(f"type must be INT8, UINT8 or INT32, got {integers.dtype.name.upper()}")
    scale, zero = _scales(b, op, position, BYTES.get(integers.dtype, DType.I32))
    if zero.dtype != integers.dtype:
        raise GraphError(f"zero point must be {integers.dtype.name.upper()}, got {zero.dtype.name.upper()}")
    b.spend(4 * integers.size)
    stored = Stored(integers, scale, zero, _check_axis(scale, integers, axis))
    return Known(None, stored, op.inputs[position - 1], found.source)


def _real(b: Builder, op: Operator, position: int, name: str = "") -> View:
    """A quantised input as float32 values; its scale and zero point are the two inputs behind it."""
    view = b.view(op, position)
    kind = b.node(view).type
    dtype, quant = b.quant(op, position + 1, kind.dtype if kind.quant else DType.U8)
    if kind.quant != quant or kind.dtype is not dtype:
        raise Unsupported(f"scale and zero point must be those that input {position} was quantised with")
    return b.requantized(name or f"{op.inputs[position]}/real", view, DType.F32, None)


def _operand(b: Builder, op: Operator, position: int) -> Result:
    """A quantised operand as float32 values, computed or constant."""
    found = b.value(op, position)
    return _stored(b, op, found, position + 1, 0) if isinstance(found, Known) else _real(b, op, position)


def _back(b: Builder, op: Operator, made: View, position: int) -> View:
    """The result under the scale and zero point at `position`."""
    dtype, quant = b.quant(op, position)
    return b.requantized(op.outputs[0], made, dtype, quant)


def _inner(op: Operator) -> str:
    return f"{op.outputs[0]}/exact"


def _bias(b: Builder, op: Operator, position: int, weight: Known) -> Known | None:
    """A bias of int32 under the product of the scales of input and weights."""
    if not b.has(op, position):
        return None
    given = b.known(op, position)
    array = given.array
    if array.dtype != np.int32 or weight.stored is None:
        raise GraphError(f"bias must be INT32, got {array.dtype.name.upper()}")
    scale = weight.stored.scale * b.floats(op, 1).reshape(-1)
    if scale.size > 1:
        _check_axis(scale, array.reshape(-1), 0)
    stored = Stored(array, scale, np.zeros(1, np.int32), max(array.ndim - 1, 0))
    return Known(None, stored, source=given.source)


def _conv(b: Builder, op: Operator) -> View:
    weight = _stored(b, op, b.known(op, 3), 4, 0)
    made = convolve(b, op, _inner(op), _real(b, op, 0), weight, _bias(b, op, 8, weight))
    return _back(b, op, made, 6)


def _matmul(b: Builder, op: Operator) -> View:
    weight = _stored(b, op, b.known(op, 3), 4, 1)
    return _back(b, op, dense(b, _inner(op), _real(b, op, 0), weight, False, None), 6)


def _gemm(b: Builder, op: Operator) -> View:
    transposed = op.integer("transB", 0) != 0
    weight = _stored(b, op, b.known(op, 3), 4, 0 if transposed else 1)
    bias = _bias(b, op, 6, weight)
    source, factor = _real(b, op, 0), op.real("alpha", 1.0)
    if op.integer("transA", 0) or source.rank != 2 or source.dims[0] != 1:
        raise Unsupported(f"input must be one vector, got {source}")
    name = _inner(op) if b.has(op, 7) else op.outputs[0]
    made = dense(b, name, source, weight, transposed, bias and row_bias(bias, factor), factor)
    return _back(b, op, made, 7) if b.has(op, 7) else made


def _arithmetic(made: Op) -> Handler:
    def handle(b: Builder, op: Operator) -> View:
        left, right = _operand(b, op, 0), _operand(b, op, 3)
        names = op.inputs[0], op.inputs[3]
        if isinstance(left, Known):
            left, right, names = right, left, names[::-1]
        if isinstance(left, Known):
            raise Unsupported("must have a computed input")
        if isinstance(right, Known):
            nodes, layout = (b.node(left), b.constant(names[1], left, right)), left
        else:
            first, second, layout = operands(b, _inner(op), left, right, ordered=False)
            nodes = first, second
        return _back(b, op, layout.on(b.make(_inner(op), made, nodes)), 6)

    return handle


def _unary(made: Callable[[Builder, Operator, View], View]) -> Handler:
    """An operator whose inputs are x, its scale and zero point, and those of the result."""
    return lambda b, op: _back(b, op, made(b, op, _real(b, op, 0)), 3)


def _channels_first(op: Operator) -> Operator:
    if op.integer("channels_last", 0):
        raise Unsupported("must be 1xCxHxW, got channels_last")
    return op


def _average(b: Builder, op: Operator, source: View) -> View:
    return pool(b, _channels_first(op), _inner(op), source.need_map(), PoolKind.AVERAGE)


def _global(b: Builder, op: Operator, source: View) -> View:
    return global_pool(b, _inner(_channels_first(op)), source, PoolKind.AVERAGE)


def _sigmoid(b: Builder, op: Operator, source: View) -> View:
    return activate(b, _inner(op), source, Activation.SIGMOID)


def _softmax(b: Builder, op: Operator, source: View) -> View:
    return softmax(b, op, _inner(op), source, op.integer("opset", b.file.opset))


def _concat(b: Builder, op: Operator) -> View:
    triples = range(2, len(op.inputs), 3)
    parts = [_real(b, op, i) for i in triples]
    return _back(b, op, concat(b, op, _inner(op), parts), 0)


HANDLERS: dict[str, Handler] = {
    "DequantizeLinear": _dequantize,
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "QuantizeLinear": _quantize,
    f"{MICROSOFT}.QGemm": _gemm,
    f"{MICROSOFT}.QLinearAdd": _arithmetic(Add()),
    f"{MICROSOFT}.QLinearAveragePool": _unary(_average),
    f"{MICROSOFT}.QLinearConcat": _concat,
    f"{MICROSOFT}.QLinearGlobalAveragePool": _unary(_global),
    f"{MICROSOFT}.QLinearMul": _arithmetic(Multiply()),
    f"{MICROSOFT}.QLinearSigmoid": _unary(_sigmoid),
    f"{MICROSOFT}.QLinearSoftmax": _unary(_softmax),
}
NOTES: dict[str, tuple[str, str]] = {
    "DequantizeLinear": (
        "requantize, or nothing",
        "int8, uint8, int32 biases; one scale, or one a channel of weights",
    ),
    "QLinearConv": ("conv", "as Conv"),
    "QLinearMatMul": ("conv", "as MatMul, without a bias"),
    "QuantizeLinear": ("requantize, or nothing", "to int8 or uint8; one scale, or one a channel of weights"),
    f"{MICROSOFT}.QGemm": ("conv over the full tensor", "as Gemm"),
    f"{MICROSOFT}.QLinearAdd": ("add", "as Add"),
    f"{MICROSOFT}.QLinearAveragePool": ("pool", "as AveragePool, channels first"),
    f"{MICROSOFT}.QLinearConcat": ("concat", "as Concat"),
    f"{MICROSOFT}.QLinearGlobalAveragePool": ("global pool", "channels first"),
    f"{MICROSOFT}.QLinearMul": ("multiply", "as Mul"),
    f"{MICROSOFT}.QLinearSigmoid": ("activate", ""),
    f"{MICROSOFT}.QLinearSoftmax": ("softmax", "as Softmax"),
}
"""What each operator becomes in a graph, and its limits."""
