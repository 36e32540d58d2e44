"""ResNet-18 and -50 and VGG-16: the networks with dense 3x3 convolutions that others are measured against."""

from typing import Literal

from rillet.ir.graph import Graph
from rillet.ir.ops import Activation
from rillet.zoo.layers import IMAGENET, Layers, Resolution, check, square, truncated

RELU, NONE = Activation.RELU, Activation.NONE

# Blocks of each stage; He et al. 2015 (arXiv:1512.03385), table 1.
RESNET18, RESNET50 = (2, 2, 2, 2), (3, 4, 6, 3)
# Convolutions of each stage and their channels; Simonyan and Zisserman 2014 (arXiv:1409.1556), table 1 D.
VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def resnet18(
    *, width: float = 1.0, resolution: Resolution = square(224), classes: int = 1000, channels: int = 3
) -> Graph:
    """ResNet-18."""
    return _resnet("resnet18", RESNET18, False, width, resolution, classes, channels)


def resnet50(
    *, width: float = 1.0, resolution: Resolution = square(224), classes: int = 1000, channels: int = 3
) -> Graph:
    """ResNet-50, the stride in the 3x3 convolution of a bottleneck."""
    return _resnet("resnet50", RESNET50, True, width, resolution, classes, channels)


def _resnet(
    name: str,
    stages: tuple[int, ...],
    bottleneck: bool,
    width: float,
    resolution: Resolution,
    classes: int,
    channels: int,
) -> Graph:
    check(name, resolution, 32, width=width, classes=classes, channels=channels)
    net = Layers(name, resolution, channels)
    net.block = "stem"
    net.conv_bn("conv", truncated(64, width), 7, 2, RELU)
    net.max_pool(padding=(1, 1, 1, 1))
    number = 0
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            number += 1
            net.block = f"block{number}"
            narrow, stride = truncated(64 << stage, width), 2 if stage and not block else 1
            out = 4 * narrow if bottleneck else narrow
            source, entered = net.at, net.shape.channels
            if bottleneck:
                net.conv_bn("reduce", narrow, activation=RELU)
                net.conv_bn("conv", narrow, 3, stride, RELU)
                last = net.conv_bn("expand", out)
            else:
                net.conv_bn("conv1", narrow, 3, stride, RELU)
                last = net.conv_bn("conv2", out, 3)
            if stride != 1 or entered != out:
                net.at = source
                source = net.conv_bn("shortcut", out, 1, stride)
            net.at = last
            net.residual(source)
            net.activate("add", RELU)
    net.classifier(classes)
    return net.graph(**IMAGENET)


def vgg16(
    *,
    resolution: Resolution = square(224),
    classes: int = 1000,
    channels: int = 3,
    form: Literal["paper", "fuseconv"] = "paper",
) -> Graph:
    """VGG-16; `fuseconv`: batch norms, a global pool and one dense layer, as FuSeConv's authors wrote it."""
    check("vgg16", resolution, 32, classes=classes, channels=channels)
    net = Layers("vgg16", resolution, channels)
    number = 0
    for convs, out in VGG16:
        for _ in range(convs):
            number += 1
            net.block = f"block{number}"
            net.conv("conv", out, 3, bias=True)
            if form == "fuseconv":
                net.bn("conv")
            net.activate("conv", RELU)
        net.max_pool(2)
    if form == "fuseconv":
        net.classifier(classes)
        return net.graph(**IMAGENET)
    net.block = "head"
    for role in ("dense1", "dense2"):
        net.dense(role, 4096)
        net.activate(role, RELU)
    net.dense("logits", classes)
    return net.graph(**IMAGENET)
