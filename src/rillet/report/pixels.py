"""Pipeline plans and their simulations, for the terminal and as records."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rillet.plan.pipeline.claims import Claim
from rillet.plan.pipeline.devices import Device
from rillet.plan.pipeline.plan import PixelPlan, PixelStage, Resource, Use
from rillet.report.screen import Grid, Screen, columns
from rillet.report.text import bytes_text
from rillet.simulation.pipeline import Simulation


def plan_record(made: PixelPlan) -> dict[str, Any]:
    """A pixel plan's numbers, layers, rings and barriers."""
    return {
        "kind": made.kind,
        "graph": made.graph.name,
        "chip": made.chip,
        "clock_hz": made.clock_hz,
        "interval_cycles": made.interval_cycles,
        "images_per_s": made.images_per_s,
        "latency_cycles": made.latency_cycles,
        "multipliers": made.multipliers,
        "elementwise_multipliers": made.elementwise_multipliers,
        "owned_multipliers": made.unshared_multipliers,
        "utilisation": made.utilisation,
        "macs": made.macs,
        "recomputed_macs": made.recomputed_macs,
        "weights": made.weights,
        "weight_copies": made.weight_copies,
        "bits": made.weight_bits,
        "weight_bits": made.resident_bits,
        "line_buffer_values": made.line_buffer_values,
        "skip_values": made.skip_values,
        "hold_values": made.hold_values,
        "fifo_values": made.fifo_values,
        "fork_values": made.fork_values,
        "buffer_bits": made.buffer_bits,
        "memory_bits": made.memory_bits,
        "layers": [_stage_record(stage) for stage in made.stages],
        "buffers": [{**asdict(b), "fifo_pixels": b.fifo_pixels, "values": b.values} for b in made.buffers],
        "narrow": [{"expansion": block.expansion, **asdict(block)} for block in made.narrow],
        "barriers": [asdict(barrier) for barrier in made.barriers],
        "ideal": made.pipeline is None,
        "on_host": made.on_host,
        "uses": [asdict(use) for use in made.uses],
        "bound": made.bound,
        "devices": [asdict(part) for part in made.devices] or None,
    }


def _stage_record(stage: PixelStage) -> dict[str, Any]:
    return {
        **asdict(stage),
        "multipliers": stage.multipliers,
        "elementwise_multipliers": stage.elementwise_multipliers,
        "busy_cycles": stage.busy_cycles,
        "utilisation": stage.utilisation,
        "weight_copies": stage.weight_copies,
        "resident_bits": stage.resident_bits,
    }


