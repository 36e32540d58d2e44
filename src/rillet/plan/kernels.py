"""Which kernel does a node's work, how its weights are packed and what working space it takes."""

from dataclasses import dataclass
from typing import assert_never

from rillet.errors import Unsupported
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Add,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    Input,
    Multiply,
    Pad,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Slice,
    Softmax,
    op_name,
)
from rillet.ir.types import DType
from rillet.plan.plan import BufferKind, Kernel, Packing, Split, Tiling

DENSE_TILE = 4
"""Pixels whose windows the dense kernel gathers at once, where a tile has as many; else it takes them one by one."""
_GATHERED_BYTES = 2  # gathered values are widened to int16
_REAL_BYTES = 4
_SUM_BYTES = 4
MAX_SUMMED_PIXELS = 2**22
"""So that the sum of stored values fits 32 bits."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A kernel with its packing; `scratch_bytes` of working space of the given kind, 0 for none."""

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
            if op.depthwise(source) and op.out_channels == source.channels:
                return Choice(Kernel.DEPTHWISE, Packing.TAP_MAJOR)
            depth = op.window.taps * (source.channels // op.groups)
            at_once = DENSE_TILE if tile_pixels >= DENSE_TILE else 1
            gathered = at_once * depth * (_REAL_BYTES if real else _GATHERED_BYTES)
            return Choice(Kernel.DENSE, Packing.OUTPUT_MAJOR, scratch_bytes=gathered)
        case Pool(kind=kind, window=window):
            source = graph.input_shapes(node)[0]
            if not window.covers(source) or kind is PoolKind.MAX:
                return Choice(Kernel.POOL)
            if source.pixels > MAX_SUMMED_PIXELS:
                raise Unsupported(f"{graph.name}: {node.name}: must average at most {MAX_SUMMED_PIXELS} pixels")
            return Choice(Kernel.GLOBAL_POOL, scratch=BufferKind.SUMS, scratch_bytes=source.channels * _SUM_BYTES)
        case Add() | Multiply():
            return Choice(Kernel.ARITHMETIC)
        case Activate():
            return Choice(Kernel.FUNCTION if real else Kernel.LOOKUP)
        case Requantize():
            return Choice(_requantize(graph, node))
        case Softmax():
            return Choice(Kernel.SOFTMAX)
        case Concat() | Slice() | Pad() | Resize():
            return Choice(Kernel.COPY)
        case Input() | Constant() | BatchNorm():
            raise Unsupported(f"{graph.name}: {node.name}: {op_name(op)} has no streaming kernel yet")
        case _:
            assert_never(op)


def _requantize(graph: Graph, node: Node) -> Kernel:
    from_real = graph.input_types(node)[0].quant is None
    match (from_real, node.type.quant is None):
        case (False, False):
            return Kernel.LOOKUP
        case (True, False):
            return Kernel.QUANTIZE
        case (False, True):
            return Kernel.DEQUANTIZE
        case _:
            return Kernel.FUNCTION


def _check_types(graph: Graph, node: Node) -> None:
    """Values are 8-bit quantised or float32, and only a Requantize goes between the two."""
    types = (node.type, *graph.input_types(node))
    for value in types:
        if value.dtype is not DType.F32 and (value.quant is None or value.dtype not in (DType.I8, DType.U8)):
            raise Unsupported(f"{graph.name}: {node.name}: must be quantised to i8 or u8, got {value.dtype.value}")
    if len({value.dtype for value in types}) > 1 and not isinstance(node.op, Requantize):
        got = ", ".join(value.dtype.value for value in types)
        raise Unsupported(f"{graph.name}: {node.name}: must have inputs of the type of its result, got {got}")


def in_place(graph: Graph, node: Node) -> bool:
    """True where the kernel reads a value before it writes the same place, so that its output may lie on its input."""
    sizes = {t.pixel_bytes for t in (node.type, *graph.input_types(node))}
    return isinstance(node.op, Add | Multiply | Activate | Requantize) and len(sizes) == 1
