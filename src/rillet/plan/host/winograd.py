"""Winograd's algorithm for 3x3 windows in whole numbers: where it gives the same sums, and what it takes.

A square of 4x4 results is made of 36 products of a square of 6x6 values, each a value of the one's transform times one
of the weights', instead of 144 (Lavin and Gray, arXiv:1509.09308: F(4x4, 3x3), points 0, 1, -1, 2, -2). Its fractions
are multiplied away: the weights' transform by 24 in each direction, and what comes out is 576 times the sum, modulo
2^32. That is divided exactly: times the inverse of 9, then shifted by 6, where the sum has at most 26 bits.
"""

import numpy as np

from rillet.arithmetic.convolution import weight_sums
from rillet.ir.facts import has_weights
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import op_macs
from rillet.ir.remembered import remembered
from rillet.ir.types import DType
from rillet.plan.host.pieces import HOST_ALIGNMENT, even, split
from rillet.plan.rows.kernels import Choice
from rillet.plan.rows.plan import Kernel, Packing, Split, Tiling

SQUARE = 4
"""Rows and columns of results that are made together."""
PLACES = (SQUARE + 2) ** 2
"""Values of their transform, of each channel."""
TOGETHER = 24
"""Squares whose sums are held in memory at a time, at most."""
PIXELS, SUM_VECTORS = 6, 2
"""The register tile of their products."""
WEIGHTS = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 12))
"""24 times the transform of three weights in a row; the last place 12 times, which the way back makes up for."""
_MOST = 2**25
"""Sums are less in size."""
CHUNK = 64
"""Channels whose weights are transformed at a time."""
_KEPT_BYTES = 3 * 2**17
"""Transforms of the weights of a layer are stored where they take no more, and stay in the second-level cache; others
are made as they are needed.
"""
_LEAST_SQUARES = 4
"""Of a firing: fewer do not make up for the transforms of weights."""
_STEP_NS, _STEPS_BETWEEN = 0.25, 30
"""Of a multiply-add of two vectors, and what it takes to begin and end a tile."""
_INTO_NS, _OUT_NS = 0.23, 0.43
"""Of each channel of a square's values, and of its results."""
_TURNED_NS, _READ_NS = 0.82, 1.2
"""Of the nine weights between two channels: their transform, and reading a stored one."""
_MACS_PER_NS = 60.0
"""What register tiles make of bytes that are widened to 16 bits."""


def squares(node: Node, pixels: int) -> int:
    """Squares of a firing of so many pixels, whole rows."""
    across, high = -(-node.shape.width // SQUARE), -(-(pixels // node.shape.width) // SQUARE)
    return across * high


def squares_pay(graph: Graph, node: Node, pixels: int, lanes: int) -> bool:
    """True where a firing of so many pixels, whole rows, may be made so and is estimated to be faster for it."""
    op, source = node.op, graph.input_types(node)[0]
    assert has_weights(op)
    window, rows = op.window, pixels // node.shape.width
    fits = window.kernel == (3, 3) and window.stride == (1, 1) and window.dilation == (1, 1) and op.groups == 1
    whole = rows % SQUARE == 0 or pixels == node.shape.pixels
    bytes_ = op.weights is DType.I8 and source.quant is not None and source.dtype in (DType.I8, DType.U8)
    if not (fits and whole and bytes_ and source.shape.channels % (2 * lanes) == 0):
        return False
    if squares(node, pixels) < _LEAST_SQUARES or not _small_sums(graph, node):
        return False
    firings = -(-node.shape.pixels // pixels)
    direct = op_macs(op, graph.input_shapes(node)) / firings / _MACS_PER_NS
    return squares_ns(graph, node, pixels, lanes) < direct


@remembered
def _small_sums(graph: Graph, node: Node) -> bool:
    """True where sums of values from 0 to 255, or from -128 to 127, have no more than 26 bits."""
    if not graph.params:
        return True
    plus, minus = weight_sums(graph, node)
    return bool((256 * np.maximum(plus, -minus) < _MOST).all())


def squares_choice(graph: Graph, node: Node, pixels: int, lanes: int, threads: int) -> Choice:
    """The kernel of such a convolution; each thread makes some output channels, with scratch memory of its own."""
    tiling = Tiling(even(squares(node, pixels), TOGETHER), SUM_VECTORS, halves=keeps_transforms(graph, node))
    made_by = Split.NONE if threads == 1 else Split.CHANNELS
    total = threads * sum(scratch_parts(graph, node, pixels, lanes))
    return Choice(Kernel.WINOGRAD, Packing.BLOCKS, scratch_bytes=total, tiling=tiling, split=made_by)


def keeps_transforms(graph: Graph, node: Node) -> bool:
    """True where the transforms of a layer's weights are stored, not its weights."""
    return 2 * PLACES * graph.input_shapes(node)[0].channels * node.shape.channels <= _KEPT_BYTES


def scratch_parts(graph: Graph, node: Node, pixels: int, lanes: int) -> tuple[int, int, int, int]:
    """Bytes of a firing's padded rows, of its transforms, of the sums of some squares, and of transforms of weights;
    each whole lines.
    """
    channels, count = graph.input_shapes(node)[0].channels, squares(node, pixels)
    across = -(-node.shape.width // SQUARE)
    band = (count // across * SQUARE + 2) * (across * SQUARE + 2) * channels
    # A place is followed by a line of the cache, as RILLET_W_LINE of kernels/winograd.h says.
    values = PLACES * (2 * count * channels + HOST_ALIGNMENT)
    sums = PLACES * (4 * even(count, TOGETHER) * SUM_VECTORS * lanes + HOST_ALIGNMENT)
    turned = PLACES * (2 * min(CHUNK, channels) * SUM_VECTORS * lanes + HOST_ALIGNMENT)
    turned = 0 if keeps_transforms(graph, node) else turned
    band, values, sums, turned = (-(-size // HOST_ALIGNMENT) * HOST_ALIGNMENT for size in (band, values, sums, turned))
    return band, values, sums, turned


def squares_ns(graph: Graph, node: Node, pixels: int, lanes: int) -> float:
    """Estimated nanoseconds of a firing of so many pixels."""
    source, made, count = graph.input_shapes(node)[0].channels, node.shape.channels, squares(node, pixels)
    groups = split(count, even(count, TOGETHER))
    sizes = (p for group in groups for p in split(group, even(group, PIXELS)))
    steps = sum(source / 2 * (max(SUM_VECTORS * p, p + SUM_VECTORS, 8) + 1) + _STEPS_BETWEEN for p in sizes)
    around = count * (source * _INTO_NS + made * _OUT_NS)
    weights = source * made * len(groups) * (_READ_NS if keeps_transforms(graph, node) else _TURNED_NS)
    return PLACES * made / (SUM_VECTORS * lanes) * steps * _STEP_NS + around + weights


def square_weights(weight: Array) -> Array:
    """The transforms of 3x3 weights [output channels][3][3][channels]: [output channels][places][channels]."""
    across = np.array(WEIGHTS, np.int64)
    made = np.einsum("ai,bj,oijc->oabc", across, across, weight.astype(np.int64))
    return made.reshape(len(weight), PLACES, -1).astype(np.int16)


def by_pairs(weight: Array) -> Array:
    """3x3 weights as they are turned while a network runs: [output channels][1][pairs of channels, taps, 2]."""
    pairs = weight.reshape(len(weight), 9, -1, 2)
    return pairs.transpose(0, 2, 1, 3).reshape(len(weight), 1, -1)
