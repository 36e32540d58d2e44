/* What compilers may call though nobody does: a byte at a time, as small as can be. */
#include <stddef.h>

__attribute__((weak)) void *memcpy(void *to, const void *from, size_t count)
{
  char *at = to;
  const char *read = from;
  while (count--) {
    *at++ = *read++;
    __asm__ volatile("");
  }
  return to;
}

__attribute__((weak)) void *memset(void *to, int value, size_t count)
{
  char *at = to;
  while (count--) {
    *at++ = (char)value;
    __asm__ volatile("");
  }
  return to;
}
