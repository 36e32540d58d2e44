/* The words of AVX-512 F, BW, DQ, VL and VNNI, in vectors of 16 lanes of 32 bits; included by the headers of kernel sets.

   Bytes are activations, always unsigned; weights are signed. Loads may read up to a vector past what they need: the
   arena and the weights end in room for it. Stores write exactly the lanes they are told. */
#ifndef RILLET_WORDS_H
#define RILLET_WORDS_H
#include <float.h>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define RILLET_LANES 16
#define RILLET_TILE static inline __attribute__((always_inline))
#define RILLET_SHAPE RILLET_TILE

/* What compilers may know no more of: an address, and that a vector came from memory. */
#define RILLET_OPAQUE(pointer) __asm__("" : "+r"(pointer))
#define RILLET_KEEP(vector) __asm__("" : "+v"(vector))

/* The bits of the float 1.5 * 2^23, whose last bit counts one: those of its sum with a number are its bits plus it. */
#define RILLET_BITS 0x4b400000

typedef uint8_t rillet_byte;

/* -- float32 ----------------------------------------------------------------------------------------------------------- */

typedef __m512 rillet_reals;

RILLET_TILE rillet_reals rillet_reals_load(const float *at) { return _mm512_loadu_ps(at); }
RILLET_TILE rillet_reals rillet_reals_all(float value) { return _mm512_set1_ps(value); }
RILLET_TILE rillet_reals rillet_reals_add_product(rillet_reals sum, rillet_reals a, rillet_reals b)
{
  return _mm512_fmadd_ps(a, b, sum);
}

/* Clamps, and stores the first `lanes` of the vector. */
RILLET_TILE void rillet_reals_store(float *out, rillet_reals value, int32_t lanes, float low, float high)
{
  const __m512 raised = low > -FLT_MAX ? _mm512_max_ps(value, _mm512_set1_ps(low)) : value;
  const __m512 limited = high < FLT_MAX ? _mm512_min_ps(raised, _mm512_set1_ps(high)) : raised;
  if (lanes >= RILLET_LANES) _mm512_storeu_ps(out, limited);
  else _mm512_mask_storeu_ps(out, (__mmask16)((1u << lanes) - 1), limited);
}

/* -- products of bfloat16, summed in float32 --------------------------------------------------------------------------- */

#ifdef __AVX512BF16__
typedef __m512i rillet_bf16s; /* two values in each lane */

RILLET_TILE rillet_bf16s rillet_bf16s_load(const uint16_t *at) { return _mm512_loadu_si512(at); }
RILLET_TILE rillet_bf16s rillet_bf16s_all(const uint16_t *at)
{
  int32_t two;
  memcpy(&two, at, 4);
  return _mm512_set1_epi32(two);
}
RILLET_TILE rillet_reals rillet_reals_add_pairs(rillet_reals sum, rillet_bf16s a, rillet_bf16s w)
{
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
  return sum;
}
RILLET_TILE void rillet_bf16s_store(uint16_t *out, rillet_reals value, int32_t lanes)
{
  __m256i rounded;
  __asm__("vcvtneps2bf16 %1, %0" : "=v"(rounded) : "v"(value));
  if (lanes >= RILLET_LANES) _mm256_storeu_si256((__m256i *)(void *)out, rounded);
  else _mm256_mask_storeu_epi16(out, (__mmask16)((1u << lanes) - 1), rounded);
}
#endif

/* -- sums of products of bytes --------------------------------------------------------------------------------------- */

typedef __m512i rillet_sums;
typedef __m512i rillet_bytes;   /* four activations in each lane */
typedef __m512i rillet_weights; /* four weights in each lane */

RILLET_TILE rillet_sums rillet_sums_load(const int32_t *at) { return _mm512_loadu_si512(at); }
RILLET_TILE rillet_weights rillet_weights_load(const int8_t *at) { return _mm512_loadu_si512(at); }

