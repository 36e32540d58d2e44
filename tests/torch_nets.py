"""MobileNetV2 and V3, MnasNet, ResNet and SqueezeNet as people write them in PyTorch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


def conv_bn(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias, padded by half its kernel, and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Residual(nn.Module):
    """Layers whose input is added to their result, where both have one shape."""

    def __init__(self, layers: Sequence[nn.Module], skip: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.skip else self.layers(x)


def inverted(
    inputs: int,
    expanded: int,
    outputs: int,
    kernel: int,
    stride: int,
    act: type[nn.Module],
    gate: nn.Module | None = None,
) -> Residual:
    """An inverted residual block."""
    layers = [*conv_bn(inputs, expanded), act()] if expanded != inputs else []
    layers += [*conv_bn(expanded, expanded, kernel, stride, expanded), act()]
    layers += [] if gate is None else [gate]
    return Residual([*layers, *conv_bn(expanded, outputs)], stride == 1 and inputs == outputs)


class MobileNetV2(nn.Module):
    """The mean is one over two dimensions, the classifier drops out."""

    TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers, at = [*conv_bn(3, 32, 3, 2), nn.ReLU6()], 32
        for expansion, out, repeats, stride in self.TABLE:
            for i in range(repeats):
                layers.append(inverted(at, at * expansion, out, 3, 1 if i else stride, nn.ReLU6))
                at = out
        self.features = nn.Sequential(*layers, *conv_bn(at, 1280), nn.ReLU6())
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean([2, 3]))


class HandmadeSwish(nn.Module):
    """x * relu6(x + 3) / 6."""

    def forward(self, x: Tensor) -> Tensor:
        return x * functional.relu6(x + 3) / 6


class SqueezeExcite(nn.Module):
    """With dense layers, as the repositories before torchvision wrote it; the gate by hand."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(nn.Linear(channels, squeezed), nn.ReLU(), nn.Linear(squeezed, channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _, _ = x.size()
        gate = self.dense(functional.adaptive_avg_pool2d(x, 1).view(batch, channels)).view(batch, channels, 1, 1)
        return x * (functional.relu6(gate + 3.0) / 6.0).expand_as(x)


class ConvSqueezeExcite(nn.Module):
    """With 1x1 convolutions, as torchvision writes it."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce, self.excite = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (
            functional.hardsigmoid(self.excite(functional.relu(self.reduce(functional.adaptive_avg_pool2d(x, 1))))) * x
        )


class MobileNetV3(nn.Module):
    """The small one; hard-swish and squeeze-and-excite each in two spellings."""

    TABLE = (
        (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
        (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
        (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2),
        (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
    )  # fmt: skip

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers, at = [*conv_bn(3, 16, 3, 2), nn.Hardswish()], 16
        for i, (kernel, expanded, out, squeeze, swish, stride) in enumerate(self.TABLE):
            gate = (SqueezeExcite, ConvSqueezeExcite)[i % 2](expanded, expanded // 4 // 8 * 8 or 8) if squeeze else None
            act = (nn.Hardswish, HandmadeSwish)[i % 2] if swish else nn.ReLU
            layers.append(inverted(at, expanded, out, kernel, stride, act, gate))
            at = out
        self.features = nn.Sequential(*layers, *conv_bn(at, 576), nn.Hardswish())
        self.classifier = nn.Sequential(nn.Linear(576, 1024), nn.Hardswish(), nn.Dropout(), nn.Linear(1024, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(functional.adaptive_avg_pool2d(self.features(x), 1), 1))


class MnasNet(nn.Module):
    """B1."""

    TABLE = (
        (3, 2, 24, 3, 3),
        (5, 2, 40, 3, 3),
        (5, 2, 80, 6, 3),
        (3, 1, 96, 6, 2),
        (5, 2, 192, 6, 4),
        (3, 1, 320, 6, 1),
    )

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers = [*conv_bn(3, 32, 3, 2), nn.ReLU(), *conv_bn(32, 32, 3, 1, 32), nn.ReLU(), *conv_bn(32, 16)]
        at = 16
        for kernel, stride, out, expansion, repeats in self.TABLE:
            for i in range(repeats):
                layers.append(inverted(at, at * expansion, out, kernel, 1 if i else stride, nn.ReLU))
                at = out
        self.layers = nn.Sequential(*layers, *conv_bn(at, 1280), nn.ReLU())
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.layers(x).mean(3).mean(2))


class Basic(nn.Module):
    """A block of ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv_bn(inputs, outputs, 3, stride), nn.ReLU(), *conv_bn(outputs, outputs, 3))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_bn(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet-18, whose last pool is one over a fixed window."""

    def __init__(self, classes: int = 10, last: int = 2) -> None:
        super().__init__()
        layers = [*conv_bn(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        at = 64
        for stage, out in enumerate((64, 128, 256, 512)):
            layers += [Basic(at, out, 2 if stage else 1), Basic(out, out, 1)]
            at = out
        self.layers = nn.Sequential(*layers, nn.AvgPool2d(last))
        self.classifier = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return self.classifier(y.view(y.size(0), -1))


class Fire(nn.Module):
    """A fire module of SqueezeNet."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.left, self.right = nn.Conv2d(squeezed, expanded, 1), nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.left(squeezed)), functional.relu(self.right(squeezed))], 1)


class SqueezeNet(nn.Module):
    """Version 1.1, its pools with ceil_mode."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


def trained(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network with batch norms such as training leaves them, switched to inference."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight.data, 0.8, 1.2), (module.bias.data, -0.1, 0.1),
                (module.running_mean, -0.1, 0.1), (module.running_var, 0.7, 1.4),
            ):  # fmt: skip
                tensor.uniform_(low, high, generator=generator)
    return net.eval()
