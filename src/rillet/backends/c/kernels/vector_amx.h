/* The words that register tiles are written in, for AMX beside AVX-512 F, BW, DQ, VL, VNNI and BF16: those of AVX-512, and
   the matrix unit's, which multiplies sixteen pixels by sixteen channels at a time. */
#ifndef RILLET_VECTOR_H
#define RILLET_VECTOR_H
#include "words_avx512.h"

#define RILLET_MATRIX_ROWS 16

/* The unit has eight registers, called by literal numbers, all of sixteen rows of 64 bytes here. Rows lie `step` bytes apart
   in memory. Each word is a barrier to compilers: they know nothing of these registers. */
#ifndef RILLET_MATRIX_SIMULATED
#ifdef __linux__
#include <sys/syscall.h>
#ifndef RILLET_MATRIX_COMPONENT
#define RILLET_MATRIX_COMPONENT 18 /* of the state of a thread: the data of tiles */
#endif
extern long syscall(long number, ...); /* unistd.h hides it from C99 */
#endif

/* Asks the system for the registers, once for the process and its threads; 0 where it refuses. */
static inline int32_t rillet_matrix_allowed(void)
{
#ifdef __linux__
  return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, RILLET_MATRIX_COMPONENT) == 0;
#else
  return 1;
#endif
}

/* How all registers are shaped: palette 1, bytes of a row, rows. */
static const struct {
  uint8_t palette, begin, none[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} rillet_matrix_shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

/* Takes the unit, for the thread that calls, and gives it back. */
RILLET_TILE void rillet_matrix_begin(void) { __asm__ volatile("ldtilecfg %0" ::"m"(rillet_matrix_shape) : "memory"); }
RILLET_TILE void rillet_matrix_end(void) { __asm__ volatile("tilerelease" ::: "memory"); }

/* A product that nobody reads. The unit falls asleep after about a microsecond without one, and takes a quarter of one to
   wake, which slows all other work meanwhile. */
RILLET_TILE void rillet_matrix_wake(void) { __asm__ volatile("tdpbusd %%tmm7, %%tmm6, %%tmm0" ::: "memory"); }

#define RILLET_MATRIX_LOAD(register, at, step) \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #register ::"r"(at), "r"((int64_t)(step)) : "memory")
#define RILLET_MATRIX_STORE(register, at, step) \
  __asm__ volatile("tilestored %%tmm" #register ", (%0,%1,1)" ::"r"(at), "r"((int64_t)(step)) : "memory")
/* sums += values * weights: of unsigned and signed bytes, four of each lane; of bfloat16, two. */
#define RILLET_MATRIX_ADD_BYTES(sums, values, weights) \
  __asm__ volatile("tdpbusd %%tmm" #weights ", %%tmm" #values ", %%tmm" #sums ::: "memory")
#define RILLET_MATRIX_ADD_BF16(sums, values, weights) \
  __asm__ volatile("tdpbf16ps %%tmm" #weights ", %%tmm" #values ", %%tmm" #sums ::: "memory")
#else
/* The same in C, for processors without the unit. */
typedef union {
  uint8_t bytes[16][64];
  int32_t sums[16][16];
  uint16_t narrow[16][32];
  float reals[16][16];
} rillet_matrix;
static __thread rillet_matrix rillet_matrices[8];

static inline int32_t rillet_matrix_allowed(void) { return 1; }
static inline void rillet_matrix_begin(void) { memset(rillet_matrices, 0, sizeof rillet_matrices); }
static inline void rillet_matrix_end(void) { memset(rillet_matrices, 255, sizeof rillet_matrices); }

static inline void rillet_matrix_wake(void) {}

static inline void rillet_matrix_load(int32_t to, const void *at, int64_t step)
{
  for (int64_t i = 0; i < 16; i++) memcpy(rillet_matrices[to].bytes[i], (const uint8_t *)at + i * step, 64);
}
static inline void rillet_matrix_store(int32_t from, void *at, int64_t step)
{
  for (int64_t i = 0; i < 16; i++) memcpy((uint8_t *)at + i * step, rillet_matrices[from].bytes[i], 64);
}
static inline void rillet_matrix_add_bytes(int32_t sums, int32_t values, int32_t weights)
{
  for (int32_t row = 0; row < 16; row++)
    for (int32_t i = 0; i < 16; i++)
      for (int32_t k = 0; k < 64; k++)
        rillet_matrices[sums].sums[row][i] += (int32_t)rillet_matrices[values].bytes[row][k] *
                                              (int8_t)rillet_matrices[weights].bytes[k / 4][4 * i + k % 4];
}
/* What is subnormal is zero. */
static inline float rillet_matrix_flushed(float value) { return value > -FLT_MIN && value < FLT_MIN ? 0.0f : value; }
static inline float rillet_matrix_real(uint16_t bits)
{
  const uint32_t wide = (uint32_t)bits << 16;
  float out;
  memcpy(&out, &wide, 4);
  return rillet_matrix_flushed(out);
}
/* The first of each pair by themselves, and the second: both chains fused, then their sum to what was there. */
static inline void rillet_matrix_add_bf16(int32_t sums, int32_t values, int32_t weights)
{
  for (int32_t row = 0; row < 16; row++)
    for (int32_t i = 0; i < 16; i++) {
      float part[2] = {0, 0};
      for (int32_t k = 0; k < 32; k++) {
        const float value = rillet_matrix_real(rillet_matrices[values].narrow[row][k]);
        const float weight = rillet_matrix_real(rillet_matrices[weights].narrow[k / 2][2 * i + k % 2]);
        part[k % 2] = rillet_matrix_flushed(__builtin_fmaf(value, weight, part[k % 2]));
      }
      const float sum = rillet_matrices[sums].reals[row][i];
      rillet_matrices[sums].reals[row][i] = rillet_matrix_flushed(sum + rillet_matrix_flushed(part[0] + part[1]));
    }
}
#define RILLET_MATRIX_LOAD(register, at, step) rillet_matrix_load(register, at, step)
#define RILLET_MATRIX_STORE(register, at, step) rillet_matrix_store(register, at, step)
#define RILLET_MATRIX_ADD_BYTES(sums, values, weights) rillet_matrix_add_bytes(sums, values, weights)
#define RILLET_MATRIX_ADD_BF16(sums, values, weights) rillet_matrix_add_bf16(sums, values, weights)
#endif
#endif
