/* The place of the greatest channel of one pixel, of equal ones the first. */
#ifndef RILLET_ARGMAX_H
#define RILLET_ARGMAX_H
#include <stdint.h>

#define RILLET_ARGMAX(name, type)                                                                                      \
  static inline int32_t name(const type *in, int32_t channels)                                                         \
  {                                                                                                                    \
    int32_t found = 0;                                                                                                 \
    type greatest = in[0];                                                                                             \
    for (int32_t c = 1; c < channels; c++)                                                                             \
      if (in[c] > greatest) greatest = in[c], found = c;                                                               \
    return found;                                                                                                      \
  }
RILLET_ARGMAX(rillet_argmax_i8, int8_t)
RILLET_ARGMAX(rillet_argmax_u8, uint8_t)
RILLET_ARGMAX(rillet_argmax_i16, int16_t)
RILLET_ARGMAX(rillet_argmax_f32, float)
#endif
