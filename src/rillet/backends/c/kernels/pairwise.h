/* Sums and products of bytes, a vector at a time: left * (right * slope + level) + (right * along + offset), to the
   nearest integer, as was shown for each pair of bytes (arithmetic/pairwise.py), then perhaps rounded twice by integers.
   `out` may be either side. */
#ifndef RILLET_PAIRWISE_H
#define RILLET_PAIRWISE_H
#include "channels.h"

typedef struct {
  float slope, level, along, offset;
  int32_t mantissa, left, right; /* of what is rounded twice; no mantissa where nothing is */
  int32_t zero, low, high;
} rillet_pairwise;

/* What a vector of the right side makes of the left one. */
typedef struct {
  rillet_reals factor, offset;
} rillet_line;

RILLET_TILE rillet_line rillet_line_of(const rillet_byte *right, const rillet_pairwise *k)
{
  const rillet_reals value = rillet_reals_of_bytes(right), level = rillet_reals_all(k->level);
  const rillet_line out = {
      k->slope == 0.0f ? level : rillet_reals_add_product(level, value, rillet_reals_all(k->slope)),
      rillet_reals_add_product(rillet_reals_all(k->offset), value, rillet_reals_all(k->along))};
  return out;
}

RILLET_TILE void rillet_store_on_line(const rillet_byte *left, rillet_line line, rillet_scales scales, rillet_byte *out,
                                      int32_t lanes, const rillet_pairwise *k)
{
  const rillet_reals value = rillet_reals_add_product(line.offset, rillet_reals_of_bytes(left), line.factor);
  const rillet_sums near = rillet_sums_nearest(value);
  rillet_store_1(out, k->mantissa ? rillet_sums_double(near, scales) : near, lanes, k->zero, k->low, k->high, 0);
}

/* Value by value. */
static inline void rillet_pairs(const rillet_byte *left, const rillet_byte *right, rillet_byte *out, int32_t values,
                                rillet_pairwise k)
{
  const rillet_scales scales = rillet_scales_all(k.mantissa, k.left, k.right);
  for (int32_t i = 0; i < values; i += RILLET_LANES)
    rillet_store_on_line(left + i, rillet_line_of(right + i, &k), scales, out + i, values - i, &k);
}

/* With the same pixel on the right of all. */
static inline void rillet_pairs_with_one(const rillet_byte *left, const rillet_byte *right, rillet_byte *out,
                                         int32_t pixels, int32_t channels, rillet_pairwise k)
{
  const rillet_scales scales = rillet_scales_all(k.mantissa, k.left, k.right);
  for (int32_t c = 0; c < channels; c += RILLET_LANES) {
    const rillet_line line = rillet_line_of(right + c, &k);
    for (int32_t p = c; p < pixels * channels; p += channels)
      rillet_store_on_line(left + p, line, scales, out + p, channels - c, &k);
  }
}
#endif
