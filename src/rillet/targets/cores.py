"""The Cortex-M processors of boards: what their instruction sets have, and how compilers and emulators call them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rillet.errors import TargetError


class Architecture(StrEnum):
    """What a core's instructions are, as Arm calls it."""

    V6M = "armv6-m"
    V7M = "armv7-m"
    V7EM = "armv7e-m"
    V8M = "armv8-m.main"
    V81M = "armv8.1-m.main"


@dataclass(frozen=True, slots=True)
class Core:
    """A Cortex-M processor."""

    name: str
    """As compilers call it: `cortex-m4`."""
    architecture: Architecture
    dsp: bool
    """Whether it multiplies pairs of 16-bit values (SMLAD)."""
    mve: bool
    """Whether it has vectors (Helium)."""
    fpu: bool
    """Whether programs for it are compiled for a floating-point unit, as most chips with this core have one."""
    gcc: tuple[str, ...]
    """Flags of arm-none-eabi-gcc."""
    zig: str
    """What `zig cc` calls it, with its floating-point unit."""
    unicorn: str | None
    """The core that Unicorn has instead, of the same instructions; None where it has none."""
    qemu: str
    """The machine of qemu-system-arm that has these instructions."""

    @property
    def kernels(self) -> str:
        """The kernel set of programs for it."""
        if self.mve:
            return "helium"
        return "dsp" if self.dsp else "armv6m"

    @property
    def aligned(self) -> bool:
        """True where every access must be aligned; others read and write words and half-words anywhere."""
        return self.architecture is Architecture.V6M


def _core(
    name: str,
    architecture: Architecture,
    fpu: str,
    zig: str,
    unicorn: str | None,
    qemu: str,
    dsp: bool = True,
    mve: bool = False,
) -> Core:
    hard = ("-mfloat-abi=hard", *([f"-mfpu={fpu}"] if fpu != "auto" else [])) if fpu else ()
    gcc = ("-mthumb", f"-mcpu={name}", *hard)
    return Core(name, architecture, dsp, mve, bool(fpu), gcc, zig, unicorn, qemu)


CORES: Mapping[str, Core] = {
    core.name: core
    for core in (
        _core("cortex-m0", Architecture.V6M, "", "cortex_m0", "CORTEX_M0", "mps2-an385", dsp=False),
        _core("cortex-m0plus", Architecture.V6M, "", "cortex_m0plus", "CORTEX_M0", "mps2-an385", dsp=False),
        _core("cortex-m3", Architecture.V7M, "", "cortex_m3", "CORTEX_M3", "mps2-an385", dsp=False),
        _core("cortex-m4", Architecture.V7EM, "fpv4-sp-d16", "cortex_m4+vfp4d16sp", "CORTEX_M4", "mps2-an386"),
        _core("cortex-m7", Architecture.V7EM, "fpv5-sp-d16", "cortex_m7+fp_armv8d16sp", "CORTEX_M7", "mps2-an500"),
        _core("cortex-m33", Architecture.V8M, "fpv5-sp-d16", "cortex_m33+fp_armv8d16sp", "CORTEX_M33", "mps3-an547"),
        _core("cortex-m55", Architecture.V81M, "auto", "cortex_m55+mve_fp", None, "mps3-an547", mve=True),
        _core("cortex-m85", Architecture.V81M, "auto", "cortex_m85+mve_fp", None, "mps3-an547", mve=True),
    )
}
"""By name. QEMU's machines have Cortex-M3, M4, M7 and M55, which run the instructions of the others."""
KERNELS = ("portable", "armv6m", "dsp", "helium")
"""Kernel sets, of which a core has its own and those before: plain C; for instructions that every Cortex-M has; for
those on pairs of 16-bit values; for vectors.
"""
_SPELT = re.compile(r"cortex-?(m[0-9]+)(\+|plus|f|e)?")


def find(name: str) -> Core | None:
    """The core that a board's file names, in any usual spelling (Cortex-M4F, M0+, m7); None for others."""
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    found = _SPELT.fullmatch(plain if plain.startswith("cortex") else f"cortex-{plain}")
    if found is None:
        return None
    return CORES.get(f"cortex-{found[1]}{'plus' if found[2] in ('+', 'plus') else ''}")


def load(name: str) -> Core:
    """The core called so; raises TargetError that says which there are."""
    found = find(name)
    if found is None:
        raise TargetError(f"{name}: core must be one of {', '.join(CORES)}, got {name!r}")
    return found
