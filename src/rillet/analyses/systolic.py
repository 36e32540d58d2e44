"""Cycles, folds and traffic of a network on a systolic array, by closed forms: layers as matrix products or 1-D lines.

A convolution is `groups` products of M x K by K x N: M output pixels, N filters of a group, K = taps x channels of a
group. A depthwise convolution is a product with N = 1 for each channel. Dense layers and those of a squeeze-and-excite
are products with M = 1. What has no weights (pools, additions, activations) takes no cycles. An array does a product
fold by fold, a fold being what fits its rows and columns at once; layers follow one another.

`simulation/array.py` moves values through such an array cycle by cycle and finds what `exact` says here.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import NamedTuple, TypeVar, assert_never

from rillet.errors import TargetError
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv
from rillet.ir.types import Shape
from rillet.system.record import Record

MAX_SIDE = 2**20
"""Most rows or columns of an array."""


class Dataflow(StrEnum):
    """What stays in the array while the rest moves."""

    OS = "os"
    """Output stationary: a fold is r output pixels x c filters, and K pairs of operands pass each of them."""
    WS = "ws"
    """Weight stationary: a fold is r of the K weights of c filters, and all M output pixels pass."""
    IS = "is"
    """Input stationary: a fold is r of the K inputs of c output pixels, and all N filters pass."""


class Convention(StrEnum):
    """The cycle-count model."""

    EXACT = "exact"
    """A fold takes T + r + c - 2 cycles (T values stream skewed past r x c elements), partial folds their own r and c.

    Loading what stays (WS, IS) or draining what was made (OS) takes r more. With double buffers the array does it
    beside the fold before (the drain: after), so that only the first load (last drain) shows, and what a small fold
    cannot hide of its neighbour's. Weights enter at the edge where sums leave, so a partial fold costs its own r.
    WS and IS go through K first and keep partial sums in the output buffer; OS goes through the filters first.
    """
    SCALESIM = "scalesim"
    """SCALE-Sim 3.0.0: every fold costs what a whole one does, and the last cycle of a product is not counted.

    Its maps have ceil((H - R + s) / s) rows, one too many where the stride does not divide H - R.
    """
    FUSE = "fuse"
    """The latency model published with FuSeConv (Ganesan et al., DATE 2021): a fold takes K + r + c - 1 cycles.

    Lines on its broadcast hardware take ceil(ceil(H C / X) / stride (Y + K) ceil(W / Y)), H and W padded.
    """


class Hardware(StrEnum):
    """What the rows of the array can do."""

    SYSTOLIC = "systolic"
    """Operands pass from neighbour to neighbour, nothing else."""
    FUSE = "fuse"
    """Each row also has a line that broadcasts a weight to all its elements, for 1 x K and K x 1 depthwise layers."""


@dataclass(frozen=True, slots=True)
class SystolicArray:
    """An array and the rules by which its cycles are counted; raises TargetError where they make none."""

    rows: int
    columns: int
    dataflow: Dataflow = Dataflow.OS
    convention: Convention = Convention.EXACT
    hardware: Hardware = Hardware.SYSTOLIC
    exact_maps: bool = False
    """Under `scalesim`: with the maps that the layers really have."""
    double_buffered: bool = True
    """Under `exact`: loads and drains beside the work of another fold."""

    def __post_init__(self) -> None:
        for name, side in (("rows", self.rows), ("columns", self.columns)):
            if not 1 <= side <= MAX_SIDE:
                raise TargetError(f"{name} of a systolic array must be 1 to {MAX_SIDE}, got {side}")
        if self.exact_maps and self.convention is not Convention.SCALESIM:
            raise TargetError(f"--exact-maps must come with --convention scalesim, got {self.convention.value}")
        if self.hardware is Hardware.FUSE and self.dataflow is not Dataflow.OS:
            raise TargetError(f"dataflow must be os on the hardware fuse, got {self.dataflow.value}")
        if self.convention is Convention.FUSE and self.dataflow is not Dataflow.OS:
            raise TargetError(f"dataflow must be os under the convention fuse, got {self.dataflow.value}")
        if self.convention is Convention.SCALESIM and self.hardware is Hardware.FUSE:
            raise TargetError("hardware must be systolic under the convention scalesim, got fuse")


class Buses(NamedTuple):
    """What moves values to and from the array; None where nothing limits it."""

    operand_bytes: int = 1
    """Bytes of an input and of a weight, and of an output once it goes to DRAM."""
    accumulator_bytes: int = 4
    """Bytes of a sum in the output buffer."""
    sram_bytes_per_cycle: float | None = None
    """Of each of the three buffers, for inputs, weights and outputs."""
    dram_bytes_per_cycle: float | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution or dense layer on the array, for one image."""

    name: str
    block: str
    lines: bool
    """True where the rows of the array each do a line of a 1-D convolution, with broadcast weights."""
    pixels: int
    """M; for lines: how many lines there are."""
    filters: int
    """N of a group; for lines: positions along a line, each at stride 1."""
    depth: int
    """K."""
    groups: int
    macs: int
    cycles: int
    """While nothing waits for a buffer or for DRAM."""
    stall_cycles: int
    """What the slowest of the three buffers and DRAM takes beyond those, each fed evenly over the layer."""
    folds: int
    utilisation: float
    """MACs over cycles x rows x columns."""
    input_reads: int
    """Values that enter the array from the input buffer, padding and repeats among them."""
    weight_reads: int
    output_writes: int
    """Sums, partial ones among them, that go to the output buffer."""
    output_reads: int
    """Partial sums read back from it to be added to."""
    dram_bytes: int
    """Inputs, weights and outputs, each once: the least, as with buffers that hold what is used again."""
    input_bytes_per_cycle: float
    """What the input buffer must give for no stall; and so on."""
    weight_bytes_per_cycle: float
    output_bytes_per_cycle: float
    dram_bytes_per_cycle: float


