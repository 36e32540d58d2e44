"""Hosts: ordinary processors that run emitted C: kernel set, cores and caches, every number with its source."""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rillet.errors import TargetError
from rillet.system.processor import tiles_allowed
from rillet.system.record import Record
from rillet.targets import reading
from rillet.targets.quantity import Quantity, plain, quantity

KERNELS = ("portable", "avx2", "avxvnni", "avx512", "amx", "neon", "wasm128")
"""Kernel sets: plain C; AVX2 with FMA; these with AVX-VNNI; AVX-512 F, BW, DQ, VL and VNNI; AMX beside these and BF16;
NEON of any AArch64; SIMD of WebAssembly.
"""
WASM = "wasm128"
"""The kernel set of programs that browsers run (docs/browser.md): no processor's own."""
_NAMES = {WASM: "wasm"}
"""What a set's host is called, where not as the set."""

_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni")
_NEEDS = {
    "amx": (*_AVX512, "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"),
    "avx512": _AVX512,
    "avxvnni": ("avx2", "fma", "avx_vnni"),
    "avx2": ("avx2", "fma"),
    "neon": ("asimd",),
}
"""Words of /proc/cpuinfo that a kernel set asks for, the best set first."""
_TILES = frozenset({"amx_tile", "amx_int8", "amx_bf16"})
"""Words of what the operating system may refuse."""
RELAXED = "relaxed_simd"
_EXTRAS = {"avx512": ("avx512vbmi", "avx512_bf16"), "amx": ("avx512vbmi",), "neon": ("asimddp",), WASM: (RELAXED,)}
"""Words that name what its kernels make use of beyond that."""


NUMBERS = ("cores", "l1_bytes", "l2_bytes")
KEYS = ("name", "kernels", "extras", *NUMBERS)
_ASSUMED = "No machine is named: a value that most processors of the last ten years reach"
_MEASURED = {
    "cores": "The processors that this process may use, as the operating system says",
    "l1_bytes": "/sys/devices/system/cpu/cpu0/cache of this machine, the data cache of level 1",
    "l2_bytes": "/sys/devices/system/cpu/cpu0/cache of this machine, the cache of level 2",
}


def _no_sources() -> Mapping[str, Quantity]:
    return {}


@dataclass(frozen=True, slots=True, repr=False)
class Host(Record):
    """A processor: its kernel set (one of KERNELS), its cores, and the caches of one core."""

    name: str
    kernels: str
    cores: int = 1
    l1_bytes: int = 32 << 10
    l2_bytes: int = 512 << 10
    extras: tuple[str, ...] = ()
    """What it has beyond its kernel set, as Linux calls it."""
    given: Mapping[str, Quantity] = field(default_factory=_no_sources, compare=False, repr=False)
    """Sources of those numbers that are not assumed."""

    def __post_init__(self) -> None:
        if self.kernels not in KERNELS:
            raise TargetError(f"{self.name}: kernels must be one of {', '.join(KERNELS)}, got {self.kernels!r}")
        for what in NUMBERS:
            if getattr(self, what) < 1:
                raise TargetError(f"{self.name}: {what} must be at least 1, got {getattr(self, what)}")

    @property
    def quantities(self) -> Mapping[str, Quantity]:
        """Cores and caches with their sources, by the names of NUMBERS."""
        return {key: self.given.get(key) or plain(getattr(self, key), _ASSUMED, "assumed") for key in NUMBERS}

    def __repr__(self) -> str:
        more = "".join(f", {word}" for word in self.extras)
        caches = f"{self.l1_bytes:,} B L1, {self.l2_bytes:,} B L2"
        return f"<Host {self.name}: {self.kernels}{more}, {self.cores} core{'s' * (self.cores > 1)}, {caches}>"


def names() -> tuple[str, ...]:
    """The hosts that Rillet knows: the machine that this runs on, and one for each kernel set."""
    return ("host", *(_NAMES.get(kernels, kernels) for kernels in KERNELS))


