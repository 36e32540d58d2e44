"""Networks in plain PyTorch, as people write them: in the styles of torchvision, of timm, and of older repositories."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

# -- torchvision's style: Sequentials, in-place activations, 1x1 convolutions in squeeze-and-excites -----------------


def conv_bn(
    entered: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1, eps: float = 1e-5, act: object = nn.ReLU6
) -> nn.Sequential:
    conv = nn.Conv2d(entered, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = [conv, nn.BatchNorm2d(out, eps=eps)]
    return nn.Sequential(*layers, *([] if act is None else [act(inplace=True)]))  # type: ignore[operator]


class InvertedResidual(nn.Module):
    def __init__(self, entered: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = entered * expansion
        layers = [] if expansion == 1 else [conv_bn(entered, wide, 1)]
        layers.append(conv_bn(wide, wide, 3, stride, wide))
        self.conv = nn.Sequential(*layers, nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.use_res_connect = stride == 1 and entered == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        rows = (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        features, entered = [conv_bn(3, 32, 3, 2)], 32
        for expansion, out, repeats, stride in rows:
            for i in range(repeats):
                features.append(InvertedResidual(entered, out, 1 if i else stride, expansion))
                entered = out
        self.features = nn.Sequential(*features, conv_bn(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).mean([2, 3])
        return self.classifier(x)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.activation, self.scale_activation = nn.ReLU(), nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        scale = self.activation(self.fc1(self.avgpool(x)))
        return self.scale_activation(self.fc2(scale)) * x


# Kernel, expanded, out, squeeze-and-excite, hard-swish, stride.
V3_LARGE = (
    (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1),
)  # fmt: skip
V3_SMALL = (
    (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
)  # fmt: skip


def rounded(channels: float) -> int:
    """To a multiple of 8."""
    out = max(8, int(channels + 4) // 8 * 8)
    return out + 8 if out < 0.9 * channels else out


class BottleneckV3(nn.Module):
    def __init__(self, entered: int, row: tuple[int, int, int, bool, bool, int]) -> None:
        super().__init__()
        kernel, wide, out, squeeze, swish, stride = row
        act = nn.Hardswish if swish else nn.ReLU
        layers: list[nn.Module] = [] if wide == entered else [conv_bn(entered, wide, 1, eps=1e-3, act=act)]
        layers.append(conv_bn(wide, wide, kernel, stride, wide, 1e-3, act))
        if squeeze:
            layers.append(SqueezeExcitation(wide, rounded(wide // 4)))
        self.block = nn.Sequential(*layers, conv_bn(wide, out, 1, eps=1e-3, act=None))
        self.use_res_connect = stride == 1 and entered == out

    def forward(self, x: Tensor) -> Tensor:
        result = self.block(x)
        if self.use_res_connect:
            result += x
        return result


class MobileNetV3(nn.Module):
    def __init__(self, rows: tuple[tuple[int, int, int, bool, bool, int], ...], last: int, classes: int = 1000) -> None:
        super().__init__()
        entered = [16, *(row[2] for row in rows)]
        blocks = [BottleneckV3(channels, row) for channels, row in zip(entered, rows, strict=False)]
        stem = conv_bn(3, 16, 3, 2, eps=1e-3, act=nn.Hardswish)
        wide = rows[-1][1]
        self.features = nn.Sequential(stem, *blocks, conv_bn(entered[-1], wide, 1, eps=1e-3, act=nn.Hardswish))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(wide, last), nn.Hardswish(inplace=True), nn.Dropout(0.2, inplace=True), nn.Linear(last, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        x = torch.flatten(x, 1)
        return self.classifier(x)


class MnasBlock(nn.Module):
    def __init__(self, entered: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = entered * expansion
        self.apply_residual = entered == out and stride == 1
        self.layers = nn.Sequential(
            nn.Conv2d(entered, wide, 1, bias=False), nn.BatchNorm2d(wide, momentum=3e-4), nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, kernel, padding=kernel // 2, stride=stride, groups=wide, bias=False),
            nn.BatchNorm2d(wide, momentum=3e-4), nn.ReLU(inplace=True),
            nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out, momentum=3e-4),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x if self.apply_residual else self.layers(x)


class MnasNet(nn.Module):
    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        rows = (
            (24, 3, 2, 3, 3),
            (40, 5, 2, 3, 3),
            (80, 5, 2, 6, 3),
            (96, 3, 1, 6, 2),
            (192, 5, 2, 6, 4),
            (320, 3, 1, 6, 1),
        )
        layers: list[nn.Module] = [
            nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
            nn.Conv2d(32, 16, 1, bias=False), nn.BatchNorm2d(16),
        ]  # fmt: skip
        entered = 16
        for out, kernel, stride, expansion, repeats in rows:
            stack = [
                MnasBlock(out if i else entered, out, kernel, 1 if i else stride, expansion) for i in range(repeats)
            ]
            layers.append(nn.Sequential(*stack))
            entered = out
        layers += [nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(p=0.2, inplace=True), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.layers(x).mean([2, 3]))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, entered: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(entered, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.BatchNorm2d(planes)
        self.relu, self.downsample = nn.ReLU(inplace=True), downsample

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, entered: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(entered, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        self.relu, self.downsample = nn.ReLU(inplace=True), downsample

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], layers: tuple[int, ...], classes: int = 1000
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        entered = 64
        for stage, count in enumerate(layers):
            planes, out = 64 << stage, (64 << stage) * block.expansion
            blocks = []
            for i in range(count):
                stride = 2 if stage and not i else 1
                shortcut = None
                if stride != 1 or entered != out:
                    shortcut = nn.Sequential(nn.Conv2d(entered, out, 1, stride, bias=False), nn.BatchNorm2d(out))
                blocks.append(block(entered, planes, stride, shortcut))
                entered = out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(entered, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Fire(nn.Module):
    def __init__(self, entered: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(entered, squeezed, 1)
        self.expand1x1, self.expand3x3 = nn.Conv2d(squeezed, expanded, 1), nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.squeeze(x))
        return torch.cat([self.activation(self.expand1x1(x)), self.activation(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0, its pools in ceil_mode."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, 2), nn.ReLU(inplace=True), pool,
            Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256),
            nn.MaxPool2d(3, 2, ceil_mode=True), Fire(512, 64, 256),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(512, classes, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


# -- older repositories: functions spelled by hand, squeeze-and-excites of dense layers ------------------------------


class HandSwish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * F.relu6(x + 3.0) / 6.0


class HandSigmoid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x + 3, inplace=True) / 6


class DenseSqueeze(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels, squeezed, bias=False),
            nn.ReLU(),
            nn.Linear(squeezed, channels, bias=False),
            HandSigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _, _ = x.size()
        y = self.avg_pool(x).view(batch, channels)
        return x * self.fc(y).view(batch, channels, 1, 1).expand_as(x)


class HandMadeV3(nn.Module):
    """A few blocks of MobileNetV3 with every function by hand, the gate before the activation."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), HandSwish())
        self.blocks = nn.ModuleList([self.block(16, 32, 24, 5, 2), self.block(24, 96, 24, 3, 1)])
        self.linear1, self.hs, self.linear2 = nn.Linear(24 * 4 * 4, 32), HandSwish(), nn.Linear(32, classes)

    @staticmethod
    def block(entered: int, wide: int, out: int, kernel: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(entered, wide, 1, bias=False), nn.BatchNorm2d(wide), HandSwish(),
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False), nn.BatchNorm2d(wide),
            DenseSqueeze(wide, wide // 4), HandSwish(), nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out = self.stem(x)
        for block in self.blocks:
            made = block(out)
            out = out + made if out.shape == made.shape else made
        out = F.avg_pool2d(out, 2)
        out = out.view(out.size(0), -1)
        return F.softmax(self.linear2(self.hs(self.linear1(out))), dim=-1)


# -- timm's style: SAME padding worked out in forward, means, functions as methods -----------------------------------


def pad_same(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], value: float = 0.0) -> Tensor:
    height, width = x.size()[-2:]
    rows = max((math.ceil(height / stride[0]) - 1) * stride[0] + kernel[0] - height, 0)
    columns = max((math.ceil(width / stride[1]) - 1) * stride[1] + kernel[1] - width, 0)
    if rows > 0 or columns > 0:
        x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2], value=value)
    return x


