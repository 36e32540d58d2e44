"""Machines of QEMU for the cores of boards: where their memory lies."""

from collections.abc import Mapping
from dataclasses import dataclass

_K, _M = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """Addresses and bytes of a machine's memory, for code, for constants, and for what is written."""

    code: tuple[int, int]
    constants: tuple[int, int]
    ram: tuple[int, int]


MEMORY: Mapping[str, Memory] = {
    "mps2-an385": Memory((0, 4 * _M), (0x2100_0000, 16 * _M), (0x2000_0000, 4 * _M)),
    "mps2-an386": Memory((0, 4 * _M), (0x2100_0000, 16 * _M), (0x2000_0000, 4 * _M)),
    "mps2-an500": Memory((0, 4 * _M), (0x6000_0000, 16 * _M), (0x2000_0000, 4 * _M)),
    "mps3-an547": Memory((0, 512 * _K), (0x6000_0000, 32 * _M), (0x2100_0000, 2 * _M)),
}


def words(machine: str) -> dict[str, str]:
    """What the linker script and the start code say of a machine."""
    found = {"MACHINE": machine}
    for name in ("code", "constants", "ram"):
        address, count = getattr(MEMORY[machine], name)
        found |= {name.upper(): hex(address), f"{name.upper()}_BYTES": str(count)}
    return found
