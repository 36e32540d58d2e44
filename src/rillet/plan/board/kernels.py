"""Kernels of a microcontroller's core: which node takes which, how sums become bytes, and which rows lie as planes."""

from dataclasses import dataclass
from functools import lru_cache
from typing import assert_never

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic.convolution import multipliers, stored_weights, sum_range
from rillet.arithmetic.words import WordRounding, word_rounding
from rillet.errors import about
from rillet.ir.facts import has_weights, is_sum
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Rounding
from rillet.ir.types import DType
from rillet.plan.rows.kernels import Choice, choose, lists_are_smaller
from rillet.plan.rows.plan import CoreKernels, Kernel, Packing, Planes

ABREAST = 3
"""Pixels whose sums the dense kernel holds at once, where a tile has as many; else it takes them one by one."""
WORD = 4
"""Values that one word of weights has."""
RUN = 255
"""Values of the depth whose places are a byte."""
_MOST_SUM = 2**23
"""Dense sums are kept 256 times as large in 32 bits, or multiplied by a byte of the mantissa."""
_MOST_IN_PARTS = 254
"""The largest weight that is the sum of two bytes, for either sign."""
_BYTES = (DType.I8, DType.U8)
LOW_BIT = (DType.TERNARY, DType.BINARY)


@dataclass(frozen=True, slots=True)
class Finish:
    """How the sums of a convolution become stored values."""

    rounding: WordRounding
    clamped: bool
    """The fused clamp lies within the range of the type, and must be looked at."""
    by_words: bool
    """The core's instructions are exact; else the portable function does it."""
    wide: bool
    """Weights or sums are too large to be kept as bytes: the core's kernel keeps weights in more bits or in parts."""
    in_parts: bool
    """No weight is larger than two bytes make together."""


def together(core: CoreKernels) -> int:
    """Output channels that a dense kernel makes at once."""
    match core:
        case CoreKernels.DSP:
            return 2
        case CoreKernels.ARMV6M:
            return 1
        case CoreKernels.HELIUM:
            return 4
        case _:
            assert_never(core)


def choose_core(graph: Graph, node: Node, tile_pixels: int, planes: frozenset[str], core: CoreKernels) -> Choice:
    """The kernel for `node` when it makes `tile_pixels` at a time; `planes` are the values kept as such.

    Raises Unsupported where there is none.
    """
    made = choose(graph, node, tile_pixels)
    op = node.op
    if core is CoreKernels.HELIUM and sums_by_vectors(graph, node):
        return Choice(Kernel.CORE_SUM)
    if not has_weights(op) or not takes_bytes(graph, node, op):
        return made
    source = graph.input_shapes(node)[0]
    if op.depthwise(source) and op.out_channels == source.channels:
        if node.inputs[0] in planes:
            return Choice(Kernel.CORE_PLANES, Packing.CORE)
        whole = core is CoreKernels.ARMV6M or source.channels % WORD == 0
        fits = whole and finish(graph, node, core).by_words
        return Choice(Kernel.CORE_DEPTHWISE, Packing.CORE) if fits else made
    if op.groups > 1 or (core is not CoreKernels.DSP and not finish(graph, node, core).in_parts):
        return made
    if takes_lists(graph, node, core):
        gathered = 0 if op.window.pointwise else pairs(node, tile_pixels) * dense_depth(graph, node)
        return Choice(Kernel.CORE_LISTS, Packing.CORE, scratch_bytes=gathered)
    return Choice(Kernel.CORE_DENSE, Packing.CORE, scratch_bytes=dense_scratch(graph, node, tile_pixels, core))


def takes_lists(graph: Graph, node: Node, core: CoreKernels) -> bool:
    """True for a dense convolution whose ternary or binary weights are kept as lists of places: on Armv6-M these take
    fewer instructions than bytes and no more flash; with the DSP extension where most weights are zero; with vectors
    never.
    """
    op = node.op
    assert has_weights(op)
    if op.weights not in LOW_BIT or core is CoreKernels.HELIUM:
        return False
    sparse = core is CoreKernels.ARMV6M or (op.weights is DType.TERNARY and lists_are_smaller(graph, node))
    return sparse and finish(graph, node, CoreKernels.ARMV6M).by_words


