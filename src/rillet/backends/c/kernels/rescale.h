/* Rescaling of 32-bit sums to stored 8-bit values. */
#ifndef RILLET_RESCALE_H
#define RILLET_RESCALE_H
#include <stdint.h>

static inline int32_t rillet_clamp(int32_t value, int32_t low, int32_t high)
{
  return value < low ? low : value > high ? high : value;
}

/* A value no further from 0 than 32 bits hold of value * 2^shift: what is beyond has a result beyond every byte. */
static inline int32_t rillet_saturated(int32_t value, int32_t shift)
{
  const int32_t most = INT32_MAX >> (shift > 0 ? shift : 0);
  return rillet_clamp(value, -most - 1, most);
}

/* value * mantissa * 2^(shift - 31), rounded twice: a doubling high multiply, then a division by a power of two. */
static inline int32_t rillet_rescale_double(int32_t value, int32_t mantissa, int32_t shift)
{
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t right = shift > 0 ? 0 : -shift;
  const int64_t product = (int64_t)(rillet_saturated(value, shift) * (1 << left)) * mantissa;
  const int32_t high = (int32_t)((product + ((int64_t)1 << 30)) >> 31);
  const int32_t mask = (int32_t)(((int64_t)1 << right) - 1);
  const int32_t half = (mask >> 1) + (high < 0);
  return (int32_t)(((int64_t)high >> right) + ((high & mask) > half));
}

/* value * mantissa * 2^(shift - 31), rounded once, half up. */
static inline int32_t rillet_rescale_single(int32_t value, int32_t mantissa, int32_t shift)
{
  const int32_t right = 31 - shift;
  const int64_t product = (int64_t)rillet_saturated(value, shift) * mantissa;
  return (int32_t)((product + ((int64_t)1 << (right - 1))) >> right);
}

/* value / 2^shift for a shift of 0 to 31, half to even. */
static inline int32_t rillet_rescale_shift(int32_t value, int32_t shift)
{
  const int64_t mask = ((int64_t)1 << shift) - 1;
  const int64_t odd = ((int64_t)value >> shift) & mask & 1;
  return (int32_t)((value + (mask >> 1) + odd) >> shift);
}

/* The rule by number: 0 double, 1 single, 2 shift, which has no mantissa. */
static inline int32_t rillet_rescale(int32_t value, int32_t mantissa, int32_t shift, int32_t rounding)
{
  return rounding == 2   ? rillet_rescale_shift(value, shift)
         : rounding == 1 ? rillet_rescale_single(value, mantissa, shift)
                         : rillet_rescale_double(value, mantissa, shift);
}

/* value + zero within low and high, for any value: the sum itself might overflow. */
static inline int32_t rillet_store(int32_t value, int32_t zero, int32_t low, int32_t high)
{
  return rillet_clamp(value, low - zero, high - zero) + zero;
}
#endif
