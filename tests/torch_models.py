"""PyTorch modules whose parts are called as torchvision calls them: what its checkpoints are, without it.

Only the names and the functions are torchvision's. Sizes are arguments, so that tests can have small networks.
"""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional


class ConvBn(nn.Sequential):
    """Convolution, batch norm and activation as 0, 1 and 2."""

    def __init__(self, entered, out, kernel=1, stride=1, groups=1, act=None, eps=1e-5):
        parts = [
            nn.Conv2d(entered, out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out, eps),
        ]
        super().__init__(*parts, *([act()] if act else []))


class Inverted(nn.Module):
    """MobileNetV2's block."""

    def __init__(self, entered, out, stride, expansion):
        super().__init__()
        wide = entered * expansion
        parts = [ConvBn(entered, wide, act=nn.ReLU6)] if expansion > 1 else []
        parts += [ConvBn(wide, wide, 3, stride, wide, nn.ReLU6), nn.Conv2d(wide, out, 1, bias=False)]
        self.conv = nn.Sequential(*parts, nn.BatchNorm2d(out))
        self.skips = stride == 1 and entered == out

    def forward(self, x):
        return x + self.conv(x) if self.skips else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, stem: int, rows: Iterable[tuple[int, int, int]], last: int, classes: int):
        super().__init__()
        parts, at = [ConvBn(3, stem, 3, 2, act=nn.ReLU6)], stem
        for expansion, out, stride in rows:
            parts.append(Inverted(at, out, stride, expansion))
            at = out
        self.features = nn.Sequential(*parts, ConvBn(at, last, act=nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(last, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class SqueezeExcite(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        return x * functional.hardsigmoid(self.fc2(functional.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class V3Block(nn.Module):
    def __init__(self, entered, kernel, wide, out, squeezed, act, stride):
        super().__init__()
        parts = [ConvBn(entered, wide, act=act, eps=1e-3)] if wide != entered else []
        parts.append(ConvBn(wide, wide, kernel, stride, wide, act, 1e-3))
        parts += [SqueezeExcite(wide, squeezed)] if squeezed else []
        self.block = nn.Sequential(*parts, ConvBn(wide, out, eps=1e-3))
        self.skips = stride == 1 and entered == out

    def forward(self, x):
        return self.block(x) + x if self.skips else self.block(x)


class MobileNetV3(nn.Module):
    """Rows of (kernel, expanded, out, squeezed or 0, hard-swish, stride)."""

    def __init__(self, stem, rows, wide, last, classes):
        super().__init__()
        parts, at = [ConvBn(3, stem, 3, 2, act=nn.Hardswish, eps=1e-3)], stem
        for kernel, expanded, out, squeezed, swish, stride in rows:
            parts.append(V3Block(at, kernel, expanded, out, squeezed, nn.Hardswish if swish else nn.ReLU, stride))
            at = out
        self.features = nn.Sequential(*parts, ConvBn(at, wide, act=nn.Hardswish, eps=1e-3))
        self.classifier = nn.Sequential(nn.Linear(wide, last), nn.Hardswish(), nn.Dropout(), nn.Linear(last, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def _plain(entered, out, kernel=1, stride=1, groups=1):
    return [nn.Conv2d(entered, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]


class MnasBlock(nn.Module):
    def __init__(self, entered, out, kernel, stride, expansion):
        super().__init__()
        wide = entered * expansion
        middle = _plain(wide, wide, kernel, stride, wide)
        self.layers = nn.Sequential(*_plain(entered, wide), nn.ReLU(), *middle, nn.ReLU(), *_plain(wide, out))
        self.skips = stride == 1 and entered == out

    def forward(self, x):
        return self.layers(x) + x if self.skips else self.layers(x)


class MnasNet(nn.Module):
    """Stacks of (kernel, stride, out, expansion, repeats); the first is one block, written flat."""

    def __init__(self, stem, stacks, last, classes):
        super().__init__()
        first, *others = stacks
        at = first[2]
        parts = [*_plain(3, stem, 3, 2), nn.ReLU(), *_plain(stem, stem, 3, 1, stem), nn.ReLU(), *_plain(stem, at)]
        for kernel, stride, out, expansion, repeats in others:
            blocks = [MnasBlock(at, out, kernel, stride, expansion)]
            blocks += [MnasBlock(out, out, kernel, 1, expansion) for _ in range(repeats - 1)]
            parts.append(nn.Sequential(*blocks))
            at = out
        self.layers = nn.Sequential(*parts, *_plain(at, last), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(last, classes))

    def forward(self, x):
        return self.classifier(self.layers(x).mean((2, 3)))


class Fire(nn.Module):
    def __init__(self, entered, squeezed, expanded):
        super().__init__()
        self.squeeze = nn.Conv2d(entered, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x):
        x = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.expand1x1(x)), functional.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """1.0 (a stem of 7x7, pools behind fire4 and fire8) or 1.1 (3x3, fire3 and fire5)."""

    def __init__(self, kernel, stem, pooled, classes):
        super().__init__()
        fires = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
        parts = [nn.Conv2d(3, stem, kernel, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
        at = stem
        for number, (squeezed, expanded) in enumerate(fires, 2):
            parts.append(Fire(at, squeezed, expanded))
            at = 2 * expanded
            if number in pooled:
                parts.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(at, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return self.classifier(self.features(x)).flatten(1)


class ResNetBlock(nn.Module):
    def __init__(self, entered, narrow, stride, bottleneck):
        super().__init__()
        out = 4 * narrow if bottleneck else narrow
        sizes = [(entered, narrow, 1, 1), (narrow, narrow, 3, stride), (narrow, out, 1, 1)]
        if not bottleneck:
            sizes = [(entered, narrow, 3, stride), (narrow, out, 3, 1)]
        self.count = len(sizes)
        for i, size in enumerate(sizes, 1):
            conv, bn = _plain(*size)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", bn)
        self.downsample = nn.Sequential(*_plain(entered, out, 1, stride)) if stride > 1 or entered != out else None

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = functional.relu(y) if i < self.count else y
        return functional.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet(nn.Module):
    def __init__(self, stem, stages, bottleneck, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        at = stem
        for stage, blocks in enumerate(stages):
            parts = []
            for block in range(blocks):
                narrow = stem << stage
                parts.append(ResNetBlock(at, narrow, 2 if stage and not block else 1, bottleneck))
                at = 4 * narrow if bottleneck else narrow
            setattr(self, f"layer{stage + 1}", nn.Sequential(*parts))
        self.fc = nn.Linear(at, classes)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class Vgg16(nn.Module):
    """For images of 32 times `side`."""

    def __init__(self, side, classes):
        super().__init__()
        parts, at = [], 3
        for convs, out in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
            for _ in range(convs):
                parts += [nn.Conv2d(at, out, 3, padding=1), nn.ReLU()]
                at = out
            parts.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*parts)
        dense = [nn.Linear(at * side * side, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096)]
        self.classifier = nn.Sequential(*dense, nn.ReLU(), nn.Dropout(), nn.Linear(4096, classes))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with weights that keep values near one, batch norms that do something, ready to infer."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0, (2 / module.weight[0].numel()) ** 0.5)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.001, 1.5)
    return model.eval()
