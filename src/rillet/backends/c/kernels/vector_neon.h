/* The words that register tiles are written in, for NEON: vectors of 4 lanes of 32 bits, on any AArch64.

   Bytes are activations, always signed, as weights are: so they can be multiplied by the dot product where the compiler
   may use it (+dotprod), and by widening multiplies elsewhere. Loads may read up to a vector past what they need: the
   arena and the weights end in room for it. Stores write exactly the lanes they are told. */
#ifndef RILLET_VECTOR_H
#define RILLET_VECTOR_H
#include <arm_neon.h>
#include <float.h>
#include <stdint.h>
#include <string.h>

#define RILLET_LANES 4
#define RILLET_TILE static inline __attribute__((always_inline))
#define RILLET_SHAPE RILLET_TILE

/* What compilers may know no more of: an address, and that a vector came from memory. */
#define RILLET_OPAQUE(pointer) __asm__("" : "+r"(pointer))
#define RILLET_KEEP(vector) __asm__("" : "+w"(vector))

/* The bits of the float 1.5 * 2^23, whose last bit counts one: those of its sum with a number are its bits plus it. */
#define RILLET_BITS 0x4b400000

typedef int8_t rillet_byte;

/* -- float32 ----------------------------------------------------------------------------------------------------------- */

typedef float32x4_t rillet_reals;

RILLET_TILE rillet_reals rillet_reals_load(const float *at) { return vld1q_f32(at); }
RILLET_TILE rillet_reals rillet_reals_all(float value) { return vdupq_n_f32(value); }
RILLET_TILE rillet_reals rillet_reals_add_product(rillet_reals sum, rillet_reals a, rillet_reals b)
{
  return vfmaq_f32(sum, a, b);
}

/* Clamps, and stores the first `lanes` of the vector. */
RILLET_TILE void rillet_reals_store(float *out, rillet_reals value, int32_t lanes, float low, float high)
{
  const float32x4_t raised = low > -FLT_MAX ? vmaxq_f32(value, vdupq_n_f32(low)) : value;
  const float32x4_t limited = high < FLT_MAX ? vminq_f32(raised, vdupq_n_f32(high)) : raised;
  if (lanes >= RILLET_LANES) {
    vst1q_f32(out, limited);
  } else {
    float kept[RILLET_LANES];
    vst1q_f32(kept, limited);
    memcpy(out, kept, (size_t)lanes * sizeof *out);
  }
}

/* -- sums of products of bytes --------------------------------------------------------------------------------------- */

typedef int32x4_t rillet_sums;
typedef int8x16_t rillet_bytes;   /* four activations in each lane */
typedef int8x16_t rillet_weights; /* four weights in each lane */

RILLET_TILE rillet_sums rillet_sums_load(const int32_t *at) { return vld1q_s32(at); }
RILLET_TILE rillet_weights rillet_weights_load(const int8_t *at) { return vld1q_s8(at); }

/* The same four bytes in every lane. */
RILLET_TILE rillet_bytes rillet_bytes_all(const rillet_byte *at)
{
  int32_t four;
  memcpy(&four, at, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

RILLET_TILE rillet_sums rillet_sums_add_products(rillet_sums sum, rillet_bytes a, rillet_weights w)
{
#ifdef __ARM_FEATURE_DOTPROD
  return vdotq_s32(sum, a, w);
#else
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(w)));
  const int32x4_t high = vpaddlq_s16(vmull_high_s8(a, w));
  return vaddq_s32(sum, vpaddq_s32(low, high));
#endif
}

/* -- from sums to bytes ---------------------------------------------------------------------------------------------- */

/* The multipliers of one vector of channels, ready for use. */
typedef struct {
  int32x4_t mantissa, left, right; /* to the right is less than nothing */
} rillet_scales;

RILLET_TILE rillet_scales rillet_scales_load(const int32_t *mantissa, const int32_t *left, const int32_t *right)
{
  const rillet_scales out = {vld1q_s32(mantissa), vld1q_s32(left), vnegq_s32(vld1q_s32(right))};
  return out;
}

/* Rounded twice, as rillet_rescale_double does. */
RILLET_TILE rillet_sums rillet_sums_double(rillet_sums sum, rillet_scales k)
{
  const int32x4_t high = vqrdmulhq_s32(vqshlq_s32(sum, k.left), k.mantissa);
  /* The shift rounds half up: a negative number that is divided is one less before it. */
  const int32x4_t less = vshrq_n_s32(vandq_s32(high, k.right), 31);
  return vrshlq_s32(vqaddq_s32(high, less), k.right);
}

/* Rounded once, as rillet_rescale_single does; `left` holds 31 - shift here. */
RILLET_TILE rillet_sums rillet_sums_single(rillet_sums sum, rillet_scales k)
{
  const int64x2_t low = vmull_s32(vget_low_s32(sum), vget_low_s32(k.mantissa));
  const int64x2_t high = vmull_high_s32(sum, k.mantissa);
  const int64x2_t low_shift = vnegq_s64(vmovl_s32(vget_low_s32(k.left)));
  const int64x2_t high_shift = vnegq_s64(vmovl_high_s32(k.left));
  return vcombine_s32(vqmovn_s64(vrshlq_s64(low, low_shift)), vqmovn_s64(vrshlq_s64(high, high_shift)));
}