/* The same four bytes in every lane. */
RILLET_TILE rillet_bytes rillet_bytes_all(const rillet_byte *at)
{
  int32_t four;
  memcpy(&four, at, 4);
  return _mm512_set1_epi32(four);
}

RILLET_TILE rillet_sums rillet_sums_add_products(rillet_sums sum, rillet_bytes a, rillet_weights w)
{
#if defined __GNUC__ && !defined __clang__
  /* gcc 12 copies the sum around its own intrinsic. */
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
  return sum;
#else
  return _mm512_dpbusd_epi32(sum, a, w);
#endif
}

/* -- from sums to bytes ---------------------------------------------------------------------------------------------- */

/* The multipliers of one vector of channels, ready for use. */
typedef struct {
  __m512i mantissa, odd_mantissa, left, right, last, sign;
} rillet_scales;

RILLET_TILE rillet_scales rillet_scales_load(const int32_t *mantissa, const int32_t *left, const int32_t *right)
{
  rillet_scales k;
  k.mantissa = _mm512_loadu_si512(mantissa);
  k.odd_mantissa = _mm512_srli_epi64(k.mantissa, 32);
  k.left = _mm512_loadu_si512(left);
  k.right = _mm512_loadu_si512(right);
  /* The last bit of a division is rounded by itself, so that nothing overflows. */
  k.last = _mm512_min_epu32(k.right, _mm512_set1_epi32(1));
  k.right = _mm512_sub_epi32(k.right, k.last);
  /* A shift by 31 gives the sign, a shift by 32 gives 0. */
  k.sign = _mm512_sub_epi32(_mm512_set1_epi32(32), k.last);
  return k;
}

/* As rillet_saturated does, for a shift to the left. */
RILLET_TILE rillet_sums rillet_sums_saturated(rillet_sums sum, rillet_sums left)
{
  const __m512i most = _mm512_srlv_epi32(_mm512_set1_epi32(INT32_MAX), left);
  const __m512i least = _mm512_sub_epi32(_mm512_set1_epi32(-1), most);
  return _mm512_min_epi32(_mm512_max_epi32(sum, least), most);
}

/* Rounded twice, as rillet_rescale_double does. */
RILLET_TILE rillet_sums rillet_sums_double(rillet_sums sum, rillet_scales k)
{
  const __m512i x = _mm512_sllv_epi32(rillet_sums_saturated(sum, k.left), k.left);
  const __m512i nudge = _mm512_set1_epi64(1 << 30);
  const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, k.mantissa), nudge);
  const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), k.odd_mantissa), nudge);
  const __m512i high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
  const __m512i twice = _mm512_srav_epi32(_mm512_sub_epi32(high, _mm512_srlv_epi32(high, k.sign)), k.right);
  return _mm512_srav_epi32(_mm512_add_epi32(twice, k.last), k.last);
}

/* Rounded once, as rillet_rescale_single does; `left` holds 31 - shift here. */
RILLET_TILE rillet_sums rillet_sums_single(rillet_sums sum, rillet_scales k)
{
  const __m512i shift = _mm512_max_epi32(_mm512_sub_epi32(_mm512_set1_epi32(31), k.left), _mm512_setzero_si512());
  const __m512i x = rillet_sums_saturated(sum, shift);
  const __m512i even_shift = _mm512_and_si512(k.left, _mm512_set1_epi64(0xffffffff));
  const __m512i odd_shift = _mm512_srli_epi64(k.left, 32);
  const __m512i one = _mm512_set1_epi64(1);
  const __m512i even_half = _mm512_srli_epi64(_mm512_sllv_epi64(one, even_shift), 1);
  const __m512i odd_half = _mm512_srli_epi64(_mm512_sllv_epi64(one, odd_shift), 1);
  const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, k.mantissa), even_half);
  const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), k.odd_mantissa), odd_half);
  const __m512i odd_high = _mm512_slli_epi64(_mm512_srav_epi64(odd, odd_shift), 32);
  return _mm512_mask_blend_epi32(0xaaaa, _mm512_srav_epi64(even, even_shift), odd_high);
}

