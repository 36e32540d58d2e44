"""Programs for AArch64, and for s390x, whose first byte is the most significant: built here by a cross compiler, run by
qemu; tests skip where either is missing.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from rillet.backends.c.emit import emit
from rillet.backends.c.flags import machine_flags
from rillet.plan.rows.plan import RowPlan
from rillet.system.build import build_program
from rillet.targets.host import Host

NEON = Host("neon", "neon", l2_bytes=256 << 10)
DOT = Host("dot", "neon", l2_bytes=256 << 10, extras=("asimddp",))
_GCC = "aarch64-linux-gnu-gcc"
_LIBRARIES = Path("/usr/aarch64-linux-gnu")
_GCC_BIG = "s390x-linux-gnu-gcc"
_LIBRARIES_BIG = Path("/usr/s390x-linux-gnu")
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_TRAP = ("-fsanitize=undefined", "-fsanitize-trap=undefined")


def hosts() -> list[Host]:
    """Processors whose kernels can be built here: zig knows the dot product under another name."""
    return [NEON, DOT] if shutil.which(_GCC) else [NEON]


def run_on_arm(plan: RowPlan, image: np.ndarray, folder: Path, sanitize: bool = False) -> bytes:
    """The output of the program with its own main.c; `sanitize`: by those sanitizers that its compiler has."""
    qemu = shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("qemu-aarch64 absent: apt-get install qemu-user")
    if shutil.which(_GCC):
        compiler, flags = _GCC, _SANITIZE if sanitize else ()
    elif importlib.util.find_spec("ziglang") is not None:
        compiler = f"{sys.executable} -m ziglang cc -target aarch64-linux-musl"
        flags = ("-static", *(_TRAP if sanitize else ()))
    else:
        pytest.skip(f"{_GCC} and ziglang absent")
    return _run(compiler, [qemu, "-L", str(_LIBRARIES)], plan, image.tobytes(), folder, flags)


def run_big_endian(plan: RowPlan, image: np.ndarray, folder: Path) -> np.ndarray:
    """The values of the output on s390x, in the order in which they lie."""
    qemu, out = shutil.which("qemu-s390x"), plan.graph.by_name[plan.graph.outputs[0]].type.dtype.numpy
    if qemu is None:
        pytest.skip("qemu-s390x absent: apt-get install qemu-user")
    if shutil.which(_GCC_BIG) is None:
        pytest.skip(f"{_GCC_BIG} absent: apt-get install gcc-s390x-linux-gnu libc6-dev-s390x-cross")
    data = image.astype(image.dtype.newbyteorder(">")).tobytes()
    made = _run(_GCC_BIG, [qemu, "-L", str(_LIBRARIES_BIG)], plan, data, folder, ())
    return np.frombuffer(made, out.newbyteorder(">")).astype(out)


def _run(
    compiler: str, emulator: Sequence[str], plan: RowPlan, image: bytes, folder: Path, flags: Sequence[str]
) -> bytes:
    with patch.dict(os.environ, {"CC": compiler, "ASAN_OPTIONS": "detect_leaks=0"}):
        program = build_program(emit(plan), (*machine_flags(plan), "-O1", *flags))
        (folder / "image.raw").write_bytes(image)
        command = [*emulator, program, folder / "image.raw", folder / "out.raw"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return (folder / "out.raw").read_bytes()
