/* Functions of one float32 value, and the ways between float32 and 8-bit values. */
#ifndef RILLET_FUNCTIONS_H
#define RILLET_FUNCTIONS_H
#include <math.h>
#include "rescale.h"

/* Quantises float32 values: nearest, halves away from zero. */
#define RILLET_QUANTIZE(name, type)                                                                                    \
  static inline void name(const float *in, void *out, int32_t channels, float scale, int32_t zero, int32_t low,        \
                          int32_t high)                                                                                \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const float ratio = roundf(in[c] / scale);                                                                       \
      const float safe = ratio < -65536.0f ? -65536.0f : ratio > 65536.0f ? 65536.0f : ratio;                          \
      ((type *)out)[c] = (type)rillet_clamp((int32_t)safe + zero, low, high);                                          \
    }                                                                                                                  \
  }
RILLET_QUANTIZE(rillet_quantize, uint8_t)

#define RILLET_DEQUANTIZE(name, from)                                                                                  \
  static inline void name(const from *in, float *out, int32_t channels, float scale, int32_t zero)                     \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) out[c] = scale * (float)(in[c] - zero);                                     \
  }
RILLET_DEQUANTIZE(rillet_dequantize_i8, int8_t)
RILLET_DEQUANTIZE(rillet_dequantize_u8, uint8_t)

static inline float rillet_between(float value, float low, float high)
{
  return value < low ? low : value > high ? high : value;
}

#define RILLET_FUNCTION(name, value)                                                                                   \
  static inline void name(const float *in, float *out, int32_t channels)                                               \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const float x = in[c];                                                                                           \
      out[c] = value;                                                                                                  \
    }                                                                                                                  \
  }
RILLET_FUNCTION(rillet_none, x)
RILLET_FUNCTION(rillet_relu, x > 0.0f ? x : 0.0f)
RILLET_FUNCTION(rillet_relu6, rillet_between(x, 0.0f, 6.0f))
RILLET_FUNCTION(rillet_relu_n1_to_1, rillet_between(x, -1.0f, 1.0f))
RILLET_FUNCTION(rillet_sigmoid, 1.0f / (1.0f + expf(-x)))
RILLET_FUNCTION(rillet_hard_sigmoid, rillet_between(x + 3.0f, 0.0f, 6.0f) / 6.0f)
RILLET_FUNCTION(rillet_hard_swish, x * rillet_between(x + 3.0f, 0.0f, 6.0f) / 6.0f)
RILLET_FUNCTION(rillet_silu, x / (1.0f + expf(-x)))
RILLET_FUNCTION(rillet_sign, x < 0.0f ? -1.0f : 1.0f)
#endif