def plan_table(console: Screen, made: PixelPlan) -> None:
    """The layers with multipliers and rings, and the totals."""
    names = ("layer", "op", "folding", "multipliers", "busy", "weights", "ring px", "ring values")
    rows: list[tuple[str, ...]] = []
    rings = {buffer.value: buffer for buffer in made.buffers}
    for stage in made.stages:
        folding, ring = stage.folding, rings.get(stage.node)
        parts = [f"{folding.inputs or 1} in", f"{folding.outputs} out", f"{folding.taps} taps", f"{folding.lanes} px"]
        shown = " x ".join(part for part in parts if not part.startswith("1 ")) or "1"
        count = stage.multipliers or stage.elementwise_multipliers
        row = (
            stage.node,
            stage.op,
            shown if count or made.pipeline is not None else "",
            f"{count:,}" if count else "",
            f"{stage.busy_cycles / made.interval_cycles:.0%}",
            f"{stage.weights:,}" if stage.weights else "",
            f"{ring.depth_pixels:,}" if ring else "",
            f"{ring.values:,}" if ring else "",
        )
        rows.append(row)
    leave = ("ring px", "weights", "op", "busy", "folding", "ring values")
    console.draw(Grid(columns(names, words=("layer", "op", "folding"), leave=leave), rows))
    console.print(
        f"{made.graph.name}: {made.multipliers:,} multipliers, {made.utilisation:.1%} used, an image every "
        f"{made.interval_cycles:,} cycles: {made.images_per_s:,.1f} images/s at {made.clock_hz / 1e6:g} MHz, latency "
        f"{made.latency_cycles:,} cycles ({1e3 * made.latency_cycles / made.clock_hz:.3g} ms)"
    )
    for line in _hardware(made):
        console.print(line)
    if made.elementwise_multipliers:
        console.print(f"beside them {made.elementwise_multipliers:,} multipliers of products of two values")
    console.print(
        f"weights {bytes_text(-(-made.resident_bits // 8))}, each brought in once; if each multiplier owned one: "
        f"{made.unshared_multipliers:,} multipliers; without sharing between lanes: {made.weight_copies:,} weights"
    )
    console.print(
        f"rings {bytes_text(-(-made.buffer_bits // 8))}: line buffers {made.line_buffer_values:,} values, skips "
        f"{made.skip_values:,}, tensors buffered for gates {made.hold_values:,}, rate matching {made.fifo_values:,}"
        + (f", second readers {made.fork_values:,}" if made.pipeline is not None else "")
    )
    if made.narrow:
        held = ", ".join(block.block or block.expansion for block in made.narrow)
        console.print(
            f"bottleneck buffering: {held}; recomputes {made.recomputed_macs:,} MACs, "
            f"{1 + made.recomputed_macs / made.macs:.4f}x in all"
        )
    for barrier in made.barriers:
        console.print(
            f"{barrier.node}: holds {barrier.hold_values:,} values; a second pass from {barrier.source} would hold "
            f"{barrier.second_pass_values:,}, and take {barrier.second_pass_macs:,} MACs and "
            f"{barrier.second_pass_multipliers:,} multipliers more"
        )
    if made.devices:
        devices_table(console, made.devices, made.clock_hz)


def _hardware(made: PixelPlan) -> Iterator[str]:
    """What a plan of hardware takes over the ideal."""
    if made.pipeline is not None:
        latencies = [stage.latency_cycles for stage in made.stages]
        yield (
            f"as hardware: results arrive {min(latencies)} to {max(latencies)} cycles behind their firings, each "
            "reader has a ring"
        )
        uses = [_use(use) for use in made.uses]
        bound = next((use.resource for use in made.uses if use.resource == made.bound), None)
        if made.bound and bound is None:
            uses.insert(0, f"bound by {made.bound}")
        yield "; ".join(f"bound by {said}" if bound and said.startswith(bound) else said for said in uses)
    for name in made.on_host:
        yield f"{name} is left to the host"


def _use(use: Use) -> str:
    if use.resource is Resource.MEMORY:
        room = "" if use.room is None else f" of {bytes_text(use.room // 8)}"
        return f"{use.resource} {bytes_text(-(-use.used // 8))}{room}"
    about = "about " if use.resource is Resource.LUTS else ""
    said = f"{use.resource} {about}{use.used:,}" + ("" if use.room is None else f" of {use.room:,}")
    return said + (f", {use.requantising:,} of them to bring sums to bytes" if use.requantising else "")


