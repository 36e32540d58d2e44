/* Bytes widened to 16 bits before register tiles multiply them, for kernel sets without a dot product of bytes. */
#ifndef RILLET_HALVES_H
#define RILLET_HALVES_H
#include "rows.h"

/* Stored bytes, or where `flip` those of a caller's image, whose sign bit the program stores flipped. */
RILLET_ALWAYS void rillet_widen(const void *bytes, int32_t count, int32_t flip, int16_t *out)
{
  const uint8_t *const in = bytes;
  const uint8_t other = flip ? 0x80 : 0;
  for (int32_t i = 0; i < count; i++) out[i] = (rillet_byte)(in[i] ^ other);
}

/* As rillet_band does: padded rows under the windows of `rows` rows of the result. */
RILLET_ALWAYS void rillet_band_of_halves(const rillet_window w, const void *buffer, int32_t fill, int32_t flip,
                                         int32_t row, int32_t rows, int32_t right, int16_t *out)
{
  const int32_t first = row * w.stride_height - w.top;
  const int32_t high = (rows - 1) * w.stride_height + (w.kernel_height - 1) * w.dilation_height + 1;
  const int32_t before = w.left * w.pixel_bytes, run = w.width * w.pixel_bytes, behind = right * w.pixel_bytes;
  for (int32_t y = first; y < first + high; y++) {
    const int32_t outside = y < 0 || y >= w.height;
    for (int32_t i = outside ? before + run + behind : before; i > 0; i--) *out++ = (int16_t)fill;
    if (outside) continue;
    rillet_widen(rillet_row(w, buffer, y), run, flip, out);
    out += run;
    for (int32_t i = behind; i > 0; i--) *out++ = (int16_t)fill;
  }
}
#endif
