"""The network of a choice, written once: as a Graph, or as its counts alone, which takes no graph."""

from dataclasses import dataclass
from typing import Protocol

from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation
from rillet.search.space import WIDTHS_TO, Choice, Space
from rillet.transforms import fuseconv
from rillet.zoo.layers import CIFAR10, Layers, scaled, square

NONE = Activation.NONE


class Sink(Protocol):
    """What a network is built into, layer by layer; the words are those of `zoo.layers.Layers`."""

    block: str
    at: str

    @property
    def channels_now(self) -> int:
        """Channels of the last value."""
        ...

    def conv_bn(self, role: str, channels: int, kernel: int = 1, stride: int = 1, activation: Activation = NONE) -> str:
        """A convolution, its batch norm, its activation."""
        ...

    def spatial(self, kernel: int, stride: int, activation: Activation, *, fused: bool) -> str:
        """A depthwise convolution of the block, or the FuSe pair in its place, with batch norm and activation."""
        ...

    def gate(self, squeezed: int) -> str:
        """Squeeze-and-excite."""
        ...

    def residual(self, source: str) -> str:
        """Adds `source` to the last value."""
        ...

    def activate(self, role: str, activation: Activation) -> str:
        """An activation of the last value."""
        ...

    def head(self, features: int, activation: Activation, classes: int) -> None:
        """Global pool, a dense layer to `features` where there are some, and one to the classes."""
        ...


