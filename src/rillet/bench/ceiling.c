/* How fast this processor can be: registers alone for the rates of arithmetic, reads alone for those of memory. */
#include <stdint.h>

/* Each rate is that of as many accumulators as hide the latency of the instruction; n is how often all are renewed.
   Inline assembly: a compiler may neither fold the work nor spill what it works on. */
#define SIXTEEN(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

#if defined(__AVX512F__)
#include <immintrin.h>
#define F32_NAME "AVX-512 FMA"
#define F32_MACS (16 * 16)
#define F32_ALL SIXTEEN
#define F32_TYPE __m512
#define F32_STEP(i) __asm__ volatile("vfmadd231ps %1, %2, %0" : "+v"(sum[i]) : "v"(a), "v"(b));
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define F32_NAME "AVX2 FMA"
#define F32_MACS (12 * 8)
#define F32_ALL TWELVE
#define F32_TYPE __m256
#define F32_STEP(i) __asm__ volatile("vfmadd231ps %1, %2, %0" : "+x"(sum[i]) : "x"(a), "x"(b));
#elif defined(__aarch64__)
#include <arm_neon.h>
#define F32_NAME "NEON FMLA"
#define F32_MACS (16 * 4)
#define F32_ALL SIXTEEN
#define F32_TYPE float32x4_t
#define F32_STEP(i) __asm__ volatile("fmla %0.4s, %1.4s, %2.4s" : "+w"(sum[i]) : "w"(a), "w"(b));
#endif

#if defined(__AVX512BF16__)
#define BF16_NAME "AVX-512 BF16"
#define BF16_MACS (16 * 32)
#define BF16_ALL SIXTEEN
#define BF16_TYPE __m512
#define BF16_STEP(i) __asm__ volatile("vdpbf16ps %1, %2, %0" : "+v"(sum[i]) : "v"(a), "v"(b));
#endif

#if defined(__AVX512VNNI__)
#define I8_NAME "AVX-512 VNNI"
#define I8_MACS (16 * 64)
#define I8_ALL SIXTEEN
#define I8_TYPE __m512i
#define I8_STEP(i) __asm__ volatile("vpdpbusd %1, %2, %0" : "+v"(sum[i]) : "v"(a), "v"(b));
#elif defined(__AVXVNNI__)
#define I8_NAME "AVX-VNNI"
#define I8_MACS (12 * 32)
#define I8_ALL TWELVE
#define I8_TYPE __m256i
#define I8_STEP(i) __asm__ volatile("%{vex%} vpdpbusd %1, %2, %0" : "+x"(sum[i]) : "x"(a), "x"(b));
#elif defined(__AVX2__)
/* Two instructions multiply and add four products, a third accumulates. */
#define I8_NAME "AVX2 VPMADDUBSW"
#define I8_MACS (12 * 32)
#define I8_ALL TWELVE
#define I8_TYPE __m256i
#define I8_STEP(i)                                                                                         \
  {                                                                                                        \
    __m256i part;                                                                                          \
    __asm__ volatile("vpmaddubsw %2, %3, %0\n\tvpmaddwd %0, %2, %0\n\tvpaddd %0, %1, %1"                   \
                     : "=&x"(part), "+x"(sum[i])                                                           \
                     : "x"(a), "x"(b));                                                                    \
  }
#elif defined(__ARM_FEATURE_DOTPROD)
#define I8_NAME "NEON SDOT"
#define I8_MACS (16 * 16)
#define I8_ALL SIXTEEN
#define I8_TYPE int32x4_t
#define I8_STEP(i) __asm__ volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum[i]) : "w"(a), "w"(b));
#endif

/* gcc and clang call them differently. */
#if ((defined(__AMX_INT8__) && defined(__AMX_BF16__)) || (defined(__AMXINT8__) && defined(__AMXBF16__))) && defined(__linux__)
#include <sys/syscall.h>
extern long syscall(long number, ...);
#define UNIT_NAME(kind) "AMX " kind

