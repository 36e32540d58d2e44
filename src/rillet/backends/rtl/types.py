"""Which types of values each layer's hardware knows: bytes, signs of one bit, and sums that none reads."""

from collections.abc import Sequence

from rillet.backends.rtl.stage import Stage
from rillet.errors import Unsupported
from rillet.ir.facts import is_concat, is_pool, only_moves
from rillet.ir.ops import Activate, Activation, Conv, Op, Pad, Pool, PoolKind, Resize, Slice, op_name
from rillet.ir.types import DType, TensorType

_BYTES = frozenset({DType.I8, DType.U8})


def check_types(stage: Stage) -> None:
    """Raises Unsupported for types of values that a layer's hardware does not know."""
    node, types = stage.node, stage.graph.input_types(stage.node)
    if not _known(node.op, types, node.type):
        sources = " and ".join(dict.fromkeys(type_.dtype.value for type_ in types))
        raise Unsupported(f"{stage.where}: {op_name(node.op)} of {sources} to {node.type.dtype.value} has no hardware")
    pools = is_pool(node.op) and node.op.kind is not PoolKind.MEAN
    if (pools or (only_moves(node.op) and not is_concat(node.op))) and types[0].quant != node.type.quant:
        raise Unsupported(f"{stage.where}: result must have the quantisation of the input")


def _known(op: Op, types: Sequence[TensorType], result: TensorType) -> bool:
    dtypes, out = {type_.dtype for type_ in types}, result.dtype
    eight = dtypes <= _BYTES
    match op:
        case Conv(activation=activation):
            makes = {Activation.SIGN: {DType.BINARY}, Activation.NONE: {*_BYTES, DType.I32}}.get(activation, _BYTES)
            return not op.real and dtypes <= {*_BYTES, DType.BINARY} and out in makes
        case Activate(activation=activation):
            return eight and (out is DType.BINARY if activation is Activation.SIGN else out in _BYTES)
        case Pool(kind=PoolKind.MAX, activation=activation):
            return dtypes == {out} and (out in _BYTES or (out is DType.BINARY and activation is Activation.NONE))
        case Slice() | Resize():
            return dtypes == {out} and out in {*_BYTES, DType.BINARY}
        case Pad() | Pool(kind=PoolKind.AVERAGE):
            return dtypes == {out} and out in _BYTES
        case _:
            return eight and out in _BYTES
