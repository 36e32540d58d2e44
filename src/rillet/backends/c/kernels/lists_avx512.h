/* Convolutions of bytes with sparse ternary weights: the values under + and those under - are added up, many pixels
   at once; weights are lists of where these values lie. */
#ifndef RILLET_LISTS_H
#define RILLET_LISTS_H
#include "words_avx512.h"
#include "channels.h"
#include "rows.h"

/* What a stage reads. A row of `outputs` has five numbers: the channel, how many fours of places its two lists have, and
   what is added for a value under + and for one under -. Constants of `channels` are by channel. */
typedef struct {
  const uint16_t *places;
  const int16_t *outputs;
  int32_t count, depth;
} rillet_lists;

/* Copies the windows of one row of the result into vectors of `depth` bytes: taps in order, `fill` in every byte of
   those in the padding, zeros behind them. */
RILLET_ALWAYS void rillet_gather_row(const rillet_window w, const void *buffer, int32_t fill, int32_t row, int32_t columns,
                                     uint8_t *out, int32_t depth)
{
  const size_t tap = (size_t)w.pixel_bytes;
  const int32_t spare = depth - w.kernel_height * w.kernel_width * w.pixel_bytes;
  for (int32_t c = 0; c < columns; c++, out += spare) {
    for (int32_t i = 0; i < w.kernel_height; i++) {
      const int32_t y = row * w.stride_height - w.top + i * w.dilation_height;
      for (int32_t j = 0; j < w.kernel_width; j++, out += tap) {
        const int32_t x = c * w.stride_width - w.left + j * w.dilation_width;
        if (y < 0 || y >= w.height || x < 0 || x >= w.width) memset(out, fill, tap);
        else memcpy(out, rillet_row(w, buffer, y) + x * w.pixel_bytes, tap);
      }
    }
    memset(out, 0, (size_t)spare);
  }
}

/* 16 vectors of 16-byte rows, four abreast, turned: byte j of row i becomes byte i of row j. */
RILLET_TILE void rillet_turn(__m512i a[16])
{
  for (int32_t round = 0; round < 4; round++) {
    __m512i b[16];
    for (int32_t i = 0; i < 8; i++) {
      b[2 * i] = _mm512_unpacklo_epi8(a[i], a[i + 8]);
      b[2 * i + 1] = _mm512_unpackhi_epi8(a[i], a[i + 8]);
    }
    for (int32_t i = 0; i < 16; i++) a[i] = b[i];
  }
}

RILLET_TILE __m128i rillet_sixteen(const uint8_t *a, int32_t step, int32_t p, int32_t pixels)
{
  return _mm_loadu_si128((const __m128i *)(const void *)(a + (p < pixels ? p : pixels - 1) * step));
}

/* Values of `pixels` pixels, `step` apart, as words: those of one channel for `abreast` pixels side by side, zeros in the
   place behind the last channels. */
RILLET_TILE void rillet_lay_abreast(const uint8_t *a, int32_t step, int32_t pixels, int32_t depth, int32_t abreast,
                                    uint16_t *out)
{
  for (int32_t c = 0; c < depth; c += 16) {
    __m512i v[16];
    for (int32_t i = 0; i < 16; i++) {
      v[i] = _mm512_castsi128_si512(rillet_sixteen(a + c, step, i, pixels));
      v[i] = _mm512_inserti32x4(v[i], rillet_sixteen(a + c, step, i + 16, pixels), 1);
      if (abreast > 32) {
        v[i] = _mm512_inserti32x4(v[i], rillet_sixteen(a + c, step, i + 32, pixels), 2);
        v[i] = _mm512_inserti32x4(v[i], rillet_sixteen(a + c, step, i + 48, pixels), 3);
      }
    }
    rillet_turn(v);
    for (int32_t i = 0; i < 16; i++) {
      uint16_t *const to = out + (c + i) * abreast;
      _mm512_storeu_si512(to, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(v[i])));
      if (abreast > 32) _mm512_storeu_si512(to + 32, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(v[i], 1)));
    }
  }
  memset(out + (depth + 15) / 16 * 16 * abreast, 0, (size_t)abreast * sizeof *out);
}

/* The sums of 16 bits of the values at four places after four; places are counted in steps of four words. */
RILLET_TILE const uint16_t *rillet_add_listed(const uint16_t *values, const uint16_t *place, int32_t fours,
                                              int32_t abreast, __m512i sum[2])
{
  const __m512i nothing = _mm512_setzero_si512();
  __m512i s[4] = {nothing, nothing, nothing, nothing};
  for (; fours > 0; fours--, place += 4)
    for (int32_t i = 0; i < 4; i++) {
      const uint16_t *const at = values + (uint32_t)place[i] * 4;
      s[i & 1] = _mm512_add_epi16(s[i & 1], _mm512_loadu_si512(at));
      if (abreast > 32) s[2 + (i & 1)] = _mm512_add_epi16(s[2 + (i & 1)], _mm512_loadu_si512(at + 32));
    }
  sum[0] = _mm512_add_epi16(s[0], s[1]);
  sum[1] = _mm512_add_epi16(s[2], s[3]);
  return place;
}

