/* Where the pixels of a value lie, and the taps of a window over them. */
#ifndef RILLET_STREAM_H
#define RILLET_STREAM_H
#include <stdint.h>

/* A window that lies over one map: all numbers are constants of the layer. */
typedef struct {
  int32_t kernel_height, kernel_width;
  int32_t stride_height, stride_width;
  int32_t top, left;
  int32_t dilation_height, dilation_width;
  int32_t height, width;  /* of the map that is read */
  int32_t slots;          /* pixels that its buffer holds: pixel i lies at slot i % slots */
  int32_t pixel_bytes;
} rillet_window;

static inline int32_t rillet_last(int32_t at, int32_t length)
{
  return at < 0 ? 0 : at < length ? at : length - 1;
}

/* The pixel that must be there before the window at (row, column) can be read. */
static inline int32_t rillet_window_needs(const rillet_window w, int32_t row, int32_t column)
{
  const int32_t last_row = row * w.stride_height - w.top + (w.kernel_height - 1) * w.dilation_height;
  const int32_t last_column = column * w.stride_width - w.left + (w.kernel_width - 1) * w.dilation_width;
  return rillet_last(last_row, w.height) * w.width + rillet_last(last_column, w.width);
}

/* The pixel under tap (i, j) of the window at (row, column), or `outside` where the tap lies in the padding. */
static inline const void *rillet_window_tap(const rillet_window w, const void *buffer, const void *outside, int32_t row,
                                            int32_t column, int32_t i, int32_t j)
{
  const int32_t y = row * w.stride_height - w.top + i * w.dilation_height;
  const int32_t x = column * w.stride_width - w.left + j * w.dilation_width;
  if (y < 0 || y >= w.height || x < 0 || x >= w.width) return outside;
  return (const uint8_t *)buffer + (uint32_t)(y * w.width + x) % (uint32_t)w.slots * (uint32_t)w.pixel_bytes;
}

/* Pointers to all taps, those in the padding to a constant pixel. */
static inline void rillet_window_taps(const rillet_window w, const void *buffer, const void *outside, int32_t row,
                                      int32_t column, const void *tap[])
{
  for (int32_t i = 0; i < w.kernel_height; i++)
    for (int32_t j = 0; j < w.kernel_width; j++)
      tap[i * w.kernel_width + j] = rillet_window_tap(w, buffer, outside, row, column, i, j);
}

/* Pointers to the taps inside the map alone; returns how many there are. */
static inline int32_t rillet_window_inside(const rillet_window w, const void *buffer, int32_t row, int32_t column,
                                           const void *tap[])
{
  int32_t taps = 0;
  for (int32_t i = 0; i < w.kernel_height; i++)
    for (int32_t j = 0; j < w.kernel_width; j++) {
      const void *pixel = rillet_window_tap(w, buffer, 0, row, column, i, j);
      if (pixel) tap[taps++] = pixel;
    }
  return taps;
}
#endif
