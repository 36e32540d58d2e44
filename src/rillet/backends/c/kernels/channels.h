/* The constants of a convolution's output channels as register tiles read them, and how sums become stored bytes. */
#ifndef RILLET_CHANNELS_H
#define RILLET_CHANNELS_H

/* Ways to round that some layer of the program takes: the others are left out of its tiles. */
#ifndef RILLET_ROUNDS
#define RILLET_ROUNDS (RILLET_BY_INTEGERS | RILLET_SIGNED | RILLET_CAREFUL | RILLET_AS_BITS | RILLET_AS_NUMBERS)
#endif
#define RILLET_BY_INTEGERS 1
#define RILLET_SIGNED 2
#define RILLET_CAREFUL 4
#define RILLET_AS_BITS 8
#define RILLET_AS_NUMBERS 16
#define RILLET_SOME(way) (((RILLET_ROUNDS) & (way)) != 0)

typedef struct {
  const float *bias;
  float low, high;
} rillet_channels_f32_tiles;

/* How a window lies in padded rows: in every row so many runs of values, `step` apart, rows `row_step` apart; all of it
   `parts` times over. */
typedef struct {
  int32_t parts, rows, row_step, in_row, step, values;
} rillet_runs;

/* Sums are rounded in float32 where that was shown to be exact, else by integers. */
typedef struct {
  const int32_t *bias; /* zero points folded in */
  const float *scale, *nudge;
  const int32_t *by_integers; /* for each vector of channels: 2 where float32 would round otherwise, 1 where it would for
                                 another vector that is stored with it, else 0; no array: all 0 */
  const int32_t *mantissa, *left, *right; /* where there is one */
  const int8_t *shift;        /* instead of `scale` and `nudge`, where sums are `as_bits` and the set takes shifts;
                                 one that adds has a `nudge` alone */
  int32_t is_signed;          /* whether the nudge takes the sign of the sum */
  int32_t careful;            /* whether float32 rounds in two steps */
  int32_t as_bits;            /* whether sums are kept as the bits of 1.5 * 2^23 + sum: so is the bias */
  int32_t single;             /* whether integers are rounded once */
  int32_t centre;             /* what is to be added to what float32 gives */
  int32_t zero, low, high;
} rillet_channels_byte_tiles;

RILLET_TILE int32_t rillet_by_integers(const rillet_channels_byte_tiles *k, int32_t first)
{
  return RILLET_SOME(RILLET_BY_INTEGERS) && k->by_integers && k->by_integers[first / RILLET_LANES];
}

/* The same multiplier for every channel. */
RILLET_TILE rillet_scales rillet_scales_all(int32_t mantissa, int32_t left, int32_t right)
{
  int32_t mantissas[RILLET_LANES], lefts[RILLET_LANES], rights[RILLET_LANES];
  for (int32_t i = 0; i < RILLET_LANES; i++) {
    mantissas[i] = mantissa;
    lefts[i] = left;
    rights[i] = right;
  }
  return rillet_scales_load(mantissas, lefts, rights);
}

/* Whether sums are kept as bits. */
RILLET_TILE int32_t rillet_as_bits(const rillet_channels_byte_tiles *k)
{
  return !RILLET_SOME(RILLET_AS_NUMBERS) || (RILLET_SOME(RILLET_AS_BITS) && k->as_bits);
}

/* A vector of sums as its stores take it. */
RILLET_TILE rillet_sums rillet_sums_to_store(rillet_sums sum, rillet_factors factors,
                                             const rillet_channels_byte_tiles *k)
{
  if (rillet_as_bits(k)) return rillet_sums_shifted(sum, factors);
  const int32_t is_signed = RILLET_SOME(RILLET_SIGNED) && k->is_signed;
  return rillet_sums_rounded(sum, factors, is_signed, RILLET_SOME(RILLET_CAREFUL) && k->careful);
}

RILLET_TILE rillet_factors rillet_factors_of(const rillet_channels_byte_tiles *k, int32_t first)
{
#ifdef RILLET_COMPACT
  if (rillet_as_bits(k)) return rillet_factors_shifted(k->shift + first);
#endif
#ifdef RILLET_ADDS
  if (k->as_bits) return rillet_factors_added(k->nudge + first);
#endif
  return rillet_factors_load(k->scale + first, k->nudge + first);
}

/* Rounds the sums of one vector of channels for each of some pixels, `step` apart, where they lie. */
RILLET_TILE void rillet_round_kept(int32_t *sums, int32_t pixels, int32_t step, int32_t first,
                                   const rillet_channels_byte_tiles *k)
{
  if (k->by_integers[first / RILLET_LANES] == 1) {
    const rillet_factors factors = rillet_factors_of(k, first);
    /* What float32 gives is `centre` less: integers are brought to the same. */
    for (int32_t p = 0; p < pixels; p++, sums += step)
      rillet_sums_keep(sums, rillet_sums_rounded(rillet_sums_load(sums), factors, k->is_signed, k->careful));
    return;
  }
  const rillet_scales scales = rillet_scales_load(k->mantissa + first, k->left + first, k->right + first);
  for (int32_t p = 0; p < pixels; p++, sums += step) {
    const rillet_sums value = rillet_sums_load(sums);
    const rillet_sums whole = k->single ? rillet_sums_single(value, scales) : rillet_sums_double(value, scales);
    rillet_sums_keep(sums, rillet_sums_less(whole, k->centre));
  }
}

/* Stores the sums of one, two or four vectors of channels for each of some pixels, some of them rounded by integers. */
static __attribute__((noinline, unused)) void rillet_store_kept(int32_t *sums, int32_t vectors, int32_t pixels,
                                                                int32_t first, rillet_byte *out, int32_t pitch,
                                                                int32_t lanes, const rillet_channels_byte_tiles *k)
{
  const int32_t zero = k->zero + k->centre, low = k->low, high = k->high, step = vectors * RILLET_LANES;
  for (int32_t v = 0; v < vectors; v++)
    rillet_round_kept(sums + v * RILLET_LANES, pixels, step, first + v * RILLET_LANES, k);
  for (int32_t p = 0; p < pixels; p++, sums += step, out += pitch) {
    const rillet_sums a = rillet_sums_load(sums);
    if (vectors == 1) {
      rillet_store_1(out, a, lanes, zero, low, high, 0);
      continue;
    }
    const rillet_sums b = rillet_sums_load(sums + RILLET_LANES);
    if (vectors == 2) {
      rillet_store_2(out, a, b, lanes, zero, low, high, 0);
      continue;
    }
    const rillet_sums c = rillet_sums_load(sums + 2 * RILLET_LANES), d = rillet_sums_load(sums + 3 * RILLET_LANES);
    rillet_store_4(out, a, b, c, d, lanes, zero, low, high, 0);
  }
}
#endif
