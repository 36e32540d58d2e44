"""Prints what less memory costs in time: plans for this machine that are estimated so much slower, measured in turn.

usage: python bench/memory.py [MODEL] [--precision f32|int8] [--threads N] [--rounds N]
"""

import argparse
import statistics
import time

from rillet.bench.rounds import forms
from rillet.errors import RilletError
from rillet.models.opening import open_model
from rillet.plan.host.planner import plan_host
from rillet.runtime.run import Program
from rillet.runtime.verify import random_inputs
from rillet.targets.host import this_host

PERCENTS = (0, 2, 5, 10, 20, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="mobilenet_v2:seed=0")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200)
    said = parser.parse_args()
    (graph,) = forms(open_model(said.model).graph, (said.precision,)).values()
    image = next(random_inputs(graph, 1))
    plans = [plan_host(graph, this_host(), slower=percent / 100, threads=said.threads) for percent in PERCENTS]
    programs = [Program(plan) for plan in plans]
    times: list[list[float]] = [[] for _ in programs]
    for program in programs:
        program.run(image)
    for _ in range(said.rounds):
        for program, taken in zip(programs, times, strict=True):
            start = time.perf_counter()
            program.run(image)
            taken.append(1e3 * (time.perf_counter() - start))
    for program in programs:
        program.stop()
    print("may be slower  activations KiB  segments  least ms  median ms  of the fastest plan's")
    first = statistics.median(times[0])
    for percent, plan, taken in zip(PERCENTS, plans, times, strict=True):
        median, kib = statistics.median(taken), plan.arena_bytes / 1024
        measured = f"{min(taken):8.3f}  {median:9.3f}  {median / first:21.3f}"
        print(f"{percent:11} %  {kib:15,.1f}  {len(plan.segments):8}  {measured}")


if __name__ == "__main__":
    try:
        main()
    except RilletError as error:
        raise SystemExit(str(error)) from None
