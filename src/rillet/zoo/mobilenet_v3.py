"""MobileNetV3 and MicroBotNet: inverted residuals with squeeze-and-excite and hard-swish."""

from typing import Literal, NamedTuple

from rillet.ir.graph import Graph
from rillet.ir.ops import Activation
from rillet.zoo.layers import CIFAR10, IMAGENET, Layers, Padding, Resolution, check, scaled, square

RELU, HARD_SWISH = Activation.RELU, Activation.HARD_SWISH
Form = Literal["paper", "fuseconv"]


class Row(NamedTuple):
    """One block: kernel, expanded and output channels, squeeze-and-excite, non-linearity, stride."""

    kernel: int
    expanded: int
    out: int
    squeeze: bool
    activation: Activation
    stride: int


# Howard et al. 2019 (arXiv:1905.02244), tables 1 and 2.
LARGE = (
    Row(3, 16, 16, False, RELU, 1),
    Row(3, 64, 24, False, RELU, 2),
    Row(3, 72, 24, False, RELU, 1),
    Row(5, 72, 40, True, RELU, 2),
    *(Row(5, 120, 40, True, RELU, 1),) * 2,
    Row(3, 240, 80, False, HARD_SWISH, 2),
    Row(3, 200, 80, False, HARD_SWISH, 1),
    *(Row(3, 184, 80, False, HARD_SWISH, 1),) * 2,
    Row(3, 480, 112, True, HARD_SWISH, 1),
    Row(3, 672, 112, True, HARD_SWISH, 1),
    Row(5, 672, 160, True, HARD_SWISH, 2),
    *(Row(5, 960, 160, True, HARD_SWISH, 1),) * 2,
)
SMALL = (
    Row(3, 16, 16, True, RELU, 2),
    Row(3, 72, 24, False, RELU, 2),
    Row(3, 88, 24, False, RELU, 1),
    Row(5, 96, 40, True, HARD_SWISH, 2),
    *(Row(5, 240, 40, True, HARD_SWISH, 1),) * 2,
    Row(5, 120, 48, True, HARD_SWISH, 1),
    Row(5, 144, 48, True, HARD_SWISH, 1),
    Row(5, 288, 96, True, HARD_SWISH, 2),
    *(Row(5, 576, 96, True, HARD_SWISH, 1),) * 2,
)
# bCom5, FdMobileNetV3Imp2 of mode `small`.
MICROBOTNET = (
    Row(3, 72, 24, False, RELU, 2),
    Row(5, 96, 40, True, HARD_SWISH, 2),
    Row(5, 240, 40, True, HARD_SWISH, 1),
    Row(5, 120, 48, True, HARD_SWISH, 1),
    Row(5, 144, 48, True, HARD_SWISH, 1),
    Row(5, 288, 96, True, HARD_SWISH, 2),
    *(Row(5, 576, 96, True, HARD_SWISH, 1),) * 4,
)


def mobilenet_v3_large(
    *,
    width: float = 1.0,
    resolution: Resolution = square(224),
    classes: int = 1000,
    channels: int = 3,
    top: bool = True,
    padding: Padding = "keras",
    form: Form = "paper",
) -> Graph:
    """MobileNetV3 large; `fuseconv`: as FuSeConv's authors wrote it."""
    return _v3("mobilenet_v3_large", LARGE, 1280, width, resolution, classes, channels, top, padding, form)


def mobilenet_v3_small(
    *,
    width: float = 1.0,
    resolution: Resolution = square(224),
    classes: int = 1000,
    channels: int = 3,
    top: bool = True,
    padding: Padding = "keras",
    form: Form = "paper",
) -> Graph:
    """MobileNetV3 small; `fuseconv`: as FuSeConv's authors wrote it, with 1280 last channels."""
    last = 1280 if form == "fuseconv" else 1024
    return _v3("mobilenet_v3_small", SMALL, last, width, resolution, classes, channels, top, padding, form)


def _v3(
    name: str,
    rows: tuple[Row, ...],
    last: int,
    width: float,
    resolution: Resolution,
    classes: int,
    channels: int,
    top: bool,
    padding: Padding,
    form: Form,
) -> Graph:
    check(name, resolution, 32, width=width, classes=classes, channels=channels)
    fuse = form == "fuseconv"
    net = Layers(name, resolution, channels, padding, 1e-5 if fuse else 1e-3)
    net.block = "stem"
    net.conv_bn("conv", scaled(16, width), 3, 2, HARD_SWISH)
    expanded = 0
    for number, row in enumerate(rows, 1):
        expanded = scaled(row.expanded, width)
        net.block = f"block{number}"
        # The authors of FuSeConv never leave the expansion out, nor round the squeeze, and gate before the activation.
        squeezed = (expanded // 4 if fuse else scaled(expanded // 4, 1.0)) if row.squeeze else 0
        expand = fuse or expanded != net.shape.channels
        _block(net, row, expanded, scaled(row.out, width), squeezed, expand=expand, dense=fuse, gate_first=fuse)
    net.block = "head"
    net.conv_bn("conv", scaled(rows[-1].expanded, width), activation=HARD_SWISH)
    if top:
        net.global_pool()
        if fuse:
            net.conv("features", last, bias=True)
        else:
            net.dense("features", scaled(last, max(1.0, width)))
        net.activate("features", HARD_SWISH)
        net.dense("logits", classes)
    return net.graph(**IMAGENET) if padding == "torch" else net.graph()


def _block(
    net: Layers, row: Row, expanded: int, out: int, squeezed: int, *, expand: bool, dense: bool, gate_first: bool
) -> None:
    source, entered = net.at, net.shape.channels
    if expand:
        net.conv_bn("expand", expanded, activation=row.activation)
    if gate_first:
        net.depthwise_bn(row.kernel, row.stride, Activation.NONE)
    else:
        net.depthwise_bn(row.kernel, row.stride, row.activation)
    if squeezed:
        net.squeeze_excite(squeezed, dense=dense)
    if gate_first:
        net.activate("depthwise", row.activation)
    net.conv_bn("project", out)
    if row.stride == 1 and entered == out:
        net.residual(source)


def microbotnet(
    *,
    width: float = 1.0,
    resolution: Resolution = square(32),
    classes: int = 10,
    channels: int = 3,
    padding: Padding = "torch",
) -> Graph:
    """MicroBotNet, a fast-downsampling MobileNetV3 small for CIFAR-10.

    Its quirks are the authors': the width scales the last expansion twice, the layer to 1024 channels is a convolution
    without batch norm behind the global pool, the squeeze has no biases and comes before the activation.
    """
    check("microbotnet", resolution, 16, width=width, classes=classes, channels=channels)
    net = Layers("microbotnet", resolution, channels, padding)
    net.block = "stem"
    net.conv_bn("conv", scaled(16, width), 3, 2, HARD_SWISH)
    expanded = 0
    for number, row in enumerate(MICROBOTNET, 1):
        expanded = scaled(row.expanded, width)
        net.block = f"block{number}"
        squeezed = expanded // 4 if row.squeeze else 0
        expand = expanded != net.shape.channels
        _block(net, row, expanded, scaled(row.out, width), squeezed, expand=expand, dense=True, gate_first=True)
    net.block = "head"
    net.conv_bn("conv", scaled(expanded, width), activation=HARD_SWISH)
    net.global_pool()
    net.conv("features", scaled(1024, max(1.0, width)))
    net.activate("features", HARD_SWISH)
    net.dense("logits", classes)
    return net.graph(**CIFAR10)
