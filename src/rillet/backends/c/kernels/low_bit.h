/* Convolutions with ternary and binary weights as they lie packed: planes of bits, or lists of gaps between weights. */
#ifndef RILLET_LOW_BIT_H
#define RILLET_LOW_BIT_H
#include <string.h>
#include "dense.h"

#define RILLET_LOW_BIT_RUN 32 /* output channels whose sums are held at a time */
#define RILLET_UNPACKED 64    /* weights that are unpacked at a time */
#define RILLET_SKIP 255       /* a gap of one less, with no weight at its end */

/* Planes are those of + and of -, or of + alone where every other weight is -. */
enum { RILLET_TERNARY_PLANES, RILLET_BINARY_PLANES, RILLET_LISTS };

/* What becomes of sums: rescaled, by the rule as rescale.h numbers it, or these. */
enum { RILLET_SIGNS = 3, RILLET_SUMS = 4 };

/* The constants of an integer convolution's output channels. */
typedef struct {
  const uint8_t *weights;
  const int8_t *levels;    /* what + and - stand for, in each channel; none: 1 and 1 */
  const int32_t *bias;     /* zero points folded in */
  const int32_t *mantissa; /* none under the rule `shift` */
  const int8_t *shift;
  int32_t zero, low, high;
} rillet_low_bit;

typedef struct {
  const uint8_t *weights;
  const float *levels;
  const float *bias;
  float low, high;
} rillet_low_bit_f32;

/* Stores the sums of `n` channels of a pixel from `first` on, a multiple of 8 where they become signs. */
static inline void rillet_low_bit_store(const int32_t *sums, void *out, int32_t first, int32_t n,
                                        const rillet_low_bit k, int32_t what)
{
  if (what == RILLET_SUMS) {
    memcpy((int32_t *)out + first, sums, (size_t)n * sizeof *sums);
  } else if (what == RILLET_SIGNS) {
    uint8_t *const bytes = (uint8_t *)out + first / 8;
    for (int32_t c = 0; c < n; c += 8) {
      uint8_t byte = 0;
      for (int32_t j = 0; j < 8 && c + j < n; j++) byte = (uint8_t)(byte | (sums[c + j] >= 0) << j);
      bytes[c / 8] = byte;
    }
  } else {
    for (int32_t c = 0; c < n; c++) {
      const int32_t o = first + c;
      const int32_t scaled = what == 2 ? rillet_rescale_shift(sums[c], k.shift[o])
                                       : rillet_rescale(sums[c], k.mantissa[o], k.shift[o], what);
      ((uint8_t *)out)[o] = (uint8_t)rillet_store(scaled, k.zero, k.low, k.high);
    }
  }
}

static inline void rillet_low_bit_store_f32(const float *sums, void *out, int32_t first, int32_t n,
                                            const rillet_low_bit_f32 k, int32_t what)
{
  (void)what;
  for (int32_t c = 0; c < n; c++) ((float *)out)[first + c] = rillet_limit(sums[c], k.low, k.high);
}

/* `name`_tile: sums of `pixels` (at most 4) pixels whose gathered values lie one after another, and their storing;
   `name`_planes adds the weights of one output channel, `name`_list those of one sign of it. */
