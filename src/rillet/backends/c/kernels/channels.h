/* The constants of a convolution's output channels as register tiles read them, in the vocabulary of a vector_*.h. */
#ifndef RILLET_CHANNELS_H
#define RILLET_CHANNELS_H

typedef struct {
  const float *bias;
  float low, high;
} rillet_channels_f32_tiles;

typedef struct {
  const int32_t *bias; /* zero points folded in */
  const int32_t *mantissa, *left, *right;
  int32_t lefts;  /* whether any channel is shifted left */
  int32_t single; /* whether sums are rounded once */
  int32_t zero, low, high;
} rillet_channels_u8_tiles;

/* Multipliers of the vector of channels that begins at `first`. */
RILLET_TILE rillet_scales rillet_channel_scales(const rillet_channels_u8_tiles k, int32_t first)
{
  return rillet_scales_load(k.mantissa + first, k.left + first, k.right + first);
}

RILLET_TILE rillet_sums rillet_sums_scaled(rillet_sums sum, rillet_scales scales, const rillet_channels_u8_tiles k)
{
  return k.single ? rillet_sums_single(sum, scales) : rillet_sums_double(sum, scales, k.lefts);
}
#endif
