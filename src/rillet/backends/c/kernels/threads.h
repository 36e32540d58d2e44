/* Threads that go through one schedule side by side, each making its share of every tile.

   All count the same firings. Before a firing a thread waits until the others have done those whose values it will read,
   or whose reading it will write over; which these are is known when the program is written. */
#ifndef RILLET_THREADS_H
#define RILLET_THREADS_H
#include <sched.h>
#include <unistd.h>
#include "crew.h"

/* Looks before a thread lets another process have its core, and before it sleeps for want of an image. */
#define RILLET_LOOKS 2000
#define RILLET_ROW_LOOKS 5000

static inline void rillet_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Where the share of a thread begins; that of the next one is its end. */
static inline int32_t rillet_share(int32_t count, int32_t part) { return count * part / RILLET_THREADS; }
static inline int32_t rillet_least(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t rillet_most(int32_t a, int32_t b) { return a > b ? a : b; }
static inline uint64_t rillet_later(uint64_t a, uint64_t b) { return a > b ? a : b; }

static __attribute__((noinline)) void rillet_wait(rillet_place *self, uint64_t firing)
{
  uint64_t least = UINT64_MAX;
  for (int32_t i = 0; i < RILLET_THREADS; i++) {
    if (i == self->part) continue;
    uint64_t done = __atomic_load_n(&self->all[i].done, __ATOMIC_ACQUIRE);
    for (int32_t looks = 0; done < firing; looks++) {
      if (looks < RILLET_LOOKS) rillet_pause();
      else sched_yield();
      done = __atomic_load_n(&self->all[i].done, __ATOMIC_ACQUIRE);
    }
    if (done < least) least = done;
  }
  self->known = least;
}

/* Returns when every other thread has done its share of this firing and those before it. */
static inline void rillet_after(rillet_place *self, uint64_t firing)
{
  if (firing > self->known) rillet_wait(self, firing);
}

/* Its own share of one more firing is done. */
static inline void rillet_did(rillet_place *self)
{
  __atomic_store_n(&self->all[self->part].done, ++self->firing, __ATOMIC_RELEASE);
}

/* Returns when all have done what it has done. */
static inline void rillet_together(rillet_place *self) { rillet_after(self, self->firing); }

static inline void rillet_open(rillet_gate *gate)
{
  __atomic_store_n(&gate->opened, gate->opened + 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&gate->sleepers, __ATOMIC_SEQ_CST)) {
    pthread_mutex_lock(&gate->lock);
    pthread_cond_broadcast(&gate->more);
    pthread_mutex_unlock(&gate->lock);
  }
}

/* Waits until it has been opened more than `count` times; 0 where it will not be. */
static inline int32_t rillet_more(rillet_gate *gate, uint64_t count)
{
  for (int32_t looks = 0; looks < RILLET_ROW_LOOKS; looks++) {
    if (__atomic_load_n(&gate->opened, __ATOMIC_ACQUIRE) > count) return 1;
    rillet_pause();
  }
  pthread_mutex_lock(&gate->lock);
  __atomic_fetch_add(&gate->sleepers, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&gate->opened, __ATOMIC_SEQ_CST) <= count && !gate->stopped)
    pthread_cond_wait(&gate->more, &gate->lock);
  __atomic_fetch_sub(&gate->sleepers, 1, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&gate->lock);
  return __atomic_load_n(&gate->opened, __ATOMIC_ACQUIRE) > count;
}

/* 1 where they must be started, in this process, with everything that they share cleared. */
static inline int32_t rillet_missing(const rillet_crew *crew) { return crew->process != getpid(); }

static inline void rillet_stop(rillet_crew *crew, rillet_gate *gate)
{
  if (rillet_missing(crew)) return;
  pthread_mutex_lock(&gate->lock);
  gate->stopped = 1;
  pthread_cond_broadcast(&gate->more);
  pthread_mutex_unlock(&gate->lock);
  for (int32_t i = 1; i < RILLET_THREADS; i++) pthread_join(crew->threads[i], 0);
  crew->process = 0;
}
#endif
