"""Prints the table of docs/host.md as of a lesser processor: peers that see no AVX-512, Rillet with its kernel set.

usage: python bench/masked.py {avx2,avxvnni} [options of bench/table.py]

Runtimes ask the processor by `cpuid`, which no environment variable changes. In copies of their libraries each `cpuid`
is overwritten by an instruction that does not exist, of the same two bytes, and `mask.c`, preloaded, answers it as the
lesser processor would. What runs then runs natively, at full speed. For Linux on x86-64; needs objdump and a C
compiler. AVX-VNNI can only be measured where the processor has it.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rillet.bench.peers import PEERS
from rillet.system.build import find_compiler
from rillet.targets.host import this_host

HERE = Path(__file__).parent
MASKED = ("onnxruntime", "openvino", "litert")
SETS = {"avx2": "avx2", "avxvnni": "avx_vnni"}
"""Kernel sets, and what Linux calls the instructions that the processor must have."""
OF_NO_USE = shutil.ignore_patterns("*_gpu_plugin.so", "*_npu_plugin.so", "*WebGpu*.so", "__pycache__")
CPUID, UNKNOWN = b"\x0f\xa2", b"\x0f\x0b"
_GLIBC = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512CD,-AVX512DQ,-AVX512ER"
"""Copies of memory by AVX2, for everyone."""


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in SETS:
        sys.exit(f"{Path(__file__).name}: the first word must be {' or '.join(SETS)}")
    kernels = sys.argv[1]
    if SETS[kernels] not in re.findall(r"\S+", Path("/proc/cpuinfo").read_text()):
        sys.exit(f"{kernels}: the processor must have {SETS[kernels]}, {this_host().name} has not")
    with tempfile.TemporaryDirectory(prefix="rillet-masked-") as name:
        folder = Path(name)
        library = mask(folder)
        for peer in (PEERS[name] for name in MASKED):
            spec = importlib.util.find_spec(peer.module)
            if spec is not None and spec.origin is not None:
                made = folder / "site" / peer.module
                shutil.copytree(Path(spec.origin).parent, made, ignore=OF_NO_USE)
                patched = sum(patch(path) for path in made.rglob("*.so*") if path.is_file())
                print(f"{peer.name} {peer.version}: {patched} cpuid overwritten", file=sys.stderr, flush=True)
        paths = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        more = {"PYTHONPATH": os.pathsep.join(paths), "LD_PRELOAD": str(library), "GLIBC_TUNABLES": _GLIBC}
        more |= {"MASK_KEEPS_VNNI": "1"} if kernels == "avxvnni" else {}
        command = [sys.executable, str(HERE / "table.py"), "--target", kernels, *sys.argv[2:]]
        sys.exit(subprocess.run(command, env={**os.environ, **more}).returncode)


def mask(folder: Path) -> Path:
    """The library that answers, compiled."""
    library = folder / "mask.so"
    command = [*find_compiler(), "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "mask.c")]
    subprocess.run(command, check=True)
    return library


def patch(path: Path) -> int:
    """Overwrites each `cpuid` of a library's code, and tells how many there were."""
    data = bytearray(path.read_bytes())
    if CPUID not in data:
        return 0
    places = list(instructions(path))
    for place in places:
        assert data[place : place + 2] == CPUID, f"{path}: no cpuid at {place:#x}"
        data[place : place + 2] = UNKNOWN
    if places:
        path.write_bytes(data)
    return len(places)


def instructions(path: Path) -> Iterator[int]:
    """Offsets in a file of its `cpuid` instructions, of sections with code."""
    sections = subprocess.run(["objdump", "-h", "-w", path], check=True, capture_output=True, text=True).stdout
    rows = re.findall(r"^ *\d+ (\S+) +(\w+) +(\w+) +\w+ +(\w+) .*CODE", sections, re.MULTILINE)
    starts = {name: int(offset, 16) - int(address, 16) for name, _, address, offset in rows}
    shift = 0
    with subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", path], stdout=subprocess.PIPE) as code:
        # grep reads the tens of millions of lines ten times as fast as Python.
        found = subprocess.run(["grep", "-E", r"^Disassembly|\scpuid\s*$"], stdin=code.stdout, capture_output=True)
    for line in found.stdout.decode().splitlines():
        if line.startswith("Disassembly of section "):
            shift = starts[line.split()[-1].rstrip(":")]
        else:
            yield int(line.partition(":")[0], 16) + shift


if __name__ == "__main__":
    main()
