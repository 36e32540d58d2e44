"""Optimisers, the learning rate of every step, and the running average of the weights."""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from rillet.train.recipe import Optimizer, Recipe

FACTOR = "factor"
"""The key of a group of parameters that have a learning rate of their own: times the recipe's."""


def make_optimizer(
    module: nn.Module, said: Optimizer, scales: Mapping[nn.Parameter, float] | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a recipe for the parameters of `module` that are trained.

    Weight decay is L2 (sgd, rmsprop) or decoupled (adamw, Loshchilov and Hutter, arXiv:1711.05101). Single numbers,
    such as the scales of ternary weights, never decay, nor do `scales`, which have the learning rate times a factor.
    """
    factors = scales or {}
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    least = 1 if said.decay_vectors else 2
    plain = [p for p in trained if factors.get(p, 1.0) == 1.0]
    decaying = [p for p in plain if p.ndim >= least and p not in factors]
    groups: list[dict[str, Any]] = [
        {"params": decaying, "weight_decay": said.weight_decay},
        {"params": [p for p in plain if p.ndim < least or p in factors], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    apart = [(p, factors[p]) for p in trained if factors.get(p, 1.0) != 1.0]
    groups += [{"params": [p], "weight_decay": 0.0, FACTOR: factor} for p, factor in apart]
    match said.name:
        case "sgd":
            # Fused: one pass over each tensor, half of the time, the same sums.
            return torch.optim.SGD(groups, lr=0.0, momentum=said.momentum, nesterov=said.nesterov, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, 0.0, said.alpha, said.epsilon, momentum=said.momentum)
        case "adamw":
            return torch.optim.AdamW(groups, 0.0, eps=said.epsilon)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every parameter the learning rate of a step, or its factor of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(FACTOR, 1.0)


def rate_at(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0 over all epochs."""
    rate = recipe.rate
    peak = rate.base * recipe.run.batch / rate.per_batch
    warmup_steps = rate.warmup_epochs * steps_per_epoch
    if step < warmup_steps:
        return peak * min(1.0, (step + 1) / warmup_steps)
    match rate.shape:
        case "constant":
            return peak
        case "step":
            return peak * rate.factor ** math.floor(step / steps_per_epoch / rate.every_epochs)
        case "cosine":
            epochs = rate.over_epochs or recipe.run.epochs
            length = max(epochs * steps_per_epoch - warmup_steps, 1)
            return peak * (1 + math.cos(math.pi * (step - warmup_steps) / length)) / 2


class Average:
    """A copy of a module that follows it: after each step, decay * copy + (1 - decay) * module, statistics included.

    The decay rises to its value as (1 + n) / (10 + n) over n steps, as TensorFlow's ExponentialMovingAverage has it, so
    that a short run is not the average of its first weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.decay, self.steps = decay, 0
        self._follows: nn.Module | None = None
        self._pairs: list[tuple[Tensor, Tensor]] = []
        """Every value of the copy and of the module, which change in place."""

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Follows one step of `module`."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        if self._follows is not module:
            self._follows, self._pairs = module, list(zip(_values(self.module), _values(module), strict=True))
        real = [pair for pair in self._pairs if pair[0].is_floating_point()]
        # All at once: a third of the time of one by one.
        get_ema_multi_avg_fn(decay)([mine for mine, _ in real], [other for _, other in real], None)
        for mine, other in self._pairs:
            if not mine.is_floating_point():
                mine.copy_(other)


def _values(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
