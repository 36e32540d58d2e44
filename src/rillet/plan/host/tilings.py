"""Kernels of a host: the register tile that computes a node, by instruction set, else the portable kernel."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache

import numpy as np

from rillet.arithmetic.affine import FLOAT_MOST, FLOAT_SHIFT
from rillet.arithmetic.convolution import centred_weights, multipliers, weight_sums
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Rounding, Window
from rillet.ir.remembered import remembered
from rillet.ir.types import DType
from rillet.plan.host.matrix import (
    LEAST_MATRIX_DEPTH,
    LEAST_MATRIX_PIXELS,
    MATRIX_BYTES,
    MATRIX_ROWS,
    matrix_tiling,
)
from rillet.plan.host.pieces import HOST_ALIGNMENT, even
from rillet.plan.host.threads import LEAST_EVEN, evenness, pixel_split, share_rows, shares
from rillet.plan.host.winograd import squares_choice, squares_pay
from rillet.plan.rows.kernels import Choice, choose
from rillet.plan.rows.plan import Kernel, Packing, Split, Tiling
from rillet.targets.host import Host


@dataclass(frozen=True, slots=True)
class Vectors:
    """An instruction set: lanes of 32 bits in a register, how many registers, and the register tiles that fit them."""

    lanes: int
    registers: int
    real_pixels: dict[int, int]
    """Vectors of a dense tile -> most pixels: their sums fit beside the weights, and longer tiles are no faster."""
    byte_pixels: dict[int, int]
    """The same for bytes."""
    byte: DType
    """What its dot products take activations of bytes as."""
    fused: bool = True
    """Whether one instruction multiplies and adds, and rounds once."""
    compact: bool = False
    """Whether bytes are worth a little time, as of what pages download: divisions by powers of two are a byte a
    channel, windows of three rows have weights of three, and functions that call tiles are compiled for their size.
    """
    adds: bool = False
    """Whether sums kept as bits are rounded by one addition: kernels then look at the lower 16 bits alone."""
    byte_neighbours: tuple[int, int] = (5, 4)
    """Pixels and vectors of a depthwise tile of bytes."""
    half_pixels: Mapping[int, int] = field(default_factory=dict[int, int])
    """As `byte_pixels`, of bytes that are widened to 16 bits beforehand; nothing where that is no faster."""
    pair_pixels: Mapping[int, int] = field(default_factory=dict[int, int])
    """As `real_pixels`, of float32 that is rounded to bfloat16 beforehand; nothing where no set has its products."""
    pair_extra: str = ""
    """What a processor of this set must have besides, to multiply so."""
    winograd: bool = False
    """Whether Winograd's algorithm in 16-bit values is faster than its products of bytes."""
    matrix: bool = False
    """Whether a matrix unit multiplies bytes, and float32 that is rounded to bfloat16 beforehand."""

    def weight_rows(self, high: int) -> int:
        """Rows of weights of bytes that are stored of a depthwise window of so many."""
        return high if self.compact else -(-high // GROUP_ROWS) * GROUP_ROWS


_NEON = {1: 14, 2: 12, 3: 8, 4: 6, 6: 4, 8: 2}
_WASM = {1: 8, 2: 4, 4: 2}
"""Eight sums: of twelve, engines on x86 keep some in memory, where a product that nothing fuses takes a register."""
_AVX512 = (16, 32, {1: 14, 2: 7, 3: 5, 4: 5, 5: 4}, {1: 14, 2: 8, 3: 5, 4: 4, 5: 4, 6: 4, 8: 2}, DType.U8)
VECTORS = {
    "amx": Vectors(*_AVX512, adds=True, matrix=True),
    "avx512": Vectors(*_AVX512, pair_pixels={1: 14, 2: 7, 3: 5, 4: 5, 5: 4}, pair_extra="avx512_bf16", adds=True),
    "avx2": Vectors(
        *(8, 16, {1: 8, 2: 6, 3: 4, 6: 1}, {1: 8, 2: 4, 4: 2}, DType.U8),
        byte_neighbours=(4, 2),
        half_pixels={1: 12, 2: 6},
        winograd=True,
    ),
    "avxvnni": Vectors(8, 16, {1: 8, 2: 6, 3: 4, 6: 1}, {1: 8, 2: 6, 3: 4, 4: 2}, DType.U8, byte_neighbours=(4, 2)),
    "neon": Vectors(4, 32, _NEON, _NEON, DType.I8),
    "wasm128": Vectors(4, 16, _WASM, _WASM, DType.U8, fused=False, compact=True, byte_neighbours=(1, 4)),
}
_LATENCY = 8
"""Independent sums that keep two multiply-add units of four cycles busy."""
_TILE_STEPS = 12
"""What it takes to begin and end a tile, in steps of one multiply-add."""
_CROWDED = 32
"""Storing takes twice as long with so many sums: the next tile's work then hardly fits beside it."""
MAX_ROW_TAPS = 64
"""Widest window that a depthwise tile is written out for; wider ones take the portable kernel."""
GROUP_ROWS = 4
"""Rows of a window that one dot product of bytes takes in."""
HALVES = PAIRS = 2
"""Values of 16 bits that one takes in, integers or bfloat16."""
LEAST_HALVES = 2
"""Pixels of a tile from which on it is worth while to widen its values and to read weights of twice the size."""
MOST_NEIGHBOURS = 14
"""Pixels of a depthwise tile: more lengthen the program, and hardly save loads."""

_WIDE = ("avx512", "amx")
"""Sets that have the kernels of sparse ternary and of binary weights."""
_ALONE = (Kernel.LOW_BIT, Kernel.LOW_BIT_DEPTHWISE, Kernel.XNOR, Kernel.SIGN)
"""Portable kernels that are not shared among threads: what they gather lies in one place."""


def has_pairs(host: Host) -> bool:
    """True where a host multiplies bfloat16 two by two, and adds them up in float32."""
    vectors = VECTORS.get(host.kernels)
    if vectors is None or vectors.matrix:
        return vectors is not None
    return bool(vectors.pair_pixels) and vectors.pair_extra in host.extras


def no_pairs(host: Host) -> str:
    """What to say of a host without them."""
    pairs = (f"{name} with {set_.pair_extra}" for name, set_ in VECTORS.items() if set_.pair_pixels)
    able = " or ".join([*(name for name, set_ in VECTORS.items() if set_.matrix), *pairs])
    return f"--precision bf16: {host.name} has no products of bfloat16 ({able} has), so layers multiply in float32"


def choose_on(
    graph: Graph, node: Node, tile_pixels: int, kernels: str, threads: int = 1, *, bf16: bool = False
) -> Choice:
    """The kernel for `node` on a host of this kernel set, and how so many threads share it; raises Unsupported where
    there is none.

    bf16: dense layers of float32 multiply in bfloat16, which the host `has_pairs` for.
    """
    if threads == 1:
        return _choose(graph, node, tile_pixels, kernels, Split.NONE, 1, bf16)
    split, even_pixels = pixel_split(node.shape, tile_pixels, threads)
    made = _choose(graph, node, tile_pixels, kernels, split, threads, bf16)
    if made.kernel is Kernel.GLOBAL_POOL:
        return replace(made, split=Split.CHANNELS)
    if made.kernel is Kernel.DENSE:
        made = replace(made, scratch_bytes=made.scratch_bytes * threads)
    if made.kernel is Kernel.WINOGRAD:
        return replace(made, split=Split.CHANNELS)
    if made.kernel not in (Kernel.TILES, Kernel.DEPTHWISE_TILES):
        return made
    by_channels = _choose(graph, node, tile_pixels, kernels, Split.CHANNELS, threads, bf16)
    even_channels = evenness(channel_units(node, by_channels, kernels), threads)
    assert made.tiling is not None
    if by_channels.tiling is not None and by_channels.tiling.matrix and not made.tiling.matrix:
        return by_channels  # shares of pixels are less than the unit has rows
    heavy = made.kernel is Kernel.TILES and _weighs(graph, node, made.tiling) > tile_pixels * node.type.pixel_bytes
    if even_channels > even_pixels and (heavy or even_pixels < LEAST_EVEN):
        return by_channels
    return made if even_pixels >= LEAST_EVEN or not heavy else by_channels


def channel_units(node: Node, choice: Choice, kernels: str) -> int:
    """Groups of output channels that a thread makes all or none of."""
    assert choice.tiling is not None
    return -(-node.shape.channels // (choice.tiling.vectors * VECTORS[kernels].lanes))


def _weighs(graph: Graph, node: Node, tiling: Tiling) -> int:
    return dense_depth(graph, node, tiling) * node.shape.channels * node.type.dtype.numpy.itemsize


def _choose(graph: Graph, node: Node, tile_pixels: int, kernels: str, split: Split, threads: int, bf16: bool) -> Choice:
    op = node.op
    if kernels in _WIDE and has_weights(op) and graph.input_types(node)[0].dtype is DType.BINARY:
        choice, results = choose(graph, node, tile_pixels), -(-op.out_channels // 8) * 8 * 4
        scratch = XNOR_PIXELS * (choice.scratch_bytes + results)
        return replace(choice, packing=Packing.BLOCKS, scratch_bytes=scratch)
    if (
        kernels not in VECTORS
        or not has_weights(op)
        or any(value.dtype in (DType.BINARY, DType.I32, DType.I16) for value in (node.type, *graph.input_types(node)))
        or not (weight_parts(graph, node) and _fits_floats(graph, node))
    ):
        return _portable(graph, node, tile_pixels, split)
    source, vectors = graph.input_shapes(node)[0], VECTORS[kernels]
    real = node.type.quant is None
    if op.depthwise(source) and op.out_channels == source.channels and op.window.extent[1] <= MAX_ROW_TAPS:
        choose(graph, node, tile_pixels)  # refuses types that have no kernel
        tiling = replace(_depthwise(op.window, real, vectors, node), parts=weight_parts(graph, node))
        return Choice(Kernel.DEPTHWISE_TILES, Packing.BLOCKS, tiling=tiling, split=split)
    if op.groups == 1:
        choose(graph, node, tile_pixels)
        parts = weight_parts(graph, node)
        depth = dense_depth(graph, node, Tiling(1, 1, parts))
        if kernels in _WIDE and lists_pay(graph, node, tile_pixels, threads):
            gathered = 0 if op.window.pointwise and parts == 1 else tile_pixels * depth * (4 if real else 1)
            abreast = ABREAST[tile_pixels > ABREAST[0]]
            scratch = gathered + lists_scratch(depth, op.out_channels, abreast)
            return Choice(Kernel.LISTS, Packing.PLACES, scratch_bytes=scratch, tiling=Tiling(abreast, 1))
        if vectors.winograd and squares_pay(graph, node, tile_pixels, vectors.lanes):
            return squares_choice(graph, node, tile_pixels, vectors.lanes, threads)
        pairs = real and bf16 and op.weights is DType.F32
        halves = pairs or (not real and bool(vectors.half_pixels) and tile_pixels >= LEAST_HALVES)
        deep_enough = pairs or (not real and window_runs(graph, node)[2] >= LEAST_MATRIX_DEPTH)
        asked = Tiling(1, 1, 1 if halves else parts, halves, matrix=vectors.matrix and deep_enough)
        pieces = _pieces(graph, node, asked, tile_pixels, split, threads)
        copied = halves or not in_line(node, asked)
        if asked.matrix and min(pieces) < (LEAST_MATRIX_PIXELS if copied else MATRIX_ROWS):
            # Bytes are multiplied by vectors then; processors with the unit have no faster way for pairs than float32.
            asked, pairs, halves = Tiling(1, 1, parts), False, False
            pieces = _pieces(graph, node, asked, tile_pixels, split, threads)
        windows, band = not in_line(node, asked), 0
        if windows:
            band = band_values(graph, node, share_rows(node.shape, tile_pixels, split, threads))
        elif halves:
            band = tile_pixels * source.channels
        values, depth = value_type(asked, real), dense_depth(graph, node, asked)
        if pairs:
            band += past(window_runs(graph, node)[2], values)
        over = threads if split is Split.CHANNELS else 1
        if asked.matrix:
            # Rows of a unit that a piece does not fill read on behind it.
            step = source.channels * (op.window.stride[1] if windows else 1)
            band += max(0, MATRIX_ROWS - min(pieces)) * step if copied else 0
            made = matrix_tiling(op.out_channels, min(pieces), depth // values.deep, over)
        else:
            made = dense_tiling(op.out_channels, max(pieces), depth, values, kernels, over)
        tiling = replace(asked, pixels=made.pixels, vectors=made.vectors)
        scratch = band * (2 if halves else 4 if real else 1)
        if threads > 1:  # each has its own, in lines of the cache that no other writes
            scratch = threads * -(-scratch // HOST_ALIGNMENT) * HOST_ALIGNMENT
        return Choice(Kernel.TILES, Packing.BLOCKS, scratch_bytes=scratch, tiling=tiling, split=split)
    return _portable(graph, node, tile_pixels, split)


def _pieces(graph: Graph, node: Node, tiling: Tiling, tile_pixels: int, split: Split, threads: int) -> set[int]:
    """Pixels that a dense tile's loop goes over at once, those between rows of a band that it reads as one line among
    them.
    """
    windows = not in_line(node, tiling)
    line = band_line(graph, node, split) if tiling.matrix and windows else 0
    if not line:
        return set(shares(node.shape, tile_pixels, split, threads, row_by_row=windows))
    made = shares(node.shape, tile_pixels, split, threads)
    return {(pixels // node.shape.width - 1) * line + node.shape.width for pixels in made}


def band_line(graph: Graph, node: Node, split: Split) -> int:
    """Pixels of the result from a row of a band to the next, counted as they lie, where a matrix unit wastes less by
    computing those in between; 0 where it does not, or rows do not lie so.
    """
    op, width = node.op, node.shape.width
    assert has_weights(op)
    pitch = band_values(graph, node, 1) // op.window.extent[0] * op.window.stride[0]
    step = graph.input_shapes(node)[0].channels * op.window.stride[1]
    if split is Split.COLUMNS or pitch % step:
        return 0
    return pitch // step if pitch // step <= -(-width // MATRIX_ROWS) * MATRIX_ROWS else 0


def _portable(graph: Graph, node: Node, tile_pixels: int, split: Split) -> Choice:
    made = choose(graph, node, tile_pixels)
    return made if made.kernel in _ALONE else replace(made, split=split)


def in_line(node: Node, tiling: Tiling) -> bool:
    """True where a dense tile reads pixel after pixel; elsewhere it reads a band of padded rows."""
    op = node.op
    assert has_weights(op)
    return op.window.pointwise and tiling.parts == 1


def band_values(graph: Graph, node: Node, rows: int) -> int:
    """Values of the padded rows under the windows of so many rows of the result."""
    op, source = node.op, graph.input_shapes(node)[0]
    assert has_weights(op)
    high = (rows - 1) * op.window.stride[0] + op.window.extent[0]
    return high * (source.width + sum(op.window.padding[2:])) * source.channels


def window_runs(graph: Graph, node: Node) -> tuple[int, int, int]:
    """How a window lies in padded rows: (rows, runs of each row, values of a run); a row is one run unless dilated."""
    op, channels = node.op, graph.input_shapes(node)[0].channels
    assert has_weights(op)
    high, wide = op.window.kernel
    return (high, 1, wide * channels) if op.window.dilation[1] == 1 else (high, wide, channels)


class Values(Enum):
    """What a dense tile multiplies."""

    REAL = "float32"
    PAIRS = "bfloat16"
    HALVES = "int16"
    BYTES = "int8"
    MATRIX_PAIRS = "bfloat16 by a matrix unit"
    MATRIX_BYTES = "int8 by a matrix unit"

    @property
    def matrix(self) -> bool:
        """True where a matrix unit multiplies."""
        return self in (Values.MATRIX_PAIRS, Values.MATRIX_BYTES)

    @property
    def real(self) -> bool:
        """True where sums are float32."""
        return self in (Values.REAL, Values.PAIRS, Values.MATRIX_PAIRS)

    @property
    def together(self) -> int:
        """How many of them lie side by side in a lane of the weights."""
        match self:
            case Values.REAL:
                return 1
            case Values.PAIRS | Values.MATRIX_PAIRS:
                return PAIRS
            case Values.HALVES:
                return HALVES
            case Values.BYTES | Values.MATRIX_BYTES:
                return GROUP_ROWS

    @property
    def deep(self) -> int:
        """How many of them one instruction takes in for each sum."""
        return MATRIX_BYTES // 4 * self.together if self.matrix else self.together


def past(values: int, kind: Values) -> int:
    """How many more values than these an instruction takes in at the end."""
    return -values % kind.deep


def value_type(tiling: Tiling, real: bool) -> Values:
    """What the tiles of a stage multiply."""
    if tiling.matrix:
        return Values.MATRIX_PAIRS if real else Values.MATRIX_BYTES
    if real:
        return Values.PAIRS if tiling.halves else Values.REAL
    return Values.HALVES if tiling.halves else Values.BYTES


def dense_depth(graph: Graph, node: Node, tiling: Tiling) -> int:
    """Values of one window, once for each part of the weights, each run rounded up to what one instruction takes in."""
    rows, runs, values = window_runs(graph, node)
    group = value_type(tiling, node.type.quant is None).deep
    return rows * runs * -(-values // group) * group * tiling.parts


@lru_cache(maxsize=4096)
def dense_tiling(channels: int, pixels: int, depth: int, values: Values, kernels: str, threads: int = 1) -> Tiling:
    """The register tile with the fewest steps for so many output channels and pixels at once, each of this depth; the
    channels dealt out to so many threads.
    """
    vectors, real = VECTORS[kernels], values.real
    most, deep = -(-channels // vectors.lanes), depth // values.deep

    def tile_steps(v: int, p: int) -> float:
        # Bytes are stored by four vectors, two or one.
        stored = p * (v * 2 if real else v * 4 + 8 * (v // 4 + (v % 4).bit_count()))
        return deep * (max(p * v, p + v, _LATENCY) + 1) + stored * (1 + p * v / _CROWDED) + _TILE_STEPS

    def steps(tiling: Tiling) -> float:
        p, (whole, rest) = tiling.pixels, divmod(most, tiling.vectors)
        if threads > 1:
            whole, rest = -(-(whole + (rest > 0)) // threads), 0
        blocks = [(tiling.vectors, whole)] + ([(rest, 1)] if rest else [])
        ends = [(p, pixels // p)] + ([(pixels % p, 1)] if pixels % p else [])
        return sum(count * tiles * tile_steps(v, q) for v, count in blocks for q, tiles in ends)

    match values:
        case Values.REAL:
            fitting = vectors.real_pixels
        case Values.PAIRS:
            fitting = vectors.pair_pixels
        case Values.HALVES:
            fitting = vectors.half_pixels
        case Values.BYTES:
            fitting = vectors.byte_pixels
        case Values.MATRIX_PAIRS | Values.MATRIX_BYTES:
            raise AssertionError("matrix_tiling has these")
    candidates = {Tiling(even(pixels, p), v) for v, cap in fitting.items() if v <= most for p in range(1, cap + 1)}
    return min(candidates, key=lambda t: (steps(t), -t.vectors, -t.pixels))


def _depthwise(window: Window, real: bool, vectors: Vectors, node: Node) -> Tiling:
    """Pixels whose sums fit the registers: one vector each beside the columns that they share (real), or four (bytes;
    where fewer vectors are left, a tile has more pixels).
    """
    if not real:
        return Tiling(*vectors.byte_neighbours)
    pixels = 1
    while (pixels + 1) + pixels * window.stride[1] + window.extent[
        1
    ] + 2 <= vectors.registers and pixels < MOST_NEIGHBOURS:
        pixels += 1
    return Tiling(even(node.shape.width, pixels), 1)


@remembered
def weight_parts(graph: Graph, node: Node) -> int:
    """Signed bytes that add up to a weight without its zero point, as dot products of bytes want them; 0: none do."""
    op = node.op
    assert has_weights(op)
    if op.weights is not DType.U8:
        return int(op.weights in (DType.F32, DType.I8, DType.TERNARY, DType.BINARY))
    if not graph.params:
        return 1
    centred = centred_weights(graph, node, op)
    low, high = int(centred.min()), int(centred.max())
    return 1 if low >= -128 and high <= 127 else 2 if high <= 254 else 0


XNOR_PIXELS = 4
"""Pixels whose bits are gathered at once on a host."""

# -- sparse ternary weights ------------------------------------------------------------------------------------------

ABREAST = (32, 64)
"""Pixels that are summed at once."""
LISTS_MOST = 128
"""Longest list: sums of so many bytes fit 16 bits with their sign."""
LISTS_DEPTH = 4000
"""Deepest window: places are 16-bit numbers."""
LISTS_GAIN = 1.1
"""How many times slower register tiles must be, by the estimates below, before lists are taken."""
_DENSE_MACS_PER_NS = 460.0
_NS_A_VALUE, _NS_AN_ADDITION, _NS_AN_OUTPUT = 1.3 / 64, 0.27 / 32, 6.0 / 64
"""What a pixel costs: each of its values, each weight that is not zero, each output. Measured; see bench/lowbit.py."""


def lists_scratch(depth: int, channels: int, abreast: int) -> int:
    """Bytes of the values and of the results of `abreast` pixels, whole sixteens of channels, and a place of zeros."""
    return abreast * (2 * (_sixteens(depth) + 1) + _sixteens(channels))


def _sixteens(count: int) -> int:
    return -(-count // 16) * 16


@lru_cache(maxsize=512)
def list_lengths(graph: Graph, node: Node) -> tuple[int, int] | None:
    """Places in all lists of a ternary layer, in whole fours, and in the longest; None where it has none."""
    op = node.op
    assert has_weights(op)
    if op.weights is not DType.TERNARY or op.groups != 1 or node.type.quant is None or not graph.params:
        return None
    rows = graph.param(node, "weight").astype(np.int8).reshape(op.out_channels, -1)
    lengths = np.stack([(rows > 0).sum(1), (rows < 0).sum(1)])
    return int((-(-lengths // 4) * 4).sum()), int(lengths.max())


def lists_ns(graph: Graph, node: Node, pixels: int) -> float | None:
    """Estimated nanoseconds of a firing of so many pixels by lists; None where they do not fit."""
    found, op = list_lengths(graph, node), node.op
    assert has_weights(op)
    depth = op.window.taps * graph.input_shapes(node)[0].channels
    if found is None or found[1] > LISTS_MOST or depth > LISTS_DEPTH:
        return None
    abreast = ABREAST[pixels > ABREAST[0]]
    whole = -(-pixels // abreast) * abreast
    return whole * (depth * _NS_A_VALUE + found[0] * _NS_AN_ADDITION + op.out_channels * _NS_AN_OUTPUT)


def lists_pay(graph: Graph, node: Node, pixels: int, threads: int = 1) -> bool:
    """True where lists, which one thread makes alone, are estimated to be clearly faster than register tiles."""
    op, estimate = node.op, lists_ns(graph, node, pixels)
    assert has_weights(op)
    if estimate is None:
        return False
    depth = op.window.taps * graph.input_shapes(node)[0].channels
    return pixels * _sixteens(op.out_channels) * depth / _DENSE_MACS_PER_NS / threads > LISTS_GAIN * estimate


def _fits_floats(graph: Graph, node: Node) -> bool:
    """True where float32 can follow every sum that is shifted: not too far, and one that is not shifted at all is less
    than 2**31 as a float32 (register tiles have no other way to shift).
    """
    op, source = node.op, graph.by_name[node.inputs[0]].type.quant
    assert has_weights(op)
    if op.rounding is not Rounding.SHIFT or source is None or node.type.quant is None or not graph.params:
        return True
    shifts = multipliers(graph, node, op, source, node.type.quant)[1]
    if (shifts > 0).all():
        return bool((shifts <= FLOAT_SHIFT).all())
    plus, minus = weight_sums(graph, node)
    reach = (plus - minus) * 255
    if op.bias:
        reach = reach + np.abs(graph.param(node, "bias").astype(np.int64))
    return bool((shifts <= FLOAT_SHIFT).all() and (reach[shifts == 0] < FLOAT_MOST).all())
