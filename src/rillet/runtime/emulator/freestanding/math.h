/* What kernels use of it, for compilers without a C library. */
#ifndef RILLET_MATH_H
#define RILLET_MATH_H
float erfcf(float x);
float erff(float x);
float expf(float x);
float expm1f(float x);
float fabsf(float x);
float log1pf(float x);
float logf(float x);
float powf(float x, float y);
float roundf(float x);
float sqrtf(float x);
float tanhf(float x);
#endif
