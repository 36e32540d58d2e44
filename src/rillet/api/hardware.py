"""Hardware: the Verilog of a chip's plan, written as a folder and verified in a simulator."""

from pathlib import Path
from typing import TYPE_CHECKING

from rillet.api import checks, networks
from rillet.plan.options import PlanKind, PlanOptions
from rillet.report.progress import Advance, shown
from rillet.system.options import Uses

if TYPE_CHECKING:
    from os import PathLike

    from rillet.ir.graph import Graph
    from rillet.plan.pipeline.plan import PixelPlan
    from rillet.runtime.rtl.verify import HardwareVerification

IMAGES = 3
"""Images that stream through hardware back to back, where nothing else is said."""
_PROGRAM = "a program (a host or a board)"
VERIFY = Uses(
    {
        _PROGRAM: ("--inputs", "--against", "--live"),
        PlanKind.CHIP: ("--images", "--all", "--stalls", "--vcd", "--simulator"),
    }
)
EMIT = Uses({_PROGRAM: ("--layout", "--prefix"), PlanKind.CHIP: ()})


def is_hardware(said: PlanOptions) -> bool:
    """True for the options of a chip."""
    return said.kind is PlanKind.CHIP


def check(uses: Uses, options: PlanOptions, said: dict[str, object]) -> None:
    """Raises GraphError for an option that does nothing for this kind of machine."""
    uses.check(PlanKind.CHIP if is_hardware(options) else _PROGRAM, said)


def verify_hardware(
    made: "PixelPlan",
    images: int = IMAGES,
    *,
    stalls: bool = False,
    vcd: "str | PathLike[str] | None" = None,
    simulator: str = "verilator",
    progress: Advance | None = None,
) -> "HardwareVerification":
    """Simulates the Verilog of a chip's plan, images back to back, and compares bytes, times and rings.

    stalls: both ends of the stream stop and go at random; then bytes alone are compared. vcd: a file for the waves.
    simulator: `verilator` or `cxxrtl`. progress: called with cycles simulated and planned. Raises TargetError for a
    plan without hardware, GraphError for a network without weights, Unsupported for layers without hardware and where
    no simulator is installed (`rillet[rtl]`), BuildError where a tool fails.
    """
    from rillet.backends.rtl.emit import design
    from rillet.runtime.rtl.verify import verify_hardware as compare

    plan, count = checks.pixel_plan(made), checks.count(images, "images")
    networks.with_weights(plan.graph)
    waves = None if vcd is None else checks.path(vcd, "vcd")
    with shown("simulating", progress) as advance:
        told: Advance = advance
        return compare(plan, design(plan), count, stalls=stalls, waves=waves, simulator=simulator, progress=told)


def folder_of(made: "PixelPlan", image: "Path | None") -> dict[str, str]:
    """The files of a plan's hardware; the testbench streams `image`, or a seeded one, through it."""
    from rillet.backends.rtl.emit import design
    from rillet.backends.rtl.project.write import project

    graph: Graph = networks.with_weights(made.graph)
    return project(made, design(made), _image(graph, image))


def _image(graph: "Graph", image: "Path | None") -> networks.Array:
    if image is not None:
        from rillet.data.images import load_input

        return load_input(image, graph)
    from rillet.runtime.verify import random_inputs

    return next(random_inputs(graph, 1))
