"""Tables for the terminal, as Markdown and as comma-separated values, from one description."""

import csv as csv_module
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rillet.analyses.sources.tables import AlphaRow, FuseRow
from rillet.models.compare import Compared
from rillet.report.screen import Column, Grid, Screen, columns
from rillet.system.options import at_most_one
from rillet.system.printable import printable

_MARKS = re.compile(r"[\\`*\[\]<>&|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_OPENING = re.compile(r"^(\d*)([#+=-]|(?<=\d)[.)](?!\S))")
"""What Markdown may read as more than itself, within a line and at its beginning."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as people read them, and notes below."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def write(console: Screen, table: Table, *, csv: bool = False, markdown: bool = False) -> None:
    """Prints a table; the notes are left out of comma-separated values. Raises GraphError for two forms at once."""
    at_most_one({"--csv": csv, "--markdown": markdown})
    if csv:
        console.file.write(as_csv(table))
    elif markdown:
        console.file.write(as_markdown(table))
    else:
        console.draw(Grid(table.columns, table.rows))
        for note in table.notes:
            console.print(note)


def as_csv(table: Table) -> str:
    """Comma-separated values, thousands not separated.

    Words that a spreadsheet would compute begin with an apostrophe.
    """
    out = io.StringIO()
    writer = csv_module.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    for row in table.rows:
        cells = zip(table.columns, row, strict=True)
        writer.writerow([_inert(cell) if column.words else cell.replace(",", "") for column, cell in cells])
    return out.getvalue()


def _inert(cell: str) -> str:
    """Words as a spreadsheet takes them for words."""
    cell = printable(cell)
    return f"'{cell}" if re.match(r"\s*[=+@-](?!$)", cell) else cell


def as_markdown(table: Table) -> str:
    """A Markdown table, the notes as lines below."""
    lines = ["| " + " | ".join(column.name for column in table.columns) + " |"]
    lines.append("|" + "|".join("---" if column.words else "---:" for column in table.columns) + "|")
    lines += ["| " + " | ".join(map(_plain, row)) + " |" for row in table.rows]
    if table.notes:
        lines += ["", *(_OPENING.sub(r"\1\\\2", _plain(note)) for note in table.notes)]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKS.sub(r"\\\g<0>", printable(text))


def ratio(value: float, first: float) -> str:
    """A number beside the first of its column: `592,271,744 (1.97x)`; just the number where they are equal."""
    if value == first or not first:
        return f"{value:,}"
    share = value / first
    return f"{value:,} ({share:.2f}x)" if share >= 0.095 else f"{value:,} ({share:.2g}x)"


def comparison(rows: Sequence[Compared], bits: int) -> Table:
    """Networks side by side, with ratios to the first."""
    first = rows[0]
    names = ("network", "MACs", "parameters", "weight bytes", "layer by layer", "streamed", "top-1", "function")
    cells: list[tuple[str, ...]] = []
    for row in rows:
        streamed = "-" if row.streamed_bytes is None else ratio(row.streamed_bytes, first.streamed_bytes or 0)
        cells.append(
            (
                row.name,
                ratio(row.macs, first.macs),
                ratio(row.params, first.params),
                ratio(row.weight_bytes, first.weight_bytes),
                ratio(row.layerwise_bytes, first.layerwise_bytes),
                streamed,
                "-" if row.top1_percent is None else f"{row.top1_percent:g} %",
                row.function or "-",
            )
        )
    notes = [
        f"bytes with weights and activations of {bits} bits; layer by layer and streamed: activations; "
        "streamed: image rows pushed in"
    ]
    sources = {f"{row.top1_data}, {row.top1_source}" for row in rows if row.top1_percent is not None}
    notes += [f"top-1 as printed: {source}" for source in sorted(sources)]
    notes += [f"{row.name}: no streaming plan: {row.streamed_why}" for row in rows if row.streamed_why]
    if any(row.function in ("same", "other") for row in rows):
        notes.append("function: outputs beside the first network's, both with the same seeded weights on a small image")
    leave = ("function", "layer by layer", "weight bytes", "top-1", "streamed")
    return Table(columns(names, words=("network", "function"), leave=leave), tuple(cells), tuple(notes))


def alpha(rows: Sequence[AlphaRow]) -> Table:
    """MobileNetV1 by width and image size."""
    names = ("alpha", "image", "MACs printed", "MACs", "", "params printed", "params", " ", "trainable", "top-1")
    cells = tuple(
        (
            f"{row.width:g}",
            str(row.resolution),
            f"{row.printed_macs_millions:g} M",
            f"{row.macs:,}",
            _mark(row.macs_agree),
            f"{row.printed_params_millions:.2f} M",
            f"{row.params:,}",
            _mark(row.params_agree),
            f"{row.trainable_params:,}",
            f"{row.top1_percent:.1f} %",
        )
        for row in rows
    )
    notes = (
        "params: as the source counts them, 3 numbers a channel of a batch norm; trainable: 2",
        "differs: the true count does not round to the printed number (docs/errata.md)",
        "top-1 on ImageNet as the source prints it",
    )
    leave = ("trainable", "params", " ", "params printed", "top-1")
    return Table(columns(names, words=("", " "), leave=leave), cells, notes)


def fuseconv(rows: Sequence[FuseRow]) -> Table:
    """FuSeConv's networks and variants."""
    names = ("network", "FLOPs printed", "counted", "", "MACs", "params printed", "params", " ", "top-1", "speedup")
    cells = tuple(
        (
            row.model,
            f"{row.printed_flops_millions} M",
            f"{row.flops:,}",
            _mark(row.flops_agree),
            f"{row.macs:,}",
            f"{row.printed_params_millions:.2f} M",
            f"{row.params:,}",
            _mark(row.params_agree),
            f"{row.top1_percent:.2f} %",
            f"{row.printed_speedup:g}x",
        )
        for row in rows
    )
    dead = [row for row in rows if row.params != row.live_params]
    notes = [
        "counted: FLOPs under the source's convention (--convention pthflops); MACs: multiply-accumulates alone",
        "the source cuts its numbers off more often than it rounds them; differs: neither gives what it prints",
        "top-1 on ImageNet and speedup on a 64x64 array as the source prints them",
    ]
    notes += [
        f"{row.model}: {row.params - row.live_params:,} of the parameters are an expansion never used" for row in dead
    ]
    leave = ("MACs", "params", " ", "params printed", "top-1", "speedup")
    return Table(columns(names, words=("network", "", " "), leave=leave), cells, tuple(notes))


def _mark(agree: bool) -> str:
    return "" if agree else "differs"
