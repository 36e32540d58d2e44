"""A network as a picture for a slide: SVG with blocks from left to right, in rows that fit a 16:9 page."""

from collections.abc import Iterable, Iterator
from html import escape
from itertools import pairwise

from rillet.ir.graph import Graph
from rillet.report.picture.blocks import Item, Join, Kind, Layer, Outline, outline
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
from rillet.report.picture.slabs import JOIN, SMALL, Spot, Wire
from rillet.report.picture.words import engineering, fitted, legal, text_width

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
SIGNS = {"add": "M-2.5 0H2.5M0 -2.5V2.5", "subtract": "M-2.5 0H2.5", "multiply": "M-1.8 -1.8L1.8 1.8M-1.8 1.8L1.8 -1.8"}
"""What is drawn in the circle of a join."""
FONT = "Arial, Helvetica, 'Liberation Sans', sans-serif"
TITLE, SWATCH, BAR_HEIGHT, CORNER = 20.0, 11.0, 7.0, 8.0
LEGEND_GAP, LEGEND_LINE, NOTE_LINE = 18.0, 18.0, 14.0
LABEL_AT, SHAPE_AT, MACS_AT, PARAMS_AT = 17.0, 32.0, 49.0, 62.0
"""Base lines of the text beneath the slabs of a row."""


def svg(graph: Graph) -> str:
    """The picture of `graph` as an SVG document, light and dark; lengths are in CSS pixels."""
    net = outline(graph)
    layout = lay_out(net)
    legend = _Legend(layout)
    legend.fill(net, layout.arcs)
    width, height = px(layout.width), px(legend.y + MARGIN)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" class="n-net" font-family="{FONT}">',
        f"<title>{escaped(net.name)}</title>",
        f"<desc>{escaped(_totals(net))}</desc>",
        f"<style>\n{style()}</style>",
        f'<rect {fill("paper")} width="{width}" height="{height}"/>',
        *_head(net, layout.width),
        *(_arc(net, layout, arc) for arc in layout.arcs),
        *(line for row in layout.rows for line in _row(net, row)),
        '<g class="n-legend">',
        *legend.lines,
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def style() -> str:
    """The style sheet: colours as variables, light and dark, over the plain light ones that each shape has.

    A viewer that knows no variables, or no style sheets, shows the light picture.
    """
    light, dark = ("".join(f"--n-{name}:{pair[i]};" for name, pair in COLOURS.items()) for i in (0, 1))
    fills = [f".n-{name}{{fill:var(--n-{name})}}" for name in COLOURS]
    strokes = [f".n-{name}{{stroke:var(--n-{colour})}}" for name, (colour, _) in STROKES.items()]
    rules = "\n".join([*fills, *strokes])
    return f"""@supports (--a:0){{
.n-net{{{light}}}
@media (prefers-color-scheme:dark){{.n-net{{{dark}}}}}
{rules}
}}
"""


def fill(name: str) -> str:
    """Attributes of a shape in one of the colours."""
    return f'class="n-{name}" fill="{COLOURS[name][0]}"'


def _stroke(name: str) -> str:
    """Attributes of a line of one of the classes."""
    colour, more = STROKES[name]
    return f'class="n-{name}" fill="none" stroke="{COLOURS[colour][0]}"{more}'


def _totals(net: Outline) -> str:
    inputs = " and ".join(map(str, net.inputs)) or "none"
    return f"input {inputs}, {net.macs:,} MACs, {net.params:,} parameters, {len(net.blocks)} blocks"


def _head(net: Outline, width: float) -> Iterator[str]:
    room = width - 2 * MARGIN
    yield text(MARGIN, MARGIN + 18, fitted(net.name, TITLE, room, bold=True), TITLE, bold=True)
    inputs = " and ".join(map(str, net.inputs)) or "none"
    totals = f"input {inputs}  ·  {engineering(net.macs)} MACs  ·  {engineering(net.params)} parameters"
    yield text(MARGIN, MARGIN + 39, fitted(totals, LABEL, room), LABEL, "soft")


