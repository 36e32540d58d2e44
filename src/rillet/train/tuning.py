"""Autotuning of training on this machine: number of threads and memory layout, by a short measurement."""

import copy
import ctypes
import os
import sys
import time
from dataclasses import dataclass

import torch
from torch import nn

SECONDS = 2.0
GAIN = 1.25
"""How much faster something other than one thread with channels last must be to be chosen: chance shall not choose."""
_MALLOC = {-1: 2**31 - 1, -2: 2**28, -4: 0}
"""M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_MAX of malloc.h, in bytes, bytes and blocks."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Threads of a process, and whether pixels lie channels last."""

    threads: int
    channels_last: bool = True

    @property
    def layout(self) -> torch.memory_format:
        """PyTorch's word for the layout."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


def keep_memory() -> None:
    """Lets this process keep the memory it frees, where the C library is glibc.

    Else every map of every step is given back and asked for again, and cleared by the kernel: MobileNetV2 at 96 pixels
    then trains a quarter to a half slower.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC.items():
            mallopt(option, value)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose(module: nn.Module, batch: torch.Tensor, processes: int = 1) -> Settings:
    """The settings with which a step over `batch` (N x C x H x W, on the CPU) is fastest.

    One thread with channels last is tried first, and left only for something clearly faster. With several processes
    each has its share of the cores.
    """
    if processes > 1:
        return Settings(max(1, cores() // processes))
    first = Settings(1)
    others = [Settings(1, False)]
    if cores() > 1:
        others = [Settings(cores()), *others, Settings(cores(), False)]
    before = torch.get_num_threads()
    end = time.perf_counter() + SECONDS
    try:
        best, least = first, _step_seconds(module, batch, first, float("inf")) / GAIN
        for settings in others:
            if time.perf_counter() < end:
                took = _step_seconds(module, batch, settings, least)
                if took < least:
                    best, least = settings, took
    finally:
        torch.set_num_threads(before)
    return best


def _step_seconds(module: nn.Module, batch: torch.Tensor, settings: Settings, least: float) -> float:
    """Seconds of a step forward and back, the best of three; tries end where the first is hopeless."""
    torch.set_num_threads(settings.threads)
    # A copy: a step in training mode moves the statistics of batch norms.
    tried = copy.deepcopy(module).train().to(memory_format=settings.layout)  # pyright: ignore[reportCallIssue]
    batch = batch.contiguous(memory_format=settings.layout)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        tried(batch).sum().backward()
        best = min(best, time.perf_counter() - start)
        if best > 3 * least:
            break
    return best
