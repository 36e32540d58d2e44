/* Functions of one 8-bit value, by table. */
#ifndef RILLET_POINTWISE_H
#define RILLET_POINTWISE_H
#include <string.h>
#include "rescale.h"

/* The table is in the order of the bytes. `out` may be `in`. */
static inline void rillet_lookup(const void *in, void *out, int32_t channels, const uint8_t table[256])
{
  int32_t c = 0;
#ifdef RILLET_TABLE_BYTES
  const rillet_table all = rillet_table_load(table);
  for (; c + RILLET_TABLE_BYTES <= channels; c += RILLET_TABLE_BYTES)
    rillet_table_look(all, (const uint8_t *)in + c, (uint8_t *)out + c);
#endif
  for (; c < channels; c++) ((uint8_t *)out)[c] = table[((const uint8_t *)in)[c]];
}

/* Bytes that stay what they are. `out` may be `in`. */
static inline void rillet_same(const void *in, void *out, int32_t channels)
{
  if (out != in) memcpy(out, in, (size_t)channels);
}
#endif