def _row(net: Outline, row: Row) -> Iterator[str]:
    yield f'<g transform="translate(0 {px(row.axis)})">'
    if row.wires:
        yield f'<path {_stroke("wire")} d="{"".join(map(_polyline, row.wires))}"/>'
    for tip in row.tips:
        yield f'<path {fill("line")} d="M{px(tip)} 0l-6 -3.5v7z"/>'
    most = max(block.macs for block in net.blocks), max(block.params for block in net.blocks)
    for cell in row.cells:
        yield from _cell(net, row, cell, most)
    for caption in row.captions:
        yield text(caption.x, caption.y, caption.text, SMALL, "soft", "middle")
    for name, at in (("HxWxC", SHAPE_AT), ("MACs", MACS_AT), ("params", PARAMS_AT)):
        yield text(row.cells[0].left - ARROW - 6, row.down + at, name, SMALL, "soft", "end")
    yield "</g>"


def _cell(net: Outline, row: Row, cell: Cell, most: tuple[int, int]) -> Iterator[str]:
    block, middle, y = cell.block, cell.middle, row.down
    yield f'<g class="n-block"><title>{escaped(_block_words(net, cell))}</title>'
    for i in range(block.start, block.stop):
        yield from _item(net.items[i], row.spots[i])
    yield text(middle, y + LABEL_AT, fitted_label(block), LABEL, "ink", "middle", bold=True)
    yield text(middle, y + SHAPE_AT, str(block.shape), TEXT, "soft", "middle")
    left = middle - (NUMBER + 4 + BAR) / 2 + NUMBER
    for name, value, full, at in (("macs", block.macs, most[0], MACS_AT), ("params", block.params, most[1], PARAMS_AT)):
        yield text(left, y + at, engineering(value), TEXT - 0.5, "ink", "end")
        length = px(bar_length(value, full))
        place = f'x="{px(left + 4)}" y="{px(y + at - BAR_HEIGHT - 0.5)}"'
        yield f'<rect {fill(name)} {place} width="{length}" height="{px(BAR_HEIGHT)}"/>'
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
    x, y, width, height = (px(v) for v in (spot.x, spot.y - spot.height / 2, spot.width, spot.height))
    match item:
        case Layer():
            words = f"{item.name}: {item.about}, output {item.shape}, {item.macs:,} MACs, "
            title = f"<title>{escaped(f'{words}{item.params:,} parameters')}</title>"
            place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
            yield f'<rect {fill(_class(item.kind))} {place} rx="1.5">{title}</rect>'
        case Join(op="concat"):
            title = f"<title>{escaped(item.name)}: concatenation</title>"
            yield f'<rect {fill("soft")} x="{x}" y="{y}" width="{width}" height="{height}" rx="1">{title}</rect>'
        case Join():
            title = f"<title>{escaped(item.name)}: {item.op}</title>"
            yield f'<g transform="translate({px(spot.x + spot.width / 2)} {px(spot.y)})">{title}{_sign(item.op)}</g>'


def _sign(op: str) -> str:
    ink = f'stroke="{COLOURS["ink"][0]}"'
    circle = f'<circle class="n-paper n-sign" fill="{COLOURS["paper"][0]}" {ink} r="{px(JOIN / 2)}"/>'
    return f'{circle}<path {_stroke("sign")} d="{SIGNS[op]}"/>'


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
        forks = f'<circle {fill("ink")} cx="{px(first.x0)}" cy="{px(y)}" r="2"/>'
    return f'<g>{title}<path {_stroke(_arc_class(net, arc))} d="{path}"/>{forks}</g>'


def _arc_class(net: Outline, arc: Arc) -> str:
    return "skip" if arc.skip and net.residual((arc.source, arc.reader)) else "link"


