"""Weights and channel constants in the order in which register tiles read them."""

import numpy as np
import numpy.typing as npt

from rillet.arithmetic import bf16
from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic.affine import Affine, affine, careful, shifted
from rillet.arithmetic.convolution import multipliers, weight_sums
from rillet.backends.c.constants import folded_bias, quant
from rillet.backends.c.tile_shapes import groups
from rillet.ir.facts import has_weights
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Rounding
from rillet.ir.remembered import remembered
from rillet.plan.host.tilings import GROUP_ROWS, Values, Vectors, past, value_type, window_runs
from rillet.plan.host.winograd import by_pairs, square_weights
from rillet.plan.rows.plan import Kernel, Stage

Indices = npt.NDArray[np.int64]
_STORED_TOGETHER = 64
"""Channels that are requantised together in integers where one of them must be."""
_MOST_BY_INTEGERS = 0.15
"""Share of them from which on it is faster to round all channels carefully."""


def tile_arrays(graph: Graph, stage: Stage, vectors: Vectors) -> dict[str, Array]:
    """Weights, bias and multipliers of a stage by register tiles."""
    lanes = vectors.lanes
    node = graph.by_name[stage.node]
    real = node.type.quant is None
    weight, bias = folded_bias(graph, node)
    assert stage.tiling is not None
    if stage.tiling.parts > 1:
        first = np.clip(weight, -128, 127)
        # The depth of a window comes once more, or its rows do, and meets what the first bytes left.
        axis = 1 if stage.kernel is Kernel.DEPTHWISE_TILES else -1
        flat = (first.astype(np.int8), np.subtract(weight, first).astype(np.int8))
        weight = np.concatenate([w if axis == 1 else w.reshape(len(w), -1) for w in flat], axis)
    if stage.kernel is Kernel.TILES:
        sizes = _group_sizes(len(bias), stage.tiling.vectors, lanes, real)
        order = _dealt(sizes, lanes)
        runs, values = weight.reshape(len(weight), -1, window_runs(graph, node)[2]), value_type(stage.tiling, real)
        packed = _dense(runs, order, stage.tiling.vectors, lanes, values)
    elif stage.kernel is Kernel.WINOGRAD:
        sizes = _group_sizes(len(bias), stage.tiling.vectors, lanes, real)
        order = _dealt(sizes, lanes)
        turned = square_weights(weight) if stage.tiling.halves else by_pairs(weight)
        packed = _dense(turned, order, stage.tiling.vectors, lanes, Values.HALVES)
    else:
        count = -(-len(bias) // lanes)
        sizes = [1] * count if real else [size for _, size in groups(count, stage.tiling.vectors)]
        order = _dealt(sizes, lanes)
        rows = weight.shape[1] if real else vectors.weight_rows(weight.shape[1])
        packed = _depthwise(weight[..., 0], order, sizes, rows, lanes, real)
    if real:
        weights = bf16.bits(packed.astype(np.float32, copy=False)) if stage.tiling.halves else packed
        return {"weights": weights, "bias": _placed(bias.astype(np.float32), order)}
    rounding = channel_rounding(graph, node, fused=vectors.fused)
    arrays = {
        "weights": packed.astype(np.int16 if stage.tiling.halves else np.int8, copy=False),
        "bias": _placed((bias.astype(np.int64) + rounding.origin).astype(np.int32), order),
        **{name: _placed(values, order) for name, values in factor_arrays(rounding, vectors).items()},
    }
    if rounding.shown.all():
        return arrays
    failed = _placed(~rounding.shown, order).reshape(-1, lanes).any(1)
    group = np.repeat(np.logical_or.reduceat(failed, np.cumsum([0, *sizes[:-1]])), sizes)
    factors = zip(("mantissa", "left", "right"), integer_factors(graph, node), strict=True)
    arrays |= {name: _placed(values, order) for name, values in factors}
    return arrays | {"by_integers": group.astype(np.int32) + failed}


@remembered
def channel_rounding(graph: Graph, node: Node, *, fused: bool = True) -> Affine:
    """The float32 constants of a quantised convolution's channels, and which of them may be used.

    fused: whether products are added to as they are, or rounded first.
    """
    op, source = node.op, graph.by_name[node.inputs[0]]
    assert has_weights(op)
    mantissa, shift = multipliers(graph, node, op, quant(graph, source), quant(graph, node))
    if op.rounding is Rounding.SINGLE:
        nothing = np.zeros(len(mantissa), np.float32)
        return Affine(nothing, nothing, np.zeros(len(mantissa), np.bool_), signed=False, centre=0)
    bias, (plus, minus) = folded_bias(graph, node)[1], weight_sums(graph, node)
    low, high = source.type.dtype.integers
    folded = bias.astype(np.int64)
    sums = (folded + low * plus + high * minus, folded + high * plus + low * minus)
    if op.rounding is Rounding.SHIFT:
        return shifted(shift, sums)
    clamp, zero = fp.activation_clamp(op.activation, quant(graph, node), node.type.dtype), quant(graph, node).zero_point
    relative = fp.Clamp(clamp.low - zero, clamp.high - zero)
    quick = affine(mantissa, shift, sums, relative, fused=fused)
    blocks = np.add.reduceat(~quick.shown, np.arange(0, len(quick.shown), _STORED_TOGETHER)) > 0
    if blocks.mean() <= _MOST_BY_INTEGERS:
        return quick
    slow = careful(mantissa, shift, sums, relative)
    return slow if slow.shown.sum() > quick.shown.sum() else quick


def factor_arrays(rounding: Affine, vectors: Vectors) -> dict[str, Array]:
    """What multiplies the sums of channels, by its field of rillet_channels_byte_tiles."""
    if rounding.as_bits and vectors.compact:
        return {"shift": (1 - np.frexp(rounding.scale)[1]).astype(np.int8)}
    if rounding.as_bits and vectors.adds:
        return {"nudge": rounding.nudge / rounding.scale}
    return {"scale": rounding.scale, "nudge": rounding.nudge}


def integer_factors(graph: Graph, node: Node) -> tuple[Array, Array, Array]:
    """Mantissa, left and right shift of each channel; where sums are rounded once, left is 31 - shift."""
    op, source = node.op, graph.by_name[node.inputs[0]]
    assert has_weights(op)
    mantissa, shift = multipliers(graph, node, op, quant(graph, source), quant(graph, node))
    wide = shift.astype(np.int32)
    if op.rounding is Rounding.SINGLE:
        return mantissa, 31 - wide, np.zeros_like(wide)
    return mantissa, np.maximum(wide, 0), np.maximum(-wide, 0)


def _placed(values: Array, order: Indices) -> Array:
    """Values in this order of channels; zero for channels that do not exist."""
    return np.where(order < len(values), values[np.minimum(order, len(values) - 1)], values.dtype.type(0))


def _group_sizes(channels: int, vectors: int, lanes: int, real: bool) -> list[int]:
    """Vectors of each group whose channels are dealt out to them, all blocks of output channels in order."""
    whole, rest = divmod(-(-channels // lanes), vectors)
    if real:
        return [1] * (whole * vectors + rest)
    return [size for _ in range(whole) for _, size in groups(vectors)] + [size for _, size in groups(rest)]


def _dealt(sizes: list[int], lanes: int) -> Indices:
    """The channel at each place: of a group of n vectors, vector j has channels 4 n l + 4 j to 4 n l + 4 j + 3."""
    out, first = list[Indices](), 0
    for n in sizes:
        part, lane = np.divmod(np.arange(n * lanes), lanes)
        out.append(first + lane // 4 * 4 * n + part * 4 + lane % 4)
        first += n * lanes
    return np.concatenate(out)


def _dense(runs: Array, order: Indices, vectors: int, lanes: int, kind: Values) -> Array:
    """[blocks][depth][vectors][lanes] of runs of output channels, with as many values of the depth innermost as lie
    together.
    """
    _, count, values = runs.shape
    depth = count * (values + past(values, kind))
    out = np.empty(len(order) * depth, runs.dtype)
    for first in range(0, len(order), vectors * lanes):
        channels = order[first : first + vectors * lanes]
        block = np.zeros((len(channels), count, depth // count), runs.dtype)
        there = channels < len(runs)
        block[there, :, :values] = runs[channels[there]]
        place = out[first * depth : (first + len(channels)) * depth]
        place[:] = block.reshape(len(channels), -1, kind.together).transpose(1, 0, 2).reshape(-1)
    return out


def _depthwise(weight: Array, order: Indices, sizes: list[int], rows: int, lanes: int, real: bool) -> Array:
    """[blocks][taps][lanes]; bytes as [blocks][groups of rows][taps of a row][vectors][lanes][rows of a group].

    rows: of each window, as many as there are and perhaps more.
    """
    high, wide = weight.shape[1:]
    padded = np.zeros((len(order), rows, wide), weight.dtype)
    there = order < len(weight)
    padded[there, :high] = weight[order[there]]
    if real:
        return padded.reshape(-1, lanes, rows * wide).transpose(0, 2, 1)
    blocks = np.split(padded, np.cumsum(sizes)[:-1] * lanes)
    grouped = (np.split(block, range(GROUP_ROWS, rows, GROUP_ROWS), axis=1) for block in blocks)
    return np.concatenate([group.transpose(2, 0, 1).reshape(-1) for groups in grouped for group in groups])
