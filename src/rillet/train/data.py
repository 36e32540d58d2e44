"""Training batches: order and augmentation depend only on seed, epoch and index."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rillet.data.datasets import Dataset
from rillet.data.images import contract
from rillet.errors import GraphError
from rillet.ir.graph import Array, Graph, ImageSpec
from rillet.train.augment import Draws, augmented
from rillet.train.pictures import Pictures
from rillet.train.recipe import Augment

_From = TypeVar("_From")
_To = TypeVar("_To")
Hints = Callable[[Array], npt.NDArray[np.float32]]
"""What a teacher says of bytes of N x height x width x channels: N x classes."""


@dataclass(frozen=True)
class Batch:
    """Pixels as bytes, N x height x width x channels, and the index of each picture's class."""

    pixels: Array
    labels: npt.NDArray[np.int64]
    others: npt.NDArray[np.int64] | None = None
    """Of pictures that are mixed, the class of the other."""
    shares: npt.NDArray[np.float32] | None = None
    """And the share of the first."""
    hints: npt.NDArray[np.float32] | None = None
    """What the teacher says, N x classes."""


@dataclass(frozen=True, slots=True)
class Share:
    """One process of several: it takes its part of every batch."""

    rank: int = 0
    world: int = 1


def kept_size(graph: Graph, data: Dataset, augment: Augment) -> ImageSpec:
    """How pictures are kept before they are changed: as they lie in memory, or as the network's image and its crops."""
    spec = contract(graph)
    if data.stored is not None:
        return replace(spec, height=data.stored.shape[1], width=data.stored.shape[2])
    return replace(spec, height=round(spec.height / augment.share), width=round(spec.width / augment.share))


def ahead(make: Callable[[_From], _To], items: Iterable[_From], workers: int = 1) -> Iterator[_To]:
    """What `make` makes of each item, in order, made ahead by threads, a few at a time."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[_To]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class Batches:
    """The batches of every epoch. A picture of a batch is the same whatever the number of processes.

    An epoch is all pictures in a new order, but for those that do not fill a batch. `hints` are asked of each batch as
    it is trained on. Raises GraphError where there are fewer pictures than a batch takes, or a batch cannot be shared
    evenly.
    """

    def __init__(
        self,
        pictures: Pictures,
        size: int,
        augment: Augment,
        seed: int,
        share: Share = Share(),
        hints: Hints | None = None,
    ) -> None:
        if len(pictures) < size:
            raise GraphError(
                f"{pictures.data.name}: must have a batch of {size} pictures at least, got {len(pictures)}"
            )
        if size % share.world:
            raise GraphError(f"--batch must be a multiple of {share.world} processes, got {size}")
        if (augment.mixup or augment.cutmix) and size // share.world % 2:
            raise GraphError(f"--batch must be even in each process for pictures mixed in pairs, got {size}")
        self._hints = hints
        self.pictures, self.size, self.augment, self.seed, self.share = pictures, size, augment, seed, share
        self.steps = len(pictures) // size
        """Steps of an epoch."""
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def batch(self, epoch: int, step: int) -> Batch:
        """What this process takes of a batch; epochs and steps count from 0."""
        part = self.size // self.share.world
        mine = slice(self.share.rank * part, (self.share.rank + 1) * part)
        rows = self._order(epoch)[step * self.size : (step + 1) * self.size][mine]
        found = [self.pictures.near(int(row)) for row in rows]
        labels = self.pictures.data.labels[[index for _, index in found]]
        draws = Draws(self.seed, epoch, step, self.size, mine)
        pixels, mix = augmented(np.array([picture for picture, _ in found], np.uint8), self.augment, draws)
        hints = None if self._hints is None else self._hints(pixels)
        if mix is None:
            return Batch(pixels, labels, hints=hints)
        return Batch(pixels, labels, labels[mix.others], mix.shares, hints)

    def stream(self, epoch: int, start: int = 0, workers: int = 1) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on, made ahead by threads."""
        return ahead(lambda step: self.batch(epoch, step), range(start, self.steps), workers)

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.pictures))
