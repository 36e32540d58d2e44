"""Microcontroller boards: flash, RAM, clock and cycles a multiply-accumulate, every number with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rillet.errors import TargetError
from rillet.targets import reading

FOLDER = "boards"
CONFIDENCES = ("data sheet", "measured", "transferred", "assumed")
"""What a number rests on: its maker's data sheet, a published measurement on it, one on its like, a plausible choice.
"""
_FIELDS = ("value", "source", "confidence")
_NUMBERS = ("flash_bytes", "ram_bytes", "clock_hz")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its band (the number itself where there is none), its source and what it rests on."""

    value: float
    low: float
    high: float
    source: str
    confidence: str


@dataclass(frozen=True, slots=True)
class Board:
    """A microcontroller: where code and weights lie, where activations lie, and how fast it multiplies."""

    key: str
    name: str
    core: str
    flash_bytes: int
    ram_bytes: int
    """The largest memory that one array can lie in."""
    clock_hz: float
    cycles_per_mac: Quantity
    """With 8-bit values and the best kernels that are published for it."""
    quantities: Mapping[str, Quantity]
    """Every number of the file, by its key."""


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
    keys = ("name", "core", *_NUMBERS, "cycles_per_mac")
    reading.check_keys(where, table, keys, keys)
    numbers = {key: _quantity(f"{where}: {key}", table[key]) for key in _NUMBERS}
    cycles = _cycles(f"{where}: cycles_per_mac", table["cycles_per_mac"])
    return Board(
        key=where,
        name=reading.text(f"{where}: name", table["name"]),
        core=reading.text(f"{where}: core", table["core"]),
        flash_bytes=int(numbers["flash_bytes"].value),
        ram_bytes=int(numbers["ram_bytes"].value),
        clock_hz=numbers["clock_hz"].value,
        cycles_per_mac=cycles,
        quantities={**numbers, "cycles_per_mac": cycles},
    )


def _quantity(where: str, value: Any) -> Quantity:
    found = reading.section(where, value, _FIELDS, _FIELDS)
    plain = reading.number(f"{where}: value", found["value"], whole=True)
    return Quantity(plain, plain, plain, *_words(where, found))


def _cycles(where: str, value: Any) -> Quantity:
    fields = (*_FIELDS, "low", "high")
    found = reading.section(where, value, fields, fields)
    low, middle, high = (reading.number(f"{where}: {key}", found[key], most=1e6) for key in ("low", "value", "high"))
    if not low <= middle <= high:
        raise TargetError(f"{where}: value must lie within low and high, got {low:g}, {middle:g}, {high:g}")
    return Quantity(middle, low, high, *_words(where, found))


def _words(where: str, found: Mapping[str, Any]) -> tuple[str, str]:
    source = reading.text(f"{where}: source", found["source"])
    return source, reading.text(f"{where}: confidence", found["confidence"], CONFIDENCES)
