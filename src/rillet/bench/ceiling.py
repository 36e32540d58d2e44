"""The limits of this machine, measured: peak rates of multiply-accumulates, and bandwidths of cache and memory."""

import ctypes
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from threading import Barrier

import numpy as np
import numpy.typing as npt

from rillet.bench.machine import Machine
from rillet.errors import BuildError
from rillet.system.build import build_library
from rillet.system.library import load_library

Bytes = npt.NDArray[np.uint8]

NATIVE = "-march=native"
STEPS = 400_000
"""Rounds of all accumulators in one try: a millisecond, so that an interrupt spoils few tries."""
TRIES = 10
MOST_READ_BYTES = 2**28
_KINDS = ("f32", "bf16", "i8")
"""Of arithmetic, as ceiling.c calls them."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What no program on so many threads can pass. Rates in 10^9 a second; None where there is no such instruction."""

    threads: int
    f32_gmacs: float | None
    f32_by: str
    """The instruction that was measured."""
    int8_gmacs: float | None
    int8_by: str
    cache_gbytes: float
    """Reads of half a level 2 cache, on each thread."""
    memory_gbytes: float
    """Reads of far more than the last cache, all threads together."""
    bf16_gmacs: float | None = None
    bf16_by: str = ""

    def gmacs(self, precision: str) -> float | None:
        """The peak rate for a precision: `f32`, `bf16` or `int8`."""
        return {"f32": self.f32_gmacs, "bf16": self.bf16_gmacs, "int8": self.int8_gmacs}[precision]


class Meter:
    """Measures again and again what the machine can do, and keeps the best."""

    def __init__(self, machine: Machine, threads: int) -> None:
        self.machine, self.threads = machine, threads
        self._library = _library(machine)
        self._best = {**dict.fromkeys(_KINDS, 0.0), "cache": 0.0, "memory": 0.0}

    def measure(self) -> None:
        """One more look at the arithmetic, some milliseconds long."""
        for kind in _KINDS:
            macs = getattr(self._library, f"ceiling_{kind}_macs")()
            if macs:
                self._keep(kind, macs * STEPS, [partial(self._work, kind)] * self.threads)

    def measure_reads(self) -> None:
        """One look at cache and memory, a tenth of a second long."""
        near = max(self.machine.cache(2) // 2, 2**14)
        far = min(4 * self.machine.cache(3), MOST_READ_BYTES) // self.threads
        for kind, size in (("cache", near // 256 * 256), ("memory", far // 256 * 256)):
            times = max(1, 2**24 // size)
            buffers = [np.ones(size + 64, np.uint8) for _ in range(self.threads)]
            self._keep(kind, size * times, [partial(self._read, b, size, times) for b in buffers])

    def _work(self, kind: str) -> None:
        getattr(self._library, f"ceiling_{kind}")(STEPS)

    def _read(self, buffer: Bytes, size: int, times: int) -> None:
        start = buffer.ctypes.data
        self._library.ceiling_read(start + -start % 64, size, times)

    def _keep(self, kind: str, amount: int, works: Sequence[Callable[[], None]]) -> None:
        """The best rate of several tries, every thread at work at once (ctypes lets go of the interpreter's lock)."""
        barrier = Barrier(len(works))

        def rate(work: Callable[[], None]) -> float:
            barrier.wait()
            start = time.perf_counter()
            work()
            return amount / (time.perf_counter() - start) / 1e9

        with ThreadPoolExecutor(len(works)) as pool:
            for _ in range(TRIES):
                self._best[kind] = max(self._best[kind], sum(pool.map(rate, works)))

    def ceiling(self) -> Ceiling:
        """The best so far."""
        return Ceiling(
            threads=self.threads,
            f32_gmacs=self._best["f32"] or None,
            f32_by=self._library.ceiling_f32_name().decode(),
            int8_gmacs=self._best["i8"] or None,
            int8_by=self._library.ceiling_i8_name().decode(),
            cache_gbytes=self._best["cache"],
            memory_gbytes=self._best["memory"],
            bf16_gmacs=self._best["bf16"] or None,
            bf16_by=self._library.ceiling_bf16_name().decode(),
        )


def _library(machine: Machine) -> ctypes.CDLL:
    """ceiling.c for this very processor; for any of its kind where the compiler does not know which it is."""
    source = {"ceiling.c": (files("rillet.bench") / "ceiling.c").read_text()}
    # Builds are kept: one for another processor must not be taken for one for this.
    known = zlib.crc32(" ".join((machine.cpu, *machine.sets)).encode())
    try:
        built = build_library(source, (NATIVE,), (f"CEILING_FOR_{known:08x}",))
    except BuildError:
        built = build_library(source)
    made = load_library(built, (*(f"ceiling_{kind}" for kind in _KINDS), "ceiling_read"))
    for kind in _KINDS:
        getattr(made, f"ceiling_{kind}_name").restype = ctypes.c_char_p
        getattr(made, f"ceiling_{kind}_macs").restype = ctypes.c_int64
        getattr(made, f"ceiling_{kind}").argtypes = (ctypes.c_int64,)
        getattr(made, f"ceiling_{kind}").restype = None
    made.ceiling_read.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    made.ceiling_read.restype = ctypes.c_uint64
    return made
