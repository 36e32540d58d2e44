/* Softmax of one pixel. */
#ifndef RILLET_SOFTMAX_H
#define RILLET_SOFTMAX_H
#include <math.h>
#include "rescale.h"

/* 8-bit values: float32 exponentials from a table by the distance to the greatest value, summed in order. */
#define RILLET_SOFTMAX(name, type)                                                                                     \
  static inline void name(const type *in, type *out, int32_t channels, const float table[256], float scale,            \
                          int32_t zero, int32_t low, int32_t high)                                                     \
  {                                                                                                                    \
    int32_t greatest = in[0];                                                                                          \
    for (int32_t c = 1; c < channels; c++)                                                                             \
      if (in[c] > greatest) greatest = in[c];                                                                          \
    float total = 0.0f;                                                                                                \
    for (int32_t c = 0; c < channels; c++) total += table[greatest - in[c]];                                           \
    const float inverse = 1.0f / (total * scale);                                                                      \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const float share = table[greatest - in[c]] * inverse; /* never negative */                                      \
      const float rounded = share + 0.5f; /* in float32, so that a share just below a half may round up */             \
      out[c] = (type)rillet_clamp((int32_t)rounded + zero, low, high);                                                 \
    }                                                                                                                  \
  }
RILLET_SOFTMAX(rillet_softmax_i8, int8_t)
RILLET_SOFTMAX(rillet_softmax_u8, uint8_t)

static inline void rillet_softmax_f32(const float *in, float *out, int32_t channels, float beta)
{
  float greatest = in[0], total = 0.0f;
  for (int32_t c = 1; c < channels; c++)
    if (in[c] > greatest) greatest = in[c];
  for (int32_t c = 0; c < channels; c++) {
    out[c] = expf(beta * (in[c] - greatest));
    total += out[c];
  }
  for (int32_t c = 0; c < channels; c++) out[c] /= total;
}
#endif
