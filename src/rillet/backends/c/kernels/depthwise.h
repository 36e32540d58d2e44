/* Depthwise convolution of one pixel: every channel by itself, weights ordered tap by tap. */
#ifndef RILLET_DEPTHWISE_H
#define RILLET_DEPTHWISE_H
#include "dense.h"

#define RILLET_DEPTHWISE_RUN 64 /* channels whose sums are held at a time */

#define RILLET_DEPTHWISE(name, from)                                                                                   \
  static inline void name(const void *const tap[], int32_t taps, void *out, int32_t channels, const rillet_channels k, \
                          int32_t rounding)                                                                            \
  {                                                                                                                    \
    const int16_t zero = (int16_t)k.weight_zero;                                                                       \
    for (int32_t first = 0; first < channels; first += RILLET_DEPTHWISE_RUN) {                                         \
      const int32_t left = channels - first;                                                                           \
      const int32_t n = left < RILLET_DEPTHWISE_RUN ? left : RILLET_DEPTHWISE_RUN;                                     \
      int32_t sum[RILLET_DEPTHWISE_RUN];                                                                               \
      for (int32_t c = 0; c < n; c++) sum[c] = k.bias[first + c];                                                      \
      for (int32_t t = 0; t < taps; t++) {                                                                             \
        const from *restrict a = (const from *)tap[t] + first;                                                         \
        const int8_t *restrict w = k.weights + t * channels + first;                                                   \
        for (int32_t c = 0; c < n; c++) sum[c] += (int16_t)a[c] * (int16_t)(w[c] - zero);                              \
      }                                                                                                                \
      for (int32_t c = 0; c < n; c++) ((uint8_t *)out)[first + c] = rillet_finish(sum[c], k, first + c, rounding);     \
    }                                                                                                                  \
  }
RILLET_DEPTHWISE(rillet_depthwise_i8, int8_t)
RILLET_DEPTHWISE(rillet_depthwise_u8, uint8_t)

static inline void rillet_depthwise_f32(const void *const tap[], int32_t taps, float *restrict out, int32_t channels,
                                        const rillet_channels_f32 k)
{
  for (int32_t c = 0; c < channels; c++) out[c] = k.bias[c];
  for (int32_t t = 0; t < taps; t++) {
    const float *restrict a = (const float *)tap[t];
    const float *restrict w = k.weights + t * channels;
    for (int32_t c = 0; c < channels; c++) out[c] += a[c] * w[c];
  }
  for (int32_t c = 0; c < channels; c++) out[c] = rillet_limit(out[c], k.low, k.high);
}
#endif
