"""Frames and calls of a built program, from its instructions: how deep its stack can go."""

import io
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from elftools.elf.elffile import ELFFile

OBJDUMP = "arm-none-eabi-objdump"
_FUNCTION = re.compile(r"[0-9a-f]+ <(.+)>:")
_LINE = re.compile(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)")
_TARGET = re.compile(r"([0-9a-f]+) <([^+>]+)")
_NUMBERS = {"sl": 10, "fp": 11, "ip": 12, "lr": 14, "pc": 15}
_JUMP = re.compile(r"b(\.[nw])?|(b(eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)|cbn?z|le(tp)?|wls(tp)?)(\.\w+)?")
_RETURN = re.compile(r"(pop|ldmia)\b.*\bpc}|ldr pc,")
INDIRECT = "*"
_STAGES = ("fire_", "rillet_")
_SCHEDULE = ("net_", "try_stages", "take_rows", "finish", "segment_")
"""Beginnings of the names of functions that call others by address: what gathers, and stages."""


@dataclass
class Function:
    """One function: the most that it has on the stack, and what it calls with how much of it there."""

    frame: int = 0
    calls: list[tuple[int, str]] = field(default_factory=list)


def functions(elf: Path) -> dict[str, Function]:
    """All functions of a program, by name."""
    command = [OBJDUMP, "-d", "--no-show-raw-insn", str(elf)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = _words(elf)
    out: dict[str, Function] = {}
    lines: list[tuple[int, str, str]] = []
    name = ""
    for line in [*text.splitlines(), "0 <end>:"]:
        if found := _FUNCTION.match(line):
            if lines:
                out[name] = _followed(lines, words)
            name, lines = found[1], []
        elif found := _LINE.match(line):
            lines.append((int(found[1], 16), found[2], found[3]))
    return out


def deepest(those: dict[str, Function], root: str) -> int:
    """Bytes of stack below the caller of `root`; by address a stage calls what gathers, and others call stages."""
    known: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in those:
            return 0
        if name not in known:
            known[name] = 0  # nothing recurs but what never returns
            nested = [at + max(map(depth, called(name, to)), default=0) for at, to in those[name].calls]
            known[name] = max(those[name].frame, *nested, 0)
        return known[name]

    def called(name: str, to: str) -> list[str]:
        if to != INDIRECT:
            return [to]
        for callers, begin in ((_STAGES, "rillet_core_gather"), (_SCHEDULE, "fire_")):
            if name.startswith(callers):
                return [other for other in those if other.startswith(begin)]
        return []

    return depth(root)


def _followed(lines: list[tuple[int, str, str]], words: dict[int, int]) -> Function:
    """What every path through a function has on the stack."""
    places = {address: i for i, (address, _, _) in enumerate(lines)}
    out, seen, work = Function(), dict[int, int](), [(0, 0)]
    while work:
        i, depth = work.pop()
        while i < len(lines) and seen.get(i, -1) < depth:
            seen[i] = depth
            _, word, rest = lines[i]
            base = word.split(".")[0]
            depth += _moved(lines, i, words)
            out.frame = max(out.frame, depth)
            target = _TARGET.search(rest)
            if base in ("bl", "blx"):
                out.calls.append((depth, target[2] if target else INDIRECT))
            elif _JUMP.fullmatch(word) and target:
                if (to := places.get(int(target[1], 16))) is not None:
                    work.append((to, depth))
                else:  # a call in place of a return
                    out.calls.append((depth, target[2]))
            elif base == "bx" and not rest.startswith("lr"):
                out.calls.append((depth, INDIRECT))
            if base in ("tbb", "tbh"):
                work += [(j, depth) for j in range(i + 1, len(lines))]
            if base in ("b", "bx", "tbb", "tbh") or _RETURN.match(f"{base} {rest}"):
                break
            i += 1
    return out


def _moved(lines: list[tuple[int, str, str]], i: int, words: dict[int, int]) -> int:
    """By how many bytes an instruction makes the stack deeper."""
    _, word, rest = lines[i]
    base = word.split(".")[0]
    if base in ("push", "vpush") or (base in ("stmdb", "stmfd") and rest.startswith("sp!")):
        return _registers(rest)
    if base in ("pop", "vpop") or (base == "ldmia" and rest.startswith("sp!")):
        return -_registers(rest)
    if found := re.match(r"sp, (?:sp, )?#(\d+)", rest):
        return {"sub": 1, "add": -1}.get(base.rstrip("sw") if base != "sub" else base, 0) * int(found[1])
    if base == "mov" and (found := re.match(r"sp, (\w+)", rest)):
        return _realigned(lines, i, found[1])
    if found := re.match(r"sp, (?:sp, )?(\w+)", rest):
        return {"add": -1, "sub": 1}.get(base, 0) * _value(lines, i, found[1], words)
    if found := re.search(r"\[sp, #-(\d+)\]!", rest):
        return int(found[1])
    if found := re.search(r"\[sp\], #(\d+)", rest):
        return -int(found[1])
    return 0


def _realigned(lines: list[tuple[int, str, str]], i: int, register: str) -> int:
    """The most that a stack pointer goes down where bits of it are cleared; none where it comes back from a frame's."""
    for _, word, rest in reversed(lines[max(0, i - 4) : i]):
        if found := re.match(rf"{register}, (?:#0, |{register}, )#(\d+)", rest):
            return 2 ** int(found[1]) - 4 if word.startswith(("bfc", "lsl")) else 0
    return 0


def _registers(rest: str) -> int:
    """Bytes of a list of registers."""
    count = 0
    for part in rest[rest.index("{") + 1 : rest.index("}")].split(","):
        first, _, last = part.strip().partition("-")
        ends = [_NUMBERS.get(name) or int(name.lstrip("rsdq")) for name in (first, last or first)]
        count += (ends[1] - ends[0] + 1) * {"d": 8, "q": 16}.get(first[0], 4)
    return count


def _value(lines: list[tuple[int, str, str]], i: int, register: str, words: dict[int, int]) -> int:
    """What was last written to a register: a number or a word beside the code."""
    for address, word, rest in reversed(lines[:i]):
        if word.startswith("ldr") and (found := re.match(rf"{register}, \[pc, #(\d+)\]", rest)):
            value = words[(address + 4 & ~3) + int(found[1])]
            return value - (value >> 31 << 32)
        if word.startswith("mov") and (found := re.match(rf"{register}, #(\d+)", rest)):
            return int(found[1])
    raise AssertionError(f"nothing is written to {register} before {lines[i]}")


def _words(elf: Path) -> dict[int, int]:
    """The words of the code, by address."""
    out: dict[int, int] = {}
    for section in ELFFile(io.BytesIO(elf.read_bytes())).iter_sections():
        if section["sh_flags"] & 4:
            start, data = section["sh_addr"], section.data()
            out |= {start + at: int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data) - 3, 4)}
    return out
