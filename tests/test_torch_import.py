"""PyTorch modules to graphs: every operator, the patterns, and whole networks in plain PyTorch agree with PyTorch."""

# ruff: noqa: ARG005

import copy
import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rillet
import torch_networks as written
from conftest import ROOT, mostly_slow
from rillet import from_torch
from rillet.backends import reference
from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.torch import operator_table, supported_operators
from rillet.importers.torch.operators import NOTES
from rillet.ir.graph import Graph, ImageSpec
from rillet.ir.ops import (
    Activate,
    Activation,
    Apply,
    Conv,
    Input,
    Multiply,
    Op,
    Pool,
    PoolKind,
    Softmax,
    Window,
    op_name,
    resize,
)
from rillet.ir.types import Shape
from rillet.transforms.fold import fold
from rillet.zoo.registry import build

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


class Calls(nn.Module):
    """A function as a module, with some weights that it may use."""

    def __init__(self, function: Callable[..., object], channels: int = 4) -> None:
        super().__init__()
        self.function = function
        draw = torch.Generator().manual_seed(1)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.row = nn.Parameter(torch.randn(channels, 1, 1, generator=draw))
        self.register_buffer("whole", torch.randn(1, channels, 8, 6, generator=draw))
        self.register_buffer("two", torch.tensor(2.0))

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def image_of(channels: int = 4, height: int = 8, width: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


def agrees(module: nn.Module, image: Tensor, *, double: bool = False) -> Graph:
    """The graph of a module, which gives what the module gives, within 1e-5 of the greatest value.

    `double` computes the module in float64, as the reference computes, and asks for 1e-9: over a hundred layers, the
    float32 sums of PyTorch alone differ from those by 1e-5, more or less as the processor orders them.
    """
    graph = from_torch(module, image)
    with torch.no_grad():
        called, given = (copy.deepcopy(module).double(), image.double()) if double else (module, image.clone())
        expected = called.eval()(given)
    expected = expected if isinstance(expected, tuple | list) else (expected,)
    made = reference.outputs(graph, image[0].permute(1, 2, 0).numpy().copy())
    assert len(expected) == len(made)
    for one, other in zip(expected, made, strict=True):
        wanted = one.double().numpy()
        got = other.transpose(2, 0, 1).reshape(wanted.shape)
        assert np.abs(got - wanted).max() <= (1e-9 if double else 1e-5) * max(np.abs(wanted).max(), 1e-30)
    return graph


def ops_of(graph: Graph) -> list[Op]:
    return [node.op for node in graph.nodes if not isinstance(node.op, Input)]


def words_of(graph: Graph) -> str:
    return " ".join(
        op.activation.value if isinstance(op, Activate) else op.curve.value if isinstance(op, Apply) else op_name(op)
        for op in ops_of(graph)
        if op_name(op) != "constant"
    )


# -- operators ---------------------------------------------------------------------------------------------------------

OPERATORS = {
    "conv": (lambda m, x: m.conv(x), "conv"),
    "conv functional, no bias": (lambda m, x: F.conv2d(x, m.conv.weight, stride=2), "conv"),
    "conv padding=same": (lambda m, x: F.conv2d(x, m.conv.weight, padding="same", dilation=(2, 1)), "conv"),
    "conv padding=same, even": (lambda m, x: F.conv2d(x, m.conv.weight[..., :2, :2], padding="same"), "conv"),
    "conv padding=valid": (lambda m, x: F.conv2d(x, m.conv.weight, padding="valid"), "conv"),
    "conv of computed weights": (lambda m, x: F.conv2d(x, m.conv.weight / m.conv.weight.norm()), "conv"),
    "pads before a conv": (lambda m, x: m.conv(F.pad(F.pad(x, (1, 0)), (0, 0, 0, 2))), "conv"),
    "a pad with two readers": (lambda m, x: (lambda p: m.conv(p) + p)(F.pad(x, (1, 0, 2, 1))), "pad conv add"),
    "a pad without width": (lambda m, x: m.conv(F.relu(F.pad(x, (0, 0)))), "relu conv"),
    "relu": (lambda m, x: F.relu(x), "relu"),
    "relu6": (lambda m, x: F.relu6(3 * x), "multiply relu6"),
    "hardtanh": (lambda m, x: F.hardtanh(x), "relu_n1_to_1"),
    "sigmoid": (lambda m, x: torch.sigmoid(x), "sigmoid"),
    "hardsigmoid": (lambda m, x: F.hardsigmoid(x), "hard_sigmoid"),
    "hardswish": (lambda m, x: F.hardswish(x), "hard_swish"),
    "argmax": (lambda m, x: F.relu(x).argmax(1), "relu argmax"),
    "argmax, kept": (lambda m, x: F.relu(x).argmax(-3, keepdim=True).int(), "relu argmax"),
    "argmax of channels last": (lambda m, x: x.permute(0, 2, 3, 1).argmax(-1), "argmax"),
    "argmax of a vector": (lambda m, x: x.mean((2, 3)).argmax(), "pool argmax"),
    "silu": (lambda m, x: F.silu(x), "silu"),
    "clamp": (lambda m, x: x.clamp(-0.5, 0.25), "clip"),
    "clamp from below": (lambda m, x: x.clamp(min=0.5), "clip"),
    "clamp from above": (lambda m, x: torch.clamp(x, max=0.5), "clip"),
    "clamp_min, clamp_max": (lambda m, x: x.clamp_min(0).clamp_max(6 * m.two), "relu clip"),
    "clip": (lambda m, x: x.clip(0, 6), "relu6"),
    "abs": (lambda m, x: x.abs(), "abs"),
    "celu": (lambda m, x: F.celu(x, 0.7), "celu"),
    "elu": (lambda m, x: F.elu(x, 0.7), "elu"),
    "erf": (lambda m, x: torch.erf(x), "erf"),
    "exp, log": (lambda m, x: x.exp().log(), "exp log"),
    "gelu": (lambda m, x: F.gelu(x), "gelu"),
    "gelu by tanh": (lambda m, x: F.gelu(x, approximate="tanh"), "gelu_tanh"),
    "leaky_relu": (lambda m, x: F.leaky_relu(x, 0.1), "leaky_relu"),
    "mish": (lambda m, x: F.mish(x), "mish"),
    "powers": (lambda m, x: x.square() + x.pow(3) + (x * x + 1).rsqrt(), "power power add multiply add power add"),
    "reciprocal, sqrt": (lambda m, x: (x.abs() + 1).reciprocal().sqrt(), "abs add power sqrt"),
    "selu": (lambda m, x: F.selu(x), "selu"),
    "softplus": (lambda m, x: F.softplus(x, 1.5), "softplus"),
    "tanh": (lambda m, x: torch.tanh(x), "tanh"),
    "prelu": (lambda m, x: F.prelu(x, m.conv.bias.detach()), "pair"),
    "prelu of one slope": (lambda m, x: F.prelu(x, torch.tensor([0.25])), "leaky_relu"),
    "maximum": (lambda m, x: torch.maximum(x, m.conv(x)), "conv pair"),
    "minimum": (lambda m, x: torch.minimum(m.conv.bias[:, None, None], x), "pair"),
    "a quotient": (lambda m, x: m.conv(x) / (x.abs() + 1), "conv abs add pair"),
    "softsign": (lambda m, x: F.softsign(x), "abs add pair"),
    "channel_shuffle": (lambda m, x: F.channel_shuffle(x, 2), "select"),
    "pixel_shuffle": (lambda m, x: F.pixel_shuffle(x, 2), "depthtospace"),
    "pixel_shuffle of several": (
        lambda m, x: F.pixel_shuffle(torch.cat([x, 2 * x], 1), 2),
        "multiply concat select depthtospace",
    ),
    "pixel_unshuffle": (lambda m, x: F.pixel_unshuffle(x, 2), "spacetodepth select"),
    "steps": (lambda m, x: x[:, ::2, 1:7:2, 1:], "select resize resize"),
    "a hard sigmoid of any slope": (lambda m, x: (0.2 * x + 0.5).clamp(0, 1), "ramp"),
    "add": (lambda m, x: x + m.conv(x), "conv add"),
    "add, scaled": (lambda m, x: x.add(m.conv(x), alpha=3), "conv multiply add"),
    "sub": (lambda m, x: x - m.conv(x), "conv add"),
    "sub, scaled": (lambda m, x: torch.sub(x, m.conv(x), alpha=0.5), "conv multiply add"),
    "sub from a pixel": (lambda m, x: x.mean((2, 3), keepdim=True) - x, "pool multiply add"),
    "sub of a pixel": (lambda m, x: x - x.mean((2, 3), keepdim=True), "pool add"),
    "numbers": (lambda m, x: ((1 - x) * 2 + 4) / m.two - m.two, "multiply add"),
    "numbers the other way round": (lambda m, x: 2 - (3 + 4 * x), "multiply add"),
    "numbers that do nothing": (lambda m, x: F.relu((x + 1 - 1) * 1.0), "relu"),
    "long names": (lambda m, x: torch.divide(torch.multiply(torch.subtract(x, 1), 2), 4), "multiply add"),
    "neg": (lambda m, x: -x, "multiply"),
    "constant of a pixel": (lambda m, x: m.row * x + m.row, "multiply add"),
    "constant map": (lambda m, x: x * m.whole - m.whole, "multiply add"),
    "minus from a constant map": (lambda m, x: m.whole - x, "add"),
    "minus from a constant pixel": (lambda m, x: m.row - x, "multiply add"),
    "division by constants": (lambda m, x: x / m.row / m.whole, "multiply multiply"),
    "constant map of one channel": (lambda m, x: x * m.whole[:, :1], "multiply"),
    "a constant that widens a pixel": (lambda m, x: x.mean((2, 3), keepdim=True) * m.whole, "pool multiply"),
    "constants of constants": (lambda m, x: x * (torch.ones(4, 1, 1) + m.row.abs().sqrt()), "multiply"),
    "a constant of one value": (lambda m, x: x + torch.tensor([[[0.5]]]), "add"),
    "mul": (lambda m, x: x * m.conv(x), "conv multiply"),
    "square": (lambda m, x: x * x, "multiply"),
    "gate first": (lambda m, x: torch.sigmoid(x.mean((2, 3), keepdim=True)) * x, "pool sigmoid multiply"),
    "expanded gate": (lambda m, x: x * x.mean((2, 3)).view(1, 4, 1, 1).expand(-1, -1, 8, 6), "pool multiply"),
    "adaptive pool": (lambda m, x: F.adaptive_avg_pool2d(x, 1), "pool"),
    "adaptive pool to a part": (lambda m, x: F.adaptive_avg_pool2d(x, (4, 3)), "pool"),
    "adaptive pool to the same": (lambda m, x: F.relu(F.adaptive_avg_pool2d(x, (8, 6))), "relu"),
    "mean": (lambda m, x: x.mean([2, 3]), "pool"),
    "mean, kept": (lambda m, x: x.mean((-1, -2), keepdim=True), "pool"),
    "mean, one after the other": (lambda m, x: x.mean(3).mean(2), "pool pool"),
    "mean of a flattened map": (lambda m, x: x.flatten(2).mean(-1), "pool"),
    "softmax": (lambda m, x: F.softmax(x, 1), "softmax"),
    "softmax, sharper": (lambda m, x: F.softmax(x.mean((2, 3)) * 5, dim=-1), "pool softmax"),
    "cat": (lambda m, x: torch.cat([x, m.conv(x), x], 1), "conv concat"),
    "cat of vectors": (lambda m, x: torch.cat([x.mean((2, 3)), x.relu().mean((2, 3))], -1), "pool relu pool concat"),
    "chunk": (lambda m, x: x.chunk(3, 1), "slice slice"),
    "split": (lambda m, x: x.split(3, dim=1), "slice slice"),
    "split in sizes": (lambda m, x: torch.split(x, [1, 1, 2], 1)[1:], "slice slice"),
    "slice": (lambda m, x: x[:, 1:3] + x[:, -2:], "slice slice add"),
    "slice of everything": (lambda m, x: F.relu(x[:, :4][:, :, 0:8]), "relu"),
    "slice of a vector": (lambda m, x: x.mean((2, 3))[:, 1:], "pool slice"),
    "narrow": (lambda m, x: x.narrow(1, -2, 1), "slice"),
    "max pool": (lambda m, x: F.max_pool2d(x, 3, 2, 1), "pool"),
    "pads before a max pool": (lambda m, x: F.max_pool2d(F.pad(x, (0, 1, 1, 0), value=-math.inf), (3, 2)), "pool"),
    "zeros before a max pool": (lambda m, x: F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 2), "pad pool"),
    "average pool": (lambda m, x: F.avg_pool2d(x, (2, 3)), "pool"),
    "average pool, padding counted": (lambda m, x: F.avg_pool2d(x, 3, 2, 1), "pad pool"),
    "average pool, padding not counted": (lambda m, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), "pool"),
    "linear": (lambda m, x: F.linear(x.mean((2, 3)), m.conv.weight[:, :, 0, 0], m.conv.bias), "pool conv"),
    "linear of a bare vector": (lambda m, x: F.linear(x.mean((2, 3)).squeeze(), m.whole[0, :, 0, :4]), "pool conv"),
    "linear of a map": (lambda m, x: F.linear(x.flatten(1), m.whole.view(1, -1)), "conv"),
    "linear, rows first": (lambda m, x: F.linear(x.permute(0, 2, 3, 1).flatten(1), m.whole.view(1, -1)), "conv"),
    "functions of a flat map": (lambda m, x: F.linear(F.relu(x.flatten(1)), m.whole.view(1, -1)), "relu conv"),
    "dropout of a flat map": (lambda m, x: F.dropout(x.flatten(1), 0.5, m.training).view(1, 4, 8, 6).relu(), "relu"),
    "unsqueeze and squeeze": (lambda m, x: m.conv(x.mean((2, 3))[..., None, None]).squeeze(-1).squeeze(2), "pool conv"),
    "indices": (lambda m, x: x.mean((2, 3), keepdim=True)[:, :, 0, 0], "pool"),
    "transposes and back": (lambda m, x: m.conv(x.transpose(1, 3).relu().transpose(1, 3)), "relu conv"),
    "permute and back": (lambda m, x: m.conv(x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)), "conv"),
    "unflatten": (lambda m, x: m.conv(x.flatten(2).unflatten(2, (8, 6))), "conv"),
    "no copies": (lambda m, x: x.clone().contiguous().detach().to(torch.float32).float().relu(), "relu"),
    "shuffle": (lambda m, x: m.conv(x.view(1, 2, 2, 8, 6).transpose(1, 2).flatten(1, 2)), "select conv"),
    "shuffle into three dimensions": (
        lambda m, x: m.conv(torch.cat([x, x[:, :2]], 1).view(1, 3, 2, 8, 6).transpose(1, 2).flatten(1, 2)[:, 1:5]),
        "slice concat select slice conv",
    ),
    "pixel shuffle by views": (
        lambda m, x: x.view(1, 1, 2, 2, 8, 6).permute(0, 1, 4, 2, 5, 3).reshape(1, 1, 16, 12), "depthtospace",
    ),
    "pixel unshuffle by views": (
        lambda m, x: x.view(1, 4, 4, 2, 3, 2).permute(0, 3, 5, 1, 2, 4).reshape(1, 16, 4, 3), "spacetodepth",
    ),
    "windows and back": (
        lambda m, x: m.conv(x.view(1, 4, 4, 2, 3, 2).relu().reshape(1, 4, 8, 6)), "spacetodepth relu depthtospace conv",
    ),
    "channel mean": (lambda m, x: x.mean(1, keepdim=True), "conv"),
    "a mean of one channel": (lambda m, x: x[:, :1].mean(1), "slice pool"),
    "mean of everything": (lambda m, x: x - x.mean(), "pool conv select add"),
    "mean of a part": (lambda m, x: x.view(1, 2, 2, 8, 6).mean(1), "select conv"),
    "greatest channel": (lambda m, x: x.amax(1, keepdim=True), "slice slice pair slice slice pair"),
    "greatest of three": (lambda m, x: x[:, :3].amax((1, 2, 3)), "slice pool slice slice pair slice slice pair"),
    "variance": (lambda m, x: x.var((2, 3)), "pool multiply add multiply pool multiply"),
    "variance of channels": (
        lambda m, x: x.permute(0, 2, 3, 1).var(-1, unbiased=False, keepdim=True).permute(0, 3, 1, 2),
        "conv multiply select add multiply conv",
    ),
    "root of squares": (lambda m, x: x / x.norm(dim=1, keepdim=True), "multiply conv sqrt select pair"),
    "gate by pixel": (lambda m, x: x * m.conv(x)[:, :1], "conv slice select multiply"),
    "gates by row and column": (
        lambda m, x: x * x.mean(3, keepdim=True) * x.mean(2, keepdim=True),
        "pool resize multiply pool resize multiply",
    ),
    "split attention": (
        lambda m, x: (lambda y: (y * y.mean((3, 4), keepdim=True).softmax(1)).sum(1))(torch.stack([x, m.conv(x)], 1)),
        "conv concat pool select add sigmoid multiply select conv",
    ),
    "split attention of three": (
        lambda m, x: F.softmax(torch.stack([x, m.conv(x), -x], 1), 1).unbind(1)[1],
        "conv multiply concat slice slice pair slice slice pair slice slice slice add exp add exp add exp add add"
        " pair pair pair concat slice",
    ),
    "parts the other way round": (lambda m, x: m.conv(x.flip(1)), "select conv"),
    "global context": (
        lambda m, x: torch.matmul(x.flatten(2), F.softmax(m.conv(x)[:, :1].flatten(2), -1).transpose(1, 2)),
        "conv slice pool add exp pool pair multiply select multiply pool multiply",
    ),
    "layer norm": (
        lambda m, x: F.layer_norm(x.permute(0, 2, 3, 1), (4,), m.conv.bias, m.conv.bias).permute(0, 3, 1, 2),
        "conv select add multiply conv power select multiply conv",
    ),
    "rms norm": (
        lambda m, x: F.rms_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2),
        "multiply conv power select multiply",
    ),
    "group norm": (
        lambda m, x: F.group_norm(x, 2, m.conv.bias, m.conv.bias),
        "pool conv select add multiply pool conv power select multiply conv",
    ),
    "instance norm": (lambda m, x: F.instance_norm(x), "pool add multiply pool conv power multiply"),
    "conv over channels": (
        lambda m, x: x * F.conv1d(x.mean((2, 3))[:, None], m.conv.weight[:1, :1, 0], padding=1)[0, 0, :, None, None],
        "pool select select conv multiply",
    ),
    "conv of a row": (lambda m, x: F.conv1d(x[:, :, 0], m.conv.weight[:, :, 0], stride=2, padding=1), "resize conv"),
    "linear of channels last": (
        lambda m, x: F.linear(x.permute(0, 2, 3, 1), m.conv.weight[:, :, 0, 0]).permute(0, 3, 1, 2), "conv",
    ),
    "conv of parts": (
        lambda m, x: F.conv2d(x.view(1, 2, 2, 48), m.conv.weight[:, :2, :1, :1]).transpose(1, 2).reshape(1, 8, 8, 6),
        "select conv",
    ),
    "addcmul": (lambda m, x: torch.addcmul(x, m.row, m.conv(x), value=0.5), "conv multiply multiply add"),
    "log_softmax": (lambda m, x: F.log_softmax(x, 1), "softmax log"),
    "cat of rows": (lambda m, x: m.conv(torch.cat([x, x[:, :, 2:3]], 2)), "resize pad pad add conv"),
    "reflection": (lambda m, x: F.pad(x, (1, 0, 0, 2), mode="reflect"),
        "resize resize pad pad add pad add resize pad pad add"),
    "edges": (lambda m, x: F.pad(x, (1, 0, 0, 2), mode="replicate"), "resize"),
    "odd divisor": (lambda m, x: F.avg_pool2d(x, 2, padding=1, divisor_override=3), "pad pool multiply"),
    "adaptive max pool": (lambda m, x: F.adaptive_max_pool2d(x, 1), "pool"),
    "one row": (lambda m, x: x[:, :, 2], "resize"),
    "an expanded value that is reshaped": (
        lambda m, x: x * x.mean((2, 3)).view(1, 2, 2)[:, :, :1, None, None].expand(1, 2, 2, 8, 6).reshape(1, 4, 8, 6),
        "pool select select multiply",
    ),
    "resize by a factor": (lambda m, x: F.interpolate(x, scale_factor=2), "resize"),
    "resize by a fraction": (lambda m, x: F.interpolate(x, scale_factor=1.45), "resize"),
    "resize by two fractions": (lambda m, x: F.interpolate(x, scale_factor=(0.7, 2.3), mode="nearest-exact"), "resize"),
    "resize to a size": (lambda m, x: F.interpolate(x, size=(5, 11)), "resize"),
    "resize, exact": (lambda m, x: F.interpolate(x, size=(12, 4), mode="nearest-exact"), "resize"),
    "batch norm": (lambda m, x: F.batch_norm(x, m.conv.bias, m.conv.bias.abs() + 0.5), "batchnorm"),
    "no gradients wanted": (lambda m, x: torch.no_grad()(m.conv)(x), "conv"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str) -> None:
    function, words = OPERATORS[name]
    assert words_of(agrees(Calls(function), image_of())) == words


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.ReLU6(), "relu6"),
        (nn.Hardtanh(0.0, 6.0, inplace=True), "relu6"),
        (nn.Hardtanh(0, 1), "clip"),
        (nn.Hardswish(), "hard_swish"),
        (nn.Hardsigmoid(), "hard_sigmoid"),
        (nn.SiLU(), "silu"),
        (nn.ZeroPad2d((1, 2, 0, 3)), "pad"),
        (nn.Conv2d(4, 6, 3, padding="same", groups=2), "conv"),
        (nn.Conv2d(4, 4, (3, 1), (2, 1), (1, 0), groups=4, bias=False), "conv"),
        (nn.BatchNorm2d(4, affine=False), "batchnorm"),
        (nn.Softmax(1), "softmax"),
        (nn.Softmax2d(), "softmax"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.BatchNorm1d(5), nn.Dropout()), "conv batchnorm"),
        (nn.Sequential(nn.Dropout2d(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1)), "pool"),
        (nn.UpsamplingNearest2d(scale_factor=3), "resize"),
        (nn.Sequential(nn.Identity(), nn.ReLU()), "relu"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 2, 1)), "conv"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_modules_of_torch(module: nn.Module, words: str) -> None:
    assert words_of(agrees(written.with_statistics(module), image_of())) == words


