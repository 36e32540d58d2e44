"""What the counters of both emulators tell, and what makes of it an error."""

from collections.abc import Mapping
from dataclasses import dataclass

from rillet.errors import BuildError
from rillet.runtime.emulator.firmware import Firmware


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run of a program gave, and what it took."""

    emulator: str
    data: bytes
    """What it wrote: for each image, its outputs and the bytes of stack."""
    instructions: tuple[int, ...]
    """By image."""
    flash_reads: tuple[int, ...]
    blocks: Mapping[int, int]
    """Instructions of the first image, by the address of the block that they are in."""


def ranges(firmware: Firmware) -> dict[str, int]:
    """What a counter must know of a program."""
    own, own_bytes = firmware.sections[".emulator"]
    text, text_bytes = firmware.sections[".text"]
    constants, constants_bytes = firmware.sections.get(".rodata", (0, 0))
    code = firmware.memory.code[0]
    return {
        "code": code,
        "code_bytes": max(own + own_bytes, text + text_bytes) - code,
        "own": own,
        "own_bytes": own_bytes,
        "start": firmware.symbols["emulator_start"] & ~1,
        "stop": firmware.symbols["emulator_stop"] & ~1,
        "constants": constants,
        "constants_bytes": constants_bytes,
    }


def fault(firmware: Firmware, what: str, address: int) -> BuildError:
    """The error of a program that went wrong at an address."""
    name = firmware.function_at(address)
    where = f"in {name} (0x{address:x})" if name else f"at 0x{address:x}"
    return BuildError(f"{firmware.core.name}: program must run to its end, got {what} {where}")


def too_long(firmware: Firmware, most: int) -> BuildError:
    """The error of a program that does not end."""
    return BuildError(f"{firmware.core.name}: program must end within {most:,} instructions, got more")
