/* The words of AVX2 with FMA that do not depend on how bytes are multiplied; included by the headers of kernel sets, which
   define before it: rillet_byte, rillet_bytes, rillet_bytes_of (four bytes in each lane, as products take them), and of
   the bytes' sign RILLET_BYTES_WIDE, RILLET_BYTES_PACKED, RILLET_BYTES_MOST, RILLET_BYTES_LEAST, RILLET_BYTE_MIN and
   RILLET_BYTE_MAX. */
#ifndef RILLET_WORDS_H
#define RILLET_WORDS_H
#include <float.h>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* -- float32 ----------------------------------------------------------------------------------------------------------- */

typedef __m256 rillet_reals;

RILLET_TILE rillet_reals rillet_reals_load(const float *at) { return _mm256_loadu_ps(at); }
RILLET_TILE rillet_reals rillet_reals_all(float value) { return _mm256_set1_ps(value); }
RILLET_TILE rillet_reals rillet_reals_add_product(rillet_reals sum, rillet_reals a, rillet_reals b)
{
  return _mm256_fmadd_ps(a, b, sum);
}

/* Clamps, and stores the first `lanes` of the vector. */
RILLET_TILE void rillet_reals_store(float *out, rillet_reals value, int32_t lanes, float low, float high)
{
  const __m256 raised = low > -FLT_MAX ? _mm256_max_ps(value, _mm256_set1_ps(low)) : value;
  const __m256 limited = high < FLT_MAX ? _mm256_min_ps(raised, _mm256_set1_ps(high)) : raised;
  const __m256i order = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  if (lanes >= RILLET_LANES) _mm256_storeu_ps(out, limited);
  else _mm256_maskstore_ps(out, _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), order), limited);
}

/* -- sums -------------------------------------------------------------------------------------------------------------- */

typedef __m256i rillet_sums;

RILLET_TILE rillet_sums rillet_sums_load(const int32_t *at) { return _mm256_loadu_si256((const __m256i *)(const void *)at); }

/* The same four bytes in every lane. */
RILLET_TILE rillet_bytes rillet_bytes_all(const rillet_byte *at)
{
  int32_t four;
  memcpy(&four, at, 4);
  return rillet_bytes_of(_mm256_set1_epi32(four));
}

/* -- from sums to bytes ---------------------------------------------------------------------------------------------- */

/* The multipliers of one vector of channels, ready for use. */
typedef struct {
  __m256i mantissa, odd_mantissa, left, right, last, sign;
} rillet_scales;

RILLET_TILE rillet_scales rillet_scales_load(const int32_t *mantissa, const int32_t *left, const int32_t *right)
{
  rillet_scales k;
  k.mantissa = rillet_sums_load(mantissa);
  k.odd_mantissa = _mm256_srli_epi64(k.mantissa, 32);
  k.left = rillet_sums_load(left);
  k.right = rillet_sums_load(right);
  /* The last bit of a division is rounded by itself, so that nothing overflows. */
  k.last = _mm256_min_epu32(k.right, _mm256_set1_epi32(1));
  k.right = _mm256_sub_epi32(k.right, k.last);
  /* A shift by 31 gives the sign, a shift by 32 gives 0. */
  k.sign = _mm256_sub_epi32(_mm256_set1_epi32(32), k.last);
  return k;
}

/* As rillet_saturated does, for a shift to the left. */
RILLET_TILE rillet_sums rillet_sums_saturated(rillet_sums sum, rillet_sums left)
{
  const __m256i most = _mm256_srlv_epi32(_mm256_set1_epi32(INT32_MAX), left);
  const __m256i least = _mm256_sub_epi32(_mm256_set1_epi32(-1), most);
  return _mm256_min_epi32(_mm256_max_epi32(sum, least), most);
}

