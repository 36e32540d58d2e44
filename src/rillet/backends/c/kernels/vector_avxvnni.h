/* The words that register tiles are written in, for AVX-VNNI, AVX2 and FMA: vectors of 8 lanes of 32 bits.

   Bytes are activations, always unsigned; weights are signed: one instruction adds four of their products to a lane. Where
   the compiler may not use it, products are summed in pairs of 16 bits, which never saturate. Loads may read up to a
   vector past what they need: the arena and the weights end in room for it. Stores write exactly the lanes they are
   told. */
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

typedef __m256i rillet_bytes;   /* four activations in each lane */
typedef __m256i rillet_weights; /* four weights in each lane */

RILLET_TILE rillet_bytes rillet_bytes_of(__m256i bytes) { return bytes; }

#include "words_avx2.h"

RILLET_TILE rillet_weights rillet_weights_load(const int8_t *at)
{
  return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

RILLET_TILE rillet_sums rillet_sums_add_products(rillet_sums sum, rillet_bytes a, rillet_weights w)
{
#ifdef __AVXVNNI__
  return _mm256_dpbusd_avx_epi32(sum, a, w);
#else
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(a, _mm256_set1_epi16(0xff)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(w, 8));
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
#endif
}

/* -- four rows of bytes, channel by channel -------------------------------------------------------------------------- */

/* Four bytes of each channel, one from each row; of 8 channels. */
RILLET_TILE rillet_four rillet_four_rows_1(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const __m128i va = _mm_loadl_epi64((const __m128i *)(const void *)a), vb = _mm_loadl_epi64((const __m128i *)(const void *)b);
  const __m128i vc = _mm_loadl_epi64((const __m128i *)(const void *)c), vd = _mm_loadl_epi64((const __m128i *)(const void *)d);
  const __m128i two = _mm_unpacklo_epi8(va, vb), more = _mm_unpacklo_epi8(vc, vd);
  const __m256i all = _mm256_set_m128i(_mm_unpackhi_epi16(two, more), _mm_unpacklo_epi16(two, more));
  const rillet_four out = {{(all)}};
  return out;
}

/* 16 bytes, their halves apart. */
RILLET_TILE __m256i rillet_apart(const rillet_byte *at)
{
  return _mm256_permute4x64_epi64(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)at)), 0x10);
}

/* The same of 16 channels. */
RILLET_TILE rillet_four rillet_four_rows_2(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const __m256i two = _mm256_unpacklo_epi8(rillet_apart(a), rillet_apart(b));
  const __m256i more = _mm256_unpacklo_epi8(rillet_apart(c), rillet_apart(d));
  const rillet_four out = {{(_mm256_unpacklo_epi16(two, more)),
                            (_mm256_unpackhi_epi16(two, more))}};
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
  const rillet_four out = {{(_mm256_unpacklo_epi16(low, low2)),
                            (_mm256_unpackhi_epi16(low, low2)),
                            (_mm256_unpacklo_epi16(high, high2)),
                            (_mm256_unpackhi_epi16(high, high2))}};
  return out;
}

/* The same byte everywhere. */
RILLET_TILE rillet_four rillet_four_all(int32_t value)
{
  const rillet_bytes all = (_mm256_set1_epi8((char)value));
  const rillet_four out = {{all, all, all, all}};
  return out;
}
#endif
