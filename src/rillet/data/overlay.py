"""What a network found, drawn onto the picture that it was shown: boxes with their scores, and class maps."""

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from rillet.analyses.boxes import Box, shown_part
from rillet.data.images import plain

_STRENGTH = 0.55
"""How much of a class's colour covers the picture."""
_GOLDEN = 0.618034
"""Steps of hue that stay far from each other however many there are."""


def colour(index: int) -> tuple[int, int, int]:
    """The colour of a class, or of a box; neighbours in number are far apart in hue."""
    red, green, blue = colorsys.hsv_to_rgb((0.37 + index * _GOLDEN) % 1, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_boxes(picture: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """The picture with boxes, in its pixels, their scores and key points; a colour for each label."""
    out = plain(picture, 3).copy()
    pen = ImageDraw.Draw(out)
    width = max(1, round(min(out.size) / 160))
    font = ImageFont.load_default(max(10, min(out.size) // 24))
    labels = list(dict.fromkeys(box.label for box in boxes))
    for box in reversed(boxes):  # the most certain lies above the others
        ink = colour(labels.index(box.label))
        sides = (min(box.left, box.right), min(box.top, box.bottom), max(box.left, box.right), max(box.top, box.bottom))
        pen.rectangle(sides, outline=ink, width=width)
        for x, y in box.points:
            pen.ellipse((x - 1.5 * width, y - 1.5 * width, x + 1.5 * width, y + 1.5 * width), fill=ink)
        _label(pen, font, f"{box.label} {box.score:.0%}", (sides[0], sides[1]), ink)
    return out


def _label(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    words: str,
    at: tuple[float, float],
    ink: tuple[int, int, int],
) -> None:
    """Words on a ground of their box's colour, above the box where there is room."""
    left, top, right, bottom = pen.textbbox((0, 0), words, font=font)
    high = bottom - top + 4
    x, y = max(0.0, at[0]), at[1] - high if at[1] >= high else max(0.0, at[1])
    pen.rectangle((x, y, x + right - left + 6, y + high), fill=ink)
    pen.text((x + 3 - left, y + 2 - top), words, fill=(0, 0, 0), font=font)


def draw_classes(picture: Image.Image, classes: npt.NDArray[np.uint8], resize: str) -> Image.Image:
    """The picture with every class but the first in a colour, over the part that the network was shown.

    classes: height x width, at any size. resize: how the picture was made to fit, `stretch` or `crop`.
    """
    out = plain(picture, 3).copy()
    left, top, width, height = shown_part(out.size, resize)
    palette = np.array([(0, 0, 0), *(colour(i) for i in range(255))], np.uint8)
    ground = Image.fromarray(palette[classes]).resize((width, height), Image.Resampling.NEAREST)
    covered = Image.fromarray((classes > 0).astype(np.uint8) * round(255 * _STRENGTH))
    out.paste(ground, (left, top), covered.resize((width, height), Image.Resampling.NEAREST))
    return out
