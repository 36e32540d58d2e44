/* The time of each stage, that of the stages which it calls not counted. */
#ifndef RILLET_PROFILE_H
#define RILLET_PROFILE_H
#include <stdint.h>
#include <time.h>

typedef struct {
  uint64_t *ticks, *calls;
  uint32_t at;    /* whose time it is */
  uint64_t since; /* and since when */
} rillet_profile;

/* The finest clock there is; how fast it ticks is to be found out. */
static inline uint64_t rillet_ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  uint64_t ticks;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#else
  return (uint64_t)clock();
#endif
}

/* From now on it is the time of `stage`; returns whose it was. */
static inline uint32_t rillet_profile_switch(rillet_profile *p, uint32_t stage)
{
  const uint32_t before = p->at;
  const uint64_t now = rillet_ticks();
  p->ticks[before] += now - p->since;
  p->since = now;
  p->at = stage;
  return before;
}

#define RILLET_PROFILED(profile, stage, call)                            \
  do {                                                                   \
    const uint32_t caller = rillet_profile_switch(&profile, stage);      \
    profile.calls[stage]++;                                              \
    call;                                                                \
    rillet_profile_switch(&profile, caller);                             \
  } while (0)
#endif