/* Rounds two vectors of sums of one channel where float32 would round otherwise. */
static __attribute__((noinline, unused)) void rillet_round_listed(int32_t *sums, int32_t c,
                                                                  const rillet_channels_byte_tiles *k)
{
  const rillet_scales scales = rillet_scales_all(k->mantissa[c], k->left[c], k->right[c]);
  for (int32_t i = 0; i < 2; i++, sums += RILLET_LANES) {
    const rillet_sums value = rillet_sums_load(sums);
    const rillet_sums whole = k->single ? rillet_sums_single(value, scales) : rillet_sums_double(value, scales);
    rillet_sums_keep(sums, rillet_sums_less(whole, k->centre));
  }
}

/* Stores 32 pixels of one channel side by side. */
RILLET_TILE void rillet_store_listed(uint8_t *out, rillet_sums a, rillet_sums b, int32_t c,
                                     const rillet_channels_byte_tiles *k)
{
  if (k->by_integers && k->by_integers[c]) {
    int32_t kept[2 * RILLET_LANES];
    rillet_sums_keep(kept, a);
    rillet_sums_keep(kept + RILLET_LANES, b);
    rillet_round_listed(kept, c, k);
    a = rillet_sums_load(kept);
    b = rillet_sums_load(kept + RILLET_LANES);
  } else {
    const __m512 nudge = _mm512_set1_ps(k->nudge[c]);
    const rillet_factors f = {k->as_bits ? nudge : _mm512_set1_ps(k->scale[c]), nudge};
    a = rillet_sums_to_store(a, f, k);
    b = rillet_sums_to_store(b, f, k);
  }
  rillet_store_2(out, a, b, 2 * RILLET_LANES, k->zero + k->centre, k->low, k->high, k->as_bits);
}

/* From channels of `abreast` pixels back to pixels, `pitch` apart. */
RILLET_TILE void rillet_lay_back(const uint8_t *a, int32_t pixels, int32_t channels, int32_t abreast, uint8_t *out,
                                 int32_t pitch)
{
  for (int32_t c = 0; c < channels; c += 16, a += 16 * abreast) {
    const __mmask16 there = channels - c >= 16 ? 0xffff : (__mmask16)((1u << (channels - c)) - 1);
    __m512i v[16];
    for (int32_t i = 0; i < 16; i++)
      v[i] = abreast > 32 ? _mm512_loadu_si512(a + i * abreast)
                          : _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)(a + i * abreast)));
    rillet_turn(v);
    for (int32_t i = 0; i < 16; i++) {
      uint8_t *const to = out + i * pitch + c;
      if (i < pixels) _mm_mask_storeu_epi8(to, there, _mm512_castsi512_si128(v[i]));
      if (i + 16 < pixels) _mm_mask_storeu_epi8(to + 16 * pitch, there, _mm512_extracti32x4_epi32(v[i], 1));
      if (abreast <= 32) continue;
      if (i + 32 < pixels) _mm_mask_storeu_epi8(to + 32 * pitch, there, _mm512_extracti32x4_epi32(v[i], 2));
      if (i + 48 < pixels) _mm_mask_storeu_epi8(to + 48 * pitch, there, _mm512_extracti32x4_epi32(v[i], 3));
    }
  }
}

/* Up to `abreast` (32 or 64) pixels, `step` apart in, `pitch` apart out. `values` has room for the depth in whole
   sixteens and one more, `made` for the output channels in whole sixteens, each times `abreast`. */
RILLET_TILE void rillet_lists_abreast(const uint8_t *in, int32_t step, int32_t pixels, int32_t abreast,
                                      const rillet_lists *lists, uint8_t *out, int32_t pitch, uint16_t *values,
                                      uint8_t *made, const rillet_channels_byte_tiles *k)
{
  const uint16_t *place = lists->places;
  const int16_t *o = lists->outputs;
  rillet_lay_abreast(in, step, pixels, lists->depth, abreast, values);
  for (int32_t i = 0; i < lists->count; i++, o += 5) {
    const __m512i bias = _mm512_set1_epi32(k->bias[o[0]]);
    const __m512i levels = _mm512_set1_epi32((int32_t)((uint32_t)(uint16_t)o[3] | (uint32_t)(uint16_t)o[4] << 16));
    __m512i plus[2], minus[2];
    place = rillet_add_listed(values, place, o[1], abreast, plus);
    place = rillet_add_listed(values, place, o[2], abreast, minus);
    for (int32_t h = 0; h < abreast / 32; h++) {
      const __m512i a = _mm512_madd_epi16(_mm512_unpacklo_epi16(plus[h], minus[h]), levels);
      const __m512i b = _mm512_madd_epi16(_mm512_unpackhi_epi16(plus[h], minus[h]), levels);
      rillet_store_listed(made + o[0] * abreast + h * 32, _mm512_add_epi32(a, bias), _mm512_add_epi32(b, bias), o[0], k);
    }
  }
  rillet_lay_back(made, pixels, lists->count, abreast, out, pitch);
}
#endif
