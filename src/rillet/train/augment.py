"""Pictures as they are trained on: crops, mirror images, RandAugment, erased boxes, and two pictures as one.

All work on a whole batch of bytes, N x height x width x channels, and on numbers from 0 to 1 drawn for each picture.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from rillet.train import randaugment
from rillet.train.randaugment import Bytes
from rillet.train.recipe import Augment

Drawn = npt.NDArray[np.float64]
_TRIES = 10
"""Boxes drawn for a crop until one lies within the picture, as in the published Inception code."""
CROP_DRAWS = 3 + 2 * _TRIES
"""Numbers that `changed` takes for a picture: mirror, row, column, then pairs for crops."""
ERASE_DRAWS = 5
"""Numbers that `erased` takes: whether, area, shape, row, column."""
MIX_DRAWS = 4
"""Numbers that `mixed` takes: whether, which way, row, column."""
_ERASED_AREA, _ERASED_SHAPE = (0.02, 0.4), (0.3, 1 / 0.3)
"""Shares of the area, and heights to widths, of boxes that are erased, as Zhong et al. have them."""
_PARTS = 256
"""A share of a picture in a mixture is a multiple of one in so many."""


@dataclass(frozen=True)
class Mixed:
    """Pictures, the rows of those they are mixed with, and the share of each that is its own."""

    pixels: Bytes
    others: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float32]


def changed(pictures: Bytes, said: Augment, drawn: Drawn) -> Bytes:
    """Crops and mirror images; drawn: N x CROP_DRAWS."""
    if said.crop_scale:
        pictures = np.stack([_resized_crop(one, said, row) for one, row in zip(pictures, drawn, strict=True)])
    if said.pad:
        height, width = pictures.shape[1:3]
        border = (said.pad, said.pad)
        pictures = _cropped(np.pad(pictures, ((0, 0), border, border, (0, 0))), height, width, drawn)
    if said.share < 1:
        height, width = (max(1, round(side * said.share)) for side in pictures.shape[1:3])
        pictures = _cropped(pictures, height, width, drawn)
    if said.flip:
        mirrored = drawn[:, 0] < 0.5
        pictures = pictures.copy()
        pictures[mirrored] = pictures[mirrored, :, ::-1]
    return pictures


def _cropped(pictures: Bytes, height: int, width: int, drawn: Drawn) -> Bytes:
    tops = (drawn[:, 1] * (pictures.shape[1] - height + 1)).astype(np.int64)
    lefts = (drawn[:, 2] * (pictures.shape[2] - width + 1)).astype(np.int64)
    made = np.empty((len(pictures), height, width, pictures.shape[3]), np.uint8)
    for out, picture, top, left in zip(made, pictures, tops, lefts, strict=True):
        out[:] = picture[top : top + height, left : left + width]
    return made


def _resized_crop(picture: Bytes, said: Augment, drawn: Drawn) -> Bytes:
    """A box of random area and shape, brought to the picture's size (Szegedy et al., arXiv:1409.4842)."""
    height, width, channels = picture.shape
    least, most = said.crop_scale
    narrow, wide = np.log(said.crop_ratio)
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


def strengthened(pictures: Bytes, said: Augment, drawn: Drawn) -> Bytes:
    """RandAugment (Cubuk et al., arXiv:1909.13719): `said.randaugment` operations in turn; drawn: N x 2 for each."""
    for which, sign in drawn.reshape(len(pictures), -1, 2).transpose(1, 2, 0):
        chosen = (which * len(randaugment.OPERATIONS)).astype(np.int64)
        made = pictures.copy()
        for number, operation in enumerate(randaugment.OPERATIONS):
            for negative in (False, True):
                rows = np.flatnonzero((chosen == number) & ((sign < 0.5) == negative))
                if len(rows):
                    made[rows] = randaugment.applied(operation, pictures[rows], said.magnitude, negative)
        pictures = made
    return pictures


def erased(pictures: Bytes, said: Augment, drawn: Drawn, noise: Bytes) -> Bytes:
    """Random erasing (Zhong et al., arXiv:1708.04896): in a share `said.erase` of pictures a box becomes noise.

    drawn: N x ERASE_DRAWS; noise: bytes of the pictures' shape.
    """
    height, width = pictures.shape[1:3]
    made = pictures.copy()
    narrow, wide = np.log(_ERASED_SHAPE)
    for out, random, (whether, area, shape, row, column) in zip(made, noise, drawn, strict=True):
        if whether < said.erase:
            area = (_ERASED_AREA[0] + (_ERASED_AREA[1] - _ERASED_AREA[0]) * area) * height * width
            shape = np.exp(narrow + (wide - narrow) * shape)
            up, across = (
                min(side, max(1, round(long)))
                for side, long in ((height, np.sqrt(area * shape)), (width, np.sqrt(area / shape)))
            )
            top, left = int(row * (height - up + 1)), int(column * (width - across + 1))
            box = (slice(top, top + up), slice(left, left + across))
            out[box] = random[box]
    return made


