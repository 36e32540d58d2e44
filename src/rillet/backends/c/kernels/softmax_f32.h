/* Softmax of one pixel of float32 values. */
#ifndef RILLET_SOFTMAX_F32_H
#define RILLET_SOFTMAX_F32_H
#include <math.h>
#include <stdint.h>

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
