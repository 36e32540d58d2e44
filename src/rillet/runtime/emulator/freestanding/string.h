/* What kernels use of it, for compilers without a C library. */
#ifndef RILLET_STRING_H
#define RILLET_STRING_H
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
#endif
