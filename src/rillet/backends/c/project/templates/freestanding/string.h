/* All that the net uses of a C library, for compilers that come without one: add this folder to the include path. */
#ifndef RILLET_STRING_H
#define RILLET_STRING_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
#ifdef __cplusplus
}
#endif
#endif