/* Rounded twice, as rillet_rescale_double does. */
RILLET_TILE rillet_sums rillet_sums_double(rillet_sums sum, rillet_scales k)
{
  const __m256i x = _mm256_sllv_epi32(rillet_sums_saturated(sum, k.left), k.left);
  const __m256i nudge = _mm256_set1_epi64x(1 << 30);
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, k.mantissa), nudge);
  const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), k.odd_mantissa), nudge);
  const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xaa);
  const __m256i twice = _mm256_srav_epi32(_mm256_sub_epi32(high, _mm256_srlv_epi32(high, k.sign)), k.right);
  return _mm256_srav_epi32(_mm256_add_epi32(twice, k.last), k.last);
}

/* value >> shift of 64-bit lanes, rounded half up. */
RILLET_TILE __m256i rillet_shift_rounded(__m256i value, __m256i shift)
{
  const __m256i half = _mm256_srli_epi64(_mm256_sllv_epi64(_mm256_set1_epi64x(1), shift), 1);
  const __m256i sign = _mm256_srlv_epi64(_mm256_set1_epi64x(INT64_MIN), shift);
  const __m256i shifted = _mm256_srlv_epi64(_mm256_add_epi64(value, half), shift);
  return _mm256_sub_epi64(_mm256_xor_si256(shifted, sign), sign);
}

/* Rounded once, as rillet_rescale_single does; `left` holds 31 - shift here. */
RILLET_TILE rillet_sums rillet_sums_single(rillet_sums sum, rillet_scales k)
{
  const __m256i shift = _mm256_max_epi32(_mm256_sub_epi32(_mm256_set1_epi32(31), k.left), _mm256_setzero_si256());
  const __m256i x = rillet_sums_saturated(sum, shift);
  const __m256i even_shift = _mm256_and_si256(k.left, _mm256_set1_epi64x(0xffffffff));
  const __m256i even = rillet_shift_rounded(_mm256_mul_epi32(x, k.mantissa), even_shift);
  const __m256i product = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), k.odd_mantissa);
  const __m256i odd = rillet_shift_rounded(product, _mm256_srli_epi64(k.left, 32));
  return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

/* The constants of one vector of channels whose rounding float32 gives exactly (arithmetic/affine.py). */
typedef struct {
  __m256 scale, nudge;
} rillet_factors;

RILLET_TILE rillet_factors rillet_factors_load(const float *scale, const float *nudge)
{
  const rillet_factors out = {_mm256_loadu_ps(scale), _mm256_loadu_ps(nudge)};
  return out;
}

/* sum * scale + nudge, fused, to the nearest integer; the nudge with the sign of the sum where it is `is_signed`.
   `careful`: then one up or down by what is left, where that is half and more. */
RILLET_TILE rillet_sums rillet_sums_rounded(rillet_sums sum, rillet_factors k, int32_t is_signed, int32_t careful)
{
  const __m256 real = _mm256_cvtepi32_ps(sum), sign = _mm256_set1_ps(-0.0f);
  const __m256 pushed = is_signed ? _mm256_or_ps(_mm256_and_ps(real, sign), k.nudge) : k.nudge;
  if (!careful) return _mm256_cvtps_epi32(_mm256_fmadd_ps(real, k.scale, pushed));
  const __m256 near = _mm256_round_ps(_mm256_fmadd_ps(real, k.scale, pushed), _MM_FROUND_TO_NEAREST_INT);
  const __m256 rest = _mm256_add_ps(_mm256_fmsub_ps(real, k.scale, near), pushed);
  const __m256i up = _mm256_castps_si256(_mm256_cmp_ps(rest, _mm256_set1_ps(0.5f), _CMP_GE_OQ));
  const __m256i down = _mm256_castps_si256(_mm256_cmp_ps(rest, _mm256_set1_ps(-0.5f), _CMP_LT_OQ));
  return _mm256_add_epi32(_mm256_sub_epi32(_mm256_cvtps_epi32(near), up), down);
}

