"""How an emitted program is compiled: by the machine it was planned for."""

import os
import shlex
import string
from pathlib import Path

from rillet.backends.c.prefix import DEFAULT
from rillet.plan.rows.plan import RowPlan

MACHINE_FLAGS = {
    "portable": (),
    "avx2": ("-mavx2", "-mfma"),
    "avx512": (
        *("-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"),
        "-mprefer-vector-width=512",
    ),
    "neon": (),
}
"""What each kernel set needs the compiler to know."""
EXTRA_FLAGS = {"avx512vbmi": "-mavx512vbmi", "asimddp": "-march=armv8.2-a+dotprod"}
"""And for what a host has beyond its kernel set."""
_CONTRACT = "-ffp-contract=off"
"""Products and sums are fused where a kernel says so, and nowhere else."""


_PLAIN = set(string.ascii_letters + string.digits + "/._- ")


def machine_flags(plan: RowPlan) -> tuple[str, ...]:
    """Compiler flags of the plan's host; none for a portable plan."""
    if plan.host is None:
        return ()
    extras = (EXTRA_FLAGS[word] for word in plan.host.extras)
    threads = ("-pthread",) if plan.threads > 1 else ()
    return (*MACHINE_FLAGS[plan.host.kernels], *extras, _CONTRACT, *threads)


def build_line(plan: RowPlan, prefix: str = DEFAULT) -> str:
    """The command that builds the program by hand."""
    words = ("cc", "-O3", "-std=c99", *machine_flags(plan), "-Wall", "-Wextra")
    return " ".join((*words, "-o", prefix, "main.c", f"{prefix}.c", f"{prefix}_weights.c", "-lm"))


def run_line(plan: RowPlan, folder: Path, prefix: str = DEFAULT) -> str:
    """The command for a shell that builds the program in a folder and runs it."""
    return f"cd {_word(str(folder))} && {build_line(plan, prefix)} && ./{prefix} IMAGE.raw"


def _word(path: str) -> str:
    """A path as one word of a shell, whatever it is made of, in characters that a terminal shows."""
    if path.startswith("-"):
        path = f"./{path}"
    if path.isprintable():
        return shlex.quote(path)
    letters = ((byte, chr(byte)) for byte in os.fsencode(path))
    shown = (c if c in _PLAIN else f"\\{byte:03o}" for byte, c in letters)
    return f"$'{''.join(shown)}'"
