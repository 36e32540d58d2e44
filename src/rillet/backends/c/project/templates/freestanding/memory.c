/* memcpy and memset, four words at a time, for programs without a C library. They are weak: others take their place. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);

/* Cores that read and write words at any address do so here; others where both sides lie alike. */
#ifdef __ARM_FEATURE_UNALIGNED
#define PACKED packed,
enum { ANYWHERE = 1 };
#else
#define PACKED
enum { ANYWHERE = 0 };
#endif
typedef struct {
  uint32_t is;
} __attribute__((PACKED may_alias)) word;
enum { WORD = sizeof(word), FOUR = 4 * WORD };

/* Keeps compilers from seeing memcpy or memset in a loop, and calling it. */
#define AS_WRITTEN() __asm__ volatile("" ::: "memory")

__attribute__((weak)) void *memcpy(void *to, const void *from, size_t count)
{
  uint8_t *out = to;
  const uint8_t *in = from;
  if (ANYWHERE || (count >= FOUR && ((uintptr_t)out ^ (uintptr_t)in) % WORD == 0)) {
    for (; !ANYWHERE && (uintptr_t)out % WORD; count--) {
      *out++ = *in++;
      AS_WRITTEN();
    }
    for (; count >= FOUR; count -= FOUR, out += FOUR, in += FOUR) {
      const word *const read = (const word *)(const void *)in;
      word *const written = (word *)(void *)out;
      const word a = read[0], b = read[1], c = read[2], d = read[3];
      written[0] = a;
      written[1] = b;
      written[2] = c;
      written[3] = d;
      AS_WRITTEN();
    }
    for (; count >= WORD; count -= WORD, out += WORD, in += WORD) {
      *(word *)(void *)out = *(const word *)(const void *)in;
      AS_WRITTEN();
    }
  }
  for (; count; count--) {
    *out++ = *in++;
    AS_WRITTEN();
  }
  return to;
}

__attribute__((weak)) void *memset(void *to, int value, size_t count)
{
  uint8_t *out = to;
  const uint8_t byte = (uint8_t)value;
  const word four = {0x01010101u * byte};
  for (; !ANYWHERE && count && (uintptr_t)out % WORD; count--) {
    *out++ = byte;
    AS_WRITTEN();
  }
  for (; count >= FOUR; count -= FOUR, out += FOUR) {
    word *const written = (word *)(void *)out;
    written[0] = four;
    written[1] = four;
    written[2] = four;
    written[3] = four;
    AS_WRITTEN();
  }
  for (; count >= WORD; count -= WORD, out += WORD) {
    *(word *)(void *)out = four;
    AS_WRITTEN();
  }
  for (; count; count--) {
    *out++ = byte;
    AS_WRITTEN();
  }
  return to;
}
