"""Published checkpoints in the zoo's networks: the published accuracies, exactly."""

import functools
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet

from conftest import shared_file
from rillet.backends import reference
from rillet.importers.checkpoints import lay, read
from rillet.importers.checkpoints.laying import Laid
from rillet.transforms.fold import fold
from rillet.transforms.lowbit import signs, ternary_tensors
from rillet.zoo import registry
from torch_graph import cifar10_test, normalised, run, top1

IMAGES = 10_000
# Of the CIFAR-10 test set; parameters without the statistics of batch norms.
MICROBOTNETS = {
    "fd_mobilenetv3_x0_25.pth": ("0.25", 7799, 160_162),
    "fd_mobilenetv3_x0_32.pth": ("0.32", 7935, 236_658),
    "fd_mobilenet_v3_x0_50_acc81_91.pth": ("0.5", 8191, 538_138),
    "micro_large_conv_and_fc_ttq_x0_32.pytorch_state": ("0.32", 7279, 236_658),
    "micro_large_conv_ttq_x0_32.pytorch_state": ("0.32", 7285, 236_658),
}
# Ternary tensors, weights in them, share of zeros in thousandths, images right with signs.
TERNARY = {
    "micro_large_conv_and_fc_ttq_x0_32.pytorch_state": (31, 153_792, 872, 7230),
    "micro_large_conv_ttq_x0_32.pytorch_state": (19, 78_272, 915, 7233),
}
SQUEEZENET = "squeezenet/squeezenet_cifar10.pytorch_state"


@functools.cache
def laid(name: str) -> Laid:
    if name == SQUEEZENET:
        return lay(registry.build("squeezenet_cifar10"), read(shared_file(name)))
    network = registry.build("microbotnet", {"width": MICROBOTNETS[name][0]})
    return lay(network, read(shared_file(f"microbotnet/{name}")))


def quickest(names: Iterable[str]) -> list[ParameterSet | str]:
    """The last in the fast suite, all in the slow one."""
    *others, last = names
    return [*(pytest.param(name, marks=pytest.mark.slow) for name in others), last]


def trained_values(name: str) -> int:
    params = laid(name).graph.params.items()
    return sum(array.size for key, array in params if not key.endswith((".mean", ".variance")))


@pytest.mark.parametrize("name", quickest(MICROBOTNETS))
def test_microbotnet(name: str) -> None:
    found = laid(name)
    _, right, values = MICROBOTNETS[name]
    assert found.naming == "MicroBotNet"
    assert all(key.endswith(("total_ops", "total_params")) for key in found.unused)
    assert bool(found.unused) == ("x0_50" in name)
    assert trained_values(name) == values
    pixels, labels = cifar10_test()
    assert len(pixels) == IMAGES
    assert top1(found.graph, pixels, labels) == right


@pytest.mark.parametrize("name", quickest(TERNARY))
def test_signs_of_ternary_weights(name: str) -> None:
    graph = laid(name).graph
    tensors, weights, zeros, right = TERNARY[name]
    names = ternary_tensors(graph)
    assert len(names) == tensors
    assert sum(graph.params[key].size for key in names) == weights
    assert round(1000 * sum(int((graph.params[key] == 0).sum()) for key in names) / weights) == zeros
    assert top1(signs(graph, names), *cifar10_test()) == right


def test_networks_of_full_precision_have_no_ternary_weights() -> None:
    assert ternary_tensors(laid("fd_mobilenetv3_x0_32.pth").graph) == []


def test_squeezenet_on_some_images() -> None:
    found = laid(SQUEEZENET)
    assert (found.naming, found.unused) == ("MicroBotNet's authors' SqueezeNet", ())
    assert trained_values(SQUEEZENET) == 730_314
    pixels, labels = cifar10_test()
    # What the run over all images, below, finds of the first 200.
    assert top1(found.graph, pixels[:200], labels[:200]) == 181


@pytest.mark.slow
def test_squeezenet() -> None:
    assert top1(laid(SQUEEZENET).graph, *cifar10_test()) == 8746


@pytest.mark.parametrize("name", ["fd_mobilenetv3_x0_25.pth", SQUEEZENET])
def test_the_reference_says_the_same(name: str) -> None:
    """The float64 reference, PyTorch's functions and the folded network agree."""
    graph = laid(name).graph
    images = normalised(graph, cifar10_test()[0][:3])
    by_torch = run(graph, images, torch.float64)
    folded = fold(graph)
    for image, expected in zip(images, by_torch, strict=True):
        scores = reference.outputs(graph, image)[0].ravel()
        np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(reference.outputs(folded, image)[0].ravel(), expected, rtol=1e-4, atol=1e-4)
