"""Weights and channel constants in the order in which register tiles read them."""

import numpy as np
import numpy.typing as npt

from rillet.arithmetic.convolution import multipliers
from rillet.backends.c.constants import folded_bias, quant
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Conv, Rounding
from rillet.plan.plan import Kernel, Stage
from rillet.plan.tilings import GROUP_ROWS, dense_depth

Indices = npt.NDArray[np.int64]


def tile_arrays(graph: Graph, stage: Stage, lanes: int) -> dict[str, Array]:
    """Weights, bias and multipliers of a stage that works by register tiles."""
    node = graph.by_name[stage.node]
    real = node.type.quant is None
    weight, bias = folded_bias(graph, node)
    if stage.kernel is Kernel.TILES:
        assert stage.tiling is not None
        order = np.arange(-(-len(bias) // lanes) * lanes)
        packed = _dense(weight.reshape(len(weight), -1), dense_depth(graph, node), stage.tiling.vectors, lanes, real)
    else:
        order = _interleaved(len(bias), 1 if real else 4, lanes)
        packed = _depthwise(weight[..., 0], order, lanes, real)
    if real:
        return {"weights": packed.astype(np.float32), "bias": _placed(bias.astype(np.float32), order)}
    mantissa, left, right = _factors(graph, node)
    return {
        "weights": packed.astype(np.int8),
        "bias": _placed(bias.astype(np.int32), order),
        "mantissa": _placed(mantissa, order),
        "left": _placed(left, order),
        "right": _placed(right, order),
    }


def any_left(graph: Graph, node: Node) -> bool:
    """True where a channel's sums are shifted left before they are multiplied."""
    op, source = node.op, graph.by_name[node.inputs[0]]
    assert isinstance(op, Conv)
    return bool((multipliers(graph, node, op, quant(graph, source), quant(graph, node))[1] > 0).any())


def _factors(graph: Graph, node: Node) -> tuple[Array, Array, Array]:
    """Mantissa, left and right shift of each channel; where sums are rounded once, left is 31 - shift."""
    op, source = node.op, graph.by_name[node.inputs[0]]
    assert isinstance(op, Conv)
    mantissa, shift = multipliers(graph, node, op, quant(graph, source), quant(graph, node))
    wide = shift.astype(np.int32)
    if op.rounding is Rounding.SINGLE:
        return mantissa, 31 - wide, np.zeros_like(wide)
    return mantissa, np.maximum(wide, 0), np.maximum(-wide, 0)


def _placed(values: Array, order: Indices) -> Array:
    """Values in this order of channels; zero for channels that do not exist."""
    return np.where(order < len(values), values[np.minimum(order, len(values) - 1)], values.dtype.type(0))


def _interleaved(channels: int, parts: int, lanes: int) -> Indices:
    """The order of channels of blocks of `parts` vectors: four by four, as interleaving bytes deals them out."""
    block = parts * lanes
    places = np.arange(-(-channels // block) * block)
    if parts == 1:
        return places
    base, (part, lane) = places // block * block, np.divmod(places % block, lanes)
    return base + lane // 4 * 16 + part * 4 + lane % 4


def _dense(rows: Array, depth: int, vectors: int, lanes: int, real: bool) -> Array:
    """[blocks][depth][vectors][lanes] of output-major rows; bytes with four of the depth innermost."""
    channels = len(rows)
    padded = np.zeros((-(-channels // lanes) * lanes, depth), rows.dtype)
    padded[:channels, : rows.shape[1]] = rows
    deep, parts = (1 if real else GROUP_ROWS), list[Array]()
    for first in range(0, len(padded), vectors * lanes):
        block = padded[first : first + vectors * lanes]
        parts.append(block.reshape(len(block), depth // deep, deep).transpose(1, 0, 2).reshape(-1))
    return np.concatenate(parts)


def _depthwise(weight: Array, order: Indices, lanes: int, real: bool) -> Array:
    """[blocks][taps][lanes]; bytes as [blocks][groups of rows][taps of a row][four vectors][lanes][rows of a group]."""
    high, wide = weight.shape[1:]
    rows = high if real else -(-high // GROUP_ROWS) * GROUP_ROWS
    padded = np.zeros((len(order), rows, wide), weight.dtype)
    there = order < len(weight)
    padded[there, :high] = weight[order[there]]
    if real:
        return padded.reshape(-1, lanes, rows * wide).transpose(0, 2, 1)
    grouped = padded.reshape(-1, 4 * lanes, rows // GROUP_ROWS, GROUP_ROWS, wide)
    return grouped.transpose(0, 2, 4, 1, 3)