@dataclass
class Drawn(Layers):
    """A Graph in the making."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fused: list[str] = []

    @property
    def channels_now(self) -> int:
        """Channels of the last value."""
        return self.shape.channels

    def spatial(self, kernel: int, stride: int, activation: Activation, *, fused: bool) -> str:
        """A depthwise convolution; one that is to be a FuSe pair is remembered."""
        if fused:
            self.fused.append(self.block)
        return self.depthwise_bn(kernel, stride, activation)

    def gate(self, squeezed: int) -> str:
        """Squeeze-and-excite by 1x1 convolutions with biases."""
        return self.squeeze_excite(squeezed, dense=False)

    def head(self, features: int, activation: Activation, classes: int) -> None:
        """Global pool and dense layers."""
        self.block = "head"
        self.global_pool()
        if features:
            self.dense("features", features)
            self.activate("features", activation)
        self.dense("logits", classes)


@dataclass
class Tally:
    """Multiply-accumulates and parameters in the making."""

    rows: int
    columns: int
    channels_now: int = 3
    block: str = ""
    at: str = ""
    macs: int = 0
    weights: int = 0
    vectors: int = 0
    """Channels that have a bias in 8-bit integers: all outputs of convolutions and dense layers."""
    norms: int = 0
    """Channels of batch norms, with two parameters each."""
    biases: int = 0

    @property
    def params(self) -> int:
        """What is trained."""
        return self.weights + 2 * self.norms + self.biases

    def _strided(self, stride: int) -> None:
        self.rows, self.columns = -(-self.rows // stride), -(-self.columns // stride)

    def _layer(self, weights: int, pixels: int, outputs: int) -> None:
        self.weights += weights
        self.macs += weights * pixels
        self.vectors += outputs
        self.channels_now = outputs

    def conv_bn(self, role: str, channels: int, kernel: int = 1, stride: int = 1, activation: Activation = NONE) -> str:  # noqa: ARG002
        """A convolution and its batch norm."""
        self._strided(stride)
        self._layer(kernel * kernel * self.channels_now * channels, self.rows * self.columns, channels)
        self.norms += channels
        return role

    def spatial(self, kernel: int, stride: int, activation: Activation, *, fused: bool) -> str:  # noqa: ARG002
        """A depthwise convolution, or half of the channels by rows and half by columns."""
        self._strided(stride)
        taps = kernel if fused and kernel > 1 else kernel * kernel
        self._layer(taps * self.channels_now, self.rows * self.columns, self.channels_now)
        self.norms += self.channels_now
        return "depthwise"

    def gate(self, squeezed: int) -> str:
        """Squeeze-and-excite."""
        channels = self.channels_now
        self._layer(channels * squeezed, 1, squeezed)
        self._layer(channels * squeezed, 1, channels)
        self.biases += squeezed + channels
        return "scale"

    def residual(self, source: str) -> str:  # noqa: ARG002
        """A sum has no parameters."""
        return "add"

    def activate(self, role: str, activation: Activation) -> str:  # noqa: ARG002
        """An activation has none."""
        return role

    def head(self, features: int, activation: Activation, classes: int) -> None:  # noqa: ARG002
        """Dense layers behind a global pool."""
        for outputs in (features, classes):
            if outputs:
                self._layer(self.channels_now * outputs, 1, outputs)
                self.biases += outputs


def build(space: Space, choice: Choice, net: Sink, classes: int) -> None:
    """Writes the network of a choice into `net`, whose input is there."""
    width = float(choice["network.width"])
    usual = Activation(str(choice["network.activation"]))

    def channels(name: str) -> int:
        return scaled(int(choice[name]), width, WIDTHS_TO) if choice[name] else 0

    net.block = "stem"
    net.conv_bn("conv", channels("stem.channels"), int(choice["stem.kernel"]), int(choice["stem.stride"]), usual)
    number = 0
    for at in range(1, space.stages + 1):
        stage = f"stage{at}"
        for block in range(1, int(choice[f"{stage}.depth"]) + 1):
            number += 1
            net.block = f"block{number}"
            stride = int(choice[f"{stage}.stride"]) if block == 1 else 1
            make = _residual if choice[f"{stage}.kind"] == "residual" else _inverted
            make(net, choice, stage, block, channels(f"{stage}.channels"), stride)
    if choice["head.channels"]:
        net.block = "last"
        net.conv_bn("conv", channels("head.channels"), activation=usual)
    net.head(channels("head.features"), usual, classes)


def _inverted(net: Sink, choice: Choice, stage: str, block: int, out: int, stride: int) -> None:
    one, activation = f"{stage}.block{block}", Activation(str(choice[f"{stage}.activation"]))
    source, entered = net.at, net.channels_now
    expanded = scaled(entered, float(choice[f"{one}.expand"]), WIDTHS_TO)
    if expanded != entered:
        net.conv_bn("expand", expanded, activation=activation)
    net.spatial(int(choice[f"{one}.kernel"]), stride, activation, fused=choice[f"{one}.spatial"] == "fuse")
    if choice[f"{one}.squeeze"]:
        net.gate(scaled(expanded, 0.25, WIDTHS_TO))
    net.conv_bn("project", out)
    if stride == 1 and entered == out:
        net.residual(source)


def _residual(net: Sink, choice: Choice, stage: str, block: int, out: int, stride: int) -> None:
    kernel, activation = int(choice[f"{stage}.block{block}.kernel"]), Activation(str(choice[f"{stage}.activation"]))
    source, entered = net.at, net.channels_now
    net.conv_bn("conv1", out, kernel, stride, activation)
    last = net.conv_bn("conv2", out, kernel)
    if stride == 1 and entered == out:
        net.at = last
        net.residual(source)
        net.activate("add", activation)
    else:
        net.activate("conv2", activation)


def graph(space: Space, choice: Choice, classes: int, name: str = "") -> Graph:
    """The network of a choice, without weights; raises GraphError where its strides leave no pixel."""
    side = int(choice["input.resolution"])
    net = Drawn(name or space.name, square(side))
    build(space, choice, net, classes)
    made = net.graph(**CIFAR10)
    if not net.fused:
        return made
    pairs = fuseconv.sites(made)
    chosen = tuple(site for site in pairs if site.node.block in net.fused and site.kind == "depthwise")
    return fuseconv.fuse(made, "half", chosen) if chosen else made


def tally(space: Space, choice: Choice, classes: int) -> Tally:
    """The counts of a choice's network, as `count` would have them of its graph."""
    side = int(choice["input.resolution"])
    if not 0 < classes < 2**17:
        raise GraphError(f"classes must be 1 to {2**17 - 1}, got {classes}")
    net = Tally(side, side)
    build(space, choice, net, classes)
    return net
