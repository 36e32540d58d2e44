"""What hardware takes of a chip beside what its plan says, for the terminal and as a record."""

from dataclasses import asdict
from typing import Any

from rillet.report.screen import Grid, Screen, columns
from rillet.runtime.rtl.placed import Placed
from rillet.runtime.rtl.synthesis import Synthesis, SynthesisedStage
from rillet.targets.families import Taken

_NAMES = ("layer", "DSP", "planned", "BRAM", "planned ", "LUT", "about", "registers", "s", "module")


def record(result: Synthesis) -> dict[str, Any]:
    """All that was found, and what follows of it."""
    return {
        **asdict(result),
        "total": asdict(result.total),
        "planned": asdict(result.planned),
        "distinct": result.distinct,
        "lacking": [{"resource": name, "taken": taken, "room": room} for name, taken, room in result.lacking],
        "fits": result.fits,
    }


def synthesis(console: Screen, result: Synthesis) -> None:
    """A row a stage, the whole, and whether it fits the chip."""
    rows = [_row(stage.node, stage.taken, stage.planned, *_made(stage), stage.counted) for stage in result.stages]
    if any(not stage.counted for stage in result.stages):
        rows.append(_row("synthesised", *result.counted, "", ""))
    if result.rest is not None:
        rows.append(_row("between them", result.rest, Taken(), "", ""))
        rows.append(_row("whole", result.total, result.planned, "", ""))
    words = ("layer", "module")
    console.draw(Grid(columns(_NAMES, words=words, leave=("module", "s", "registers")), rows))
    for line in _lines(result):
        console.print(line, soft_wrap=True)


def _row(name: str, taken: Taken, planned: Taken, seconds: str, module: str, counted: bool = True) -> tuple[str, ...]:
    used, about = ((one.multipliers, one.block_rams, one.luts) for one in (taken, planned))
    pairs = zip(used, about, strict=True)
    numbers = [said for one, other in pairs for said in (f"{one:,}" if counted else "", f"{other:,}")]
    return (name, *numbers, f"{taken.registers:,}" if counted else "", seconds, module)


def _made(stage: SynthesisedStage) -> tuple[str, str]:
    if not stage.counted:
        return "", "planned"
    if stage.like != stage.node:
        return "", f"as {stage.like}"
    return f"{stage.seconds:.1f}", "kept" if stage.was_kept else ""


def _lines(result: Synthesis) -> list[str]:
    total = result.total
    rooms = (
        ("DSP", total.multipliers, result.multipliers_room),
        ("BRAM", total.block_rams, result.block_rams_room),
        ("LUT", total.luts, result.luts_room),
    )
    of = [f"{_share(used, room)} {name}" for name, used, room in rooms]
    said = [f"{result.graph} for {result.chip} by {result.tool} ({result.family}): {', '.join(of)}"]
    left = sum(not stage.counted for stage in result.stages)
    if left:
        said.append(
            f"{len(result.stages) - left} of {len(result.stages)} layers were synthesised; {left} are as planned"
        )
    if result.rest is not None:
        said.append(
            f"an image every {result.interval_cycles:,} cycles: {result.clock_hz / result.interval_cycles:,.1f} "
            f"images/s at {result.clock_hz / 1e6:g} MHz (the plan's clock, which synthesis does not prove)"
        )
    if result.placed is not None:
        said += _placed(result.placed)
    short = [f"{used - room:,} {name} too few" for name, used, room in result.lacking]
    if short:
        said.append(f"it does not fit {result.chip}: {', '.join(short)}")
    return said


def _share(used: int, room: int | None) -> str:
    return f"{used:,}" if room is None else f"{used:,} of {room:,}"


def _placed(placed: Placed) -> list[str]:
    """The clock, the longest path, and what is taken as nextpnr counts it."""
    routing = sum(step.ns for step in placed.path if step.kind == "routing")
    whole = sum(step.ns for step in placed.path)
    logic = sum(step.kind == "logic" for step in placed.path)
    cells = ", ".join(f"{used:,} of {room:,} {kind}" for kind, (used, room) in placed.used.items())
    said = [
        f"placed and routed by {placed.tool}: {placed.clock_hz / 1e6:.1f} MHz; {cells}",
        f"longest path {whole:.2f} ns, {routing:.2f} of it wires, through {logic} cells: from {placed.path[0].at} to "
        f"{placed.path[-1].at}",
    ]
    return said + ([f"bitstream of {placed.bitstream_bytes:,} bytes"] if placed.bitstream_bytes is not None else [])
