/* Sums, differences and products of two pixels. `out` may be either of them. */
#ifndef RILLET_ARITHMETIC_H
#define RILLET_ARITHMETIC_H
#include "rescale.h"

#ifdef RILLET_COMPACT /* one copy of each, which layers share */
#define RILLET_VALUES static __attribute__((noinline, unused))
#else
#define RILLET_VALUES static inline
#endif

typedef struct {
  int32_t left_zero, left_mantissa, left_shift;
  int32_t right_zero, right_mantissa, right_shift;
  int32_t mantissa, shift, zero, low, high;
} rillet_add;

typedef struct {
  int32_t left_zero, right_zero, mantissa, shift, rounding, zero, low, high;
} rillet_multiply;

#define RILLET_ADD(name, type, sign, bits)                                                                             \
  RILLET_VALUES void name(const type *left, const type *right, type *out, int32_t channels, const rillet_add k)        \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const int32_t a = rillet_rescale_double((left[c] - k.left_zero) * (1 << bits), k.left_mantissa, k.left_shift);   \
      const int32_t b = rillet_rescale_double((right[c] - k.right_zero) * (1 << bits), k.right_mantissa, k.right_shift);\
      const int32_t sum = rillet_rescale_double(a sign b, k.mantissa, k.shift);                                        \
      out[c] = (type)rillet_store(sum, k.zero, k.low, k.high);                                                         \
    }                                                                                                                  \
  }
RILLET_ADD(rillet_add_i8, int8_t, +, 20)
RILLET_ADD(rillet_add_u8, uint8_t, +, 20)
RILLET_ADD(rillet_subtract_i8, int8_t, -, 20)
RILLET_ADD(rillet_subtract_u8, uint8_t, -, 20)

/* Where both sides and the result share scale and zero point: 16 bits hold every sum. */
#define RILLET_EXACT_ADD(name, type, from)                                                                             \
  RILLET_VALUES void name(const type *left, const type *right, type *out, int32_t channels, int32_t zero, int32_t low, \
                          int32_t high)                                                                                \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const int16_t sum = (int16_t)(from);                                                                             \
      out[c] = (type)(sum < (int16_t)low ? (int16_t)low : sum > (int16_t)high ? (int16_t)high : sum);                  \
    }                                                                                                                  \
  }
RILLET_EXACT_ADD(rillet_exact_add_i8, int8_t, left[c] + right[c] - zero)
RILLET_EXACT_ADD(rillet_exact_add_u8, uint8_t, left[c] + right[c] - zero)
RILLET_EXACT_ADD(rillet_exact_subtract_i8, int8_t, left[c] - right[c] + zero)
RILLET_EXACT_ADD(rillet_exact_subtract_u8, uint8_t, left[c] - right[c] + zero)

#define RILLET_MULTIPLY(name, type)                                                                                    \
  RILLET_VALUES void name(const type *left, const type *right, type *out, int32_t channels, const rillet_multiply k)   \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const int32_t product = (left[c] - k.left_zero) * (right[c] - k.right_zero);                                     \
      const int32_t scaled = rillet_rescale(product, k.mantissa, k.shift, k.rounding);                                 \
      out[c] = (type)rillet_store(scaled, k.zero, k.low, k.high);                                                      \
    }                                                                                                                  \
  }
RILLET_MULTIPLY(rillet_multiply_i8, int8_t)
RILLET_MULTIPLY(rillet_multiply_u8, uint8_t)

#define RILLET_REAL(name, sign)                                                                                        \
  RILLET_VALUES void name(const float *left, const float *right, float *out, int32_t channels, float low, float high)  \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const float value = left[c] sign right[c];                                                                       \
      out[c] = value < low ? low : value > high ? high : value;                                                        \
    }                                                                                                                  \
  }
RILLET_REAL(rillet_add_f32, +)
RILLET_REAL(rillet_subtract_f32, -)
RILLET_REAL(rillet_multiply_f32, *)
#endif
