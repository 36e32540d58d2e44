/* Functions of one float32 value that have numbers of their own: each takes one, two or none. */
#ifndef RILLET_CURVES_H
#define RILLET_CURVES_H
#include "functions.h"

#define RILLET_CURVE(name, numbers, value)                                                                             \
  static inline void name(const float *in, float *out, int32_t channels RILLET_NUMBERS_##numbers)                      \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const float x = in[c];                                                                                           \
      out[c] = value;                                                                                                  \
    }                                                                                                                  \
  }
#define RILLET_NUMBERS_0
#define RILLET_NUMBERS_1 , float a
#define RILLET_NUMBERS_2 , float a, float b

static inline float rillet_mish_of(float x)
{
  /* tanh(log(1 + e)) = (e^2 + 2 e) / (e^2 + 2 e + 2) */
  if (x > 20.0f) return x;
  const float e = expf(x), n = e * (e + 2.0f);
  return x * (n / (n + 2.0f));
}

RILLET_CURVE(rillet_leaky_relu, 1, x < 0.0f ? a * x : x)
RILLET_CURVE(rillet_clip, 2, rillet_between(x, a, b))
RILLET_CURVE(rillet_elu, 1, x < 0.0f ? a * expm1f(x) : x)
RILLET_CURVE(rillet_selu, 2, b * (x < 0.0f ? a * expm1f(x) : x))
RILLET_CURVE(rillet_celu, 1, x < 0.0f ? a * expm1f(x / a) : x)
RILLET_CURVE(rillet_gelu, 0, 0.5f * x * erfcf(x * -0.707106781f))
RILLET_CURVE(rillet_gelu_tanh, 0, 0.5f * x * (1.0f + tanhf(0.797884561f * (x + 0.044715f * x * x * x))))
RILLET_CURVE(rillet_erf, 0, erff(x))
RILLET_CURVE(rillet_tanh, 0, tanhf(x))
RILLET_CURVE(rillet_mish, 0, rillet_mish_of(x))
RILLET_CURVE(rillet_softplus, 1, ((a * x > 0.0f ? a * x : 0.0f) + log1pf(expf(-fabsf(a * x)))) / a)
RILLET_CURVE(rillet_softsign, 0, x / (1.0f + fabsf(x)))
RILLET_CURVE(rillet_swish, 1, x / (1.0f + expf(-a * x)))
RILLET_CURVE(rillet_ramp, 2, rillet_between(a * x + b, 0.0f, 1.0f))
RILLET_CURVE(rillet_abs, 0, fabsf(x))
RILLET_CURVE(rillet_neg, 0, -x)
RILLET_CURVE(rillet_sqrt, 0, sqrtf(x))
RILLET_CURVE(rillet_exp, 0, expf(x))
RILLET_CURVE(rillet_log, 0, logf(x))
RILLET_CURVE(rillet_power, 1, powf(x, a))
#endif
