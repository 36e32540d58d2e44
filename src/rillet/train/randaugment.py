"""The operations of RandAugment (Cubuk et al. 2019, arXiv:1909.13719) on bytes of N x height x width x channels.

They do what Pillow's do, which the published code calls, to the byte or within one; a magnitude goes from 0 to 30.
"""

import math
from enum import StrEnum
from functools import lru_cache
from typing import assert_never

import numpy as np
import numpy.typing as npt

GREATEST = 30
"""Magnitudes go from 0 to this."""
_SHEAR, _DEGREES, _SHIFT, _STRENGTH = 0.3, 30.0, 150 / 331, 0.9
"""At the greatest magnitude: of a shear, a rotation, a shift as a share of the side, and of light, colour and so on."""
_RED, _GREEN, _BLUE, _HALF = 19595, 38470, 7471, 0x8000
"""Pillow's weights of brightness, in 65536ths (ITU-R 601-2)."""


class Operation(StrEnum):
    """What may become of a picture."""

    IDENTITY = "identity"
    AUTOCONTRAST = "autocontrast"
    EQUALIZE = "equalize"
    ROTATE = "rotate"
    SOLARIZE = "solarize"
    COLOR = "color"
    POSTERIZE = "posterize"
    CONTRAST = "contrast"
    BRIGHTNESS = "brightness"
    SHARPNESS = "sharpness"
    SHEAR_X = "shear_x"
    SHEAR_Y = "shear_y"
    TRANSLATE_X = "translate_x"
    TRANSLATE_Y = "translate_y"


OPERATIONS = tuple(Operation)
Bytes = npt.NDArray[np.uint8]


def applied(operation: Operation, pictures: Bytes, magnitude: int, negative: bool) -> Bytes:
    """The pictures after an operation; negative: the other way, where it has two."""
    strength = magnitude / GREATEST
    signed = -strength if negative else strength
    match operation:
        case Operation.IDENTITY:
            return pictures
        case Operation.AUTOCONTRAST:
            return _autocontrast(pictures)
        case Operation.EQUALIZE:
            return _equalized(pictures)
        case Operation.SOLARIZE:
            return np.where(pictures < 255 * (1 - strength), pictures, ~pictures)
        case Operation.POSTERIZE:
            return pictures & np.uint8(255 << round(4 * strength) & 255)
        case Operation.COLOR:
            return _blended(_grey(pictures)[..., None], pictures, 1 + _STRENGTH * signed)
        case Operation.CONTRAST:
            mean = (_grey(pictures).mean((1, 2), dtype=np.float64) + 0.5).astype(np.uint8)
            return _blended(mean[:, None, None, None], pictures, 1 + _STRENGTH * signed)
        case Operation.BRIGHTNESS:
            return _blended(np.uint8(0), pictures, 1 + _STRENGTH * signed)
        case Operation.SHARPNESS:
            return _blended(_smooth(pictures), pictures, 1 + _STRENGTH * signed)
        case Operation.ROTATE:
            return _moved(pictures, "rotate", math.radians(_DEGREES * signed))
        case Operation.SHEAR_X | Operation.SHEAR_Y:
            return _moved(pictures, operation.value, _SHEAR * signed)
        case Operation.TRANSLATE_X | Operation.TRANSLATE_Y:
            return _moved(pictures, operation.value, _SHIFT * signed)
        case _:
            assert_never(operation)


def _blended(plain: Bytes | np.uint8, pictures: Bytes, factor: float) -> Bytes:
    """Plain pictures at a factor of 0, the pictures at 1, and beyond; as Pillow, in float32 and cut off."""
    start = np.asarray(plain, np.float32)
    return np.clip(start + np.float32(factor) * (pictures.astype(np.float32) - start), 0, 255).astype(np.uint8)


def _grey(pictures: Bytes) -> Bytes:
    if pictures.shape[3] == 1:
        return pictures[..., 0]
    red, green, blue = (pictures[..., i].astype(np.uint32) for i in range(3))
    return ((red * _RED + green * _GREEN + blue * _BLUE + _HALF) >> 16).astype(np.uint8)