/* The constants of one vector of channels whose rounding float32 gives exactly (arithmetic/affine.py). */
typedef struct {
  __m512 scale, nudge;
} rillet_factors;

RILLET_TILE rillet_factors rillet_factors_load(const float *scale, const float *nudge)
{
  const rillet_factors out = {_mm512_loadu_ps(scale), _mm512_loadu_ps(nudge)};
  return out;
}

/* sum * scale + nudge, fused, to the nearest integer; the nudge with the sign of the sum where it is `is_signed`.
   `careful`: then one up or down by what is left, where that is half and more. */
RILLET_TILE rillet_sums rillet_sums_rounded(rillet_sums sum, rillet_factors k, int32_t is_signed, int32_t careful)
{
  const __m512 real = _mm512_cvtepi32_ps(sum);
  const __m512i sign = _mm512_set1_epi32(INT32_MIN);
  const __m512i pushed =
      _mm512_ternarylogic_epi32(_mm512_castps_si512(real), sign, _mm512_castps_si512(k.nudge), 0xea);
  const __m512 nudge = is_signed ? _mm512_castsi512_ps(pushed) : k.nudge;
  if (!careful) return _mm512_cvtps_epi32(_mm512_fmadd_ps(real, k.scale, nudge));
  const __m512 near = _mm512_roundscale_ps(_mm512_fmadd_ps(real, k.scale, nudge), _MM_FROUND_TO_NEAREST_INT);
  const __m512 rest = _mm512_add_ps(_mm512_fmsub_ps(real, k.scale, near), nudge);
  const __m512i whole = _mm512_cvtps_epi32(near), one = _mm512_set1_epi32(1);
  const __m512i up = _mm512_mask_add_epi32(whole, _mm512_cmp_ps_mask(rest, _mm512_set1_ps(0.5f), _CMP_GE_OQ), whole, one);
  return _mm512_mask_sub_epi32(up, _mm512_cmp_ps_mask(rest, _mm512_set1_ps(-0.5f), _CMP_LT_OQ), up, one);
}

/* The same of sums that are the bits of 1.5 * 2^23 + sum. With 1.5 * 2^23 * (2^shift - 1) more, that float lies where its
   last bit counts 2^shift: it is rounded there, halves to even, and the lower 16 bits are those of the result. An addition
   has units of its own on some processors, where a multiply-add has those of the dot products. */
#define RILLET_ADDS
RILLET_TILE rillet_factors rillet_factors_added(const float *nudge)
{
  const __m512 added = _mm512_loadu_ps(nudge);
  const rillet_factors out = {added, added};
  return out;
}
RILLET_TILE rillet_sums rillet_sums_shifted(rillet_sums sum, rillet_factors k)
{
  return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(sum), k.nudge));
}

/* Bytes as float32 values, and the nearest integers, halves to even. */
RILLET_TILE rillet_reals rillet_reals_of_bytes(const rillet_byte *at)
{
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)at)));
}
RILLET_TILE rillet_sums rillet_sums_nearest(rillet_reals value) { return _mm512_cvtps_epi32(value); }

/* value - less, no less than the least int32: what is so far down is clamped. */
RILLET_TILE rillet_sums rillet_sums_less(rillet_sums value, int32_t less)
{
  const __m512i floor = _mm512_set1_epi32(INT32_MIN + less);
  return _mm512_sub_epi32(_mm512_max_epi32(value, floor), _mm512_set1_epi32(less));
}

RILLET_TILE void rillet_sums_keep(int32_t *out, rillet_sums sums) { _mm512_storeu_si512(out, sums); }

/* Stores of the first `lanes` channels as bytes, the zero point added and clamped; of `bits` the lower 16. Channels of
   several vectors are dealt out to them four by four, as packing puts them back: of n vectors, vector j has 4 n l + 4 j to
   4 n l + 4 j + 3. */
