"""Random small quantised networks for the tests: blocks of the kinds that real ones have, odd shapes and paddings."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from rillet.errors import GraphError
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import (
    Activation,
    Add,
    Conv,
    Input,
    Op,
    Pool,
    PoolKind,
    Requantize,
    Rounding,
    Softmax,
    Window,
    output_shape,
)
from rillet.ir.types import DType, Quant, Shape, TensorType


@dataclass
class Builder:
    """Adds nodes with seeded weights and plausible scales."""

    rng: np.random.Generator
    nodes: list[Node] = field(default_factory=list)
    params: dict[str, Array] = field(default_factory=dict)

    def add(
        self, op: Op, *inputs: str, shape: Shape | None = None, dtype: DType = DType.I8, quant: Quant | None = None
    ) -> str:
        by_name = {node.name: node for node in self.nodes}
        shapes = tuple(by_name[name].shape for name in inputs)
        made = output_shape(op, shapes, shape or Shape(1, 1, 1))
        name = f"n{len(self.nodes)}"
        low, _ = dtype.integers
        if quant is None:
            quant = Quant(float(np.float32(self.rng.uniform(0.02, 0.2))), int(self.rng.integers(low, low + 200)))
        self.nodes.append(Node(name, op, inputs, TensorType(made, dtype, quant)))
        if isinstance(op, Conv):
            depth = int(np.prod(op.weight_shape(shapes[0])[1:]))
            self.params[f"{name}.weight"] = self.rng.integers(-127, 128, op.weight_shape(shapes[0])).astype(np.int8)
            if op.bias:
                self.params[f"{name}.bias"] = self.rng.integers(-2000, 2000, op.out_channels).astype(np.int32)
            scale = self.rng.uniform(0.3, 1.0, op.out_channels) / (40 * np.sqrt(depth))
            self.params[f"{name}.weight_scale"] = scale.astype(np.float32)
        return name

    def graph(self, *outputs: str) -> Graph:
        return Graph("random", tuple(self.nodes), outputs or (self.nodes[-1].name,), self.params)


def conv(channels: int, kernel: tuple[int, int] = (1, 1), stride: tuple[int, int] = (1, 1), **more: object) -> Conv:
    """A quantised convolution with padding that keeps the size at stride 1."""
    top, left = (kernel[0] - 1) // 2, (kernel[1] - 1) // 2
    padding = (top, kernel[0] - 1 - top, left, kernel[1] - 1 - left)
    window = Window(kernel, stride, more.pop("padding", padding), more.pop("dilation", (1, 1)))  # type: ignore[arg-type]
    return Conv(channels, window, weights=DType.I8, **more)  # type: ignore[arg-type]


@st.composite
def graphs(draw: st.DrawFn, layers: int = 6) -> Graph:
    """A network of up to `layers` random blocks, ending in a map, a pool or a classifier."""
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    shape = Shape(draw(st.integers(1, 14)), draw(st.integers(1, 14)), draw(st.integers(1, 5)))
    at = b.add(Input(), shape=shape, dtype=draw(st.sampled_from([DType.I8, DType.U8])))
    if b.nodes[-1].type.dtype is DType.U8:
        at = b.add(Requantize(), at)
    for _ in range(draw(st.integers(1, layers))):
        try:
            at = _block(draw, b, at)
        except GraphError:
            break  # the map has become too small for the window
    if draw(st.booleans()):
        source = b.nodes[[n.name for n in b.nodes].index(at)]
        whole = Window((source.shape.height, source.shape.width))
        kind = draw(st.sampled_from([PoolKind.AVERAGE, PoolKind.MEAN]))
        at = b.add(Pool(kind, whole), at, quant=source.type.quant if kind is PoolKind.AVERAGE else None)
        at = b.add(conv(draw(st.integers(2, 7)), rounding=draw(st.sampled_from(list(Rounding)))), at)
        if draw(st.booleans()):
            at = b.add(Softmax(), at, quant=Quant(1 / 256, -128))
        if draw(st.booleans()):
            at = b.add(Requantize(), at, dtype=DType.U8)
    if len(b.nodes) == 1:
        at = b.add(conv(2), at)
    return b.graph(at)


def _block(draw: st.DrawFn, b: Builder, at: str) -> str:
    source = next(node for node in b.nodes if node.name == at)
    channels = source.shape.channels
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    activation = draw(st.sampled_from([Activation.NONE, Activation.RELU, Activation.RELU6]))
    match draw(st.sampled_from(["conv", "pointwise", "separable", "residual", "branches", "pool", "grouped"])):
        case "conv":
            padding = tuple(draw(st.integers(0, 2)) for _ in range(4))
            dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
            made = conv(
                draw(st.integers(1, 9)), kernel, stride, padding=padding, dilation=dilation, activation=activation
            )
            return b.add(made, at)
        case "pointwise":
            return b.add(conv(draw(st.integers(1, 9)), activation=activation, bias=draw(st.booleans())), at)
        case "separable":
            wide = b.add(conv(channels * 2, activation=activation), at)
            deep = b.add(conv(channels * 2, kernel, stride, groups=channels * 2), wide)
            return b.add(conv(draw(st.integers(1, 9))), deep)
        case "residual":
            first = b.add(conv(channels + 2, kernel, activation=activation), at)
            second = b.add(conv(channels, (3, 3)), first)
            pair = (at, second) if draw(st.booleans()) else (second, at)
            return b.add(Add(activation), *pair)
        case "branches":
            left = b.add(conv(4, kernel), at)
            right = b.add(conv(4, (1, 1)), at)
            right = b.add(conv(4, (3, 3), groups=4), right)
            return b.add(Add(), left, right)
        case "pool":
            window = Window(
                kernel, stride, tuple(draw(st.integers(0, k - 1)) for k in (kernel[0],) * 2 + (kernel[1],) * 2)
            )  # type: ignore[arg-type]
            return b.add(Pool(PoolKind.AVERAGE, window), at, quant=source.type.quant)
        case _:
            groups = channels
            return b.add(conv(channels * 2, kernel, groups=groups), at)


def random_image(graph: Graph, seed: int = 0) -> Array:
    node = graph.input_nodes[0]
    low, high = node.type.dtype.integers
    return np.random.default_rng(seed).integers(low, high + 1, node.shape.array).astype(node.type.dtype.numpy)
