"""Prints what a call from Python costs beside the network itself, and what several threads of Python gain.

A call gives a new array and is given new ones. First in microseconds: the C function of a program on arrays that
stay, a call of `rillet.compile(...)`, and the difference; then images a second of one program, called by one thread of
Python and by more, in turn: each of them has a context of its own.

usage: python bench/calls.py [MODEL ...] [--precision f32|int8] [--threads N]
"""

import argparse
import ctypes
import threading
import time

import numpy as np

import rillet
from rillet.api.plans import options, row_planned
from rillet.bench.ceiling import Meter
from rillet.bench.machine import machine
from rillet.bench.rounds import forms
from rillet.errors import RilletError
from rillet.ir.graph import Array, Graph
from rillet.models.opening import open_model
from rillet.runtime.run import Program, build
from rillet.runtime.verify import random_inputs
from rillet.system.library import Context, load_library

MODELS = ("microbotnet:width=0.32,seed=0", "mobilenet_v1:width=0.25,resolution=96,seed=0")
ROUNDS = 7
CALLS = 2000
SECONDS = 0.5


def function_us(plan: rillet.RowPlan, image: Array) -> float:
    """Microseconds of net_run by itself, on the same arrays every time; what ctypes takes to call it is in it."""
    library = load_library(build(plan).library, ("net_run",))
    context = Context(library)
    nodes = [plan.graph.by_name[name] for name in dict.fromkeys(plan.graph.outputs)]
    held = [image, *(np.zeros(node.shape.array, node.type.dtype.numpy) for node in nodes)]
    given = [context.pointer, *(ctypes.c_void_p(array.ctypes.data) for array in held)]
    call = library.net_run
    start = time.perf_counter()
    for _ in range(CALLS):
        call(*given)
    return 1e6 * (time.perf_counter() - start) / CALLS


def call_us(program: rillet.Program, images: list[Array]) -> float:
    """Microseconds of a call with an array that was not given before."""
    start = time.perf_counter()
    for image in images:
        program(image)
    return 1e6 * (time.perf_counter() - start) / len(images)


def rate(program: Program, image: Array, threads: int) -> float:
    """Images a second of so many threads together."""
    done, begin = [0] * threads, threading.Barrier(threads)

    def work(index: int) -> None:
        begin.wait()
        until = time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            program.run(image)
            done[index] += 1

    at_once = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for one in at_once:
        one.start()
    for one in at_once:
        one.join()
    return sum(done) / SECONDS


def peak(threads: int) -> float:
    """GMAC/s of so many threads that do nothing else: what this machine's cores give at once."""
    meter = Meter(machine(), threads)
    for _ in range(ROUNDS):
        meter.measure()
    return meter.ceiling().f32_gmacs or 1.0


def measure(graph: Graph, threads: int) -> None:
    plan = row_planned(graph, options("host"))
    program, held = rillet.compile(plan), Program(build(plan))
    image = next(random_inputs(graph, 1))
    images = [image.copy() for _ in range(CALLS)]
    alone, called = zip(*((function_us(plan, image), call_us(program, images)) for _ in range(ROUNDS)), strict=True)
    print(f"  alone {min(alone):8.2f} us, called {min(called):8.2f} us, more by {min(called) - min(alone):.2f} us")
    pairs = [(rate(held, image, 1), rate(held, image, threads)) for _ in range(ROUNDS)]
    one, more = (max(rates) for rates in zip(*pairs, strict=True))
    print(f"  images a second: 1 thread {one:,.0f}, {threads} threads {more:,.0f}, {more / one:.2f} times", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=[*MODELS, "mobilenet_v2:seed=0"])
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=2)
    said = parser.parse_args()
    print(f"{said.threads} threads have {peak(said.threads) / peak(1):.2f} times the peak of one here")
    for model in said.models:
        (graph,) = forms(open_model(model).graph, (said.precision,)).values()
        print(f"{model}, {said.precision}")
        measure(graph, said.threads)


if __name__ == "__main__":
    try:
        main()
    except RilletError as error:
        raise SystemExit(str(error)) from None
