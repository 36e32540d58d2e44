/* Softmax of one pixel of 8-bit values. */
#ifndef RILLET_SOFTMAX_H
#define RILLET_SOFTMAX_H
#include "rescale.h"

/* Rounding doubling high multiply of numbers with 31 bits after the point. */
static inline int32_t rillet_high(int32_t a, int32_t b)
{
  return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

static inline int32_t rillet_saturate(int64_t value)
{
  return value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : (int32_t)value;
}

/* 1 / (1 + x) for x between 0 and 1, by three steps of Newton's method. */
static inline int32_t rillet_one_over_one_plus(int32_t x)
{
  const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
  int32_t guess = 1515870810 + rillet_high(half, -1010580540); /* 48/17 - 32/17 * half, 29 bits after the point */
  for (int32_t i = 0; i < 3; i++) {
    const int32_t rest = (1 << 29) - rillet_high(half, guess);
    guess = rillet_saturate((int64_t)guess + rillet_saturate((int64_t)rillet_high(guess, rest) * 4));
  }
  return rillet_saturate((int64_t)guess * 2);
}

/* value / 2^right for a value that is not negative, half up. */
static inline int32_t rillet_halves_up(int32_t value, int32_t right)
{
  const int64_t mask = ((int64_t)1 << right) - 1;
  return (int32_t)((int64_t)value >> right) + ((value & mask) > (mask >> 1));
}

/* 8-bit values, in integers: exponentials from a table by the distance to the greatest value, their sum with 19 bits after
   the point, and its reciprocal. */
#define RILLET_SOFTMAX(name, type, low, high)                                                                          \
  static inline void name(const type *in, type *out, int32_t channels, const int32_t table[256])                       \
  {                                                                                                                    \
    int32_t greatest = in[0], sum = 0, bits = 0;                                                                       \
    for (int32_t c = 1; c < channels; c++)                                                                             \
      if (in[c] > greatest) greatest = in[c];                                                                          \
    for (int32_t c = 0; c < channels; c++) sum += rillet_halves_up(table[greatest - in[c]], 12);                       \
    while (sum >> bits) bits++;                                                                                        \
    const int32_t rest = (int32_t)(((int64_t)sum << (32 - bits)) - ((int64_t)1 << 31));                                \
    const int32_t reciprocal = rillet_one_over_one_plus(rest);                                                         \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const int32_t share = rillet_high(reciprocal, table[greatest - in[c]]);                                          \
      out[c] = (type)rillet_clamp(rillet_halves_up(share, bits + 3) + low, low, high);                                 \
    }                                                                                                                  \
  }
RILLET_SOFTMAX(rillet_softmax_i8, int8_t, -128, 127)
RILLET_SOFTMAX(rillet_softmax_u8, uint8_t, 0, 255)
#endif