def load(name: str) -> Host:
    """The host called `name`, or that of a file whose name ends in .toml; raises TargetError."""
    return parse(name, reading.text_of(Path(name))) if name.endswith(".toml") else named_host(name)


def parse(where: str, text: str) -> Host:
    """The host that a TOML text describes; raises TargetError, which begins with `where`, for a wrong one."""
    return from_table(where, reading.table(where, text))


def from_table(where: str, table: Mapping[str, Any]) -> Host:
    """A host of a TOML table; raises TargetError, which begins with `where`, for a wrong one."""
    reading.check_keys(where, table, KEYS, ("name", "kernels"))
    found = {key: quantity(f"{where}: {key}", table[key], whole=True) for key in NUMBERS if key in table}
    extras: Any = table.get("extras", [])
    known = tuple(word for words in _EXTRAS.values() for word in words)
    if not isinstance(extras, list):
        raise TargetError(f"{where}: extras must be a list of {', '.join(known)}; got {reading.shown(extras)}")
    default = Host("portable", "portable")
    sizes = {key: int(found[key].value) if key in found else getattr(default, key) for key in NUMBERS}
    return Host(
        name=reading.text(f"{where}: name", table["name"]),
        kernels=reading.text(f"{where}: kernels", table["kernels"], KERNELS),
        cores=sizes["cores"],
        l1_bytes=sizes["l1_bytes"],
        l2_bytes=sizes["l2_bytes"],
        extras=tuple(reading.text(f"{where}: extras", word, known) for word in extras),
        given=found,
    )


def named_host(name: str) -> Host:
    """The machine that this runs on for `host`, else one with the kernel set of this name and modest caches.

    Raises TargetError for any other name.
    """
    if name == "host":
        return this_host()
    kernels = {_NAMES.get(kernels, kernels): kernels for kernels in KERNELS}
    if name not in kernels:
        raise TargetError(f"--target must be host, {', '.join(kernels)}; got {name!r}")
    return Host(name, kernels[name])


@cache
def this_host() -> Host:
    """The machine that this runs on: portable kernels where nothing better is known of it."""
    flags, model = _cpu(Path("/proc/cpuinfo"))
    kernels = next((name for name, needs in _NEEDS.items() if flags.issuperset(needs)), "portable")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    caches = _caches(Path("/sys/devices/system/cpu/cpu0/cache"))
    default = Host("portable", "portable")
    seen = {"cores": cores} | {f"l{level}_bytes": caches[level] for level in (1, 2) if level in caches}
    return Host(
        model or platform.machine() or "unknown",
        kernels,
        cores,
        caches.get(1, default.l1_bytes),
        caches.get(2, default.l2_bytes),
        tuple(word for word in _EXTRAS.get(kernels, ()) if word in flags),
        {key: plain(number, _MEASURED[key], "measured") for key, number in seen.items()},
    )


def extras_of(kernels: str) -> tuple[str, ...]:
    """What programs of a kernel set make use of beyond it, where a processor has it."""
    return _EXTRAS.get(kernels, ())


def lacking(host: Host) -> tuple[str, ...]:
    """What the kernels of a host need and the machine that this runs on lacks, as /proc/cpuinfo calls it; nothing where
    that is not known.
    """
    flags = _cpu(Path("/proc/cpuinfo"))[0]
    needs = (*_NEEDS.get(host.kernels, ()), *host.extras)
    return tuple(word for word in needs if word not in flags) if flags else ()


def few_cores(name: str, cores: int, threads: int) -> str:
    """What to say of a host with fewer cores than threads are asked for."""
    return f"--threads {threads}: {name} has {cores} core{'s' * (cores > 1)}, so threads wait for one another"


def _cpu(path: Path) -> tuple[frozenset[str], str]:
    """Flags and name of the first processor; nothing where the file says nothing."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset(), ""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    words = frozenset(flags[1].split()) if flags else frozenset[str]()
    if not words.isdisjoint(_TILES) and not tiles_allowed():
        words -= _TILES
    return words, model[1].strip() if model else ""


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