/* Whether the system gives this process the matrix unit. */
static inline int has_unit(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

static const struct {
  uint8_t palette, begin, none[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

#define UNIT_RATE(product)                                                                                  \
  __asm__ volatile("ldtilecfg %0" ::"m"(shape));                                                            \
  for (int64_t k = 0; k < n; k++)                                                                           \
    __asm__ volatile(product " %tmm7, %tmm6, %tmm0\n\t" product " %tmm7, %tmm6, %tmm1\n\t" product          \
                             " %tmm7, %tmm6, %tmm2\n\t" product " %tmm7, %tmm6, %tmm3");                    \
  __asm__ volatile("tilerelease");
#else
#define UNIT_NAME(kind) ""
#define has_unit() 0
#define UNIT_RATE(product)
#endif
#define UNIT_MACS (4 * 16 * 16) /* and as many times the depth of a product */

#define RATE(PREFIX)                                        \
  PREFIX##_TYPE sum[16] = {0}, a = {0}, b = {0};            \
  for (int64_t k = 0; k < n; k++) { PREFIX##_ALL(PREFIX##_STEP) }

/* The instruction that is measured, and how many multiply-accumulates one of the n times does; "" and 0 for none. */
#ifdef F32_NAME
const char *ceiling_f32_name(void) { return F32_NAME; }
int64_t ceiling_f32_macs(void) { return F32_MACS; }
void ceiling_f32(int64_t n) { RATE(F32) }
#else
const char *ceiling_f32_name(void) { return ""; }
int64_t ceiling_f32_macs(void) { return 0; }
void ceiling_f32(int64_t n) { (void)n; }
#endif
#ifdef BF16_NAME
const char *ceiling_bf16_name(void) { return has_unit() ? UNIT_NAME("BF16") : BF16_NAME; }
int64_t ceiling_bf16_macs(void) { return has_unit() ? UNIT_MACS * 32 : BF16_MACS; }
void ceiling_bf16(int64_t n)
{
  if (has_unit()) {
    UNIT_RATE("tdpbf16ps")
    return;
  }
  RATE(BF16)
}
#else
const char *ceiling_bf16_name(void) { return ""; }
int64_t ceiling_bf16_macs(void) { return 0; }
void ceiling_bf16(int64_t n) { (void)n; }
#endif
#ifdef I8_NAME
const char *ceiling_i8_name(void) { return has_unit() ? UNIT_NAME("INT8") : I8_NAME; }
int64_t ceiling_i8_macs(void) { return has_unit() ? UNIT_MACS * 64 : I8_MACS; }
void ceiling_i8(int64_t n)
{
  if (has_unit()) {
    UNIT_RATE("tdpbusd")
    return;
  }
  RATE(I8)
}
#else
const char *ceiling_i8_name(void) { return ""; }
int64_t ceiling_i8_macs(void) { return 0; }
void ceiling_i8(int64_t n) { (void)n; }
#endif

#if defined(__AVX512F__)
#define READ_BYTES 64
#elif defined(__AVX2__)
#define READ_BYTES 32
#else
#define READ_BYTES 16
#endif
typedef uint64_t read_type __attribute__((vector_size(READ_BYTES)));

/* Reads `bytes` bytes (a multiple of 256, aligned to 64) `times` times over; what it returns depends on all of them. */
uint64_t ceiling_read(const void *buffer, int64_t bytes, int64_t times)
{
  const read_type *const from = buffer;
  read_type a = {0}, b = {0}, c = {0}, d = {0};
  for (int64_t t = 0; t < times; t++) {
    for (int64_t i = 0; i < bytes / READ_BYTES; i += 4) {
      a |= from[i], b |= from[i + 1], c |= from[i + 2], d |= from[i + 3];
    }
    __asm__ volatile("" ::: "memory");
  }
  const read_type all = a | b | c | d;
  uint64_t out = 0;
  for (int i = 0; i < READ_BYTES / 8; i++) out |= all[i];
  return out;
}
