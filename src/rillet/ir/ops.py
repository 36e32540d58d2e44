"""The operations: a small closed union of frozen dataclasses; what is true of an op on every machine is its method."""

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import assert_never

from rillet.errors import GraphError, Unsupported
from rillet.ir.functions import Activation, Curve, check_numbers
from rillet.ir.linear import Interpolate
from rillet.ir.moves import DepthToSpace, Select, SpaceToDepth
from rillet.ir.nearest import of_tensorflow
from rillet.ir.types import MAX_ELEMENTS, DType, Shape


class PoolKind(Enum):
    """How a window becomes one value; `mean` may change the scale, `average` keeps it."""

    MAX = "max"
    AVERAGE = "average"
    MEAN = "mean"


class PairKind(Enum):
    """What is made of two values at one place, but for their sum and product."""

    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    DIVIDE = "divide"
    PRELU = "prelu"
    """The first, and below 0 times the second, which is one slope a channel."""


class Rounding(Enum):
    """Which requantisation rule an op follows (docs/arithmetic.md)."""

    DOUBLE = "double"
    SINGLE = "single"
    SHIFT = "shift"
    """The exact result rounded once, half to even; every factor is a power of two."""
    REDUCED = "reduced"
    """Of 16-bit values: sums of 64 bits, multipliers of 16, rounded once, half up."""


def _check_rounding(rounding: Rounding) -> None:
    if rounding in (Rounding.SINGLE, Rounding.REDUCED):
        raise GraphError(f"rounding must be double or shift but for convolutions, got {rounding.value}")


