"""Hosts: machines that run emitted C on an ordinary processor; what it has that a plan must know."""

import os
import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rillet.errors import TargetError

KERNELS = ("portable", "avx2", "avx512", "neon")
"""Kernel sets: plain C; AVX2 with FMA; AVX-512 F, BW, DQ, VL and VNNI; NEON of any AArch64."""

_NEEDS = {
    "avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"),
    "avx2": ("avx2", "fma"),
    "neon": ("asimd",),
}
"""Words of /proc/cpuinfo that a kernel set asks for, the best set first."""
_EXTRAS = {"avx512": ("avx512vbmi",), "neon": ("asimddp",)}
"""Words that name what its kernels make use of beyond that."""


@dataclass(frozen=True, slots=True)
class Host:
    """A processor: its kernel set (one of KERNELS), its cores, and the caches of one core."""

    name: str
    kernels: str
    cores: int = 1
    l1_bytes: int = 32 << 10
    l2_bytes: int = 512 << 10
    extras: tuple[str, ...] = ()
    """What it has beyond its kernel set, as Linux calls it."""

    def __post_init__(self) -> None:
        if self.kernels not in KERNELS:
            raise TargetError(f"{self.name}: kernels must be one of {', '.join(KERNELS)}, got {self.kernels!r}")
        for what in ("cores", "l1_bytes", "l2_bytes"):
            if getattr(self, what) < 1:
                raise TargetError(f"{self.name}: {what} must be at least 1, got {getattr(self, what)}")


def named_host(name: str) -> Host:
    """The machine that this runs on for `host`, else one with the kernel set of this name and modest caches.

    Raises TargetError for any other name.
    """
    if name == "host":
        return this_host()
    if name not in KERNELS:
        raise TargetError(f"--target must be host, {', '.join(KERNELS)}; got {name!r}")
    return Host(name, name)


@cache
def this_host() -> Host:
    """The machine that this runs on: portable kernels where nothing better is known of it."""
    flags, model = _cpu(Path("/proc/cpuinfo"))
    kernels = next((name for name, needs in _NEEDS.items() if flags.issuperset(needs)), "portable")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    caches = _caches(Path("/sys/devices/system/cpu/cpu0/cache"))
    default = Host("portable", "portable")
    return Host(
        model or platform.machine() or "unknown",
        kernels,
        cores,
        caches.get(1, default.l1_bytes),
        caches.get(2, default.l2_bytes),
        tuple(word for word in _EXTRAS.get(kernels, ()) if word in flags),
    )


def _cpu(path: Path) -> tuple[frozenset[str], str]:
    """Flags and name of the first processor; nothing where the file says nothing."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset(), ""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return frozenset(flags[1].split()) if flags else frozenset(), model[1].strip() if model else ""


def _caches(folder: Path) -> dict[int, int]:
    """Bytes of the data caches by level."""
    out: dict[int, int] = {}
    for index in sorted(folder.glob("index*")):
        try:
            kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        found = re.fullmatch(r"(\d+)K", size)
        if kind != "Instruction" and level.isdigit() and found and int(found[1]) > 0:
            out[int(level)] = int(found[1]) << 10
    return out
