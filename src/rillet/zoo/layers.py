"""The layer builders in which the tables of the zoo are written."""

from dataclasses import dataclass, field
from typing import Literal

from rillet.errors import GraphError
from rillet.ir.graph import Graph, ImageSpec, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Input,
    Multiply,
    Op,
    Pool,
    PoolKind,
    Window,
    output_shape,
)
from rillet.ir.types import DType, Shape, TensorType

Padding = Literal["keras", "torch"]
"""`keras` pads as SAME does, an odd row or column at the bottom and right; `torch` half a kernel on every side."""

MAX_CHANNELS = 2**17
MAX_RESOLUTION = 4096


@dataclass(frozen=True, slots=True)
class Resolution:
    """Rows and columns of the input image."""

    height: int
    width: int

    def __str__(self) -> str:
        return str(self.height) if self.height == self.width else f"{self.height}x{self.width}"


def square(side: int) -> Resolution:
    """A square image."""
    return Resolution(side, side)


def scaled(channels: int, width: float, divisor: int = 8) -> int:
    """Channels times the width multiplier, to a multiple of `divisor` that loses at most a tenth (Sandler et al.)."""
    value = channels * width
    out = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return out + divisor if out < 0.9 * value else out


def truncated(channels: int, width: float) -> int:
    """Channels times the width multiplier, rounded down, at least 1 (Howard et al.)."""
    return max(1, int(channels * width))


