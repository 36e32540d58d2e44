/* What kernels use of it, for compilers without a C library. */
#ifndef RILLET_MATH_H
#define RILLET_MATH_H
float expf(float x);
float roundf(float x);
#endif
