"""Microcontroller boards: flash, RAM, clock and cycles a multiply-accumulate, every number with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rillet.system.record import Record
from rillet.targets import cores, reading
from rillet.targets.cores import Core
from rillet.targets.quantity import Quantity, quantity

FOLDER = "boards"
_WHOLE = ("flash_bytes", "ram_bytes", "clock_hz")
NUMBERS = (*_WHOLE, "cycles_per_mac")
_REQUIRED = ("name", "core", *NUMBERS)
_CYCLES = "cycles_per_instruction"
KEYS = ("name", "core", "kernels", *NUMBERS, _CYCLES)


@dataclass(frozen=True, slots=True, repr=False)
class Board(Record):
    """A microcontroller: where code and weights lie, where activations lie, and how fast it multiplies."""

    key: str
    name: str
    core: str
    """One of cores.CORES, or the name of a processor of another kind."""
    flash_bytes: int
    ram_bytes: int
    """The largest memory that one array can lie in."""
    clock_hz: float
    cycles_per_mac: Quantity
    """With 8-bit values and the best kernels that are published for it."""
    quantities: Mapping[str, Quantity]
    """Every number of the file, by its key."""
    kernels: str = "portable"
    """The kernel set of programs for it, one of cores.KERNELS."""
    cycles_per_instruction: Quantity | None = None
    """Of a program of Rillet's, waiting for flash included; None where nobody has measured it."""

    @property
    def cortex(self) -> Core | None:
        """Its core, where that is a Cortex-M; None for others."""
        return cores.find(self.core)

    def __repr__(self) -> str:
        memory = f"{self.ram_bytes:,} B RAM, {self.flash_bytes:,} B flash"
        return f"<Board {self.name}: {self.core}, {memory}, {self.clock_hz / 1e6:g} MHz>"


def names() -> tuple[str, ...]:
    """The boards that Rillet knows."""
    return reading.names(FOLDER)


def load(name: str) -> Board:
    """The board called `name` (`nano33ble`), or that of a file whose name ends in .toml; raises TargetError."""
    return from_table(*reading.document(FOLDER, "board", name))


def parse(where: str, text: str) -> Board:
    """The board that a TOML text describes; raises TargetError, which begins with `where`, for a wrong one."""
    return from_table(where, reading.table(where, text))


def from_table(where: str, table: Mapping[str, Any]) -> Board:
    """A board of a TOML table; raises TargetError, which begins with `where`, for a wrong one."""
    reading.check_keys(where, table, KEYS, _REQUIRED)
    numbers = {key: quantity(f"{where}: {key}", table[key], whole=True) for key in _WHOLE}
    cycles = quantity(f"{where}: cycles_per_mac", table["cycles_per_mac"], least=1e-6, most=1e6, band=True)
    quantities = {**numbers, "cycles_per_mac": cycles}
    if _CYCLES in table:
        quantities[_CYCLES] = quantity(f"{where}: {_CYCLES}", table[_CYCLES], least=1e-3, most=1e3, band=True)
    core = reading.text(f"{where}: core", table["core"])
    found = cores.find(core)
    default = "portable" if found is None else found.kernels
    known = cores.KERNELS if found is None else cores.KERNELS[: cores.KERNELS.index(found.kernels) + 1]
    return Board(
        key=where,
        name=reading.text(f"{where}: name", table["name"]),
        core=core,
        flash_bytes=int(numbers["flash_bytes"].value),
        ram_bytes=int(numbers["ram_bytes"].value),
        clock_hz=numbers["clock_hz"].value,
        cycles_per_mac=cycles,
        quantities=quantities,
        kernels=reading.text(f"{where}: kernels", table.get("kernels", default), known),
        cycles_per_instruction=quantities.get(_CYCLES),
    )
