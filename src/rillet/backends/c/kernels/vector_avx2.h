/* The words that register tiles are written in, for AVX2 with FMA: vectors of 8 lanes of 32 bits.

   Bytes are activations, always unsigned; weights are signed. Their products are summed in pairs of 16 bits, which never
   saturate; values and weights of dense layers are widened to 16 bits beforehand. Loads may read up to a vector past what
   they need: the arena and the weights end in room for it. Stores write exactly the lanes they are told. */
#ifndef RILLET_VECTOR_H
#define RILLET_VECTOR_H
#include <immintrin.h>
#include <stdint.h>

#define RILLET_LANES 8
#define RILLET_TILE static inline __attribute__((always_inline))
#define RILLET_SHAPE RILLET_TILE

/* What compilers may know no more of: an address, and that a vector came from memory. */
#define RILLET_OPAQUE(pointer) __asm__("" : "+r"(pointer))
#define RILLET_KEEP(vector) __asm__("" : "+x"(vector))

/* The bits of the float 1.5 * 2^23, whose last bit counts one: those of its sum with a number are its bits plus it. */
#define RILLET_BITS 0x4b400000

typedef uint8_t rillet_byte;

#define RILLET_BYTES_WIDE _mm256_cvtepu8_epi32
#define RILLET_BYTES_PACKED _mm256_packus_epi16
#define RILLET_BYTES_MOST _mm256_max_epu8
#define RILLET_BYTES_LEAST _mm256_min_epu8
#define RILLET_BYTE_MIN 0
#define RILLET_BYTE_MAX 255

/* Four bytes in each lane, widened to 16 bits: those at even places and those at odd ones. */
typedef struct {
  __m256i even, odd;
} rillet_bytes;
typedef rillet_bytes rillet_weights;

RILLET_TILE rillet_bytes rillet_bytes_of(__m256i bytes)
{
  const rillet_bytes out = {_mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(bytes, 8)};
  return out;
}

#include "words_avx2.h"

RILLET_TILE rillet_weights rillet_weights_load(const int8_t *at)
{
  const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)at);
  const rillet_weights out = {_mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8), _mm256_srai_epi16(bytes, 8)};
  return out;
}

/* -- products of 16-bit values --------------------------------------------------------------------------------------- */

typedef __m256i rillet_halves; /* two values of 16 bits in each lane */

RILLET_TILE rillet_halves rillet_halves_load(const int16_t *at)
{
  return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

/* The same two values in every lane. */
RILLET_TILE rillet_halves rillet_halves_all(const int16_t *at)
{
  int32_t two;
  memcpy(&two, at, 4);
  return _mm256_set1_epi32(two);
}

/* As one step: compilers multiply ahead of the sums, which then find no registers. */
RILLET_TILE rillet_sums rillet_sums_add_halves(rillet_sums sum, rillet_halves a, rillet_halves w)
{
  __m256i products;
  __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum), "=&x"(products) : "x"(a), "x"(w));
  return sum;
}

RILLET_TILE rillet_sums rillet_sums_add_products(rillet_sums sum, rillet_bytes a, rillet_weights w)
{
  return rillet_sums_add_halves(rillet_sums_add_halves(sum, a.even, w.even), a.odd, w.odd);
}

/* -- four rows of bytes, channel by channel -------------------------------------------------------------------------- */

/* Two bytes of each of 8 channels, one from each row. */
RILLET_TILE __m256i rillet_two_rows(const rillet_byte *a, const rillet_byte *b)
{
  const __m128i first = _mm_loadl_epi64((const __m128i *)(const void *)a);
  return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(first, _mm_loadl_epi64((const __m128i *)(const void *)b)));
}

/* Four bytes of each channel, one from each row; of 8 channels. */
RILLET_TILE rillet_four rillet_four_rows_1(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const rillet_four out = {{{rillet_two_rows(a, c), rillet_two_rows(b, d)}}};
  return out;
}

RILLET_TILE __m256i rillet_row_widened(const rillet_byte *at)
{
  return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)at));
}

/* The same of 16 channels. */
RILLET_TILE rillet_four rillet_four_rows_2(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const __m256i va = rillet_row_widened(a), vb = rillet_row_widened(b), vc = rillet_row_widened(c), vd = rillet_row_widened(d);
  const rillet_four out = {{{_mm256_unpacklo_epi16(va, vc), _mm256_unpacklo_epi16(vb, vd)},
                            {_mm256_unpackhi_epi16(va, vc), _mm256_unpackhi_epi16(vb, vd)}}};
  return out;
}

/* The same of 32 channels. */
RILLET_TILE rillet_four rillet_four_rows_4(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const __m256i va = _mm256_loadu_si256((const __m256i *)(const void *)a), vb = _mm256_loadu_si256((const __m256i *)(const void *)b);
  const __m256i vc = _mm256_loadu_si256((const __m256i *)(const void *)c), vd = _mm256_loadu_si256((const __m256i *)(const void *)d);
  const __m256i low = _mm256_unpacklo_epi8(va, vb), high = _mm256_unpackhi_epi8(va, vb);
  const __m256i low2 = _mm256_unpacklo_epi8(vc, vd), high2 = _mm256_unpackhi_epi8(vc, vd);
  const rillet_four out = {{rillet_bytes_of(_mm256_unpacklo_epi16(low, low2)),
                            rillet_bytes_of(_mm256_unpackhi_epi16(low, low2)),
                            rillet_bytes_of(_mm256_unpacklo_epi16(high, high2)),
                            rillet_bytes_of(_mm256_unpackhi_epi16(high, high2))}};
  return out;
}

/* The same byte everywhere. */
RILLET_TILE rillet_four rillet_four_all(int32_t value)
{
  const rillet_bytes all = rillet_bytes_of(_mm256_set1_epi8((char)value));
  const rillet_four out = {{all, all, all, all}};
  return out;
}
#endif