RILLET_TILE void rillet_store_1(rillet_byte *out, rillet_sums value, int32_t lanes, int32_t zero, int32_t low,
                                int32_t high, int32_t bits)
{
  const __m512i whole = bits ? _mm512_srai_epi32(_mm512_slli_epi32(value, 16), 16) : value;
  const __m512i least = _mm512_set1_epi32(low - zero), most = _mm512_set1_epi32(high - zero);
  const __m512i limited = _mm512_min_epi32(_mm512_max_epi32(whole, least), most);
  const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(limited, _mm512_set1_epi32(zero)));
  if (lanes >= 16) _mm_storeu_si128((__m128i *)(void *)out, bytes);
  else _mm_mask_storeu_epi8(out, (__mmask16)((1u << lanes) - 1), bytes);
}

/* Two vectors of sums as saturated words, the zero point added: four and four of each; the lower words of sums kept as bits,
   one and one of each, as rillet_unwoven has it (a permutation that picks them is three instructions on some processors). */
RILLET_TILE __m512i rillet_words(rillet_sums a, rillet_sums b, int32_t zero, int32_t bits)
{
  const __m512i woven = _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16));
  return _mm512_adds_epi16(bits ? woven : _mm512_packs_epi32(a, b), _mm512_set1_epi16((int16_t)zero));
}

/* Bytes of two vectors of such words, four and four of each sum. */
RILLET_TILE __m512i rillet_unwoven(__m512i bytes, int32_t bits)
{
  const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
  return bits ? _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(order)) : bytes;
}

/* Compilers do not see that these do nothing to bytes where a bound is theirs. */
RILLET_TILE __m512i rillet_limited(__m512i bytes, int32_t low, int32_t high)
{
  const __m512i raised = low > 0 ? _mm512_max_epu8(bytes, _mm512_set1_epi8((char)low)) : bytes;
  return high < 255 ? _mm512_min_epu8(raised, _mm512_set1_epi8((char)high)) : raised;
}

/* Four vectors of sums as bytes, four and four of each. */
RILLET_TILE __m512i rillet_packed(rillet_sums a, rillet_sums b, rillet_sums c, rillet_sums d, int32_t zero, int32_t low,
                                  int32_t high, int32_t bits)
{
  const __m512i first = rillet_words(a, b, zero, bits), second = rillet_words(c, d, zero, bits);
  return rillet_limited(rillet_unwoven(_mm512_packus_epi16(first, second), bits), low, high);
}

RILLET_TILE void rillet_store_2(rillet_byte *out, rillet_sums a, rillet_sums b, int32_t lanes, int32_t zero, int32_t low,
                                int32_t high, int32_t bits)
{
  const __m512i words = rillet_words(a, b, zero, bits);
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 0, 2, 4, 6);
  const __m512i packed = rillet_unwoven(_mm512_packus_epi16(words, words), bits);
  const __m512i twice = _mm512_permutexvar_epi64(order, packed);
  const __m256i bytes = _mm512_castsi512_si256(rillet_limited(twice, low, high));
  if (lanes >= 32) _mm256_storeu_si256((__m256i *)(void *)out, bytes);
  else _mm256_mask_storeu_epi8(out, (__mmask32)((1u << lanes) - 1), bytes);
}

RILLET_TILE void rillet_store_4(rillet_byte *out, rillet_sums a, rillet_sums b, rillet_sums c, rillet_sums d,
                                int32_t lanes, int32_t zero, int32_t low, int32_t high, int32_t bits)
{
  const __m512i bytes = rillet_packed(a, b, c, d, zero, low, high, bits);
  if (lanes >= 64) _mm512_storeu_si512(out, bytes);
  else _mm512_mask_storeu_epi8(out, ((__mmask64)1 << lanes) - 1, bytes);
}

