/* The same real values under another scale, zero point or signedness. */
#ifndef RILLET_REQUANTIZE_H
#define RILLET_REQUANTIZE_H
#include "rescale.h"

typedef struct {
  int32_t from_zero, mantissa, shift, zero, low, high;
} rillet_requantize;

/* `out` may be `in`. */
#define RILLET_REQUANTIZE(name, from, to)                                                                  \
  static inline void name(const from *in, to *out, int32_t channels, const rillet_requantize k)            \
  {                                                                                                        \
    for (int32_t c = 0; c < channels; c++) {                                                               \
      const int32_t scaled = rillet_rescale_double((int32_t)in[c] - k.from_zero, k.mantissa, k.shift);     \
      out[c] = (to)rillet_clamp(scaled + k.zero, k.low, k.high);                                           \
    }                                                                                                      \
  }
RILLET_REQUANTIZE(rillet_requantize_u8_i8, uint8_t, int8_t)
RILLET_REQUANTIZE(rillet_requantize_i8_u8, int8_t, uint8_t)
RILLET_REQUANTIZE(rillet_requantize_i8_i8, int8_t, int8_t)
RILLET_REQUANTIZE(rillet_requantize_u8_u8, uint8_t, uint8_t)
#endif