def test_a_map_of_one_channel_and_of_one_row() -> None:
    function = lambda m, x: F.relu(F.avg_pool2d(x, (1, 2)) + x.mean((2, 3), keepdim=True)).flatten(1)  # noqa: E731
    for channels, height, width in ((1, 5, 4), (3, 1, 4), (3, 5, 2)):
        module = Calls(lambda m, x: F.linear(function(m, x), torch.ones(2, channels * height * (width // 2))))  # noqa: B023
        assert words_of(agrees(module, image_of(channels, height, width))) == "pool pool add relu conv"


@QUICK
@given(st.data())
def test_any_convolution(data: st.DataObject) -> None:
    whole, few = st.integers(0, 2), st.integers(1, 3)
    groups = data.draw(st.sampled_from((1, 2, 4)))
    conv = nn.Conv2d(
        4, 4 * data.draw(few), (data.draw(few), data.draw(few)), (data.draw(few), data.draw(few)),
        (data.draw(whole), data.draw(whole)), (data.draw(few), data.draw(few)), groups, data.draw(st.booleans()),
    )  # fmt: skip
    pads = [nn.ZeroPad2d(tuple(data.draw(whole) for _ in range(4))) for _ in range(data.draw(whole))]
    assert words_of(agrees(nn.Sequential(*pads, conv), image_of(4, 9, 8))) == "conv"


@QUICK
@given(st.data())
def test_any_pool(data: st.DataObject) -> None:
    """Kernel, stride, padding up to half of it, ceil_mode, padding counted or not."""
    size = st.integers(1, 4)
    kernel = (data.draw(size), data.draw(size))
    stride = (data.draw(size), data.draw(size))
    padding = (data.draw(st.integers(0, kernel[0] // 2)), data.draw(st.integers(0, kernel[1] // 2)))
    ceil, counted = data.draw(st.booleans()), data.draw(st.booleans())
    image = image_of(2, data.draw(st.integers(4, 9)), data.draw(st.integers(4, 9)))
    agrees(nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil), image)
    agrees(nn.AvgPool2d(kernel, stride, padding, ceil, counted), image)


@QUICK
@given(st.data())
def test_any_layout_before_a_dense_layer(data: st.DataObject) -> None:
    """Whatever is joined, moved and taken apart: the dense layer finds the weights of its values."""
    steps = data.draw(st.lists(st.sampled_from(("flatten", "permute", "unsqueeze", "relu")), max_size=4))
    draw = data.draw(st.randoms(use_true_random=False))
    channels, height, width = (data.draw(st.integers(1, 3)) for _ in range(3))
    plan: list[Callable[[Tensor], Tensor]] = []
    rank = 4
    for step in steps:
        if step == "flatten" and rank > 2:
            start = draw.randrange(1, rank - 1)
            plan.append(lambda x, start=start: x.flatten(start, start + 1))
            rank -= 1
        elif step == "permute":
            order = [0, *draw.sample(range(1, rank), rank - 1)]
            plan.append(lambda x, order=order: x.permute(order))
        elif step == "unsqueeze":
            at = draw.randrange(1, rank + 1)
            plan.append(lambda x, at=at: x.unsqueeze(at))
            rank += 1
        elif step == "relu":
            plan.append(F.relu)

    def run(_: Calls, x: Tensor) -> Tensor:
        for step in plan:
            x = step(x)
        return F.linear(x.reshape(1, -1), torch.arange(1.0, 1 + 2 * x.numel()).view(2, -1))

    agrees(Calls(run), image_of(channels, height, width))


# -- patterns ----------------------------------------------------------------------------------------------------------

PATTERNS = {
    "hard_swish": [
        lambda m, x: x * F.relu6(x + 3.0) / 6.0,
        lambda m, x: x * F.relu6(x + 3, inplace=True) * (1 / 6),
        lambda m, x: x.mul(F.relu6(x + 3.0).div(6.0)),
        lambda m, x: x * (F.hardtanh(x + 3, 0, 6) / 6),
        lambda m, x: F.relu6(3 + x) / 6 * x,
        lambda m, x: x / 6 * F.relu6(x + 3),
        lambda m, x: x * F.hardsigmoid(x),
        lambda m, x: x * torch.clamp(x / 6 + 0.5, 0, 1),
        lambda m, x: x.mul(x.add(3.0).clamp_(0.0, 6.0).mul_(0.1666667)),
        lambda m, x: F.hardswish(x.clone(), inplace=True),
    ],
    "hard_sigmoid": [
        lambda m, x: F.relu6(x + 3) / 6,
        lambda m, x: F.relu6(x + m.two + 1) / (m.two * 3),
        lambda m, x: torch.clamp(x + 3, 0, 6).div_(6),
        lambda m, x: torch.clamp(x * (1 / 6) + 0.5, 0, 1),
        lambda m, x: F.hardtanh((x + 3) / 6, 0.0, 1.0),
        lambda m, x: F.hardsigmoid(x),
    ],
    "silu": [
        lambda m, x: x * torch.sigmoid(x),
        lambda m, x: torch.sigmoid(x) * x,
        lambda m, x: x.clone().mul_(x.sigmoid()),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("word", "place"), [(word, i) for word, rows in PATTERNS.items() for i in range(len(rows))])
def test_functions_spelled_by_hand(word: str, place: int) -> None:
    assert words_of(agrees(Calls(PATTERNS[word][place]), 4 * image_of())) == word


NEARLY = {
    "another slope": lambda m, x: x * (0.2 * x + 0.5).clamp(0, 1),
    "another shift": lambda m, x: x * F.relu6(x + 2.9) / 6,
    "another divisor": lambda m, x: x * F.relu6(x + 3) / 5,
    "another value": lambda m, x: m.conv(x) * F.relu6(x + 3) / 6,
    "another value's sigmoid": lambda m, x: m.conv(x) * torch.sigmoid(x),
    "relu in place of relu6": lambda m, x: x * F.relu(x + 3) / 6,
    "a shifted value": lambda m, x: (x + 1) / 6 * F.relu6(x + 3),
}  # fmt: skip


@pytest.mark.parametrize("name", NEARLY)
def test_functions_that_only_look_alike(name: str) -> None:
    words = words_of(agrees(Calls(NEARLY[name]), 4 * image_of()))
    assert not {"hard_swish", "hard_sigmoid", "silu"} & set(words.split())


NUMBERS = st.sampled_from((-3.0, -1.0, 0.5, 1 / 6, 1.0, 3.0, 6.0))
STEPS = {
    "add": lambda x, _, n: x + n,
    "add_": lambda x, _, n: x.clone().add_(n),
    "from": lambda x, _, n: n - x,
    "times": lambda x, _, n: x * n,
    "over": lambda x, _, n: x / n,
    "relu6": lambda x, _, n: F.relu6(x),
    "clamp": lambda x, _, n: x.clamp(-abs(n), abs(n) / 2),
    "zero to": lambda x, _, n: x.clamp(0, abs(n)),
    "from below": lambda x, _, n: x.clamp(min=n),
    "from above": lambda x, _, n: x.clamp(max=n),
    "sigmoid": lambda x, _, n: torch.sigmoid(x),
    "hardsigmoid": lambda x, _, n: F.hardsigmoid(x),
    "gate": lambda x, before, n: x * before,
    "sum": lambda x, before, n: before - x,
}  # fmt: skip


@QUICK
@given(st.lists(st.tuples(st.sampled_from(sorted(STEPS)), NUMBERS), min_size=1, max_size=6), st.booleans())
@example([("add", 3.0), ("relu6", 1.0), ("gate", 1.0), ("over", 6.0)], False)
@example([("times", 1 / 6), ("add", 0.5), ("zero to", 1.0), ("gate", 1.0)], True)
def test_any_arithmetic(steps: list[tuple[str, float]], late: bool) -> None:
    """What is joined into constants and functions stays the same; `before` is the input, or the last value but one."""

    def run(_: Calls, x: Tensor) -> Tensor:
        before = x
        for word, number in steps:
            x, last = STEPS[word](x, before, number), x
            before = last if late else before
        return x

    agrees(Calls(run), 4 * image_of())


# -- in place ----------------------------------------------------------------------------------------------------------


def test_a_change_in_place_is_seen_wherever_the_tensor_is_read() -> None:
    def run(m: Calls, x: Tensor) -> Tensor:
        made = m.conv(x)
        kept = made.clone()
        changed = made.relu_()
        changed += 1
        return made + kept * changed

    graph = agrees(Calls(run), image_of())
    assert words_of(graph) == "conv relu add multiply add"


def test_a_view_of_what_changed_in_place_is_refused() -> None:
    def halves(m: Calls, x: Tensor) -> Tensor:
        made = m.conv(x)
        half, _ = made.chunk(2, 1)
        half.relu_()
        return made

    with pytest.raises(Unsupported, match=r"Calls: conv: conv2d must not be read after a view of it changed"):
        from_torch(Calls(halves), image_of())
    assert (
        words_of(agrees(Calls(lambda m, x: m.conv(x).flatten(1).relu_().view(1, 4, 8, 6)), image_of())) == "conv relu"
    )


# -- whole networks ----------------------------------------------------------------------------------------------------


def shapes_and_ops(graph: Graph) -> list[tuple[Op, object]]:
    return [(node.op, node.shape) for node in graph.nodes]


@pytest.mark.slow
def test_mobilenet_v2_is_that_of_the_zoo() -> None:
    graph = agrees(written.with_statistics(written.MobileNetV2()), image_of(3, 64, 96), double=True)
    zoo = build("mobilenet_v2", {"padding": "torch", "resolution": "64x96"})
    assert shapes_and_ops(graph) == shapes_and_ops(zoo)
    assert [node.block for node in graph.nodes] == [node.block for node in zoo.nodes]
    inside = [node.name for node in zoo.nodes if node.block.startswith("block")]
    assert [node.name for node in graph.nodes if node.block.startswith("block")] == inside
    names = [node.name for node in graph.nodes if not node.block.startswith("block")]
    assert names == ["input", "stem", "stem_bn", "stem_act", "head", "head_bn", "head_act", "pool", "logits"]
    assert not any(isinstance(op, Activate) for op in ops_of(fold(graph)))


@pytest.mark.parametrize(
    ("size", "rows", "last"),
    [("small", written.V3_SMALL, 1024), pytest.param("large", written.V3_LARGE, 1280, marks=pytest.mark.slow)],
)
def test_mobilenet_v3_is_that_of_the_zoo(size: str, rows: tuple, last: int) -> None:
    graph = agrees(written.with_statistics(written.MobileNetV3(rows, last)), image_of(3, 64, 64), double=True)
    zoo = build(f"mobilenet_v3_{size}", {"padding": "torch", "resolution": "64"})
    assert shapes_and_ops(graph) == shapes_and_ops(zoo)
    inside = [(node.name, node.block) for node in zoo.nodes if node.block.startswith("block")]
    assert [(node.name, node.block) for node in graph.nodes if node.block.startswith("block")] == inside
    assert graph.by_name["block4.scale" if size == "large" else "block1.scale"].op == Multiply()


def test_mnasnet_is_that_of_the_zoo() -> None:
    graph = agrees(written.with_statistics(written.MnasNet()), image_of(3, 64, 64), double=True)
    zoo = build("mnasnet_b1", {"padding": "torch", "resolution": "64"})
    pools = [Pool(PoolKind.MEAN, op.window) if isinstance(op, Pool) else op for op in ops_of(zoo)]
    assert ops_of(graph) == pools
    assert [node.block for node in graph.nodes] == [node.block for node in zoo.nodes]


@pytest.mark.parametrize("depth", mostly_slow([18, 50], 18))
def test_resnets_are_those_of_the_zoo(depth: int) -> None:
    block, layers = (written.BasicBlock, (2, 2, 2, 2)) if depth == 18 else (written.Bottleneck, (3, 4, 6, 3))
    graph = agrees(written.with_statistics(written.ResNet(block, layers)), image_of(3, 64, 64), double=True)
    zoo = build(f"resnet{depth}", {"resolution": "64"})
    assert shapes_and_ops(graph) == shapes_and_ops(zoo)
    assert [node.block for node in graph.nodes if node.block != "stem"] == [
        n.block for n in zoo.nodes if n.block != "stem"
    ]
    assert sum("shortcut" in node.name for node in graph.nodes) == sum("shortcut" in node.name for node in zoo.nodes)


@pytest.mark.parametrize("size", [64, 77])
def test_squeezenet_is_that_of_the_zoo(size: int) -> None:
    graph = agrees(written.with_statistics(written.SqueezeNet()), image_of(3, size, size), double=True)
    assert shapes_and_ops(graph) == shapes_and_ops(build("squeezenet1_0", {"resolution": str(size)}))


def test_functions_by_hand_in_a_whole_network() -> None:
    graph = agrees(written.with_statistics(written.HandMadeV3()), image_of(3, 33, 32), double=True)
    functions = [op.activation for op in ops_of(graph) if isinstance(op, Activate)]
    assert functions.count(Activation.HARD_SWISH) == 6
    assert functions.count(Activation.HARD_SIGMOID) == 2
    assert not any(op_name(op) in ("constant", "pad") for op in ops_of(graph))
    assert [node.name for node in graph.nodes if node.block == "block1"] == [
        "block1.expand", "block1.expand_bn", "block1.expand_act", "block1.depthwise", "block1.depthwise_bn",
        "block1.squeeze", "block1.reduce", "block1.reduce_act", "block1.excite", "block1.excite_act", "block1.scale",
        "block1.depthwise_act", "block1.project", "block1.project_bn",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(64, 64), (61, 50)])
def test_same_padding_worked_out_in_forward(size: tuple[int, int]) -> None:
    graph = agrees(written.with_statistics(written.SameNet()), image_of(3, *size), double=True)
    stem, pool = graph.by_name["stem"].op, graph.by_name["pool1"].op
    assert isinstance(stem, Conv)
    assert isinstance(pool, Pool)
    if size == (64, 64):
        assert stem.window == Window((3, 3), (2, 2), (0, 1, 0, 1))
        assert pool.window == Window((3, 3), (2, 2), (0, 1, 0, 1))
    assert "pad" not in words_of(graph).split()
    assert {"block1.squeeze", "block1.excite_act", "block2.add"} <= graph.by_name.keys()


# -- the graph around it -----------------------------------------------------------------------------------------------


def test_names_and_contract() -> None:
    module, image = nn.Sequential(nn.Conv2d(3, 2, 1)), image_of(3)
    graph = from_torch(module, image)
    assert graph.name == "Sequential"
    # As ToTensor makes it: 0 to 1.
    assert graph.image == ImageSpec(8, 6, 3, deviation=(255.0,))
    assert from_torch(nn.ReLU(), image_of(4)).image is None
    said = ImageSpec(8, 6, 3, "crop", (127.5,), (127.5,))
    assert from_torch(module, image, name="mine", image=said).with_name("mine").image == said
    assert from_torch(module, image, name="mine").name == "mine"


def test_several_outputs_and_parts_that_nobody_reads() -> None:
    def run(m: Calls, x: Tensor) -> object:
        F.gelu(x)
        made = m.conv(x)
        return {"logits": made.mean((2, 3)), "maps": [made, x]}

    graph = from_torch(Calls(run), image_of())
    assert [graph.by_name[name].shape.array for name in graph.outputs] == [(1, 1, 4), (8, 6, 4), (8, 6, 4)]
    assert words_of(graph) == "conv pool"


def test_the_module_is_left_as_it_was_and_read_in_eval_mode() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    module[1].eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    graph = from_torch(module, image_of(3))
    assert [part.training for part in module.modules()] == [True, True, False, True]
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert all(graph.params[f"stem.{name}"].any() for name in ("weight", "bias"))
    assert graph.params["stem_bn.gamma"].all()


def test_importing_rillet_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, rillet; assert not {'torch', 'numpy'} & set(sys.modules);"
        "assert rillet.from_torch; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert rillet.from_torch is from_torch


# -- what is refused ---------------------------------------------------------------------------------------------------


def if_positive(m: Calls, x: Tensor) -> Tensor:
    return m.conv(x) if x.sum() > 0 else x


REFUSED = {
    "control flow": (if_positive, r"^Calls: must be a module that torch.export can trace with one image, got Guard"),
    "loop": (lambda m, x: x / x.max().item() if x.max() > 1 else x, "must be a module that torch.export can trace"),
    "cond": (lambda m, x: torch.cond(m.two > 1, lambda y: y + 1, lambda y: y - 1, (x,)), "cond: is not supported"),
    "cond of constants": (
        lambda m, x: x * torch.cond(m.two > 1, lambda y: y + 1, lambda y: y - 1, (m.two,)),
        "cond: is not supported",
    ),
    "own mistakes": (lambda m, x: m.conv(x[:, :2]), "got RuntimeError: Given groups=1, weight of size"),
    "numpy": (lambda m, x: torch.from_numpy(x.numpy()), "got RuntimeError: .*numpy"),
    "operator": (lambda m, x: x.cumsum(1), r"^Calls: forward: aten.cumsum.default: is not supported; 0 of 1 calls"),
    "data": (lambda m, x: x * x.mean().item(), "aten.item.default: is not supported"),
    "turned": (lambda m, x: m.conv(x.transpose(2, 3)), "conv: aten.conv2d.default must read a map .*, got 1xCxWxH"),
    "expanded": (lambda m, x: m.conv(x.mean((2, 3), True).expand(1, 4, 8, 6)), "must not read an expanded value"),
    "by zero": (lambda m, x: x / 0, "must divide by constants other than zero"),
    "floor": (lambda m, x: torch.div(x, 2, rounding_mode="floor"), "without rounding"),
    "pad of ones": (lambda m, x: F.pad(x, (1, 1), value=1.0), "must be with zeros, or minus infinity"),
    "pad of the batch": (lambda m, x: F.pad(x, (0, 0, 0, 0, 0, 0, 1, 1)), "must widen height, width and channels"),
    "crop": (lambda m, x: F.pad(x, (-1, 1)), "must widen height, width and channels alone"),
    "low pad": (lambda m, x: F.pad(x, (1, 1), value=-math.inf), "minus infinity must be read by max_pool2d alone"),
    "cat of constants": (lambda m, x: torch.cat([x, m.whole], 1), "must join computed values"),
    "dilated pool": (lambda m, x: F.max_pool2d(x, 2, dilation=2), "must not be dilated"),
    "odd adaptive": (lambda m, x: F.adaptive_avg_pool2d(x, 3), "must divide its map into equal windows"),
    "bicubic": (lambda m, x: F.interpolate(x, size=9, mode="bicubic"), "upsample_bicubic2d.vec: is not supported"),
    "linear of rows": (lambda m, x: F.linear(x, m.whole[0, 0]), "must read a vector, a flattened map or channels"),
    "row argmax": (lambda m, x: x.argmax(2), "must be over the channels, got dimension 2 of 1xCxHxW"),
    "argmax of all": (lambda m, x: x.argmax(), "must be over the channels, got dimension None"),
    "argmax as bytes": (lambda m, x: x.argmax(1).byte(), "must keep places of argmax as int64 or int32, got uint8"),
    "argmax as real": (lambda m, x: x.argmax(1).float(), "must keep places of argmax as int64 or int32, got float32"),
    "sums with argmax": (lambda m, x: x + x.argmax(1, keepdim=True), "must not compute with the places"),
    "row softmax": (lambda m, x: F.softmax(x, 2), "must be over channels or all pixels, got dimension 2"),
    "batch statistics": (lambda m, x: F.batch_norm(x, None, None, training=True), "must have running statistics"),
    "dropout": (lambda m, x: F.dropout(x, 0.5, training=True), "must drop nothing when the module is in eval mode"),
    "random": (lambda m, x: x + torch.rand(4, 1, 1), "aten.rand.default must not be random"),
    "state": (lambda m, x: x * m.two.add_(1), "aten.add_.Tensor must not change a constant in place"),
    "state by value": (lambda m, x: m.whole.add_(x), "aten.add_.Tensor must not change a constant in place"),
    "double": (lambda m, x: x.double(), "aten.to.dtype must give float32, got float64"),
    "computed weights": (lambda m, x: F.conv2d(x, m.conv(x)), "must have a constant weight, got a computed one"),
    "flat output": (lambda m, x: x.flatten(1), "output must be a map or a vector, got 1xCHW of 8x6x4"),
    "no output": (lambda m, x: None, "must return computed tensors alone, got 1 of which 0 are"),
    "no number": (lambda m, x: x.clamp(m.whole), "must have one number as each bound"),
    "crossed clamp": (lambda m, x: x.clamp(1, -1), "must have a lower bound below the upper one"),
    "a batch": (lambda m, x: m.conv(x.expand(2, 4, 8, 6)), "must not read an expanded value"),
    "windows of rows": (lambda m, x: x.view(1, 4, 2, 4, 6).mean(2), "must keep rows and columns, or cut them into sq"),
    "a wide mirror": (lambda m, x: F.pad(x.repeat_interleave(2, 2), (0, 0, 9, 0), mode="reflect"), "is not supported"),
    "attention": (lambda m, x: x.flatten(2) @ x.flatten(2).mT, "multiplies two computed matrices, as attention does"),
    "attention by name": (
        lambda m, x: F.scaled_dot_product_attention(*[x.flatten(2)] * 3),
        r"is not supported; .* aten.scaled_dot_product_attention.default \(1\), of attention",
    ),
    "a norm over rows": (lambda m, x: F.layer_norm(x, (6,)), "must be over the channels, got the last 1 dimensions"),
    "another norm": (lambda m, x: torch.linalg.vector_norm(x, 1, 1), "must be the root of squares, got order 1"),
    "too large": (lambda m, x: F.interpolate(x, scale_factor=2000), "has no place in a graph: shape must hold at most"),
    "not a number": (lambda m, x: x * math.inf, "must be finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    function, sentence = REFUSED[name]
    with pytest.raises(RilletError, match=sentence) as caught:
        from_torch(Calls(function), image_of())
    assert "\n" not in str(caught.value)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_an_error_names_the_submodule() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2, mode="bicubic")))
    with pytest.raises(
        Unsupported,
        match=r"^Sequential: 1.1: aten.upsample_bicubic2d.vec: is not supported; 2 of 3 calls are, all but aten",
    ):
        from_torch(module, image_of(3))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (torch.zeros(2, 3, 8, 8), r"ReLU: example must be one image, a tensor of 1xCxHxW, got \[2, 3, 8, 8\]"),
        (torch.zeros(3, 8, 8), r"ReLU: example must be one image, a tensor of 1xCxHxW, got \[3, 8, 8\]"),
        (np.zeros((1, 3, 8, 8)), "ReLU: example must be one image, a tensor of 1xCxHxW, got ndarray"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.float64), "ReLU: example must be float32, got float64"),
        (torch.zeros(1, 3, 0, 8), "ReLU: example: height must be at least 1, got 0"),
    ],
)
def test_an_example_of_another_kind(image: Tensor, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        from_torch(nn.ReLU(), image)


def test_a_module_of_doubles_is_refused() -> None:
    with pytest.raises(Unsupported, match="must be a module that torch.export can trace with one image"):
        from_torch(nn.Conv2d(3, 4, 1).double(), image_of(3))


# -- documentation -----------------------------------------------------------------------------------------------------


def test_the_table_of_operators_in_the_documentation(request: pytest.FixtureRequest) -> None:
    """docs/torch.md holds the table that the code makes; --update-golden writes it anew."""
    page = ROOT / "docs" / "torch.md"
    text = page.read_text()
    start = text.index("| operator |")
    stop = text.index("\n\n", start) + 1
    if request.config.getoption("--update-golden"):
        page.write_text(text[:start] + operator_table() + text[stop:])
        text = page.read_text()
    assert operator_table() in text
    assert set(NOTES) == set(supported_operators())


def test_resize_and_softmax_keep_what_they_say() -> None:
    graph = from_torch(Calls(lambda m, x: F.softmax(5 * F.interpolate(x, size=(4, 3)), 1)), image_of())
    assert ops_of(graph) == [resize(Shape(8, 6, 4), 4, 3), Softmax(5.0)]