def _smooth(pictures: Bytes) -> Bytes:
    """Weighted means of 3 x 3 pixels, the middle one five times; the border is as it is."""
    made = pictures.copy()
    wide = pictures.astype(np.uint16)
    height, width = pictures.shape[1:3]
    sums = 4 * wide[:, 1:-1, 1:-1]
    for row in range(3):
        for column in range(3):
            sums += wide[:, row : height - 2 + row, column : width - 2 + column]
    made[:, 1:-1, 1:-1] = (sums + 6) // 13
    return made


def _through(pictures: Bytes, tables: Bytes) -> Bytes:
    """Each channel of each picture through a table of its own, N x channels x 256."""
    count, _, _, channels = pictures.shape
    places = np.arange(count * channels, dtype=np.int32).reshape(count, 1, 1, channels) * 256
    return tables.reshape(-1).take(places + pictures)


def _histograms(pictures: Bytes) -> npt.NDArray[np.int64]:
    """How often each level is met, N x channels x 256."""
    count, _, _, channels = pictures.shape
    places = np.arange(count * channels, dtype=np.int32).reshape(count, 1, 1, channels) * 256
    return np.bincount((places + pictures).reshape(-1), minlength=count * channels * 256).reshape(count, channels, 256)


def _autocontrast(pictures: Bytes) -> Bytes:
    """Each channel stretched from its least and greatest level to all levels."""
    low, high = (found.astype(np.float64)[..., None] for found in (pictures.min((1, 2)), pictures.max((1, 2))))
    levels = np.arange(256)
    flat = high <= low
    scale = 255.0 / np.where(flat, 1, high - low)
    tables = np.where(flat, levels, np.clip(np.trunc(levels * scale - low * scale), 0, 255))
    return _through(pictures, tables.astype(np.uint8))


def _equalized(pictures: Bytes) -> Bytes:
    """Each channel with levels about equally often."""
    found = _histograms(pictures)
    met = found > 0
    last = np.take_along_axis(found, (255 - met[..., ::-1].argmax(-1))[..., None], -1)
    step = (found.sum(-1, keepdims=True) - last) // 255
    before = np.cumsum(found, -1) - found
    tables = np.minimum((step // 2 + before) // np.maximum(step, 1), 255)
    plain = (step == 0) | (met.sum(-1, keepdims=True) <= 1)
    return _through(pictures, np.where(plain, np.arange(256), tables).astype(np.uint8))


def _moved(pictures: Bytes, kind: str, amount: float) -> Bytes:
    """Pixels from elsewhere, the nearest; black where there are none."""
    count, height, width, channels = pictures.shape
    inside, places = _sources(kind, amount, height, width)
    made = np.zeros_like(pictures).reshape(count, height * width, channels)
    made[:, inside] = pictures.reshape(count, height * width, channels)[:, places]
    return made.reshape(pictures.shape)


@lru_cache(maxsize=64)
def _sources(kind: str, amount: float, height: int, width: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which pixels of a result are of the picture, and the places of their sources."""
    a, b, c, d, e, f = _matrix(kind, amount, height, width)
    row, column = (at + 0.5 for at in np.divmod(np.arange(height * width), width))
    across = np.floor(a * column + b * row + c).astype(np.int64)
    down = np.floor(d * column + e * row + f).astype(np.int64)
    inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    return inside, (down * width + across)[inside]


def _matrix(kind: str, amount: float, height: int, width: int) -> tuple[float, float, float, float, float, float]:
    """Where a result's pixel (column, row) comes from: (a x + b y + c, d x + e y + f)."""
    match kind:
        case "rotate":
            cosine, sine = math.cos(amount), math.sin(amount)
            x, y = width / 2, height / 2
            return cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y
        case "shear_x":
            return 1, amount, 0, 0, 1, 0
        case "shear_y":
            return 1, 0, 0, amount, 1, 0
        case "translate_x":
            return 1, 0, round(amount * width), 0, 1, 0
        case _:
            return 1, 0, 0, 0, 1, round(amount * height)
