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
    Conv,
    Input,
    Multiply,
    Pad,
    Pool,
    PoolKind,
    Requantize,
    Slice,
    Softmax,
    op_name,
)
from rillet.ir.types import DType
from rillet.plan.plan import BufferKind, Kernel, Packing

DENSE_TILE = 4
"""Pixels whose windows the dense kernel gathers at once, where a tile has as many; else it takes them one by one."""
_GATHERED_BYTES = 2  # gathered values are widened to int16
_SUM_BYTES = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """A kernel with its packing; `scratch_bytes` of working space of the given kind, 0 for none."""

    kernel: Kernel
    packing: Packing = Packing.NONE
    scratch: BufferKind = BufferKind.SCRATCH
    scratch_bytes: int = 0


def choose(graph: Graph, node: Node, tile_pixels: int) -> Choice:
    """The kernel for `node` when it makes `tile_pixels` at a time; raises Unsupported where there is none."""
    op = node.op
    match op:
        case Conv():
            _integers(graph, node)
            source = graph.input_shapes(node)[0]
            if op.depthwise(source) and op.out_channels == source.channels:
                return Choice(Kernel.DEPTHWISE, Packing.TAP_MAJOR)
            depth = op.window.taps * (source.channels // op.groups)
            at_once = DENSE_TILE if min(tile_pixels, node.shape.width) >= DENSE_TILE else 1
            return Choice(Kernel.DENSE, Packing.OUTPUT_MAJOR, scratch_bytes=at_once * depth * _GATHERED_BYTES)
        case Pool(kind=kind, window=window):
            _integers(graph, node)
            source = graph.input_shapes(node)[0]
            if window.covers(source) and kind is not PoolKind.MAX:
                return Choice(Kernel.GLOBAL_POOL, scratch=BufferKind.SUMS, scratch_bytes=source.channels * _SUM_BYTES)
            if kind is PoolKind.AVERAGE:
                return Choice(Kernel.AVERAGE_POOL)
        case Add():
            _integers(graph, node)
            return Choice(Kernel.ADD)
        case Requantize():
            _integers(graph, node)
            return Choice(Kernel.REQUANTIZE)
        case Softmax():
            _integers(graph, node)
            return Choice(Kernel.SOFTMAX)
        case Input() | BatchNorm() | Activate() | Multiply() | Concat() | Slice() | Pad():
            pass
        case _:
            assert_never(op)
    raise Unsupported(f"{graph.name}: {node.name}: {op_name(op)} has no streaming kernel yet")


def _integers(graph: Graph, node: Node) -> None:
    for value in (node.type, *graph.input_types(node)):
        if value.quant is None or value.dtype not in (DType.I8, DType.U8):
            raise Unsupported(f"{graph.name}: {node.name}: must be quantised to i8 or u8, got {value.dtype.value}")


def in_place(graph: Graph, node: Node) -> bool:
    """True where the kernel reads a value before it writes the same place, so that its output may lie on its input."""
    sizes = {t.pixel_bytes for t in (node.type, *graph.input_types(node))}
    return isinstance(node.op, Add | Requantize) and len(sizes) == 1
