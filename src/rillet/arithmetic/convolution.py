"""A convolution's stored weights and multipliers, out of a graph."""

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
    return fp.conv_multipliers(source, scales, out, in_f32)
