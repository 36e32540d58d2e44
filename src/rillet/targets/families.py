"""Families of FPGAs: how yosys makes a design one's own, and what each of its cells takes of a chip."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Taken:
    """What a design takes of an FPGA."""

    luts: int = 0
    """Look-up tables, those that are memories included."""
    memory_luts: int = 0
    """Of these, memories."""
    registers: int = 0
    multipliers: int = 0
    """DSP blocks."""
    block_rams: int = 0
    """In the chip's own unit: of AMD's, halves of 18 Kb."""

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(
            self.luts + other.luts,
            self.memory_luts + other.memory_luts,
            self.registers + other.registers,
            self.multipliers + other.multipliers,
            self.block_rams + other.block_rams,
        )

    def __mul__(self, count: int) -> "Taken":
        return Taken(
            count * self.luts,
            count * self.memory_luts,
            count * self.registers,
            count * self.multipliers,
            count * self.block_rams,
        )


@dataclass(frozen=True, slots=True)
class Family:
    """One family as yosys and nextpnr know it."""

    name: str
    synthesis: str
    """The command of yosys."""
    cells: Mapping[str, Taken]
    """What each cell takes; a name that ends in `*` stands for all that begin so."""
    inputs: int
    """Of a look-up table."""
    ram: tuple[int, int, int]
    """A memory of look-up tables that can be written: bits of a word, words, and its look-up tables."""
    factor_bits: int
    """The most bits of a signed value that one DSP block multiplies by another of 17 bits, as yosys maps it."""
    placer: str = ""
    """nextpnr's program; empty where it has none for the family."""

    def taken(self, cells: Mapping[str, int]) -> Taken:
        """What so many cells of each type take; cells that are wires, clocks or carries take nothing."""
        total = Taken()
        for cell, count in cells.items():
            total += self._of(cell) * count
        return total

    def memory_luts(self, width_bits: int, words: int, constant: bool) -> int:
        """Look-up tables of a memory in them, and those that choose a word of several where it is written."""
        if constant:
            return width_bits * -(-words // (1 << self.inputs))
        wide, deep, luts = self.ram
        pieces = -(-words // deep)
        return luts * -(-width_bits // wide) * pieces + width_bits * self.choice_luts(pieces)

    def choice_luts(self, count: int) -> int:
        """Look-up tables that choose one bit of `count`."""
        return -(-(count - 1) // (3 if self.inputs == 6 else 1))

    def _of(self, cell: str) -> Taken:
        own = self.cells.get(cell)
        if own is not None:
            return own
        return next((taken for name, taken in self.cells.items() if name[-1] == "*" and cell.startswith(name[:-1])), _N)


_N = Taken()
_LUT, _REGISTER = Taken(luts=1), Taken(registers=1)
_MULTIPLIER, _BLOCK_RAM = Taken(multipliers=1), Taken(block_rams=1)


def _memory(luts: int) -> Taken:
    return Taken(luts=luts, memory_luts=luts)


# AMD UG574 (look-up tables of a memory, by its shape) and UG573, UG473: a RAMB36 is two of 18 Kb.
_AMD: Mapping[str, Taken] = {
    **{f"LUT{n}": _LUT for n in range(1, 7)},
    "INV": _LUT,
    "SRL16E": _memory(1),
    "SRLC16E": _memory(1),
    "SRLC32E": _memory(1),
    **{f"RAM{n}X1S": _memory(max(1, n // 64)) for n in (16, 32, 64, 128, 256, 512)},
    **{f"RAM{n}X1D": _memory(2 * max(1, n // 64)) for n in (16, 32, 64, 128, 256)},
    "RAM32X2S": _memory(2),
    "RAM32M": _memory(4),
    "RAM64M": _memory(4),
    "RAM32M16": _memory(8),
    "RAM64M8": _memory(8),
    "RAMB18*": _BLOCK_RAM,
    "RAMB36*": Taken(block_rams=2),
    "DSP48*": _MULTIPLIER,
    **dict.fromkeys(("FDRE*", "FDSE*", "FDCE*", "FDPE*", "LDCE", "LDPE"), _REGISTER),
}
# Lattice FPGA-TN-02204 and FPGA-DS-02012: a slice has two look-up tables; a distributed memory of 16 x 4 bits takes
# two slices for its words and one for writing; a carry cell is the two look-up tables of a slice.
_ECP5: Mapping[str, Taken] = {
    "LUT4": _LUT,
    "CCU2C": Taken(luts=2),
    "TRELLIS_DPR16X4": _memory(6),
    "TRELLIS_FF": _REGISTER,
    "DP16KD": _BLOCK_RAM,
    "PDPW16KD": _BLOCK_RAM,
    "MULT18X18D": _MULTIPLIER,
}
# A logic cell has a look-up table, a carry and a register; nextpnr puts a carry beside a look-up table of its operands.
_ICE40: Mapping[str, Taken] = {
    "SB_LUT4": _LUT,
    "SB_DFF*": _REGISTER,
    "SB_RAM40_4K*": _BLOCK_RAM,
    "SB_MAC16": _MULTIPLIER,
}
FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("xcup", "synth_xilinx -family xcup -flatten -noiopad -noclkbuf", _AMD, 6, (7, 64, 8), 27),
        Family("xc7", "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf", _AMD, 6, (3, 64, 4), 25),
        Family("ecp5", "synth_ecp5", _ECP5, 4, (4, 16, 6), 19, "nextpnr-ecp5"),
        Family("ice40", "synth_ice40 -dsp", _ICE40, 4, (1, 1, 1), 17, "nextpnr-ice40"),
    )
}
"""By the name that a chip's file says."""
