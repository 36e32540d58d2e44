"""Firmware in Unicorn, an emulator that is a library: Cortex-M0 to M33."""

import ctypes
import struct
from importlib.metadata import version
from typing import Any

from rillet.errors import BuildError
from rillet.runtime.emulator.counting import Counts, Owners, fault, ranges, too_long
from rillet.runtime.emulator.firmware import STACK_BYTES, Firmware, own_text
from rillet.system.build import build_library
from rillet.system.extras import extra
from rillet.system.library import load_library

_PAGE = 0x1000
_SYSTEM = 0xE000_E000
_BREAKPOINT = 7
"""QEMU's number of the exception that `bkpt` raises."""
_OPEN, _WRITE, _READ, _EXIT = 1, 5, 6, 0x20
_LATEST = 1 << 62


class _Counter(ctypes.Structure):
    """`rillet_counter` of counter.h."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("code", "code_bytes", "own", "own_bytes", "start", "stop")),
        *((name, ctypes.c_uint64) for name in ("constants", "constants_bytes", "most_instructions", "most_images")),
        *((name, ctypes.c_uint64) for name in ("on", "all", "images", "elsewhere")),
        *((name, ctypes.POINTER(ctypes.c_uint64)) for name in ("totals", "flash", "of_block")),
        ("owner", ctypes.POINTER(ctypes.c_uint16)),
        ("of_owner", ctypes.POINTER(ctypes.c_uint64)),
        ("last", ctypes.c_uint64),
    )


class _Hooks(ctypes.Structure):
    """`rillet_unicorn` of unicorn.c."""

    _fields_ = (
        ("counter", _Counter),
        ("text", ctypes.POINTER(ctypes.c_uint8)),
        ("bytes", ctypes.POINTER(ctypes.c_uint32)),
        ("instructions", ctypes.POINTER(ctypes.c_uint32)),
        ("stop", ctypes.c_void_p),
        *((name, ctypes.c_uint64) for name in ("aligned", "stopped", "fault_address", "at")),
    )


def run(firmware: Firmware, images: list[bytes], most_instructions: int, owners: Owners) -> Counts:
    """Runs the program on images; raises BuildError where it does not run to its end."""
    with extra("mcu"):
        from unicorn import arm_const
        from unicorn import unicorn_const as unicorn
        from unicorn.unicorn_py3.unicorn import Uc, UcError, uclib
    machine = Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    machine.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{firmware.core.unicorn}"))
    _map(machine, firmware, unicorn)
    kept = _hooks(firmware, len(images), most_instructions, owners, uclib)
    library = load_library(
        build_library({"unicorn.c": own_text("counter/unicorn.c"), "counter.h": own_text("counter/counter.h")}),
        ("rillet_on_block", "rillet_on_instruction", "rillet_on_access"),
    )
    for kind, function in (
        (unicorn.UC_HOOK_BLOCK, library.rillet_on_block),
        (unicorn.UC_HOOK_CODE, library.rillet_on_instruction),
        (unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, library.rillet_on_access),
    ):
        _hook(machine, uclib, kind, function, kept)
    host = _Host(machine, b"".join(images), firmware)
    machine.hook_add(unicorn.UC_HOOK_INTR, host.on_exception)
    stack, entry = struct.unpack("<II", machine.mem_read(firmware.memory.code[0], 8))
    machine.reg_write(arm_const.UC_ARM_REG_SP, stack)
    problem: Any = None
    try:
        machine.emu_start(entry, 0xFFFF_FFFE)
    except UcError as error:
        problem = error
    pc = machine.reg_read(arm_const.UC_ARM_REG_PC) & ~1
    counter = kept.hooks.counter
    if kept.hooks.stopped == 1:
        raise too_long(firmware, most_instructions)
    if kept.hooks.stopped:
        raise fault(firmware, f"an unaligned access to 0x{kept.hooks.fault_address:x}", kept.hooks.at)
    if problem is not None or host.exit_code is None:
        raise fault(firmware, host.fault or f"{problem or 'a stop'}", host.fault_at if host.fault else pc)
    return Counts(
        f"unicorn {version('unicorn')}",
        bytes(host.out),
        tuple(kept.totals[: counter.images]),
        tuple(kept.flash[: counter.images]),
        {counter.code + 2 * i: n for i, n in enumerate(kept.of_block) if n},
        tuple(kept.of_owner),
    )


class _Kept:
    """The counter's arrays, which must live as long as the emulator runs."""

    def __init__(self, code: bytes, images: int, owners: int) -> None:
        half_words = len(code) // 2 + 1
        self.text = (ctypes.c_uint8 * (len(code) + 4)).from_buffer_copy(code + bytes(4))
        self.bytes, self.instructions = (ctypes.c_uint32 * half_words)(), (ctypes.c_uint32 * half_words)()
        self.totals, self.flash = (ctypes.c_uint64 * (images + 1))(), (ctypes.c_uint64 * (images + 1))()
        self.of_block, self.owner = (ctypes.c_uint64 * half_words)(), (ctypes.c_uint16 * half_words)()
        self.of_owner = (ctypes.c_uint64 * (owners + 1))()
        self.hooks = _Hooks()


