/* Pools of a processor with wide registers. Sums of many pixels at a time, for global averages: some channels are summed
   side by side, float32 pixel after pixel, so that they round as they do one pixel at a time. Greatest values of windows,
   some channels side by side. */
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

/* Greatest of the taps that are inside the map, as RILLET_MAX of pool.h, of `count` channels, a number that the compiler
   knows; it keeps them in registers where they are not too few for a loop. */
#define RILLET_MAX_SOME(name, type, limit)                                                                             \
  static inline __attribute__((always_inline)) void name##_some(const void *const tap[], int32_t taps,                 \
                                                                type *restrict out, int32_t c, limit low, limit high,  \
                                                                int32_t count)                                         \
  {                                                                                                                    \
    type most[64];                                                                                                     \
    memcpy(most, (const type *)tap[0] + c, (size_t)count * sizeof most[0]);                                            \
    int32_t t = 1;                                                                                                     \
    for (; t + 4 <= taps; t += 4) {                                                                                    \
      const type *const p = (const type *)tap[t] + c, *const q = (const type *)tap[t + 1] + c;                         \
      const type *const r = (const type *)tap[t + 2] + c, *const s = (const type *)tap[t + 3] + c;                     \
      for (int32_t i = 0; i < count; i++) {                                                                            \
        type now = most[i];                                                                                            \
        now = p[i] > now ? p[i] : now;                                                                                 \
        now = q[i] > now ? q[i] : now;                                                                                 \
        now = r[i] > now ? r[i] : now;                                                                                 \
        most[i] = s[i] > now ? s[i] : now;                                                                             \
      }                                                                                                                \
    }                                                                                                                  \
    for (; t < taps; t++) {                                                                                            \
      const type *const in = (const type *)tap[t] + c;                                                                 \
      for (int32_t i = 0; i < count; i++) most[i] = in[i] > most[i] ? in[i] : most[i];                                 \
    }                                                                                                                  \
    for (int32_t i = 0; i < count; i++) out[c + i] = (type)(most[i] < low ? low : most[i] > high ? high : most[i]);    \
  }

/* The same of all channels, `count` of them at a time, then 16. */
#define RILLET_MAX_ROWS(name, type, limit, count)                                                                      \
  RILLET_MAX_SOME(name, type, limit)                                                                                   \
  static inline void name(const void *const tap[], int32_t taps, type *restrict out, int32_t channels, limit low,      \
                          limit high)                                                                                  \
  {                                                                                                                    \
    int32_t c = 0;                                                                                                     \
    for (; c + count <= channels; c += count) name##_some(tap, taps, out, c, low, high, count);                        \
    for (; c + 16 <= channels; c += 16) name##_some(tap, taps, out, c, low, high, 16);                                 \
    for (; c < channels; c++) {                                                                                        \
      type most = ((const type *)tap[0])[c];                                                                           \
      for (int32_t t = 1; t < taps; t++)                                                                               \
        if (((const type *)tap[t])[c] > most) most = ((const type *)tap[t])[c];                                        \
      out[c] = (type)(most < low ? low : most > high ? high : most);                                                   \
    }                                                                                                                  \
  }
RILLET_MAX_ROWS(rillet_max_rows_i8, int8_t, int8_t, 32)
RILLET_MAX_ROWS(rillet_max_rows_u8, uint8_t, uint8_t, 32)
RILLET_MAX_ROWS(rillet_max_rows_f32, float, float, 64)
#endif
