/* Sum of two pixels of different scales. */
#ifndef RILLET_ADD_H
#define RILLET_ADD_H
#include "rescale.h"

typedef struct {
  int32_t left_zero, left_mantissa, left_shift;
  int32_t right_zero, right_mantissa, right_shift;
  int32_t mantissa, shift, zero, low, high;
} rillet_add;

/* `out` may be `left` or `right`. */
static inline void rillet_add_i8(const int8_t *left, const int8_t *right, int8_t *out, int32_t channels,
                                 const rillet_add k)
{
  for (int32_t c = 0; c < channels; c++) {
    const int32_t a = rillet_rescale_double((left[c] - k.left_zero) * (1 << 20), k.left_mantissa, k.left_shift);
    const int32_t b = rillet_rescale_double((right[c] - k.right_zero) * (1 << 20), k.right_mantissa, k.right_shift);
    const int32_t sum = rillet_rescale_double(a + b, k.mantissa, k.shift);
    out[c] = (int8_t)rillet_clamp(sum + k.zero, k.low, k.high);
  }
}
#endif