def pairs(node: Node, tile_pixels: int) -> int:
    """Pixels that a stage of lists takes at once."""
    return min(2, tile_pixels, node.shape.width)


@lru_cache(maxsize=512)
def list_lengths(graph: Graph, node: Node) -> tuple[tuple[int, ...], ...]:
    """Of each output channel the places in each run of the weights that are +, then of those that are -; none of a
    channel of one value only.
    """
    if not graph.params:  # half of them each, as far as is known
        depth = dense_depth(graph, node)
        runs = tuple(min(RUN, depth - at) // 2 for at in range(0, depth, RUN))
        return (runs * 2,) * node.shape.channels
    weight = graph.param(node, "weight").reshape(node.shape.channels, -1)
    weight = np.where(finish(graph, node, CoreKernels.ARMV6M).rounding.constant[:, None], 0, weight)
    starts = range(0, weight.shape[1], RUN)
    return tuple(
        tuple(int((sign * row[at : at + RUN] > 0).sum()) for sign in (1, -1) for at in starts) for row in weight
    )


def sums_by_vectors(graph: Graph, node: Node) -> bool:
    """True for a sum of two 8-bit tensors of its own shape that no rescaling makes larger."""
    types = (node.type, *graph.input_types(node))
    if not is_sum(node.op) or any(value.dtype not in _BYTES or value.shape != node.shape for value in types):
        return False
    left, right, out = types[1].quant, types[2].quant, node.type.quant
    assert left is not None and right is not None and out is not None
    return left == right == out or fp.add_constants(left, right, out).out.shift < 0


def takes_bytes(graph: Graph, node: Node, op: Conv) -> bool:
    """True for a convolution of 8-bit values with weights of 8 bits, or of fewer that may be kept in 8."""
    types = (node.type, *graph.input_types(node))
    return op.weights in (*_BYTES, *LOW_BIT) and all(
        value.dtype in _BYTES and value.quant is not None for value in types
    )


def gathers_windows(graph: Graph, node: Node, core: CoreKernels) -> bool:
    """True where a dense stage gathers the rows of a window: it is no pixel of whole words, or of bytes for vectors."""
    op = node.op
    assert has_weights(op)
    if not op.window.pointwise:
        return True
    return core is not CoreKernels.HELIUM and graph.input_shapes(node)[0].channels % WORD > 0


def dense_depth(graph: Graph, node: Node) -> int:
    """Weights of one output channel."""
    op = node.op
    assert has_weights(op)
    return op.window.taps * graph.input_shapes(node)[0].channels


def dense_words(graph: Graph, node: Node) -> int:
    """Words of weights of one output channel."""
    op = node.op
    assert has_weights(op)
    high, wide = op.window.kernel
    whole, rest = divmod(wide * graph.input_shapes(node)[0].channels, WORD)
    return high * whole + -(-high * rest // WORD)


def abreast(node: Node, tile_pixels: int) -> int:
    """Pixels that a dense stage takes at once."""
    return ABREAST if min(tile_pixels, node.shape.width) >= ABREAST else 1


def dense_scratch(graph: Graph, node: Node, tile_pixels: int, core: CoreKernels) -> int:
    """Bytes of gathered values, two words for four of them, and for each pixel those of a row of its window and of
    what whole words leave of the rows; vectors take windows as bytes, and pixels where they lie.
    """
    op, channels, pixels = node.op, graph.input_shapes(node)[0].channels, abreast(node, tile_pixels)
    assert has_weights(op)
    copied, gathers = 0, gathers_windows(graph, node, core)
    if core is CoreKernels.HELIUM:
        return pixels * dense_depth(graph, node) if gathers else 0
    if gathers and (pixels > 1 or channels % WORD):
        run = op.window.kernel[1] * channels
        copied = WORD * (-(-run // WORD) + -(-op.window.kernel[0] * (run % WORD) // WORD))
    return pixels * (8 * dense_words(graph, node) + copied)


@lru_cache(maxsize=4096)
def finish(graph: Graph, node: Node, core: CoreKernels) -> Finish:
    """How the sums of a convolution of bytes become stored values, as int8: uint8 values are kept less 128."""
    op, (source,) = node.op, graph.input_types(node)
    assert has_weights(op) and source.quant is not None and node.type.quant is not None
    less = 128 if node.type.dtype is DType.U8 else 0
    with about(graph.name, node.name):
        clamp = fp.activation_clamp(op.activation, node.type.quant, node.type.dtype)
    clamp = fp.Clamp(clamp.low - less, clamp.high - less)
    clamped = (clamp.low, clamp.high) != (-128, 127)
    if not graph.params:
        nothing = np.zeros(op.out_channels, np.int32)
        flags = np.zeros(op.out_channels, np.bool_)
        rounding = WordRounding(nothing, nothing, nothing, flags, ~flags)
        return Finish(rounding, clamped, op.rounding is not Rounding.SINGLE, wide=False, in_parts=True)
    found = multipliers(graph, node, op, source.quant, node.type.quant)
    factors = (found[0].astype(np.int64), found[1].astype(np.int64))
    sums = sum_range(graph, node, op, source.dtype, source.quant)
    rounding = word_rounding(op.rounding, factors, node.type.quant.zero_point - less, clamp, sums)
    by_words, constant = bool(rounding.exact.all()), rounding.constant
    small = (sums[0] > -_MOST_SUM) & (sums[1] < _MOST_SUM)
    if core is CoreKernels.ARMV6M and op.rounding is Rounding.DOUBLE:
        by_words = by_words and bool((small | constant).all())
    dropped = constant & by_words
    weight, zero = stored_weights(graph, node, op)
    largest = int(np.abs(weight - zero)[~dropped].max(initial=0))
    wide = largest > 127 or (core is CoreKernels.DSP and not bool((small | dropped).all()))
    return Finish(rounding, clamped, by_words, wide, in_parts=largest <= _MOST_IN_PARTS)


def planes_of(graph: Graph, core: CoreKernels) -> dict[str, Planes]:
    """The values that are read by depthwise 3x3 convolutions alone and written by dense ones: kept as planes."""
    out: dict[str, Planes] = {}
    for value in graph.nodes:
        readers = graph.consumers[value.name]
        if not has_weights(value.op) or value.name in graph.outputs or not readers:
            continue
        if choose_core(graph, value, ABREAST, frozenset(), core).kernel not in (Kernel.CORE_DENSE, Kernel.CORE_LISTS):
            continue
        if all(_reads_planes(graph, reader, core) for reader in readers):
            out[value.name] = Planes(value.shape.width, max(_pitch(value, reader, core) for reader in readers))
    return out


def _reads_planes(graph: Graph, node: Node, core: CoreKernels) -> bool:
    op = node.op
    if not has_weights(op) or not takes_bytes(graph, node, op):
        return False
    source, window = graph.input_shapes(node)[0], op.window
    if not op.depthwise(source) or op.out_channels != source.channels:
        return False
    square = window.kernel == (3, 3) and window.dilation == (1, 1) and window.stride in ((1, 1), (2, 2))
    near = window.padding[0] <= 1 and window.padding[2] <= 1
    known = finish(graph, node, core)
    return square and near and known.by_words and not known.clamped


def _pitch(value: Node, reader: Node, core: CoreKernels) -> int:
    """Bytes of a channel's row: one before it, and all that the reader looks at, pixels in pairs or one by one."""
    op = reader.op
    assert has_weights(op)
    stride, lead = op.window.stride[1], 1 - op.window.padding[2]
    if core is CoreKernels.DSP:
        pairs = -(-reader.shape.width // 2)
        looked_at = 2 * pairs + 2 if stride == 1 else 4 * pairs + 1
    else:
        looked_at = stride * (reader.shape.width - 1) + 3
    return max(1 + value.shape.width, lead + looked_at)
