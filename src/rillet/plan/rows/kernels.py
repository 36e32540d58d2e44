"""Kernel selection: the kernel of each node, the packing of its weights and its scratch memory."""

from dataclasses import dataclass
from functools import lru_cache
from typing import assert_never

import numpy as np

from rillet.arithmetic.wide import CURVES
from rillet.errors import Unsupported
from rillet.ir.facts import has_weights, is_argmax, is_elementwise, is_function, is_given, is_requantization
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Interpolate,
    Multiply,
    Pad,
    Pair,
    PairKind,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
    op_name,
)
from rillet.ir.packed import to_smallest
from rillet.ir.types import DType
from rillet.plan.rows.plan import BufferKind, Kernel, Packing, Split, Tiling

DENSE_TILE = 4
"""Pixels that the dense kernel copies by im2col at once, where a tile has as many; else one at a time."""
_GATHERED_BYTES = 2  # im2col values are widened to int16
_REAL_BYTES = 4
_SUM_BYTES = 4
MAX_SUMMED_PIXELS = 2**22
"""So that the sum of stored values fits 32 bits."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A kernel with its packing; `scratch_bytes` of scratch memory of the given kind, 0 for none."""

    kernel: Kernel
    packing: Packing = Packing.NONE
    scratch: BufferKind = BufferKind.SCRATCH
    scratch_bytes: int = 0
    tiling: Tiling | None = None
    split: Split = Split.NONE


def choose(graph: Graph, node: Node, tile_pixels: int) -> Choice:
    """The portable kernel for `node` when it makes `tile_pixels` at a time; raises Unsupported where there is none."""
    _check_types(graph, node)
    op, real = node.op, node.type.quant is None
    match op:
        case Conv():
            source = graph.input_shapes(node)[0]
            if op.weights in (DType.TERNARY, DType.BINARY):
                return _low_bit(graph, node, op, tile_pixels)
            if op.depthwise(source) and op.out_channels == source.channels:
                return Choice(Kernel.DEPTHWISE, Packing.TAP_MAJOR)
            return Choice(Kernel.DENSE, Packing.OUTPUT_MAJOR, scratch_bytes=_gathered(graph, node, op, tile_pixels))
        case Pool(kind=kind, window=window):
            source = graph.input_shapes(node)[0]
            if not window.covers(source) or kind is PoolKind.MAX:
                return Choice(Kernel.POOL)
            most = MAX_SUMMED_PIXELS >> 7 if node.type.dtype is DType.I16 else MAX_SUMMED_PIXELS
            if source.pixels > most:
                raise Unsupported(f"{graph.name}: {node.name}: must average at most {most} pixels")
            return Choice(Kernel.GLOBAL_POOL, scratch=BufferKind.SUMS, scratch_bytes=source.channels * _SUM_BYTES)
        case Add() | Multiply():
            return Choice(Kernel.ARITHMETIC)
        case Pair(kind=kind):
            if kind is PairKind.DIVIDE and not real:
                raise Unsupported(f"{graph.name}: {node.name}: operands of divide must be float32")
            return Choice(Kernel.PAIR)
        case Activate():
            binary = node.type.dtype is DType.BINARY
            return Choice(Kernel.FUNCTION if real else Kernel.SIGN if binary else _of_integers(graph, node))
        case Apply():
            return Choice(Kernel.CURVE if real else _of_integers(graph, node))
        case Requantize():
            return Choice(_requantize(graph, node))
        case Softmax():
            return Choice(Kernel.SOFTMAX)
        case ArgMax():
            return Choice(Kernel.ARGMAX)
        case Concat() | Slice() | Select() | DepthToSpace() | SpaceToDepth() | Pad() | Resize():
            return Choice(Kernel.COPY)
        case Interpolate():
            return Choice(Kernel.INTERPOLATE)
        case Input() | Constant() | BatchNorm():
            raise Unsupported(f"{graph.name}: {node.name}: {op_name(op)} has no streaming kernel yet")
        case _:
            assert_never(op)


