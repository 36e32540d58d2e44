/* The functions of <math.h> that kernels use, for WebAssembly without a C library: in float64, to the last bits of a
   float32. The same bits in every engine, as WebAssembly's arithmetic is IEEE 754's. */
#include <math.h>
#include <stdint.h>

static double power_of_two(int64_t exponent)
{
  const union {
    int64_t bits;
    double value;
  } out = {(exponent + 1023) << 52};
  return out.value;
}

/* e^x for |x| < 700: x = n log 2 + r with |r| <= log(2) / 2, whose series is summed to 2^-50. */
static double exponential(double x)
{
  const double n = __builtin_rint(x * 1.4426950408889634);
  const double r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10;
  double sum = 1.0;
  for (int i = 13; i > 0; i--) sum = 1.0 + r * sum / i;
  return sum * power_of_two((int64_t)n);
}

/* log x for a finite x > 0: x = m 2^n with m from 0.7 to 1.4, log m = 2 artanh((m - 1) / (m + 1)). */
static double logarithm(double x)
{
  union {
    double value;
    int64_t bits;
  } at = {x};
  int64_t n = (at.bits >> 52) - 1023;
  at.bits = (at.bits & 0xfffffffffffff) | 0x3ff0000000000000;
  if (at.value > 1.4142135623730951) at.value *= 0.5, n++;
  const double s = (at.value - 1.0) / (at.value + 1.0), square = s * s;
  double sum = 0.0;
  for (int i = 27; i > 0; i -= 2) sum = sum * square + 1.0 / i;
  return 2.0 * s * sum + (double)n * 0.6931471805599453;
}

float expf(float x)
{
  if (x != x) return x;
  return x > 89.0f ? (float)(1.0 / 0.0) : x < -104.0f ? 0.0f : (float)exponential(x);
}

float expm1f(float x)
{
  if (x != x || x > 89.0f) return expf(x);
  if (x < -0.3f || x > 0.3f) return x < -30.0f ? -1.0f : (float)(exponential(x) - 1.0);
  double sum = 1.0;
  for (int i = 13; i > 1; i--) sum = 1.0 + x * sum / i;
  return (float)(x * sum);
}

float logf(float x)
{
  if (x != x || x > 3.4e38f) return x;
  return x < 0.0f ? (float)(0.0 / 0.0) : x == 0.0f ? (float)(-1.0 / 0.0) : (float)logarithm(x);
}

float log1pf(float x)
{
  const double y = 1.0 + (double)x;
  if (x != x || x > 3.4e38f) return x;
  if (y <= 0.0) return y < 0.0 ? (float)(0.0 / 0.0) : (float)(-1.0 / 0.0);
  return y == 1.0 ? x : (float)(logarithm(y) * ((double)x / (y - 1.0)));
}

float powf(float x, float y)
{
  if (y == 0.0f || x == 1.0f) return 1.0f;
  if (x != x || y != y) return x + y;
  const float size = __builtin_fabsf(x), whole = __builtin_truncf(y);
  if (x < 0.0f && whole != y) return (float)(0.0 / 0.0);
  const int odd = x < 0.0f && __builtin_truncf(y * 0.5f) * 2.0f != y;
  double out;
  if (size == 0.0f) out = y > 0.0f ? 0.0 : 1.0 / 0.0;
  else if (size > 3.4e38f) out = y > 0.0f ? 1.0 / 0.0 : 0.0;
  else {
    const double exponent = (double)y * logarithm(size);
    out = exponent > 100.0 ? 1.0 / 0.0 : exponent < -120.0 ? 0.0 : exponential(exponent);
  }
  return (float)(odd ? -out : out);
}

float tanhf(float x)
{
  if (x != x) return x;
  if (x > 10.0f || x < -10.0f) return x > 0.0f ? 1.0f : -1.0f;
  const float twice = expm1f(2.0f * x);
  return (float)((double)twice / ((double)twice + 2.0));
}

/* By its series, which converges for small x, where few terms do. */
static double error_series(double x)
{
  double term = x, sum = x;
  for (int i = 1; i < 60; i++) {
    term *= -x * x / i;
    sum += term / (2 * i + 1);
  }
  return 1.1283791670955126 * sum;
}

/* erfc x for x >= 2, by its continued fraction. */
static double error_tail(double x)
{
  double below = x;
  for (int i = 60; i > 0; i--) below = x + 0.5 * i / below;
  return exponential(-x * x) * 0.5641895835477563 / below;
}

float erff(float x)
{
  if (x != x) return x;
  if (x > 4.0f || x < -4.0f) return x > 0.0f ? 1.0f : -1.0f;
  const double size = __builtin_fabsf(x), out = size < 2.0 ? error_series(size) : 1.0 - error_tail(size);
  return (float)(x < 0.0f ? -out : out);
}

float erfcf(float x)
{
  if (x != x) return x;
  if (x > 11.0f || x < -4.0f) return x > 0.0f ? 0.0f : 2.0f;
  const double size = __builtin_fabsf(x), out = size < 2.0 ? 1.0 - error_series(size) : error_tail(size);
  return (float)(x < 0.0f ? 2.0 - out : out);
}

float roundf(float x)
{
  const float whole = __builtin_truncf(x);
  return __builtin_fabsf(x - whole) >= 0.5f ? whole + __builtin_copysignf(1.0f, x) : whole;
}

float fabsf(float x) { return __builtin_fabsf(x); }
float sqrtf(float x) { return __builtin_sqrtf(x); }
