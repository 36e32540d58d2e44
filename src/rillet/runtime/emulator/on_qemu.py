"""Firmware in QEMU, where it is installed: every core, and a second opinion on what Unicorn says."""

import re
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path

from rillet.errors import BuildError, Unsupported
from rillet.runtime.emulator.counting import Counts, Owners, fault, ranges, too_long
from rillet.runtime.emulator.firmware import Firmware, own_text
from rillet.system.build import build_library
from rillet.system.cache import workshop
from rillet.system.reading import MODEL_BYTES, read_bytes, read_text

PROGRAM = "qemu-system-arm"
MOST_SECONDS = 900.0
"""How long a run may take: beyond it, the emulator is ended."""
_FAULTED = 1
_SAID_BYTES = 16


def find_qemu() -> str | None:
    """The program, None where it is not installed."""
    return shutil.which(PROGRAM)


@cache
def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\S+)", said)
    return found[1] if found else "?"


def run(firmware: Firmware, images: list[bytes], most_instructions: int, owners: Owners) -> Counts:
    """Runs the program on images; raises BuildError where it does not run to its end, Unsupported without QEMU."""
    program = find_qemu()
    if program is None:
        raise Unsupported(
            f"{PROGRAM} must be installed for {firmware.core.name} (on Debian: apt install {PROGRAM}), got none"
        )
    known = {**ranges(firmware), "most_images": len(images), "most_instructions": most_instructions}
    known["owners"] = len(owners.names)
    owned = "".join(f"{one.address} {one.bytes} {owner}\n" for one, owner in owners.functions)
    with workshop() as work:
        (work / "images").write_bytes(b"".join(images))
        (work / "owned").write_text(owned)
        done = _run(program, firmware, known, work)
        counted = work / "counts"
        counts = read_text(counted, MODEL_BYTES) if counted.exists() else ""
        data = read_bytes(work / "outputs", MODEL_BYTES)
    if counts.endswith("limit\n"):
        raise too_long(firmware, most_instructions)
    if done.returncode == _FAULTED and len(done.stderr) >= _SAID_BYTES:
        pc, status, *_ = struct.unpack("<4I", done.stderr[-_SAID_BYTES:])
        raise fault(firmware, f"a fault (CFSR 0x{status:08x})", pc & ~1)
    if done.returncode or not counts.endswith("end\n"):
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0][:200]
        raise BuildError(f"{firmware.core.name}: program must run to its end in {PROGRAM}, got: {said or 'nothing'}")
    rows = [line.split() for line in counts.splitlines()]
    images_told = [(int(row[1]), int(row[2])) for row in rows if row[0] == "image"]
    return Counts(
        f"qemu {_version(program)}",
        data,
        tuple(instructions for instructions, _ in images_told),
        tuple(read for _, read in images_told),
        {int(row[1]): int(row[2]) for row in rows if row[0] == "block"},
        tuple(int(row[1]) for row in rows if row[0] == "owner"),
    )


def _run(program: str, firmware: Firmware, known: dict[str, int], work: Path) -> "subprocess.CompletedProcess[bytes]":
    """Runs QEMU with the counter; asks anew with the interface that it has, where that is another."""
    version = 1
    while True:
        plugin = build_library(
            {"qemu.c": own_text("counter/qemu.c"), "counter.h": own_text("counter/counter.h")},
            defines=(f"VERSION={version}",),
        )
        words = [
            str(plugin),
            *(f"{name}={value}" for name, value in known.items()),
            f"out={work / 'counts'}",
            f"owned={work / 'owned'}",
        ]
        command = [program, "-M", firmware.core.qemu, "-display", "none", "-monitor", "none", "-serial", "none"]
        command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(firmware.path)]
        command += ["-plugin", ",".join(words)]
        with open(work / "images", "rb") as source, open(work / "outputs", "wb") as out:
            try:
                done = subprocess.run(
                    command, stdin=source, stdout=out, stderr=subprocess.PIPE, timeout=MOST_SECONDS, check=False
                )
            except subprocess.TimeoutExpired:
                raise BuildError(
                    f"{firmware.core.name}: program must end within {MOST_SECONDS:g} s, got more"
                ) from None
        wanted = re.search(rb"minimum version of (\d+)", done.stderr)
        if wanted is None or int(wanted[1]) == version:
            return done
        version = int(wanted[1])