def mixed(pictures: Bytes, said: Augment, drawn: Drawn, mixup: Drawn, cutmix: Drawn) -> Mixed:
    """Each picture with its neighbour, the one after or before it: by mixup (Zhang et al., arXiv:1710.09412) or cutmix
    (Yun et al., arXiv:1905.04899), by each in half of the cases where the recipe has both.

    drawn: N x MIX_DRAWS; mixup, cutmix: N shares of Beta distributions.
    """
    others = np.arange(len(pictures), dtype=np.int64) ^ 1
    whole, way = drawn[:, 0] >= said.mix_probability, drawn[:, 1] < 0.5
    boxed = way if said.mixup and said.cutmix else np.full(len(pictures), bool(said.cutmix))
    parts = np.where(whole | boxed, _PARTS, np.rint(mixup * _PARTS)).astype(np.uint16)[:, None, None, None]
    # In whole numbers: half a step is rounded up.
    made = pictures.astype(np.uint16) * parts + pictures[others] * (_PARTS - parts)
    made = ((made + _PARTS // 2) // _PARTS).astype(np.uint8)
    shares = (parts.reshape(-1) / _PARTS).astype(np.float32)
    height, width = pictures.shape[1:3]
    for i in np.flatnonzero(boxed & ~whole):
        side = np.sqrt(1 - cutmix[i])
        (top, bottom), (left, right) = (
            _span(long, side, at) for long, at in ((height, drawn[i, 2]), (width, drawn[i, 3]))
        )
        made[i, top:bottom, left:right] = pictures[others[i], top:bottom, left:right]
        shares[i] = 1 - (bottom - top) * (right - left) / (height * width)
    return Mixed(made, others, shares)


def _span(long: int, share: float, at: float) -> tuple[int, int]:
    """From where to where a box of a share of a side lies, its middle drawn; what is outside is cut off."""
    half, middle = int(long * share) // 2, int(at * long)
    return max(0, middle - half), min(long, middle + half)


@dataclass(frozen=True, slots=True)
class Draws:
    """Numbers of a batch by seed, epoch and step: drawn for the whole of it, of which a process takes `mine`."""

    seed: int
    epoch: int
    step: int
    size: int
    mine: slice

    def numbers(self, purpose: int, each: int) -> Drawn:
        """`each` numbers from 0 to 1 for every picture."""
        return self._draw(purpose).random((self.size, each))[self.mine]

    def shares(self, purpose: int, alpha: float) -> Drawn:
        """A number of the distribution Beta(alpha, alpha) for every picture; 1 for an alpha of 0."""
        return self._draw(purpose).beta(alpha, alpha, self.size)[self.mine] if alpha else np.ones(self.size)[self.mine]

    def bytes(self, purpose: int, shape: tuple[int, ...]) -> Bytes:
        """Bytes of this shape for every picture."""
        return self._draw(purpose).integers(0, 256, (self.size, *shape), np.uint8)[self.mine]

    def _draw(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, self.epoch, self.step])


_CROPS, _STRENGTH, _ERASE, _NOISE, _MIX, _MIXUP, _CUTMIX = range(1, 8)
"""What numbers are drawn for; 0 is the order of an epoch."""


def augmented(pictures: Bytes, said: Augment, draws: Draws) -> tuple[Bytes, Mixed | None]:
    """The pictures as they are trained on, and how they are mixed, where they are."""
    made = changed(pictures, said, draws.numbers(_CROPS, CROP_DRAWS))
    if said.randaugment:
        made = strengthened(made, said, draws.numbers(_STRENGTH, 2 * said.randaugment))
    if said.erase:
        made = erased(made, said, draws.numbers(_ERASE, ERASE_DRAWS), draws.bytes(_NOISE, made.shape[1:]))
    if not said.mixup and not said.cutmix:
        return made, None
    mixup, cutmix = draws.shares(_MIXUP, said.mixup), draws.shares(_CUTMIX, said.cutmix)
    both = mixed(made, said, draws.numbers(_MIX, MIX_DRAWS), mixup, cutmix)
    return both.pixels, both
