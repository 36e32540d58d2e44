/* Whole rows: where those of a window lie, and windows gathered out of them. */
#ifndef RILLET_ROWS_H
#define RILLET_ROWS_H
#include <string.h>
#include "stream.h"

/* The first pixel of row y of the map that is read; a row never wraps round its ring. */
static inline const uint8_t *rillet_row(const rillet_window w, const void *buffer, int32_t y)
{
  return (const uint8_t *)buffer + (uint32_t)(y * w.width) % (uint32_t)w.slots * (uint32_t)w.pixel_bytes;
}

/* Copies one window into one vector: taps in order, `fill` in every byte of those in the padding, then `spare` zeros. */
static inline __attribute__((always_inline)) void rillet_window_copy(const rillet_window w, const void *buffer, int32_t fill,
                                                              int32_t row, int32_t column, uint8_t *out, int32_t spare)
{
  const int32_t x = column * w.stride_width - w.left, run = w.kernel_width * w.pixel_bytes;
  const int32_t inside = x >= 0 && x + (w.kernel_width - 1) * w.dilation_width < w.width;
  for (int32_t i = 0; i < w.kernel_height; i++, out += run) {
    const int32_t y = row * w.stride_height - w.top + i * w.dilation_height;
    if (y < 0 || y >= w.height) {
      memset(out, fill, (size_t)run);
      continue;
    }
    const uint8_t *const from = rillet_row(w, buffer, y);
    if (inside && w.dilation_width == 1) {
      memcpy(out, from + x * w.pixel_bytes, (size_t)run);
      continue;
    }
    for (int32_t j = 0; j < w.kernel_width; j++) {
      const int32_t at = x + j * w.dilation_width;
      if (at < 0 || at >= w.width) memset(out + j * w.pixel_bytes, fill, (size_t)w.pixel_bytes);
      else memcpy(out + j * w.pixel_bytes, from + at * w.pixel_bytes, (size_t)w.pixel_bytes);
    }
  }
  memset(out, 0, (size_t)spare);
}

/* Copies bytes, 128 added to each: int8 kept as uint8, or the way back. `out` may be `in`. */
static inline void rillet_flip(const void *in, void *out, int32_t bytes)
{
  for (int32_t i = 0; i < bytes; i++) ((uint8_t *)out)[i] = ((const uint8_t *)in)[i] ^ 0x80;
}
#endif
