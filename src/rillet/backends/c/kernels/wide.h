/* Kernels of 16-bit values (int16x8): weights of 8 bits, biases and sums of 64. */
#ifndef RILLET_WIDE_H
#define RILLET_WIDE_H
#include "arithmetic.h"
#include "dense.h"
#include "functions.h"
#include "pairs.h"
#include "pool.h"

#define RILLET_WIDE_RUN 256 /* products of 16 and 8 bits that surely fit 32 bits when added up */
#define RILLET_WIDE_CHANNELS 64 /* channels whose sums are held at a time */

/* The constants of a convolution's output channels. */
typedef struct {
  const int8_t *weights;
  const int64_t *bias;
  const int32_t *mantissa; /* of 15 bits, or of 31 where 32 bits are rounded once */
  const int8_t *shift;
  int32_t low, high;
} rillet_channels_wide;

/* The lower 32 bits of sum * mantissa * 2^(shift - 15), rounded once, half up. */
static inline int32_t rillet_rescale_reduced(int64_t sum, int32_t mantissa, int32_t shift)
{
  const int32_t right = 15 - shift;
  return (int32_t)(uint32_t)(uint64_t)((sum * mantissa + ((int64_t)1 << (right - 1))) >> right);
}

static inline int16_t rillet_finish_wide(int64_t sum, const rillet_channels_wide *k, int32_t o, int32_t rounding)
{
  const int32_t scaled = rounding == 1 ? rillet_rescale_single((int32_t)(uint32_t)(uint64_t)sum, k->mantissa[o],
                                                               k->shift[o])
                                       : rillet_rescale_reduced(sum, k->mantissa[o], k->shift[o]);
  return (int16_t)rillet_clamp(scaled, k->low, k->high);
}

static inline int64_t rillet_dot_wide(const int16_t *restrict a, const int8_t *restrict w, int32_t depth)
{
  int64_t sum = 0;
  for (int32_t first = 0; first < depth; first += RILLET_WIDE_RUN) {
    const int32_t end = depth - first < RILLET_WIDE_RUN ? depth : first + RILLET_WIDE_RUN;
    int32_t part = 0;
    for (int32_t i = first; i < end; i++) part += a[i] * w[i];
    sum += part;
  }
  return sum;
}

/* One pixel: `outputs` dot products of `depth` values, from channel `first` on. */
static inline void rillet_dense_wide_1(const int16_t *restrict a, void *out, int32_t depth, int32_t first,
                                       int32_t outputs, const rillet_channels_wide k, int32_t rounding)
{
  const int8_t *restrict w = k.weights + first * depth;
  for (int32_t o = first; o < first + outputs; o++, w += depth)
    ((int16_t *)out)[o] = rillet_finish_wide(k.bias[o] + rillet_dot_wide(a, w, depth), &k, o, rounding);
}

/* Four pixels whose gathered values lie one after another: every weight is read once for the four. */
static inline void rillet_dense_wide_4(const int16_t *restrict a, void *const out[], int32_t depth, int32_t first,
                                       int32_t outputs, const rillet_channels_wide k, int32_t rounding)
{
  const int8_t *restrict w = k.weights + first * depth;
  for (int32_t o = first; o < first + outputs; o++, w += depth)
    for (int32_t p = 0; p < 4; p++) {
      const int64_t sum = k.bias[o] + rillet_dot_wide(a + p * depth, w, depth);
      ((int16_t *)out[p])[o] = rillet_finish_wide(sum, &k, o, rounding);
    }
}

/* Depthwise convolution of one pixel: every channel by itself, weights ordered tap by tap. */
static inline void rillet_depthwise_wide(const void *const tap[], int32_t taps, void *out, int32_t channels,
                                         const rillet_channels_wide k, int32_t rounding)
{
  for (int32_t first = 0; first < channels; first += RILLET_WIDE_CHANNELS) {
    const int32_t left = channels - first;
    const int32_t n = left < RILLET_WIDE_CHANNELS ? left : RILLET_WIDE_CHANNELS;
    int64_t sum[RILLET_WIDE_CHANNELS];
    for (int32_t c = 0; c < n; c++) sum[c] = k.bias[first + c];
    for (int32_t at = 0; at < taps; at += RILLET_WIDE_RUN) {
      const int32_t end = taps - at < RILLET_WIDE_RUN ? taps : at + RILLET_WIDE_RUN;
      int32_t part[RILLET_WIDE_CHANNELS] = {0};
      for (int32_t t = at; t < end; t++) {
        const int16_t *restrict a = (const int16_t *)tap[t] + first;
        const int8_t *restrict w = k.weights + t * channels + first;
        for (int32_t c = 0; c < n; c++) part[c] += a[c] * w[c];
      }
      for (int32_t c = 0; c < n; c++) sum[c] += part[c];
    }
    for (int32_t c = 0; c < n; c++) ((int16_t *)out)[first + c] = rillet_finish_wide(sum[c], &k, first + c, rounding);
  }
}

