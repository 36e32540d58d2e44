/* A pixel between four of its source: `right` is the share of the second column, `down` that of the second row. */
#ifndef RILLET_INTERPOLATE_H
#define RILLET_INTERPOLATE_H
#include <stdint.h>

static inline void rillet_interpolate_f32(const float *a, const float *b, const float *c, const float *d, float *out,
                                          int32_t channels, float right, float down)
{
  for (int32_t i = 0; i < channels; i++) {
    const float above = a[i] * (1.0f - right) + b[i] * right, below = c[i] * (1.0f - right) + d[i] * right;
    out[i] = above * (1.0f - down) + below * down;
  }
}

/* Shares in 1024ths, rounded half away from zero, which is stored as `zero`. */
#define RILLET_INTERPOLATE(name, type)                                                                                 \
  static inline void name(const type *a, const type *b, const type *c, const type *d, type *out, int32_t channels,     \
                          int32_t right, int32_t down, int32_t zero)                                                   \
  {                                                                                                                    \
    for (int32_t i = 0; i < channels; i++) {                                                                           \
      const int32_t above = a[i] * (1024 - right) + b[i] * right, below = c[i] * (1024 - right) + d[i] * right;        \
      const int32_t sum = above * (1024 - down) + below * down - zero * (1 << 20);                                     \
      out[i] = (type)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20) + zero);                                    \
    }                                                                                                                  \
  }
RILLET_INTERPOLATE(rillet_interpolate_i8, int8_t)
RILLET_INTERPOLATE(rillet_interpolate_u8, uint8_t)
#endif
