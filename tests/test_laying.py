"""Checkpoints in networks: the names of others, order, layouts, and what does not fit."""

import io
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conftest import mostly_slow
from rillet.errors import GraphError, Unsupported
from rillet.importers.checkpoints import Checkpoint, lay, parse
from rillet.importers.checkpoints.laying import IN_ORDER
from rillet.importers.checkpoints.names import NAMINGS, OWN
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation
from rillet.zoo import registry
from rillet.zoo.layers import Layers, square
from rillet.zoo.mobilenet import MNASNET_B1, V2
from rillet.zoo.mobilenet_v3 import LARGE, SMALL, Row
from torch_graph import run
from torch_models import MnasNet, MobileNetV2, MobileNetV3, ResNet, SqueezeNet, Vgg16, randomised

CLASSES = 7


def saved(state: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def build(name: str, side: int = 64, **words: str) -> Graph:
    return registry.build(name, {"resolution": str(side), "classes": str(CLASSES), **words})


def v2_rows() -> list[tuple[int, int, int]]:
    return [(t, out, stride if i == 0 else 1) for t, out, n, stride in V2 for i in range(n)]


def v3_rows(rows: tuple[Row, ...]) -> list[tuple[int, int, int, int, bool, int]]:
    # A quarter of the expanded channels, to a multiple of eight that loses at most a tenth.
    squeezed = {16: 8, 72: 24, 96: 24, 120: 32, 144: 40, 240: 64, 288: 72, 480: 120, 576: 144, 672: 168, 960: 240}
    return [
        (r.kernel, r.expanded, r.out, squeezed[r.expanded] if r.squeeze else 0, r.activation is Activation.HARD_SWISH,
         r.stride) for r in rows
    ]  # fmt: skip


def mnas_stacks() -> list[tuple[int, int, int, int, int]]:
    return list(MNASNET_B1)


TORCHVISION = {
    "torchvision's MobileNetV2": (
        lambda: MobileNetV2(32, v2_rows(), 1280, CLASSES),
        lambda: build("mobilenet_v2", padding="torch"),
    ),
    "torchvision's MobileNetV3 large": (
        lambda: MobileNetV3(16, v3_rows(LARGE), 960, 1280, CLASSES),
        lambda: build("mobilenet_v3_large", padding="torch"),
    ),
    "torchvision's MobileNetV3 small": (
        lambda: MobileNetV3(16, v3_rows(SMALL), 576, 1024, CLASSES),
        lambda: build("mobilenet_v3_small", padding="torch"),
    ),
    "torchvision's MnasNet": (
        lambda: MnasNet(32, mnas_stacks(), 1280, CLASSES),
        lambda: build("mnasnet_b1", padding="torch"),
    ),
    "torchvision's SqueezeNet 1.0": (lambda: SqueezeNet(7, 96, (4, 8), CLASSES), lambda: build("squeezenet1_0")),
    "torchvision's SqueezeNet 1.1": (lambda: SqueezeNet(3, 64, (3, 5), CLASSES), lambda: build("squeezenet1_1")),
    "torchvision's ResNet-18": (
        lambda: ResNet(16, (2, 2, 2, 2), False, CLASSES),
        lambda: build("resnet18", width="0.25"),
    ),
    "torchvision's ResNet-50": (
        lambda: ResNet(16, (3, 4, 6, 3), True, CLASSES),
        lambda: build("resnet50", width="0.25"),
    ),
    "torchvision's VGG-16": (lambda: Vgg16(2, CLASSES), lambda: build("vgg16")),
}


def test_every_naming_is_tested() -> None:
    others = {"MicroBotNet", "MicroBotNet's authors' SqueezeNet", "Keras's MobileNetV1"}  # real files: test_trained.py
    assert {naming.name for naming in NAMINGS} == TORCHVISION.keys() | others


@pytest.mark.parametrize("naming", mostly_slow(sorted(TORCHVISION), *sorted(TORCHVISION)[::3]))
def test_torchvision(naming: str) -> None:
    make, network = TORCHVISION[naming]
    model, graph = randomised(make()), network()
    laid = lay(graph, parse(saved(model.state_dict()), "model.pth"))
    assert (laid.naming, laid.unused) == (naming, ())
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = model.double()(torch.from_numpy(images).permute(0, 3, 1, 2).double()).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(run(laid.graph, images, torch.float64), expected, rtol=1e-9, atol=1e-12)


# -- a small network of our own ----------------------------------------------------------------------------------------


def small() -> Graph:
    net = Layers("small", square(8))
    net.block = "stem"
    net.conv_bn("conv", 4, 3, 2, Activation.RELU)
    net.block = "block1"
    net.depthwise_bn(3, 1, Activation.RELU)
    net.conv("project", 6, bias=True)
    net.block = "head"
    net.dense("logits", 5)
    return net.graph()


def small_model() -> nn.Sequential:
    parts = [
        nn.Conv2d(3, 4, 3, 2, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, 1, 1, groups=4, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 1),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 5),
    ]
    return randomised(nn.Sequential(*parts))


def small_state() -> dict[str, torch.Tensor]:
    return dict(small_model().state_dict())


