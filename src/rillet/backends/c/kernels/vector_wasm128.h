/* The words that register tiles are written in, for WebAssembly's SIMD: vectors of 4 lanes of 32 bits.

   Bytes are activations, always unsigned; weights are signed. Their products are summed in pairs of 16 bits, which never
   saturate; or, built for relaxed SIMD, by one instruction, which engines may take otherwise: only those load that build
   to which it is a sum of products of unsigned and signed bytes (net.js asks them). No instruction fuses a product and a sum: float32 constants are shown for two roundings
   (arithmetic/affine.py). Loads may read up to a vector past what they need: the arena and the weights end in room for
   it. Stores write exactly the lanes they are told. */
#ifndef RILLET_VECTOR_H
#define RILLET_VECTOR_H
#include <float.h>
#include <stdint.h>
#include <string.h>
#include <wasm_simd128.h>
#include "rescale.h"

#define RILLET_LANES 4
#define RILLET_TILE static inline __attribute__((always_inline))
/* One copy of each, which layers share: what is not inlined is not downloaded again. */
#define RILLET_SHAPE static __attribute__((noinline))
#define RILLET_COMPACT 1

/* What compilers may know no more of: an address, and that a vector came from memory. */
#define RILLET_OPAQUE(pointer) __asm__("" : "+r"(pointer))
#define RILLET_KEEP(vector) (void)(vector) /* the engine that runs it decides what is in registers */

/* The bits of the float 1.5 * 2^23, whose last bit counts one: those of its sum with a number are its bits plus it. */
#define RILLET_BITS 0x4b400000

typedef uint8_t rillet_byte;

/* -- float32 ----------------------------------------------------------------------------------------------------------- */

typedef v128_t rillet_reals;

RILLET_TILE rillet_reals rillet_reals_load(const float *at) { return wasm_v128_load(at); }
RILLET_TILE rillet_reals rillet_reals_all(float value) { return wasm_f32x4_splat(value); }
RILLET_TILE rillet_reals rillet_reals_add_product(rillet_reals sum, rillet_reals a, rillet_reals b)
{
  return wasm_f32x4_add(sum, wasm_f32x4_mul(a, b));
}

/* Clamps, and stores the first `lanes` of the vector. */
RILLET_TILE void rillet_reals_store(float *out, rillet_reals value, int32_t lanes, float low, float high)
{
  const v128_t raised = low > -FLT_MAX ? wasm_f32x4_pmax(value, wasm_f32x4_splat(low)) : value;
  const v128_t limited = high < FLT_MAX ? wasm_f32x4_pmin(raised, wasm_f32x4_splat(high)) : raised;
  if (lanes >= RILLET_LANES) {
    wasm_v128_store(out, limited);
  } else {
    float kept[RILLET_LANES];
    wasm_v128_store(kept, limited);
    for (int32_t i = 0; i < lanes; i++) out[i] = kept[i];
  }
}

/* -- sums of products of bytes --------------------------------------------------------------------------------------- */

typedef v128_t rillet_sums;

RILLET_TILE rillet_sums rillet_sums_load(const int32_t *at) { return wasm_v128_load(at); }

#ifdef __wasm_relaxed_simd__
/* Four bytes in each lane. */
typedef v128_t rillet_bytes;
typedef v128_t rillet_weights;

RILLET_TILE rillet_bytes rillet_bytes_widened(v128_t bytes) { return bytes; }
RILLET_TILE rillet_weights rillet_weights_widened(v128_t bytes) { return bytes; }
RILLET_TILE rillet_sums rillet_sums_add_products(rillet_sums sum, rillet_bytes a, rillet_weights w)
{
  return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(w, a, sum);
}
#else
/* Four bytes in each lane, widened to 16 bits: those at even places and those at odd ones. */
typedef struct {
  v128_t even, odd;
} rillet_bytes;
typedef rillet_bytes rillet_weights;

RILLET_TILE rillet_bytes rillet_bytes_widened(v128_t bytes)
{
  const rillet_bytes out = {wasm_v128_and(bytes, wasm_i16x8_splat(0xff)), wasm_u16x8_shr(bytes, 8)};
  return out;
}

RILLET_TILE rillet_weights rillet_weights_widened(v128_t bytes)
{
  const rillet_weights out = {wasm_i16x8_shr(wasm_i16x8_shl(bytes, 8), 8), wasm_i16x8_shr(bytes, 8)};
  return out;
}

RILLET_TILE rillet_sums rillet_sums_add_products(rillet_sums sum, rillet_bytes a, rillet_weights w)
{
  const v128_t even = wasm_i32x4_dot_i16x8(a.even, w.even), odd = wasm_i32x4_dot_i16x8(a.odd, w.odd);
  return wasm_i32x4_add(sum, wasm_i32x4_add(even, odd));
}
#endif

