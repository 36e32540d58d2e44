"""Simulated hardware beside its plan, for the terminal and as a record."""

from dataclasses import asdict
from typing import Any

from rillet.report.screen import Grid, Screen, columns
from rillet.runtime.rtl.verify import HardwareStage, HardwareVerification


def record(result: HardwareVerification) -> dict[str, Any]:
    """All that was found, and what follows of it."""
    return {
        **asdict(result),
        "firings": result.firings,
        "off_schedule": result.off_schedule,
        "stalled_cycles": result.stalled_cycles,
        "as_planned": result.as_planned,
        "passed": result.passed,
    }


def verification(console: Screen, result: HardwareVerification, every: bool = False) -> None:
    """What was compared; the stages and rings that are not as planned, or every one."""
    stages = result.stages if every else result.other_stages
    rings = result.rings if every else result.other_rings
    if stages:
        _stages(console, stages)
    if rings:
        names = ("ring", "reader", "depth", "peak")
        rows = [(ring.value, ring.reader, f"{ring.depth:,}", f"{ring.peak:,}") for ring in rings]
        console.draw(Grid(columns(names, words=("ring", "reader")), rows))
    for line in _lines(result):
        console.print(line, soft_wrap=True)


def _stages(console: Screen, stages: tuple[HardwareStage, ...]) -> None:
    names = ("layer", "firings", "planned", "off schedule", "stalled", "first")
    rows = [
        (
            stage.node,
            *(f"{n:,}" for n in (stage.firings, stage.planned_firings, stage.off_schedule, stage.stalled_cycles)),
            stage.first_off,
        )
        for stage in stages
    ]
    console.draw(Grid(columns(names, words=("layer", "first"), leave=("first", "planned")), rows))


def _lines(result: HardwareVerification) -> list[str]:
    if result.first_difference is not None:
        said = [f"different: {result.first_difference}; {result.wrong:,} of {result.values:,} bytes wrong"]
    else:
        how = "equal" if result.equal else "incomplete"
        said = [f"{how}: reference = {result.simulator} on {result.images} images, {result.values:,} bytes compared"]
    said += [f"stream: {fault}" for fault in result.stream_faults]
    if result.stalls:
        said.append(
            f"both ends stopped and went at random: {result.stalled_cycles:,} cycles stalled, times not compared"
        )
    else:
        said += [
            f"interval {_cycles(result.interval_cycles)} (planned {result.planned_interval_cycles:,}), latency "
            f"{_cycles(result.latency_cycles)} (planned {result.planned_latency_cycles:,})",
            f"{result.off_schedule:,} of {result.firings:,} firings off schedule, "
            f"{result.stalled_cycles:,} cycles stalled, the input blocked for {result.blocked_cycles:,}",
        ]
    full = sum(ring.peak == ring.depth for ring in result.rings)
    few = "" if result.images >= result.frames or result.stalls else f" (they are after {result.frames} images)"
    said.append(f"{full} of {len(result.rings)} rings as full as they are deep, {_fuller(result)} fuller{few}")
    rate = result.cycles / max(result.run_seconds, 1e-9) / 1e3
    said.append(
        f"built in {result.build_seconds:.1f} s; {result.cycles:,} cycles in {result.run_seconds:.1f} s, the reference "
        f"included ({rate:,.1f} thousand a second)"
    )
    return said


def _fuller(result: HardwareVerification) -> str:
    count = sum(ring.peak > ring.depth for ring in result.rings)
    return f"{count}" if count else "none"


def _cycles(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
