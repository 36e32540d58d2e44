"""Random small networks for the tests: blocks of the kinds that real ones have, odd shapes and paddings, every type."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from rillet.errors import GraphError
from rillet.ir import linear
from rillet.ir.functions import Curve
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Interpolate,
    Multiply,
    Op,
    Pad,
    Pair,
    PairKind,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
    Window,
    output_shape,
    resize,
)
from rillet.ir.types import DType, Quant, Shape, TensorType, indices

ROUNDINGS = (Rounding.DOUBLE, Rounding.SINGLE, Rounding.SHIFT)
"""Of sums of bytes; `REDUCED` is of 16-bit values alone."""


@dataclass
class Builder:
    """Adds nodes with seeded weights and plausible scales; `dtype` is that of all values unless said otherwise."""

    rng: np.random.Generator
    dtype: DType = DType.I8
    nodes: list[Node] = field(default_factory=list)
    params: dict[str, Array] = field(default_factory=dict)

    def add(
        self,
        op: Op,
        *inputs: str,
        shape: Shape | None = None,
        dtype: DType | None = None,
        quant: Quant | None = None,
        same: bool = False,
    ) -> str:
        """A node; `same` where its quantisation is that of its first input."""
        sources = [self.node(name) for name in inputs]
        made = output_shape(op, tuple(node.shape for node in sources), shape or Shape(1, 1, 1))
        name, dtype = f"n{len(self.nodes)}", dtype or self.dtype
        if isinstance(op, ArgMax):
            dtype, quant = indices(made).dtype, indices(made).quant
        elif dtype is DType.F32:
            quant = None
        elif same:
            quant = sources[0].type.quant
        elif quant is None:
            low, _ = dtype.integers
            quant = Quant(float(np.float32(self.rng.uniform(0.02, 0.2))), int(self.rng.integers(low, low + 200)))
        self.nodes.append(Node(name, op, inputs, TensorType(made, dtype, quant)))
        if isinstance(op, Conv):
            self.weights(name, op, sources[0].shape)
        if isinstance(op, Constant):
            self.params[f"{name}.value"] = self.values(made.array, op.dtype)
        return name

    def values(self, shape: tuple[int, ...], dtype: DType) -> Array:
        if dtype is DType.F32:
            return self.rng.normal(0, 1, shape).astype(np.float32)
        low, high = dtype.integers
        if dtype is DType.BINARY:
            return self.rng.choice(np.array([-1, 1], np.int8), shape)
        return self.rng.integers(max(low, -127), high + 1, shape).astype(dtype.numpy)

    def quant(self, name: str) -> Quant:
        quant = self.node(name).type.quant
        assert quant is not None
        return quant

    def shifted(self, scale: float) -> Quant:
        """A quantisation whose scale is `scale` times a power of two, and of the usual size or more: rescaling from
        `scale` never multiplies.
        """
        low, _ = self.dtype.integers
        exact = scale * 2.0 ** max(0, round(np.log2(0.1 / scale)))
        return Quant(float(np.float32(exact)), int(self.rng.integers(low, low + 200)))

    def weights(self, name: str, op: Conv, source: Shape) -> None:
        depth = int(np.prod(op.weight_shape(source)[1:]))
        self.params[f"{name}.weight"] = self.values(op.weight_shape(source), op.weights)
        if op.levels is not None:
            levels = self.rng.uniform(0.5, 1.5, (op.out_channels, 2)) / np.sqrt(depth)
            stored = self.rng.integers(0, 128, (op.out_channels, 2), np.int8)
            self.params[f"{name}.levels"] = levels.astype(np.float32) if op.real else stored
        if op.real:
            if op.weights is DType.F32:
                self.params[f"{name}.weight"] = (self.params[f"{name}.weight"] / np.sqrt(depth)).astype(np.float32)
            if op.bias:
                self.params[f"{name}.bias"] = self.values((op.out_channels,), DType.F32)
            return
        if op.bias:
            self.params[f"{name}.bias"] = self.rng.integers(-2000, 2000, op.out_channels).astype(np.int32)
        scale = self.rng.uniform(0.3, 1.0, op.out_channels) / (40 * np.sqrt(depth))
        if op.weights in (DType.TERNARY, DType.BINARY) and op.levels is None:
            scale = 50 * scale
        if op.weights is DType.U8:
            scale = np.full_like(scale, scale[0])
            self.params[f"{name}.weight_zero_point"] = self.rng.integers(90, 160, 1).astype(np.int32)
        if op.rounding is Rounding.SHIFT:
            unit = self.quant(name).scale / self.quant(self.node(name).inputs[0]).scale
            scale = unit * 2.0 ** -np.clip(np.round(np.log2(unit / scale)), 0, 31)
        self.params[f"{name}.weight_scale"] = scale.astype(np.float32)

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def conv(
        self, channels: int, kernel: tuple[int, int] = (1, 1), stride: tuple[int, int] = (1, 1), **more: object
    ) -> Conv:
        return conv(channels, kernel, stride, weights=self.dtype, **more)

    def graph(self, *outputs: str) -> Graph:
        order = sorted(self.nodes, key=lambda n: (not isinstance(n.op, Input), not isinstance(n.op, Constant)))
        return Graph("random", tuple(order), outputs or (self.nodes[-1].name,), self.params)


def of_seven_bits(graph: Graph) -> Graph:
    """The graph with int8 weights halved: two products with bytes fit 16 bits then.

    So runtimes have the right sums also where they add by an instruction that saturates: on processors without a dot
    product of bytes.
    """
    halved = {name: array // 2 if array.dtype == np.int8 else array for name, array in graph.params.items()}
    return Graph(graph.name, graph.nodes, graph.outputs, halved)


def conv(channels: int, kernel: tuple[int, int] = (1, 1), stride: tuple[int, int] = (1, 1), **more: object) -> Conv:
    """A convolution with padding that keeps the size at stride 1."""
    top, left = (kernel[0] - 1) // 2, (kernel[1] - 1) // 2
    padding = (top, kernel[0] - 1 - top, left, kernel[1] - 1 - left)
    window = Window(kernel, stride, more.pop("padding", padding), more.pop("dilation", (1, 1)))  # type: ignore[arg-type]
    more.setdefault("weights", DType.I8)
    return Conv(channels, window, **more)  # type: ignore[arg-type]


@st.composite
def graphs(draw: st.DrawFn, layers: int = 6, real: bool = False, stored: bool = False, more: bool = False) -> Graph:
    """A network of up to `layers` random blocks, ending in a map, a pool or a classifier.

    real: all float32. stored: all of 8 bits, and one output. more: blocks that not every format and machine has, too.
    """
    types = [DType.F32] if real else [DType.I8, DType.I8, DType.U8, *([] if stored else [DType.F32])]
    dtype = draw(st.sampled_from(types))
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), dtype)
    shape = Shape(draw(st.integers(1, 14)), draw(st.integers(1, 14)), draw(st.integers(1, 5)))
    others = [] if real else [DType.U8] if stored else [DType.U8, DType.F32]
    at = b.add(Input(), shape=shape, dtype=draw(st.sampled_from([dtype, *others])))
    if b.nodes[-1].type.dtype is not dtype:
        at = b.add(Requantize(), at)
    for _ in range(draw(st.integers(1, layers))):
        try:
            at = _block(draw, b, at, (*BLOCKS, *MORE) if more else BLOCKS)
        except GraphError:
            break  # the map has become too small for the window
    outputs = [at]
    if draw(st.booleans()):
        source = b.node(at)
        whole = Window((source.shape.height, source.shape.width))
        kind = draw(st.sampled_from([PoolKind.AVERAGE, PoolKind.MEAN, PoolKind.MAX]))
        at = mean(draw, b, at) if kind is PoolKind.MEAN else b.add(Pool(kind, whole), at, same=True)
        at = b.add(b.conv(draw(st.integers(2, 7)), rounding=draw(st.sampled_from(ROUNDINGS))), at)
        if draw(st.booleans()):
            at = b.add(Softmax(), at, quant=Quant(1 / 256, -128 if dtype is DType.I8 else 0))
        if not real and draw(st.booleans()):
            at = b.add(Requantize(), at, dtype=draw(st.sampled_from([DType.U8, *([] if stored else [DType.F32])])))
        outputs = [at, *outputs] if not stored and draw(st.integers(0, 4)) == 0 else [at]
    if len(b.nodes) == 1:
        outputs = [b.add(b.conv(2), at)]
    if more and draw(st.integers(0, 2)) == 0:
        outputs[0] = b.add(ArgMax(), outputs[0])
    return b.graph(*dict.fromkeys(name for name in outputs if not isinstance(b.node(name).op, Input)))


@st.composite
def several(draw: st.DrawFn, layers: int = 3, real: bool = False) -> Graph:
    """A network of two or three inputs, each with blocks of its own, that are joined one after another."""
    dtype = DType.F32 if real else draw(st.sampled_from([DType.I8, DType.U8, DType.F32]))
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), dtype)
    sides = st.integers(1, 9)
    shape = Shape(draw(sides), draw(sides), draw(st.integers(1, 5)))
    at = _some(draw, b, b.add(Input(), shape=shape), layers)
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["sum", "concat", "gate", "apart"]))
        here = b.node(at).shape
        if kind == "apart":
            other = _some(draw, b, b.add(Input(), shape=Shape(draw(sides), draw(sides), 3)), layers)
            other = b.add(b.conv(here.channels), mean(draw, b, other))
            at = product(draw, b, at, other)
        elif kind == "gate":
            at = product(draw, b, at, b.add(Input(), shape=Shape(1, 1, here.channels)))
        elif kind == "sum":
            other = b.add(Input(), shape=here)
            wide = b.add(b.conv(here.channels, (3, 3)), other) if draw(st.booleans()) else other
            pair = (at, wide) if draw(st.booleans()) else (wide, at)
            at = b.add(Add(), *pair)
        else:
            other = b.add(Input(), shape=Shape(here.height, here.width, draw(st.integers(1, 4))))
            quant = b.node(at).type.quant
            if dtype is not DType.F32:
                other = b.add(Requantize(), other, quant=quant)
            at = b.add(Concat(), *draw(st.permutations([at, other])), quant=quant)
        at = _some(draw, b, at, layers)
    if isinstance(b.node(at).op, Input):
        at = b.add(b.conv(2), at)
    return b.graph(at)


def _some(draw: st.DrawFn, b: Builder, at: str, layers: int) -> str:
    """None or some blocks behind a value."""
    for _ in range(draw(st.integers(0, layers))):
        try:
            at = _block(draw, b, at, (*BLOCKS, *MORE))
        except GraphError:
            break  # the map has become too small for the window
    return at


BLOCKS = (
    *("conv", "pointwise", "separable", "residual", "branches", "pool", "grouped"),
    *("fire", "squeeze", "slice", "pad", "resize", "constant", "function"),
)


MORE = ("curve", "pair", "select", "space", "interpolate")
"""Blocks that not every format and machine has."""
STILL = ("pool", "slice", "pad", "resize", "constant", "function")
"""Blocks without a convolution."""


@st.composite
def still_graphs(draw: st.DrawFn) -> Graph:
    """A network without a convolution: activations, pools, sums and the like, with a softmax or a mean behind."""
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.sampled_from([DType.F32, DType.I8])))
    shape = Shape(draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 4)))
    at = b.add(Input(), shape=shape)
    for _ in range(draw(st.integers(1, 3))):
        try:
            at = _block(draw, b, at, STILL)
        except GraphError:
            break  # the map has become too small for the window
    if draw(st.booleans()) or len(b.nodes) == 1:
        at = b.add(Softmax(), at, quant=Quant(1 / 256, -128)) if draw(st.booleans()) else mean(draw, b, at)
    return b.graph(at)


def _block(draw: st.DrawFn, b: Builder, at: str, blocks: tuple[str, ...] = BLOCKS) -> str:
    source = b.node(at)
    channels = source.shape.channels
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    activation = draw(st.sampled_from([Activation.NONE, Activation.RELU, Activation.RELU6]))
    match draw(st.sampled_from(blocks)):
        case "conv":
            padding = tuple(draw(st.integers(0, 2)) for _ in range(4))
            dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
            made = b.conv(
                draw(st.integers(1, 9)), kernel, stride, padding=padding, dilation=dilation, activation=activation
            )
            return b.add(made, at)
        case "pointwise":
            return b.add(b.conv(draw(st.integers(1, 9)), activation=activation, bias=draw(st.booleans())), at)
        case "separable":
            wide = b.add(b.conv(channels * 2, activation=activation), at)
            rounding = draw(st.sampled_from(ROUNDINGS))
            deep = b.add(b.conv(channels * 2, kernel, stride, groups=channels * 2, rounding=rounding), wide)
            return b.add(b.conv(draw(st.integers(1, 9))), deep)
        case "residual":
            first = b.add(b.conv(channels + 2, kernel, activation=activation), at)
            second = b.add(b.conv(channels, (3, 3)), first)
            sides = (at, second) if draw(st.booleans()) else (second, at)
            return b.add(Add(activation, draw(st.booleans())), *sides)
        case "branches":
            left = b.add(b.conv(4, kernel), at)
            right = b.add(b.conv(4, (1, 1)), at)
            right = b.add(b.conv(4, (3, 3), groups=4), right)
            return b.add(Add(), left, right)
        case "fire":
            squeezed = b.add(b.conv(3, activation=activation), at)
            parts = [b.add(b.conv(2, k), squeezed) for k in ((1, 1), kernel)]
            if b.dtype is DType.U8:
                return b.add(Concat(), *parts)
            quant = b.node(parts[0]).type.quant
            return b.add(Concat(), parts[0], b.add(Requantize(), parts[1], quant=quant), quant=quant)
        case "squeeze":
            gate = b.add(b.conv(channels, activation=Activation.RELU), b.add(b.conv(2), mean(draw, b, at)))
            return product(draw, b, at, gate)
        case "pool":
            sides = tuple(draw(st.integers(0, k - 1)) for k in (kernel[0], kernel[0], kernel[1], kernel[1]))
            window = Window(kernel, stride, sides)  # type: ignore[arg-type]
            return b.add(Pool(draw(st.sampled_from([PoolKind.AVERAGE, PoolKind.MAX])), window), at, same=True)
        case "slice":
            return b.add(Slice(draw(st.integers(0, channels - 1)), channels), at, same=True)
        case "curve":
            return curve(draw, b, at, _rounding(draw, b))
        case "pair":
            return pair(draw, b, at)
        case "select":
            picked = draw(st.lists(st.integers(0, channels - 1), min_size=1, max_size=9))
            return b.add(Select(tuple(picked)), at, same=True)
        case "space":
            height, width, block = source.shape.height, source.shape.width, draw(st.integers(1, 3))
            if height % block == 0 and width % block == 0 and draw(st.booleans()):
                return b.add(SpaceToDepth(block), at, same=True)
            if max(height, width) * block > 24:
                return at
            deep = b.add(Select(tuple(i % channels for i in range(block * block * 2))), at, same=True)
            return b.add(DepthToSpace(block, height, width), deep, same=True)
        case "interpolate":
            sides, flags = (source.shape.height, source.shape.width), draw(st.sampled_from(range(3)))
            (rows, down), (columns, right) = (
                linear.of_tensorflow_int8(side, draw(st.integers(1, 16)), flags == 1, flags == 2) for side in sides
            )
            return b.add(Interpolate(rows, columns, down, right), at, same=True)
        case "pad":
            return b.add(Pad(tuple(draw(st.integers(0, 2)) for _ in range(4))), at, same=True)  # type: ignore[arg-type]
        case "resize":
            if draw(st.booleans()):
                size, flags = (draw(st.integers(1, 16)), draw(st.integers(1, 16))), draw(st.sampled_from(range(3)))
                return b.add(resize(source.shape, *size, flags == 1, flags == 2), at, same=True)
            sides = (source.shape.height, source.shape.width)
            places = [draw(st.lists(st.integers(0, side - 1), min_size=1, max_size=16)) for side in sides]
            rows, columns = (tuple(sorted(side)) for side in places)
            return b.add(Resize(rows, columns), at, same=True)
        case "constant":
            whole = source.shape if draw(st.booleans()) else Shape(1, 1, channels)
            other = b.add(Constant(b.dtype), shape=whole)
            return b.add(Add(), at, other) if draw(st.booleans()) else product(draw, b, at, other)
        case "function":
            rounding = _rounding(draw, b)
            exact = b.dtype is DType.F32 or rounding is Rounding.SHIFT
            function = draw(st.sampled_from(list(Activation))) if exact else Activation.HARD_SWISH
            return b.add(Activate(function, rounding), at)
        case _:
            return b.add(b.conv(channels * 2, kernel, groups=channels), at)


def _rounding(draw: st.DrawFn, b: Builder) -> Rounding:
    """Of an op that is no convolution."""
    return Rounding.DOUBLE if b.dtype is DType.F32 else draw(st.sampled_from([Rounding.DOUBLE, Rounding.SHIFT]))


CURVES = {
    Curve.LEAKY_RELU: (0.1,), Curve.CLIP: (-0.7, 0.9), Curve.ELU: (0.8,), Curve.SELU: (1.5, 1.1), Curve.CELU: (0.6,),
    Curve.SOFTPLUS: (1.5,), Curve.SWISH: (1.7,), Curve.RAMP: (0.2, 0.4), Curve.POWER: (-0.5,),
}  # fmt: skip
"""Numbers of the functions that have some."""
LITERT_CURVES = (Curve.LEAKY_RELU, Curve.ELU, Curve.GELU, Curve.GELU_TANH, Curve.TANH, Curve.ABS, Curve.EXP, Curve.LOG)
"""Functions of bytes that have a rule of LiteRT's."""
POSITIVE = (Curve.SQRT, Curve.LOG, Curve.POWER, Curve.EXP)
"""Functions that are not defined everywhere, or grow without end."""


