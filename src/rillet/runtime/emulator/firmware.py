"""Emitted programs as firmware for a Cortex-M core: cross compiler, start code, linker script, the ELF file."""

import io
import shutil
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from importlib.util import find_spec
from pathlib import Path

from rillet.backends.c.prefix import renamed
from rillet.backends.c.project.layouts import template
from rillet.errors import BuildError, Unsupported
from rillet.runtime.emulator.interface import Interface, interface
from rillet.system.build import build, compiler_version
from rillet.system.extras import extra
from rillet.system.reading import MODEL_BYTES, read_bytes
from rillet.targets.cores import Core

GCC = "arm-none-eabi-gcc"
FLAGS = ("-O3", "-std=c99", "-ffunction-sections", "-fdata-sections")
STACK_BYTES = 1 << 16
"""The most stack that can be measured."""
_ZIG = ("-fno-sanitize=undefined", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-Ifreestanding")
_MEMORY = "freestanding/memory.c"
"""What compilers may call though nobody does: memcpy and memset, as a board's folder brings them."""
_K, _M = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """Where things lie in an emulated machine: (address, bytes)."""

    code: tuple[int, int]
    constants: tuple[int, int]
    ram: tuple[int, int]
    """The stack lies behind it."""
    host: tuple[int, int]
    """Images and outputs, which on a board come from elsewhere."""


def _mps2(more: int) -> Memory:
    return Memory((0, 4 * _M), (more, 12 * _M), (0x2000_0000, 4 * _M - STACK_BYTES), (more + 12 * _M, 4 * _M))


MEMORY: Mapping[str, Memory] = {
    "mps2-an385": _mps2(0x2100_0000),
    "mps2-an386": _mps2(0x2100_0000),
    "mps2-an500": _mps2(0x6000_0000),
    "mps3-an547": Memory(
        (0, 512 * _K), (0x6000_0000, 16 * _M), (0x2100_0000, 2 * _M - STACK_BYTES), (0x6100_0000, 16 * _M)
    ),
}
"""Of QEMU's machines; Unicorn has the same, so that one program runs in both."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the program."""

    address: int
    bytes: int
    name: str


@dataclass(frozen=True, slots=True)
class Firmware:
    """A program as it is flashed."""

    path: Path
    core: Core
    compiler: str
    interface: Interface
    sections: Mapping[str, tuple[int, int]]
    """Address and bytes of what is in memory, by section."""
    segments: tuple[tuple[int, bytes], ...]
    """What is flashed, and where."""
    functions: tuple[Function, ...]
    """By address."""
    symbols: Mapping[str, int]

    @property
    def memory(self) -> Memory:
        """The machine's."""
        return MEMORY[self.core.qemu]

    @property
    def ram_bytes(self) -> int:
        """Bytes of .data and .bss of the net and its arena."""
        return self._bytes(".data", ".bss")

    @property
    def code_bytes(self) -> int:
        """Bytes of instructions."""
        return self._bytes(".text")

    @property
    def constant_bytes(self) -> int:
        """Bytes of weights and other constants, first values of .data among them."""
        return self._bytes(".rodata", ".data", ".ARM.exidx", ".ARM.extab")

    def function_at(self, address: int) -> str:
        """The name of the function that an address lies in; empty where it lies in none."""
        place = bisect_right(self.functions, address, key=lambda function: function.address) - 1
        if place < 0:
            return ""
        found, text = self.functions[place], self.sections.get(".text", (0, 0))
        # A function of assembly may not say how long it is: it reaches to the next.
        end = found.address + found.bytes
        if not found.bytes:
            end = self.functions[place + 1].address if place + 1 < len(self.functions) else sum(text)
        return found.name if address < end else ""

    def _bytes(self, *names: str) -> int:
        return sum(self.sections.get(name, (0, 0))[1] for name in names)


def cross_compiler(core: Core) -> tuple[str, ...]:
    """The command of a compiler for a core, with the core's flags: arm-none-eabi-gcc where it knows it, else zig.

    Raises Unsupported where there is neither.
    """
    found = shutil.which(GCC)
    if found is not None and _knows(found, core.gcc):
        return (found, *core.gcc)
    if find_spec("ziglang") is None:
        raise Unsupported(f"{GCC} or ziglang must be installed for {core.name}: pip install rillet[mcu]")
    abi = "eabihf" if core.fpu else "eabi"
    return (sys.executable, "-m", "ziglang", "cc", "-target", f"thumb-freestanding-{abi}", f"-mcpu={core.zig}")


@cache
def _knows(gcc: str, flags: tuple[str, ...]) -> bool:
    """Whether a compiler knows a core; old ones lack new cores."""
    said = subprocess.run(
        [gcc, *flags, "-E", "-x", "c", "-"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return said.returncode == 0


def build_firmware(files: Mapping[str, str], core: Core, flags: tuple[str, ...] = ()) -> Firmware:
    """Builds the files of an emitted program for a core, out of the cache where it was built before.

    flags: more of them for the compiler, as -O2. Raises BuildError where the compiler refuses it, or where it does not
    fit the emulated machine; Unsupported where there is no compiler.
    """
    called = interface(files)
    command = cross_compiler(core)
    zig = "ziglang" in command
    sources = [name for name in files if name.endswith((".c", ".S")) and "/" not in name and Path(name).stem != "main"]
    sources += [name for name in files if name.endswith(".S") and "/" in name]
    own = {f"board/{name}": renamed(own_text(f"board/{name}"), called.prefix) for name in ("harness.c", "state.c")}
    own[_MEMORY] = template(_MEMORY, {}, called.prefix)
    headers = {"board/outputs.h": called.header, "freestanding/math.h": own_text("freestanding/math.h")}
    headers["freestanding/string.h"] = template("freestanding/string.h", {}, called.prefix)
    all_files = {**files, **headers, **own, "link.ld": _script(MEMORY[core.qemu])}
    link = ("-nostdlib", "-Wl,--gc-sections", "-T", "link.ld", *(("-Wl,-e,emulator_reset",) if zig else ()))
    libraries = ("-lcompiler_rt",) if zig else ("-lm", "-lc", "-lgcc")
    all_flags = (*FLAGS, "-I.", *(_ZIG if zig else ()), *flags)
    path = build(command, all_files, [*sources, *own], all_flags, link, "net.elf", libraries)
    return _read(path, core, compiler_version(command), called)


def own_text(name: str) -> str:
    """A file of C or of the linker's that comes with this package."""
    return (package_files("rillet.runtime.emulator") / name).read_text(encoding="utf-8")


def _script(memory: Memory) -> str:
    """The linker script."""
    text = own_text("board/link.ld").replace("@STACK_BYTES@", str(STACK_BYTES))
    for name in ("CODE", "CONSTANTS", "RAM", "HOST"):
        address, count = getattr(memory, name.lower())
        text = text.replace(f"@{name}@", hex(address)).replace(f"@{name}_BYTES@", str(count))
    return text


def _read(path: Path, core: Core, compiler: str, called: Interface) -> Firmware:
    """What the ELF file says."""
    with extra("mcu"):
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
        from elftools.elf.sections import SymbolTableSection
    try:
        elf = ELFFile(io.BytesIO(read_bytes(path, MODEL_BYTES)))
        sections = {s.name: (int(s["sh_addr"]), int(s["sh_size"])) for s in elf.iter_sections() if s["sh_flags"] & 2}
        loaded = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
        segments = tuple((int(s["p_paddr"]), bytes(s.data())) for s in loaded)
        table = elf.get_section_by_name(".symtab")
        symbols = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
    except ELFError as error:
        raise BuildError(f"{path.name}: must be an ELF file, got one that is not: {error}") from None
    functions = {
        int(s["st_value"]) & ~1: Function(int(s["st_value"]) & ~1, int(s["st_size"]), s.name)
        for s in symbols
        if s["st_info"]["type"] == "STT_FUNC"
    }
    return Firmware(
        path,
        core,
        compiler,
        called,
        sections,
        segments,
        tuple(functions[address] for address in sorted(functions)),
        {s.name: int(s["st_value"]) for s in symbols},
    )