RILLET_GATHER(rillet_gather_i16, int16_t, int16_t)
RILLET_ADD(rillet_add_i16, int16_t, +, 15)
RILLET_ADD(rillet_subtract_i16, int16_t, -, 15)
RILLET_MULTIPLY(rillet_multiply_i16, int16_t)
RILLET_PAIR(rillet_maximum_i16, int16_t, a > b ? a : b)
RILLET_PAIR(rillet_minimum_i16, int16_t, a < b ? a : b)
RILLET_PRELU(rillet_prelu_i16, int16_t)
RILLET_AVERAGE(rillet_average_i16, int16_t)
RILLET_MEAN(rillet_mean_i16, int16_t)
RILLET_MAX(rillet_max_i16, int16_t, int32_t)
RILLET_ACCUMULATE(rillet_accumulate_i16, int16_t, int32_t)
RILLET_FINISH_AVERAGE(rillet_finish_average_i16, int16_t)
RILLET_FINISH_MEAN(rillet_finish_mean_i16, int16_t)
RILLET_DEQUANTIZE(rillet_dequantize_i16, int16_t)
RILLET_QUANTIZE(rillet_quantize_i16, int16_t)

/* Values of one quantisation in another; of 16 bits and of bytes. */
#define RILLET_REQUANTIZE(name, from, to)                                                                              \
  static inline void name(const from *in, to *out, int32_t channels, int32_t from_zero, int32_t mantissa,              \
                          int32_t shift, int32_t zero, int32_t low, int32_t high)                                      \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c++) {                                                                           \
      const int32_t scaled = rillet_rescale_double(in[c] - from_zero, mantissa, shift);                                \
      out[c] = (to)rillet_store(scaled, zero, low, high);                                                              \
    }                                                                                                                  \
  }
RILLET_REQUANTIZE(rillet_requantize_i16_i16, int16_t, int16_t)
RILLET_REQUANTIZE(rillet_requantize_i16_i8, int16_t, int8_t)
RILLET_REQUANTIZE(rillet_requantize_i16_u8, int16_t, uint8_t)
RILLET_REQUANTIZE(rillet_requantize_i8_i16, int8_t, int16_t)
RILLET_REQUANTIZE(rillet_requantize_u8_i16, uint8_t, int16_t)

/* A size in 12288ths: where the table of sigmoids ends a constant, before that its value on a line between two of its
   24ths, with `bits` more after the point. */
static inline int32_t rillet_sigmoid_line(const uint16_t table[256], int32_t size, int32_t bits, int32_t beyond)
{
  const int32_t at = size >> bits, part = size & ((1 << bits) - 1);
  return at >= 255 ? beyond : (table[at] << bits) + part * (table[at + 1] - table[at]);
}

static inline int32_t rillet_scaled_wide(int32_t value, int32_t multiplier, int32_t shift)
{
  return (int32_t)(((int64_t)value * multiplier + (((int64_t)1 << shift) >> 1)) >> shift);
}

/* 1 / (1 + exp(-x)) in 32768ths. `out` may be `in`. */
static inline void rillet_sigmoid_i16(const int16_t *in, int16_t *out, int32_t channels, const uint16_t table[256],
                                      int32_t multiplier, int32_t shift)
{
  for (int32_t c = 0; c < channels; c++) {
    const int32_t x = rillet_scaled_wide(in[c], multiplier, shift);
    const int32_t made = rillet_sigmoid_line(table, x < 0 ? -x : x, 9, 0x7FFF << 10);
    out[c] = (int16_t)((x >= 0 ? made + (1 << 9) : (1 << 25) - made + (1 << 9) - 1) >> 10);
  }
}

