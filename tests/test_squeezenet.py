"""The SqueezeNet for CIFAR-10, whose published description counts its parameters."""

import math

from rillet.ir.ops import BatchNorm, Conv
from rillet.transforms.fold import fold
from rillet.zoo import registry


def test_the_published_count_of_parameters() -> None:
    graph = registry.build("squeezenet_cifar10")
    counted = ("weight", "bias", "gamma", "beta")
    params = [param for node in graph.nodes for param in graph.node_params(node) if param.name in counted]
    assert sum(math.prod(param.shape) for param in params) == 730_314
    assert graph.by_name[graph.outputs[0]].shape.elements == 10


def test_batch_norms_before_convolutions_stay() -> None:
    graph = registry.build("squeezenet_cifar10")
    folded = fold(graph)
    assert sum(isinstance(node.op, BatchNorm) for node in graph.nodes) == 1 + 3 * 8
    depthwise = [n for n in folded.nodes if isinstance(n.op, Conv) and n.op.groups > 1]
    assert len(depthwise) == 3 * 8
