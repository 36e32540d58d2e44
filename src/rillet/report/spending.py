"""Bar charts of cycles or energy per image: one bar per block, in the colours of its layers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rillet.analyses.energy import Energy, technology_note
from rillet.analyses.systolic import Systolic
from rillet.ir.graph import Graph
from rillet.ir.ops import op_macs
from rillet.report.palette import INK
from rillet.report.picture.axis import Axis
from rillet.report.picture.blocks import Kind, members
from rillet.report.picture.ink import escaped
from rillet.report.picture.layout import LABEL, MARGIN, TEXT
from rillet.report.picture.legend import Legend
from rillet.report.picture.words import engineering, fitted, text_width
from rillet.targets.technology import Technology

WIDTH, TITLE, HEAD = 960.0, 20.0, 118.0
ROW, BAR, MACS, GAP = 21.0, 11.0, 3.0, 58.0
"""Heights: of a row, of its bar, of the share of MACs under it; between two groups of rows."""
NAMES, NUMBERS, SHARE = 270.0, 150.0, 48.0
"""Widths: of the names at most, of the numbers behind the bars, of the shares after them."""


@dataclass(frozen=True, slots=True)
class _Bar:
    label: str
    pieces: tuple[tuple[str, float, str], ...]
    """Colour, value, and what it says when pointed at."""
    number: str
    part: str = ""
    """Its share of the whole."""
    share: float = 0.0
    """Of all MACs, drawn below; 0 for none."""
    band: tuple[float, float] | None = None

    @property
    def value(self) -> float:
        return sum(value for _, value, _ in self.pieces)


@dataclass(frozen=True, slots=True)
class _Group:
    heading: str
    bars: tuple[_Bar, ...]
    whole: float
    """What the shares of MACs are shares of."""


def cycles(graph: Graph, made: Systolic, machine: str) -> str:
    """Cycles of each block on a systolic array, stalls among them, as an SVG document; lengths are in CSS pixels."""
    total = made.cycles + made.stall_cycles
    spent = {layer.name: float(layer.cycles + layer.stall_cycles) for layer in made.layers}
    words = {
        layer.name: f"{layer.name}: {layer.cycles:,} cycles, {layer.stall_cycles:,} stalls, "
        f"{layer.utilisation:.1%} of the array busy"
        for layer in made.layers
    }
    about = (
        f"{machine}: {made.rows}x{made.columns}, {made.dataflow}, convention {made.convention}; {total:,} cycles an "
        f"image, {made.macs / (total * made.rows * made.columns) if total else 0:.1%} of the array busy"
    )
    notes = [
        "cycles: convention exact; a layer waits for DRAM where that is slower" if made.stall_cycles else "",
        "pools, additions and activations take no cycles here",
    ]
    group = _Group("cycles of each block", _blocks(graph, spent, words, total, _count), total)
    return _svg(f"Where the cycles of {graph.name} go", about, (group,), _kinds(graph, spent, "cycles"), notes)


def energy(graph: Graph, found: Energy, technology: Technology) -> str:
    """Energy of each block, and of each kind of work with its band, as an SVG document; lengths are in CSS pixels."""
    spent = {layer.name: layer.uj for layer in found.layers}
    words = {
        layer.name: f"{layer.name}: {_uj(layer.uj)} uJ ({_uj(layer.low_uj)} to {_uj(layer.high_uj)})"
        for layer in found.layers
    }
    about = (
        f"{found.technology}, schedule {found.schedule}, {found.bits} operands, {found.accumulator} sums: "
        f"{_uj(found.total_uj)} uJ an image ({_uj(found.low_uj)} to {_uj(found.high_uj)})"
    )
    parts = tuple(
        _Bar(
            f"{part.name} ({part.by})",
            (("macs", part.uj, f"{part.name}: {part.count:,} {part.unit} by {part.by}, {part.confidence}"),),
            f"{_uj(part.uj)} ({_uj(part.low_uj)}-{_uj(part.high_uj)})",
            band=(part.low_uj, part.high_uj),
        )
        for part in found.parts
    )
    groups = (
        _Group("microjoules of each block", _blocks(graph, spent, words, found.total_uj, _uj), found.total_uj),
        _Group("microjoules of each kind of work, and their bands", parts, 0.0),
    )
    notes = [technology_note(technology), *found.notes]
    return _svg(f"Where the energy of {graph.name} goes", about, groups, _kinds(graph, spent, "energy"), notes)


def _blocks(
    graph: Graph, spent: Mapping[str, float], words: Mapping[str, str], total: float, shown: Callable[[float], str]
) -> tuple[_Bar, ...]:
    """A bar for each block that spends something, its layers in their order."""
    belongs, macs = members(graph), _macs(graph)
    blocks: dict[str, list[str]] = {}
    for node in graph.nodes:
        if spent.get(node.name) or macs[node.name]:
            blocks.setdefault(belongs[node.name][0], []).append(node.name)
    bars: list[_Bar] = []
    for label, names in blocks.items():
        value = sum(spent.get(name, 0.0) for name in names)
        pieces = tuple((belongs[name][1].name.lower(), spent[name], words[name]) for name in names if spent.get(name))
        share = sum(macs[name] for name in names) / (graph.macs or 1)
        bars.append(_Bar(label, pieces, shown(value), f"{value / total if total else 0:.1%}", share))
    return tuple(bars)


def _macs(graph: Graph) -> dict[str, int]:
    return {node.name: op_macs(node.op, graph.input_shapes(node)) for node in graph.nodes}


def _kinds(graph: Graph, spent: Mapping[str, float], what: str) -> list[tuple[Kind, str]]:
    """The kinds of layers, with their shares of what is spent and of MACs."""
    belongs, macs = members(graph), _macs(graph)
    total = sum(spent.values()) or 1.0
    out: list[tuple[Kind, str]] = []
    for kind in Kind:
        names = [name for name, (_, its) in belongs.items() if its is kind]
        part = sum(spent.get(name, 0.0) for name in names) / total
        if part:
            share = sum(macs[name] for name in names) / (graph.macs or 1)
            out.append((kind, f"{kind.value}: {part:.1%} of {what}, {share:.1%} of MACs"))
    return out


def _svg(
    title: str, about: str, groups: Sequence[_Group], kinds: Sequence[tuple[Kind, str]], notes: Sequence[str]
) -> str:
    bottom = HEAD + sum(ROW * len(group.bars) + GAP for group in groups) - GAP
    legend = Legend(INK, WIDTH - MARGIN, bottom + 36)
    for kind, words in kinds:
        legend.swatch(kind.name.lower(), words)
    legend.swatch("params", "below a bar: the block's share of MACs, on the scale of the whole")
    legend.line()
    legend.notes(note for note in notes if note)
    room = WIDTH - 2 * MARGIN
    lines = [
        *INK.head(title, about, WIDTH, legend.y + MARGIN),
        INK.text(MARGIN, MARGIN + 18, fitted(title, TITLE, room, bold=True), TITLE, bold=True),
        INK.text(MARGIN, MARGIN + 39, fitted(about, LABEL, room), LABEL, "soft"),
    ]
    top = HEAD
    for group in groups:
        lines += _group(group, top)
        top += ROW * len(group.bars) + GAP
    return "\n".join([*lines, '<g class="n-legend">', *legend.lines, "</g>", "</svg>"]) + "\n"


def _group(group: _Group, top: float) -> Iterator[str]:
    """A heading, an axis and the bars below it."""
    names = min(NAMES, max((text_width(bar.label, TEXT) for bar in group.bars), default=0.0)) + 8
    left, right, bottom = MARGIN + names, WIDTH - MARGIN - NUMBERS, top + ROW * len(group.bars)
    axis = Axis(0.0, max((_reach(bar, group.whole) for bar in group.bars), default=1.0), left, right)
    yield INK.text(MARGIN, top - 26, group.heading, TEXT, bold=True)
    for tick in axis.ticks():
        x = axis.at(tick)
        yield f'<path {INK.stroke("grid")} d="M{x} {top - 4}V{bottom}"/>'
        yield INK.text(x, top - 8, _tick(tick), TEXT, "soft", "middle")
    for at, bar in enumerate(group.bars):
        yield from _bar(bar, axis, left, top + at * ROW, right, group.whole)


def _reach(bar: _Bar, whole: float) -> float:
    """How far right a bar goes, with its band and its share of MACs."""
    return max(bar.value, bar.share * whole, bar.band[1] if bar.band else 0.0)


def _bar(bar: _Bar, axis: Axis, left: float, top: float, right: float, whole: float) -> Iterator[str]:
    yield INK.text(left - 8, top + 11, fitted(bar.label, TEXT, NAMES), TEXT, "ink", "end")
    at = 0.0
    for colour, value, words in bar.pieces:
        x, end = axis.at(at), axis.at(at + value)
        rect = INK.rect(colour, x, top + 2, end - x, BAR)
        yield f"<g><title>{escaped(words)}</title>{rect}</g>"
        at += value
    if bar.share:
        yield INK.rect("params", left, top + 3 + BAR, axis.at(bar.share * whole) - left, MACS)
    if bar.band:
        low, high, y = axis.at(bar.band[0]), axis.at(bar.band[1]), top + 2 + BAR / 2
        yield f'<path {INK.stroke("band")} d="M{low} {y - 4}V{y + 4}M{low} {y}H{high}M{high} {y - 4}V{y + 4}"/>'
    yield INK.text(right + NUMBERS - (SHARE if bar.part else 0), top + 11, bar.number, TEXT, "ink", "end")
    if bar.part:
        yield INK.text(right + NUMBERS, top + 11, bar.part, TEXT, "soft", "end")


def _tick(value: float) -> str:
    if value < 10_000:
        return f"{value:,g}"
    number, _, prefix = engineering(round(value)).partition(" ")
    return f"{float(number):g} {prefix}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _uj(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
