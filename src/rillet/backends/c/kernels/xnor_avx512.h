/* The same with AVX-512, eight output channels and four pixels at a time; by VPOPCNTDQ where the processor has it. */
#ifndef RILLET_XNOR_AVX512_H
#define RILLET_XNOR_AVX512_H
#include <immintrin.h>
#include "xnor.h"

#define RILLET_XNOR_PIXELS 4
#define RILLET_XNOR_OUTPUTS 8

/* Four pixels whose gathered bits (and masks, if some taps lie outside) lie one after another, `bytes` each; weights are
   [eights of outputs][words of 64 bits][outputs]. Stores what differs as [pixels][outputs in whole eights]. */
#define RILLET_XNOR_EIGHTS(name, attributes, ones)                                                                     \
  static __attribute__((noinline, unused)) attributes void name(const uint8_t *a, const uint8_t *mask, int32_t bytes,  \
                                                                const uint8_t *w, int32_t eights, int32_t *differ)     \
  {                                                                                                                    \
    for (int32_t o = 0; o < eights; o++) {                                                                             \
      __m512i sum[RILLET_XNOR_PIXELS];                                                                                 \
      for (int32_t q = 0; q < RILLET_XNOR_PIXELS; q++) sum[q] = _mm512_setzero_si512();                                \
      for (int32_t i = 0; i < bytes; i += 8, w += 64) {                                                                \
        const __m512i words = _mm512_loadu_si512(w);                                                                   \
        for (int32_t q = 0; q < RILLET_XNOR_PIXELS; q++) {                                                             \
          const int64_t word = (int64_t)rillet_word(a + q * bytes + i);                                                \
          __m512i bits = _mm512_xor_si512(words, _mm512_set1_epi64(word));                                             \
          if (mask) bits = _mm512_and_si512(bits, _mm512_set1_epi64((int64_t)rillet_word(mask + q * bytes + i)));      \
          sum[q] = _mm512_add_epi64(sum[q], ones(bits));                                                               \
        }                                                                                                              \
      }                                                                                                                \
      for (int32_t q = 0; q < RILLET_XNOR_PIXELS; q++)                                                                 \
        _mm256_storeu_si256((__m256i *)(void *)(differ + (q * eights + o) * 8), _mm512_cvtepi64_epi32(sum[q]));        \
    }                                                                                                                  \
  }

/* Ones of each word by a table of the 16 halves of a byte. */
static inline __attribute__((always_inline)) __m512i rillet_ones_by_table(__m512i bits)
{
  const __m512i low = _mm512_set1_epi8(15);
  const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m512i first = _mm512_shuffle_epi8(table, _mm512_and_si512(bits, low));
  const __m512i second = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(bits, 4), low));
  return _mm512_sad_epu8(_mm512_add_epi8(first, second), _mm512_setzero_si512());
}
RILLET_XNOR_EIGHTS(rillet_xnor_by_table, , rillet_ones_by_table)
RILLET_XNOR_EIGHTS(rillet_xnor_by_count, __attribute__((target("avx512vpopcntdq"))), _mm512_popcnt_epi64)

/* Four pixels; `inside` taps of each lie in the map, `values` values each. */
static inline void rillet_xnor_four(const uint8_t *a, const uint8_t *mask, const int32_t *inside, int32_t values,
                                    int32_t bytes, void *const out[], int32_t outputs, int32_t *differ,
                                    const rillet_low_bit k, int32_t what)
{
  const int32_t eights = (outputs + 7) / 8;
  if (__builtin_cpu_supports("avx512vpopcntdq")) rillet_xnor_by_count(a, mask, bytes, k.weights, eights, differ);
  else rillet_xnor_by_table(a, mask, bytes, k.weights, eights, differ);
  for (int32_t q = 0; q < RILLET_XNOR_PIXELS; q++, a += bytes) {
    int32_t *const sums = differ + q * eights * 8, n = inside[q] * values;
    if (what == RILLET_SIGNS && !k.levels) {
      for (int32_t o = 0; o < eights; o++) {
        const __m256i bias = _mm256_loadu_si256((const __m256i *)(const void *)(k.bias + o * 8));
        const __m256i twice = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(sums + o * 8)), 1);
        const __m256i sum = _mm256_sub_epi32(_mm256_add_epi32(_mm256_set1_epi32(n), bias), twice);
        const int32_t left = outputs - o * 8, there = left < 8 ? (1 << left) - 1 : 255;
        ((uint8_t *)out[q])[o] = (uint8_t)(_mm256_cmpge_epi32_mask(sum, _mm256_setzero_si256()) & there);
      }
      continue;
    }
    int32_t total = -n;
    if (k.levels)
      for (int32_t i = 0; i < bytes; i += 8) total += 2 * rillet_ones(rillet_word(a + i));
    for (int32_t o = 0; o < outputs; o++) {
      const int32_t sum = n - 2 * sums[o], up = k.levels ? k.levels[2 * o] : 1, down = k.levels ? k.levels[2 * o + 1] : 1;
      sums[o] = k.bias[o] + (k.levels ? up * ((total + sum) / 2) - down * ((total - sum) / 2) : sum);
    }
    rillet_low_bit_store(sums, out[q], 0, outputs, k, what);
  }
}
#endif