RILLET_TILE rillet_weights rillet_weights_load(const int8_t *at) { return rillet_weights_widened(wasm_v128_load(at)); }

/* The same of so many bytes in each lane, the others nothing; a place beyond the vector gives 0. */
RILLET_TILE rillet_weights rillet_weights_load_rows(const int8_t *at, int32_t rows)
{
  const v128_t bytes = wasm_v128_load(at);
  if (rows == 4) return rillet_weights_widened(bytes);
  const v128_t three = wasm_i8x16_const(0, 1, 2, 16, 3, 4, 5, 16, 6, 7, 8, 16, 9, 10, 11, 16);
  const v128_t two = wasm_i8x16_const(0, 1, 16, 16, 2, 3, 16, 16, 4, 5, 16, 16, 6, 7, 16, 16);
  const v128_t one = wasm_i8x16_const(0, 16, 16, 16, 1, 16, 16, 16, 2, 16, 16, 16, 3, 16, 16, 16);
  return rillet_weights_widened(wasm_i8x16_swizzle(bytes, rows == 3 ? three : rows == 2 ? two : one));
}

/* The same four bytes in every lane. */
RILLET_TILE rillet_bytes rillet_bytes_all(const rillet_byte *at)
{
  return rillet_bytes_widened(wasm_v128_load32_splat(at));
}

/* -- from sums to bytes ---------------------------------------------------------------------------------------------- */

/* The multipliers of one vector of channels: lane by lane, as no instruction shifts each lane by its own number. */
typedef struct {
  int32_t mantissa[RILLET_LANES], left[RILLET_LANES], right[RILLET_LANES];
} rillet_scales;

RILLET_TILE rillet_scales rillet_scales_load(const int32_t *mantissa, const int32_t *left, const int32_t *right)
{
  rillet_scales out;
  wasm_v128_store(out.mantissa, wasm_v128_load(mantissa));
  wasm_v128_store(out.left, wasm_v128_load(left));
  wasm_v128_store(out.right, wasm_v128_load(right));
  return out;
}

/* Rounded twice, as rillet_rescale_double does. */
RILLET_TILE rillet_sums rillet_sums_double(rillet_sums sum, rillet_scales k)
{
  int32_t out[RILLET_LANES];
  wasm_v128_store(out, sum);
  for (int32_t i = 0; i < RILLET_LANES; i++)
    out[i] = rillet_rescale_double(out[i], k.mantissa[i], k.left[i] - k.right[i]);
  return wasm_v128_load(out);
}

/* Rounded once, as rillet_rescale_single does; `left` holds 31 - shift here. */
RILLET_TILE rillet_sums rillet_sums_single(rillet_sums sum, rillet_scales k)
{
  int32_t out[RILLET_LANES];
  wasm_v128_store(out, sum);
  for (int32_t i = 0; i < RILLET_LANES; i++) out[i] = rillet_rescale_single(out[i], k.mantissa[i], 31 - k.left[i]);
  return wasm_v128_load(out);
}

/* The constants of one vector of channels whose rounding float32 gives exactly (arithmetic/affine.py). */
typedef struct {
  v128_t scale, nudge;
} rillet_factors;

RILLET_TILE rillet_factors rillet_factors_load(const float *scale, const float *nudge)
{
  const rillet_factors out = {wasm_v128_load(scale), wasm_v128_load(nudge)};
  return out;
}

/* The same of divisions by 2^shift (arithmetic/affine.py, `shifted`), of one byte a channel: 2^-shift by its exponent. */
RILLET_TILE rillet_factors rillet_factors_shifted(const int8_t *shift)
{
  const v128_t wide = wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(shift)));
  const v128_t scale = wasm_i32x4_sub(wasm_f32x4_splat(1.0f), wasm_i32x4_shl(wide, 23));
  const v128_t origin = wasm_f32x4_splat(12582912.0f);
  const rillet_factors out = {scale, wasm_f32x4_sub(origin, wasm_f32x4_mul(origin, scale))};
  return out;
}

/* The nearest integer, halves to even; beyond 2^22 any number as far from nothing and of the same sign: less than 32
   bits are stored of it. */
RILLET_TILE rillet_sums rillet_reals_nearest_near(v128_t value)
{
  const v128_t most = wasm_f32x4_splat(4194304.0f), least = wasm_f32x4_splat(-4194304.0f);
  const v128_t near = wasm_f32x4_pmax(wasm_f32x4_pmin(value, most), least);
  return wasm_i32x4_sub(wasm_f32x4_add(near, wasm_f32x4_splat(12582912.0f)), wasm_i32x4_splat(RILLET_BITS));
}

