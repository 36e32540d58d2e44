/* What the kernels of a microcontroller's core are called by: one assembler file of this folder defines them. */
#ifndef RILLET_CORE_H
#define RILLET_CORE_H
#include <stdint.h>
#include <string.h>
#include "dense.h"

/* Some output channels at a time, of one pixel or of three: two with the DSP extension, else one. Weights and the
   constants of channels lie as the assembler file says. */
typedef struct {
  const void *values;      /* gathered, see rillet_core_gather */
  const int32_t *weights;
  const int32_t *channels;
  int32_t count;           /* of output channels, or of pairs of them; at least 1 */
  int32_t bytes;           /* of gathered values */
  void *out;               /* of the first pixel and channel */
  int32_t pixel_step, channel_step; /* bytes from one to the next */
  int32_t low, high;       /* of the stored value; looked at by those that end in _clamped */
} rillet_core_dense;

#define RILLET_CORE_DENSE(name) \
  void name##_1(const rillet_core_dense *k); \
  void name##_3(const rillet_core_dense *k); \
  void name##_clamped_1(const rillet_core_dense *k); \
  void name##_clamped_3(const rillet_core_dense *k)
/* Those of Armv6-M look at the clamp whatever their name. */
RILLET_CORE_DENSE(rillet_core_double);
RILLET_CORE_DENSE(rillet_core_shift);
RILLET_CORE_DENSE(rillet_core_wide_double);
RILLET_CORE_DENSE(rillet_core_wide_shift);
/* The same, but sums are stored, as 32-bit numbers: the pixels of one channel after those of the other. */
void rillet_core_sums_1(const rillet_core_dense *k);
void rillet_core_sums_3(const rillet_core_dense *k);
void rillet_core_wide_sums_1(const rillet_core_dense *k);
void rillet_core_wide_sums_3(const rillet_core_dense *k);

/* The same with vectors, four output channels at a time: values lie as bytes, and weights too. */
typedef struct {
  const void *values;
  const int8_t *weights;
  const int32_t *channels;
  int32_t count;           /* of output channels */
  int32_t depth;           /* bytes of a pixel's values */
  void *out;
  int32_t pixel_step, channel_step;
  int32_t low, high;
  int32_t value_step;      /* bytes from the values of a pixel to those of the next */
} rillet_core_vectors;

#define RILLET_CORE_VECTORS(name) \
  void name##_1(const rillet_core_vectors *k); \
  void name##_3(const rillet_core_vectors *k)
RILLET_CORE_VECTORS(rillet_core_vector_double);
RILLET_CORE_VECTORS(rillet_core_vector_shift);
RILLET_CORE_VECTORS(rillet_core_vector_sums); /* the pixels of a channel after those of another, four channels */
RILLET_CORE_VECTORS(rillet_core_vector_wide_double);
RILLET_CORE_VECTORS(rillet_core_vector_wide_shift);
RILLET_CORE_VECTORS(rillet_core_vector_wide_sums);

/* Ternary weights that are mostly zero, as lists (core_lists.S); of one pixel, or of two. Values lie as bytes. */
typedef struct {
  const void *values;
  const uint8_t *lists;
  const int32_t *channels;
  int32_t count;           /* of output channels */
  int32_t value_step;      /* bytes from the values of a pixel to those of the next */
  int32_t runs;            /* of 255 values of the depth */
  void *out;
  int32_t pixel_step, channel_step;
  int32_t low, high;
} rillet_core_lists;
void rillet_core_lists_double_1(const rillet_core_lists *k);
void rillet_core_lists_double_2(const rillet_core_lists *k);
void rillet_core_lists_shift_1(const rillet_core_lists *k);
void rillet_core_lists_shift_2(const rillet_core_lists *k);

/* Sums and differences of `count` values, with vectors. Shifts are to the left, and never more than 0. */
typedef struct {
  const void *left, *right;
  void *out;
  int32_t count;
  int32_t left_zero, left_mantissa, left_shift;
  int32_t right_zero, right_mantissa, right_shift;
  int32_t mantissa, shift, zero, low, high;
} rillet_core_sum;
void rillet_core_vector_add(const rillet_core_sum *k);
void rillet_core_vector_subtract(const rillet_core_sum *k);
/* The same where both sides and the result share scale and zero point, which is given as what must be added. */
typedef struct {
  const void *left, *right;
  void *out;
  int32_t count, zero, low, high;
} rillet_core_same;
void rillet_core_vector_same_add(const rillet_core_same *k);
void rillet_core_vector_same_subtract(const rillet_core_same *k);

/* Gathers words of four values, at least one, as two words of pairs of 16 bits that the assembler file describes; of
   one pixel, or of three that lie `step` bytes from each other, side by side. */
typedef void rillet_core_gather(const void *in, int32_t step, void *out, int32_t words);
rillet_core_gather rillet_core_gather_1, rillet_core_gather_3, rillet_core_gather_wide_1, rillet_core_gather_wide_3;

/* Depthwise convolution of one pixel, four channels at a time. */
typedef struct {
  const void *const *tap;
  const void *weights;
  const int32_t *channels;
  int32_t single, taps;    /* those that come one at a time, before threes of them; all */
  int32_t count;           /* of channels, a multiple of 4 but on Armv6-M */
  void *out;
  int32_t low, high;       /* of the stored value; looked at by those that end in _clamped */
} rillet_core_taps;
void rillet_core_depthwise_double(const rillet_core_taps *k);
void rillet_core_depthwise_shift(const rillet_core_taps *k);
void rillet_core_depthwise_double_clamped(const rillet_core_taps *k);
void rillet_core_depthwise_shift_clamped(const rillet_core_taps *k);
void rillet_core_depthwise_wide_double(const rillet_core_taps *k); /* weights in 16 bits, as those of DSP always are */
void rillet_core_depthwise_wide_shift(const rillet_core_taps *k);

