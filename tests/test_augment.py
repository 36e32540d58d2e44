"""Augmentation of whole batches: RandAugment beside Pillow, crops beside the plain way, boxes and mixtures."""

import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from rillet.train.augment import (
    CROP_DRAWS,
    ERASE_DRAWS,
    MIX_DRAWS,
    Draws,
    augmented,
    changed,
    erased,
    mixed,
    strengthened,
)
from rillet.train.randaugment import OPERATIONS, Operation, applied
from rillet.train.recipe import Augment

MEASURED = (Operation.AUTOCONTRAST, Operation.EQUALIZE, Operation.SOLARIZE)
"""They have no strength, or turn the greatest level at none."""
DRAW = np.random.default_rng(0)


def pictures(count: int = 12, height: int = 20, width: int = 24, channels: int = 3) -> np.ndarray:
    """Noise, ramps and flat pictures."""
    draw = np.random.default_rng(count * height * channels)
    made = draw.integers(0, 256, (count, height, width, channels)).astype(np.uint8)
    made[1::3] = made[1::3] // 5 + np.arange(width, dtype=np.uint8)[:, None]
    made[2:3] = 77
    return made


def pillow(operation: Operation, picture: np.ndarray, magnitude: int, negative: bool) -> np.ndarray:
    """What torchvision's RandAugment asks of Pillow."""
    height, width, channels = picture.shape
    image = Image.fromarray(picture if channels > 1 else picture[:, :, 0])
    strength = magnitude / 30
    sign = -1 if negative else 1
    factor = 1 + 0.9 * strength * sign

    def moved(*matrix: float) -> Image.Image:
        return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)

    match operation:
        case Operation.IDENTITY:
            made = image
        case Operation.AUTOCONTRAST:
            made = ImageOps.autocontrast(image)
        case Operation.EQUALIZE:
            made = ImageOps.equalize(image)
        case Operation.SOLARIZE:
            made = ImageOps.solarize(image, 255 * (1 - strength))  # type: ignore[arg-type]
        case Operation.POSTERIZE:
            made = ImageOps.posterize(image, 8 - round(4 * strength))
        case Operation.COLOR:
            made = ImageEnhance.Color(image).enhance(factor)
        case Operation.CONTRAST:
            made = ImageEnhance.Contrast(image).enhance(factor)
        case Operation.BRIGHTNESS:
            made = ImageEnhance.Brightness(image).enhance(factor)
        case Operation.SHARPNESS:
            made = ImageEnhance.Sharpness(image).enhance(factor)
        case Operation.ROTATE:
            made = image.rotate(30 * strength * sign, Image.Resampling.NEAREST)
        case Operation.SHEAR_X:
            made = moved(1, 0.3 * strength * sign, 0, 0, 1, 0)
        case Operation.SHEAR_Y:
            made = moved(1, 0, 0, 0.3 * strength * sign, 1, 0)
        case Operation.TRANSLATE_X:
            made = moved(1, 0, round(150 / 331 * strength * sign * width), 0, 1, 0)
        case Operation.TRANSLATE_Y:
            made = moved(1, 0, 0, 0, 1, round(150 / 331 * strength * sign * height))
    return np.asarray(made).reshape(picture.shape)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_are_those_of_pillow(operation: Operation, channels: int) -> None:
    given = pictures(channels=channels)
    for magnitude in (0, 9, 17, 30):
        for negative in (False, True):
            made = applied(operation, given, magnitude, negative)
            wanted = np.stack([pillow(operation, one, magnitude, negative) for one in given])
            differing = (made != wanted).any(-1).mean()
            if operation is Operation.ROTATE:
                assert differing < 0.02  # Pillow steps along a row in fixed point
            else:
                assert np.abs(made.astype(int) - wanted).max() <= 1 and made.dtype == np.uint8
            if magnitude == 0 and operation not in MEASURED:
                assert np.array_equal(made, given)


def plainly(picture: np.ndarray, said: Augment, drawn: np.ndarray) -> np.ndarray:
    """One picture at a time, as the words say it."""
    height, width, _ = picture.shape
    if said.pad:
        around = np.zeros((height + 2 * said.pad, width + 2 * said.pad, 3), np.uint8)
        around[said.pad : -said.pad, said.pad : -said.pad] = picture
        top, left = int(drawn[1] * (2 * said.pad + 1)), int(drawn[2] * (2 * said.pad + 1))
        picture = around[top : top + height, left : left + width]
    if said.share < 1:
        up, across = round(height * said.share), round(width * said.share)
        top, left = int(drawn[1] * (height - up + 1)), int(drawn[2] * (width - across + 1))
        picture = picture[top : top + up, left : left + across]
    return picture[:, ::-1] if said.flip and drawn[0] < 0.5 else picture


