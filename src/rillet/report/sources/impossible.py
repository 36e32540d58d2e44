"""Tables of a fully unrolled network: multipliers and buffers, and the trade-off of buffering against recomputing."""

from collections.abc import Sequence

from rillet.analyses.sources.chips import ChipRow
from rillet.analyses.sources.impossible import Impossible
from rillet.analyses.sources.narrow import Narrow, NarrowOption
from rillet.analyses.sources.recompute import Recompute
from rillet.report.screen import columns
from rillet.report.tables import Table
from rillet.report.text import bytes_text
from rillet.simulation.sweep import HardwareRate, Rate


def impossible_table(found: Impossible) -> Table:
    """The source's rows with both its totals, what each means, and the buffers behind them."""
    names = ("layer", "kind", "points", "weights", "points x weights", "at a quarter", "busy", "line", "skip")
    rows = [
        (
            row.name,
            row.kind,
            f"{row.points[0]}x{row.points[1]}",
            f"{row.weights:,}",
            f"{row.product:,}",
            f"{row.slower:,}",
            _percent(row.slower_busy),
            _or_nothing(row.line_values),
            _or_nothing(row.skip_values),
        )
        for row in found.rows
    ]
    rows.append(
        (
            "total",
            "",
            "",
            f"{found.weights:,}",
            f"{found.total:,}",
            f"{found.slower_total:,}",
            _percent(found.slower_busy),
            f"{found.line_values:,}",
            f"{found.skip_values:,}",
        )
    )
    last = f"{found.last.height}x{found.last.width}"
    cycles, slower = found.interval_cycles, found.slower_interval_cycles
    notes = (
        f"points: of the layer's map for one point of the last map, {last}; points x weights: "
        "multipliers with a weight each that make",
        f"  one such point a cycle: an image in {cycles:,} cycles, all always busy, "
        f"{cycles:,} x {found.total:,} = {found.macs:,} MACs",
        f"at a quarter: an image in {slower:,} cycles; where multipliers of the {last} layers held "
        f"several weights, {found.slower_needed:,} would do, always busy",
        f"weights at {found.weight_bits} bits: {found.total_bytes:,} B, at a quarter {found.slower_bytes:,} B, "
        f"each weight once {found.weights_bytes:,} B",
        "line, skip: values that each layer must hold so that nothing is computed twice: "
        f"{found.buffer_values:,} in all",
    )
    leave = ("kind", "busy", "skip", "line", "at a quarter", "points")
    return Table(columns(names, words=("layer", "kind"), leave=leave), tuple(rows), notes)


def recompute_table(rows: Sequence[Recompute]) -> Table:
    """Cost of no buffering, by layer and tile."""
    names = ("layer", "map", "tile", "tiles", "field", "MACs", "up to here", "network", "reads of a pixel")
    cells = tuple(
        (
            row.node,
            f"{row.grid[0]}x{row.grid[1]}",
            f"{row.tile[0]}x{row.tile[1]}",
            f"{row.tiles:,}",
            f"{row.field[0]}x{row.field[1]}",
            f"{row.macs:,}",
            f"{row.factor:.4f}x",
            f"{row.network_factor:.4f}x",
            f"{row.input_reads_factor:.2f}",
        )
        for row in rows
    )
    notes = (
        "each tile of the layer's map is computed from the image alone; nothing is remembered between tiles",
        "field: pixels of the image that a tile sees; MACs: of the layer and those before it, for all tiles",
        "up to here: beside those MACs with nothing computed twice; network: beside the whole network's, the layers",
        "  behind computing nothing twice; what is behind a squeeze-and-excite or a global pool needs a full tensor",
    )
    leave = ("tiles", "reads of a pixel", "field", "network", "map", "MACs")
    return Table(columns(names, words=("layer",), leave=leave), cells, notes)


def narrow_table(found: Narrow) -> Table:
    """Expansions by the cost of bottleneck buffering, MACs per value saved; each row includes all rows above it."""
    names = ("expansion", "wide", "narrow", "window", "saved", "extra MACs", "MACs a value", "on chip", "MACs")
    values, macs = found.wide_values, found.macs
    rows = [("none", "", "", "", "", "", "", f"{values:,}", "1.0000x")]
    for option in _by_price(found.options):
        values -= option.saved_values
        macs += option.extra_macs
        rows.append(
            (
                option.expansion,
                f"{option.wide_values:,}",
                f"{option.narrow_values:,}",
                f"{option.window_values:,}",
                f"{option.saved_values:,}",
                f"{option.extra_macs:,}",
                f"{option.extra_macs / option.saved_values:,.0f}",
                f"{values:,}",
                f"{macs / found.macs:.4f}x",
            )
        )
    steady = (found.macs + found.extra_macs_steady) / found.macs if found.macs else 1.0
    notes = (
        "wide: values of the expanded map in the line buffer, and of the skip beside it; narrow: of the map before the",
        "  expansion, which serves both; window: of the expanded map still; on chip, MACs: with all lines above",
        f"with all lines {found.narrow_values:,} values of rows and skips, and {found.window_values:,} of windows; no "
        "choice of expansions beats a line",
        f"choices that none beats: {len(found.front)} of 2^{len(found.options)}, "
        f"from {found.front[0].values:,} values to {found.front[-1].values:,}",
        "at a rate that never changes, rows of the padding take their time too: "
        f"{found.extra_macs_steady:,} extra MACs for all, {steady:.4f}x",
    )
    leave = ("window", "MACs a value", "narrow", "wide", "extra MACs", "saved")
    return Table(columns(names, words=("expansion",), leave=leave), tuple(rows), notes)