def devices_table(console: Screen, parts: tuple[Device, ...], clock_hz: float) -> None:
    """A cut over several devices."""
    names = ("device", "from", "to", "multipliers", "weights", "memory", "link to the next")
    rows: list[tuple[str, ...]] = []
    for number, part in enumerate(parts, 1):
        link = f"{part.link_bits_per_s / 1e6:,.1f} Mbit/s" if part.link_bits else ""
        numbers = (f"{part.multipliers:,}", f"{part.weights:,}", bytes_text(-(-part.memory_bits // 8)))
        rows.append((str(number), part.nodes[0], part.nodes[-1], *numbers, link))
    leave = ("weights", "link to the next", "memory")
    console.draw(Grid(columns(names, words=("from", "to"), leave=leave), rows))
    console.print(f"at {clock_hz / 1e6:g} MHz")


def claim_record(claim: Claim) -> dict[str, Any]:
    """A promise and what became of it."""
    planned = claim.planned_cycles
    return {
        **asdict(claim),
        "holds": claim.holds,
        "unbound_images_per_s": claim.clock_hz / claim.unbound_cycles,
        "planned_images_per_s": claim.clock_hz / planned if planned else None,
        "weights_missing": claim.weights_missing,
        "weights_each": claim.weights_each,
        "chips_needed": claim.chips_needed,
    }


def claim_text(console: Screen, claim: Claim) -> None:
    """A promise, what it takes, and the best that is possible."""

    def best(cycles: int) -> str:
        return (
            f"an image every {cycles:,} cycles, {claim.clock_hz / cycles:,.0f} images/s at {claim.clock_hz / 1e6:g} MHz"
        )

    verdict = "can" if claim.holds else "cannot"
    said = [
        f"{claim.chip}: {claim.claimed_images_per_s:,.0f} images/s are promised; of {claim.network} one chip {verdict} "
        "make so many",
        f"  products: {claim.multipliers_needed:,} multipliers for that, always busy; it has {claim.multipliers:,}",
        f"  by multipliers alone: {best(claim.unbound_cycles)}",
    ]
    if claim.weights_missing:
        said.append(
            f"  weights: {claim.weights:,} in room for {claim.weights_held:,}, so {claim.weights_missing:,} have no "
            f"place; {claim.chips_needed} such chips, or {claim.weights_each} a multiplier, would hold them"
        )
    elif claim.weights_held is not None:
        said.append(f"  weights: {claim.weights:,} in room for {claim.weights_held:,}")
    if claim.planned_cycles is not None:
        said.append(f"  as it is: {best(claim.planned_cycles)}")
    for line in said:
        console.print(line)


def simulation_record(made: PixelPlan, found: Simulation) -> dict[str, Any]:
    """What was planned and what was measured."""
    record = asdict(found)
    for key in ("trace", "events", "profile", "bin_cycles"):
        del record[key]
    peaks = record.pop("peaks")
    depths = made.depths
    return {
        "graph": made.graph.name,
        "planned_interval_cycles": made.interval_cycles,
        "planned_latency_cycles": made.latency_cycles,
        "clock_hz": made.clock_hz,
        "memory_bits": made.memory_bits,
        "passed": found.passed,
        **record,
        "rings": [{"value": v, "depth_pixels": depths[v], "peak_pixels": peak} for v, peak in peaks.items()],
    }


def simulation_table(console: Screen, made: PixelPlan, found: Simulation) -> None:
    """The layers' cycles, and the plan's numbers beside the measured ones."""
    names = ("layer", "busy", "starved", "blocked", "weight reads", "waited for")
    rows: list[tuple[str, ...]] = []
    for stage in found.stages:
        waits = {**stage.starved_on, **stage.blocked_on}
        most = max(waits, key=lambda name: waits[name]) if any(waits.values()) else ""
        reads = f"{stage.weight_reads:g}" if stage.weight_reads else ""
        cycles = (f"{n:,}" for n in (stage.busy_cycles, stage.starved_cycles, stage.blocked_cycles))
        rows.append((stage.node, *cycles, reads, most))
    leave = ("weight reads", "waited for", "blocked", "starved")
    console.draw(Grid(columns(names, words=("layer", "waited for"), leave=leave), rows))
    interval, clock = found.interval_cycles or made.interval_cycles, made.clock_hz
    full = sum(found.peaks[name] == depth for name, depth in made.depths.items())
    console.print(
        f"{found.images} images in {found.cycles:,} cycles: interval {found.interval_cycles or 0:,} (planned "
        f"{made.interval_cycles:,}), latency {found.latency_cycles or 0:,} (planned {made.latency_cycles:,})"
    )
    console.print(
        f"at {clock / 1e6:g} MHz: {clock / interval:,.1f} images a second; "
        f"{made.memory_bits:,} bits of weights and rings"
    )
    console.print(
        f"{full} of {len(made.depths)} rings were as full as planned, none fuller; {found.stalled_cycles:,} cycles "
        "blocked; every weight was brought in once"
    )
    for line in found.deadlock:
        console.print(f"deadlock: {line}")
    if found.wrong:
        console.print(f"wrong: {found.wrong}")
