/* Depthwise convolution of one pixel: every channel by itself, weights ordered tap by tap. */
#ifndef RILLET_DEPTHWISE_H
#define RILLET_DEPTHWISE_H
#include "dense.h"

#define RILLET_DEPTHWISE_RUN 64 /* channels whose sums are held at a time */

static inline void rillet_depthwise_i8(const void *const tap[], int32_t taps, int8_t *restrict out, int32_t channels,
                                       const rillet_channels k)
{
  for (int32_t first = 0; first < channels; first += RILLET_DEPTHWISE_RUN) {
    const int32_t left = channels - first;
    const int32_t n = left < RILLET_DEPTHWISE_RUN ? left : RILLET_DEPTHWISE_RUN;
    int32_t sum[RILLET_DEPTHWISE_RUN];
    for (int32_t c = 0; c < n; c++) sum[c] = k.bias[first + c];
    for (int32_t t = 0; t < taps; t++) {
      const int8_t *restrict a = (const int8_t *)tap[t] + first;
      const int8_t *restrict w = k.weights + t * channels + first;
      for (int32_t c = 0; c < n; c++) sum[c] += (int16_t)a[c] * (int16_t)w[c];
    }
    for (int32_t c = 0; c < n; c++) out[first + c] = rillet_finish_i8(sum[c], k, first + c, 0);
  }
}
#endif
