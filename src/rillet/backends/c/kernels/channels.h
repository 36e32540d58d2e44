/* The constants of a convolution's output channels as register tiles read them, and how sums become stored bytes. */
#ifndef RILLET_CHANNELS_H
#define RILLET_CHANNELS_H

typedef struct {
  const float *bias;
  float low, high;
} rillet_channels_f32_tiles;

/* Sums are rounded in float32 where that was shown to be exact, else by integers. */
typedef struct {
  const int32_t *bias; /* zero points folded in */
  const int32_t *mantissa, *left, *right;
  const float *scale, *nudge;
  const int32_t *by_integers; /* for each vector of channels: whether float32 would round otherwise; 0: no vector */
  int32_t is_signed;          /* whether the nudge takes the sign of the sum */
  int32_t single;             /* whether integers are rounded once */
  int32_t centre;             /* what is to be added to what float32 gives */
  int32_t zero, low, high;
} rillet_channels_u8_tiles;

RILLET_TILE int32_t rillet_by_integers(const rillet_channels_u8_tiles *k, int32_t first)
{
  return k->by_integers && k->by_integers[first / RILLET_LANES];
}

RILLET_TILE rillet_sums rillet_scaled(const int32_t *sums, int32_t first, const rillet_channels_u8_tiles *k)
{
  const rillet_scales scales = rillet_scales_load(k->mantissa + first, k->left + first, k->right + first);
  const rillet_sums value = rillet_sums_load(sums);
  return k->single ? rillet_sums_single(value, scales) : rillet_sums_double(value, scales);
}

/* Stores the sums of one, two or four vectors of channels, for each of some pixels, rounded by integers. */
static __attribute__((noinline, unused)) void rillet_store_by_integers(const int32_t *sums, int32_t vectors, int32_t pixels,
                                                                      int32_t first, uint8_t *out, int32_t pitch,
                                                                      int32_t lanes, const rillet_channels_u8_tiles *k)
{
  const int32_t zero = k->zero, low = k->low, high = k->high, second = first + RILLET_LANES;
  for (int32_t p = 0; p < pixels; p++, sums += vectors * RILLET_LANES, out += pitch) {
    const rillet_sums a = rillet_scaled(sums, first, k);
    if (vectors == 1) {
      rillet_store_1(out, a, lanes, zero, low, high);
      continue;
    }
    const rillet_sums b = rillet_scaled(sums + RILLET_LANES, second, k);
    if (vectors == 2) {
      rillet_store_2(out, a, b, lanes, zero, low, high);
      continue;
    }
    const rillet_sums c = rillet_scaled(sums + 2 * RILLET_LANES, second + RILLET_LANES, k);
    const rillet_sums d = rillet_scaled(sums + 3 * RILLET_LANES, second + 2 * RILLET_LANES, k);
    rillet_store_4(out, a, b, c, d, lanes, zero, low, high);
  }
}
#endif