/* Depthwise 3x3 convolution of a row, from rows that are kept channel by channel. */
typedef struct {
  const uint8_t *row[3];
  int32_t step[3];         /* from one channel's row to the next; 0 for a row of padding */
  const int32_t *channels;
  int32_t count;           /* of channels */
  int32_t pairs;           /* of pixels of the result, rounded down */
  int32_t odd;             /* 1 where one more pixel follows */
  uint8_t *out;            /* pixel after pixel */
} rillet_core_rows;
void rillet_core_rows_double_1(const rillet_core_rows *k); /* the number at the end is the stride */
void rillet_core_rows_double_2(const rillet_core_rows *k);
void rillet_core_rows_shift_1(const rillet_core_rows *k);
void rillet_core_rows_shift_2(const rillet_core_rows *k);
void rillet_core_rows_wide_double_1(const rillet_core_rows *k);
void rillet_core_rows_wide_double_2(const rillet_core_rows *k);
void rillet_core_rows_wide_shift_1(const rillet_core_rows *k);
void rillet_core_rows_wide_shift_2(const rillet_core_rows *k);

/* Gathers the windows of one pixel or of three from (row, column) on: the whole words of each of their rows, then what
   these leave. Rows are read where they lie if they lie in one piece within the map; else tap by tap, from a copy in
   `bytes` unless taps are whole words of one pixel. `outside` is the pixel that stands for padding. */
static inline void rillet_core_window(const rillet_window w, const void *buffer, const void *outside, int32_t row,
                                      int32_t column, int32_t abreast, rillet_core_gather *gather, uint8_t *bytes,
                                      uint8_t *values)
{
  const int32_t size = w.pixel_bytes, run = w.kernel_width * size, words = run / 4, rest = run % 4;
  const int32_t x = column * w.stride_width - w.left, stop = x + (abreast - 1) * w.stride_width + w.kernel_width;
  const int32_t in_line = w.dilation_width == 1 && x >= 0 && stop <= w.width;
  const int32_t left = (w.kernel_height * rest + 3) / 4;
  uint8_t *const rests = bytes + (run + 3) / 4 * 4 * abreast;
  for (int32_t i = 0; i < w.kernel_height; i++) {
    const int32_t y = row * w.stride_height - w.top + i * w.dilation_height;
    const int32_t slot = (int32_t)((uint32_t)(y * w.width + x) % (uint32_t)w.slots);
    const uint8_t *in = (const uint8_t *)buffer + slot * size;
    int32_t step = w.stride_width * size;
    if (!in_line || y < 0 || y >= w.height || slot + stop - x > w.slots) {
      if (abreast == 1 && size % 4 == 0) {
        for (int32_t j = 0; j < w.kernel_width; j++, values += size * 2)
          gather(rillet_window_tap(w, buffer, outside, row, column, i, j), 0, values, size / 4);
        continue;
      }
      uint8_t *out = bytes;
      for (int32_t p = 0; p < abreast; p++)
        for (int32_t j = 0; j < w.kernel_width; j++, out += size)
          memcpy(out, rillet_window_tap(w, buffer, outside, row, column + p, i, j), (uint32_t)size);
      in = bytes;
      step = run;
    }
    if (words) {
      gather(in, step, values, words);
      values += words * 8 * abreast;
    }
    for (int32_t p = 0; p < abreast; p++)
      for (int32_t c = 0; c < rest; c++) rests[p * left * 4 + i * rest + c] = in[p * step + words * 4 + c];
  }
  if (rest) gather(rests, left * 4, values, left);
}

/* The same as bytes, for vectors: all rows of a window one after another. */
static inline void rillet_core_window_bytes(const rillet_window w, const void *buffer, const void *outside, int32_t row,
                                            int32_t column, int32_t abreast, uint8_t *out)
{
  const int32_t size = w.pixel_bytes, run = w.kernel_width * size;
  for (int32_t p = column; p < column + abreast; p++) {
    const int32_t x = p * w.stride_width - w.left;
    const int32_t in_line = w.dilation_width == 1 && x >= 0 && x + w.kernel_width <= w.width;
    for (int32_t i = 0; i < w.kernel_height; i++) {
      const int32_t y = row * w.stride_height - w.top + i * w.dilation_height;
      const int32_t slot = (int32_t)((uint32_t)(y * w.width + x) % (uint32_t)w.slots);
      if (in_line && y >= 0 && y < w.height && slot + w.kernel_width <= w.slots) {
        memcpy(out, (const uint8_t *)buffer + slot * size, (uint32_t)run);
        out += run;
        continue;
      }
      for (int32_t j = 0; j < w.kernel_width; j++, out += size)
        memcpy(out, rillet_window_tap(w, buffer, outside, row, p, i, j), (uint32_t)size);
    }
  }
}

/* Sums as stored values, where the core's instructions would not be exact. */
static inline void rillet_core_finish(const int32_t *sums, int32_t pixels, const rillet_channels k, int32_t o,
                                   int32_t rounding, void *out, int32_t pixel_step)
{
  for (int32_t p = 0; p < pixels; p++) ((uint8_t *)out)[p * pixel_step] = rillet_finish(sums[p], k, o, rounding);
}
#endif