/* Two lanes of real * scale + nudge in float64, rounded half up. */
RILLET_TILE v128_t rillet_half_up(v128_t real, v128_t scale, v128_t nudge)
{
  const v128_t product = wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(real), wasm_f64x2_promote_low_f32x4(scale));
  const v128_t value = wasm_f64x2_add(product, wasm_f64x2_promote_low_f32x4(nudge));
  return wasm_i32x4_trunc_sat_f64x2_zero(wasm_f64x2_floor(wasm_f64x2_add(value, wasm_f64x2_splat(0.5))));
}

RILLET_TILE v128_t rillet_upper(v128_t value) { return wasm_i64x2_shuffle(value, value, 1, 1); }

/* sum * scale + nudge, each rounded, to the nearest integer; the nudge with the sign of the sum where it is `is_signed`.
   `careful`: then one up or down by what is left, where that is half and more: what float64 gives at once. */
RILLET_TILE rillet_sums rillet_sums_rounded(rillet_sums sum, rillet_factors k, int32_t is_signed, int32_t careful)
{
  const v128_t real = wasm_f32x4_convert_i32x4(sum);
  const v128_t sign = wasm_i32x4_splat(INT32_MIN);
  const v128_t nudge = is_signed ? wasm_v128_or(wasm_v128_and(real, sign), k.nudge) : k.nudge;
  if (!careful) return rillet_reals_nearest_near(wasm_f32x4_add(wasm_f32x4_mul(real, k.scale), nudge));
  const v128_t low = rillet_half_up(real, k.scale, nudge);
  const v128_t high = rillet_half_up(rillet_upper(real), rillet_upper(k.scale), rillet_upper(nudge));
  return wasm_i64x2_shuffle(low, high, 0, 2);
}

/* The same of sums that are the bits of 1.5 * 2^23 + sum, under constants of affine.py's `shifted`: such bits again. */
RILLET_TILE rillet_sums rillet_sums_shifted(rillet_sums sum, rillet_factors k)
{
  return wasm_f32x4_add(wasm_f32x4_mul(sum, k.scale), k.nudge);
}

/* Bytes as float32 values, and the nearest integers, halves to even. */
RILLET_TILE rillet_reals rillet_reals_of_bytes(const rillet_byte *at)
{
  return wasm_f32x4_convert_i32x4(wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(at))));
}
RILLET_TILE rillet_sums rillet_sums_nearest(rillet_reals value)
{
  return wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(value));
}

/* value - less, no less than the least int32: what is so far down is clamped. */
RILLET_TILE rillet_sums rillet_sums_less(rillet_sums value, int32_t less)
{
  const v128_t floor = wasm_i32x4_splat(INT32_MIN + less);
  return wasm_i32x4_sub(wasm_i32x4_max(value, floor), wasm_i32x4_splat(less));
}

RILLET_TILE void rillet_sums_keep(int32_t *out, rillet_sums sums) { wasm_v128_store(out, sums); }

RILLET_TILE void rillet_bytes_keep(rillet_byte *out, v128_t bytes, int32_t count)
{
  uint8_t kept[16];
  wasm_v128_store(kept, bytes);
  for (int32_t i = 0; i < count; i++) out[i] = kept[i];
}

/* Two vectors of sums as saturated words, the zero point added. */
RILLET_TILE v128_t rillet_words(rillet_sums a, rillet_sums b, int32_t zero, int32_t bits)
{
  const v128_t from = wasm_i32x4_splat(bits ? RILLET_BITS : 0);
  const v128_t words = wasm_i16x8_narrow_i32x4(wasm_i32x4_sub(a, from), wasm_i32x4_sub(b, from));
  return wasm_i16x8_add_sat(words, wasm_i16x8_splat((int16_t)zero));
}

/* Compilers do not see that these do nothing to bytes where a bound is theirs. */
RILLET_TILE v128_t rillet_limited(v128_t bytes, int32_t low, int32_t high)
{
  const v128_t raised = low > 0 ? wasm_u8x16_max(bytes, wasm_u8x16_splat((uint8_t)low)) : bytes;
  return high < 255 ? wasm_u8x16_min(raised, wasm_u8x16_splat((uint8_t)high)) : raised;
}

/* Four vectors of sums as bytes. */
RILLET_TILE v128_t rillet_packed(rillet_sums a, rillet_sums b, rillet_sums c, rillet_sums d, int32_t zero, int32_t low,
                                 int32_t high, int32_t bits)
{
  const v128_t first = rillet_words(a, b, zero, bits), second = rillet_words(c, d, zero, bits);
  return rillet_limited(wasm_u8x16_narrow_i16x8(first, second), low, high);
}

/* Stores of the first `lanes` channels as bytes, the zero point added and clamped; `bits` as above, whose numbers fit 16
   bits. Channels of several vectors are dealt
   out to them four by four, as packing puts them back: here that is their order. */