/* tanh(x) in 32768ths: of twice the value, twice the sigmoid less 1. `out` may be `in`. */
static inline void rillet_tanh_i16(const int16_t *in, int16_t *out, int32_t channels, const uint16_t table[256],
                                   int32_t multiplier, int32_t shift)
{
  for (int32_t c = 0; c < channels; c++) {
    const int32_t x = rillet_scaled_wide(in[c], multiplier, shift);
    const int32_t made = rillet_sigmoid_line(table, x < 0 ? -x : x, 8, 0xFFFF << 8);
    out[c] = (int16_t)((x >= 0 ? made - (1 << 23) + (1 << 7) : (1 << 23) - made + (1 << 7) - 1) >> 8);
  }
}

/* What a table of 513 steps has of a 16-bit value, on the line between two of them. */
static inline int32_t rillet_look_wide(const int16_t table[513], int32_t value)
{
  const int32_t at = 256 + (value >> 7), base = table[at], slope = (int16_t)(table[at + 1] - base);
  return (int16_t)(base + ((slope * (value & 127) + 64) >> 7));
}

/* A function by such a table. `out` may be `in`. */
static inline void rillet_steps_i16(const int16_t *in, int16_t *out, int32_t channels, const int16_t table[513])
{
  for (int32_t c = 0; c < channels; c++) out[c] = (int16_t)rillet_look_wide(table, in[c]);
}

/* Values times one multiplier from 0 on, another below. `out` may be `in`. */
static inline void rillet_leaky_relu_i16(const int16_t *in, int16_t *out, int32_t channels, int32_t mantissa,
                                         int32_t shift, int32_t below, int32_t below_shift)
{
  for (int32_t c = 0; c < channels; c++) {
    const int32_t made = in[c] >= 0 ? rillet_rescale_double(in[c], mantissa, shift)
                                    : rillet_rescale_double(in[c], below, below_shift);
    out[c] = (int16_t)rillet_store(made, 0, -32768, 32767);
  }
}

/* Values without their sign times a multiplier. `out` may be `in`. */
static inline void rillet_abs_i16(const int16_t *in, int16_t *out, int32_t channels, int32_t mantissa, int32_t shift)
{
  for (int32_t c = 0; c < channels; c++) {
    const int32_t made = rillet_rescale_double(in[c] < 0 ? -in[c] : in[c], mantissa, shift);
    out[c] = (int16_t)rillet_store(made, 0, -32768, 32767);
  }
}

/* Softmax of one pixel in 32768ths: exponentials by a table, and the reciprocal of their sum by another. `out` is not
   `in`. */
static inline void rillet_softmax_i16(const int16_t *in, int16_t *out, int32_t channels, const int16_t powers[513],
                                      const int16_t reciprocals[513], int32_t mantissa, int32_t shift)
{
  int32_t greatest = in[0], sum = 0, bits = 0;
  for (int32_t c = 1; c < channels; c++)
    if (in[c] > greatest) greatest = in[c];
  for (int32_t c = 0; c < channels; c++) {
    const int32_t distance = rillet_rescale_double(in[c] - greatest, mantissa, shift);
    out[c] = (int16_t)rillet_look_wide(powers, rillet_store(distance, 32767, -32768, 32767));
    sum += out[c];
  }
  while (sum >> bits) bits++;
  const int32_t shifted = (int32_t)((((int64_t)sum << (31 - bits)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16);
  const int64_t reciprocal = rillet_look_wide(reciprocals, rillet_clamp(shifted, -32768, 32767));
  for (int32_t c = 0; c < channels; c++)
    out[c] = (int16_t)rillet_clamp((int32_t)((out[c] * reciprocal + ((int64_t)1 << (bits - 2))) >> (bits - 1)), 0, 32767);
}

/* A pixel between four of its source; shares in 1024ths, rounded half away from zero. */
static inline void rillet_interpolate_i16(const int16_t *a, const int16_t *b, const int16_t *c, const int16_t *d,
                                          int16_t *out, int32_t channels, int32_t right, int32_t down, int32_t zero)
{
  (void)zero;
  for (int32_t i = 0; i < channels; i++) {
    const int64_t above = a[i] * (1024 - right) + b[i] * right, below = c[i] * (1024 - right) + d[i] * right;
    const int64_t sum = above * (1024 - down) + below * down;
    out[i] = (int16_t)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
  }
}
#endif
