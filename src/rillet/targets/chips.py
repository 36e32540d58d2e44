"""Chips for dataflow pipelines: multipliers, clock and memory, every number with its source."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rillet.errors import TargetError
from rillet.system.record import Record
from rillet.targets import pipeline, reading
from rillet.targets.families import FAMILIES, Family
from rillet.targets.pipeline import Pipeline
from rillet.targets.quantity import Quantity, quantity

FOLDER = "chips"
NUMBERS = (
    *("multipliers", "clock_hz", "memory_bits", "block_rams", "luts"),
    *("weights_per_multiplier", "claimed_images_per_s"),
)
KEYS = ("name", "about", "family", "device", "package", *NUMBERS, pipeline.TABLE)
_REQUIRED = ("name", "about", "multipliers", "clock_hz")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
_OWN = f"{pipeline.TABLE}."
_WHOLE = ("multipliers", "memory_bits", "block_rams", "luts", "weights_per_multiplier")


@dataclass(frozen=True, slots=True, repr=False)
class StreamChip(Record):
    """A chip whose multipliers stand in the stream: how many, how fast, and what memory is beside them."""

    name: str
    about: str
    quantities: Mapping[str, Quantity]
    """Every number of the file with its source, by the names below; those of its stages as `pipeline.read`."""
    family: Family | None = None
    """Of FPGAs, for synthesis; None where the file says none."""
    device: str = ""
    """As nextpnr calls it, and its package; empty where the file says none."""
    package: str = ""

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
        """Memory on the chip for weights and buffers, in bits; None where it is unknown."""
        return self._whole("memory_bits")

    @property
    def block_rams(self) -> int | None:
        """Block RAMs, of the bits that its `[pipeline]` says; None where memory alone bounds, as beside UltraRAM."""
        return self._whole("block_rams")

    @property
    def luts(self) -> int | None:
        """Look-up tables; None where they are unknown."""
        return self._whole("luts")

    @property
    def weights_per_multiplier(self) -> int | None:
        """Weights that each multiplier can hold and take in turn; None where memory alone bounds them."""
        return self._whole("weights_per_multiplier")

    @property
    def claimed_images_per_s(self) -> float | None:
        """Images per second that the vendor claims; None without a claim."""
        found = self.quantities.get("claimed_images_per_s")
        return None if found is None else found.value

    @property
    def pipeline(self) -> Pipeline | None:
        """What stages take on this chip: the numbers of its `[pipeline]`, and Rillet's own where it says none.

        None for a chip whose multipliers hold weights themselves: Rillet's stages read theirs from memories.
        """
        if self.weights_per_multiplier is not None:
            return None
        own = {key: found for key, found in self.quantities.items() if key.startswith(_OWN)}
        return pipeline.with_own({key.removeprefix(_OWN): found for key, found in own.items()})

    def _whole(self, key: str) -> int | None:
        found = self.quantities.get(key)
        return None if found is None else int(found.value)

    def __repr__(self) -> str:
        return f"<StreamChip {self.name}: {self.multipliers:,} multipliers, {self.clock_hz / 1e6:g} MHz>"


def names() -> tuple[str, ...]:
    """The chips that Rillet knows."""
    return reading.names(FOLDER)


def load(name: str) -> StreamChip:
    """The chip called `name` (`ZCU102` is zcu102), or that of a file whose name ends in .toml.

    Raises TargetError for an unknown name (with the nearest one), and for a file that is not well formed.
    """
    return from_table(*reading.document(FOLDER, "chip", name))


def parse(where: str, text: str) -> StreamChip:
    """The chip that a TOML text describes; raises TargetError, which begins with `where`, for a wrong one."""
    return from_table(where, reading.table(where, text))


def from_table(where: str, table: Mapping[str, Any]) -> StreamChip:
    """A chip of a TOML table; raises TargetError, which begins with `where`, for a wrong one."""
    reading.check_keys(where, table, KEYS, _REQUIRED)
    name, about = (reading.text(f"{where}: {key}", table[key]) for key in ("name", "about"))
    found = {key: quantity(f"{where}: {key}", table[key], whole=key in _WHOLE) for key in NUMBERS if key in table}
    stages = pipeline.quantities(f"{where}: {pipeline.TABLE}", table.get(pipeline.TABLE, {}))
    family = reading.text(f"{where}: family", table["family"], tuple(FAMILIES)) if "family" in table else ""
    own = {f"{_OWN}{key}": number for key, number in stages.items()}
    part = {key: _word(f"{where}: {key}", table[key]) for key in ("device", "package") if key in table}
    return StreamChip(name, about, found | own, FAMILIES.get(family), **part)


def _word(where: str, value: Any) -> str:
    """A name of letters, digits and hyphens: it becomes an option of a program."""
    word = reading.text(where, value)
    if not _WORD.fullmatch(word):
        raise TargetError(f"{where}: must be letters, digits and hyphens, got {reading.shown(value)}")
    return word
