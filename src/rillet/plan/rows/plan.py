"""The plan: when each layer fires and where each value lies. A backend receives it and decides neither."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from rillet.ir.graph import Graph
from rillet.plan.rows.order import Order, order_of
from rillet.system.record import Record
from rillet.targets.boards import Board
from rillet.targets.host import Host


class BufferKind(Enum):
    """Content of a buffer: a full tensor, a ring buffer of its last pixels, accumulators of a pool, or scratch."""

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
    CURVE = "curve"
    PAIR = "pair"
    WIDE_FUNCTION = "wide_function"
    """A function of 16-bit values, or the way between these and bytes."""
    QUANTIZE = "quantize"
    DEQUANTIZE = "dequantize"
    SOFTMAX = "softmax"
    ARGMAX = "argmax"
    COPY = "copy"
    INTERPOLATE = "interpolate"
    TILES = "tiles"
    """Any convolution but a depthwise one, by register tiles of pixels x vectors over packed weights."""
    WINOGRAD = "winograd"
    """A convolution of bytes by windows of 3x3, squares of 4x4 results at a time, by Winograd's algorithm."""
    DEPTHWISE_TILES = "depthwise_tiles"
    """A depthwise convolution by register tiles of pixels, channels as vectors."""
    LISTS = "lists"
    """A convolution with sparse ternary weights, as index lists of the nonzeros, over many pixels at once."""
    LOW_BIT = "low_bit"
    """A convolution with ternary or binary weights, unpacked on the fly."""
    LOW_BIT_DEPTHWISE = "low_bit_depthwise"
    XNOR = "xnor"
    """A convolution of binary values with binary weights."""
    SIGN = "sign"
    """Signs of 8-bit values as bits."""
    CORE_DENSE = "core_dense"
    """Any convolution but a grouped one, by the kernels of a microcontroller's core: two output channels at a time."""
    CORE_DEPTHWISE = "core_depthwise"
    """A depthwise convolution by those kernels, four channels of a pixel at a time."""
    CORE_PLANES = "core_planes"
    """A depthwise 3x3 convolution by those kernels over rows that lie channel by channel, two pixels at a time."""
    CORE_LISTS = "core_lists"
    """A convolution with sparse ternary weights by those kernels, as lists of places, two pixels at a time."""
    CORE_SUM = "core_sum"
    """Sums and differences of two tensors of one shape by those kernels, where they have vectors."""


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
    CORE = "core"
    """As the kernels of a microcontroller's core read them, constants of each output channel beside its weights."""
    PLACES = "places"
    """Index lists of the +1 and of the -1 weights, output channels with equally long lists side by side."""


class Split(Enum):
    """How the threads of a program share the work of a tile."""

    NONE = "none"
    """Not split: the caller's thread computes the tile."""
    ROWS = "rows"
    """Each thread computes some rows of the tile."""
    COLUMNS = "columns"
    """Each thread computes some columns of every row."""
    CHANNELS = "channels"
    """Each thread computes some output channels of every pixel, and reads only their weights."""


class CoreKernels(Enum):
    """Kernels of microcontroller cores, by what their instructions are."""

    DSP = "dsp"
    """Armv7E-M and Armv8-M with the DSP extension: Cortex-M4, M7, M33."""
    ARMV6M = "armv6m"
    """Armv6-M: Cortex-M0, M0+."""
    HELIUM = "helium"
    """Armv8.1-M with vectors: Cortex-M55, M85."""


@dataclass(frozen=True, slots=True)
class Planes:
    """Rows of a map kept channel by channel: a channel's row of `width` pixels takes `pitch` bytes, with the padding
    before and behind it.
    """

    width: int
    pitch: int
    before: int = 1
    """Bytes of padding before the row."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """A buffer in the arena, alive from its first to its last segment.

    A ring buffer stores pixel i of its value in slot i % pixels; a full tensor has a slot for every pixel. With
    `planes`, slots are whole rows, and the channels of a row lie one after another.
    """

    name: str
    kind: BufferKind
    pixels: int
    pixel_bytes: int
    offset: int
    first: int
    last: int
    planes: Planes | None = None

    @property
    def bytes(self) -> int:
        """Size in the arena."""
        return stored_bytes(self.pixels, self.pixel_bytes, self.planes)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, of a buffer that has planes."""
        assert self.planes is not None
        return self.pixel_bytes * self.planes.pitch


def stored_bytes(pixels: int, pixel_bytes: int, planes: Planes | None) -> int:
    """Bytes that so many pixels take, whole rows of them where they are kept as planes (of bytes)."""
    return pixels * pixel_bytes if planes is None else pixels // planes.width * pixel_bytes * planes.pitch


