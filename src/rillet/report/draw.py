"""A drawing of a network for a slide: SVG with blocks from left to right, in rows that fit a 16:9 page."""

from collections.abc import Iterator
from itertools import pairwise

from rillet.ir.graph import Graph
from rillet.report.picture.blocks import Item, Join, Kind, Layer, Outline, outline
from rillet.report.picture.ink import Ink, escaped
from rillet.report.picture.ink import number as _n
from rillet.report.picture.layout import (
    ARROW,
    BAR,
    LABEL,
    MARGIN,
    NUMBER,
    TEXT,
    Arc,
    Cell,
    Layout,
    Piece,
    Row,
    bar_length,
    fitted_label,
    lay_out,
)
from rillet.report.picture.legend import Legend
from rillet.report.picture.slabs import JOIN, SMALL, Spot, Wire
from rillet.report.picture.words import engineering, fitted

COLOURS = {
    "paper": ("#ffffff", "#14181d"),
    "ink": ("#1b2026", "#e8ebef"),
    "soft": ("#57606a", "#a0a9b4"),
    "line": ("#8a939d", "#6e7884"),
    "macs": ("#424a53", "#c3cad3"),
    "params": ("#8a939d", "#7d8793"),
    "conv": ("#1f2fa6", "#3f71ee"),
    "pointwise": ("#1b8deb", "#29a9f9"),
    "depthwise": ("#c67e00", "#ffa013"),
    "row": ("#a93092", "#fdb6e9"),
    "column": ("#461b43", "#a9489f"),
    "dense": ("#a92005", "#bd5034"),
    "pool": ("#8a8d91", "#8b8d91"),
    "excite": ("#508d4d", "#86f2ba"),
    "other": ("#2a2e18", "#c6c06c"),
}
"""Light and dark colours; each is also a class of shapes that it fills.

Those of the kinds were searched for: told apart by every colour vision, and 3:1 against the paper (WCAG 2.1, 1.4.11).
"""
STROKES = {
    "wire": ("line", ""),
    "sign": ("ink", ""),
    "skip": ("ink", ' stroke-width="1.6"'),
    "link": ("soft", ' stroke-width="1.4" stroke-dasharray="4 3"'),
}
"""Classes of lines: their colours, and what else they are."""
SIGNS = {
    "add": "M-2.5 0H2.5M0 -2.5V2.5",
    "subtract": "M-2.5 0H2.5",
    "multiply": "M-1.8 -1.8L1.8 1.8M-1.8 1.8L1.8 -1.8",
    "maximum": "M-2.2 1.4L0 -1.6L2.2 1.4",
    "minimum": "M-2.2 -1.4L0 1.6L2.2 -1.4",
    "divide": "M-1.4 2.4L1.4 -2.4",
    "prelu": "M-2.5 .8L0 0L2 -2",
}
"""What is drawn in the circle of a join."""
INK = Ink("net", COLOURS, STROKES)
TITLE, BAR_HEIGHT, CORNER = 20.0, 7.0, 8.0
LABEL_AT, SHAPE_AT, MACS_AT, PARAMS_AT = 17.0, 32.0, 49.0, 62.0
"""Base lines of the text beneath the slabs of a row."""


