"""One Verilog module for each stage: which part of this package writes which layer, and what has no hardware."""

from typing import assert_never

from rillet.backends.rtl.convolutions import convolution
from rillet.backends.rtl.copies import concatenated, padded, resized, sliced
from rillet.backends.rtl.pools import pool
from rillet.backends.rtl.stage import Stage
from rillet.backends.rtl.streams import add, function, multiply
from rillet.backends.rtl.types import check_types
from rillet.errors import Unsupported
from rillet.ir.ops import (
    Activate,
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
    Pool,
    Requantize,
    Resize,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
    op_name,
)


def write(stage: Stage) -> None:
    """Fills in the module's lines, its memories and the width of its beats; raises Unsupported for what has none."""
    check_types(stage)
    match stage.node.op:
        case Conv():
            convolution(stage, stage.node.op)
        case Pool():
            pool(stage, stage.node.op)
        case Activate() | Apply() | Requantize():
            function(stage)
        case Add():
            add(stage, stage.node.op)
        case Multiply():
            multiply(stage, stage.node.op)
        case Concat():
            concatenated(stage)
        case Slice():
            sliced(stage, stage.node.op)
        case Pad():
            padded(stage, stage.node.op)
        case Resize():
            resized(stage, stage.node.op)
        case BatchNorm() | Softmax() | ArgMax() | Pair() | Select() | DepthToSpace() | SpaceToDepth() | Interpolate():
            raise Unsupported(f"{stage.where}: {op_name(stage.node.op)} has no hardware")
        case Input() | Constant():
            raise AssertionError(f"{stage.node.name} is no stage")
        case _ as other:
            assert_never(other)