@dataclass
class Layers:
    """A network in the making; `at` names the value that the next layer reads."""

    name: str
    resolution: Resolution
    channels: int = 3
    padding: Padding = "torch"
    epsilon: float = 1e-5
    at: str = "input"
    block: str = ""
    nodes: list[Node] = field(default_factory=list[Node])
    shapes: dict[str, Shape] = field(default_factory=dict[str, Shape])

    def __post_init__(self) -> None:
        self.types: dict[Shape, TensorType] = {}
        shape = Shape(self.resolution.height, self.resolution.width, self.channels)
        self.shapes["input"] = shape
        self.nodes.append(Node("input", Input(), (), TensorType(shape)))

    @property
    def shape(self) -> Shape:
        """Shape of the value that the next layer reads."""
        return self.shapes[self.at]

    def add(self, role: str, op: Op, *inputs: str, dtype: DType = DType.F32) -> str:
        """Adds a node called `block.role`, reading `inputs` or else the last value made; the name of the node."""
        read = inputs or (self.at,)
        name = f"{self.block}.{role}"
        shape = output_shape(op, tuple(self.shapes[n] for n in read), self.shapes["input"])
        made = self.types.get(shape) if dtype is DType.F32 else TensorType(shape, dtype)
        if made is None:
            made = self.types[shape] = TensorType(shape)
        self.nodes.append(Node(name, op, read, made, self.block))
        self.shapes[name] = shape
        self.at = name
        return name

    def window(self, kernel: int | tuple[int, int], stride: int = 1, valid: bool = False) -> Window:
        """A window over the last value under the network's padding, or without any (`valid`)."""
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        if valid or (size == (1, 1) and stride == 1):
            return Window(size, (stride, stride))
        shape = self.shape
        if self.padding == "torch":
            return Window(size, (stride, stride), (size[0] // 2, size[0] // 2, size[1] // 2, size[1] // 2))
        top, bottom = _same(shape.height, size[0], stride)
        left, right = _same(shape.width, size[1], stride)
        return Window(size, (stride, stride), (top, bottom, left, right))

    def conv(
        self,
        role: str,
        channels: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        valid: bool = False,
    ) -> str:
        """A convolution without batch norm or activation."""
        return self.add(role, Conv(channels, self.window(kernel, stride, valid), groups, bias=bias))

    def conv_bn(
        self,
        role: str,
        channels: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        activation: Activation = Activation.NONE,
        *,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        """A convolution, its batch norm, and its activation if it has one."""
        self.conv(role, channels, kernel, stride, groups=groups, bias=bias)
        self.bn(role)
        return self.activate(role, activation)

    def depthwise_bn(self, kernel: int, stride: int, activation: Activation, *, bias: bool = False) -> str:
        """A depthwise convolution of the block, its batch norm, and its activation if it has one."""
        channels = self.shape.channels
        return self.conv_bn("depthwise", channels, kernel, stride, activation, groups=channels, bias=bias)

    def bn(self, role: str) -> str:
        """Batch normalisation of the last value."""
        return self.add(f"{role}_bn", BatchNorm(self.epsilon))

    def activate(self, role: str, activation: Activation) -> str:
        """An activation of the last value; nothing where there is none."""
        return self.at if activation is Activation.NONE else self.add(f"{role}_act", Activate(activation))

    def residual(self, source: str) -> str:
        """Adds `source` to the last value."""
        return self.add("add", Add(), self.at, source)

    def max_pool(self, kernel: int = 3, stride: int = 2, padding: tuple[int, int, int, int] = (0, 0, 0, 0)) -> str:
        """Maximum over windows."""
        return self.add("pool", Pool(PoolKind.MAX, Window((kernel, kernel), (stride, stride), padding)))

    def global_pool(self, role: str = "pool", kind: PoolKind = PoolKind.AVERAGE) -> str:
        """One value a channel, by an adaptive average pool or, in some networks, a mean: counters tell them apart."""
        return self.add(role, Pool(kind, Window((self.shape.height, self.shape.width))))

    def concat(self, *inputs: str) -> str:
        """Values side by side along the channels."""
        return self.add("concat", Concat(), *inputs)

    def dense(self, role: str, outputs: int, *, bias: bool = True) -> str:
        """A dense layer over the whole of the last value."""
        window = Window((self.shape.height, self.shape.width))
        return self.add(role, Conv(outputs, window, bias=bias, dense=True))

    def squeeze_excite(self, squeezed: int, *, dense: bool, gate: Activation = Activation.HARD_SIGMOID) -> str:
        """Squeeze-and-excite (Hu et al.): 1x1 convolutions with biases, or dense layers without."""
        source, channels = self.at, self.shape.channels
        self.global_pool("squeeze")
        self.add("reduce", Conv(squeezed, bias=not dense, dense=dense))
        self.activate("reduce", Activation.RELU)
        self.add("excite", Conv(channels, bias=not dense, dense=dense))
        self.activate("excite", gate)
        return self.add("scale", Multiply(), source, self.at)

    def classifier(self, classes: int, kind: PoolKind = PoolKind.AVERAGE) -> str:
        """Global pool and a dense layer to the classes, in the block `head`."""
        self.block = "head"
        self.global_pool(kind=kind)
        return self.dense("logits", classes)

    def graph(self, mean: tuple[float, ...] = (127.5,), deviation: tuple[float, ...] = (127.5,)) -> Graph:
        """The network so far, its output the last value; its input is (pixel - mean) / deviation."""
        if len(mean) not in (1, self.channels):
            mean, deviation = (127.5,), (127.5,)
        image = ImageSpec(self.resolution.height, self.resolution.width, self.channels, "crop", mean, deviation)
        return Graph(self.name, tuple(self.nodes), (self.at,), image=image)


IMAGENET = {"mean": (123.675, 116.28, 103.53), "deviation": (58.395, 57.12, 57.375)}
"""Mean and deviation of ImageNet's channels, in pixels from 0 to 255, as PyTorch's networks take them."""

CIFAR10 = {"mean": (125.307, 122.961, 113.8575), "deviation": (51.5865, 50.847, 51.255)}
"""The same of CIFAR-10, as `kuangliu/pytorch-cifar` wrote them (.4914 .4822 .4465, .2023 .1994 .2010)."""


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def check(name: str, resolution: Resolution, least: int, **counts: float) -> None:
    """Refuses sizes that make no network; raises GraphError naming the parameter."""
    if min(resolution.height, resolution.width) < least:
        raise GraphError(f"{name}: resolution must be at least {least}, the product of its strides, got {resolution}")
    if max(resolution.height, resolution.width) > MAX_RESOLUTION:
        raise GraphError(f"{name}: resolution must be at most {MAX_RESOLUTION}, got {resolution}")
    for key, value in counts.items():
        most = 8 if key == "width" else MAX_CHANNELS
        if not 0 < value <= most:
            raise GraphError(f"{name}: {key} must be above 0 and at most {most}, got {value:g}")
