"""SqueezeNet 1.0 and 1.1, with the simple and complex bypasses of its paper, and a SqueezeNet for CIFAR-10."""

from typing import Literal

from rillet.ir.graph import Graph
from rillet.ir.ops import Activation
from rillet.zoo.layers import CIFAR10, IMAGENET, Layers, Resolution, check, square

RELU = Activation.RELU
Bypass = Literal["none", "simple", "complex"]

# Squeezed and expanded channels of fire2 to fire9, the latter twice. Iandola et al. 2016 (arXiv:1602.07360), table 1.
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def squeezenet1_0(
    *, resolution: Resolution = square(224), classes: int = 1000, channels: int = 3, bypass: Bypass = "none"
) -> Graph:
    """SqueezeNet 1.0: late pools ("delayed downsampling"), behind the stem, fire4 and fire8."""
    return _squeezenet("squeezenet1_0", 7, 96, (4, 8), resolution, classes, channels, bypass)


def squeezenet1_1(
    *, resolution: Resolution = square(224), classes: int = 1000, channels: int = 3, bypass: Bypass = "none"
) -> Graph:
    """SqueezeNet 1.1: a smaller stem and earlier pools, behind the stem, fire3 and fire5."""
    return _squeezenet("squeezenet1_1", 3, 64, (3, 5), resolution, classes, channels, bypass)


def _squeezenet(
    name: str,
    kernel: int,
    stem: int,
    pooled: tuple[int, int],
    resolution: Resolution,
    classes: int,
    channels: int,
    bypass: Bypass,
) -> Graph:
    check(name, resolution, 32, classes=classes, channels=channels)
    net = Layers(name, resolution, channels)
    net.block = "stem"
    net.conv("conv", stem, kernel, 2, bias=True, valid=True)
    net.activate("conv", RELU)
    _ceil_pool(net)
    for number, (squeezed, expanded) in enumerate(FIRES, 2):
        net.block = f"fire{number}"
        source, entered = net.at, net.shape.channels
        fire(net, squeezed, expanded)
        joined = net.at
        if bypass != "none" and entered == 2 * expanded:
            net.residual(source)
        elif bypass == "complex":
            net.at = source
            net.conv("bypass", 2 * expanded, bias=True)
            net.residual(joined)
        if number in pooled:
            _ceil_pool(net)
    net.block = "head"
    net.conv("logits", classes, bias=True)
    net.activate("logits", RELU)
    net.global_pool()
    return net.graph(**IMAGENET)


def fire(net: Layers, squeezed: int, expanded: int) -> None:
    """A fire module: squeeze by 1x1, expand by 1x1 and 3x3 side by side."""
    net.conv("squeeze", squeezed, bias=True)
    source = net.activate("squeeze", RELU)
    net.conv("expand1x1", expanded, bias=True)
    left = net.activate("expand1x1", RELU)
    net.at = source
    net.conv("expand3x3", expanded, 3, bias=True)
    right = net.activate("expand3x3", RELU)
    net.concat(left, right)


def squeezenet_cifar10(*, resolution: Resolution = square(32), classes: int = 10, channels: int = 3) -> Graph:
    """MicroBotNet's authors' SqueezeNet for CIFAR-10, with simple bypasses and batch norms.

    Batch norm and ReLU stand before each convolution of a fire module, so these batch norms have no convolution before
    them to fold into.
    """
    check("squeezenet_cifar10", resolution, 8, classes=classes, channels=channels)
    net = Layers("squeezenet_cifar10", resolution, channels)
    net.block = "stem"
    net.conv_bn("conv", 64, 3, activation=RELU)
    _ceil_pool(net)
    for number, (squeezed, expanded) in enumerate(FIRES, 2):
        net.block = f"fire{number}"
        source, entered = net.at, net.shape.channels
        _preactivated(net, "squeeze", squeezed)
        narrow = net.at
        left = _preactivated(net, "expand1x1", expanded)
        net.at = narrow
        right = _preactivated(net, "expand3x3", expanded, 3)
        net.concat(left, right)
        if entered == 2 * expanded:
            net.residual(source)
        if number in (3, 5):
            _ceil_pool(net)
    net.block = "head"
    net.conv("logits", classes, bias=True)
    net.activate("logits", RELU)
    net.global_pool()
    return net.graph(**CIFAR10)


def _preactivated(net: Layers, role: str, channels: int, kernel: int = 1) -> str:
    """Batch norm, ReLU and then the convolution."""
    net.bn(role)
    net.activate(role, RELU)
    return net.conv(role, channels, kernel)


def _ceil_pool(net: Layers) -> None:
    """3x3 maximum at stride 2 that also takes the windows hanging over the bottom and right edge."""
    below = (net.shape.height - 3) % 2
    right = (net.shape.width - 3) % 2
    net.max_pool(padding=(0, below, 0, right))
