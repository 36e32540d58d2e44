"""All files of an emitted program's folder."""

from dataclasses import dataclass

from rillet.backends.c.emit import emit
from rillet.backends.c.image import other_inputs
from rillet.backends.c.prefix import DEFAULT, renamed
from rillet.backends.c.project.check import Example, image_files
from rillet.backends.c.project.layouts import (
    LAYOUTS,
    Program,
    cross_line,
    example_header,
    host_line,
    network_name,
    qemu_line,
)
from rillet.backends.c.project.readme import readme
from rillet.errors import Unsupported
from rillet.ir.inputs import sole_input
from rillet.plan.rows.plan import RowPlan

_SOURCES = ("c", "cmake")
"""Layouts in which the program of any machine can be."""


@dataclass(frozen=True, slots=True)
class Project:
    """The folder's files, and the commands that build the example there and run it; empty where other tools do."""

    files: dict[str, str]
    build: str
    run: str


def project(plan: RowPlan, layout: str = "c", prefix: str = DEFAULT, example: Example | None = None) -> Project:
    """The program of a plan in a layout, with an example and a README.md.

    Raises Unsupported for a layout that is for boards alone and a plan for this machine, for a CMSIS pack of a core
    other than Cortex-M, and as `emit` does.
    """
    if plan.host is not None and layout not in _SOURCES:
        raise Unsupported(
            f"{plan.graph.name}: --layout must be one of {', '.join(_SOURCES)} for {plan.host.kernels}, got {layout!r}"
        )
    if layout == "cmsis-pack" and plan.board is not None and plan.board.cortex is None:
        raise Unsupported(
            f"{plan.graph.name}: --layout cmsis-pack must be for a Cortex-M core, got {plan.board.core} of "
            f"{plan.board.name}"
        )
    if layout not in _SOURCES or example is not None:
        sole_input(plan.graph, "for an example" if layout in _SOURCES else f"for --layout {layout}")
    files = emit(plan, prefix=prefix)
    main = files.pop("main.c")
    core = None if plan.board is None or other_inputs(plan) else plan.board.cortex
    if example is not None:
        made = image_files(plan, example)
        files |= {renamed(name, prefix): renamed(text, prefix) for name, text in made.items()}
    if example is not None or core is not None or layout not in _SOURCES:
        files[f"{prefix}_example.h"] = example_header(prefix, example is not None)
        main = main.replace(f'#include "{prefix}.h"', f'#include "{prefix}_example.h"') if example else main
    program = Program(plan, prefix, network_name(plan), files, main)
    written = LAYOUTS[layout](program)
    written["README.md"] = readme(program, layout, example)
    if layout not in _SOURCES:
        return Project(written, "", "")
    if core is None:
        line = host_line(program)
        return Project(written, line, f"{line} && ./{prefix}" + ("" if example else f" {_arrays(plan)}"))
    line = cross_line(program, core)
    return Project(written, line, f"{line} && {qemu_line(core, f'{prefix}.elf')}")


def _arrays(plan: RowPlan) -> str:
    """The files that its main.c takes."""
    others = [f"INPUT{end.upper()}.raw" for end, _ in other_inputs(plan)]
    return " ".join(["INPUT.raw", *others]) if others else "IMAGE.raw"
