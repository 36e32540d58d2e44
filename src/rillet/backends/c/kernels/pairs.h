/* The greater, the lesser, the quotient and the PReLU of two pixels. `out` may be either of them. */
#ifndef RILLET_PAIRS_H
#define RILLET_PAIRS_H
#include "rescale.h"

typedef struct {
  int32_t left_zero, right_zero, mantissa, shift, slope_mantissa, slope_shift, zero, low, high;
} rillet_prelu;

#define RILLET_PAIR(name, type, value)                                                                                 \
  static inline void name(const type *left, const type *right, type *out, int32_t channels)                            \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const type a = left[c], b = right[c];                                                                            \
      out[c] = value;                                                                                                  \
    }                                                                                                                  \
  }
RILLET_PAIR(rillet_maximum_i8, int8_t, a > b ? a : b)
RILLET_PAIR(rillet_maximum_u8, uint8_t, a > b ? a : b)
RILLET_PAIR(rillet_maximum_f32, float, a > b ? a : b)
RILLET_PAIR(rillet_minimum_i8, int8_t, a < b ? a : b)
RILLET_PAIR(rillet_minimum_u8, uint8_t, a < b ? a : b)
RILLET_PAIR(rillet_minimum_f32, float, a < b ? a : b)
RILLET_PAIR(rillet_divide_f32, float, a / b)
RILLET_PAIR(rillet_prelu_f32, float, a < 0.0f ? a * b : a)

#define RILLET_PRELU(name, type)                                                                                       \
  static inline void name(const type *left, const type *right, type *out, int32_t channels, const rillet_prelu k)      \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const int32_t a = left[c] - k.left_zero, b = right[c] - k.right_zero;                                            \
      const int32_t made = a >= 0 ? rillet_rescale_double(a, k.mantissa, k.shift)                                      \
                                  : rillet_rescale_double(a * b, k.slope_mantissa, k.slope_shift);                     \
      out[c] = (type)rillet_store(made, k.zero, k.low, k.high);                                                        \
    }                                                                                                                  \
  }
RILLET_PRELU(rillet_prelu_i8, int8_t)
RILLET_PRELU(rillet_prelu_u8, uint8_t)
#endif
