/* Convolution with every input channel of a group: gathers windows, then takes dot products with each output's weights. */
#ifndef RILLET_DENSE_H
#define RILLET_DENSE_H
#include "rescale.h"

/* The constants of an integer convolution's output channels. */
typedef struct {
  const int8_t *weights;
  const int32_t *bias; /* zero points folded in */
  const int32_t *mantissa; /* none under the rule `shift` */
  const int8_t *shift;
  int32_t weight_zero; /* of the weights as they are kept here */
  int32_t zero, low, high;
} rillet_channels;

/* Copies `channels` values of each tap, from channel `first` on, into one vector. */
#define RILLET_GATHER(name, from, to)                                                                                  \
  static inline void name(const void *const tap[], int32_t taps, int32_t first, int32_t channels, to *restrict out)    \
  {                                                                                                                    \
    for (int32_t t = 0; t < taps; t++) {                                                                               \
      const from *in = (const from *)tap[t] + first;                                                                   \
      for (int32_t c = 0; c < channels; c++) out[t * channels + c] = in[c];                                            \
    }                                                                                                                  \
  }
RILLET_GATHER(rillet_gather_i8, int8_t, int16_t)
RILLET_GATHER(rillet_gather_u8, uint8_t, int16_t)
RILLET_GATHER(rillet_gather_f32, float, float)

/* A sum as the 8-bit value to store; its byte is the same for int8 and uint8. */
static inline uint8_t rillet_finish(int32_t sum, const rillet_channels k, int32_t o, int32_t rounding)
{
  const int32_t scaled = rounding == 2 ? rillet_rescale_shift(sum, k.shift[o])
                                       : rillet_rescale(sum, k.mantissa[o], k.shift[o], rounding);
  return (uint8_t)rillet_store(scaled, k.zero, k.low, k.high);
}

/* One pixel: `outputs` dot products of `depth` values, from channel `first` on. */
static inline void rillet_dense_1(const int16_t *restrict a, void *out, int32_t depth, int32_t first, int32_t outputs,
                                  const rillet_channels k, int32_t rounding)
{
  const int8_t *restrict w = k.weights + first * depth;
  const int16_t zero = (int16_t)k.weight_zero;
  for (int32_t o = first; o < first + outputs; o++, w += depth) {
    int32_t sum = k.bias[o];
    for (int32_t i = 0; i < depth; i++) sum += a[i] * (int16_t)(w[i] - zero);
    ((uint8_t *)out)[o] = rillet_finish(sum, k, o, rounding);
  }
}

/* Four pixels whose gathered values lie one after another: every weight is read once for the four. */
static inline void rillet_dense_4(const int16_t *restrict a, void *const out[], int32_t depth, int32_t first,
                                  int32_t outputs, const rillet_channels k, int32_t rounding)
{
  const int8_t *restrict w = k.weights + first * depth;
  const int16_t *restrict b = a + depth, *restrict c = b + depth, *restrict d = c + depth;
  const int16_t zero = (int16_t)k.weight_zero;
  for (int32_t o = first; o < first + outputs; o++, w += depth) {
    int32_t s0 = k.bias[o], s1 = s0, s2 = s0, s3 = s0;
    for (int32_t i = 0; i < depth; i++) {
      const int16_t v = (int16_t)(w[i] - zero);
      s0 += a[i] * v;
      s1 += b[i] * v;
      s2 += c[i] * v;
      s3 += d[i] * v;
    }
    ((uint8_t *)out[0])[o] = rillet_finish(s0, k, o, rounding);
    ((uint8_t *)out[1])[o] = rillet_finish(s1, k, o, rounding);
    ((uint8_t *)out[2])[o] = rillet_finish(s2, k, o, rounding);
    ((uint8_t *)out[3])[o] = rillet_finish(s3, k, o, rounding);
  }
}

/* The constants of a convolution of float32 values. */
typedef struct {
  const float *weights;
  const float *bias;
  float low, high;
} rillet_channels_f32;

static inline float rillet_limit(float value, float low, float high)
{
  return value < low ? low : value > high ? high : value;
}

/* One pixel; eight partial sums, so that it vectorises without reordering flags. */
static inline void rillet_dense_f32_1(const float *restrict a, float *out, int32_t depth, int32_t first,
                                      int32_t outputs, const rillet_channels_f32 k)
{
  const float *restrict w = k.weights + first * depth;
  const int32_t whole = depth / 8 * 8;
  for (int32_t o = first; o < first + outputs; o++, w += depth) {
    float part[8] = {0};
    for (int32_t i = 0; i < whole; i += 8)
      for (int32_t j = 0; j < 8; j++) part[j] += a[i + j] * w[i + j];
    float sum = k.bias[o];
    for (int32_t i = whole; i < depth; i++) sum += a[i] * w[i];
    for (int32_t j = 0; j < 8; j++) sum += part[j];
    out[o] = rillet_limit(sum, k.low, k.high);
  }
}

/* Four pixels whose gathered values lie one after another. */
static inline void rillet_dense_f32_4(const float *restrict a, float *const out[], int32_t depth, int32_t first,
                                      int32_t outputs, const rillet_channels_f32 k)
{
  for (int32_t p = 0; p < 4; p++) rillet_dense_f32_1(a + p * depth, out[p], depth, first, outputs, k);
}
#endif
