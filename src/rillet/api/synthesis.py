"""Synthesis: what the hardware of a chip's plan takes of it, by yosys."""

import difflib
from typing import TYPE_CHECKING

from rillet.api import checks, networks
from rillet.errors import GraphError, TargetError
from rillet.report.progress import Advance, shown
from rillet.targets.families import FAMILIES, Family

if TYPE_CHECKING:
    from rillet.plan.pipeline.plan import PixelPlan
    from rillet.runtime.rtl.synthesis import Synthesis


def synth(made: "PixelPlan", *, stage: str | None = None, progress: Advance | None = None) -> "Synthesis":
    """Synthesises the Verilog of a chip's plan with yosys: look-up tables, registers, multipliers and block RAMs.

    stage: one layer's alone, by its name. progress: called with modules done and all of them. Each distinct module is
    synthesised once, and kept. Raises TargetError for a plan without hardware, or whose chip's file says no family of
    FPGAs, GraphError for a network without weights and for an unknown stage, Unsupported for layers without hardware
    and where yosys is not installed (`rillet[rtl]`), BuildError where it fails.
    """
    from rillet.backends.rtl.emit import design
    from rillet.runtime.rtl.synthesis import synthesise

    plan = checks.pixel_plan(made)
    family = _family(plan)
    _check_stage(plan, stage)
    networks.with_weights(plan.graph)
    with shown("synthesising", progress) as advance:
        return synthesise(plan, design(plan), family, stage=stage, progress=advance)


def _family(plan: "PixelPlan") -> Family:
    machine = plan.machine
    if machine is not None and machine.family is not None:
        return machine.family
    if plan.chip:
        raise TargetError(
            f"{plan.chip}: chip's file must give its family to synthesise for it, one of {', '.join(FAMILIES)}"
        )
    raise TargetError("target must be a chip to synthesise for, as zcu102, zc706, ecp5_85 or ice40_up5k, got none")


def _check_stage(plan: "PixelPlan", stage: str | None) -> None:
    names = [one.node for one in plan.stages]
    if stage is None or stage in names:
        return
    near = difflib.get_close_matches(stage, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {len(names)}, {names[0]} first"
    raise GraphError(f"{plan.graph.name}: stage must be a layer of the pipeline, got {stage!r}; {hint}")
