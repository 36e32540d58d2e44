"""Prints how long each network of the zoo takes to build and to count, on this machine.

usage: python bench/zoo.py
"""

import statistics
import sys
import time
from collections.abc import Callable

from rillet.analyses.count import count
from rillet.zoo.registry import NETWORKS, build

ROUNDS = 9


def median_ms(work: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    print(f"{'network':20} {'nodes':>5} {'build ms':>9} {'count ms':>9}")
    totals = [0.0, 0.0]
    for name in NETWORKS:
        graph = build(name)
        built, counted = median_ms(lambda name=name: build(name)), median_ms(lambda graph=graph: count(graph))
        totals[0] += built
        totals[1] += counted
        print(f"{name:20} {len(graph.nodes):5} {built:9.2f} {counted:9.2f}")
    print(f"{'all':26} {totals[0]:9.2f} {totals[1]:9.2f}")
    print(f"torch imported: {'torch' in sys.modules}")


if __name__ == "__main__":
    main()