def curve(draw: st.DrawFn, b: Builder, at: str, rounding: Rounding) -> str:
    """A function with numbers of its own; of real values within bounds where it needs some."""
    exact = b.dtype is DType.F32 or rounding is Rounding.SHIFT
    found = draw(st.sampled_from(list(Curve) if exact else LITERT_CURVES))
    if b.dtype is DType.F32 and found in POSITIVE:
        at = b.add(Apply(Curve.CLIP, 0.1, 3.0), at)
    return b.add(Apply(found, *CURVES.get(found, ()), rounding=rounding), at)


def pair(draw: st.DrawFn, b: Builder, at: str) -> str:
    """The greater, the lesser, the quotient or a PReLU of two values."""
    kinds = [kind for kind in PairKind if b.dtype is DType.F32 or kind is not PairKind.DIVIDE]
    kind, channels = draw(st.sampled_from(kinds)), b.node(at).shape.channels
    whole = kind is not PairKind.PRELU and draw(st.booleans())
    if kind is PairKind.DIVIDE:
        return b.add(Pair(kind), at, b.add(Apply(Curve.CLIP, 0.5, 3.0), at))
    if whole and draw(st.booleans()):
        other = b.add(b.conv(channels), at, quant=b.node(at).type.quant)
    else:
        shape = b.node(at).shape if whole else Shape(1, 1, channels)
        quant = None if kind is PairKind.PRELU else b.node(at).type.quant
        other = b.add(Constant(b.dtype), shape=shape, quant=quant)
    return b.add(Pair(kind), at, other, same=kind is not PairKind.PRELU)