@dataclass(frozen=True, slots=True, repr=False)
class Systolic(Record):
    """A network on a systolic array, for one image."""

    name: str
    rows: int
    columns: int
    dataflow: str
    convention: str
    hardware: str
    cycles: int
    """The sum over the layers, stalls left out."""
    stall_cycles: int
    macs: int
    utilisation: float
    folds: int
    input_reads: int
    weight_reads: int
    output_writes: int
    output_reads: int
    dram_bytes: int
    layers: tuple[Layer, ...]

    def __repr__(self) -> str:
        on = f"{self.rows}x{self.columns}, {self.dataflow}"
        return f"<Systolic {self.name} on {on}: {self.cycles:,} cycles, {self.utilisation:.1%} used>"


def systolic(
    graph: Graph,
    *,
    rows: int,
    columns: int,
    dataflow: str = "os",
    convention: str = "exact",
    hardware: str = "systolic",
    exact_maps: bool = False,
    double_buffered: bool = True,
    operand_bytes: int = 1,
    accumulator_bytes: int = 4,
    sram_bytes_per_cycle: float | None = None,
    dram_bytes_per_cycle: float | None = None,
) -> Systolic:
    """Cycles and traffic of `graph` on an array of `rows` x `columns`, layer by layer.

    Raises TargetError for an array without rows or columns, an unknown word, words that do not go together, and sizes
    or bandwidths that are not positive.
    """
    array = SystolicArray(
        rows,
        columns,
        _word(Dataflow, "dataflow", dataflow),
        _word(Convention, "convention", convention),
        _word(Hardware, "hardware", hardware),
        exact_maps,
        double_buffered,
    )
    buses = Buses(operand_bytes, accumulator_bytes, sram_bytes_per_cycle, dram_bytes_per_cycle)
    for name, value in buses._asdict().items():
        if value is not None and not 0 < value < float("inf"):
            raise TargetError(f"{name} must be a positive number, got {value:g}")
    nodes = graph.by_name
    layers = tuple(
        [
            _layer(node, node.op, nodes[node.inputs[0]].shape, array, buses)
            for node in graph.nodes
            if has_weights(node.op)
        ]
    )
    cycles, macs = sum([layer.cycles for layer in layers]), sum([layer.macs for layer in layers])
    return Systolic(
        name=graph.name,
        rows=rows,
        columns=columns,
        dataflow=array.dataflow.value,
        convention=array.convention.value,
        hardware=array.hardware.value,
        cycles=cycles,
        stall_cycles=sum([layer.stall_cycles for layer in layers]),
        macs=macs,
        utilisation=macs / (cycles * rows * columns) if cycles else 0.0,
        folds=sum([layer.folds for layer in layers]),
        input_reads=sum([layer.input_reads for layer in layers]),
        weight_reads=sum([layer.weight_reads for layer in layers]),
        output_writes=sum([layer.output_writes for layer in layers]),
        output_reads=sum([layer.output_reads for layer in layers]),
        dram_bytes=sum([layer.dram_bytes for layer in layers]),
        layers=layers,
    )


_Word = TypeVar("_Word", Dataflow, Convention, Hardware)


