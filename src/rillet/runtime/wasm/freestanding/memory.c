/* memcpy and memset by vectors: engines have instructions for both, which are slow for the few bytes of a row. */
#include <stddef.h>
#include <stdint.h>
#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#endif

void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);

/* Keeps compilers from seeing memcpy or memset in a loop, and calling it. */
#define AS_WRITTEN() __asm__ volatile("" ::: "memory")

void *memcpy(void *to, const void *from, size_t count)
{
  uint8_t *out = to;
  const uint8_t *in = from;
#ifdef __wasm_simd128__
  for (; count >= 16; count -= 16, out += 16, in += 16) wasm_v128_store(out, wasm_v128_load(in));
#endif
  for (; count; count--) {
    *out++ = *in++;
    AS_WRITTEN();
  }
  return to;
}

void *memset(void *to, int value, size_t count)
{
  uint8_t *out = to;
#ifdef __wasm_simd128__
  const v128_t all = wasm_i8x16_splat((int8_t)value);
  for (; count >= 16; count -= 16, out += 16) wasm_v128_store(out, all);
#endif
  for (; count; count--) {
    *out++ = (uint8_t)value;
    AS_WRITTEN();
  }
  return to;
}