def _gathered(graph: Graph, node: Node, op: Conv, tile_pixels: int) -> int:
    """Bytes of the im2col buffer of a dense kernel."""
    depth = op.window.taps * (graph.input_shapes(node)[0].channels // op.groups)
    at_once = DENSE_TILE if tile_pixels >= DENSE_TILE else 1
    return at_once * depth * (_REAL_BYTES if node.type.quant is None else _GATHERED_BYTES)


def _low_bit(graph: Graph, node: Node, op: Conv, tile_pixels: int) -> Choice:
    source, where = graph.input_types(node)[0], f"{graph.name}: {node.name}"
    binary, channels = source.dtype is DType.BINARY, source.shape.channels
    depthwise = op.depthwise(source.shape) and op.out_channels == channels and not binary
    if op.groups > 1 and not depthwise and (binary or node.type.dtype is DType.BINARY):
        raise Unsupported(f"{where}: groups must be 1 with binary values, got {op.groups}")
    if binary:
        if op.weights is not DType.BINARY:
            raise Unsupported(f"{where}: weights beside binary values must be binary, got {op.weights.value}")
        # A mask beside the window tells which of its taps lie inside the map.
        copies = 2 if any(op.window.padding) else 1
        return Choice(Kernel.XNOR, Packing.PLANES, scratch_bytes=copies * xnor_bytes(op, channels))
    if depthwise:
        return Choice(Kernel.LOW_BIT_DEPTHWISE, Packing.PLANES)
    packing = Packing.LISTS if lists_are_smaller(graph, node) else Packing.PLANES
    return Choice(Kernel.LOW_BIT, packing, scratch_bytes=_gathered(graph, node, op, tile_pixels))


def xnor_bytes(op: Conv, channels: int) -> int:
    """Bytes of the im2col window of binary values: whole bytes for each tap, then up to a multiple of 8."""
    return -(-op.window.taps * -(-channels // 8) // 8) * 8


@lru_cache(maxsize=512)
def lists_are_smaller(graph: Graph, node: Node) -> bool:
    """True for ternary weights that are fewer bytes as lists than as planes of bits."""
    op = node.op
    assert has_weights(op)
    # Lists have no fixed length, and those of a group must be found.
    if not graph.params or op.groups > 1:
        return False
    weight = graph.param(node, "weight")
    return to_smallest(weight.reshape(len(weight), -1).astype(np.int8), op.weights)[0] == "lists"


def _of_integers(graph: Graph, node: Node) -> Kernel:
    """Functions of bytes are tables, those of 16 bits are computed."""
    if not has_wide(graph, node):
        return Kernel.LOOKUP
    if is_function(node.op):
        _check_function(f"{graph.name}: {node.name}", node.op)
    return Kernel.WIDE_FUNCTION


def _check_function(where: str, op: Activate | Apply) -> None:
    """Raises Unsupported for a function of 16-bit values that has no rule."""
    if op.rounding is Rounding.SHIFT:
        raise Unsupported(f"{where}: functions of 16-bit values must be rounded by double, got shift")
    match op:
        case Activate(activation=activation):
            known, name = activation.clamp is not None or activation is Activation.SIGMOID, activation.value
        case Apply(curve=curve):
            known, name = curve in CURVES, curve.value
    if not known:
        raise Unsupported(f"{where}: {name} has no rule for 16-bit values")


def has_wide(graph: Graph, node: Node) -> bool:
    """True of a node that reads or makes 16-bit values."""
    return DType.I16 in {node.type.dtype, *(value.dtype for value in graph.input_types(node))}


def refuse_wide(graph: Graph, where: str) -> None:
    """Raises Unsupported for 16-bit values, which portable C and hosts alone have kernels for."""
    found = next((node for node in graph.nodes if node.type.dtype is DType.I16), None)
    if found is not None:
        raise Unsupported(
            f"{graph.name}: {found.name}: {where} must have values of 8 bits or float32, got i16; "
            "without a target, and for a host, there is C for these"
        )


def _requantize(graph: Graph, node: Node) -> Kernel:
    from_real = graph.input_types(node)[0].quant is None
    match (from_real, node.type.quant is None):
        case (False, False):
            return _of_integers(graph, node)
        case (True, False):
            return Kernel.QUANTIZE
        case (False, True):
            return Kernel.DEQUANTIZE
        case _:
            return Kernel.FUNCTION


def _check_types(graph: Graph, node: Node) -> None:
    """Values are 8-bit quantised or float32, and only a Requantize goes between the two; some ops know binary ones."""
    if is_argmax(node.op):
        _check_ordered(graph, node)
        return
    types = (node.type, *graph.input_types(node))
    kinds = {value.dtype for value in types}
    if DType.BINARY in kinds or DType.I32 in kinds:
        _check_binary(graph, node)
        return
    for value in types:
        known = value.dtype in (DType.I8, DType.U8, DType.I16)
        if value.dtype is not DType.F32 and (value.quant is None or not known):
            got = value.dtype.value
            raise Unsupported(f"{graph.name}: {node.name}: must be quantised to i8, u8 or i16, got {got}")
    if has_weights(node.op):
        if DType.I16 in kinds:
            _check_wide(graph, node, node.op)
        if node.op.real is (node.type.quant is not None):
            raise Unsupported(f"{graph.name}: {node.name}: weights must be {'integers' if node.type.quant else 'real'}")
    if len(kinds) > 1 and not is_requantization(node.op):
        got = ", ".join(value.dtype.value for value in types)
        raise Unsupported(f"{graph.name}: {node.name}: must have inputs of the type of its result, got {got}")


def _check_ordered(graph: Graph, node: Node) -> None:
    """Raises Unsupported unless the values that a node finds the greatest of are of a type that kernels compare."""
    (source,) = graph.input_types(node)
    if source.dtype not in (DType.F32, DType.I8, DType.U8, DType.I16):
        got = source.dtype.value
        raise Unsupported(f"{graph.name}: {node.name}: input of argmax must be f32, i8, u8 or i16, got {got}")


def _check_wide(graph: Graph, node: Node, op: Conv) -> None:
    """Raises Unsupported unless sums of 16-bit values are rounded by one of the rules that kernels have."""
    if op.rounding not in (Rounding.REDUCED, Rounding.SINGLE) or op.weights is not DType.I8:
        got = f"{op.rounding.value} with {op.weights.value}"
        raise Unsupported(f"{graph.name}: {node.name}: 16-bit values must be rounded by reduced or single, got {got}")


def _check_binary(graph: Graph, node: Node) -> None:
    """Raises Unsupported unless the node is one of the ops on binary values, or of those that make them or sums."""
    op, where, out = node.op, f"{graph.name}: {node.name}", node.type.dtype
    sources = [value.dtype for value in graph.input_types(node)]
    eight_bits = (DType.I8, DType.U8)
    got = ", ".join(dtype.value for dtype in (*sources, out))
    low = has_weights(op) and op.weights in (DType.TERNARY, DType.BINARY) and not op.real
    match op:
        case Conv(activation=Activation.SIGN):
            known = low and sources[0] in (*eight_bits, DType.BINARY) and out is DType.BINARY
        case Conv(activation=activation):
            known = low and (
                (out is DType.I32 and activation is Activation.NONE and sources[0] is not DType.F32)
                or (out in eight_bits and sources[0] is DType.BINARY)
            )
        case Pool(kind=kind):
            known = kind is PoolKind.MAX and sources[0] is out is DType.BINARY and op.activation is Activation.NONE
        case Activate(activation=activation):
            known = activation is Activation.SIGN and sources[0] in eight_bits and out is DType.BINARY
        case _:
            known = False
    quantised = all(value.quant is not None for value in (node.type, *graph.input_types(node)))
    if not known or not quantised:
        raise Unsupported(f"{where}: {op_name(op)} must have a kernel for its types, got none for {got}")
    if any(is_given(graph.by_name[name].op) for name in node.inputs) and DType.BINARY in sources:
        raise Unsupported(f"{where}: binary values must be computed, got an input or a constant")


def in_place(graph: Graph, node: Node) -> bool:
    """True where the kernel reads a value before it writes the same place, so that its output may lie on its input."""
    sizes = {t.pixel_bytes for t in (node.type, *graph.input_types(node))}
    return is_elementwise(node.op) and len(sizes) == 1
