"""A systolic array, simulated: int8 values move from register to register, a clock cycle at a time.

It knows no closed form: a fold is over when its last sum has been made, found by looking. So its cycles prove those
of `analyses/systolic.py` under the convention `exact`, and its sums are those of the layer, bit by bit.

Rows are numbered from the top and columns from the left. Output stationary: inputs enter at the left, weights at the
top, both skewed by one cycle a row or column; sums leave at the top. Weight stationary (and input stationary, which is
the same array with the operands exchanged): weights are shifted in from the bottom, inputs enter at the left, sums go
down and leave at the bottom. Lines: inputs enter each row at the left and pass through it, a weight a cycle is
broadcast to the whole row; sums leave at the left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import numpy.typing as npt

from rillet.analyses.systolic import Dataflow, Hardware, SystolicArray, is_line
from rillet.errors import GraphError, TargetError, Unsupported
from rillet.ir.ops import Conv, Window
from rillet.ir.types import DType, Shape

MAX_CYCLES = 10**7
MAX_ELEMENTS = 2**20
"""Of an array: rows x columns."""

MAX_VALUES = 2**26
"""Of the windows of a layer, each with all that it sees."""

Bytes = npt.NDArray[np.int8]
Sums = npt.NDArray[np.int32]
Bits = npt.NDArray[np.bool_]


@dataclass(eq=False)
class Simulated:
    """What came out, when, and how much went in."""

    sums: Sums
    """int32 sums of products, wrapped around as in a register; height x width x channels, or M x N."""
    most_cycles: int = MAX_CYCLES
    """The clock goes no further."""
    cycles: int = 0
    macs: int = 0
    """Multiply-accumulates of real operands; empty elements do none."""
    input_reads: int = 0
    weight_reads: int = 0
    output_writes: int = 0
    output_reads: int = 0

    def tick(self) -> None:
        """One clock cycle; raises TargetError after too many."""
        self.cycles += 1
        if self.cycles > self.most_cycles:
            raise TargetError(f"a layer to simulate must take at most {self.most_cycles} cycles, got more")


def simulate(
    op: Conv,
    image: Bytes,
    weight: Bytes,
    array: SystolicArray,
    zero_point: int = 0,
    most_cycles: int = MAX_CYCLES,
) -> Simulated:
    """Moves a convolution through `array` and gives the sums of weight x (input - zero point), without bias.

    image: int8, height x width x channels; weight: int8, as `Conv.weight_shape` says. The array sees stored values,
    padding being the zero point; that of the inputs is taken out of the sums behind it, as with a bias. The convention
    of `array` is not looked at. Raises GraphError where shapes do not fit, Unsupported for other types than int8,
    TargetError for arrays or layers too large to simulate.
    """
    if image.dtype != np.int8 or weight.dtype != np.int8:
        raise Unsupported(f"inputs and weights must be int8 to be simulated, got {image.dtype} and {weight.dtype}")
    if array.rows * array.columns > MAX_ELEMENTS:
        raise TargetError(
            f"an array to simulate must have at most {MAX_ELEMENTS} elements, got {array.rows}x{array.columns}"
        )
    source = Shape(*image.shape)
    shape = op.output_shape(source)
    if (seen := shape.pixels * op.window.taps * source.channels) > MAX_VALUES:
        raise TargetError(f"windows of a layer to simulate must see at most {MAX_VALUES} values, got {seen}")
    if weight.shape != op.weight_shape(source):
        raise GraphError(f"weight must have shape {op.weight_shape(source)}, got {weight.shape}")
    if not DType.I8.integers[0] <= zero_point <= DType.I8.integers[1]:
        raise GraphError(f"zero point must be within -128..127 for i8, got {zero_point}")
    top, bottom, left, right = op.window.padding
    padded = np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=zero_point)
    if array.hardware is Hardware.FUSE and is_line(op, source):
        made = _lines(op, padded, weight, shape, array, most_cycles)
    else:
        made = _convolution(op, padded, weight, shape, array, most_cycles)
    offsets = zero_point * weight.astype(np.int64).sum((1, 2, 3))
    return replace(made, sums=(made.sums - offsets).astype(np.int32))


def multiply(left: Bytes, right: Bytes, array: SystolicArray, most_cycles: int = MAX_CYCLES) -> Simulated:
    """The product of M x K by K x N int8 values on `array`; int32 sums, M x N."""
    return _products([(left, right)], array, most_cycles)


# -- products --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fold:
    """What is in the array at once: where its sums go, what stays or streams down, what streams in from the left."""

    target: Sums
    """The r x c (OS) or T x c (WS) sums that it makes or adds to."""
    side: Bytes
    """Values entering at the left: r x T, row i one cycle behind row i - 1."""
    other: Bytes
    """OS: T x c values entering at the top; WS: r x c values that stay."""
    adds: bool = False
    """True where it adds to sums made before."""


def _convolution(
    op: Conv, padded: Bytes, weight: Bytes, shape: Shape, array: SystolicArray, most_cycles: int
) -> Simulated:
    """The products that the groups of a convolution are, one after the other."""
    patches = _patches(op.window, padded, shape)
    groups, depth, filters = op.groups, padded.shape[2] // op.groups, op.out_channels // op.groups
    operands = [
        (
            patches[..., g * depth : (g + 1) * depth].reshape(shape.pixels, -1),
            weight[g * filters : (g + 1) * filters].reshape(filters, -1).T,
        )
        for g in range(groups)
    ]
    made = _products(operands, array, most_cycles)
    return replace(made, sums=made.sums.reshape(shape.array))


def _patches(window: Window, padded: Bytes, shape: Shape) -> Bytes:
    """For each output pixel what its window sees: height x width x kernel rows x kernel columns x channels."""
    (rows, columns), (down, across) = window.dilation, window.stride
    taps = [
        padded[i * rows :: down, j * columns :: across][: shape.height, : shape.width]
        for i in range(window.kernel[0])
        for j in range(window.kernel[1])
    ]
    return np.stack(taps, axis=2)


def _products(operands: Sequence[tuple[Bytes, Bytes]], array: SystolicArray, most_cycles: int) -> Simulated:
    pixels, filters = operands[0][0].shape[0], operands[0][1].shape[1]
    sums = np.zeros((pixels, filters * len(operands)), np.int32)
    made = Simulated(sums, most_cycles)
    parts = [(left, right, sums[:, g * filters : (g + 1) * filters]) for g, (left, right) in enumerate(operands)]
    match array.dataflow:
        case Dataflow.OS:
            folds = [fold for left, right, target in parts for fold in _output_folds(left, right, target, array)]
            return _run_output_stationary(folds, array, made)
        case Dataflow.WS:
            folds = [fold for left, right, target in parts for fold in _still_folds(left, right, target, array)]
            return _run_stationary(folds, array, made)
        case Dataflow.IS:
            folds = [fold for left, right, target in parts for fold in _still_folds(right.T, left.T, target.T, array)]
            made = _run_stationary(folds, array, made)
            return replace(made, input_reads=made.weight_reads, weight_reads=made.input_reads)
        case _:
            assert_never(array.dataflow)


def _chunks(length: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _output_folds(left: Bytes, right: Bytes, target: Sums, array: SystolicArray) -> Iterator[_Fold]:
    for down in _chunks(left.shape[0], array.rows):
        for across in _chunks(right.shape[1], array.columns):
            yield _Fold(target[down, across], left[down], right[:, across])


def _still_folds(moving: Bytes, still: Bytes, target: Sums, array: SystolicArray) -> Iterator[_Fold]:
    for across in _chunks(still.shape[1], array.columns):
        for down in _chunks(still.shape[0], array.rows):
            yield _Fold(target[:, across], moving[:, down].T, still[down, across], adds=down.start > 0)


@dataclass(eq=False)
class _Registers:
    """A register an element, and beside it a bit that says whether it holds a value."""

    values: Bytes
    valid: Bits

    @classmethod
    def of(cls, array: SystolicArray) -> "_Registers":
        shape = (array.rows, array.columns)
        return cls(np.zeros(shape, np.int8), np.zeros(shape, np.bool_))

    def clear(self) -> None:
        """Every element forgets its value, as a fold begins."""
        self.valid[:] = False

    def right(self, values: Bytes, valid: Bits, columns: int) -> int:
        """Every value goes to the element at its right, up to column `columns`; a column enters; how many values do."""
        self.values[:, 1:], self.values[:, 0] = self.values[:, :-1].copy(), values
        self.valid[:, 1:], self.valid[:, 0] = self.valid[:, :-1].copy(), valid
        self.valid[:, columns:] = False
        return int(valid.sum())

    def down(self, values: Bytes, valid: Bits, rows: int) -> int:
        """The same downwards, up to row `rows`; a row enters at the top."""
        self.values[1:], self.values[0] = self.values[:-1].copy(), values
        self.valid[1:], self.valid[0] = self.valid[:-1].copy(), valid
        self.valid[rows:] = False
        return int(valid.sum())


def _skewed(stream: Bytes, length: int, first: int, time: int) -> tuple[Bytes, Bits]:
    """What enters an edge of `length` elements at `time`: lane i, at element first + i, is at its value time - i."""
    values, valid = np.zeros(length, np.int8), np.zeros(length, np.bool_)
    lanes = np.arange(stream.shape[0])
    at = time - lanes
    live = (at >= 0) & (at < stream.shape[1])
    values[first + lanes[live]] = stream[lanes[live], at[live]]
    valid[first + lanes[live]] = True
    return values, valid


class _Drain:
    """Registers in which the sums of a fold leave, a line a cycle, while the array may do the next fold."""

    def __init__(self, made: Simulated) -> None:
        self.made = made
        self.held = self.target = np.zeros((0, 0), np.int32)
        self.wanted: Sequence[bool] = ()
        self.out = 0

    @property
    def busy(self) -> bool:
        return self.out < len(self.target)

    def take(self, sums: Sums, target: Sums, wanted: Sequence[bool]) -> None:
        """Copies the sums of a fold; their first line leaves in the next cycle, and goes to the first of `target`."""
        assert not self.busy
        self.held, self.target, self.wanted, self.out = sums.copy(), target, wanted, 0

    def tick(self) -> None:
        """The line at the edge leaves, the others move on by one."""
        if not self.busy:
            return
        if self.wanted[self.out]:
            self.target[self.out] = self.held[0]
            self.made.output_writes += self.held.shape[1]
        self.held[:-1] = self.held[1:].copy()
        self.out += 1

    def finish(self) -> None:
        """Cycles in which nothing but the drain moves."""
        while self.busy:
            self.tick()
            self.made.tick()


def _run_output_stationary(folds: Sequence[_Fold], array: SystolicArray, made: Simulated) -> Simulated:
    inputs, weights, drain = _Registers.of(array), _Registers.of(array), _Drain(made)
    sums = np.zeros((array.rows, array.columns), np.int32)
    for fold in folds:
        (rows, columns), depth = fold.target.shape, fold.side.shape[1]
        inputs.clear()
        weights.clear()
        sums[:] = 0
        done = np.zeros(sums.shape, np.int64)
        time = 0
        while (done[:rows, :columns] < depth).any():
            made.input_reads += inputs.right(*_skewed(fold.side, array.rows, 0, time), columns)
            made.weight_reads += weights.down(*_skewed(fold.other.T, array.columns, 0, time), rows)
            met = inputs.valid & weights.valid
            sums += np.multiply(inputs.values, weights.values, dtype=np.int32) * met
            done += met
            made.macs += int(met.sum())
            drain.tick()
            made.tick()
            time += 1
        drain.finish()
        drain.take(sums[:rows, :columns], fold.target, [True] * rows)
        if not array.double_buffered:
            drain.finish()
    drain.finish()
    return made


class _Loader:
    """Registers behind those of the weights, into which the next weights are shifted from the bottom, a row a cycle."""

    def __init__(self, array: SystolicArray, made: Simulated) -> None:
        self.made = made
        self.values = np.zeros((array.rows, array.columns), np.int8)
        self.coming: list[Bytes] = []

    def start(self, weights: Bytes) -> None:
        """From the next cycle on loads r x c weights, which come to lie in the lowest rows."""
        self.coming = list(weights)

    def tick(self) -> None:
        """All rows move up, and one enters."""
        if not self.coming:
            return
        row = self.coming.pop(0)
        self.values[:-1] = self.values[1:].copy()
        self.values[-1] = 0
        self.values[-1, : len(row)] = row
        self.made.weight_reads += len(row)

    def finish(self) -> Bytes:
        """Cycles in which nothing but the loader moves; the weights loaded."""
        while self.coming:
            self.tick()
            self.made.tick()
        return self.values.copy()


def _run_stationary(folds: Sequence[_Fold], array: SystolicArray, made: Simulated) -> Simulated:
    inputs, loader = _Registers.of(array), _Loader(array, made)
    loader.start(folds[0].other)
    for fold, after in zip(folds, [*folds[1:], None], strict=True):
        weights = loader.finish()
        if after is not None and array.double_buffered:
            loader.start(after.other)
        _stream(fold, weights, inputs, loader, array, made)
        if after is not None and not array.double_buffered:
            loader.start(after.other)
    return made


def _stream(
    fold: _Fold, weights: Bytes, inputs: _Registers, loader: _Loader, array: SystolicArray, made: Simulated
) -> None:
    """One fold: inputs pass to the right, sums down; the loader works beside it."""
    (rows, columns), length = fold.other.shape, fold.side.shape[1]
    sums = np.zeros((array.rows, array.columns), np.int32)
    left = np.zeros(columns, np.int64)
    inputs.clear()
    time = 0
    while (left < length).any():
        made.input_reads += inputs.right(*_skewed(fold.side, array.rows, array.rows - rows, time), columns)
        products = np.multiply(inputs.values, weights, dtype=np.int32)
        sums[1:], sums[0] = sums[:-1].copy(), 0
        sums = (sums + products) * inputs.valid
        made.macs += int(inputs.valid.sum())
        ready = np.flatnonzero(inputs.valid[-1, :columns])
        fold.target[left[ready], ready] += sums[-1, ready]
        left[ready] += 1
        made.output_writes += len(ready)
        made.output_reads += len(ready) if fold.adds else 0
        loader.tick()
        made.tick()
        time += 1


# -- lines -----------------------------------------------------------------------------------------------------------


def _lines(op: Conv, padded: Bytes, weight: Bytes, shape: Shape, array: SystolicArray, most_cycles: int) -> Simulated:
    """A 1 x K or K x 1 convolution, each line of each output channel a row of the array for a while."""
    window = op.window
    if window.kernel[0] > 1:  # stood on its side, so that lines are rows
        turned = Window(_turned(window.kernel), _turned(window.stride), dilation=_turned(window.dilation))
        turned_shape = Shape(shape.width, shape.height, shape.channels)
        op = replace(op, window=turned)
        made = _lines(op, padded.transpose(1, 0, 2), weight.transpose(0, 2, 1, 3), turned_shape, array, most_cycles)
        return replace(made, sums=made.sums.transpose(1, 0, 2))
    (down, across), (_, dilation), taps = window.stride, window.dilation, window.kernel[1]
    positions = (shape.width - 1) * across + 1
    length = positions + (taps - 1) * dilation
    repeats = op.out_channels // op.groups
    planes = padded[::down][: shape.height, :length].transpose(2, 0, 1).repeat(repeats, axis=0)
    inputs = planes.reshape(-1, length)
    weights = weight.reshape(op.out_channels, taps).repeat(shape.height, axis=0)
    made = Simulated(np.zeros((len(inputs), positions), np.int32), most_cycles)
    _run_lines(inputs, weights, across, dilation, array, made)
    kept = made.sums[:, ::across].reshape(op.out_channels, shape.height, shape.width)
    return replace(made, sums=kept.transpose(1, 2, 0))


def _turned(pair: tuple[int, int]) -> tuple[int, int]:
    return pair[1], pair[0]


def _run_lines(lines: Bytes, weights: Bytes, stride: int, dilation: int, array: SystolicArray, made: Simulated) -> None:
    """Makes the sums of every `stride`-th place along the lines: `made.sums`, lines x places."""
    positions = made.sums.shape[1]
    registers, drain = _Registers.of(array), _Drain(made)
    reach = lines.shape[1] - positions
    for across in _chunks(positions, array.columns):
        for down in _chunks(len(lines), array.rows):
            columns = across.stop - across.start
            coming = lines[down, across.start : across.stop + reach]
            sums = _broadcast(coming, weights[down], columns, dilation, registers, drain, array)
            # The far element makes the first place of the chunk.
            target = made.sums[down, across].T[::-1]
            wanted = [place % stride == 0 for place in range(across.start, across.stop)][::-1]
            drain.finish()
            drain.take(sums.T, target, wanted)
            if not array.double_buffered:
                drain.finish()
    drain.finish()


def _broadcast(
    coming: Bytes,
    weights: Bytes,
    columns: int,
    dilation: int,
    registers: _Registers,
    drain: _Drain,
    array: SystolicArray,
) -> Sums:
    """One fold of lines; its sums, rows x columns."""
    (rows, taps), made = weights.shape, drain.made
    sums = np.zeros((rows, columns), np.int32)
    registers.clear()
    time = tap = wait = 0
    while tap < taps:
        column, valid = np.zeros(array.rows, np.int8), np.zeros(array.rows, np.bool_)
        column[:rows], valid[:rows] = coming[:, time], True
        made.input_reads += registers.right(column, valid, columns)
        if registers.valid[:rows, columns - 1].all():  # the first input has reached the far element
            if wait == 0:
                sums += np.multiply(registers.values[:rows, :columns], weights[:, tap, None], dtype=np.int32)
                made.macs += sums.size
                made.weight_reads += rows
                tap += 1
                wait = dilation
            wait -= 1
        drain.tick()
        made.tick()
        time += 1
    return sums
