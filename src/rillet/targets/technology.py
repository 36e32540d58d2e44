"""Energy per operation and per memory access at a process node, each with a band, its reason and its confidence."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rillet.errors import TargetError
from rillet.targets import reading

FOLDER = "technologies"
CONFIDENCES = ("primary", "secondary", "unconfirmed")
"""Read in the source itself; read in several documents that quote it; quoted, and checked nowhere."""
OPERATIONS = tuple(
    f"{numbers}_{operation}"
    for numbers in ("int8", "int16", "int32", "fp16", "bf16", "fp32")
    for operation in ("add", "mult")
)
SRAM_BYTES: Mapping[str, int] = {"sram_8KB": 8 << 10, "sram_32KB": 32 << 10, "sram_1MB": 1 << 20}
"""Memories on the chip, smallest first; what is larger is made of several."""
DRAMS = ("dram", "ddr4", "hbm2", "gddr6")
"""Memories outside the chip, in the order in which they are taken where none is named."""
MEMORIES = (*SRAM_BYTES, *DRAMS)
ACCESS_BITS = 64
"""Bits of the memory access that a table prints an energy for."""


@dataclass(frozen=True, slots=True)
class Energy:
    """Picojoules: a value, and the band in which the source and its like leave it."""

    pj: float
    low: float
    high: float

    def times(self, factor: float) -> "Energy":
        """`factor` such operations."""
        return Energy(self.pj * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Entry:
    """The energy of one operation or of a 64-bit access, and what it rests on."""

    energy: Energy
    basis: str
    """Where the band comes from."""
    confidence: str


@dataclass(frozen=True, slots=True)
class Technology:
    """A table of energies at one node."""

    key: str
    """The name or file that it was asked for by."""
    name: str
    node_nm: float
    voltage_v: float | None
    """None where the source says none."""
    source: str
    entries: Mapping[str, Entry]

    def operation(self, key: str) -> Energy:
        """One operation such as int8_mult; raises TargetError where the table has none."""
        return self._entry(key, OPERATIONS).energy

    def access(self, memory: str, bits: float) -> Energy:
        """`bits` read from or written to a memory, taken as a share of 64-bit accesses; raises TargetError."""
        return self._entry(memory, MEMORIES).energy.times(bits / ACCESS_BITS)

    def _entry(self, key: str, among: tuple[str, ...]) -> Entry:
        if key in self.entries and key in among:
            return self.entries[key]
        has = [name for name in among if name in self.entries]
        near = difflib.get_close_matches(key, has, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise TargetError(f"{self.key}: must have {key} for this, and has {', '.join(has) or 'none like it'}{hint}")

    @property
    def srams(self) -> tuple[str, ...]:
        """Its memories on the chip, smallest first."""
        return tuple(name for name in SRAM_BYTES if name in self.entries)

    def dram(self) -> str:
        """The memory outside the chip that is taken where none is named; raises TargetError where there is none."""
        found = next((name for name in DRAMS if name in self.entries), None)
        if found is None:
            raise TargetError(f"{self.key}: must have one of {', '.join(DRAMS)} for this, and has none")
        return found

    def sram_for(self, size: int) -> str | None:
        """The smallest memory on the chip of at least `size` bytes; None where the largest is smaller."""
        return next((name for name in self.srams if SRAM_BYTES[name] >= size), None)


def names() -> tuple[str, ...]:
    """The technologies that Rillet knows."""
    return reading.names(FOLDER)


def load(name: str) -> Technology:
    """The technology called `name` (`45nm`), or that of a file whose name ends in .toml; raises TargetError."""
    return from_table(*reading.document(FOLDER, "technology", name))


def parse(where: str, text: str) -> Technology:
    """The technology that a TOML text describes; raises TargetError, which begins with `where`, for a wrong one."""
    return from_table(where, reading.table(where, text))


def from_table(where: str, table: Mapping[str, Any]) -> Technology:
    """A technology of a TOML table; raises TargetError, which begins with `where`, for a wrong one."""
    required = ("name", "node_nm", "source")
    reading.check_keys(where, table, (*required, "voltage_v", *OPERATIONS, *MEMORIES), required)
    voltage = table.get("voltage_v")
    entries = {key: _entry(f"{where}: {key}", table[key]) for key in (*OPERATIONS, *MEMORIES) if key in table}
    return Technology(
        key=where,
        name=reading.text(f"{where}: name", table["name"]),
        node_nm=reading.number(f"{where}: node_nm", table["node_nm"], most=1e4),
        voltage_v=None if voltage is None else reading.number(f"{where}: voltage_v", voltage, most=100),
        source=reading.text(f"{where}: source", table["source"]),
        entries=entries,
    )


def _entry(where: str, value: Any) -> Entry:
    fields = ("pj", "low", "high", "basis", "confidence")
    found = reading.section(where, value, fields, fields)
    pj, low, high = (reading.number(f"{where}: {key}", found[key], most=1e9) for key in ("pj", "low", "high"))
    if not low <= pj <= high:
        raise TargetError(f"{where}: pj must lie within low and high, got {low:g}, {pj:g}, {high:g}")
    basis = reading.text(f"{where}: basis", found["basis"])
    confidence = reading.text(f"{where}: confidence", found["confidence"], CONFIDENCES)
    return Entry(Energy(pj, low, high), basis, confidence)
