/* The time of each stage. */
#ifndef RILLET_PROFILE_H
#define RILLET_PROFILE_H
#include <stdint.h>
#include <time.h>

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

/* From now on it is the time of `stage`. */
#define RILLET_TIME_OF(profile, stage)                                   \
  do {                                                                   \
    const uint64_t now = rillet_ticks();                                 \
    (profile).ticks[(profile).at] += now - (profile).since;              \
    (profile).since = now;                                               \
    (profile).at = stage;                                                \
  } while (0)

/* The same, and counts the call; `profile` is the field of a context, each program's of a size of its own. */
#define RILLET_CALLED(profile, stage)                                    \
  do {                                                                   \
    RILLET_TIME_OF(profile, stage);                                      \
    (profile).calls[stage]++;                                            \
  } while (0)
#endif
