"""Synthesis: what the hardware of a chip's plan takes of it, by yosys."""

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING

from rillet.api import checks, networks
from rillet.errors import GraphError, TargetError
from rillet.report.progress import Advance, shown
from rillet.targets.chips import StreamChip
from rillet.targets.families import FAMILIES, Family

if TYPE_CHECKING:
    from os import PathLike

    from rillet.plan.pipeline.plan import PixelPlan
    from rillet.runtime.rtl.synthesis import Synthesis


def synth(
    made: "PixelPlan",
    *,
    stage: str | None = None,
    place: bool = False,
    by_shape: bool = False,
    kept: bool = False,
    out: "str | PathLike[str] | None" = None,
    progress: Advance | None = None,
) -> "Synthesis":
    """Synthesises the Verilog of a chip's plan with yosys: look-up tables, registers, multipliers and block RAMs.

    stage: one layer's alone, by its name. place: nextpnr places and routes it, for the clock that it reaches, its
    longest path and a bitstream, which is written to `out`. by_shape: of layers that differ in their weights alone one
    stands for all. kept: nothing is synthesised; what was before is counted, and the others are as planned. progress:
    called with modules done and all of them. Each distinct module is synthesised once, and kept. Raises TargetError for
    a plan without hardware, or whose chip's file says no family of FPGAs, GraphError for a network without weights, an
    unknown stage, placing of layers that are not synthesised, and a file for a bitstream that is not made, Unsupported
    for layers without hardware and where yosys is not installed (`rillet[rtl]`), BuildError where it fails.
    """
    from rillet.backends.rtl.emit import design
    from rillet.runtime.rtl.placing import check_placeable
    from rillet.runtime.rtl.placing import place as placed
    from rillet.runtime.rtl.synthesis import synthesise

    plan = checks.pixel_plan(made)
    machine, family = machine_of(plan)
    _check_stage(plan, stage)
    file = None if out is None else checks.path(out, "out")
    if file is not None and (stage is not None or not place):
        raise GraphError(
            "out must be for the bitstream of a whole network that is placed; give --place, and no --stage"
        )
    if place and (by_shape or kept):
        raise GraphError("place must be of layers that are all synthesised; give it without by-shape and kept")
    if place:
        check_placeable(machine, family, stage)
    networks.with_weights(plan.graph)
    with shown("synthesising", progress) as advance:
        hardware = design(plan)
        found = synthesise(plan, hardware, family, stage=stage, by_shape=by_shape, kept_alone=kept, progress=advance)
        if not place or not found.fits:
            return found
        return replace(found, placed=placed(plan, hardware, machine, family, stage, file))


def machine_of(plan: "PixelPlan") -> tuple[StreamChip, Family]:
    """The chip of a plan and its family; raises TargetError where there is none."""
    machine = plan.machine
    if machine is not None and machine.family is not None:
        return machine, machine.family
    if plan.chip:
        raise TargetError(
            f"{plan.chip}: chip's file must give its family to tell what is taken of it, one of {', '.join(FAMILIES)}"
        )
    raise TargetError(
        "target must be a chip whose DSP blocks are known, as zcu102, zc706, ecp5_85 or ice40_up5k, got none"
    )


def _check_stage(plan: "PixelPlan", stage: str | None) -> None:
    names = [one.node for one in plan.stages]
    if stage is None or stage in names:
        return
    near = difflib.get_close_matches(stage, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {len(names)}, {names[0]} first"
    raise GraphError(f"{plan.graph.name}: stage must be a layer of the pipeline, got {stage!r}; {hint}")
