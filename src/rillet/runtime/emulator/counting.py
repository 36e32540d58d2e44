"""What the counters of both emulators tell, and what makes of it an error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rillet.errors import BuildError
from rillet.runtime.emulator.firmware import Firmware, Function


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
    owners: tuple[int, ...]
    """The same by whom they count for: nobody, then each of `Owners.names`."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Whom instructions count for: those of a function without an owner for the owner of who ran before."""

    names: tuple[str, ...] = ()
    functions: tuple[tuple[Function, int], ...] = ()
    """Functions of an owner, and its place in `names`, from 1 on."""


def owners(firmware: Firmware, owner_of: Callable[[str], str | None]) -> Owners:
    """Asks for the owner of each function by its name, as the source has it."""
    found = [(one, owner_of(one.name.partition(".")[0])) for one in firmware.functions]
    names = tuple(dict.fromkeys(owner for _, owner in found if owner is not None))
    return Owners(names, tuple((one, names.index(owner) + 1) for one, owner in found if owner is not None))


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