/* The constants of one vector of channels whose rounding float32 gives exactly (arithmetic/affine.py). */
typedef struct {
  float32x4_t scale, nudge;
} rillet_factors;

RILLET_TILE rillet_factors rillet_factors_load(const float *scale, const float *nudge)
{
  const rillet_factors out = {vld1q_f32(scale), vld1q_f32(nudge)};
  return out;
}

/* sum * scale + nudge, fused, to the nearest integer; the nudge with the sign of the sum where it is `is_signed`.
   `careful`: then one up or down by what is left, where that is half and more. */
RILLET_TILE rillet_sums rillet_sums_rounded(rillet_sums sum, rillet_factors k, int32_t is_signed, int32_t careful)
{
  const float32x4_t real = vcvtq_f32_s32(sum);
  const float32x4_t nudge = is_signed ? vbslq_f32(vdupq_n_u32(0x80000000u), real, k.nudge) : k.nudge;
  if (!careful) return vcvtnq_s32_f32(vfmaq_f32(nudge, real, k.scale));
  const float32x4_t near = vrndnq_f32(vfmaq_f32(nudge, real, k.scale));
  const float32x4_t rest = vaddq_f32(vfmaq_f32(vnegq_f32(near), real, k.scale), nudge);
  const int32x4_t up = vreinterpretq_s32_u32(vcgeq_f32(rest, vdupq_n_f32(0.5f)));
  const int32x4_t down = vreinterpretq_s32_u32(vcltq_f32(rest, vdupq_n_f32(-0.5f)));
  return vaddq_s32(vsubq_s32(vcvtnq_s32_f32(near), up), down);
}

/* The same of sums that are the bits of 1.5 * 2^23 + sum, under constants of affine.py's `shifted`: such bits again. */
RILLET_TILE rillet_sums rillet_sums_shifted(rillet_sums sum, rillet_factors k)
{
  return vreinterpretq_s32_f32(vfmaq_f32(k.nudge, vreinterpretq_f32_s32(sum), k.scale));
}

/* Bytes as float32 values, and the nearest integers, halves to even. */
RILLET_TILE rillet_reals rillet_reals_of_bytes(const rillet_byte *at)
{
  int32_t four;
  memcpy(&four, at, 4);
  const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(four));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
}
RILLET_TILE rillet_sums rillet_sums_nearest(rillet_reals value) { return vcvtnq_s32_f32(value); }

/* value - less, no less than the least int32: what is so far down is clamped. */
RILLET_TILE rillet_sums rillet_sums_less(rillet_sums value, int32_t less) { return vqsubq_s32(value, vdupq_n_s32(less)); }

RILLET_TILE void rillet_sums_keep(int32_t *out, rillet_sums sums) { vst1q_s32(out, sums); }

/* Stores of the first `lanes` channels as bytes, the zero point added and clamped; `bits` as above, whose numbers fit 16
   bits. Channels of several vectors are dealt
   out to them four by four, as packing puts them back: here that is their order. */
RILLET_TILE void rillet_store_1(rillet_byte *out, rillet_sums value, int32_t lanes, int32_t zero, int32_t low,
                                int32_t high, int32_t bits)
{
  const int32_t from = bits ? RILLET_BITS - zero : -zero;
  const int32x4_t limited = vminq_s32(vmaxq_s32(value, vdupq_n_s32(from + low)), vdupq_n_s32(from + high));
  const int16x4_t words = vmovn_s32(vsubq_s32(limited, vdupq_n_s32(from)));
  const int32_t four = vget_lane_s32(vreinterpret_s32_s8(vmovn_s16(vcombine_s16(words, words))), 0);
  memcpy(out, &four, lanes >= 4 ? 4 : (size_t)lanes);
}

/* Two vectors of sums as saturated words, the zero point added. */
RILLET_TILE int16x8_t rillet_words(rillet_sums a, rillet_sums b, int32_t zero, int32_t bits)
{
  const int16x8_t words = bits ? vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b))
                               : vqmovn_high_s32(vqmovn_s32(a), b);
  return vqaddq_s16(words, vdupq_n_s16((int16_t)zero));
}

/* Compilers do not see that these do nothing to bytes where a bound is theirs. */
RILLET_TILE int8x16_t rillet_limited(int8x16_t bytes, int32_t low, int32_t high)
{
  const int8x16_t raised = low > -128 ? vmaxq_s8(bytes, vdupq_n_s8((int8_t)low)) : bytes;
  return high < 127 ? vminq_s8(raised, vdupq_n_s8((int8_t)high)) : raised;
}

