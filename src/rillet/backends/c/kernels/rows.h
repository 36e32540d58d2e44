/* Whole rows: where those of a window lie, and windows gathered out of them. */
#ifndef RILLET_ROWS_H
#define RILLET_ROWS_H
#include <string.h>
#include "stream.h"

#define RILLET_ALWAYS static inline __attribute__((always_inline))

/* The first pixel of row y of the map that is read; a row never wraps round its ring. */
static inline const uint8_t *rillet_row(const rillet_window w, const void *buffer, int32_t y)
{
  return (const uint8_t *)buffer + (uint32_t)(y * w.width) % (uint32_t)w.slots * (uint32_t)w.pixel_bytes;
}

/* Copies the windows of one row of the result into vectors of `depth` bytes: taps in order, `fill` in every byte of
   those in the padding, zeros behind them. */
RILLET_ALWAYS void rillet_gather_row(const rillet_window w, const void *buffer, int32_t fill, int32_t row, int32_t columns,
                                     uint8_t *out, int32_t depth)
{
  const int32_t run = w.kernel_width * w.pixel_bytes, spare = depth - w.kernel_height * run;
  const int32_t reach = (w.kernel_width - 1) * w.dilation_width;
  for (int32_t i = 0; i < w.kernel_height; i++) {
    const int32_t y = row * w.stride_height - w.top + i * w.dilation_height;
    const uint8_t *const from = y < 0 || y >= w.height ? 0 : rillet_row(w, buffer, y);
    const int32_t last = i == w.kernel_height - 1;
    for (int32_t c = 0; c < columns; c++) {
      uint8_t *const to = out + c * depth + i * run;
      const int32_t x = c * w.stride_width - w.left;
      if (from && x >= 0 && x + reach < w.width && w.dilation_width == 1) {
        const uint8_t *const taps = from + x * w.pixel_bytes;
        /* One vector is faster than its first few bytes: what it writes too much is written over. */
        if (run < 16 && run + 16 <= depth - i * run && !last) memcpy(to, taps, 16);
        else memcpy(to, taps, (size_t)run);
      } else if (!from) {
        memset(to, fill, (size_t)run);
      } else {
        for (int32_t j = 0; j < w.kernel_width; j++) {
          const int32_t at = x + j * w.dilation_width;
          if (at < 0 || at >= w.width) memset(to + j * w.pixel_bytes, fill, (size_t)w.pixel_bytes);
          else memcpy(to + j * w.pixel_bytes, from + at * w.pixel_bytes, (size_t)w.pixel_bytes);
        }
      }
      if (last) memset(to + run, 0, (size_t)spare);
    }
  }
}

/* Copies bytes, 128 added to each: int8 kept as uint8, or the way back. `out` may be `in`. */
static inline void rillet_flip(const void *in, void *out, int32_t bytes)
{
  for (int32_t i = 0; i < bytes; i++) ((uint8_t *)out)[i] = ((const uint8_t *)in)[i] ^ 0x80;
}
#endif
