/* Convolution with every input channel of a group: gathers windows, then takes dot products with each output's weights. */
#ifndef RILLET_DENSE_H
#define RILLET_DENSE_H
#include "rescale.h"

/* The constants of a convolution's output channels. */
typedef struct {
  const int8_t *weights;
  const int32_t *bias; /* zero point of the input folded in */
  const int32_t *mantissa;
  const int8_t *shift;
  int32_t zero, low, high;
} rillet_channels;

/* Widens `channels` values of each tap, from channel `first` on, into one vector. */
static inline void rillet_gather_i8(const void *const tap[], int32_t taps, int32_t first, int32_t channels,
                                    int16_t *restrict to)
{
  for (int32_t t = 0; t < taps; t++) {
    const int8_t *from = (const int8_t *)tap[t] + first;
    for (int32_t c = 0; c < channels; c++) to[t * channels + c] = from[c];
  }
}

static inline int8_t rillet_finish_i8(int32_t sum, const rillet_channels k, int32_t o, int32_t single)
{
  const int32_t scaled = single ? rillet_rescale_single(sum, k.mantissa[o], k.shift[o])
                                : rillet_rescale_double(sum, k.mantissa[o], k.shift[o]);
  return (int8_t)rillet_clamp(scaled + k.zero, k.low, k.high);
}

/* One pixel: `outputs` dot products of `depth` values, from channel `first` on. */
static inline void rillet_dense_1(const int16_t *restrict a, int8_t *restrict out, int32_t depth, int32_t first,
                                  int32_t outputs, const rillet_channels k, int32_t single)
{
  const int8_t *restrict w = k.weights + first * depth;
  for (int32_t o = first; o < first + outputs; o++, w += depth) {
    int32_t sum = k.bias[o];
    for (int32_t i = 0; i < depth; i++) sum += a[i] * (int16_t)w[i];
    out[o] = rillet_finish_i8(sum, k, o, single);
  }
}

/* Four pixels whose gathered values lie one after another: every weight is read once for the four. */
static inline void rillet_dense_4(const int16_t *restrict a, int8_t *const out[], int32_t depth, int32_t first,
                                  int32_t outputs, const rillet_channels k, int32_t single)
{
  const int8_t *restrict w = k.weights + first * depth;
  const int16_t *restrict b = a + depth, *restrict c = b + depth, *restrict d = c + depth;
  for (int32_t o = first; o < first + outputs; o++, w += depth) {
    int32_t s0 = k.bias[o], s1 = s0, s2 = s0, s3 = s0;
    for (int32_t i = 0; i < depth; i++) {
      const int16_t v = w[i];
      s0 += a[i] * v;
      s1 += b[i] * v;
      s2 += c[i] * v;
      s3 += d[i] * v;
    }
    out[0][o] = rillet_finish_i8(s0, k, o, single);
    out[1][o] = rillet_finish_i8(s1, k, o, single);
    out[2][o] = rillet_finish_i8(s2, k, o, single);
    out[3][o] = rillet_finish_i8(s3, k, o, single);
  }
}
#endif
