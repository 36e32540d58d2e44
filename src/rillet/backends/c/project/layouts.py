"""The layouts of an emitted program: from its files and a board to the files of the folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files

from rillet.backends.c.flags import build_line, cmake_text
from rillet.backends.c.names import shown
from rillet.backends.c.prefix import renamed
from rillet.backends.c.project import qemu
from rillet.backends.c.project.boards import PLATFORMIO
from rillet.plan.rows.plan import RowPlan
from rillet.targets.cores import Core

Files = dict[str, str]


@dataclass(frozen=True, slots=True)
class Program:
    """What a layout is made of."""

    plan: RowPlan
    prefix: str
    network: str
    """What the network is called, as it may be shown."""
    files: Mapping[str, str]
    """The program's own: sources, headers and kernels."""
    main: str
    """The main.c of this machine, which reads a file."""

    @property
    def core(self) -> Core | None:
        """The Cortex-M core that it is for; None for another machine."""
        return None if self.plan.board is None else self.plan.board.cortex

    @property
    def sources(self) -> list[str]:
        """What is compiled, the example's image apart."""
        image = f"{self.prefix}_image.c"
        return [name for name in sorted(self.files) if name.endswith((".c", ".S")) and name != image]

    @property
    def example(self) -> list[str]:
        """Sources of the example beside its main."""
        return [name for name in (f"{self.prefix}_image.c",) if name in self.files]

    @property
    def calls_math(self) -> bool:
        """Whether it calls functions of <math.h>."""
        return any("#include <math.h>" in text for text in self.files.values())


def template(name: str, words: Mapping[str, str], prefix: str) -> str:
    """A file of `templates/` with its words and the program's prefix."""
    text = renamed(
        (package_files("rillet.backends.c.project") / "templates" / name).read_text(encoding="utf-8"), prefix
    )
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _words(program: Program) -> dict[str, str]:
    return {"PREFIX": program.prefix, "UPPER": program.prefix.upper(), "NETWORK": program.network}


def example_header(prefix: str, with_image: bool) -> str:
    """net_example.h."""
    include = f'#include "{prefix}_image.h"\n' if with_image else ""
    return template("c/net_example.h", {"INCLUDE_IMAGE": include}, prefix)


def _moved(program: Program, folder: str) -> Files:
    return {f"{folder}{name}": text for name, text in program.files.items()}


def _c(program: Program) -> Files:
    """Sources side by side; for a Cortex-M core with what they need without a C library, and to run in QEMU."""
    found = dict(program.files)
    if program.core is None:
        found["main.c"] = program.main
        return found
    machine = qemu.words(program.core.qemu)
    found["main.c"] = template("c/main_board.c", {}, program.prefix)
    for name in ("freestanding/string.h", "freestanding/memory.c", "qemu/start.c", "qemu/link.ld"):
        found[name] = template(name, machine, program.prefix)
    return found


def _cmake(program: Program) -> Files:
    found, core = _c(program), program.core
    if core is None:
        return found | {"CMakeLists.txt": cmake_text(program.plan, program.prefix, program.example)}
    math = f"target_link_libraries({program.prefix} PUBLIC m)\n" if program.calls_math else ""
    words = _words(program) | {
        "LIBRARY": " ".join(program.sources),
        "EXAMPLE": " ".join(program.example),
        "LIBRARIES": "m c gcc" if program.calls_math else "gcc",
        "LINK_MATH": math,
        "CORE": core.name,
        "FLAGS": " ".join(core.gcc),
    }
    for name in ("CMakeLists.txt", "toolchain.cmake"):
        found[name] = template(f"cmake/{name}", words, "net")
    return found


def _arduino(program: Program) -> Files:
    return {
        **_moved(program, "src/"),
        "library.properties": template("arduino/library.properties", _words(program), "net"),
        "examples/check/check.ino": template("arduino/check.ino", {}, program.prefix),
    }


def _platformio(program: Program) -> Files:
    board = program.plan.board
    known = None if board is None else PLATFORMIO.get(board.key)
    platform, name = known or ("PLATFORM", "BOARD")
    note = "" if known else "; Set platform and board to those of your board.\n"
    words = _words(program) | {"ENV": name.lower(), "PLATFORM": platform, "BOARD": name, "BOARD_NOTE": note}
    return {
        **_moved(program, f"lib/{program.prefix}/src/"),
        f"lib/{program.prefix}/library.json": template("platformio/library.json", words, "net"),
        "platformio.ini": template("platformio/platformio.ini", words, "net"),
        "src/main.cpp": template("arduino/check.ino", {}, program.prefix),
    }


def _zephyr(program: Program) -> Files:
    sources = "\n".join(f"    ../src/{name}" for name in [*program.sources, *program.example])
    core = program.core
    words = _words(program) | {"SOURCES": sources, "FPU": "CONFIG_FPU=y" if core is not None and core.fpu else ""}
    return {
        **_moved(program, "src/"),
        "zephyr/module.yml": template("zephyr/module.yml", words, "net"),
        "zephyr/CMakeLists.txt": template("zephyr/CMakeLists.txt", words, "net"),
        "zephyr/Kconfig": template("zephyr/Kconfig", words, "net"),
        "app/CMakeLists.txt": template("zephyr/app_CMakeLists.txt", words, "net"),
        "app/prj.conf": template("zephyr/prj.conf", words, "net"),
        "app/src/main.c": template("zephyr/main.c", {}, program.prefix),
    }


def _cmsis_pack(program: Program) -> Files:
    kinds = {".c": "sourceC", ".S": "sourceAsm", ".h": "header"}
    lines = [f'        <file category="{kinds[name[-2:]]}" name="src/{name}"/>' for name in sorted(program.files)]
    words = _words(program) | {"NETWORK": _xml(program.network), "FILES": "\n".join(lines)}
    return {
        **_moved(program, "src/"),
        "main.c": template("c/main_board.c", {}, program.prefix),
        f"Rillet.{program.prefix}.pdsc": template("cmsis-pack/pack.pdsc", words, "net"),
    }


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


LAYOUTS: Mapping[str, Callable[[Program], Files]] = {
    "c": _c,
    "cmake": _cmake,
    "arduino": _arduino,
    "platformio": _platformio,
    "zephyr": _zephyr,
    "cmsis-pack": _cmsis_pack,
}
"""By name."""


def cross_line(program: Program, core: Core) -> str:
    """The command that builds the example of a Cortex-M core by hand, for QEMU."""
    words = ["arm-none-eabi-gcc", *core.gcc, "-O3", "-std=c99", "-ffunction-sections", "-fdata-sections"]
    words += [f"-D{program.prefix.upper()}_SEMIHOSTING", "-nostdlib", "-Wl,--gc-sections", "-T", "qemu/link.ld"]
    words += ["-o", f"{program.prefix}.elf", "main.c", *program.sources, *program.example]
    words += ["freestanding/memory.c", "qemu/start.c", *(["-lm", "-lc"] if program.calls_math else []), "-lgcc"]
    return " ".join(words)


def qemu_line(core: Core, elf: str) -> str:
    """The command that runs it."""
    return f"qemu-system-arm -M {core.qemu} -nographic -semihosting -kernel {elf}"


def host_line(program: Program) -> str:
    """The command that builds the program of this machine by hand."""
    line = build_line(program.plan, program.prefix)
    return line.replace(" -lm", f" {program.example[0]} -lm") if program.example else line


def network_name(plan: RowPlan) -> str:
    """What a network is called, in plain characters."""
    return shown(plan.graph.name)
