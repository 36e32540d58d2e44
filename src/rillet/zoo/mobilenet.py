"""MobileNetV1, FD-MobileNet, MobileNetV2, MnasNet-B1 and EfficientNet-Lite: stacks of depthwise-separable blocks."""

from typing import Literal

from rillet.ir.graph import Graph
from rillet.ir.ops import Activation, PoolKind
from rillet.zoo.layers import IMAGENET, Layers, Padding, Resolution, check, scaled, square, truncated

RELU, RELU6 = Activation.RELU, Activation.RELU6
Form = Literal["paper", "fuseconv"]

# Stride and output channels of each block. Howard et al. 2017 (arXiv:1704.04861), table 1.
V1 = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *((1, 512),) * 5, (2, 1024), (1, 1024))
# Qin et al. 2018 (arXiv:1802.03750), table 1.
FD = ((2, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *((1, 512),) * 4, (1, 1024))
# Expansion, output channels, repeats, stride. Sandler et al. 2018 (arXiv:1801.04381), table 2.
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# Kernel, stride, output channels, expansion, repeats. Tan et al. 2018 (arXiv:1807.11626), figure 7a.
MNASNET_B1 = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 3, 3),
    (5, 2, 40, 3, 3),
    (5, 2, 80, 6, 3),
    (3, 1, 96, 6, 2),
    (5, 2, 192, 6, 4),
    (3, 1, 320, 6, 1),
)
# Kernel, stride, output channels, expansion, repeats. EfficientNet-B0 (arXiv:1905.11946), table 1; the Lite form has
# no squeeze-and-excite, ReLU6, and neither stem, head nor the repeats of the first and last stage scaled.
EFFICIENTNET = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 2, 80, 6, 3),
    (5, 1, 112, 6, 3),
    (5, 2, 192, 6, 4),
    (3, 1, 320, 6, 1),
)
# Width, depth and resolution of EfficientNet-Lite0 to 2 (tensorflow/tpu, efficientnet_lite_builder.py).
LITE = {0: (1.0, 1.0, 224), 1: (1.0, 1.1, 240), 2: (1.1, 1.2, 260)}


def mobilenet_v1(
    *,
    width: float = 1.0,
    resolution: Resolution = square(224),
    classes: int = 1000,
    channels: int = 3,
    top: bool = True,
    padding: Padding = "keras",
    bias: bool = False,
    form: Form = "paper",
) -> Graph:
    """MobileNetV1; `bias`: biased convolutions before the batch norms, as MLPerf Tiny's VWW; `fuseconv`: ReLU."""
    return _separable("mobilenet_v1", V1, 32, width, resolution, classes, channels, top, padding, bias, form)


def fd_mobilenet(
    *,
    width: float = 1.0,
    resolution: Resolution = square(224),
    classes: int = 1000,
    channels: int = 3,
    top: bool = True,
    padding: Padding = "torch",
) -> Graph:
    """FD-MobileNet: MobileNetV1 that halves the map in each of the first blocks."""
    return _separable("fd_mobilenet", FD, 32, width, resolution, classes, channels, top, padding, False, "fuseconv")


def _separable(
    name: str,
    rows: tuple[tuple[int, int], ...],
    stem: int,
    width: float,
    resolution: Resolution,
    classes: int,
    channels: int,
    top: bool,
    padding: Padding,
    bias: bool,
    form: str,
) -> Graph:
    check(name, resolution, 32, width=width, classes=classes, channels=channels)
    activation = RELU6 if form == "paper" and not bias else RELU
    net = Layers(name, resolution, channels, padding, 1e-3 if padding == "keras" else 1e-5)
    net.block = "stem"
    net.conv_bn("conv", truncated(stem, width), 3, 2, activation, bias=bias)
    for number, (stride, out) in enumerate(rows, 1):
        net.block = f"block{number}"
        net.depthwise_bn(3, stride, activation, bias=bias)
        net.conv_bn("project", truncated(out, width), activation=activation, bias=bias)
    if top:
        net.classifier(classes)
    return net.graph() if padding == "keras" else net.graph(**IMAGENET)


