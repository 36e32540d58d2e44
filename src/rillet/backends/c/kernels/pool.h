/* Averages and greatest values: over windows, and global averages, accumulated pixel by pixel. */
#ifndef RILLET_POOL_H
#define RILLET_POOL_H
#include "rescale.h"

/* sum / count, half away from zero. */
static inline int32_t rillet_average(int32_t sum, int32_t count)
{
  return sum >= 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

/* Average of the taps that are inside the map; values are stored `offset` above those that are rounded. */
#define RILLET_AVERAGE(name, type)                                                                                     \
  static inline void name(const void *const tap[], int32_t taps, type *restrict out, int32_t channels, int32_t offset, \
                          int32_t low, int32_t high)                                                                   \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      int32_t sum = -taps * offset;                                                                                    \
      for (int32_t t = 0; t < taps; t++) sum += ((const type *)tap[t])[c];                                             \
      out[c] = (type)rillet_clamp(rillet_average(sum, taps) + offset, low, high);                                      \
    }                                                                                                                  \
  }
RILLET_AVERAGE(rillet_average_i8, int8_t)
RILLET_AVERAGE(rillet_average_u8, uint8_t)

static inline void rillet_average_f32(const void *const tap[], int32_t taps, float *restrict out, int32_t channels,
                                      float low, float high)
{
  for (int32_t c = 0; c < channels; c++) {
    float sum = 0.0f;
    for (int32_t t = 0; t < taps; t++) sum += ((const float *)tap[t])[c];
    const float value = sum / (float)taps;
    out[c] = value < low ? low : value > high ? high : value;
  }
}

/* The mean of a window into another scale; 1 / taps is in the multiplier or the scales. */
#define RILLET_MEAN(name, type)                                                                                        \
  static inline void name(const void *const tap[], int32_t taps, type *restrict out, int32_t channels, int32_t zeros,  \
                          int32_t mantissa, int32_t shift, int32_t rounding, int32_t zero, int32_t low, int32_t high)  \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      int32_t sum = -zeros;                                                                                            \
      for (int32_t t = 0; t < taps; t++) sum += ((const type *)tap[t])[c];                                             \
      out[c] = (type)rillet_store(rillet_rescale(sum, mantissa, shift, rounding), zero, low, high);                    \
    }                                                                                                                  \
  }
RILLET_MEAN(rillet_mean_i8, int8_t)
RILLET_MEAN(rillet_mean_u8, uint8_t)

/* Greatest of the taps that are inside the map. */
#define RILLET_MAX(name, type, limit)                                                                                  \
  static inline void name(const void *const tap[], int32_t taps, type *restrict out, int32_t channels, limit low,      \
                          limit high)                                                                                  \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      type most = ((const type *)tap[0])[c];                                                                           \
      for (int32_t t = 1; t < taps; t++)                                                                               \
        if (((const type *)tap[t])[c] > most) most = ((const type *)tap[t])[c];                                        \
      out[c] = (type)(most < low ? low : most > high ? high : most);                                                   \
    }                                                                                                                  \
  }
RILLET_MAX(rillet_max_i8, int8_t, int32_t)
RILLET_MAX(rillet_max_u8, uint8_t, int32_t)
RILLET_MAX(rillet_max_f32, float, float)

/* Takes one pixel into the sums; the first one begins them. */
#define RILLET_ACCUMULATE(name, type, total)                                                                           \
  static inline void name(const type *restrict in, total *restrict sums, int32_t channels, int32_t begins)             \
  {                                                                                                                    \
    if (begins)                                                                                                        \
      for (int32_t c = 0; c < channels; c++) sums[c] = 0;                                                              \
    for (int32_t c = 0; c < channels; c++) sums[c] += in[c];                                                           \
  }
RILLET_ACCUMULATE(rillet_accumulate_i8, int8_t, int32_t)
RILLET_ACCUMULATE(rillet_accumulate_u8, uint8_t, int32_t)
RILLET_ACCUMULATE(rillet_accumulate_f32, float, float)

/* The average pool of a full tensor from its sums. */
#define RILLET_FINISH_AVERAGE(name, type)                                                                              \
  static inline void name(const int32_t *restrict sums, void *out, int32_t channels, int32_t count, int32_t offset,    \
                          int32_t low, int32_t high)                                                                   \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const int32_t average = rillet_average(sums[c] - count * offset, count) + offset;                                \
      ((type *)out)[c] = (type)rillet_clamp(average, low, high);                                                       \
    }                                                                                                                  \
  }
RILLET_FINISH_AVERAGE(rillet_finish_average, uint8_t)

/* The mean of a full tensor from its sums, into another scale; 1 / count is in the multiplier or the scales. */
#define RILLET_FINISH_MEAN(name, type)                                                                                 \
  static inline void name(const int32_t *restrict sums, void *out, int32_t channels, int32_t zeros, int32_t mantissa,  \
                          int32_t shift, int32_t rounding, int32_t zero, int32_t low, int32_t high)                    \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const int32_t scaled = rillet_rescale(sums[c] - zeros, mantissa, shift, rounding);                               \
      ((type *)out)[c] = (type)rillet_store(scaled, zero, low, high);                                                  \
    }                                                                                                                  \
  }
RILLET_FINISH_MEAN(rillet_finish_mean, uint8_t)

static inline void rillet_finish_f32(const float *restrict sums, float *restrict out, int32_t channels, int32_t count,
                                     float low, float high)
{
  for (int32_t c = 0; c < channels; c++) {
    const float value = sums[c] / (float)count;
    out[c] = value < low ? low : value > high ? high : value;
  }
}
#endif