def _hooks(firmware: Firmware, images: int, most_instructions: int, owners: Owners, uclib: Any) -> _Kept:
    known = ranges(firmware)
    code = bytearray(known["code_bytes"])
    for address, data in firmware.segments:
        first = address - known["code"]
        if 0 <= first < len(code):
            code[first : first + len(data)] = data[: len(code) - first]
    kept = _Kept(bytes(code), images, len(owners.names))
    for function, owner in owners.functions:
        first = (function.address - known["code"]) // 2
        for place in range(first, first + function.bytes // 2):
            kept.owner[place] = owner
    hooks = kept.hooks
    for name, value in known.items():
        setattr(hooks.counter, name, value)
    hooks.counter.most_instructions, hooks.counter.most_images = most_instructions, images
    hooks.counter.owner = ctypes.cast(kept.owner, ctypes.POINTER(ctypes.c_uint16))
    for name in ("totals", "flash", "of_block", "of_owner"):
        setattr(hooks.counter, name, ctypes.cast(getattr(kept, name), ctypes.POINTER(ctypes.c_uint64)))
    hooks.text = ctypes.cast(kept.text, ctypes.POINTER(ctypes.c_uint8))
    hooks.bytes = ctypes.cast(kept.bytes, ctypes.POINTER(ctypes.c_uint32))
    hooks.instructions = ctypes.cast(kept.instructions, ctypes.POINTER(ctypes.c_uint32))
    hooks.stop = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p)
    hooks.aligned = int(firmware.core.aligned)
    return kept


def _hook(machine: Any, uclib: Any, kind: int, function: Any, kept: _Kept) -> None:
    """Has Unicorn call a C function: one of Python would take a thousand times as long."""
    handle = ctypes.c_size_t()
    call, user = ctypes.cast(function, ctypes.c_void_p), ctypes.cast(ctypes.byref(kept.hooks), ctypes.c_void_p)
    begin, end = ctypes.c_uint64(1), ctypes.c_uint64(0)
    status = uclib.uc_hook_add(machine._uch, ctypes.byref(handle), kind, call, user, begin, end)
    if status:
        raise BuildError(f"unicorn must take a hook, got error {status}")


def _map(machine: Any, firmware: Firmware, unicorn: Any) -> None:
    memory = firmware.memory
    read, write, execute = unicorn.UC_PROT_READ, unicorn.UC_PROT_WRITE, unicorn.UC_PROT_EXEC
    machine.mem_map(*memory.code, read | execute)
    machine.mem_map(*memory.constants, read)
    machine.mem_map(memory.ram[0], memory.ram[1] + STACK_BYTES, read | write)
    machine.mem_map(*memory.host, read | write)
    machine.mem_map(_SYSTEM, _PAGE, read | write)
    for address, data in firmware.segments:
        machine.mem_write(address, data)


class _Host:
    """What answers the program's requests (semihosting), and hears of its faults."""

    def __init__(self, machine: Any, source: bytes, firmware: Firmware) -> None:
        from unicorn import arm_const

        self._machine, self._source, self._taken = machine, source, 0
        self._pc, self._r0, self._r1 = (getattr(arm_const, f"UC_ARM_REG_{name}") for name in ("PC", "R0", "R1"))
        self._own = firmware.sections[".emulator"]
        self.out = bytearray()
        self.exit_code: int | None = None
        self.fault, self.fault_at = "", 0

    def on_exception(self, machine: Any, number: int, _user: object) -> None:
        """A hook of Unicorn."""
        pc = machine.reg_read(self._pc) & ~1
        if number != _BREAKPOINT or not 0 <= pc - self._own[0] < self._own[1]:
            self.fault, self.fault_at = f"exception {number}", pc
            machine.emu_stop()
            return
        operation, at = machine.reg_read(self._r0), machine.reg_read(self._r1)
        answer = self._request(operation, at)
        if self.exit_code is not None:
            machine.emu_stop()
            return
        machine.reg_write(self._r0, answer)
        machine.reg_write(self._pc, (pc + 2) | 1)

    def _request(self, operation: int, at: int) -> int:
        def words(n: int) -> tuple[int, ...]:
            return struct.unpack(f"<{n}I", self._machine.mem_read(at, 4 * n))

        if operation == _OPEN:
            return 1
        if operation == _READ:
            _, to, count = words(3)
            data = self._source[self._taken : self._taken + count]
            self._taken += len(data)
            self._machine.mem_write(to, data)
            return count - len(data)
        if operation == _WRITE:
            _, start, count = words(3)
            self.out += self._machine.mem_read(start, count)
            return 0
        if operation == _EXIT:
            self.exit_code = words(2)[1]
        return 0