def _arch(piece: Piece, axis: float) -> str:
    """Up, along and down with round corners; an end that lies in another row is open."""
    x0, x1, top = piece.x0, piece.x1, axis + piece.top
    r = min(CORNER, (x1 - x0) / 2)
    path = f"M{px(x0)} {px(top)}"
    if piece.y0 is not None:
        path = f"M{px(x0)} {px(axis + piece.y0)}V{px(top + r)}Q{px(x0)} {px(top)} {px(x0 + r)} {px(top)}"
    if piece.y1 is None:
        return f"{path}H{px(x1)}"
    return f"{path}H{px(x1 - r)}Q{px(x1)} {px(top)} {px(x1)} {px(top + r)}V{px(axis + piece.y1)}"


class _Legend:
    """What colours, signs and sizes mean, in lines as wide as the page."""

    def __init__(self, layout: Layout) -> None:
        self.right = layout.width - MARGIN
        self.x, self.y = MARGIN, layout.bottom + 24
        self.lines: list[str] = []

    def fill(self, net: Outline, arcs: tuple[Arc, ...]) -> None:
        kinds = {item.kind for item in net.items if isinstance(item, Layer)}
        for kind in Kind:
            if kind in kinds:
                size = f'width="{px(SWATCH)}" height="{px(SWATCH)}"'
                mark = f'<rect {fill(_class(kind))} y="{px(1.5 - SWATCH)}" {size} rx="1.5"/>'
                self.entry(mark, SWATCH, kind.value)
        joins = {item.op for item in net.items if isinstance(item, Join)}
        for op in ("add", "subtract", "multiply"):
            if op in joins:
                self.entry(f'<g transform="translate({px(JOIN / 2)} -4)">{_sign(op)}</g>', JOIN, op)
        if "concat" in joins:
            self.entry(f'<rect {fill("soft")} x="3" y="-11" width="3" height="14" rx="1"/>', JOIN, "concatenation")
        arch = "M0 2V-4Q0 -9 5 -9H13Q18 -9 18 -4V2"
        if any(net.residual(skip) for skip in net.skips):
            self.entry(f'<path {_stroke("skip")} d="{arch}"/>', 18, "residual skip")
        if any(_arc_class(net, arc) == "link" for arc in arcs):
            self.entry(f'<path {_stroke("link")} d="{arch}"/>', 18, "read further on")
        self.line()
        self.notes(_scales(net))

    def entry(self, mark: str, size: float, words: str) -> None:
        width = size + 5 + text_width(words, TEXT)
        if self.x > MARGIN and self.x + width > self.right:
            self.line()
        self.lines.append(f'<g transform="translate({px(self.x)} {px(self.y)})">{mark}</g>')
        self.lines.append(text(self.x + size + 5, self.y, words, TEXT))
        self.x += width + LEGEND_GAP

    def notes(self, notes: Iterable[str]) -> None:
        """Notes one behind the other, as many in a line as there is room for."""
        line = ""
        for note in notes:
            longer = f"{line} · {note}" if line else note
            if line and text_width(longer, SMALL) > self.right - MARGIN:
                self.lines.append(text(MARGIN, self.y, line, SMALL, "soft"))
                self.y += NOTE_LINE
                longer = note
            line = longer
        self.lines.append(text(MARGIN, self.y, line, SMALL, "soft"))

    def line(self) -> None:
        self.x = MARGIN
        self.y += LEGEND_LINE


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
    path = f"M{px(points[0][0])} {px(points[0][1])}"
    for (_, y0), (x, y) in pairwise(points):
        path += f"H{px(x)}" if y == y0 else f"V{px(y)}"
    return path


def text(
    x: float, y: float, words: str, size: float, colour: str = "ink", anchor: str = "start", *, bold: bool = False
) -> str:
    """Words in one of the colours; `size` in CSS pixels."""
    place = f'x="{px(x)}" y="{px(y)}" font-size="{px(size)}"'
    weight = ' font-weight="600"' if bold else ""
    anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f"<text {fill(colour)} {place}{weight}{anchored}>{escaped(words)}</text>"


def escaped(words: str) -> str:
    """Words as XML has them."""
    return escape(legal(words))


def px(value: float) -> str:
    """A length in hundredths of CSS pixels, as short as it goes."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
