"""Compiler flags and build commands of an emitted program, by the host of its plan."""

import os
import shlex
import string
from collections.abc import Sequence
from pathlib import Path

from rillet.backends.c.prefix import DEFAULT
from rillet.plan.rows.plan import RowPlan
from rillet.targets.host import RELAXED

_AVX512 = ("-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni")
_WIDEST = "-mprefer-vector-width=512"
MACHINE_FLAGS = {
    "portable": (),
    "avx2": ("-mavx2", "-mfma"),
    "avxvnni": ("-mavx2", "-mfma", "-mavxvnni"),
    "avx512": (*_AVX512, _WIDEST),
    "amx": (*_AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16", _WIDEST),
    "neon": (),
    "wasm128": ("-msimd128", "-mbulk-memory"),
}
"""What each kernel set needs the compiler to know."""
EXTRA_FLAGS = {
    "avx512vbmi": "-mavx512vbmi",
    "avx512_bf16": "-mavx512bf16",
    "asimddp": "-march=armv8.2-a+dotprod",
    RELAXED: "-mrelaxed-simd",
}
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


def cmake_text(plan: RowPlan, prefix: str = DEFAULT, example: Sequence[str] = ()) -> str:
    """A CMakeLists.txt: the network as a static library, and a program that shows it an image.

    example: more sources of that program.
    """
    flags = " ".join(machine_flags(plan))
    lines = (
        "cmake_minimum_required(VERSION 3.13)",
        f"project({prefix} C)",
        "if(NOT CMAKE_BUILD_TYPE)",
        "  set(CMAKE_BUILD_TYPE Release)",
        "endif()",
        f"add_library({prefix} STATIC {prefix}.c {prefix}_weights.c)",
        f"set_target_properties({prefix} PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)",
        f"target_include_directories({prefix} PUBLIC ${{CMAKE_CURRENT_SOURCE_DIR}})",
        f"target_compile_options({prefix} PRIVATE -O3 {flags}".rstrip() + ")",
        f"target_link_libraries({prefix} PUBLIC m{' -pthread' if plan.threads > 1 else ''})",
        f"add_executable({' '.join((f'{prefix}_main', 'main.c', *example))})",
        f"target_link_libraries({prefix}_main PRIVATE {prefix})",
    )
    return "\n".join(lines) + "\n"


def in_folder(folder: Path, line: str) -> str:
    """A shell command that is run in a folder."""
    return f"cd {_word(str(folder))} && {line}"


def _word(path: str) -> str:
    """A path as one word of a shell, whatever it is made of, in characters that a terminal shows."""
    if path.startswith("-"):
        path = f"./{path}"
    if path.isprintable():
        return shlex.quote(path)
    letters = ((byte, chr(byte)) for byte in os.fsencode(path))
    shown = (c if c in _PLAIN else f"\\{byte:03o}" for byte, c in letters)
    return f"$'{''.join(shown)}'"