def mobilenet_v2(
    *,
    width: float = 1.0,
    resolution: Resolution = square(224),
    classes: int = 1000,
    channels: int = 3,
    top: bool = True,
    padding: Padding = "keras",
) -> Graph:
    """MobileNetV2; without top it ends behind the convolution to 1280 channels."""
    check("mobilenet_v2", resolution, 32, width=width, classes=classes, channels=channels)
    net = Layers("mobilenet_v2", resolution, channels, padding, 1e-3 if padding == "keras" else 1e-5)
    rows = [(3, stride, scaled(out, width), t, n) for t, out, n, stride in V2]
    last = scaled(1280, max(1.0, width))
    return _inverted(net, scaled(32, width), rows, last, RELU6, classes if top else 0, PoolKind.MEAN)


def mnasnet_b1(
    *,
    width: float = 1.0,
    resolution: Resolution = square(224),
    classes: int = 1000,
    channels: int = 3,
    top: bool = True,
    padding: Padding = "keras",
    form: Form = "paper",
) -> Graph:
    """MnasNet-B1; `fuseconv`: ReLU6, as FuSeConv's authors wrote it."""
    check("mnasnet_b1", resolution, 32, width=width, classes=classes, channels=channels)
    net = Layers("mnasnet_b1", resolution, channels, padding, 1e-3 if padding == "keras" else 1e-5)
    rows = [(kernel, stride, scaled(out, width), t, n) for kernel, stride, out, t, n in MNASNET_B1]
    activation = RELU if form == "paper" else RELU6
    return _inverted(net, scaled(32, width), rows, 1280, activation, classes if top else 0)


def efficientnet_lite0(
    *, resolution: Resolution = square(224), classes: int = 1000, channels: int = 3, padding: Padding = "keras"
) -> Graph:
    """EfficientNet-Lite0."""
    return _efficientnet_lite(0, resolution, classes, channels, padding)


def efficientnet_lite1(
    *, resolution: Resolution = square(240), classes: int = 1000, channels: int = 3, padding: Padding = "keras"
) -> Graph:
    """EfficientNet-Lite1: deeper by a tenth."""
    return _efficientnet_lite(1, resolution, classes, channels, padding)


def efficientnet_lite2(
    *, resolution: Resolution = square(260), classes: int = 1000, channels: int = 3, padding: Padding = "keras"
) -> Graph:
    """EfficientNet-Lite2: deeper by a fifth and wider by a tenth."""
    return _efficientnet_lite(2, resolution, classes, channels, padding)


def _efficientnet_lite(size: int, resolution: Resolution, classes: int, channels: int, padding: Padding) -> Graph:
    name = f"efficientnet_lite{size}"
    check(name, resolution, 32, classes=classes, channels=channels)
    width, depth, _ = LITE[size]
    last = len(EFFICIENTNET) - 1
    rows = [
        (kernel, stride, scaled(out, width), t, n if i in (0, last) else -int(-(n * depth) // 1))
        for i, (kernel, stride, out, t, n) in enumerate(EFFICIENTNET)
    ]
    net = Layers(name, resolution, channels, padding, 1e-3)
    return _inverted(net, 32, rows, 1280, RELU6, classes)


def _inverted(
    net: Layers,
    stem: int,
    rows: list[tuple[int, int, int, int, int]],
    last: int,
    activation: Activation,
    classes: int,
    pool: PoolKind = PoolKind.AVERAGE,
) -> Graph:
    """Stem, inverted residual blocks of (kernel, stride, channels, expansion, repeats), head; 0 classes: no top."""
    net.block = "stem"
    net.conv_bn("conv", stem, 3, 2, activation)
    number = 0
    for kernel, first_stride, out, expansion, repeats in rows:
        for repeat in range(repeats):
            number += 1
            net.block = f"block{number}"
            stride = 1 if repeat else first_stride
            source, entered = net.at, net.shape.channels
            if expansion != 1:
                net.conv_bn("expand", entered * expansion, activation=activation)
            net.depthwise_bn(kernel, stride, activation)
            net.conv_bn("project", out)
            if stride == 1 and entered == out:
                net.residual(source)
    net.block = "head"
    net.conv_bn("conv", last, activation=activation)
    if classes:
        net.classifier(classes, pool)
    return net.graph(**IMAGENET) if net.padding == "torch" else net.graph()