/* The same of one vector of four pixels, `pitch` apart. */
RILLET_TILE void rillet_store_1_of_4(rillet_byte *out, int32_t pitch, rillet_sums a, rillet_sums b, rillet_sums c,
                                     rillet_sums d, int32_t lanes, int32_t zero, int32_t low, int32_t high, int32_t bits)
{
  const __m512i bytes = rillet_packed(a, b, c, d, zero, low, high, bits);
  if (lanes == 8 && pitch == 8) {
    const __m512i halves = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm256_storeu_si256((__m256i *)(void *)out, _mm512_castsi512_si256(_mm512_permutexvar_epi32(halves, bytes)));
    return;
  }
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i pixels = _mm512_permutexvar_epi32(order, bytes);
  const __mmask16 there = lanes >= 16 ? 0xffff : (__mmask16)((1u << lanes) - 1);
  if (lanes >= 16 && pitch == 16) {
    _mm512_storeu_si512(out, pixels);
    return;
  }
  _mm_mask_storeu_epi8(out, there, _mm512_castsi512_si128(pixels));
  _mm_mask_storeu_epi8(out + pitch, there, _mm512_extracti32x4_epi32(pixels, 1));
  _mm_mask_storeu_epi8(out + 2 * pitch, there, _mm512_extracti32x4_epi32(pixels, 2));
  _mm_mask_storeu_epi8(out + 3 * pitch, there, _mm512_extracti32x4_epi32(pixels, 3));
}

/* -- four rows of bytes, channel by channel -------------------------------------------------------------------------- */

/* Up to four vectors of 16 channels, dealt out as for rillet_store_1, _2 and _4. */
typedef struct {
  rillet_bytes part[4];
} rillet_four;

/* Four channels of four rows in each 128 bits, turned into four rows of each channel. */
RILLET_TILE __m512i rillet_turned(__m512i rows)
{
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_shuffle_epi8(rows, _mm512_broadcast_i32x4(order));
}

/* 16 bytes of each of four rows. */
RILLET_TILE __m512i rillet_of_four(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                   const rillet_byte *d)
{
  const __m512i one = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)a));
  const __m512i two = _mm512_inserti32x4(one, _mm_loadu_si128((const __m128i *)(const void *)b), 1);
  const __m512i three = _mm512_inserti32x4(two, _mm_loadu_si128((const __m128i *)(const void *)c), 2);
  return _mm512_inserti32x4(three, _mm_loadu_si128((const __m128i *)(const void *)d), 3);
}

/* 32 bytes of each of two rows. */
RILLET_TILE __m512i rillet_of_two(const rillet_byte *a, const rillet_byte *b)
{
  const __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)a));
  return _mm512_inserti64x4(first, _mm256_loadu_si256((const __m256i *)(const void *)b), 1);
}

#ifdef __AVX512VBMI__
/* Bytes of two vectors in any order: for each place, which of the 128. */
RILLET_TILE __m512i rillet_chosen(__m512i a, __m512i order, __m512i b) { return _mm512_permutex2var_epi8(a, order, b); }

/* Four bytes of each channel, one from each row; of 16 channels. */
RILLET_TILE rillet_four rillet_four_rows_1(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const __m512i all = rillet_of_four(a, b, c, d);
  const __m512i order = _mm512_setr_epi32(0x30201000, 0x31211101, 0x32221202, 0x33231303, 0x34241404, 0x35251505, 0x36261606, 0x37271707,
                                          0x38281808, 0x39291909, 0x3a2a1a0a, 0x3b2b1b0b, 0x3c2c1c0c, 0x3d2d1d0d, 0x3e2e1e0e, 0x3f2f1f0f);
  const rillet_four out = {{_mm512_permutexvar_epi8(order, all)}};
  return out;
}