def svg(graph: Graph) -> str:
    """The picture of `graph` as an SVG document, light and dark; lengths are in CSS pixels."""
    net = outline(graph)
    layout = lay_out(net)
    legend = Legend(INK, layout.width - MARGIN, layout.bottom + 24)
    _explain(legend, net, layout.arcs)
    lines = [
        *INK.head(net.name, _totals(net), layout.width, legend.y + MARGIN),
        *_head(net, layout.width),
        *(_arc(net, layout, arc) for arc in layout.arcs),
        *(line for row in layout.rows for line in _row(net, row)),
        '<g class="n-legend">',
        *legend.lines,
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _totals(net: Outline) -> str:
    inputs = " and ".join(map(str, net.inputs)) or "none"
    return f"input {inputs}, {net.macs:,} MACs, {net.params:,} parameters, {len(net.blocks)} blocks"


def _head(net: Outline, width: float) -> Iterator[str]:
    room = width - 2 * MARGIN
    yield INK.text(MARGIN, MARGIN + 18, fitted(net.name, TITLE, room, bold=True), TITLE, bold=True)
    inputs = " and ".join(map(str, net.inputs)) or "none"
    totals = f"input {inputs}  ·  {engineering(net.macs)} MACs  ·  {engineering(net.params)} parameters"
    yield INK.text(MARGIN, MARGIN + 39, fitted(totals, LABEL, room), LABEL, "soft")


def _row(net: Outline, row: Row) -> Iterator[str]:
    yield f'<g transform="translate(0 {_n(row.axis)})">'
    if row.wires:
        yield f'<path {INK.stroke("wire")} d="{"".join(map(_polyline, row.wires))}"/>'
    for tip in row.tips:
        yield f'<path {INK.fill("line")} d="M{_n(tip)} 0l-6 -3.5v7z"/>'
    most = max(block.macs for block in net.blocks), max(block.params for block in net.blocks)
    for cell in row.cells:
        yield from _cell(net, row, cell, most)
    for caption in row.captions:
        yield INK.text(caption.x, caption.y, caption.text, SMALL, "soft", "middle")
    for name, at in (("HxWxC", SHAPE_AT), ("MACs", MACS_AT), ("params", PARAMS_AT)):
        yield INK.text(row.cells[0].left - ARROW - 6, row.down + at, name, SMALL, "soft", "end")
    yield "</g>"


def _cell(net: Outline, row: Row, cell: Cell, most: tuple[int, int]) -> Iterator[str]:
    block, middle, y = cell.block, cell.middle, row.down
    yield f'<g class="n-block"><title>{escaped(_block_words(net, cell))}</title>'
    for i in range(block.start, block.stop):
        yield from _item(net.items[i], row.spots[i])
    yield INK.text(middle, y + LABEL_AT, fitted_label(block), LABEL, "ink", "middle", bold=True)
    yield INK.text(middle, y + SHAPE_AT, str(block.shape), TEXT, "soft", "middle")
    left = middle - (NUMBER + 4 + BAR) / 2 + NUMBER
    for name, value, full, at in (("macs", block.macs, most[0], MACS_AT), ("params", block.params, most[1], PARAMS_AT)):
        yield INK.text(left, y + at, engineering(value), TEXT - 0.5, "ink", "end")
        length = _n(bar_length(value, full))
        place = f'x="{_n(left + 4)}" y="{_n(y + at - BAR_HEIGHT - 0.5)}"'
        yield f'<rect {INK.fill(name)} {place} width="{length}" height="{_n(BAR_HEIGHT)}"/>'
    yield "</g>"


def _block_words(net: Outline, cell: Cell) -> str:
    block = cell.block
    macs, params = _share(block.macs, net.macs), _share(block.params, net.params)
    return (
        f"{block.label}: output {block.shape}, {block.macs:,} MACs ({macs} of all), "
        f"{block.params:,} parameters ({params} of all)"
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole if whole else 0:.1%}"


def _item(item: Item, spot: Spot) -> Iterator[str]:
    x, y, width, height = (_n(v) for v in (spot.x, spot.y - spot.height / 2, spot.width, spot.height))
    match item:
        case Layer():
            words = f"{item.name}: {item.about}, output {item.shape}, {item.macs:,} MACs, "
            title = f"<title>{escaped(f'{words}{item.params:,} parameters')}</title>"
            place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
            yield f'<rect {INK.fill(_class(item.kind))} {place} rx="1.5">{title}</rect>'
        case Join(op="concat"):
            title = f"<title>{escaped(item.name)}: concatenation</title>"
            yield f'<rect {INK.fill("soft")} x="{x}" y="{y}" width="{width}" height="{height}" rx="1">{title}</rect>'
        case Join():
            title = f"<title>{escaped(item.name)}: {item.op}</title>"
            yield f'<g transform="translate({_n(spot.x + spot.width / 2)} {_n(spot.y)})">{title}{_sign(item.op)}</g>'


def _sign(op: str) -> str:
    ink = f'stroke="{COLOURS["ink"][0]}"'
    circle = f'<circle class="n-paper n-sign" fill="{COLOURS["paper"][0]}" {ink} r="{_n(JOIN / 2)}"/>'
    return f'{circle}<path {INK.stroke("sign")} d="{SIGNS[op]}"/>'


def _class(kind: Kind) -> str:
    return kind.name.lower()


def _arc(net: Outline, layout: Layout, arc: Arc) -> str:
    source = net.items[arc.source].name if arc.source >= 0 else "input"
    title = f"<title>{escaped(source)} to {escaped(net.items[arc.reader].name)}</title>"
    path = "".join(_arch(piece, layout.rows[piece.row].axis) for piece in arc.pieces)
    forks = ""
    first = arc.pieces[0]
    if first.y0 is not None:
        y = layout.rows[first.row].axis + first.y0
        forks = f'<circle {INK.fill("ink")} cx="{_n(first.x0)}" cy="{_n(y)}" r="2"/>'
    return f'<g>{title}<path {INK.stroke(_arc_class(net, arc))} d="{path}"/>{forks}</g>'


def _arc_class(net: Outline, arc: Arc) -> str:
    return "skip" if arc.skip and net.residual((arc.source, arc.reader)) else "link"


def _arch(piece: Piece, axis: float) -> str:
    """Up, along and down with round corners; an end that lies in another row is open."""
    x0, x1, top = piece.x0, piece.x1, axis + piece.top
    r = min(CORNER, (x1 - x0) / 2)
    path = f"M{_n(x0)} {_n(top)}"
    if piece.y0 is not None:
        path = f"M{_n(x0)} {_n(axis + piece.y0)}V{_n(top + r)}Q{_n(x0)} {_n(top)} {_n(x0 + r)} {_n(top)}"
    if piece.y1 is None:
        return f"{path}H{_n(x1)}"
    return f"{path}H{_n(x1 - r)}Q{_n(x1)} {_n(top)} {_n(x1)} {_n(top + r)}V{_n(axis + piece.y1)}"


def _explain(legend: Legend, net: Outline, arcs: tuple[Arc, ...]) -> None:
    kinds = {item.kind for item in net.items if isinstance(item, Layer)}
    for kind in Kind:
        if kind in kinds:
            legend.swatch(_class(kind), kind.value)
    joins = {item.op for item in net.items if isinstance(item, Join)}
    for op in SIGNS:
        if op in joins:
            legend.entry(f'<g transform="translate({_n(JOIN / 2)} -4)">{_sign(op)}</g>', JOIN, op)
    if "concat" in joins:
        legend.entry(f'<rect {INK.fill("soft")} x="3" y="-11" width="3" height="14" rx="1"/>', JOIN, "concatenation")
    arch = "M0 2V-4Q0 -9 5 -9H13Q18 -9 18 -4V2"
    if any(net.residual(skip) for skip in net.skips):
        legend.entry(f'<path {INK.stroke("skip")} d="{arch}"/>', 18, "residual skip")
    if any(_arc_class(net, arc) == "link" for arc in arcs):
        legend.entry(f'<path {INK.stroke("link")} d="{arch}"/>', 18, "read further on")
    legend.line()
    legend.notes(_scales(net))


def _scales(net: Outline) -> Iterator[str]:
    layers = [item for item in net.items if isinstance(item, Layer)]
    if layers:
        tallest = max((layer.shape for layer in layers), key=lambda shape: shape.pixels)
        yield f"slabs: height by the square root of resolution (tallest {tallest.height}x{tallest.width})"
        yield f"width by the square root of channels (widest {max(layer.channels for layer in layers)})"
    if any(layer.kind is Kind.EXCITE for layer in layers):
        yield "squeeze-and-excite: width by its squeezed channels"
    if net.macs or net.params:
        macs, params = max(b.macs for b in net.blocks), max(b.params for b in net.blocks)
        yield f"longest bars: {_share(macs, net.macs)} of MACs, {_share(params, net.params)} of parameters"
    if any(layer.kernel for layer in layers):
        yield "3x3 /2: kernel and stride"


def _polyline(points: Wire) -> str:
    """A line of horizontal and vertical steps."""
    path = f"M{_n(points[0][0])} {_n(points[0][1])}"
    for (_, y0), (x, y) in pairwise(points):
        path += f"H{_n(x)}" if y == y0 else f"V{_n(y)}"
    return path
