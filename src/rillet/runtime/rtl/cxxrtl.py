"""Designs simulated by CXXRTL, the C++ that yosys writes: a second opinion, from a reader of Verilog of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.runtime.rtl.simulator import OBSERVED, Simulator
from rillet.runtime.rtl.yosys import run, share_of_yosys, yosys_version

if TYPE_CHECKING:
    from rillet.backends.rtl.design import Design

_RUNTIME = Path("include", "backends", "cxxrtl", "runtime")


def find_cxxrtl() -> Simulator:
    """The wheel's yosys, else the system's; raises Unsupported where there is neither."""
    version = yosys_version()

    def translate(design: "Design", work: Path, waves: bool) -> Mapping[str, str]:
        script = f"read_verilog -defer -D {OBSERVED} {' '.join(design.sources)}; hierarchy -top top; "
        # As one function a network takes a compiler minutes; names of signals are for waves alone.
        script += f"write_cxxrtl -noflatten {'' if waves else '-g0 '}-header top.cpp"
        run("yosys", ["-q", "-p", script], work, "CXXRTL")
        return {name: (work / name).read_text(encoding="utf-8") for name in ("top.cpp", "top.h")}

    flags = ("-I.", f"-I{share_of_yosys() / _RUNTIME}")
    return Simulator("CXXRTL", version, "machine_cxxrtl.h", flags, translate, embeds=True)
