"""Prints what a hand-over between two threads takes here; WAIT_NS of `plan/host/planner.py` counts it.

usage: python bench/handover.py

Both cores at work are compared with one first: virtual processors may share a real core for a while, and no time of two
threads means anything then.
"""

import ctypes
from importlib.resources import files

from rillet.bench.ceiling import Meter
from rillet.bench.machine import machine
from rillet.errors import BuildError
from rillet.system.build import build_library

ROUNDS = 9
SHARED = 1.3
"""Two threads share a core where twice the peak of one is this many times theirs, or more."""
PROGRAM = """
#define RILLET_THREADS 2
#include "kernels/threads.h"
#include <time.h>

#define TURNS 20000
static rillet_progress progress[2];
static rillet_place places[2];

static double now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *other(void *unused)
{
  for (uint64_t i = 1; i <= TURNS; i++) {
    rillet_after(&places[1], i);
    rillet_did(&places[1]);
  }
  return unused;
}

/* Nanoseconds of one way, on average over turns to and fro; 0 where there is no thread. */
double hand_over(void)
{
  pthread_t thread;
  for (int32_t i = 0; i < 2; i++) {
    progress[i].done = 0;
    places[i] = (rillet_place){progress, 0, 0, i};
  }
  if (pthread_create(&thread, 0, other, 0)) return 0.0;
  const double start = now_ns();
  for (uint64_t i = 1; i <= TURNS; i++) {
    rillet_did(&places[0]);
    rillet_after(&places[0], i);
  }
  const double took = now_ns() - start;
  pthread_join(thread, 0);
  return took / TURNS / 2.0;
}
"""


def peak(threads: int) -> float | None:
    """Peak of so many threads, in 10^9 multiply-accumulates a second."""
    meter = Meter(machine(), threads)
    meter.measure()
    return meter.ceiling().gmacs("f32")


def main() -> None:
    threads = (files("rillet.backends.c") / "kernels" / "threads.h").read_text()
    try:
        library = ctypes.CDLL(
            str(build_library({"net.c": PROGRAM, "kernels/threads.h": threads}, ("-std=gnu99", "-pthread")))
        )
    except BuildError as error:
        raise SystemExit(str(error)) from None
    library.hand_over.restype = ctypes.c_double
    one, two = peak(1), peak(2)
    if one and two:
        alike = "" if two * SHARED > 2 * one else ": they share a core, so what follows is not that of two"
        print(f"peak of two threads  {two / one:.2f} times that of one{alike}")
    print(f"one hand-over        {min(library.hand_over() for _ in range(ROUNDS)):.0f} ns")


if __name__ == "__main__":
    main()