@pytest.mark.parametrize("said", [Augment(), Augment(flip=True, pad=4), Augment(flip=True, share=0.6), Augment(pad=1)])
def test_crops_and_mirror_images_are_those_of_each_picture_alone(said: Augment) -> None:
    given, drawn = pictures(40), DRAW.random((40, CROP_DRAWS))
    before = given.copy()
    wanted = np.stack([plainly(one, said, row) for one, row in zip(given, drawn, strict=True)])
    assert np.array_equal(changed(given, said, drawn), wanted)
    assert np.array_equal(given, before)


def test_randaugment_takes_every_operation_equally_often_and_in_turn() -> None:
    given = np.broadcast_to(pictures(1), (2800, 20, 24, 3))
    drawn = DRAW.random((2800, 2))
    made = strengthened(given, Augment(randaugment=1, magnitude=15), drawn)
    for number, operation in enumerate(OPERATIONS):
        rows = np.flatnonzero((drawn[:, 0] * 14).astype(int) == number)
        assert 130 < len(rows) < 270
        ways = [applied(operation, given[:1], 15, negative)[0] for negative in (True, False)]
        for row in rows[:5]:
            assert np.array_equal(made[row], ways[int(drawn[row, 1] >= 0.5)])
    twice = strengthened(given[:9], Augment(randaugment=2, magnitude=15), np.hstack([drawn[:9], drawn[9:18]]))
    once = strengthened(given[:9], Augment(randaugment=1, magnitude=15), drawn[:9])
    assert np.array_equal(twice, strengthened(once, Augment(randaugment=1, magnitude=15), drawn[9:18]))


def test_a_box_of_some_pictures_becomes_noise() -> None:
    given, noise = np.zeros((2000, 16, 20, 3), np.uint8), np.full((2000, 16, 20, 3), 9, np.uint8)
    made = erased(given, Augment(erase=0.25), DRAW.random((2000, ERASE_DRAWS)), noise)
    touched = made.any((1, 2, 3))
    assert 0.2 < touched.mean() < 0.3 and not given.any()
    for one in made[touched]:
        rows, columns = np.flatnonzero(one.any((1, 2))), np.flatnonzero(one.any((0, 2)))
        box = one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (box == 9).all() and one.sum() == box.sum()
        assert 0.005 < box[..., 0].size / 320 < 0.5


def test_mixtures_say_how_much_is_whose() -> None:
    given = pictures(400)
    drawn, shares = DRAW.random((400, MIX_DRAWS)), DRAW.beta(0.4, 0.4, 400)
    made = mixed(given, Augment(mixup=0.4), drawn, shares, np.ones(400))
    assert np.array_equal(made.others, [i + 1 if i % 2 == 0 else i - 1 for i in range(400)])
    whole = made.shares[:, None, None, None].astype(np.float64)
    assert np.abs(made.shares - shares).max() <= 1 / 512
    assert np.array_equal(made.pixels, np.floor(whole * given + (1 - whole) * given[made.others] + 0.5))
    boxes = mixed(given, Augment(cutmix=1.0), drawn, np.ones(400), shares)
    for one, picture, other, share in zip(boxes.pixels, given, given[boxes.others], boxes.shares, strict=True):
        mine, its = (one == picture).all(-1), (one == other).all(-1)
        assert (mine | its).all() and math.isclose(mine.mean(), share, abs_tol=0.05 + (mine & its).mean())
    assert 0.3 < boxes.shares.mean() < 0.8
    both = mixed(given, Augment(mixup=0.4, cutmix=1.0, mix_probability=0.6), drawn, shares, shares)
    ways = [
        np.array([np.array_equal(a, b) for a, b in zip(both.pixels, way, strict=True)])
        for way in (given, made.pixels, boxes.pixels)
    ]
    assert np.logical_or.reduce(ways).all() and 0.3 < ways[0].mean() < 0.6
    assert np.array_equal(both.pixels[drawn[:, 0] >= 0.6], given[drawn[:, 0] >= 0.6])
    assert (both.shares[drawn[:, 0] >= 0.6] == 1).all()


def test_other_draws_leave_crops_as_they_are() -> None:
    """A recipe with more of them still crops as one without: a run is compared with its twin, not with chance."""
    given, draws = pictures(8), Draws(3, 1, 2, 8, slice(0, 8))
    plain, nothing = augmented(given, Augment(flip=True, pad=2), draws)
    more, mix = augmented(given, Augment(flip=True, pad=2, mixup=0.2, mix_probability=0.0), draws)
    assert nothing is None and mix is not None and np.array_equal(plain, more)
