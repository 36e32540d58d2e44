"""The profile of a network by layer, as a table, as a record and as bars."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rillet.bench.profile import LayerTime, Profile
from rillet.report.bench import ceiling_text, machine_text
from rillet.report.draw import TITLE
from rillet.report.palette import INK
from rillet.report.picture.blocks import Kind, kind_of
from rillet.report.picture.ink import escaped
from rillet.report.picture.layout import LABEL, MARGIN, TEXT
from rillet.report.picture.legend import SWATCH
from rillet.report.picture.slabs import SMALL
from rillet.report.picture.words import fitted, text_width
from rillet.report.screen import columns
from rillet.report.tables import Table
from rillet.report.text import node_text

_COLUMNS = columns(
    ("layer", "what", "ms", "share", "", "MACs", "GMAC/s", "of peak", "kB moved", "GB/s", "calls"),
    words=("layer", "what", ""),
    leave=("calls", "GB/s", "kB moved", "", "MACs", "what", "of peak", "GMAC/s", "share"),
)
_BLOCKS = 24
"""Letters of the longest bar in the terminal."""
_NAMES, _BARS, _NUMBERS, _LINE = 190.0, 460.0, 250.0, 19.0
"""Widths of the picture's columns and height of its lines, in CSS pixels."""


def table(found: Profile) -> Table:
    """A row for each layer in the plan's order, their sum, and the whole below."""
    longest = max(layer.ms for layer in found.layers) or 1.0
    rows = [_row(found, layer, longest) for layer in found.layers]
    rows.append(("between layers", "", f"{found.between_ms:.3f}", f"{found.between_ms / found.sum_ms:.1%}", *[""] * 7))
    gmacs, peak = found.graph.macs / found.sum_ms / 1e6, found.ceiling.gmacs(found.precision)
    of_peak = f"{gmacs / peak:.1%}" if peak else "-"
    moved = sum(layer.bytes for layer in found.layers)
    rates = (f"{gmacs:.2f}", of_peak, f"{moved / 1e3:,.1f}", f"{moved / found.sum_ms / 1e6:.2f}")
    rows.append(("sum", "", f"{found.sum_ms:.3f}", "100.0%", "", f"{found.graph.macs:,}", *rates, ""))
    return Table(_COLUMNS, tuple(rows), tuple(_notes(found)))


def record(found: Profile) -> dict[str, Any]:
    """The same as a record."""
    return {
        "model": found.graph.name,
        "precision": found.precision,
        "runs": found.runs,
        "layers": [asdict(layer) for layer in found.layers],
        "between_ms": found.between_ms,
        "sum_ms": found.sum_ms,
        "clocked_ms": found.clocked_ms,
        "whole_ms": found.whole_ms,
        "ceiling": asdict(found.ceiling),
        "machine": asdict(found.machine),
    }


def _notes(found: Profile) -> Iterator[str]:
    count = found.ceiling.threads
    threads = "one thread" if count == 1 else f"{count} threads, by the clocks of the first"
    yield (
        f"whole: {found.whole_ms:.3f} ms; with clocks {found.clocked_ms:.3f} ms, of which the sum is "
        f"{found.sum_ms / found.clocked_ms:.1%}; the fastest quarter of {found.runs} runs, "
        f"{threads}"
    )
    yield "ms: the layer's own, those that it sets off not counted; of peak: of multiply-accumulates alone"
    yield "moved: inputs, output and weights, each once, derived; calls: times that it was asked for a tile"
    yield ceiling_text(found.ceiling)
    yield machine_text(found.machine)


def _row(found: Profile, layer: LayerTime, longest: float) -> tuple[str, ...]:
    return (
        layer.name,
        node_text(found.graph, found.graph.by_name[layer.name]),
        f"{layer.ms:.3f}",
        f"{layer.share:.1%}",
        "█" * round(_BLOCKS * layer.ms / longest),
        f"{layer.macs:,}" if layer.macs else "",
        f"{layer.gmacs:.2f}" if layer.macs else "",
        f"{layer.peak_share:.1%}" if layer.macs and layer.peak_share is not None else "",
        f"{layer.bytes / 1e3:,.1f}",
        f"{layer.gbytes:.2f}",
        f"{layer.calls:,}",
    )


def svg(found: Profile) -> str:
    """The layers as bars of their time, light and dark as the reader's system is; lengths are in CSS pixels."""
    width = 2 * MARGIN + _NAMES + _BARS + _NUMBERS
    top = MARGIN + 92.0
    height = top + _LINE * (len(found.layers) + 1) + MARGIN
    whole = f"{found.whole_ms:.2f} ms an image, {found.sum_ms:.2f} ms with clocks"
    lines = [
        *INK.head(f"{found.graph.name}: time of each layer", whole, width, height),
        INK.text(MARGIN, MARGIN + 18, fitted(found.graph.name, TITLE, width - 2 * MARGIN, bold=True), TITLE, bold=True),
        INK.text(MARGIN, MARGIN + 39, f"{whole}  ·  {found.machine.cpu}  ·  {found.machine.date}", LABEL, "soft"),
        *_legend(found),
        *(line for i, layer in enumerate(found.layers) for line in _bar(found, layer, top + _LINE * i)),
        *_between(found, top + _LINE * len(found.layers)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _kind(found: Profile, layer: LayerTime) -> Kind:
    return kind_of(found.graph, found.graph.by_name[layer.name])


def _legend(found: Profile) -> Iterator[str]:
    """The kinds of layers that are there, and what the numbers are."""
    x, y = MARGIN, MARGIN + 64.0
    kinds = {_kind(found, layer) for layer in found.layers}
    for kind in (kind for kind in Kind if kind in kinds):
        yield INK.rect(kind.name.lower(), x, y - SWATCH + 1.5, SWATCH, SWATCH)
        yield INK.text(x + SWATCH + 5, y, kind.value, TEXT)
        x += SWATCH + 5 + text_width(kind.value, TEXT) + 14
    yield INK.text(MARGIN + _NAMES + _BARS + 8, y + 18, "ms · share · of peak", SMALL, "soft")


def _bar(found: Profile, layer: LayerTime, y: float) -> Iterator[str]:
    node = found.graph.by_name[layer.name]
    peak = f" · {layer.peak_share:.1%}" if layer.macs and layer.peak_share is not None else ""
    words = (
        f"{layer.name}: {node_text(found.graph, node)}, {layer.ms:.3f} ms, {layer.macs:,} MACs, {layer.bytes:,} bytes"
    )
    yield f"<g><title>{escaped(words)}</title>"
    yield from _line(found, layer.name, layer.ms, _kind(found, layer).name.lower(), peak, y)
    yield "</g>"


def _between(found: Profile, y: float) -> Iterator[str]:
    return _line(found, "between layers", found.between_ms, "soft", "", y)


def _line(found: Profile, name: str, ms: float, colour: str, more: str, y: float) -> Iterator[str]:
    longest = max(found.between_ms, *(layer.ms for layer in found.layers)) or 1.0
    length, left, base = _BARS * ms / longest, MARGIN + _NAMES, y + _LINE - 6
    yield INK.text(left - 8, base, fitted(name, TEXT, _NAMES - 8), TEXT, "ink", "end")
    yield INK.rect(colour, left, y + 3, length, _LINE - 5)
    yield INK.text(left + length + 6, base, f"{ms:.3f} · {ms / found.sum_ms:.1%}{more}", SMALL, "soft")
