"""Trained ternary quantisation: weights of three values, two of them learnt, in chosen layers.

Zhu et al. 2016, arXiv:1612.01064. A weight w of full precision, kept in training only, is used as +p where it is above
t * max|w|, as -n where it is below the opposite, and as 0 between; p and n are learned for each tensor.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rillet.errors import GraphError
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph
from rillet.train.recipe import Ternary
from rillet.train.records import TernaryReport
from rillet.transforms.lowbit import census, large_layers

LEAST_SCALE = 1e-6
"""Scales stay above this, so that a tensor keeps a positive and a negative value."""


def chosen_layers(graph: Graph, said: Ternary) -> tuple[str, ...]:
    """The convolutions and dense layers whose weights become ternary, in order.

    By the rules of Notes on MicroBotNet: more than `more_than` weights, and neither in the first nor in the last block
    (where nodes have no blocks: not the first layer nor the last). Raises GraphError for a name that is no such layer,
    and where none is left.
    """
    if said.layers:
        known = {node.name for node in graph.nodes if has_weights(node.op)}
        for name in said.layers:
            if name not in known:
                raise GraphError(f"{graph.name}: {name}: must be a convolution or dense layer to become ternary")
        return said.layers
    return large_layers(graph, said.more_than, said.squeeze_excite)


class TernaryWeight(nn.Module):
    """A tensor of full precision seen as three values; `positive` and `negative` are the learned scales."""

    def __init__(self, threshold: float, positive: float = 1.0, negative: float = 1.0) -> None:
        super().__init__()
        self.threshold = threshold
        self.positive = nn.Parameter(torch.tensor(positive))
        self.negative = nn.Parameter(torch.tensor(negative))

    def forward(self, weight: Tensor) -> Tensor:
        """The ternary tensor."""
        return _Quantized.apply(weight, self.positive, self.negative, self.threshold)


class _Quantized(torch.autograd.Function):
    """The three values, and the three gradients of the source."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        """+p, 0 or -n for each weight."""
        weight, positive, negative, threshold = args
        delta = threshold * weight.abs().max()
        above, below = weight > delta, weight < -delta
        ctx.save_for_backward(above, below, positive, negative)
        return positive * above - negative * below

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        """For a weight the gradient times p, 1 or n, by where it lies; for p the sum where it is used, for n less it.

        The paper prints the last sum without its sign; the chain rule has it, since -n is what is used.
        """
        above, below, positive, negative = ctx.saved_tensors
        grad = grads[0]
        factor = torch.where(above, positive, torch.where(below, negative, torch.ones_like(positive)))
        return grad * factor, (grad * above).sum(), -(grad * below).sum(), None


def make_ternary(module: nn.Module, layers: Sequence[str], said: Ternary) -> None:
    """Makes the weights of the submodules `layers` ternary; what they are now is what full precision begins with.

    Submodules that share a weight with one of them see the same three values of it.
    """
    for name in layers:
        layer = module.get_submodule(name)
        if parametrize.is_parametrized(layer, "weight"):
            continue  # with one that shares it
        weight = layer.get_parameter("weight")
        ternary = TernaryWeight(said.threshold, *(_means(weight, said.threshold) if said.begin == "mean" else ()))
        for part in list(module.modules()):
            if dict(part.named_parameters(recurse=False)).get("weight") is weight:
                parametrize.register_parametrization(part, "weight", ternary)


@torch.no_grad()
def _means(weight: Tensor, threshold: float) -> tuple[float, float]:
    """The mean sizes of the weights above and below what becomes 0; 1 where there is none."""
    delta = threshold * weight.abs().max()
    sides = (weight[weight > delta], -weight[weight < -delta])
    found = [float(side.mean()) if len(side) else 1.0 for side in sides]
    return found[0], found[1]


def scale_rates(module: nn.Module, said: Ternary) -> dict[nn.Parameter, float]:
    """The scales of a module, and the learning rate of each as a factor of the recipe's.

    A step of Adam is about the rate, whatever the gradient: times what a scale begins with, it is one share of all.
    """
    parts = [part for part in module.modules() if isinstance(part, TernaryWeight)]
    return {scale: said.scale_rate * scale.item() for part in parts for scale in (part.positive, part.negative)}


@torch.no_grad()
def clip_scales(module: nn.Module) -> None:
    """Keeps every scale positive; called after each step."""
    for part in module.modules():
        if isinstance(part, TernaryWeight):
            part.positive.clamp_(min=LEAST_SCALE)
            part.negative.clamp_(min=LEAST_SCALE)


@torch.no_grad()
def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """The state_dict of the module as it computes, its ternary weights in place of those that are learned."""
    state = {key: value for key, value in module.state_dict().items() if ".parametrizations." not in key}
    for name, part in module.named_modules():
        if parametrize.is_parametrized(part, "weight"):
            weight = part.weight
            assert isinstance(weight, Tensor)
            state[f"{name}.weight"] = weight
    return state


def report(graph: Graph, layers: Sequence[str]) -> TernaryReport:
    """Counts a network with weights whose `layers` are ternary."""
    return census(graph, layers)
