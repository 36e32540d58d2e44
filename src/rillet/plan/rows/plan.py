"""The plan: when each layer fires and where each value lies. A backend receives it and decides neither."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from rillet.ir.graph import Graph
from rillet.system.record import Record
from rillet.targets.host import Host


class BufferKind(Enum):
    """What a buffer holds: a full tensor, a ring buffer of its last pixels, accumulators of a pool, or scratch."""

    MAP = "map"
    RING = "ring"
    SUMS = "sums"
    SCRATCH = "scratch"


class Kernel(Enum):
    """The inner loop of a stage; each is one file of the backend."""

    DENSE = "dense"
    DEPTHWISE = "depthwise"
    POOL = "pool"
    GLOBAL_POOL = "global_pool"
    ARITHMETIC = "arithmetic"
    LOOKUP = "lookup"
    FUNCTION = "function"
    QUANTIZE = "quantize"
    DEQUANTIZE = "dequantize"
    SOFTMAX = "softmax"
    COPY = "copy"
    TILES = "tiles"
    """Any convolution but a depthwise one, by register tiles of pixels x vectors over packed weights."""
    DEPTHWISE_TILES = "depthwise_tiles"
    """A depthwise convolution by register tiles of pixels, channels as vectors."""
    LISTS = "lists"
    """A convolution with sparse ternary weights, as lists of places, over many pixels abreast."""
    LOW_BIT = "low_bit"
    """A convolution with ternary or binary weights as they lie packed."""
    LOW_BIT_DEPTHWISE = "low_bit_depthwise"
    XNOR = "xnor"
    """A convolution of binary values with binary weights."""
    SIGN = "sign"
    """Signs of 8-bit values as bits."""


class Packing(Enum):
    """Order of a stage's weights: output channel first, tap first (channels innermost), or in blocks of vectors; those
    of one or two bits packed as ir/packed.py says.
    """

    NONE = "none"
    OUTPUT_MAJOR = "output_major"
    TAP_MAJOR = "tap_major"
    BLOCKS = "blocks"
    """In the order in which register tiles read them: blocks of output vectors, in each the depth, lanes innermost."""
    PLANES = "planes"
    LISTS = "lists"
    PLACES = "places"
    """Lists of the places of the values under + and under -, output channels of equally long lists side by side."""


class Split(Enum):
    """How the threads of a program share the work of a tile."""

    NONE = "none"
    """The caller's thread makes it alone."""
    ROWS = "rows"
    """Each makes some of its rows."""
    COLUMNS = "columns"
    """Each makes some columns of every row."""
    CHANNELS = "channels"
    """Each makes some output channels of every pixel, and reads no other weights than those."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """A piece of the arena, alive from its first to its last segment.

    A ring holds pixel i of its value at slot i % pixels; a map has a slot for every pixel.
    """

    name: str
    kind: BufferKind
    pixels: int
    pixel_bytes: int
    offset: int
    first: int
    last: int

    @property
    def bytes(self) -> int:
        """Size in the arena."""
        return self.pixels * self.pixel_bytes


@dataclass(frozen=True, slots=True)
class Tiling:
    """The register tile of a stage: sums of `pixels` pixels x `vectors` vectors of channels are held at a time."""

    pixels: int
    vectors: int
    parts: int = 1
    """Signed bytes that add up to one weight: two for uint8 weights that less their zero point are no bytes."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One node at work within a segment: it makes up to `tile_pixels`, of a row or in whole rows, as soon as their
    windows are there.
    """

    node: str
    kernel: Kernel
    packing: Packing
    tile_pixels: int
    output: str
    """Name of the buffer that holds its value."""
    scratch: str | None = None
    """Name of the working space, for kernels that gather windows or sums."""
    tiling: Tiling | None = None
    """Of kernels that work by register tiles."""
    split: Split = Split.NONE


@dataclass(frozen=True, slots=True)
class Segment:
    """Layers that stream together: the driver's pixels go in, and each stage fires when it can."""

    driver: str
    """Name of the value whose pixels set the pace."""
    tile_pixels: int
    """Pixels of the driver that come at once."""
    stages: tuple[Stage, ...]
    peak_bytes: int
    """Bytes alive at the worst moment of this segment, gaps between buffers not counted."""
    tile_rows: int = 0
    """Rows that a tile has, where tiles are whole rows; else 0."""


@dataclass(frozen=True, repr=False)
class RowPlan(Record):
    """Segments in order, buffers with their offsets, and the numbers that a run must measure again."""

    kind: str
    graph: Graph
    segments: tuple[Segment, ...]
    buffers: Mapping[str, Buffer]
    resident: bool
    """True where the whole input image lies in the arena; else its rows are pushed in, from the caller's memory."""
    host: Host | None = None
    """The machine whose kernels it uses; None for the portable ones."""
    sign_flipped: frozenset[str] = frozenset()
    """Tensors stored with the sign bit flipped (int8 as uint8, offset by 128, or the reverse), because the host's dot
    product instruction takes activations of that type.
    """
    threads: int = 1
    """Threads that make the tiles together; the bytes do not depend on it."""

    def __repr__(self) -> str:
        kernels = self.host.kernels if self.host else "portable"
        threads = f", {self.threads} threads" if self.threads > 1 else ""
        return (
            f"RowPlan({self.graph.name!r}, {len(self.segments)} segments, {self.arena_bytes:,} bytes of activations, "
            f"{kernels} kernels{threads})"
        )

    @cached_property
    def arena_bytes(self) -> int:
        """Bytes of activations, all buffers and working space included."""
        return max(buffer.offset + buffer.bytes for buffer in self.buffers.values())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image under this plan (nothing is computed twice)."""
        return self.graph.macs

    @cached_property
    def map_bytes(self) -> int:
        """Bytes of whole maps that are materialised, the input and the outputs not counted."""
        ends = {node.name for node in self.graph.input_nodes} | set(self.graph.outputs)
        maps = (b for b in self.buffers.values() if b.kind is BufferKind.MAP)
        return sum(b.bytes for b in maps if b.name not in ends)