/* The same of sums that are the bits of 1.5 * 2^23 + sum, under constants of affine.py's `shifted`: such bits again. */
RILLET_TILE rillet_sums rillet_sums_shifted(rillet_sums sum, rillet_factors k)
{
  return _mm256_castps_si256(_mm256_fmadd_ps(_mm256_castsi256_ps(sum), k.scale, k.nudge));
}

/* Bytes as float32 values, and the nearest integers, halves to even. */
RILLET_TILE rillet_reals rillet_reals_of_bytes(const rillet_byte *at)
{
  return _mm256_cvtepi32_ps(RILLET_BYTES_WIDE(_mm_loadl_epi64((const __m128i *)(const void *)at)));
}
RILLET_TILE rillet_sums rillet_sums_nearest(rillet_reals value) { return _mm256_cvtps_epi32(value); }

/* value - less, no less than the least int32: what is so far down is clamped. */
RILLET_TILE rillet_sums rillet_sums_less(rillet_sums value, int32_t less)
{
  const __m256i floor = _mm256_set1_epi32(INT32_MIN + less);
  return _mm256_sub_epi32(_mm256_max_epi32(value, floor), _mm256_set1_epi32(less));
}

RILLET_TILE void rillet_sums_keep(int32_t *out, rillet_sums sums) { _mm256_storeu_si256((__m256i *)(void *)out, sums); }

/* Stores of the first `lanes` channels as bytes, the zero point added and clamped; `bits` as above, whose numbers fit 16
   bits. Channels of several vectors are dealt
   out to them four by four, as packing puts them back: of n vectors, vector j has 4 n l + 4 j to 4 n l + 4 j + 3. */
RILLET_TILE void rillet_store_1(rillet_byte *out, rillet_sums value, int32_t lanes, int32_t zero, int32_t low,
                                int32_t high, int32_t bits)
{
  const int32_t from = bits ? RILLET_BITS - zero : -zero;
  const __m256i least = _mm256_set1_epi32(from + low), most = _mm256_set1_epi32(from + high);
  const __m256i limited = _mm256_min_epi32(_mm256_max_epi32(value, least), most);
  const __m256i stored = _mm256_sub_epi32(limited, _mm256_set1_epi32(from));
  const __m256i words = _mm256_packs_epi32(stored, stored), bytes = RILLET_BYTES_PACKED(words, words);
  const __m256i order = _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4);
  const int64_t eight = _mm_cvtsi128_si64(_mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order)));
  memcpy(out, &eight, lanes >= 8 ? 8 : (size_t)lanes);
}

/* Two vectors of sums as saturated words, four and four of each, the zero point added. */
RILLET_TILE __m256i rillet_words(rillet_sums a, rillet_sums b, int32_t zero, int32_t bits)
{
  const __m256i from = _mm256_set1_epi32(bits ? RILLET_BITS : 0);
  const __m256i words = _mm256_packs_epi32(_mm256_sub_epi32(a, from), _mm256_sub_epi32(b, from));
  return _mm256_adds_epi16(words, _mm256_set1_epi16((int16_t)zero));
}

/* Compilers do not see that these do nothing to bytes where a bound is theirs. */
RILLET_TILE __m256i rillet_limited(__m256i bytes, int32_t low, int32_t high)
{
  const __m256i raised = low > RILLET_BYTE_MIN ? RILLET_BYTES_MOST(bytes, _mm256_set1_epi8((char)low)) : bytes;
  return high < RILLET_BYTE_MAX ? RILLET_BYTES_LEAST(raised, _mm256_set1_epi8((char)high)) : raised;
}

/* Four vectors of sums as bytes, four and four of each. */
RILLET_TILE __m256i rillet_packed(rillet_sums a, rillet_sums b, rillet_sums c, rillet_sums d, int32_t zero, int32_t low,
                                  int32_t high, int32_t bits)
{
  const __m256i first = rillet_words(a, b, zero, bits), second = rillet_words(c, d, zero, bits);
  return rillet_limited(RILLET_BYTES_PACKED(first, second), low, high);
}

