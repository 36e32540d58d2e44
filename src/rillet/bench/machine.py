"""The environment of a benchmark: processor, caches, cores, compiler, load."""

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rillet.errors import BuildError
from rillet.system.build import compiler_version, find_compiler

SETS = (
    *("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve"),
)
"""Instruction sets that kernels are written for, as Linux calls them."""
ASSUMED_CACHE_BYTES = {2: 2**20, 3: 2**25}
"""For systems that do not tell theirs."""
_CPU = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True, slots=True)
class Machine:
    """What a reader must know to compare figures."""

    cpu: str
    cores: int
    """That this process may use."""
    sets: tuple[str, ...]
    cache_bytes: dict[str, int]
    """By `L1d`, `L2` and so on, as one core sees them; empty where the system does not tell."""
    system: str
    compiler: str
    python: str
    load: float | None
    """Processes that wanted a core in the minute before; a quiet machine has less than 0.3."""
    date: str
    """Day of the measurement, UTC."""

    def cache(self, level: int) -> int:
        """Bytes of a cache level, or what most processors have."""
        return self.cache_bytes.get(f"L{level}", ASSUMED_CACHE_BYTES.get(level, 2**25))


def machine() -> Machine:
    """The machine that this runs on, now."""
    words = _cpuinfo()
    flags = (words.get("flags") or words.get("Features") or "").split()
    try:
        compiler = compiler_version(find_compiler())
    except BuildError:
        compiler = ""
    return Machine(
        cpu=words.get("model name") or platform.processor() or platform.machine(),
        cores=cores(),
        sets=tuple(name for name in SETS if name in flags),
        cache_bytes=_caches(),
        system=f"{platform.system()} {platform.machine()}",
        compiler=compiler,
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        date=datetime.now(UTC).date().isoformat(),
    )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    """What Linux says of its first processor."""
    try:
        text = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _caches() -> dict[str, int]:
    found: dict[str, int] = {}
    for index in sorted(_CPU.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        amount = re.fullmatch(r"(\d+)([KMG]?)", size)
        if amount and kind != "Instruction":
            found[f"L{level}{'d' if kind == 'Data' else ''}"] = int(amount[1]) * _UNITS[amount[2]]
    return found