def _word(words: type[_Word], what: str, given: str) -> _Word:
    try:
        return words(given)
    except ValueError:
        near = get_close_matches(given, list(words), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise TargetError(f"{what} must be {', '.join(words)}, got {given!r}{hint}") from None


class Cost(NamedTuple):
    """What a layer takes on the array: cycles, folds, and values at the edges of the buffers."""

    cycles: int
    folds: int
    input_reads: int
    weight_reads: int
    output_writes: int
    output_reads: int


class Product(NamedTuple):
    """`groups` products of pixels x depth by depth x filters."""

    pixels: int
    filters: int
    depth: int
    groups: int


class Lines(NamedTuple):
    """1-D convolutions of one filter each: `lines` lines of `positions` places, all computed, `kept` of them wanted."""

    lines: int
    positions: int
    kept: int
    taps: int
    reach: int
    """Places from the first to the last tap, dilation included."""


def is_line(op: Conv, source: Shape) -> bool:
    """True for a 1 x K or K x 1 convolution (K > 1) whose every filter sees one channel."""
    kernel_rows, kernel_columns = op.window.kernel
    return op.groups == source.channels and (kernel_rows == 1) != (kernel_columns == 1) and not op.dense


def lines_of(op: Conv, source: Shape) -> Lines:
    """The lines of a 1 x K or K x 1 convolution; a stride along them leaves out places, one across them whole lines."""
    window = op.window
    along = 1 if window.kernel[0] == 1 else 0
    out = window.output(source)
    positions = (out[along] - 1) * window.stride[along] + 1
    return Lines(out[1 - along] * op.out_channels, positions, out[along], window.kernel[along], window.extent[along])


def _layer(node: Node, op: Conv, source: Shape, array: SystolicArray, buses: Buses) -> Layer:
    window, shape, groups = op.window, node.type.shape, op.groups
    taps = window.kernel[0] * window.kernel[1]
    pixels, filters, depth = shape.height * shape.width, op.out_channels // groups, taps * source.channels // groups
    macs, weights = pixels * op.out_channels * depth, op.out_channels * depth
    lined = array.hardware is Hardware.FUSE and is_line(op, source)
    if lined:
        lines = lines_of(op, source)
        cost = exact_lines(lines, array) if array.convention is Convention.EXACT else _fuse_lines(op, source, array)
        pixels, filters = lines.lines, lines.positions
    else:
        if array.convention is Convention.SCALESIM and not array.exact_maps:
            pixels = _scalesim_pixels(op, source)
        cost = product(Product(pixels, filters, depth, groups), array)
    cycles = cost.cycles
    span = max(1, cycles)  # SCALE-Sim takes no cycle for a single product on a single element
    operand, accumulator = buses.operand_bytes, buses.accumulator_bytes
    inputs, weight, outputs = (
        cost.input_reads * operand,
        cost.weight_reads * operand,
        (cost.output_writes + cost.output_reads) * accumulator,
    )
    dram = (source.elements + weights + shape.elements) * operand
    stall = 0.0
    if buses.sram_bytes_per_cycle is not None:
        stall = max(inputs, weight, outputs) / buses.sram_bytes_per_cycle - cycles
    if buses.dram_bytes_per_cycle is not None:
        stall = max(stall, dram / buses.dram_bytes_per_cycle - cycles)
    return Layer(
        node.name,
        node.block,
        lined,
        pixels,
        filters,
        depth,
        groups,
        macs,
        cycles,
        max(0, -int(-stall // 1)),
        cost.folds,
        macs / (span * array.rows * array.columns),
        cost.input_reads,
        cost.weight_reads,
        cost.output_writes,
        cost.output_reads,
        dram,
        inputs / span,
        weight / span,
        outputs / span,
        dram / span,
    )


# -- products --------------------------------------------------------------------------------------------------------


def product(work: Product, array: SystolicArray) -> Cost:
    """Cost of a product under the array's convention; traffic is that of its folds at their own sizes."""
    pixels, filters, depth, groups = work
    match array.dataflow:
        case Dataflow.OS:
            down, across, streamed = pixels, filters, depth
        case Dataflow.WS:
            down, across, streamed = depth, filters, pixels
        case Dataflow.IS:
            down, across, streamed = depth, pixels, filters
        case _:
            assert_never(array.dataflow)
    folds_down, folds_across = -(-down // array.rows), -(-across // array.columns)
    folds = groups * folds_down * folds_across
    match array.convention:
        case Convention.EXACT:
            cycles = _exact(down, across, streamed, groups, array)
        case Convention.SCALESIM:
            cycles = folds * (streamed + array.rows + array.columns - 2) - groups
            if array.dataflow is not Dataflow.OS:
                cycles += folds * array.rows
        case Convention.FUSE:
            cycles = folds * (streamed - 1) + groups * (folds_across * down + folds_down * across)
        case _:
            assert_never(array.convention)
    sums = groups * pixels * filters
    passing, still = groups * down * streamed * folds_across, groups * down * across
    match array.dataflow:
        case Dataflow.OS:
            return Cost(cycles, folds, passing, groups * across * streamed * folds_down, sums, 0)
        case Dataflow.WS:
            return Cost(cycles, folds, passing, still, sums * folds_down, sums * (folds_down - 1))
        case Dataflow.IS:
            return Cost(cycles, folds, still, passing, sums * folds_down, sums * (folds_down - 1))
        case _:
            assert_never(array.dataflow)


def _exact(down: int, across: int, streamed: int, groups: int, array: SystolicArray) -> int:
    rows, columns = array.rows, array.columns
    (fulls_down, rest_down), (fulls_across, rest_across) = divmod(down, rows), divmod(across, columns)
    folds_down, folds_across = fulls_down + (rest_down > 0), fulls_across + (rest_across > 0)
    # The sum of T + r + c - 2 over all folds: the r of a column of folds add up to `down`, the c of a row to `across`.
    work = groups * (folds_down * folds_across * (streamed - 2) + folds_across * down + folds_down * across)
    if not array.double_buffered:
        return work + groups * folds_across * down
    # Only next to a fold of `rest_down` rows can a load or drain of all rows show.
    mixed = fulls_down > 0 and rest_down > 0
    if array.dataflow is Dataflow.OS:
        shown = rest_down or rows
        if mixed:
            shown += groups * max(0, rows - (streamed + rest_down + min(columns, across) - 2))
        return work + shown
    shown = min(rows, down)
    if mixed:
        short = streamed + rest_down - 2
        last = rest_across or columns
        shown += groups * fulls_across * max(0, rows - short - columns)
        shown += groups * max(0, rows - short - rest_across) if rest_across else 0
        shown -= max(0, rows - short - last)  # nothing is loaded beside the last fold
    return work + shown


def _scalesim_pixels(op: Conv, source: Shape) -> int:
    """Output pixels as SCALE-Sim has them; its map comes padded and its stride is rounded the wrong way."""
    top, bottom, left, right = op.window.padding
    (down, across), (rows, columns) = op.window.stride, op.window.extent
    height, width = source.height + top + bottom - rows + down, source.width + left + right - columns + across
    return -(-height // down) * -(-width // across)


# -- lines -----------------------------------------------------------------------------------------------------------


def exact_lines(lines: Lines, array: SystolicArray) -> Cost:
    """Cost of 1-D convolutions on rows with broadcast weights.

    A fold is r lines x c places. Inputs enter each row at its left end, the first one reaching its far element after
    c - 1 cycles; then a tap a cycle is broadcast, `reach` cycles in all. Sums leave along the row in c cycles, beside
    the next fold with double buffers. The folds go down the lines first.
    """
    columns = array.columns
    fulls, rest = divmod(lines.positions, columns)
    folds_down, folds_across = -(-lines.lines // array.rows), fulls + (rest > 0)
    cycles = folds_down * (lines.positions + folds_across * (lines.reach - 1))
    if not array.double_buffered:
        cycles += folds_down * lines.positions
    else:
        cycles += rest or columns
        if fulls and rest:
            cycles += max(0, columns - (rest + lines.reach - 1))
    return Cost(cycles, folds_down * folds_across, *_line_traffic(lines, folds_across))


def _fuse_lines(op: Conv, source: Shape, array: SystolicArray) -> Cost:
    """Cost of 1-D convolutions as FuSeConv's authors count cycles: whole folds, divided by the stride across lines."""
    top, bottom, left, right = op.window.padding
    padded = (source.height + top + bottom, source.width + left + right)
    along = 1 if op.window.kernel[0] == 1 else 0
    folds_across = -(-padded[along] // array.columns)
    folds = -(-padded[1 - along] * op.out_channels // array.rows) * folds_across
    stride = op.window.stride[1 - along]
    lines = lines_of(op, source)
    cycles = -(-folds * (array.columns + lines.taps) // stride)
    return Cost(cycles, -(-folds // stride), *_line_traffic(lines, -(-lines.positions // array.columns)))


def _line_traffic(lines: Lines, folds_across: int) -> tuple[int, int, int, int]:
    inputs = lines.lines * (lines.positions + folds_across * (lines.reach - 1))
    return inputs, lines.lines * lines.taps * folds_across, lines.lines * lines.kept, 0