RILLET_TILE void rillet_store_2(rillet_byte *out, rillet_sums a, rillet_sums b, int32_t lanes, int32_t zero, int32_t low,
                                int32_t high, int32_t bits)
{
  const __m256i words = rillet_words(a, b, zero, bits);
  const __m256i twice = _mm256_permute4x64_epi64(RILLET_BYTES_PACKED(words, words), 0x08);
  const __m128i bytes = _mm256_castsi256_si128(rillet_limited(twice, low, high));
  if (lanes >= 16) {
    _mm_storeu_si128((__m128i *)(void *)out, bytes);
  } else {
    uint8_t kept[16];
    _mm_storeu_si128((__m128i *)(void *)kept, bytes);
    memcpy(out, kept, (size_t)lanes);
  }
}

RILLET_TILE void rillet_store_4(rillet_byte *out, rillet_sums a, rillet_sums b, rillet_sums c, rillet_sums d,
                                int32_t lanes, int32_t zero, int32_t low, int32_t high, int32_t bits)
{
  const __m256i bytes = rillet_packed(a, b, c, d, zero, low, high, bits);
  if (lanes >= 32) {
    _mm256_storeu_si256((__m256i *)(void *)out, bytes);
  } else {
    uint8_t kept[32];
    _mm256_storeu_si256((__m256i *)(void *)kept, bytes);
    memcpy(out, kept, (size_t)lanes);
  }
}

/* The same of one vector of four pixels, `pitch` apart. */
RILLET_TILE void rillet_store_1_of_4(rillet_byte *out, int32_t pitch, rillet_sums a, rillet_sums b, rillet_sums c,
                                     rillet_sums d, int32_t lanes, int32_t zero, int32_t low, int32_t high, int32_t bits)
{
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i pixels = _mm256_permutevar8x32_epi32(rillet_packed(a, b, c, d, zero, low, high, bits), order);
  if (lanes >= 8 && pitch == 8) {
    _mm256_storeu_si256((__m256i *)(void *)out, pixels);
    return;
  }
  uint8_t kept[32];
  _mm256_storeu_si256((__m256i *)(void *)kept, pixels);
  for (int32_t p = 0; p < 4; p++) memcpy(out + p * pitch, kept + 8 * p, lanes >= 8 ? 8 : (size_t)lanes);
}

/* Up to four vectors of 8 channels, four bytes of each, dealt out as for rillet_store_1, _2 and _4. */
typedef struct {
  rillet_bytes part[4];
} rillet_four;

/* -- tables of 256 bytes --------------------------------------------------------------------------------------------- */

#define RILLET_TABLE_BYTES 64

typedef struct {
  const uint8_t *rows;
} rillet_table;

RILLET_TILE rillet_table rillet_table_load(const uint8_t *table)
{
  const rillet_table out = {table};
  return out;
}

/* Sixteen rows of sixteen bytes. Of each only places in it are looked up: 0x70 more keeps the sign bit of these clear,
   and where it is set the instruction gives 0. */
RILLET_TILE void rillet_table_look(rillet_table t, const uint8_t *in, uint8_t *out)
{
  const __m256i most = _mm256_set1_epi8(0x70), row = _mm256_set1_epi8(16);
  __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)in), b = _mm256_loadu_si256((const __m256i *)(const void *)(in + 32));
  __m256i first = _mm256_setzero_si256(), second = first;
  for (int32_t k = 0; k < 16; k++) {
    const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(t.rows + 16 * k)));
    first = _mm256_or_si256(first, _mm256_shuffle_epi8(bytes, _mm256_adds_epu8(a, most)));
    second = _mm256_or_si256(second, _mm256_shuffle_epi8(bytes, _mm256_adds_epu8(b, most)));
    a = _mm256_sub_epi8(a, row), b = _mm256_sub_epi8(b, row);
  }
  _mm256_storeu_si256((__m256i *)(void *)out, first);
  _mm256_storeu_si256((__m256i *)(void *)(out + 32), second);
}
#endif
