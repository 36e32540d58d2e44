"""A supernet: many networks that share their weights, each the first channels and the innermost taps of what all have.

A step trains the largest network on the labels, and by its answers the smallest one and one drawn (the sandwich rule
and in-place distillation of Yu and Huang, arXiv:1903.05134). Statistics of batch norms are no network's but the one's
that is asked: they are gathered anew before it is scored.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.func import functional_call

from rillet.data.datasets import Dataset, subset
from rillet.data.images import contract
from rillet.errors import GraphError
from rillet.ir.graph import Graph, ImageSpec
from rillet.train import checkpoint, start
from rillet.train.data import Batch, Batches, Share, kept_size
from rillet.train.inputs import to_input
from rillet.train.losses import batch_loss
from rillet.train.modules import TorchNetwork, to_module
from rillet.train.optim import make_optimizer, rate_at
from rillet.train.pictures import Pictures
from rillet.train.recipe import Recipe
from rillet.train.testing import loss_and_top1

DRAWN = 1
"""Networks of a step beside the largest and the smallest."""
RECALIBRATED = (6, 256)
"""Batches, and pictures of each, from which a network's batch norms take their statistics."""
JUDGED = 2000
"""Held-back pictures that a network is scored on."""
_MODULES = 64
"""Modules kept at a time."""
_CPU = torch.device("cpu")
_LAYOUT = torch.channels_last


@dataclass(frozen=True, slots=True)
class Member:
    """A network of a supernet."""

    graph: Graph
    """Without weights."""
    places: Mapping[str, str]
    """By the block's name in the graph, its name in the supernet: blocks of one name share their weights."""
    size: float
    """By which the largest and the smallest are known, such as multiply-accumulates."""


class Supernet(nn.Module):
    """The weights that networks share; each is at least as large as any of them needs."""

    def __init__(self, members: Sequence[Member], classes: tuple[str, ...], seed: int) -> None:
        super().__init__()
        self.members = [replace(one, graph=start.logits(_with_labels(one.graph, classes))) for one in members]
        self.module = lru_cache(_MODULES)(self._module)
        order = sorted(range(len(members)), key=lambda i: (members[i].size, i))
        self.smallest, self.largest = order[0], order[-1]
        sizes: dict[str, tuple[int, ...]] = {}
        firsts: dict[str, tuple[int, Tensor]] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for i in range(len(members)):
                for name, value in self.module(i).named_parameters():
                    key, shape = _key(self.members[i], name), tuple(value.shape)
                    if key in sizes and len(sizes[key]) != len(shape):
                        raise GraphError(f"{key} must have {len(sizes[key])} dimensions in every network, got {shape}")
                    sizes[key] = tuple(map(max, sizes.get(key, shape), shape))
                    if key not in firsts or value.numel() > firsts[key][0]:
                        firsts[key] = value.numel(), value.detach()
            # As the largest layer of the name begins.
            values = [_begun(sizes[key], firsts[key][1]) for key in sizes]
        self.places = {key: at for at, key in enumerate(sizes)}
        self.weights = nn.ParameterList(values)

    def _module(self, member: int) -> TorchNetwork:
        return to_module(self.members[member].graph).to(memory_format=_LAYOUT)  # pyright: ignore[reportCallIssue]

    def weights_of(self, member: int) -> dict[str, Tensor]:
        """What a member has of the shared weights, by the names of its module's parameters."""
        one = self.members[member]
        found = self.module(member).named_parameters()
        return {name: _part(self.weights[self.places[_key(one, name)]], value.shape) for name, value in found}

    def forward(self, member: int, image: Tensor) -> Tensor:
        """The logits of a member, N x classes, for images of N x C x H x W of its resolution."""
        made = functional_call(self.module(member), self.weights_of(member), (image,))
        assert isinstance(made, Tensor)
        return made

    def spec(self, member: int) -> ImageSpec:
        """The input contract of a member."""
        return contract(self.members[member].graph)


def _with_labels(graph: Graph, classes: tuple[str, ...]) -> Graph:
    return graph.with_image(replace(contract(graph), labels=classes))


def _key(member: Member, parameter: str) -> str:
    block, _, rest = parameter.partition(".")
    return f"{member.places.get(block, block)}.{rest}"


def _begun(shape: tuple[int, ...], like: Tensor) -> nn.Parameter:
    """Values of `shape` drawn as those of `like` were: normal of its deviation; vectors all equal."""
    if like.ndim < 2:
        return nn.Parameter(torch.full(shape, float(like.flatten()[0])))
    return nn.Parameter(torch.randn(shape) * like.std(correction=0))


