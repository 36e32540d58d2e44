/* A preloaded library that answers cpuid as a processor without AVX-512 would: bench/masked.py writes ud2 over each cpuid
   of a runtime, and the signal that follows is answered here. MASK_KEEPS_VNNI in the environment leaves AVX-VNNI. */

#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

/* Bits of leaf 7: AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ; 4VNNIW, 4FMAPS,
   VP2INTERSECT, FP16, AMX BF16, TILE, INT8. Of its second part: AVX512 BF16, AMX FP16, AVX-IFMA; AVX-VNNI-INT8,
   AVX-NE-CONVERT, AVX-VNNI-INT16, AVX10. */
#define BIT(n) ((uint32_t)1 << (n))
static const uint32_t masked_b = BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31);
static const uint32_t masked_c = BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14);
static const uint32_t masked_d = BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25);
static const uint32_t masked_a1 = BIT(5) | BIT(21) | BIT(23);
static const uint32_t masked_d1 = BIT(4) | BIT(5) | BIT(10) | BIT(19);
/* Of client processors that have AVX-VNNI, and of none before them. */
static const uint32_t gfni = BIT(8), avx_vnni = BIT(4);
static int keeps_vnni;

static void answer(int number, siginfo_t *info, void *context)
{
  (void)info;
  greg_t *const at = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *const instruction = (const uint8_t *)at[REG_RIP];
  if (instruction[0] != 0x0f || instruction[1] != 0x0b) { /* an instruction that is truly unknown */
    signal(number, SIG_DFL);
    return;
  }
  const uint32_t leaf = (uint32_t)at[REG_RAX], part = (uint32_t)at[REG_RCX];
  uint32_t a, b, c, d;
  __cpuid_count(leaf, part, a, b, c, d);
  if (leaf == 7 && part == 0) {
    b &= ~masked_b;
    c &= ~(masked_c | (keeps_vnni ? 0 : gfni));
    d &= ~masked_d;
  }
  if (leaf == 7 && part == 1) {
    a &= ~(masked_a1 | (keeps_vnni ? 0 : avx_vnni));
    d &= ~masked_d1;
  }
  at[REG_RAX] = a;
  at[REG_RBX] = b;
  at[REG_RCX] = c;
  at[REG_RDX] = d;
  at[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void)
{
  struct sigaction how;
  memset(&how, 0, sizeof how);
  how.sa_sigaction = answer;
  how.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGILL, &how, 0);
  keeps_vnni = getenv("MASK_KEEPS_VNNI") != 0;
}
