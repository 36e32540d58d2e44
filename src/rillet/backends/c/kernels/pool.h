/* Averages: over windows, and over the whole map pixel by pixel as it comes. */
#ifndef RILLET_POOL_H
#define RILLET_POOL_H
#include "rescale.h"

/* sum / count, half away from zero. */
static inline int32_t rillet_average(int32_t sum, int32_t count)
{
  return sum >= 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

/* Average of the taps that are inside the map. */
static inline void rillet_average_i8(const void *const tap[], int32_t taps, int8_t *restrict out, int32_t channels,
                                     int32_t low, int32_t high)
{
  for (int32_t c = 0; c < channels; c++) {
    int32_t sum = 0;
    for (int32_t t = 0; t < taps; t++) sum += ((const int8_t *)tap[t])[c];
    out[c] = (int8_t)rillet_clamp(rillet_average(sum, taps), low, high);
  }
}

/* Takes one pixel into the sums; the first one begins them. */
static inline void rillet_accumulate_i8(const int8_t *restrict in, int32_t *restrict sums, int32_t channels,
                                        int32_t begins)
{
  if (begins)
    for (int32_t c = 0; c < channels; c++) sums[c] = 0;
  for (int32_t c = 0; c < channels; c++) sums[c] += in[c];
}

/* The average pool of a whole map from its sums. */
static inline void rillet_finish_average_i8(const int32_t *restrict sums, int8_t *restrict out, int32_t channels,
                                            int32_t count, int32_t low, int32_t high)
{
  for (int32_t c = 0; c < channels; c++)
    out[c] = (int8_t)rillet_clamp(rillet_average(sums[c], count), low, high);
}

/* The mean of a whole map from its sums, into another scale; 1 / count is in the multiplier. */
static inline void rillet_finish_mean_i8(const int32_t *restrict sums, int8_t *restrict out, int32_t channels,
                                         int32_t zeros, int32_t mantissa, int32_t shift, int32_t zero, int32_t low,
                                         int32_t high)
{
  for (int32_t c = 0; c < channels; c++) {
    const int32_t scaled = rillet_rescale_double(sums[c] - zeros, mantissa, shift);
    out[c] = (int8_t)rillet_clamp(scaled + zero, low, high);
  }
}
#endif