@dataclass(frozen=True, slots=True)
class Window:
    """Where a kernel looks: size, stride, explicit padding and dilation, rows before columns."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, bottom, left, right."""
    dilation: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        for name, values in (("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)):
            if min(values) < 1:
                raise GraphError(f"{name} must be at least 1x1, got {values[0]}x{values[1]}")
        if min(self.padding) < 0:
            raise GraphError(f"padding must not be negative, got {self.padding}")

    @property
    def taps(self) -> int:
        """Positions a window covers."""
        return self.kernel[0] * self.kernel[1]

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns from the first to the last tap, dilation included."""
        return (
            (self.kernel[0] - 1) * self.dilation[0] + 1,
            (self.kernel[1] - 1) * self.dilation[1] + 1,
        )

    @property
    def pointwise(self) -> bool:
        """True where each output pixel needs just the input pixel at its own place."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0, 0, 0)

    def covers(self, shape: Shape) -> bool:
        """True where one window covers the full tensor, once."""
        return self.padding == (0, 0, 0, 0) and self.extent == (shape.height, shape.width)

    def output(self, shape: Shape) -> tuple[int, int]:
        """Height and width of the result; raises GraphError where no window fits."""
        top, bottom, left, right = self.padding
        (rows, columns), height, width = self.extent, shape.height + top + bottom, shape.width + left + right
        if height < rows:
            raise GraphError(f"padded height must be at least the window's {rows}, got {height}")
        if width < columns:
            raise GraphError(f"padded width must be at least the window's {columns}, got {width}")
        if height * width * shape.channels > 2 * MAX_ELEMENTS:
            got = height * width * shape.channels
            raise Unsupported(f"padded map must hold at most {2 * MAX_ELEMENTS} values, got {got}")
        return (height - rows) // self.stride[0] + 1, (width - columns) // self.stride[1] + 1


@dataclass(frozen=True, slots=True)
class Places:
    """For each row and each column of a result, the one of its source that it reads first; they never go back."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    beyond: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """The rows and the columns that are read last, where that is not the first."""

    @property
    def last(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The rows and the columns that are read last."""
        return self.beyond or (self.rows, self.columns)


@dataclass(frozen=True, slots=True)
class Param:
    """One array that an op needs: its name within the node, shape and element type."""

    name: str
    shape: tuple[int, ...]
    dtype: DType


@dataclass(frozen=True, slots=True)
class Input:
    """A value that comes from outside; its shape is the declared one."""

    arity = 0


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that never changes: the array `value`, one pixel or a full tensor."""

    dtype: DType = DType.F32
    arity = 0


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution of any kind: dense, depthwise, grouped, pointwise, 1xK; a dense layer is one that covers its map."""

    out_channels: int
    window: Window = Window()
    groups: int = 1
    activation: Activation = Activation.NONE
    bias: bool = True
    weights: DType = DType.F32
    rounding: Rounding = Rounding.DOUBLE
    dense: bool = False
    """Called a dense (or fully connected, or linear) layer where it comes from; some conventions count it otherwise."""
    levels: DType | None = None
    """Of ternary and binary weights: the type of the two numbers of each output channel that stand for + and, less
    its sign, for -; i8 beside stored values, f32 beside real ones. Without them weights are -1, 0 and 1.
    """
    arity = 1

    def __post_init__(self) -> None:
        if self.levels is not None and (
            self.weights not in (DType.TERNARY, DType.BINARY) or self.levels not in (DType.I8, DType.F32)
        ):
            got = f"{self.levels.value} of {self.weights.value}"
            raise GraphError(f"levels must be i8 or f32, of ternary or binary weights; got {got}")
        if self.rounding is Rounding.REDUCED and self.weights is not DType.I8:
            raise GraphError(f"weights must be i8 where rounding is reduced, got {self.weights.value}")

    @property
    def real(self) -> bool:
        """True where weights and biases are float32."""
        return self.weights is DType.F32 or self.levels is DType.F32

    @property
    def only_adds(self) -> bool:
        """True where weights are -1, 0 and 1, so that sums take no products; levels multiply the sums."""
        return self.weights in (DType.TERNARY, DType.BINARY)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result; raises GraphError where channels and groups do not fit."""
        if self.dense and (self.groups != 1 or not self.window.covers(shape)):
            raise GraphError(f"window of a dense layer must cover {shape} in one group, got {self.window.kernel}")
        for name, channels in (("input channels", shape.channels), ("out_channels", self.out_channels)):
            if self.groups < 1 or channels % self.groups:
                raise GraphError(f"{name} must be a multiple of groups={self.groups}, got {channels}")
        return Shape(*self.window.output(shape), self.out_channels)

    def depthwise(self, shape: Shape) -> bool:
        """True where every output channel sees one input channel."""
        return self.groups == shape.channels and self.groups > 1

    def weight_shape(self, shape: Shape) -> tuple[int, int, int, int]:
        """Output channels, kernel rows, kernel columns, input channels of a group."""
        return (self.out_channels, *self.window.kernel, shape.channels // self.groups)

    def params(self, shape: Shape) -> tuple[Param, ...]:
        """The arrays it needs: weight, and bias, scales and levels (+, then -) where it has them."""
        out = [Param("weight", self.weight_shape(shape), self.weights)]
        if self.bias:
            whole = DType.I64 if self.rounding is Rounding.REDUCED else DType.I32
            out.append(Param("bias", (self.out_channels,), DType.F32 if self.real else whole))
        if not self.real:
            out.append(Param("weight_scale", (self.out_channels,), DType.F32))
        if self.levels is not None:
            out.append(Param("levels", (self.out_channels, 2), self.levels))
        if self.weights is DType.U8:
            out.append(Param("weight_zero_point", (1,), DType.I32))
        return tuple(out)

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates of one image, padding counted as everyone counts it."""
        height, width = self.window.output(shape)
        return height * width * self.window.taps * self.out_channels * (shape.channels // self.groups)


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalisation with running statistics."""

    epsilon: float = 1e-3
    arity = 1

    def params(self, shape: Shape) -> tuple[Param, ...]:
        """Gamma, beta, mean and variance of each channel."""
        names = ("gamma", "beta", "mean", "variance")
        return tuple(Param(name, (shape.channels,), DType.F32) for name in names)


@dataclass(frozen=True, slots=True)
class Activate:
    """A function of each value on its own."""

    activation: Activation
    rounding: Rounding = Rounding.DOUBLE
    arity = 1

    def __post_init__(self) -> None:
        _check_rounding(self.rounding)


@dataclass(frozen=True, slots=True)
class Apply:
    """A function of each value that has numbers of its own: `curve` says which, and what `a` and `b` are."""

    curve: Curve
    a: float = 0.0
    b: float = 0.0
    rounding: Rounding = Rounding.DOUBLE
    arity = 1

    def __post_init__(self) -> None:
        _check_rounding(self.rounding)
        check_numbers(self.curve, self.a, self.b)


@dataclass(frozen=True, slots=True)
class Pool:
    """Maximum, average or mean over windows; padding never counts."""

    kind: PoolKind
    window: Window
    activation: Activation = Activation.NONE
    rounding: Rounding = Rounding.DOUBLE
    """Of a mean; a maximum does not round, and an average rounds as docs/arithmetic.md says."""
    arity = 1

    def __post_init__(self) -> None:
        _check_rounding(self.rounding)


@dataclass(frozen=True, slots=True)
class Add:
    """Sum, or difference, of two values; the second may be 1x1xC and is then broadcast."""

    activation: Activation = Activation.NONE
    subtract: bool = False
    arity = 2


@dataclass(frozen=True, slots=True)
class Multiply:
    """Product of two values; the second may be 1x1xC and is then broadcast (squeeze-and-excite)."""

    activation: Activation = Activation.NONE
    rounding: Rounding = Rounding.DOUBLE
    arity = 2

    def __post_init__(self) -> None:
        _check_rounding(self.rounding)


@dataclass(frozen=True, slots=True)
class Pair:
    """The greater, the lesser, the quotient or a PReLU of two values; the second may be 1x1xC and is then broadcast."""

    kind: PairKind
    arity = 2


@dataclass(frozen=True, slots=True)
class Concat:
    """Values side by side along the channels."""

    arity = None


@dataclass(frozen=True, slots=True)
class Slice:
    """Channels start to stop of a value."""

    start: int
    stop: int
    arity = 1


@dataclass(frozen=True, slots=True)
class Pad:
    """Zeros (real zeros) around a map: top, bottom, left, right."""

    padding: tuple[int, int, int, int]
    arity = 1


@dataclass(frozen=True, slots=True)
class Resize:
    """Nearest-neighbour resizing: for each row and each column of the result, the one of its source that it copies.

    Frameworks round in ways of their own (`nearest.py`), so their importers make the tables. Raises GraphError for
    tables that are empty or go back: no nearest neighbour does, and a stream need not wait for one that does not.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    arity = 1

    def __post_init__(self) -> None:
        for what, places in (("rows", self.rows), ("columns", self.columns)):
            if not places or places[0] < 0 or any(a > b for a, b in pairwise(places)):
                raise GraphError(f"{what} of a resize must be places that never go back, got {list(places[:9])}")

    def output_shape(self, source: Shape) -> Shape:
        """The shape that it makes of a map; raises GraphError where a place lies outside of the map."""
        if self.rows[-1] >= source.height or self.columns[-1] >= source.width:
            raise GraphError(f"resize must copy from within {source}, got {self.rows[-1]}, {self.columns[-1]}")
        return Shape(len(self.rows), len(self.columns), source.channels)


def resize(
    source: Shape, height: int, width: int, align_corners: bool = False, half_pixel_centers: bool = False
) -> Resize:
    """Nearest-neighbour resizing of a map as TensorFlow Lite does it, by the names of its flags."""
    flags = (align_corners, half_pixel_centers)
    rows, columns = of_tensorflow(source.height, height, *flags), of_tensorflow(source.width, width, *flags)
    return Resize(tuple(rows), tuple(columns))


@dataclass(frozen=True, slots=True)
class Requantize:
    """The same real values under another quantisation or element type."""

    arity = 1


@dataclass(frozen=True, slots=True)
class Softmax:
    """Softmax over the channels of each pixel."""

    beta: float = 1.0
    arity = 1


@dataclass(frozen=True, slots=True)
class ArgMax:
    """The place of the greatest channel of each pixel, of equal ones the first; where some is NaN it may be any.

    Its value is one of `types.indices`, whatever it reads.
    """

    arity = 1


Op = (
    Input
    | Constant
    | Conv
    | BatchNorm
    | Activate
    | Apply
    | Pool
    | Add
    | Multiply
    | Pair
    | Concat
    | Slice
    | Select
    | DepthToSpace
    | SpaceToDepth
    | Pad
    | Resize
    | Interpolate
    | Requantize
    | Softmax
    | ArgMax
)


def output_shape(op: Op, inputs: tuple[Shape, ...], declared: Shape) -> Shape:
    """The shape that `op` makes of its inputs (an Input: the declared one); raises GraphError where they do not fit."""
    if op.arity is not None and len(inputs) != op.arity:
        raise GraphError(f"{op_name(op)} must have {op.arity} inputs, got {len(inputs)}")
    match op:
        case Input() | Constant():
            return declared
        case Conv():
            return op.output_shape(inputs[0])
        case Pool(window=window):
            height, width = window.output(inputs[0])
            _check_pool(window)
            return Shape(height, width, inputs[0].channels)
        case BatchNorm() | Activate() | Apply() | Requantize() | Softmax():
            return inputs[0]
        case ArgMax():
            return Shape(inputs[0].height, inputs[0].width, 1)
        case Pair(kind=PairKind.PRELU) if inputs[1] != Shape(1, 1, inputs[0].channels):
            raise GraphError(f"slopes of prelu must be 1x1x{inputs[0].channels}, got {inputs[1]}")
        case Add() | Multiply() | Pair():
            if inputs[1] not in (inputs[0], Shape(1, 1, inputs[0].channels)):
                raise GraphError(
                    f"second input of {op_name(op)} must be {inputs[0]} or 1x1x{inputs[0].channels}, got {inputs[1]}"
                )
            return inputs[0]
        case Concat():
            if not inputs or len({(s.height, s.width) for s in inputs}) != 1:
                raise GraphError(
                    f"inputs of concat must have one height and width, got {', '.join(map(str, inputs)) or 'none'}"
                )
            return Shape(inputs[0].height, inputs[0].width, sum(s.channels for s in inputs))
        case Slice(start=start, stop=stop):
            if not 0 <= start < stop <= inputs[0].channels:
                raise GraphError(f"slice must lie within 0..{inputs[0].channels}, got {start}..{stop}")
            return Shape(inputs[0].height, inputs[0].width, stop - start)
        case Resize() | Interpolate() | Select() | DepthToSpace() | SpaceToDepth():
            return op.output_shape(inputs[0])
        case Pad(padding=(top, bottom, left, right)):
            shape = inputs[0]
            return Shape(shape.height + top + bottom, shape.width + left + right, shape.channels)


def _check_pool(window: Window) -> None:
    # A window whose taps all lie in the padding has no values to pool.
    if window.dilation != (1, 1):
        raise GraphError(f"dilation of a pool must be 1x1, got {window.dilation[0]}x{window.dilation[1]}")
    top, bottom, left, right = window.padding
    if max(top, bottom) >= window.extent[0] or max(left, right) >= window.extent[1]:
        raise GraphError(f"padding of a pool must be smaller than its window, got {window.padding}")


def op_params(op: Op, inputs: tuple[Shape, ...], declared: Shape) -> tuple[Param, ...]:
    """The arrays that `op` needs, given the shapes of its inputs and (for a Constant) its own."""
    if isinstance(op, Constant):
        return (Param("value", declared.array, op.dtype),)
    return op.params(inputs[0]) if isinstance(op, Conv | BatchNorm) else ()


def op_macs(op: Op, inputs: tuple[Shape, ...]) -> int:
    """Multiply-accumulates of one image: those of convolutions and dense layers, nothing else."""
    return op.macs(inputs[0]) if isinstance(op, Conv) else 0


def op_name(op: Op) -> str:
    """The op's word in the text form and in messages."""
    return type(op).__name__.lower()


def op_reads(op: Op) -> Window | Places | None:
    """Which pixels of its inputs the op reads: those under a window, those that tables name, or its own alone."""
    match op:
        case Conv(window=window) | Pool(window=window):
            return window
        case Pad(padding=padding):
            return Window(padding=padding)
        case Resize(rows=rows, columns=columns) | DepthToSpace(rows=rows, columns=columns):
            return Places(rows, columns)
        case Interpolate(rows=rows, columns=columns):
            return Places(rows, columns, (op.last_rows, op.last_columns))
        case SpaceToDepth(block=block):
            return Window((block, block), (block, block))
        case Input() | Constant() | BatchNorm() | Activate() | Add() | Multiply() | Concat() | Slice():
            return None
        case Apply() | Pair() | Select() | Requantize() | Softmax() | ArgMax():
            return None
        case _ as other:
            assert_never(other)


def op_window(op: Op) -> Window | None:
    """Where the op looks, for ops that look at a window; None for others."""
    reads = op_reads(op)
    return reads if isinstance(reads, Window) else None


def op_places(op: Op) -> Places | None:
    """What the op reads, for ops that do so by tables; None for others."""
    reads = op_reads(op)
    return reads if isinstance(reads, Places) else None
