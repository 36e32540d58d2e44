/* Sums of many pixels at a time, for global averages: some channels are summed side by side, float32 pixel
   after pixel, so that they round as they do one pixel at a time. */
#ifndef RILLET_POOL_ROWS_H
#define RILLET_POOL_ROWS_H
#include <stdint.h>
#include <string.h>

/* A step for the loops below: `count` is a number that the compiler knows. */
#define RILLET_SUM_SOME(name, type, total)                                                                             \
  static inline __attribute__((always_inline)) void name##_some(const type *in, int32_t pixels, int32_t pitch,         \
                                                                total *sums, int32_t count, int32_t begins)            \
  {                                                                                                                    \
    total kept[64];                                                                                                    \
    for (int32_t c = 0; c < count; c++) kept[c] = begins ? 0 : sums[c];                                                \
    int32_t p = 0;                                                                                                     \
    for (; p + 4 <= pixels; p += 4, in += 4 * pitch)                                                                   \
      for (int32_t c = 0; c < count; c++)                                                                              \
        kept[c] = kept[c] + in[c] + in[pitch + c] + in[2 * pitch + c] + in[3 * pitch + c];                             \
    for (; p < pixels; p++, in += pitch)                                                                               \
      for (int32_t c = 0; c < count; c++) kept[c] += in[c];                                                            \
    for (int32_t c = 0; c < count; c++) sums[c] = kept[c];                                                             \
  }

/* Takes `pixels` pixels that lie `pitch` values apart into the sums of the first `channels` of each; the first ones of a
   map begin them. */
#define RILLET_SUM_ROWS(name, type, total)                                                                             \
  RILLET_SUM_SOME(name, type, total)                                                                                   \
  static __attribute__((noinline, unused)) void name(const type *in, int32_t pixels, int32_t pitch, total *sums,       \
                                                     int32_t channels, int32_t begins)                                 \
  {                                                                                                                    \
    int32_t c = 0;                                                                                                     \
    for (; c + 64 <= channels; c += 64) name##_some(in + c, pixels, pitch, sums + c, 64, begins);                      \
    for (; c + 16 <= channels; c += 16) name##_some(in + c, pixels, pitch, sums + c, 16, begins);                      \
    for (; c < channels; c++) {                                                                                        \
      total sum = begins ? 0 : sums[c];                                                                                \
      for (int32_t p = 0; p < pixels; p++) sum += in[p * pitch + c];                                                   \
      sums[c] = sum;                                                                                                   \
    }                                                                                                                  \
  }
RILLET_SUM_ROWS(rillet_sum_rows_i8, int8_t, int32_t)
RILLET_SUM_ROWS(rillet_sum_rows_u8, uint8_t, int32_t)
RILLET_SUM_ROWS(rillet_sum_rows_f32, float, float)
#endif
