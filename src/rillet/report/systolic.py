"""Systolic arrays and FuSeConv's speedups as tables."""

from collections.abc import Sequence

from rillet.analyses.sources.speedups import PRINTED_ON, SpeedupRow
from rillet.analyses.systolic import Systolic
from rillet.report.screen import columns
from rillet.report.tables import Table

_WORDS = ("layer", "work", "network", "", " ")


def layers(made: Systolic) -> Table:
    """The layers of a network on an array, and their sums in the last row and in the notes."""
    names = ("layer", "work", "MACs", "cycles", "share", "folds", "busy", "inputs read", "weights read", "sums written")
    names += ("sums read", "DRAM bytes", "DRAM B/cycle")
    stalled = made.stall_cycles > 0
    rows = [
        (
            layer.name,
            f"{layer.pixels} lines x {layer.filters}, {layer.depth} taps"
            if layer.lines
            else f"{layer.pixels} x {layer.depth} x {layer.filters}"
            + (f", {layer.groups}x" if layer.groups > 1 else ""),
            f"{layer.macs:,}",
            f"{layer.cycles:,}",
            f"{layer.cycles / made.cycles:.1%}" if made.cycles else "",
            f"{layer.folds:,}",
            f"{layer.utilisation:.1%}",
            f"{layer.input_reads:,}",
            f"{layer.weight_reads:,}",
            f"{layer.output_writes:,}",
            f"{layer.output_reads:,}",
            f"{layer.dram_bytes:,}",
            f"{layer.dram_bytes_per_cycle:.2f}",
            *((f"{layer.stall_cycles:,}",) if stalled else ()),
        )
        for layer in made.layers
    ]
    rows.append(
        (
            "all",
            "",
            f"{made.macs:,}",
            f"{made.cycles:,}",
            "",
            f"{made.folds:,}",
            f"{made.utilisation:.1%}",
            f"{made.input_reads:,}",
            f"{made.weight_reads:,}",
            f"{made.output_writes:,}",
            f"{made.output_reads:,}",
            f"{made.dram_bytes:,}",
            f"{made.dram_bytes / made.cycles:.2f}" if made.cycles else "",
            *((f"{made.stall_cycles:,}",) if stalled else ()),
        )
    )
    names += ("stalls",) if stalled else ()
    notes = (
        f"{made.name} on {made.rows}x{made.columns}, {made.dataflow}, convention {made.convention}, "
        f"hardware {made.hardware}: {made.cycles:,} cycles, {made.utilisation:.1%} of the MACs that fit into them",
        "work: pixels x depth x filters, times the groups; read and written: values, at the edge of the array",
        "DRAM: inputs, weights and outputs, each once; pools, additions and activations take no cycles here",
    )
    leave = ("folds", "DRAM B/cycle", "sums read", "sums written", "weights read", "inputs read", "DRAM bytes")
    leave += ("work", "share", "MACs", "busy", "stalls")
    return Table(columns(names, words=_WORDS, leave=leave), tuple(rows), notes)


def speedups(rows: Sequence[SpeedupRow]) -> Table:
    """FuSeConv's speedups, printed, by its own model, on a plain array, and by exact cycles."""
    side = rows[0].array
    names = (
        "network",
        "printed",
        "by its model",
        "",
        "deviation",
        "cycles",
        "plain array",
        " ",
        "cycles there",
        "exact",
    )
    cells = tuple(
        (
            row.model,
            "" if row.printed is None else f"{row.printed}x",
            f"{row.speedup:.3f}x",
            "differs" if row.agrees is False else "",
            "" if row.deviation_percent is None or row.model == row.baseline else f"{row.deviation_percent:+.1f} %",
            f"{row.cycles:,}",
            f"{row.plain_speedup:.3f}x",
            "slower" if row.plain_speedup < 1 else "",
            f"{row.plain_cycles:,}",
            f"{row.exact_speedup:.3f}x",
        )
        for row in rows
    )
    compared = [row for row in rows if row.agrees is not None and row.model != row.baseline]
    notes = [
        f"{side}x{side}; speedup: the baseline's cycles on a plain array over those of the network",
        "by its model: variants on an array that broadcasts weights to its rows, cycles as the source counts them",
        "plain array: variants on the array of the baselines, cycles as the source counts them",
        "exact: as by its model, but what such arrays take (convention exact)",
    ]
    if compared:
        agree = sum(row.agrees is True for row in compared)
        notes.append(f"{agree} of {len(compared)} printed speedups agree, rounded or cut off (docs/errata.md)")
    else:
        notes.append(f"printed: on an array of {PRINTED_ON}x{PRINTED_ON}")
    leave = ("cycles there", "cycles", "exact", "deviation", "plain array", " ")
    return Table(columns(names, words=_WORDS, leave=leave), cells, tuple(notes))
