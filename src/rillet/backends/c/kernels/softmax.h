/* Softmax of one pixel: float32 exponentials from a table, summed in order. */
#ifndef RILLET_SOFTMAX_H
#define RILLET_SOFTMAX_H
#include "rescale.h"

static inline void rillet_softmax_i8(const int8_t *in, int8_t *out, int32_t channels, const float table[256],
                                     float scale, int32_t zero)
{
  int32_t greatest = -128;
  for (int32_t c = 0; c < channels; c++)
    if (in[c] > greatest) greatest = in[c];
  float total = 0.0f;
  for (int32_t c = 0; c < channels; c++) total += table[greatest - in[c]];
  const float inverse = 1.0f / (total * scale);
  for (int32_t c = 0; c < channels; c++) {
    const float share = table[greatest - in[c]] * inverse;
    out[c] = (int8_t)rillet_clamp((int32_t)((double)share + 0.5) + zero, -128, 127); /* never negative */
  }
}
#endif