class Conv2dSame(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        x = pad_same(x, self.kernel_size, self.stride)
        return F.conv2d(x, self.weight, self.bias, self.stride, (0, 0), self.dilation, self.groups)


class MaxPool2dSame(nn.MaxPool2d):
    def forward(self, x: Tensor) -> Tensor:
        x = pad_same(x, (self.kernel_size,) * 2, (self.stride,) * 2, value=-float("inf"))
        return F.max_pool2d(x, self.kernel_size, self.stride)


class BatchNormAct2d(nn.BatchNorm2d):
    def __init__(self, channels: int, act: nn.Module, drop: nn.Module | None = None) -> None:
        super().__init__(channels, eps=1e-3)
        self.drop, self.act = drop or nn.Identity(), act

    def forward(self, x: Tensor) -> Tensor:
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, self.eps)
        return self.act(self.drop(x))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeezed: int, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv_reduce, self.act1 = nn.Conv2d(channels, squeezed, 1), nn.SiLU(inplace=True)
        self.conv_expand, self.gate = nn.Conv2d(squeezed, channels, 1), gate

    def forward(self, x: Tensor) -> Tensor:
        x_se = x.mean((2, 3), keepdim=True)
        x_se = self.conv_expand(self.act1(self.conv_reduce(x_se)))
        return x * self.gate(x_se)


