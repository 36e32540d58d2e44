"""Training batches: order and augmentation depend only on seed, epoch and index."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from rillet.data.datasets import Dataset
from rillet.data.images import contract
from rillet.errors import GraphError
from rillet.ir.graph import Array, Graph, ImageSpec
from rillet.train.pictures import Pictures
from rillet.train.recipe import Augment

_From = TypeVar("_From")
_To = TypeVar("_To")
_TRIES = 10
"""Boxes drawn for a crop until one lies within the picture, as in the published Inception code."""


@dataclass(frozen=True)
class Batch:
    """Pixels as bytes, N x height x width x channels, and the index of each picture's class."""

    pixels: Array
    labels: npt.NDArray[np.int64]


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

    An epoch is all pictures in a new order, but for those that do not fill a batch. Raises GraphError where there are
    fewer pictures than a batch takes, or a batch cannot be shared evenly.
    """

    def __init__(self, pictures: Pictures, size: int, augment: Augment, seed: int, share: Share = Share()) -> None:
        if len(pictures) < size:
            raise GraphError(
                f"{pictures.data.name}: must have a batch of {size} pictures at least, got {len(pictures)}"
            )
        if size % share.world:
            raise GraphError(f"--batch must be a multiple of {share.world} processes, got {size}")
        self.pictures, self.size, self.augment, self.seed, self.share = pictures, size, augment, seed, share
        self.steps = len(pictures) // size
        """Steps of an epoch."""
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def batch(self, epoch: int, step: int) -> Batch:
        """What this process takes of a batch; epochs and steps count from 0."""
        part = self.size // self.share.world
        mine = slice(self.share.rank * part, (self.share.rank + 1) * part)
        rows = self._order(epoch)[step * self.size : (step + 1) * self.size][mine]
        # Drawn for the whole batch, so that the parts of several processes are the batch of one.
        drawn = np.random.default_rng([self.seed, 1, epoch, step]).random((self.size, 3 + 2 * _TRIES))[mine]
        found = [self.pictures.near(int(row)) for row in rows]
        pixels = np.stack([changed(picture, self.augment, row) for (picture, _), row in zip(found, drawn, strict=True)])
        return Batch(pixels, self.pictures.data.labels[[index for _, index in found]])

    def stream(self, epoch: int, start: int = 0, workers: int = 1) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on, made ahead by threads."""
        return ahead(lambda step: self.batch(epoch, step), range(start, self.steps), workers)

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.pictures))


def changed(picture: Array, augment: Augment, drawn: npt.NDArray[np.float64]) -> Array:
    """A picture as it is trained on; `drawn` are numbers from 0 to 1: mirror, row, column, then pairs for crops."""
    if augment.crop_scale:
        picture = _resized_crop(picture, augment, drawn)
    if augment.pad:
        border = (augment.pad, augment.pad)
        picture = _crop(np.pad(picture, (border, border, (0, 0))), picture.shape[0], picture.shape[1], drawn)
    if augment.share < 1:
        height, width = (max(1, round(side * augment.share)) for side in picture.shape[:2])
        picture = _crop(picture, height, width, drawn)
    return picture[:, ::-1] if augment.flip and drawn[0] < 0.5 else picture


def _crop(picture: Array, height: int, width: int, drawn: npt.NDArray[np.float64]) -> Array:
    top = int(drawn[1] * (picture.shape[0] - height + 1))
    left = int(drawn[2] * (picture.shape[1] - width + 1))
    return picture[top : top + height, left : left + width]


def _resized_crop(picture: Array, augment: Augment, drawn: npt.NDArray[np.float64]) -> Array:
    """A box of random area and shape, brought to the picture's size (Szegedy et al., arXiv:1409.4842)."""
    height, width, channels = picture.shape
    least, most = augment.crop_scale
    narrow, wide = np.log(augment.crop_ratio)
    box = (0.0, 0.0, float(width), float(height))
    for area, ratio in drawn[3:].reshape(-1, 2):
        area = (least + (most - least) * area) * height * width
        shape = np.exp(narrow + (wide - narrow) * ratio)
        across, up = np.sqrt(area * shape), np.sqrt(area / shape)
        if across <= width and up <= height:
            top, left = drawn[1] * (height - up), drawn[2] * (width - across)
            box = (float(left), float(top), float(left + across), float(top + up))
            break
    image = Image.fromarray(np.ascontiguousarray(picture if channels > 1 else picture[:, :, 0]))
    made = image.resize((width, height), Image.Resampling.BILINEAR, box)
    return np.asarray(made, np.uint8).reshape(height, width, channels)