RILLET_TILE void rillet_store_1(rillet_byte *out, rillet_sums value, int32_t lanes, int32_t zero, int32_t low,
                                int32_t high, int32_t bits)
{
  const int32_t from = bits ? RILLET_BITS - zero : -zero;
  const v128_t raised = wasm_i32x4_max(value, wasm_i32x4_splat(from + low));
  const v128_t stored = wasm_i32x4_sub(wasm_i32x4_min(raised, wasm_i32x4_splat(from + high)), wasm_i32x4_splat(from));
  const v128_t words = wasm_i16x8_narrow_i32x4(stored, stored), bytes = wasm_u8x16_narrow_i16x8(words, words);
  if (lanes >= 4) wasm_v128_store32_lane(out, bytes, 0);
  else rillet_bytes_keep(out, bytes, lanes);
}

RILLET_TILE void rillet_store_2(rillet_byte *out, rillet_sums a, rillet_sums b, int32_t lanes, int32_t zero, int32_t low,
                                int32_t high, int32_t bits)
{
  const v128_t words = rillet_words(a, b, zero, bits);
  const v128_t bytes = rillet_limited(wasm_u8x16_narrow_i16x8(words, words), low, high);
  if (lanes >= 8) wasm_v128_store64_lane(out, bytes, 0);
  else rillet_bytes_keep(out, bytes, lanes);
}

RILLET_TILE void rillet_store_4(rillet_byte *out, rillet_sums a, rillet_sums b, rillet_sums c, rillet_sums d,
                                int32_t lanes, int32_t zero, int32_t low, int32_t high, int32_t bits)
{
  const v128_t bytes = rillet_packed(a, b, c, d, zero, low, high, bits);
  if (lanes >= 16) wasm_v128_store(out, bytes);
  else rillet_bytes_keep(out, bytes, lanes);
}

/* The same of one vector of four pixels, `pitch` apart. */
RILLET_TILE void rillet_store_1_of_4(rillet_byte *out, int32_t pitch, rillet_sums a, rillet_sums b, rillet_sums c,
                                     rillet_sums d, int32_t lanes, int32_t zero, int32_t low, int32_t high, int32_t bits)
{
  const v128_t bytes = rillet_packed(a, b, c, d, zero, low, high, bits);
  if (lanes >= 4) {
    wasm_v128_store32_lane(out, bytes, 0);
    wasm_v128_store32_lane(out + pitch, bytes, 1);
    wasm_v128_store32_lane(out + 2 * pitch, bytes, 2);
    wasm_v128_store32_lane(out + 3 * pitch, bytes, 3);
    return;
  }
  uint8_t kept[16];
  wasm_v128_store(kept, bytes);
  for (int32_t p = 0; p < 4; p++)
    for (int32_t i = 0; i < lanes; i++) out[p * pitch + i] = kept[4 * p + i];
}

/* -- four rows of bytes, channel by channel -------------------------------------------------------------------------- */

/* Up to four vectors of 4 channels, dealt out as for rillet_store_1, _2 and _4. */
typedef struct {
  rillet_bytes part[4];
} rillet_four;

#define RILLET_ZIP_LOW(a, b) wasm_i8x16_shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define RILLET_ZIP_HIGH(a, b) wasm_i8x16_shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define RILLET_ZIP_WORDS_LOW(a, b) wasm_i16x8_shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define RILLET_ZIP_WORDS_HIGH(a, b) wasm_i16x8_shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15)

/* Four bytes of each channel, one from each row; of 16 channels. */
RILLET_TILE rillet_four rillet_four_rows_4(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const v128_t va = wasm_v128_load(a), vb = wasm_v128_load(b), vc = wasm_v128_load(c), vd = wasm_v128_load(d);
  const v128_t low = RILLET_ZIP_LOW(va, vb), high = RILLET_ZIP_HIGH(va, vb);
  const v128_t low2 = RILLET_ZIP_LOW(vc, vd), high2 = RILLET_ZIP_HIGH(vc, vd);
  const rillet_four out = {{rillet_bytes_widened(RILLET_ZIP_WORDS_LOW(low, low2)),
                            rillet_bytes_widened(RILLET_ZIP_WORDS_HIGH(low, low2)),
                            rillet_bytes_widened(RILLET_ZIP_WORDS_LOW(high, high2)),
                            rillet_bytes_widened(RILLET_ZIP_WORDS_HIGH(high, high2))}};
  return out;
}

/* Of fewer channels they are the first vectors of the same. */
#define rillet_four_rows_1 rillet_four_rows_4
#define rillet_four_rows_2 rillet_four_rows_4

/* The same byte everywhere. */
RILLET_TILE rillet_four rillet_four_all(int32_t value)
{
  const rillet_bytes all = rillet_bytes_widened(wasm_i8x16_splat((int8_t)value));
  const rillet_four out = {{all, all, all, all}};
  return out;
}
#endif