def _part(weight: Tensor, shape: torch.Size) -> Tensor:
    """The first channels and the innermost taps of a weight."""
    for dim, length in enumerate(shape):
        at = (weight.shape[dim] - length) // 2 if dim >= 2 else 0
        weight = weight.narrow(dim, at, length)
    return weight


class Diverged(GraphError):
    """A loss was no number."""


class Training:
    """The training of a supernet in a folder; one that was killed goes on from its last checkpoint, bit for bit.

    Raises GraphError for a folder that holds another one.
    """

    def __init__(self, members: Sequence[Member], data: Dataset, recipe: Recipe, seed: int, out: Path) -> None:
        if not members:
            raise GraphError("a supernet must have a network, got none")
        self.recipe, self.seed, self.out = recipe, seed, out
        self.net = Supernet(members, data.classes, seed)
        kept = Pictures(data, kept_size(self.net.members[self.net.largest].graph, data, recipe.augment))
        self.batches = Batches(kept, min(recipe.run.batch, len(data)), recipe.augment, seed)
        self.steps = self.batches.steps * recipe.run.epochs
        self.step = 0
        self.optimizer = make_optimizer(self.net, recipe.optimizer)
        first = self.net.members[0].graph
        drawn = checkpoint.identity_of(first, data, data, recipe, seed, 1)
        self.identity = {**drawn, "network": f"supernet of {len(members)} networks, the first {first.name}"}
        found = checkpoint.load(out)
        if found is not None:
            checkpoint.check_identity(out, self.identity, found[0])
            self._restore(found[1])

    def _restore(self, state: Mapping[str, Any]) -> None:
        try:
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise GraphError(f"{self.out / checkpoint.CHECKPOINT}: must be this supernet's: {reason}") from None

    def save(self) -> None:
        """Writes the checkpoint."""
        state = {"step": self.step, "net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        checkpoint.save(self.out, self.identity, state)

    def run(self) -> Iterator[float]:
        """Trains to the end: the loss of the largest network after each step. Raises Diverged for one not finite."""
        while self.step < self.steps:
            epoch, at = divmod(self.step, self.batches.steps)
            for batch in self.batches.stream(epoch, at):
                yield self._train_step(batch)

    def _train_step(self, batch: Batch) -> float:
        net = self.net
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.recipe, self.step, self.batches.steps)
        rng = np.random.default_rng([self.seed, 2, self.step])
        others = [net.smallest, *(int(i) for i in rng.integers(len(net.members), size=DRAWN))]
        self.optimizer.zero_grad()
        made = net(net.largest, self._input(batch, net.largest))
        loss = batch_loss(made, batch, self.recipe)
        if not torch.isfinite(loss):
            raise Diverged(f"supernet: loss must be finite, got {loss.item():g} at step {self.step + 1}")
        answers = made.detach().softmax(1)
        share = 1 / (1 + len(others))
        (loss * share).backward()
        for one in others:
            (F.cross_entropy(net(one, self._input(batch, one)), answers) * share).backward()
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def _input(self, batch: Batch, member: int) -> Tensor:
        return to_input(batch.pixels, self.net.spec(member), _CPU, _LAYOUT)

    def scores(self, held: Dataset) -> Iterator[float]:
        """The top-1 of each network on the first held-back pictures, its batch norms' statistics gathered anew."""
        judged = subset(held, np.arange(min(JUDGED, len(held))))
        count, size = RECALIBRATED
        some = Batches(self.batches.pictures, min(size, len(self.batches.pictures)), self.batches.augment, self.seed)
        batches = [some.batch(0, step) for step in range(min(count, some.steps))]
        for member in range(len(self.net.members)):
            yield self._score(member, judged, batches)

    def _score(self, member: int, judged: Dataset, batches: Sequence[Batch]) -> float:
        module, spec = self.net.module(member), self.net.spec(member)
        weights = {name: value.detach() for name, value in self.net.weights_of(member).items()}
        norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
        usual = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all batches
        with torch.no_grad():
            for batch in batches:
                functional_call(module, weights, (self._input(batch, member),))
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
        bound = _Bound(module, weights)
        pixels: Callable[[Any], Tensor] = lambda found: to_input(found, spec, _CPU, _LAYOUT)  # noqa: E731
        _, top1 = loss_and_top1(bound, Pictures(judged, spec), RECALIBRATED[1], pixels, Share())
        module.train()
        return top1


class _Bound(nn.Module):
    """A module with other weights than its own."""

    def __init__(self, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.module, self.weights = module, dict(weights)

    def forward(self, image: Tensor) -> Any:
        """What the module makes of images."""
        return functional_call(self.module, self.weights, (image,))
