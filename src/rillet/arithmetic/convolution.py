"""A convolution's stored weights and multipliers, out of a graph."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from rillet.arithmetic import fixed_point as fp
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Rounding
from rillet.ir.types import DType, Quant


def stored_weights(graph: Graph, node: Node, op: Conv) -> tuple[fp.Ints, int]:
    """Stored weights and their zero point."""
    weight = graph.param(node, "weight").astype(np.int64)
    return weight, int(graph.param(node, "weight_zero_point")[0]) if op.weights is DType.U8 else 0


def multipliers(
    graph: Graph, node: Node, op: Conv, source: Quant, out: Quant
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
    """Mantissas and shifts of the output channels."""
    scales = graph.param(node, "weight_scale").astype(np.float32)
    in_f32 = op.rounding is Rounding.SINGLE or op.weights is DType.U8
    return _multipliers(source, scales.tobytes(), out, in_f32)


@lru_cache(maxsize=512)
def _multipliers(
    source: Quant, scales: bytes, out: Quant, in_f32: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
    # A pipeline asks for them at every pixel.
    found = fp.conv_multipliers(source, np.frombuffer(scales, np.float32), out, in_f32)
    for array in found:
        array.flags.writeable = False
    return found