/* Four vectors of sums as bytes. */
RILLET_TILE int8x16_t rillet_packed(rillet_sums a, rillet_sums b, rillet_sums c, rillet_sums d, int32_t zero, int32_t low,
                                    int32_t high, int32_t bits)
{
  const int8x8_t first = vqmovn_s16(rillet_words(a, b, zero, bits));
  return rillet_limited(vqmovn_high_s16(first, rillet_words(c, d, zero, bits)), low, high);
}

RILLET_TILE void rillet_store_2(rillet_byte *out, rillet_sums a, rillet_sums b, int32_t lanes, int32_t zero, int32_t low,
                                int32_t high, int32_t bits)
{
  const int8x8_t made = vqmovn_s16(rillet_words(a, b, zero, bits));
  const int8x8_t bytes = vget_low_s8(rillet_limited(vcombine_s8(made, made), low, high));
  if (lanes >= 8) {
    vst1_s8(out, bytes);
  } else {
    int8_t kept[8];
    vst1_s8(kept, bytes);
    memcpy(out, kept, (size_t)lanes);
  }
}

RILLET_TILE void rillet_store_4(rillet_byte *out, rillet_sums a, rillet_sums b, rillet_sums c, rillet_sums d,
                                int32_t lanes, int32_t zero, int32_t low, int32_t high, int32_t bits)
{
  const int8x16_t bytes = rillet_packed(a, b, c, d, zero, low, high, bits);
  if (lanes >= 16) {
    vst1q_s8(out, bytes);
  } else {
    int8_t kept[16];
    vst1q_s8(kept, bytes);
    memcpy(out, kept, (size_t)lanes);
  }
}

/* The same of one vector of four pixels, `pitch` apart. */
RILLET_TILE void rillet_store_1_of_4(rillet_byte *out, int32_t pitch, rillet_sums a, rillet_sums b, rillet_sums c,
                                     rillet_sums d, int32_t lanes, int32_t zero, int32_t low, int32_t high, int32_t bits)
{
  int8_t kept[16];
  vst1q_s8(kept, rillet_packed(a, b, c, d, zero, low, high, bits));
  for (int32_t p = 0; p < 4; p++) memcpy(out + p * pitch, kept + 4 * p, lanes >= 4 ? 4 : (size_t)lanes);
}

/* -- four rows of bytes, channel by channel -------------------------------------------------------------------------- */

/* Up to four vectors of 4 channels, dealt out as for rillet_store_1, _2 and _4. */
typedef struct {
  rillet_bytes part[4];
} rillet_four;

/* Four bytes of each channel, one from each row; of 16 channels. */
RILLET_TILE rillet_four rillet_four_rows_4(const rillet_byte *a, const rillet_byte *b, const rillet_byte *c,
                                           const rillet_byte *d)
{
  const int8x16_t va = vld1q_s8(a), vb = vld1q_s8(b), vc = vld1q_s8(c), vd = vld1q_s8(d);
  const int16x8_t low = vreinterpretq_s16_s8(vzip1q_s8(va, vb)), high = vreinterpretq_s16_s8(vzip2q_s8(va, vb));
  const int16x8_t low2 = vreinterpretq_s16_s8(vzip1q_s8(vc, vd)), high2 = vreinterpretq_s16_s8(vzip2q_s8(vc, vd));
  const rillet_four out = {{vreinterpretq_s8_s16(vzip1q_s16(low, low2)), vreinterpretq_s8_s16(vzip2q_s16(low, low2)),
                            vreinterpretq_s8_s16(vzip1q_s16(high, high2)),
                            vreinterpretq_s8_s16(vzip2q_s16(high, high2))}};
  return out;
}

/* Of fewer channels they are the first vectors of the same. */
#define rillet_four_rows_1 rillet_four_rows_4
#define rillet_four_rows_2 rillet_four_rows_4

/* The same byte everywhere. */
RILLET_TILE rillet_four rillet_four_all(int32_t value)
{
  const rillet_bytes all = vdupq_n_s8((int8_t)value);
  const rillet_four out = {{all, all, all, all}};
  return out;
}

/* -- tables of 256 bytes --------------------------------------------------------------------------------------------- */

#define RILLET_TABLE_BYTES 16 /* looked up at a time */

typedef struct {
  uint8x16x4_t part[4];
} rillet_table;

RILLET_TILE rillet_table rillet_table_load(const uint8_t *table)
{
  rillet_table out;
  for (int32_t i = 0; i < 16; i++) out.part[i / 4].val[i % 4] = vld1q_u8(table + 16 * i);
  return out;
}

/* Places beyond a part leave what was found. */
RILLET_TILE void rillet_table_look(rillet_table t, const uint8_t *in, uint8_t *out)
{
  const uint8x16_t at = vld1q_u8(in), next = vdupq_n_u8(64);
  uint8x16_t found = vqtbl4q_u8(t.part[0], at), left = vsubq_u8(at, next);
  found = vqtbx4q_u8(found, t.part[1], left);
  left = vsubq_u8(left, next);
  found = vqtbx4q_u8(found, t.part[2], left);
  left = vsubq_u8(left, next);
  vst1q_u8(out, vqtbx4q_u8(found, t.part[3], left));
}
#endif
