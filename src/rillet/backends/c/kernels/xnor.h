/* Convolution of binary values with binary weights: bits that differ are counted, 64 at a time. */
#ifndef RILLET_XNOR_H
#define RILLET_XNOR_H
#include "low_bit.h"

static inline int32_t rillet_ones(uint64_t word)
{
#if defined __GNUC__ && defined __POPCNT__
  return __builtin_popcountll(word);
#else
  word -= word >> 1 & 0x5555555555555555u;
  word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
  return (int32_t)(((word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u >> 56);
#endif
}

static inline uint64_t rillet_word(const uint8_t *at)
{
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

/* The bits of all taps, `tap_bytes` each, zeros behind them up to `bytes`; those of taps outside the map are zero, and so
   is their mask. Returns how many taps lie inside. */
static inline int32_t rillet_gather_bits(const void *const tap[], int32_t taps, int32_t tap_bytes, int32_t bytes,
                                         uint8_t *out, uint8_t *mask)
{
  int32_t inside = 0;
  for (int32_t t = 0; t < taps; t++) {
    if (tap[t]) memcpy(out + t * tap_bytes, tap[t], (size_t)tap_bytes);
    else memset(out + t * tap_bytes, 0, (size_t)tap_bytes);
    if (mask) memset(mask + t * tap_bytes, tap[t] ? 0xff : 0, (size_t)tap_bytes);
    inside += tap[t] != 0;
  }
  memset(out + taps * tap_bytes, 0, (size_t)(bytes - taps * tap_bytes));
  if (mask) memset(mask + taps * tap_bytes, 0, (size_t)(bytes - taps * tap_bytes));
  return inside;
}

/* One pixel: `values` of the gathered bits are values, all others zeros; `mask` where some taps lie outside. A row of
   weights has `bytes` bytes, a multiple of 8. */
static inline void rillet_xnor(const uint8_t *a, const uint8_t *mask, int32_t values, int32_t bytes, void *out,
                               int32_t outputs, const rillet_low_bit k, int32_t what)
{
  const uint8_t *w = k.weights;
  int32_t total = -values;
  if (k.levels)
    for (int32_t i = 0; i < bytes; i += 8) total += 2 * rillet_ones(rillet_word(a + i));
  for (int32_t first = 0; first < outputs; first += RILLET_LOW_BIT_RUN) {
    const int32_t left = outputs - first, n = left < RILLET_LOW_BIT_RUN ? left : RILLET_LOW_BIT_RUN;
    int32_t sums[RILLET_LOW_BIT_RUN];
    for (int32_t c = 0; c < n; c++, w += bytes) {
      const int32_t o = first + c;
      int32_t differ = 0;
      if (mask)
        for (int32_t i = 0; i < bytes; i += 8)
          differ += rillet_ones((rillet_word(a + i) ^ rillet_word(w + i)) & rillet_word(mask + i));
      else
        for (int32_t i = 0; i < bytes; i += 8) differ += rillet_ones(rillet_word(a + i) ^ rillet_word(w + i));
      const int32_t sum = values - 2 * differ;
      /* (total + sum) / 2 is the sum of the values under +, (total - sum) / 2 that of those under -. */
      const int32_t up = k.levels ? k.levels[2 * o] : 1, down = k.levels ? k.levels[2 * o + 1] : 1;
      sums[c] = k.bias[o] + (k.levels ? up * ((total + sum) / 2) - down * ((total - sum) / 2) : sum);
    }
    rillet_low_bit_store(sums, out, first, n, k, what);
  }
}

/* The signs of one pixel's values as bits. */
#define RILLET_SIGN_BITS(name, from)                                                                                   \
  static inline void name(const from *in, uint8_t *out, int32_t channels, from zero)                                   \
  {                                                                                                                    \
    for (int32_t c = 0; c < channels; c += 8) {                                                                        \
      uint8_t byte = 0;                                                                                                \
      for (int32_t j = 0; j < 8 && c + j < channels; j++) byte = (uint8_t)(byte | (in[c + j] >= zero) << j);           \
      out[c / 8] = byte;                                                                                               \
    }                                                                                                                  \
  }
RILLET_SIGN_BITS(rillet_sign_bits_i8, int8_t)
RILLET_SIGN_BITS(rillet_sign_bits_u8, uint8_t)

/* The greatest of binary values is 1 where one of them is. */
static inline void rillet_max_binary(const void *const tap[], int32_t taps, uint8_t *out, int32_t channels)
{
  for (int32_t i = 0; i < (channels + 7) / 8; i++) {
    uint8_t byte = 0;
    for (int32_t t = 0; t < taps; t++) byte |= ((const uint8_t *)tap[t])[i];
    out[i] = byte;
  }
}
#endif
