"""Machines: what a chip that streams has, every number with its source."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rillet.errors import TargetError
from rillet.targets import reading

CONFIDENCES = ("data sheet", "claimed", "assumed")
"""What a number rests on: its maker's data sheet, a document's word, or nothing but a plausible choice."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, where it is printed, and what it rests on (one of CONFIDENCES)."""

    value: float
    source: str
    confidence: str


@dataclass(frozen=True, slots=True)
class StreamChip:
    """A chip whose multipliers stand in the stream: how many, how fast, and what memory is beside them."""

    name: str
    about: str
    quantities: Mapping[str, Quantity]
    """Every number of the file with its source, by the names below."""

    @property
    def multipliers(self) -> int:
        """Multipliers, each taking one product a cycle."""
        return int(self.quantities["multipliers"].value)

    @property
    def clock_hz(self) -> float:
        """Cycles a second."""
        return float(self.quantities["clock_hz"].value)

    @property
    def memory_bits(self) -> int | None:
        """Memory on the chip for weights and buffers, in bits; None where nothing is said."""
        return self._whole("memory_bits")

    @property
    def weights_per_multiplier(self) -> int | None:
        """Weights that each multiplier can hold and take in turn; None where memory alone bounds them."""
        return self._whole("weights_per_multiplier")

    @property
    def claimed_images_per_s(self) -> float | None:
        """Images a second that its document promises; None where it promises nothing."""
        found = self.quantities.get("claimed_images_per_s")
        return None if found is None else found.value

    def _whole(self, key: str) -> int | None:
        found = self.quantities.get(key)
        return None if found is None else int(found.value)


WHOLE = ("multipliers", "memory_bits", "weights_per_multiplier")
KEYS = ("multipliers", "clock_hz", "memory_bits", "weights_per_multiplier", "claimed_images_per_s")
REQUIRED = KEYS[:2]
_LARGEST = 1e15


def names() -> tuple[str, ...]:
    """The machines that Rillet knows."""
    return reading.names("")


def load(name: str) -> StreamChip:
    """The machine called `name` (`ZCU102` is zcu102), or that of a file whose name ends in .toml.

    Raises TargetError for an unknown name (with the nearest one), and for a file that is not well formed.
    """
    return from_table(*reading.document("", "machine", name))


def parse(where: str, text: str) -> StreamChip:
    """The machine that a TOML text describes; raises TargetError, which begins with `where`, for a wrong one."""
    return from_table(where, reading.table(where, text))


def from_table(where: str, table: Mapping[str, Any]) -> StreamChip:
    """A machine of a TOML table; raises TargetError, which begins with `where`, for a wrong one."""
    reading.check_keys(where, table, ("name", "about", *KEYS), ("name", "about", *REQUIRED))
    name, about = (reading.text(f"{where}: {key}", table[key]) for key in ("name", "about"))
    found = {key: quantity(f"{where}: {key}", table[key], key in WHOLE) for key in KEYS if key in table}
    return StreamChip(name, about, found)


def quantity(where: str, value: Any, whole: bool = False) -> Quantity:
    """A number of at least 1 with its source; raises TargetError, which begins with `where`, for anything else."""
    fields = ("value", "source", "confidence")
    found = reading.section(where, value, fields, fields)
    number: Any = found["value"]
    plain = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    if not plain or not 1 <= number <= _LARGEST:
        raise TargetError(f"{where}: value must be a number from 1 to {_LARGEST:g}, got {str(number)[:40]}")
    if whole and not isinstance(number, int):
        raise TargetError(f"{where}: value must be a whole number, got {reading.shown(number)}")
    confidence = reading.text(f"{where}: confidence", found["confidence"], CONFIDENCES)
    return Quantity(number, reading.text(f"{where}: source", found["source"]), confidence)
