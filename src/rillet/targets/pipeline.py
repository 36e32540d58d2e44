"""What the stages of a pipeline take as hardware: registers from a memory to a result, and the shapes of memories."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from rillet.targets import reading
from rillet.targets.quantity import Quantity, quantity

TABLE = "pipeline"
"""The table of a chip's file that says these numbers."""
REGISTERS = ("read", "operand", "multiply", "sum", "accumulate", "bias", "shift", "fixed_point", "output")
"""Parts of a stage, and how many registers each has."""
_MEMORIES = ("read_ports", "lutram_words", "lut_bits", "block_ram_bits", "block_ram_width")
KEYS = (*REGISTERS, *_MEMORIES)
_MOST_REGISTERS = 64


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Hardware of a pipeline's stages, every number with its source."""

    quantities: Mapping[str, Quantity]
    """All numbers, by KEYS."""

    def __hash__(self) -> int:
        return hash(frozenset(self.quantities.items()))

    def registers(self, *names: str) -> int:
        """Registers of the named parts one behind the other, in cycles: `read`, `operand`, `multiply`, ..."""
        return sum(int(self.quantities[name].value) for name in names)

    @property
    def read_ports(self) -> int:
        """Words that a ring's memory gives its reader in a cycle."""
        return int(self.quantities["read_ports"].value)

    @property
    def lutram_words(self) -> int:
        """The most words of a memory that lies in look-up tables and not in block RAM."""
        return int(self.quantities["lutram_words"].value)

    @property
    def lut_bits(self) -> int:
        """A memory with at most so many bits for each block RAM that it would take lies in look-up tables."""
        return int(self.quantities["lut_bits"].value)

    @property
    def block_ram_bits(self) -> int:
        """Bits of one block RAM, its parity bits included."""
        return int(self.quantities["block_ram_bits"].value)

    @property
    def block_ram_width(self) -> int:
        """Bits of the widest word of one block RAM; each halving of the width doubles the words."""
        return int(self.quantities["block_ram_width"].value)


@cache
def default() -> Pipeline:
    """The stages of Rillet's own modules (pipeline.toml)."""
    text = files("rillet.targets").joinpath("pipeline.toml").read_text("utf-8")
    return Pipeline(quantities(TABLE, reading.table(TABLE, text)))


def with_own(own: Mapping[str, Quantity]) -> Pipeline:
    """The default with a chip's own numbers in place of it."""
    return Pipeline({**default().quantities, **own})


def quantities(where: str, value: Any) -> dict[str, Quantity]:
    """The numbers of a `[pipeline]` table; raises TargetError, which begins with `where`, for a wrong one."""
    found = reading.section(where, value, KEYS, ())
    return {
        key: quantity(f"{where}.{key}", found[key], whole=True, least=0, most=_MOST_REGISTERS)
        if key in REGISTERS
        else quantity(f"{where}.{key}", found[key], whole=True)
        for key in KEYS
        if key in found
    }
