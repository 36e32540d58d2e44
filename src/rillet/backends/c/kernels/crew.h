/* What threads that go through one schedule share: threads.h has the functions. */
#ifndef RILLET_CREW_H
#define RILLET_CREW_H
#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#define RILLET_MOST_THREADS 64

/* Firings that a thread has done its share of, in a line of the cache by itself. */
typedef struct {
  uint64_t done;
} __attribute__((aligned(64))) rillet_progress;

/* One thread's place in the schedule; part 0 is the caller's. */
typedef struct {
  rillet_progress *all;
  uint64_t firing; /* those that it has begun */
  uint64_t known;  /* all others have done so many at least */
  int32_t part;
} rillet_place;

/* Where threads wait for the caller's rows, some at a time: they look for a while, then sleep. */
typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t more;
  uint64_t opened;  /* so many times */
  uint64_t first;   /* for the first time for the newest image */
  uint64_t whole;   /* how often with the last time for a whole image; 0 before one */
  int32_t sleepers;
  int32_t stopped;
} rillet_gate;

/* The threads beside the caller's. */
typedef struct {
  pthread_t threads[RILLET_MOST_THREADS];
  pid_t process; /* that started them; 0 where none did: a forked one has none of its own */
} rillet_crew;
#endif