def laid_from(state: Any) -> Any:
    return lay(small(), parse(saved(state), "small.pth"))


def test_in_order_and_the_flattened_map() -> None:
    model, laid = small_model(), laid_from(small_state())
    assert laid.naming == IN_ORDER
    images = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = model.double()(torch.from_numpy(images).permute(0, 3, 1, 2).double()).numpy()
    np.testing.assert_allclose(run(laid.graph, images, torch.float64), expected, rtol=1e-10)


def test_counters_are_reported_and_no_problem() -> None:
    state = {**small_state(), "total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)}
    laid = laid_from(state)
    assert laid.unused == ("total_ops", "0.total_params")


def own_state() -> dict[str, torch.Tensor]:
    """The small network's tensors under the names of its own nodes."""
    names = ["stem.conv", "stem.conv_bn", "block1.depthwise", "block1.depthwise_bn", "block1.project", "head.logits"]
    modules = dict(zip(["0", "1", "3", "4", "6", "8"], names, strict=True))
    return {f"{modules[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in small_state().items()}


def test_own_names_in_any_order() -> None:
    shuffled = dict(sorted(own_state().items()))
    laid = laid_from(shuffled)
    assert laid.naming == OWN
    assert laid.graph == laid_from(small_state()).graph


def test_half_precision_becomes_float32() -> None:
    state = {key: value.to(torch.bfloat16) for key, value in small_state().items()}
    laid = laid_from(state)
    expected = state["1.running_mean"].float().numpy()
    assert np.array_equal(laid.graph.params["stem.conv_bn.mean"], expected)


def message(state: Any, graph: Graph | None = None) -> str:
    with pytest.raises((GraphError, Unsupported)) as caught:
        lay(graph or small(), parse(saved(state), "small.pth"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_and_unexpected_are_listed() -> None:
    state = own_state()
    del state["stem.conv_bn.bias"]
    text = message({**state, "extra.weight": torch.zeros(2)})
    assert text.startswith("small.pth: tensors must fit small by the network's own names")
    assert "1 missing: stem.conv_bn.bias" in text
    assert "1 unexpected: extra.weight" in text
    text = message({"a.weight": torch.zeros(1)})
    assert "14 missing: " in text
    assert "10 more" in text
    assert "in order (tensor 1, a.weight must be 4x3x3x3, got 1)" in text


def test_what_does_not_fit_in_order() -> None:
    state = small_state()
    last = state.pop("8.bias")
    assert "there must be 14 tensors, got 13" in message(state)
    assert "there must be 14 tensors, got 15" in message({**state, "8.bias": last, "9.weight": last})
    swapped = OrderedDict((key.replace("running_mean", "running_mean2"), value) for key, value in small_state().items())
    assert "tensor 4 must be the running_mean of stem.conv_bn, got 1.running_mean2" in message(swapped)
    wide = {**small_state(), "0.weight": torch.zeros(8, 3, 3, 3)}
    assert "tensor 1, 0.weight must be 4x3x3x3, got 8x3x3x3" in message(wide)
    assert "8.weight must be 5x6x4x4 or 5x96, got 5x95" in message({**small_state(), "8.weight": torch.zeros(5, 95)})


def test_other_widths_are_named() -> None:
    model = randomised(ResNet(8, (2, 2, 2, 2), False, CLASSES))
    text = message(dict(model.state_dict()), build("resnet18", width="0.25"))
    assert "by torchvision's ResNet-18; " in text
    assert "conv1.weight must be 16x3x7x7, got 8x3x7x7" in text
    assert "missing" not in text


def test_values_are_checked() -> None:
    assert "0.weight must be floating point, got int64" in message(
        {**small_state(), "0.weight": torch.zeros(4, 3, 3, 3, dtype=torch.int64)}
    )
    huge = torch.full((4, 3, 3, 3), 1e300, dtype=torch.float64)
    assert "0.weight must be finite in float32" in message({**small_state(), "0.weight": huge})
    assert "0.weight must be finite" in message({**small_state(), "0.weight": torch.full((4, 3, 3, 3), torch.nan)})
    assert "1.running_var must not be negative" in message({**small_state(), "1.running_var": torch.full((4,), -1.0)})


def test_no_order_no_guess() -> None:
    checkpoint = parse(saved(small_state()), "small.pth")
    unordered = Checkpoint("small.safetensors", checkpoint.tensors, ordered=False)
    with pytest.raises(GraphError, match="14 missing") as caught:
        lay(small(), unordered)
    assert "in order" not in str(caught.value)


def test_networks_that_are_not_float() -> None:
    with pytest.raises(Unsupported, match=r"binarynet_cifar10: encode\.conv: weight must be float32"):
        lay(registry.build("binarynet_cifar10"), parse(saved(small_state()), "small.pth"))


def test_a_graph_with_other_blocks_has_no_naming() -> None:
    graph = registry.build("mobilenet_v2")
    renamed = replace(
        graph, nodes=tuple(replace(n, block="block2" if n.block == "block1" else n.block) for n in graph.nodes)
    )
    assert all(naming.of(renamed) is None for naming in NAMINGS)