@dataclass(frozen=True, slots=True)
class Tiling:
    """The register tile of a stage: sums of `pixels` pixels x `vectors` vectors of channels are held at a time."""

    pixels: int
    vectors: int
    parts: int = 1
    """Signed bytes that add up to one weight: two for uint8 weights that less their zero point are no bytes."""
    halves: bool = False
    """Whether values and weights are made 16 bits wide before they are multiplied: bytes widened, float32 rounded to
    bfloat16. Of Winograd's algorithm, whether the transforms of weights are stored.
    """
    matrix: bool = False
    """Whether a matrix unit multiplies: `pixels` are whole blocks of its rows."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One node within a segment: it computes tiles of up to `tile_pixels`, of a row or of whole rows, each as soon as
    the pixels under its windows have arrived.
    """

    node: str
    kernel: Kernel
    packing: Packing
    tile_pixels: int
    output: str
    """Name of the buffer of its value."""
    scratch: str | None = None
    """Name of the scratch buffer, for kernels with an im2col buffer or accumulators."""
    tiling: Tiling | None = None
    """The register tile, for kernels that have one."""
    split: Split = Split.NONE


@dataclass(frozen=True, slots=True)
class Segment:
    """Layers that run interleaved: the driver's pixels arrive, and each stage fires when its inputs are ready."""

    driver: str
    """Name of the value that the segment reads tile by tile."""
    tile_pixels: int
    """Pixels of the driver in a tile."""
    stages: tuple[Stage, ...]
    peak_bytes: int
    """Bytes of the buffers alive in this segment, gaps between them not counted."""
    tile_rows: int = 0
    """Rows of a tile, where tiles are whole rows; else 0."""


@dataclass(frozen=True, repr=False)
class RowPlan(Record):
    """Segments in order, buffers with their offsets in the arena, and the sizes that a run must confirm."""

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
    """Threads that compute each tile together; outputs are bit-identical for any number."""
    core: CoreKernels | None = None
    """The kernels of a microcontroller's core that it uses beside the portable ones."""
    board: Board | None = None
    """The board that it was planned for."""

    @cached_property
    def pushed(self) -> int | None:
        """The place of the segment that pushed rows drive: the first, but for those of other inputs alone; None where
        the image is resident.
        """
        image = self.graph.input_nodes[0].name
        return None if self.resident else next(i for i, one in enumerate(self.segments) if one.driver == image)

    @property
    def kernels(self) -> str:
        """The name of its kernel set."""
        return self.host.kernels if self.host else self.core.value if self.core else "portable"

    @cached_property
    def order(self) -> Order:
        """The order in which its program tries the stages."""
        return order_of(self.graph, self.segments)

    @cached_property
    def bf16_nodes(self) -> frozenset[str]:
        """Names of the nodes that round what they read, and their weights, to bfloat16; they sum in float32."""
        stages = (stage for segment in self.segments for stage in segment.stages)
        halves = (stage.node for stage in stages if stage.tiling is not None and stage.tiling.halves)
        return frozenset(name for name in halves if self.graph.by_name[name].type.quant is None)

    @cached_property
    def has_matrices(self) -> bool:
        """True where some of its stages have a matrix unit multiply."""
        stages = (stage for segment in self.segments for stage in segment.stages)
        return any(stage.tiling is not None and stage.tiling.matrix for stage in stages)

    @cached_property
    def by_rows(self) -> bool:
        """True where its tiles are whole rows."""
        return any(segment.tile_rows for segment in self.segments)

    def __repr__(self) -> str:
        kernels = self.kernels
        threads = f", {self.threads} threads" if self.threads > 1 else ""
        return (
            f"RowPlan({self.graph.name!r}, {len(self.segments)} segments, {self.arena_bytes:,} bytes of activations, "
            f"{kernels} kernels{threads})"
        )

    @cached_property
    def arena_bytes(self) -> int:
        """Bytes of the arena: all activation buffers and scratch memory."""
        return max(buffer.offset + buffer.bytes for buffer in self.buffers.values())

    @cached_property
    def padded(self) -> Mapping[int, Sequence[Buffer]]:
        """The buffers that are kept channel by channel, by the segment that they begin with."""
        found: dict[int, list[Buffer]] = {}
        for buffer in self.buffers.values():
            if buffer.planes is not None:
                found.setdefault(buffer.first, []).append(buffer)
        return found

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image under this plan (nothing is computed twice)."""
        return self.graph.macs

    @cached_property
    def map_bytes(self) -> int:
        """Bytes of full tensors that are materialised, the input and the outputs not counted."""
        ends = {node.name for node in self.graph.input_nodes} | set(self.graph.outputs)
        maps = (b for b in self.buffers.values() if b.kind is BufferKind.MAP)
        return sum(b.bytes for b in maps if b.name not in ends)
