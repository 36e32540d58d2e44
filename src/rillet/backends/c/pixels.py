"""Rows of pixels as rows of the input: functions of net.h, in integers, and the table that they look in."""

import numpy as np

from rillet.arithmetic.pictures import LEVELS, pixel_values
from rillet.backends.c.constants import definition
from rillet.backends.c.image import input_of
from rillet.ir.graph import Array, ImageSpec
from rillet.plan.rows.plan import RowPlan

_GREY, _COLOUR = 1, 3

_HEAD = """\
/* Pixels as values of the input, by the contract above. */
static inline net_input_t net_pixel(int32_t channel, uint8_t value)
{
@VALUE@
}

/* Five and six bits of a channel as eight. */
#define NET_FROM_5(bits) ((uint8_t)((bits) * 1053 >> 7))
#define NET_FROM_6(bits) ((uint8_t)((bits) * 4145 >> 10))

static inline void net_put_pixel(net_input_t *row, int32_t x, uint8_t red, uint8_t green, uint8_t blue)
{
@PUT@
}

/* NET_INPUT_WIDTH pixels as a row for net_push_row: bytes of red, green and blue. */
static inline void net_row_rgb888(const uint8_t *pixels, net_input_t *row)
{
  for (int32_t x = 0; x < NET_INPUT_WIDTH; x++)
    net_put_pixel(row, x, pixels[3 * x], pixels[3 * x + 1], pixels[3 * x + 2]);
}

/* The same of pixels in 16 bits, red in the most significant five. */
static inline void net_row_rgb565(const uint16_t *pixels, net_input_t *row)
{
  for (int32_t x = 0; x < NET_INPUT_WIDTH; x++) {
    const int32_t pixel = pixels[x];
    net_put_pixel(row, x, NET_FROM_5(pixel >> 11), NET_FROM_6(pixel >> 5 & 63), NET_FROM_5(pixel & 31));
  }
}

/* The same of bytes of brightness. */
static inline void net_row_grey(const uint8_t *pixels, net_input_t *row)
{
  for (int32_t x = 0; x < NET_INPUT_WIDTH; x++)
@GREY@
}"""
_PUT = {
    _GREY: """\
  const int32_t grey = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16;
  row[x] = net_pixel(0, (uint8_t)grey);""",
    _COLOUR: """\
  row[3 * x] = net_pixel(0, red);
  row[3 * x + 1] = net_pixel(1, green);
  row[3 * x + 2] = net_pixel(2, blue);""",
}
_PUT_GREY = {
    _GREY: "    row[x] = net_pixel(0, pixels[x]);",
    _COLOUR: "    net_put_pixel(row, x, pixels[x], pixels[x], pixels[x]);",
}


def is_picture(image: ImageSpec | None) -> bool:
    """Whether there are such functions."""
    return image is not None and image.channels in (_GREY, _COLOUR)


def _offset(values: Array) -> int | None:
    """What is added to a pixel, where that gives all values; None where a table does."""
    if values.dtype.kind == "f" or len(values) > 1:
        return None
    moved = values[0].astype(np.int64) - np.arange(LEVELS)
    return int(moved[0]) if (moved == moved[0]).all() else None


def pixel_functions(plan: RowPlan, image: ImageSpec | None) -> list[str]:
    """Lines of net.h; none where the input is no picture."""
    if image is None or not is_picture(image):
        return []
    values = pixel_values(image, input_of(plan).type)
    offset, declared = _offset(values), list[str]()
    if offset is not None:
        value = f"  (void)channel;\n  return (net_input_t)(value + ({offset}));"
    else:
        declared = [f"extern const net_input_t net_pixels[{values.size}];"]
        together = len(values) == 1
        value = "  (void)channel;\n  return net_pixels[value];"
        value = value if together else f"  return net_pixels[{LEVELS} * channel + value];"
    text = _HEAD.replace("@VALUE@", value).replace("@PUT@", _PUT[image.channels])
    return ["", *declared, text.replace("@GREY@", _PUT_GREY[image.channels])]


def pixel_table(plan: RowPlan, image: ImageSpec | None) -> list[str]:
    """The table of net.c; none where the functions need none."""
    if image is None or not is_picture(image):
        return []
    values = pixel_values(image, input_of(plan).type)
    return [] if _offset(values) is not None else [definition("net_pixels", values) + "\n"]
