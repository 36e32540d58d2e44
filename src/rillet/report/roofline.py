"""The roofline chart: a machine's roof, and a network's layers under it, on logarithmic axes."""

import math
from collections.abc import Iterator

from rillet.costs.roofline import Point, Roofline
from rillet.ir.graph import Graph
from rillet.report.palette import INK
from rillet.report.picture.blocks import Kind, members
from rillet.report.picture.ink import escaped, number
from rillet.report.picture.layout import LABEL, MARGIN, TEXT
from rillet.report.picture.legend import Legend
from rillet.report.picture.words import engineering, fitted

WIDTH, HEIGHT, TITLE = 760.0, 400.0, 20.0
LEFT, RIGHT, TOP = 92.0, 34.0, 84.0
SMALLEST, LARGEST = 2.5, 9.0
"""Radii of the dots of layers."""


class _Log:
    """Powers of ten between two places on the page."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = math.floor(math.log10(low)), math.ceil(math.log10(high))
        self.high = max(self.high, self.low + 1)
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        """The place of a number."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> Iterator[float]:
        """The powers of ten."""
        return (10.0**power for power in range(self.low, self.high + 1))


def svg(graph: Graph, found: Roofline) -> str:
    """The roofline of a machine and `graph` under it as an SVG document; lengths are in CSS pixels."""
    points = [point for point in found.layers if point.ops]
    shown = [*points, found.network]
    ridge = [found.peak_ops_per_s / found.bytes_per_s] if found.bytes_per_s else []
    across = _Log(
        min([p.ops_per_byte for p in shown] + ridge),
        max([p.ops_per_byte for p in shown] + ridge) * 1.5,
        LEFT,
        WIDTH - RIGHT,
    )
    least = [found.least_ops_per_s] if found.least_ops_per_s else []
    rates = [p.ops_per_s for p in shown] + least
    up = _Log(min(rates), max([*rates, found.peak_ops_per_s]) * 1.2, TOP + HEIGHT, TOP)
    belongs = members(graph)
    legend = Legend(INK, WIDTH - MARGIN, TOP + HEIGHT + 68)
    kinds = {belongs[point.name][1] for point in points}
    for kind in (kind for kind in Kind if kind in kinds):
        legend.swatch(kind.name.lower(), kind.value)
    legend.entry(_ring(6, -4), 12, "the whole network")
    legend.line()
    legend.notes(_notes(found))
    room = WIDTH - 2 * MARGIN
    title, about = f"{found.model} under the roof of {found.machine}", _about(found)
    lines = [
        *INK.head(title, about, WIDTH, legend.y + MARGIN),
        INK.text(MARGIN, MARGIN + 18, fitted(title, TITLE, room, bold=True), TITLE, bold=True),
        INK.text(MARGIN, MARGIN + 39, fitted(about, LABEL, room), LABEL, "soft"),
        *_grid(found, across, up),
        *_roof(found, across, up),
        *(_dot(point, belongs[point.name][1], found, across, up) for point in points),
        *_network(found, across, up),
        '<g class="n-legend">',
        *legend.lines,
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _about(found: Roofline) -> str:
    network = found.network
    used = network.ops_per_s / found.peak_ops_per_s
    return (
        f"{_ops(network.ops_per_s)} of {_ops(found.peak_ops_per_s)} ({used:.1%}), "
        f"{_three(network.ops_per_byte)} operations a byte through {found.memory}"
    )


def _notes(found: Roofline) -> Iterator[str]:
    yield "a multiply-accumulate is two operations, a value a byte"
    if found.layers:
        yield "area of a dot: its layer's share of the time"
        yield f"bytes: inputs, weights and outputs of a layer, once through {found.memory}"
    else:
        yield f"bytes: the image and the result, all that passes {found.memory}; dashed: the bandwidth that this takes"
    if found.least_ops_per_s:
        yield "the roofs: the fewest and the most cycles a MAC that are published; a layer has no number of its own"


def _ops(value: float) -> str:
    return f"{engineering(round(value))}op/s"


def _three(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else engineering(round(value))


def _grid(found: Roofline, across: _Log, up: _Log) -> Iterator[str]:
    bottom, right = TOP + HEIGHT, WIDTH - RIGHT
    for tick in across.ticks():
        x = across.at(tick)
        yield f'<path {INK.stroke("grid")} d="M{x} {number(TOP)}V{number(bottom)}"/>'
        yield INK.text(x, bottom + 18, f"{tick:g}" if tick < 1000 else engineering(round(tick)), TEXT, "soft", "middle")
    for tick in up.ticks():
        y = up.at(tick)
        yield f'<path {INK.stroke("grid")} d="M{number(LEFT)} {y}H{number(right)}"/>'
        yield INK.text(LEFT - 8, y + 4, engineering(round(tick)), TEXT, "soft", "end")
    middle = (LEFT + right) / 2
    yield INK.text(middle, bottom + 38, f"operations a byte through {found.memory}", LABEL, "ink", "middle")
    words = INK.text(0, 0, "operations a second", LABEL, "ink", "middle")
    yield f'<g transform="translate({number(MARGIN + 10)} {number(TOP + HEIGHT / 2)}) rotate(-90)">{words}</g>'


def _roof(found: Roofline, across: _Log, up: _Log) -> Iterator[str]:
    right, peak = WIDTH - RIGHT, up.at(found.peak_ops_per_s)
    start = LEFT
    if found.bytes_per_s:
        # The slope begins where it enters the page: at its left edge, or at its bottom.
        first = max(10.0**across.low, 10.0**up.low / found.bytes_per_s)
        x, y = across.at(first), up.at(first * found.bytes_per_s)
        start = across.at(found.peak_ops_per_s / found.bytes_per_s)
        kind = "roof" if found.layers else "need"
        yield f'<path {INK.stroke(kind)} d="M{x} {y}L{start} {peak}"/>'
        words = f"{engineering(round(found.bytes_per_s))}B/s {found.bandwidth}"
        tilt = math.degrees(math.atan2(peak - y, start - x))
        middle = INK.text(0, -6, words, TEXT, "ink", "middle")
        place = f"translate({number((x + start) / 2)} {number((y + peak) / 2)}) rotate({number(tilt)})"
        yield f'<g transform="{place}">{middle}</g>'
    yield f'<path {INK.stroke("roof")} d="M{start} {peak}H{number(right)}"/>'
    yield INK.text(right, peak - 6, f"{_ops(found.peak_ops_per_s)} at most", TEXT, "ink", "end")
    if found.least_ops_per_s:
        y = up.at(found.least_ops_per_s)
        yield f'<path {INK.stroke("need")} d="M{number(LEFT)} {y}H{number(right)}"/>'
        yield INK.text(right, y + 14, f"{_ops(found.least_ops_per_s)} at least", TEXT, "ink", "end")


def _dot(point: Point, kind: Kind, found: Roofline, across: _Log, up: _Log) -> str:
    radius = max(SMALLEST, LARGEST * math.sqrt(point.seconds / max(p.seconds for p in found.layers)))
    place = f'cx="{across.at(point.ops_per_byte)}" cy="{up.at(point.ops_per_s)}" r="{number(radius)}"'
    title = f"<title>{escaped(_words(point))}</title>"
    return f'<circle {INK.fill(kind.name.lower())} fill-opacity="0.75" {place}>{title}</circle>'


def _network(found: Roofline, across: _Log, up: _Log) -> Iterator[str]:
    point = found.network
    x, y = across.at(point.ops_per_byte), up.at(point.ops_per_s)
    yield f"<g><title>{escaped(_words(point))}</title>{_ring(x, y)}</g>"


def _ring(x: float, y: float) -> str:
    return f'<circle {INK.stroke("roof")} cx="{number(x)}" cy="{number(y)}" r="6"/>'


def _words(point: Point) -> str:
    return (
        f"{point.name}: {_three(point.ops_per_byte)} operations a byte, {_ops(point.ops_per_s)}, {point.seconds:.3g} s"
    )