#define RILLET_LOW_BIT(name, from, sum, constants, store)                                                              \
  static inline void name##_planes(const from *restrict a, int32_t pixels, int32_t depth, const uint8_t *plus,         \
                                   int32_t binary, from up, from down, sum *sums)                                      \
  {                                                                                                                    \
    const uint8_t *const minus = plus + (depth + 7) / 8;                                                               \
    for (int32_t i = 0; i < depth; i += RILLET_UNPACKED) {                                                             \
      const int32_t n = depth - i < RILLET_UNPACKED ? depth - i : RILLET_UNPACKED;                                     \
      from w[RILLET_UNPACKED];                                                                                         \
      for (int32_t b = 0; b < n; b += 8) {                                                                             \
        const int32_t ups = plus[(i + b) / 8], downs = binary ? ~ups : minus[(i + b) / 8];                             \
        for (int32_t j = 0; j < 8; j++)                                                                                \
          w[b + j] = (from)((ups & 1 << j ? up : (from)0) - (downs & 1 << j ? down : (from)0));                        \
      }                                                                                                                \
      for (int32_t q = 0; q < pixels; q++) {                                                                           \
        sum s = 0;                                                                                                     \
        for (int32_t c = 0; c < n; c++) s += a[q * depth + i + c] * w[c];                                              \
        sums[q] += s;                                                                                                  \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
                                                                                                                       \
  static inline const uint8_t *name##_list(const from *restrict a, int32_t pixels, int32_t depth, const uint8_t *list, \
                                           sum weight, sum *sums)                                                      \
  {                                                                                                                    \
    sum s[4] = {0};                                                                                                    \
    int32_t at = -1;                                                                                                   \
    for (;;) {                                                                                                         \
      const int32_t gap = *list++;                                                                                     \
      if (!gap) break;                                                                                                 \
      at += gap - (gap == RILLET_SKIP);                                                                                \
      if (gap == RILLET_SKIP) continue;                                                                                \
      for (int32_t q = 0; q < pixels; q++) s[q] += a[q * depth + at];                                                  \
    }                                                                                                                  \
    for (int32_t q = 0; q < pixels; q++) sums[q] += weight * s[q];                                                     \
    return list;                                                                                                       \
  }                                                                                                                    \
                                                                                                                       \
  static inline void name##_tile(const from *restrict a, void *const out[], int32_t pixels, int32_t depth,             \
                                 int32_t first, int32_t outputs, const constants k, int32_t what, int32_t how)         \
  {                                                                                                                    \
    const int32_t row = (depth + 7) / 8 * (how == RILLET_BINARY_PLANES ? 1 : 2);                                       \
    const uint8_t *w = k.weights + (how == RILLET_LISTS ? 0 : first * row);                                            \
    for (int32_t at = 0; at < outputs; at += RILLET_LOW_BIT_RUN) {                                                     \
      const int32_t left = outputs - at, n = left < RILLET_LOW_BIT_RUN ? left : RILLET_LOW_BIT_RUN;                    \
      sum sums[4][RILLET_LOW_BIT_RUN];                                                                                 \
      for (int32_t c = 0; c < n; c++) {                                                                                \
        const int32_t o = first + at + c;                                                                              \
        const sum up = k.levels ? k.levels[2 * o] : 1, down = k.levels ? k.levels[2 * o + 1] : 1;                      \
        sum s[4];                                                                                                      \
        for (int32_t q = 0; q < pixels; q++) s[q] = k.bias[o];                                                         \
        if (how == RILLET_LISTS) {                                                                                     \
          w = name##_list(a, pixels, depth, w, up, s);                                                                 \
          w = name##_list(a, pixels, depth, w, -down, s);                                                              \
        } else {                                                                                                       \
          name##_planes(a, pixels, depth, w, how == RILLET_BINARY_PLANES, (from)up, (from)down, s);                    \
          w += row;                                                                                                    \
        }                                                                                                              \
        for (int32_t q = 0; q < pixels; q++) sums[q][c] = s[q];                                                        \
      }                                                                                                                \
      for (int32_t q = 0; q < pixels; q++) store(sums[q], out[q], first + at, n, k, what);                             \
    }                                                                                                                  \
  }
RILLET_LOW_BIT(rillet_low_bit, int16_t, int32_t, rillet_low_bit, rillet_low_bit_store)
RILLET_LOW_BIT(rillet_low_bit_f32, float, float, rillet_low_bit_f32, rillet_low_bit_store_f32)

#define RILLET_LOW_BIT_DEPTHWISE_RUN 64

/* Every channel by itself, one pixel; planes are those of taps, tap by tap. */
#define RILLET_LOW_BIT_DEPTHWISE(name, from, sum, constants, store)                                                    \
  static inline void name(const void *const tap[], int32_t taps, void *out, int32_t channels, const constants k,       \
                          int32_t what, int32_t how)                                                                   \
  {                                                                                                                    \
    const int32_t bytes = (channels + 7) / 8, binary = how == RILLET_BINARY_PLANES;                                    \
    for (int32_t first = 0; first < channels; first += RILLET_LOW_BIT_DEPTHWISE_RUN) {                                 \
      const int32_t left = channels - first;                                                                           \
      const int32_t n = left < RILLET_LOW_BIT_DEPTHWISE_RUN ? left : RILLET_LOW_BIT_DEPTHWISE_RUN;                     \
      sum plus[RILLET_LOW_BIT_DEPTHWISE_RUN] = {0}, minus[RILLET_LOW_BIT_DEPTHWISE_RUN] = {0};                         \
      for (int32_t t = 0; t < taps; t++) {                                                                             \
        const from *restrict a = (const from *)tap[t] + first;                                                         \
        const uint8_t *const ups = k.weights + t * bytes * (2 - binary) + first / 8, *const downs = ups + bytes;       \
        for (int32_t c = 0; c < n; c++) {                                                                              \
          const int32_t up = ups[c / 8] >> c % 8 & 1, down = binary ? 1 - up : downs[c / 8] >> c % 8 & 1;              \
          plus[c] += a[c] * (sum)up;                                                                                   \
          minus[c] += a[c] * (sum)down;                                                                                \
        }                                                                                                              \
      }                                                                                                                \
      for (int32_t c = 0; c < n; c++) {                                                                                \
        const int32_t o = first + c;                                                                                   \
        plus[c] = k.bias[o] + (k.levels ? k.levels[2 * o] * plus[c] - k.levels[2 * o + 1] * minus[c]                   \
                                        : plus[c] - minus[c]);                                                         \
      }                                                                                                                \
      store(plus, out, first, n, k, what);                                                                             \
    }                                                                                                                  \
  }
RILLET_LOW_BIT_DEPTHWISE(rillet_low_bit_depthwise_i8, int8_t, int32_t, rillet_low_bit, rillet_low_bit_store)
RILLET_LOW_BIT_DEPTHWISE(rillet_low_bit_depthwise_u8, uint8_t, int32_t, rillet_low_bit, rillet_low_bit_store)
RILLET_LOW_BIT_DEPTHWISE(rillet_low_bit_depthwise_f32, float, float, rillet_low_bit_f32, rillet_low_bit_store_f32)
#endif
