/* Whole rows: where those of a window lie, and padded copies of them. */
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

/* Copies bytes, 128 added to each: int8 kept as uint8, or the way back. `out` may be `in`. */
static inline void rillet_flip(const void *in, void *out, int32_t bytes)
{
  for (int32_t i = 0; i < bytes; i++) ((uint8_t *)out)[i] = ((const uint8_t *)in)[i] ^ 0x80;
}

/* Copies the rows under the windows of `rows` rows of the result, from `row` on, flipped where `flip`, `fill` in every
   byte of the padding: so windows need not know where the map ends. */
RILLET_ALWAYS void rillet_band(const rillet_window w, const void *buffer, int32_t fill, int32_t flip, int32_t row,
                               int32_t rows, int32_t right, uint8_t *out)
{
  const int32_t first = row * w.stride_height - w.top;
  const int32_t high = (rows - 1) * w.stride_height + (w.kernel_height - 1) * w.dilation_height + 1;
  const size_t before = (size_t)(w.left * w.pixel_bytes), behind = (size_t)(right * w.pixel_bytes);
  const size_t run = (size_t)(w.width * w.pixel_bytes);
  for (int32_t y = first; y < first + high; y++, out += before + run + behind) {
    if (y < 0 || y >= w.height) {
      memset(out, fill, before + run + behind);
      continue;
    }
    memset(out, fill, before);
    if (flip) rillet_flip(rillet_row(w, buffer, y), out + before, (int32_t)run);
    else memcpy(out + before, rillet_row(w, buffer, y), run);
    memset(out + before + run, fill, behind);
  }
}
#endif
