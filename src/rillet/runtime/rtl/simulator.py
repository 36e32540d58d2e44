"""From a design to a program that streams images through it: what all simulators have in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.errors import BuildError
from rillet.system.build import build, compiler_facts, find_cxx_compiler, first_error, run_tool
from rillet.system.cache import kept, key_of, workshop

if TYPE_CHECKING:
    from rillet.backends.rtl.design import Design

OBSERVED = "RILLET_OBSERVE"
"""The macro with which a design tells how full its rings have been."""
_FLAGS = ("-O1", "-std=c++17", "-w", "-DNDEBUG")
_JOBS = 2
"""Files compiled at a time: each takes some hundred megabytes."""


@dataclass(frozen=True)
class Simulator:
    """A tool that turns Verilog into C++."""

    name: str
    version: str
    adapter: str
    """The header with its class `machine`, a file of this package."""
    flags: tuple[str, ...]
    """Of the C++ compiler."""
    translate: "Callable[[Design, Path, bool], Mapping[str, str]]"
    """The C++ files of a design that lies in a folder; true for one that can show its waves."""
    embeds: bool
    """True where the contents of memories become part of the program."""


def program_of(design: "Design", simulator: Simulator, *, waves: bool = False) -> Path:
    """The program that simulates a design; from the cache where it was built before.

    Raises BuildError where a tool fails.
    """
    command = find_cxx_compiler()
    # Said there and not to the compiler: what else is compiled is the same with waves and without.
    shows = "#define RILLET_VCD\n" if waves else ""
    own = {"harness.cpp": own_text("harness.cpp"), "machine.h": shows + own_text(simulator.adapter)}
    flags = (*_FLAGS, *simulator.flags)
    read = design.files if simulator.embeds else {name: design.files[name] for name in design.sources}
    texts = [text for pair in sorted(read.items()) for text in pair]
    key = key_of([simulator.name, simulator.version, *compiler_facts(command), *flags, *own.values(), *texts])
    made = kept("programs", key, "")
    if made is not None:
        return made
    with workshop() as work:
        write_into(work, read)
        translated = {**simulator.translate(design, work, waves), **own}
    sources = [name for name in translated if name.endswith(".cpp")]
    return build(command, translated, sources, flags, ("-pthread",), "machine", key=key, jobs=_JOBS)


def write_into(folder: Path, texts: Mapping[str, str]) -> None:
    """Writes a design's files for a tool that runs in this folder."""
    for name, text in texts.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def run_translator(command: list[str], work: Path, what: str, more: Mapping[str, str] | None = None) -> str:
    """What a simulator prints; raises BuildError where it fails."""
    code, said = run_tool(command, work, what=what, more=more)
    if code:
        raise BuildError(f"{what}: {first_error(said)}")
    return said


@cache
def own_text(name: str) -> str:
    """A file of this package."""
    return (files(__name__.rpartition(".")[0]) / name).read_text(encoding="utf-8")
