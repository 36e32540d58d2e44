"""Modules of ops that have no arrays and no activation behind them: functions, pairs, moves."""

from collections.abc import Callable
from typing import assert_never

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from rillet.ir import ops
from rillet.ir.functions import Activation, Curve
from rillet.ir.ops import PairKind

_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.RELU: F.relu,
    Activation.RELU6: F.relu6,
    Activation.RELU_N1_TO_1: F.hardtanh,
    Activation.SIGMOID: torch.sigmoid,
    Activation.HARD_SIGMOID: F.hardsigmoid,
    Activation.HARD_SWISH: F.hardswish,
    Activation.SILU: F.silu,
}
_CURVES: dict[Curve, Callable[[Tensor, float, float], Tensor]] = {
    Curve.LEAKY_RELU: lambda x, a, _: F.leaky_relu(x, a),
    Curve.CLIP: lambda x, a, b: x.clamp(a, b),
    Curve.ELU: lambda x, a, _: F.elu(x, a),
    Curve.SELU: lambda x, a, b: b * F.elu(x, a),
    Curve.CELU: lambda x, a, _: F.celu(x, a),
    Curve.GELU: lambda x, _a, _b: F.gelu(x),
    Curve.GELU_TANH: lambda x, _a, _b: F.gelu(x, approximate="tanh"),
    Curve.ERF: lambda x, _a, _b: torch.erf(x),
    Curve.TANH: lambda x, _a, _b: torch.tanh(x),
    Curve.MISH: lambda x, _a, _b: F.mish(x),
    Curve.SOFTPLUS: lambda x, a, _: F.softplus(x, a),
    Curve.SOFTSIGN: lambda x, _a, _b: F.softsign(x),
    Curve.SWISH: lambda x, a, _: x * torch.sigmoid(a * x),
    Curve.RAMP: lambda x, a, b: (a * x + b).clamp(0.0, 1.0),
    Curve.ABS: lambda x, _a, _b: x.abs(),
    Curve.NEG: lambda x, _a, _b: -x,
    Curve.SQRT: lambda x, _a, _b: x.sqrt(),
    Curve.EXP: lambda x, _a, _b: x.exp(),
    Curve.LOG: lambda x, _a, _b: x.log(),
    Curve.POWER: lambda x, a, _: x.pow(a),
}


def activated(value: Tensor, activation: Activation) -> Tensor:
    """The function of each value."""
    return value if activation is Activation.NONE else _FUNCTIONS[activation](value)


def applied(value: Tensor, op: ops.Apply) -> Tensor:
    """The function with numbers of each value."""
    return _CURVES[op.curve](value, op.a, op.b)


class Activate(nn.Module):
    """A function of each value."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, input: Tensor) -> Tensor:
        """The function of a map."""
        return activated(input, self.activation)

    def extra_repr(self) -> str:
        """Its name."""
        return self.activation.value


class Apply(nn.Module):
    """A function of each value with numbers of its own; they are not trained."""

    def __init__(self, op: ops.Apply) -> None:
        super().__init__()
        self.op = op

    def forward(self, input: Tensor) -> Tensor:
        """The function of a map."""
        return applied(input, self.op)

    def extra_repr(self) -> str:
        """Its name and numbers."""
        numbers = (self.op.a, self.op.b)[: self.op.curve.numbers]
        return ", ".join([self.op.curve.value, *(f"{number:g}" for number in numbers)])


class Pair(nn.Module):
    """The greater, the lesser, the quotient or a PReLU of two values."""

    def __init__(self, op: ops.Pair) -> None:
        super().__init__()
        self.op = op

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Of two maps, or of a map and a pixel."""
        match self.op.kind:
            case PairKind.MAXIMUM:
                return torch.maximum(left, right)
            case PairKind.MINIMUM:
                return torch.minimum(left, right)
            case PairKind.DIVIDE:
                return left / right
            case PairKind.PRELU:
                return torch.where(left >= 0, left, left * right)
            case _:
                assert_never(self.op.kind)

    def extra_repr(self) -> str:
        """Which of them."""
        return self.op.kind.value


class Select(nn.Module):
    """Channels in any order."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = list(channels)

    def forward(self, input: Tensor) -> Tensor:
        """These channels of a map."""
        picked = input[:, [max(channel, 0) for channel in self.channels]]
        if min(self.channels) >= 0:
            return picked
        kept = torch.tensor([float(channel >= 0) for channel in self.channels], device=input.device, dtype=input.dtype)
        return picked * kept.reshape(1, -1, 1, 1)

    def extra_repr(self) -> str:
        """How many."""
        return f"{len(self.channels)}"


class DepthToSpace(nn.Module):
    """Each pixel becomes a square of pixels."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, input: Tensor) -> Tensor:
        """The larger map."""
        n, c, h, w = input.shape
        split = input.reshape(n, self.block, self.block, c // self.block**2, h, w)
        return split.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * self.block, w * self.block)

    def extra_repr(self) -> str:
        """Its side."""
        return f"{self.block}"


class SpaceToDepth(nn.Module):
    """Each square of pixels becomes one."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, input: Tensor) -> Tensor:
        """The smaller map."""
        n, c, h, w = input.shape
        split = input.reshape(n, c, h // self.block, self.block, w // self.block, self.block)
        return split.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // self.block, w // self.block)

    def extra_repr(self) -> str:
        """Its side."""
        return f"{self.block}"


class Interpolate(nn.Module):
    """Linear resizing to a fixed size."""

    def __init__(self, op: ops.Interpolate) -> None:
        super().__init__()
        self.op = op

    def forward(self, input: Tensor) -> Tensor:
        """The resized map."""
        op, height, width = self.op, input.shape[2], input.shape[3]
        lines = _between(input, 2, op.rows, op.row_shares, height)
        return _between(lines, 3, op.columns, op.column_shares, width)

    def extra_repr(self) -> str:
        """The size."""
        return f"{len(self.op.rows)}x{len(self.op.columns)}"


def _between(input: Tensor, dim: int, places: tuple[int, ...], shares: tuple[float, ...], length: int) -> Tensor:
    first = torch.tensor(places, device=input.device)
    second = (first + 1).clamp(max=length - 1)
    share = torch.tensor(shares, dtype=input.dtype, device=input.device)
    share = share.reshape(-1, *(1,) * (3 - dim))
    return input.index_select(dim, first) * (1 - share) + input.index_select(dim, second) * share