/* The same of 32 channels. */
RILLET_TILE rillet_four rillet_four_rows_2(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const __m512i ab = rillet_of_two(a, b), cd = rillet_of_two(c, d);
  const __m512i even = _mm512_setr_epi32(0x60402000, 0x61412101, 0x62422202, 0x63432303, 0x68482808, 0x69492909, 0x6a4a2a0a, 0x6b4b2b0b,
                                         0x70503010, 0x71513111, 0x72523212, 0x73533313, 0x78583818, 0x79593919, 0x7a5a3a1a, 0x7b5b3b1b);
  const __m512i odd = _mm512_setr_epi32(0x64442404, 0x65452505, 0x66462606, 0x67472707, 0x6c4c2c0c, 0x6d4d2d0d, 0x6e4e2e0e, 0x6f4f2f0f,
                                        0x74543414, 0x75553515, 0x76563616, 0x77573717, 0x7c5c3c1c, 0x7d5d3d1d, 0x7e5e3e1e, 0x7f5f3f1f);
  const rillet_four out = {{rillet_chosen(ab, even, cd), rillet_chosen(ab, odd, cd)}};
  return out;
}
#else
/* Four bytes of each channel, one from each row; of 16 channels. */
RILLET_TILE rillet_four rillet_four_rows_1(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const __m512i all = rillet_of_four(a, b, c, d);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const rillet_four out = {{rillet_turned(_mm512_permutexvar_epi32(order, all))}};
  return out;
}

/* The same of 32 channels. */
RILLET_TILE rillet_four rillet_four_rows_2(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const __m512i ab = rillet_of_two(a, b), cd = rillet_of_two(c, d);
  const __m512i even = _mm512_setr_epi32(0, 8, 16, 24, 2, 10, 18, 26, 4, 12, 20, 28, 6, 14, 22, 30);
  const __m512i odd = _mm512_setr_epi32(1, 9, 17, 25, 3, 11, 19, 27, 5, 13, 21, 29, 7, 15, 23, 31);
  const rillet_four out = {{rillet_turned(_mm512_permutex2var_epi32(ab, even, cd)),
                            rillet_turned(_mm512_permutex2var_epi32(ab, odd, cd))}};
  return out;
}
#endif

/* The same of 64 channels. */
RILLET_TILE rillet_four rillet_four_rows_4(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const __m512i va = _mm512_loadu_si512(a), vb = _mm512_loadu_si512(b);
  const __m512i vc = _mm512_loadu_si512(c), vd = _mm512_loadu_si512(d);
  const __m512i low = _mm512_unpacklo_epi8(va, vb), high = _mm512_unpackhi_epi8(va, vb);
  const __m512i low2 = _mm512_unpacklo_epi8(vc, vd), high2 = _mm512_unpackhi_epi8(vc, vd);
  const rillet_four out = {{_mm512_unpacklo_epi16(low, low2), _mm512_unpackhi_epi16(low, low2),
                            _mm512_unpacklo_epi16(high, high2), _mm512_unpackhi_epi16(high, high2)}};
  return out;
}

/* The same byte everywhere. */
RILLET_TILE rillet_four rillet_four_all(int32_t value)
{
  const __m512i all = _mm512_set1_epi8((char)value);
  const rillet_four out = {{all, all, all, all}};
  return out;
}

/* -- tables of 256 bytes --------------------------------------------------------------------------------------------- */

#ifdef __AVX512VBMI__
#define RILLET_TABLE_BYTES 64 /* looked up at a time */

typedef struct {
  __m512i part[4];
} rillet_table;

RILLET_TILE rillet_table rillet_table_load(const uint8_t *table)
{
  const rillet_table out = {{_mm512_loadu_si512(table), _mm512_loadu_si512(table + 64),
                             _mm512_loadu_si512(table + 128), _mm512_loadu_si512(table + 192)}};
  return out;
}

RILLET_TILE void rillet_table_look(rillet_table t, const uint8_t *in, uint8_t *out)
{
  const __m512i at = _mm512_loadu_si512(in);
  const __m512i low = _mm512_permutex2var_epi8(t.part[0], at, t.part[1]);
  const __m512i high = _mm512_permutex2var_epi8(t.part[2], at, t.part[3]);
  _mm512_storeu_si512(out, _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high));
}
#endif
#endif