def rates_table(name: str, rows: Sequence[Rate]) -> Table:
    """Intervals with what they take, and what was measured."""
    names = (
        *("cycles", "multipliers", "used", "by ceiling", "a weight each", "line", "skip", "hold", "for rates"),
        *("latency", "measured", "measured latency", "rings full"),
    )
    cells = tuple(
        (
            f"{row.interval_cycles:,}",
            f"{row.multipliers:,}",
            _percent(row.utilisation),
            f"{row.ceil_multipliers:,}",
            f"{row.unshared_multipliers:,}",
            *(f"{n:,}" for n in (row.line_buffer_values, row.skip_values, row.hold_values, row.fifo_values)),
            f"{row.latency_cycles:,}",
            _or_none(row.measured_interval_cycles),
            _or_none(row.measured_latency_cycles),
            f"{row.rings_full} of {row.rings}",
        )
        for row in rows
    )
    over, stalled = sum(row.rings_over for row in rows), sum(row.stalled_cycles for row in rows)
    notes = (
        f"{name}: cycles an image, and the fewest multipliers for that, each layer folded by divisors; by ceiling: "
        "foldings that need not divide",
        "a weight each: multipliers if none were time-multiplexed over weights",
        "line, skip, hold, for rates: values on chip; hold: tensors buffered for gates",
        "measured: by simulation, between the last two images, and its latency; rings full: once as full as planned",
        f"rings ever fuller than planned: {over}; cycles in which a layer waited for room: {stalled:,}",
    )
    leave = (
        "rings full",
        "by ceiling",
        "latency",
        "a weight each",
        "measured latency",
        "for rates",
        "hold",
        "skip",
        "line",
        "measured",
        "used",
    )
    return Table(columns(names, words=(), leave=leave), cells, notes)


def hardware_table(name: str, rows: Sequence[HardwareRate]) -> Table:
    """What hardware adds to the ideal plan, and what it saves."""
    names = (
        *("cycles", "ideal multipliers", "multipliers", "ideal values", "delayed values", "values"),
        *("ideal latency", "delayed latency", "latency", "measured", "rings full"),
    )
    cells = tuple(
        (
            *(f"{n:,}" for n in (row.interval_cycles, row.ideal_multipliers, row.multipliers)),
            *(f"{n:,}" for n in (row.ideal_values, row.same_values, row.values)),
            *(f"{n:,}" for n in (row.ideal_latency_cycles, row.same_latency_cycles, row.latency_cycles)),
            _or_none(row.measured_latency_cycles),
            f"{row.rings_full} of {row.rings}",
        )
        for row in rows
    )
    kept = all(row.measured_interval_cycles == row.interval_cycles for row in rows)
    stalled = sum(row.stalled_cycles for row in rows)
    notes = (
        f"{name}: cycles an image; multipliers, values of all rings and latency, of hardware beside the ideal",
        "delayed: the ideal's foldings, but results arrive later, take slots as firings begin, a ring for each reader",
        "of hardware: a pixel a firing; taps one at a time, a row or all; words that need not divide the channels",
        f"measured: latency by simulation; intervals {'as planned' if kept else 'missed'}; cycles in which a layer "
        f"waited for room: {stalled:,}",
    )
    leave = (
        *("rings full", "measured", "delayed latency", "delayed values"),
        *("ideal latency", "ideal values", "ideal multipliers"),
    )
    return Table(columns(names, words=(), leave=leave), cells, notes)


def chips_table(name: str, rows: Sequence[ChipRow]) -> Table:
    """The known chips: the best interval on each, or what it lacks."""
    names = (
        "chip",
        "multipliers",
        "MHz",
        "memory",
        "cycles",
        "used",
        "busy",
        "images/s",
        "as hardware",
        "memory used",
        "lacks",
    )
    cells = tuple(
        (
            row.chip,
            f"{row.multipliers:,}",
            f"{row.clock_hz / 1e6:g}",
            _bytes(row.memory_bits),
            _or_none(row.interval_cycles),
            _or_none(row.planned_multipliers),
            "" if row.utilisation is None else _percent(row.utilisation),
            "" if row.images_per_s is None else f"{row.images_per_s:,.1f}",
            "" if row.hardware_images_per_s is None else f"{row.hardware_images_per_s:,.1f}",
            _bytes(row.planned_bits),
            _lacks(row),
        )
        for row in rows
    )
    notes = (
        f"{name}: the fewest cycles an image on each chip, every weight in its place; used: multipliers",
        "busy: share of their cycles with a product; as hardware: images/s of the plan with what hardware adds",
        f"weights, biases and the least rings take {bytes_text(-(-rows[0].needed_bits // 8))}",
    )
    leave = ("as hardware", "memory", "multipliers", "MHz", "busy", "memory used", "used", "cycles")
    return Table(columns(names, words=("chip", "lacks"), leave=leave, wrap=("lacks",)), cells, notes)


def _lacks(row: ChipRow) -> str:
    if row.missing_weights:
        return f"room for {row.missing_weights:,} of {row.weights:,} weights"
    return f"{bytes_text(-(-row.missing_bits // 8))} of memory" if row.missing_bits else row.refused


def _bytes(bits: int | None) -> str:
    return "" if bits is None else f"{-(-bits // 8):,} B"


def _by_price(options: Sequence[NarrowOption]) -> list[NarrowOption]:
    return sorted(options, key=lambda option: option.extra_macs / option.saved_values)


def _or_none(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _or_nothing(value: int) -> str:
    return f"{value:,}" if value else ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
