"""Views of the records of counts, costs, changes and accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType

from rillet.analyses.count import Count
from rillet.analyses.energy import Energy
from rillet.analyses.explain import Explained, Explanation
from rillet.analyses.systolic import Systolic
from rillet.costs.machines import CostTable
from rillet.costs.remedies import Fits
from rillet.models.compare import Comparison
from rillet.report import cost, counts, energy, fit, live, machines, quantization, sizes, systolic, tables
from rillet.report.screen import Column, Screen
from rillet.report.shown import Shown
from rillet.report.tables import Table
from rillet.runtime.changes import Compressed, QuantizationTable, Quantized, compressed_record, quantized_record
from rillet.runtime.evaluate import Evaluation
from rillet.system.record import View, views
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.catalogue import Target
from rillet.targets.chips import StreamChip
from rillet.targets.host import Host
from rillet.train.records import Trained
from rillet.transforms.live import Live


def drawn(*shown: Table, before: Sequence[str] = ()) -> Shown:
    """Tables, their notes below, and lines before them, as the command line prints them."""

    def show(screen: Screen) -> None:
        for line in before:
            screen.print(line)
        for table in shown:
            tables.write(screen, table)

    return Shown(show)


def count_rows(counted: Count, key: str = "block") -> Table:
    """A row for each layer, or for each block or kind of layers, and the sum."""
    columns = (Column(key, words=True), Column("MACs"), Column("share"), Column("parameters"), Column("activations"))
    rows = [
        (
            layer.name,
            f"{layer.macs:,}",
            f"{layer.macs / counted.macs:.1%}" if counted.macs else "",
            f"{layer.params:,}",
            f"{layer.activations:,}",
        )
        for layer in counts.summed(counted, key)
    ]
    rows.append(("all", f"{counted.macs:,}", "", f"{counted.params:,}", f"{counted.activations:,}"))
    left = ", ".join(f"{u.what} ({u.nodes} x)" for u in counted.uncounted) or "nothing"
    return Table(columns, tuple(rows), (f"{counted.name}, convention {counted.convention}; not counted: {left}",))


def explained_rows(found: Explained) -> Table:
    """A row for each convolution and dense layer."""
    names = ("layer", "work", "multiplications", "weights", "uses of a weight", "pair / standard")
    rows = [
        (
            one.name,
            one.kind,
            f"{one.multiplications:,}",
            f"{one.weights:,}",
            f"{one.uses_of_a_weight:,}",
            "" if one.ratio is None else f"{one.ratio:.4f}",
        )
        for one in found.layers
    ]
    asked = found.demand
    note = f"at {asked.frames_per_second:g} images a second: {asked.macs_per_second / 1e9:.2f} G MACs a second"
    return Table(tuple(Column(name, name in ("layer", "work")) for name in names), tuple(rows), (note,))


def fields(*pairs: tuple[str, str]) -> Table:
    """Names and values, a row each."""
    return Table((Column("", words=True), Column(" ", words=True)), pairs)


def fits_record(found: Fits) -> dict[str, Any]:
    """One board with what would help, or a list of boards."""
    records = [asdict(row) for row in found.rows]
    if len(records) > 1:
        return {"boards": records}
    return {**records[0], "remedies": [asdict(one) for one in found.remedies]}


def fits_tables(found: Fits) -> tuple[Table, ...]:
    """The boards, and what would make the network fit."""
    boards = fit.boards(found.rows)
    return (boards, fit.remedies(found.remedies, found.boards[0])) if found.remedies else (boards,)


def cost_record(found: CostTable) -> dict[str, Any]:
    """What is asked, and a record for each machine."""
    rows = [asdict(one) for one in found.targets]
    return {"model": found.model, "fps": found.fps, "node": found.node, "targets": rows}


def quantized_lines(made: Quantized) -> list[str]:
    """What became of a network, a sentence each."""
    how = "float32"
    if made.rounding is not None:
        how = f"int8, rounding {made.rounding}, {made.calibration} of {made.images} pictures"
    lines = [f"{made.model} in {how}"]
    few = made.few_bits
    if made.bits != "8":
        lines.append(f"{made.bits:8} {few.tensors} tensors: {few.plus:,} +, {few.zero:,} 0, {few.minus:,} -")
    lines.append(f"weights  {made.float_weight_bytes:,} B -> {made.weight_bytes:,} B")
    if made.top1 is not None and made.float_top1 is not None:
        lines.append(_lost(made.float_top1, made.top1))
    if made.file is not None:
        lines.append(f"{made.file}: {made.file_bytes:,} bytes")
    return lines


def compressed_lines(made: Compressed) -> list[str]:
    """Accuracy and file of a compressed network, a sentence each."""
    lines: list[str] = []
    if made.top1_before is not None and made.top1 is not None:
        lines.append(_lost(made.top1_before, made.top1))
    if made.file is not None:
        stored = "32 bits" if made.changed else "its own type"
        lines.append(f"{made.file}: {made.file_bytes:,} bytes, every weight in {stored}")
    return lines


def evaluation_lines(result: Evaluation) -> list[str]:
    """Accuracy, a sentence each."""
    lines = [
        f"{result.model} on {result.data} by {result.backend}: top-1 {result.top1:.2%}, top-5 {result.top5:.2%}",
        f"{result.correct:,} of {result.images:,} pictures right",
    ]
    return [*lines, "every output is the reference's"] if result.checked else lines


def trained_lines(trained: Trained) -> list[str]:
    """What a run came to, a sentence each."""
    lines = [f"{trained.model} on {trained.data}: top-1 {trained.best_top1:.2%} after epoch {trained.best_epoch}"]
    if trained.corrupt:
        lines.append(f"{len(trained.corrupt):,} pictures skipped, the first: {trained.corrupt[0]}")
    if trained.ternary is not None:
        counted = trained.ternary
        lines += [
            f"ternary: {counted.tensors} tensors of {counted.params:,} weights: {counted.plus:,} at +, "
            f"{counted.zero:,} at 0, {counted.minus:,} at -; {counted.other_tensors} tensors of "
            f"{counted.other_params:,} are not",
            f"by their signs alone (signs.rlt): top-1 {trained.signs_top1:.2%}",
        ]
    if trained.rounding is not None:
        lines += [
            f"before training, in integers: top-1 {trained.start_top1:.2%}",
            f"best.rlt is of 8-bit integers, rounding {trained.rounding}; float.rlt has the float32 values behind it",
        ]
    return lines


def _lost(before: float, after: float) -> str:
    return f"top-1    {before:.2%} -> {after:.2%}, {100 * (before - after):.2f} points lost"


def _quantized(made: Quantized) -> RenderableType:
    lines = quantized_lines(made)
    return drawn(*(() if made.layers is None else (quantization.layers(made.layers),)), before=lines)


def _comparison(found: Comparison) -> RenderableType:
    return drawn(tables.comparison(found.networks, found.bits))


def _layer(one: Explanation) -> RenderableType:
    return drawn(fields(*((name, str(value)) for name, value in asdict(one).items() if value not in (None, ()))))


def _count(counted: Count) -> dict[str, Any]:
    return counts.count_record(counted, "block")


def _machine(target: Target) -> RenderableType:
    return drawn(machines.numbers(target), before=(machines.heading(target),))


_TABLES: dict[type, tuple[Callable[[Any], dict[str, Any]], Callable[[Any], RenderableType]]] = {
    Count: (_count, lambda one: drawn(count_rows(one))),
    Explained: (asdict, lambda one: drawn(explained_rows(one))),
    Explanation: (asdict, _layer),
    Comparison: (asdict, _comparison),
    Energy: (asdict, lambda one: drawn(energy.parts(one))),
    Systolic: (asdict, lambda one: drawn(systolic.layers(one))),
    Fits: (fits_record, lambda one: drawn(*fits_tables(one))),
    CostTable: (cost_record, lambda one: drawn(cost.machines(one.targets, one.technology))),
    Quantized: (quantized_record, _quantized),
    QuantizationTable: (
        lambda one: {"model": one.model, "images": one.images, "rows": [asdict(row) for row in one.rows]},
        lambda one: drawn(quantization.comparison(one.rows)),
    ),
    Live: (live.live_record, lambda one: drawn(live.live_table(one))),
    Compressed: (compressed_record, lambda one: drawn(sizes.sizes(one.size), before=compressed_lines(one))),
    Evaluation: (asdict, lambda one: drawn(before=evaluation_lines(one))),
    Trained: (asdict, lambda one: drawn(before=trained_lines(one))),
}
"""The dictionary and the table of each."""
_MACHINES: tuple[type[Target], ...] = (Host, Board, StreamChip, ArrayMachine)
views.update({kind: View(lambda one: machines.record(one.name, one), _machine) for kind in _MACHINES})
views.update({kind: View(to_dict, table) for kind, (to_dict, table) in _TABLES.items()})