def mean(draw: st.DrawFn, b: Builder, at: str) -> str:
    """The mean of a full tensor."""
    shape, rounding = b.node(at).shape, _rounding(draw, b)
    quant = b.shifted(b.quant(at).scale / shape.pixels) if rounding is Rounding.SHIFT else None
    return b.add(Pool(PoolKind.MEAN, Window((shape.height, shape.width)), rounding=rounding), at, quant=quant)


def product(draw: st.DrawFn, b: Builder, left: str, right: str) -> str:
    """The product of two values, under either rule."""
    rounding = _rounding(draw, b)
    shifts = rounding is Rounding.SHIFT
    quant = b.shifted(b.quant(left).scale * b.quant(right).scale) if shifts else None
    return b.add(Multiply(rounding=rounding), left, right, quant=quant)


def random_image(graph: Graph, seed: int = 0) -> Array:
    node, rng = graph.input_nodes[0], np.random.default_rng(seed)
    if node.type.quant is None:
        return rng.uniform(-1, 1, node.shape.array).astype(np.float32)
    low, high = node.type.dtype.integers
    return rng.integers(low, high + 1, node.shape.array).astype(node.type.dtype.numpy)


@st.composite
def inverted(draw: st.DrawFn, most_blocks: int = 3) -> Graph:
    """Inverted-residual blocks of any window: an expansion, perhaps a function, a depthwise layer, a projection."""
    dtype = draw(st.sampled_from([DType.I8, DType.F32]))
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), dtype)
    at = b.add(Input(), shape=Shape(draw(st.integers(2, 12)), draw(st.integers(1, 12)), draw(st.integers(1, 3))))
    for _ in range(draw(st.integers(1, most_blocks))):
        first, channels = at, b.node(at).shape.channels
        at = b.add(b.conv(channels * draw(st.integers(2, 3)), activation=Activation.RELU), at)
        if draw(st.booleans()):
            at = b.add(Activate(Activation.HARD_SWISH), at)
        wide = b.node(at).shape.channels
        kernel = (draw(st.integers(2, 4)), draw(st.integers(1, 4)))
        if draw(st.booleans()):
            window = {"padding": tuple(draw(st.integers(0, 3)) for _ in range(4))}
            stride, window["dilation"] = (
                (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
                (draw(st.integers(1, 2)), 1),
            )
        else:
            window, stride = {}, (1, 1)
        try:
            at = b.add(b.conv(wide, kernel, stride, groups=wide, **window), at)
        except GraphError:
            break  # the map has become too small for the window
        at = b.add(b.conv(channels if draw(st.booleans()) else draw(st.integers(1, 4))), at)
        if b.node(at).shape == b.node(first).shape and draw(st.booleans()):
            at = b.add(Add(), first, at)
    return b.graph()
