/* The transforms of Winograd's algorithm for squares of 4x4 results under windows of 3x3, in whole numbers: vectors of
   channels by the compiler's own means. Sums are taken modulo 2^32, and are 576 times those of the convolution. */
#ifndef RILLET_WINOGRAD_H
#define RILLET_WINOGRAD_H

typedef rillet_byte rillet_w_bytes __attribute__((vector_size(2 * RILLET_LANES)));
typedef int16_t rillet_w_halves __attribute__((vector_size(4 * RILLET_LANES)));
typedef uint32_t rillet_w_sums __attribute__((vector_size(4 * RILLET_LANES)));
typedef int32_t rillet_w_signed __attribute__((vector_size(4 * RILLET_LANES)));
/* What sums begin with. */
static const int32_t rillet_winograd_nothing[2 * RILLET_LANES];

/* What lies for a place of the transforms, in bytes, is followed by a line of the cache: else equal parts of all places
   would share the cache's few places for their address. */
#define RILLET_W_LINE 64

#define RILLET_W_UNROLL _Pragma("GCC unroll 6")

/* Six values in a row, or of a column, to the six of their transform. */
RILLET_TILE void rillet_winograd_into(const rillet_w_halves d[6], rillet_w_halves out[6])
{
  const rillet_w_halves a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
  out[0] = 4 * d[0] - 5 * d[2] + d[4];
  out[1] = a + b;
  out[2] = a - b;
  out[3] = c + e;
  out[4] = c - e;
  out[5] = 4 * d[1] - 5 * d[3] + d[5];
}

RILLET_TILE rillet_w_halves rillet_winograd_load(const rillet_byte *at)
{
  rillet_w_bytes bytes;
  memcpy(&bytes, at, sizeof bytes);
  return __builtin_convertvector(bytes, rillet_w_halves);
}

/* The transforms of all squares of `high` x `across` in a band of padded rows: [squares][channels], `plane` from a place
   to the next. Channels are whole vectors of 16-bit values. A column's transform is used by both squares that it lies
   in. */
static __attribute__((noinline, unused)) void rillet_winograd_values(const rillet_byte *band, int32_t high,
                                                                     int32_t across, int32_t channels, int32_t plane,
                                                                     int16_t *out)
{
  const int32_t pitch = (4 * across + 2) * channels;
  for (int32_t y = 0; y < high; y++)
    for (int32_t c = 0; c < channels; c += 2 * RILLET_LANES) {
      const rillet_byte *from = band + 4 * y * pitch + c;
      int16_t *to = out + y * across * channels + c;
      rillet_w_halves column[6][6];
      for (int32_t x = 0; x < 4 * across + 2; x++, from += channels) {
        const int32_t place = x < 6 ? x : 2 + (x - 2) % 4;
        rillet_w_halves d[6];
        RILLET_W_UNROLL for (int32_t i = 0; i < 6; i++) d[i] = rillet_winograd_load(from + i * pitch);
        rillet_winograd_into(d, column[place]);
        if (place < 5) continue;
        RILLET_W_UNROLL for (int32_t i = 0; i < 6; i++) {
          rillet_w_halves row[6], made[6];
          RILLET_W_UNROLL for (int32_t j = 0; j < 6; j++) row[j] = column[j][i];
          rillet_winograd_into(row, made);
          RILLET_W_UNROLL for (int32_t j = 0; j < 6; j++)
            memcpy(to + (6 * i + j) * plane, &made[j], sizeof made[j]);
          column[0][i] = column[4][i];
          column[1][i] = column[5][i];
        }
        to += channels;
      }
    }
}

/* Three weights in a row, or of a column, to the six of their transform; the last is the half of what it would be. */
RILLET_TILE void rillet_winograd_turned(const rillet_w_halves w[3], rillet_w_halves out[6])
{
  const rillet_w_halves ends = w[0] + w[2], far = w[0] + 4 * w[2], twice = 2 * w[1];
  out[0] = 6 * w[0];
  out[1] = -4 * (ends + w[1]);
  out[2] = -4 * (ends - w[1]);
  out[3] = far + twice;
  out[4] = far - twice;
  out[5] = 12 * w[2];
}

/* The transforms of weights [pairs of channels][taps][lanes][2], `lanes` of all vectors: [pairs][lanes][2], `plane` from
   a place to the next. */
static __attribute__((noinline, unused)) void rillet_winograd_weights(const int8_t *w, int32_t pairs, int32_t lanes,
                                                                      int32_t plane, int16_t *out)
{
  typedef int8_t weights __attribute__((vector_size(2 * RILLET_LANES)));
  for (int32_t i = 0; i < pairs; i++, w += 9 * 2 * lanes)
    for (int32_t v = 0; v < 2 * lanes; v += 2 * RILLET_LANES, out += 2 * RILLET_LANES) {
      rillet_w_halves half[3][6];
      RILLET_W_UNROLL for (int32_t x = 0; x < 3; x++) {
        rillet_w_halves column[3];
        RILLET_W_UNROLL for (int32_t y = 0; y < 3; y++) {
          weights bytes;
          memcpy(&bytes, w + (3 * y + x) * 2 * lanes + v, sizeof bytes);
          column[y] = __builtin_convertvector(bytes, rillet_w_halves);
        }
        rillet_winograd_turned(column, half[x]);
      }
      RILLET_W_UNROLL for (int32_t y = 0; y < 6; y++) {
        const rillet_w_halves row[3] = {half[0][y], half[1][y], half[2][y]};
        rillet_w_halves made[6];
        rillet_winograd_turned(row, made);
        RILLET_W_UNROLL for (int32_t x = 0; x < 6; x++)
          memcpy(out + (6 * y + x) * plane, &made[x], sizeof made[x]);
      }
    }
}

/* Six sums in a row, or of a column, to four of the results. */
RILLET_TILE void rillet_winograd_out(const rillet_w_sums m[6], rillet_w_sums out[4])
{
  const rillet_w_sums a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  out[0] = m[0] + a + c;
  out[1] = b + 2 * d;
  out[2] = a + 4 * c;
  out[3] = b + 8 * d + 2 * m[5];
}

/* The 16 sums of one vector of channels of a square, `step` apart, out of those of its places, `apart` from each
   other. */
static __attribute__((noinline, unused)) void rillet_winograd_whole(const int32_t *sums, int32_t apart,
                                                                    const int32_t *bias, int32_t *out, int32_t step)
{
  rillet_w_sums half[4][6], added;
  memcpy(&added, bias, sizeof added);
  RILLET_W_UNROLL for (int32_t j = 0; j < 6; j++) {
    rillet_w_sums m[6], made[4];
    RILLET_W_UNROLL for (int32_t i = 0; i < 6; i++) memcpy(&m[i], sums + (6 * i + j) * apart, sizeof m[i]);
    rillet_winograd_out(m, made);
    RILLET_W_UNROLL for (int32_t i = 0; i < 4; i++) half[i][j] = made[i];
  }
  RILLET_W_UNROLL for (int32_t i = 0; i < 4; i++) {
    rillet_w_sums made[4];
    rillet_winograd_out(half[i], made);
    RILLET_W_UNROLL for (int32_t j = 0; j < 4; j++) {
      /* By 576 without a rest: times the inverse of 9 modulo 2^32, then by 64. */
      const rillet_w_signed times_64 = (rillet_w_signed)(made[j] * 954437177u);
      const rillet_w_sums sum = (rillet_w_sums)(times_64 >> 6) + added;
      memcpy(out + (4 * i + j) * step, &sum, sizeof sum);
    }
  }
}
#endif