def hard_sigmoid(x: Tensor) -> Tensor:
    return x.add(3.0).clamp_(0.0, 6.0).div_(6.0)


class DropPath(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(0.9)
        return x * keep


class SameBlock(nn.Module):
    def __init__(self, entered: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = 4 * entered
        self.conv_pw, self.bn1 = nn.Conv2d(entered, wide, 1, bias=False), BatchNormAct2d(wide, nn.SiLU(inplace=True))
        self.conv_dw = Conv2dSame(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn2, self.se = BatchNormAct2d(wide, nn.SiLU(inplace=True)), SqueezeExcite(wide, 8, hard_sigmoid)
        self.conv_pwl, self.bn3 = nn.Conv2d(wide, out, 1, bias=False), BatchNormAct2d(out, nn.Identity())
        self.drop_path, self.has_skip = DropPath(), stride == 1 and entered == out

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.bn1(self.conv_pw(x))
        x = self.se(self.bn2(self.conv_dw(x)))
        x = self.bn3(self.conv_pwl(x))
        return self.drop_path(x) + shortcut if self.has_skip else x


class SameNet(nn.Module):
    """An EfficientNet-like network whose padding is TensorFlow's SAME."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = Conv2dSame(3, 16, 3, 2, bias=False), BatchNormAct2d(16, nn.SiLU(inplace=True))
        self.pool = MaxPool2dSame(3, 2)
        self.blocks = nn.Sequential(
            nn.Sequential(SameBlock(16, 24, 3, 2), SameBlock(24, 24, 3, 1)), nn.Sequential(SameBlock(24, 40, 5, 2))
        )
        self.conv_head, self.bn2 = nn.Conv2d(40, 64, 1, bias=False), BatchNormAct2d(64, nn.SiLU(inplace=True))
        self.drop_rate, self.classifier = 0.2, nn.Linear(64, classes)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.pool(self.bn1(self.conv_stem(x)))
        return self.bn2(self.conv_head(self.blocks(x)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x).mean((2, 3))
        x = F.dropout(x, p=self.drop_rate, training=self.training)
        return self.classifier(x)


def with_statistics(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with batch norms that are not what they start as."""
    draw = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            for name, low, high in (("weight", 0.8, 1.2), ("bias", -0.2, 0.2)):
                if getattr(part, name) is not None:
                    nn.init.uniform_(getattr(part, name), low, high, generator=draw)
            nn.init.uniform_(part.running_mean, -0.2, 0.2, generator=draw)
            nn.init.uniform_(part.running_var, 0.8, 1.2, generator=draw)
        elif isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, generator=draw)
    return module
