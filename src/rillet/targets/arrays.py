"""Systolic arrays as machines: rows, columns, stationary operand, clock and DRAM, every number with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rillet.errors import TargetError
from rillet.system.record import Record
from rillet.targets import reading
from rillet.targets.quantity import Quantity, quantity

FOLDER = "arrays"
DATAFLOWS = ("os", "ws", "is")
HARDWARES = ("systolic", "fuse")
MAX_SIDE = 2**20
NUMBERS = ("rows", "columns", "clock_hz", "dram_bytes_per_s")
_WHOLE = NUMBERS[:2]
KEYS = ("name", "about", "dataflow", "hardware", *NUMBERS)


@dataclass(frozen=True, slots=True, repr=False)
class ArrayMachine(Record):
    """A systolic array with a clock and a DRAM."""

    name: str
    about: str
    dataflow: str
    """Output, weight or input stationary: one of DATAFLOWS."""
    hardware: str
    """`fuse` where each row can broadcast a weight, else `systolic`."""
    quantities: Mapping[str, Quantity]
    """Every number of the file with its source, by the names of NUMBERS."""

    @property
    def rows(self) -> int:
        """Rows of elements, each taking one product a cycle."""
        return int(self.quantities["rows"].value)

    @property
    def columns(self) -> int:
        """Columns of elements."""
        return int(self.quantities["columns"].value)

    @property
    def clock_hz(self) -> float:
        """Cycles a second."""
        return float(self.quantities["clock_hz"].value)

    @property
    def dram_bytes_per_s(self) -> float:
        """Bytes a second between DRAM and the buffers."""
        return float(self.quantities["dram_bytes_per_s"].value)

    def __repr__(self) -> str:
        how = f"{self.dataflow}, {self.hardware}, {self.clock_hz / 1e6:g} MHz"
        return f"<ArrayMachine {self.name}: {self.rows} x {self.columns}, {how}>"


def names() -> tuple[str, ...]:
    """The arrays that Rillet knows."""
    return reading.names(FOLDER)


def load(name: str) -> ArrayMachine:
    """The array called `name` (`gemmini_16x16`), or that of a file whose name ends in .toml; raises TargetError."""
    return from_table(*reading.document(FOLDER, "systolic array", name))


def parse(where: str, text: str) -> ArrayMachine:
    """The array that a TOML text describes; raises TargetError, which begins with `where`, for a wrong one."""
    return from_table(where, reading.table(where, text))


def from_table(where: str, table: Mapping[str, Any]) -> ArrayMachine:
    """An array of a TOML table; raises TargetError, which begins with `where`, for a wrong one."""
    reading.check_keys(where, table, KEYS, KEYS)
    numbers = {key: quantity(f"{where}: {key}", table[key], whole=key in _WHOLE) for key in NUMBERS}
    for key in _WHOLE:
        if numbers[key].value > MAX_SIDE:
            raise TargetError(f"{where}: {key}: value must be at most {MAX_SIDE}, got {numbers[key].value:g}")
    found = ArrayMachine(
        name=reading.text(f"{where}: name", table["name"]),
        about=reading.text(f"{where}: about", table["about"]),
        dataflow=reading.text(f"{where}: dataflow", table["dataflow"], DATAFLOWS),
        hardware=reading.text(f"{where}: hardware", table["hardware"], HARDWARES),
        quantities=numbers,
    )
    if found.hardware == "fuse" and found.dataflow != "os":
        raise TargetError(f"{where}: dataflow must be os on the hardware fuse, got {found.dataflow}")
    return found
