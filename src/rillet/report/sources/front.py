"""Plot of the Pareto front of recomputing against buffering: values on chip against MACs."""

import math
from collections.abc import Callable, Iterator

from rillet.analyses.sources.narrow import FrontPoint, Narrow
from rillet.report.picture.axis import Axis
from rillet.report.picture.ink import escaped

_WIDTH, _HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 196, 92, 64
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: var(--text); }
.said { paint-order: stroke; stroke: var(--page); stroke-width: 4px; }
.title { font-size: 16px; font-weight: 600; }
.soft { fill: var(--soft); }
.grid { stroke: var(--grid); stroke-width: 1; }
.front { fill: none; stroke: var(--line); stroke-width: 2; }
.corner { fill: var(--line); stroke: var(--page); stroke-width: 1.5; }
.page { fill: var(--page); }
svg { --page: #ffffff; --text: #1f2328; --soft: #59636e; --grid: #e3e6ea; --line: #0969da; }
@media (prefers-color-scheme: dark) {
  svg { --page: #0d1117; --text: #e6edf3; --soft: #9198a1; --grid: #262c36; --line: #58a6ff; }
}
""".strip()


def svg(found: Narrow) -> str:
    """The front of `found` as an SVG of its own, light or dark as the reader's system is; text is text.

    Values held on chip across, MACs beside the network's up; dots are the corners of the convex hull, and each dot says
    in its title which expansions use bottleneck buffering.
    """
    points = found.front
    across = Axis(points[-1].values, points[0].values, _LEFT, _WIDTH - _RIGHT)
    up = Axis(points[0].factor, points[-1].factor, _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escaped(found.name)}: values on chip against MACs</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>',
        f'<text class="title" x="{_LEFT}" y="26">Recompute or remember: {escaped(found.name)}</text>',
        f'<text class="soft" x="{_LEFT}" y="46">{escaped(_caption(found))}</text>',
        *_grid(across, up),
        f'<path class="front" d="{_steps(points, across, up)}"/>',
        *(_corner(point, across, up) for point in points if point.corner),
        *_ends(points, across, up),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _caption(found: Narrow) -> str:
    return f"choices that no other beats: {len(found.front):,} of 2^{len(found.options)}; dots: their convex hull"


def _grid(across: Axis, up: Axis) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for value in up.ticks():
        y = up.at(value)
        yield f'<line class="grid" x1="{_LEFT}" y1="{y}" x2="{right}" y2="{y}"/>'
        yield f'<text class="soft" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{_factor(up.step)(value)}</text>'
    for value in across.ticks():
        x = across.at(value)
        yield f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{bottom}"/>'
        yield f'<text class="soft" x="{x}" y="{bottom + 20}" text-anchor="middle">{value:,.0f}</text>'
    yield f'<text x="{(_LEFT + right) / 2}" y="{bottom + 46}" text-anchor="middle">values held on chip</text>'
    middle = (_TOP + bottom) / 2
    yield (
        f'<text x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">'
        "MACs, beside the network's</text>"
    )


def _factor(step: float) -> Callable[[float], str]:
    digits = max(1, -math.floor(math.log10(step)))
    return lambda value: f"{value:.{digits}f}x"


def _steps(points: tuple[FrontPoint, ...], across: Axis, up: Axis) -> str:
    """From the most values to the least: fewer values are to be had at the next point, not before it."""
    path = f"M{across.at(points[0].values)} {up.at(points[0].factor)}"
    return path + "".join(f"V{up.at(point.factor)}H{across.at(point.values)}" for point in points[1:])


def _corner(point: FrontPoint, across: Axis, up: Axis) -> str:
    buffered = ", ".join(point.narrow) or "none"
    said = f"{point.values:,} values, {point.factor:.4f}x MACs; buffered bottlenecks: {buffered}"
    x, y = across.at(point.values), up.at(point.factor)
    return f'<circle class="corner" cx="{x}" cy="{y}" r="5"><title>{escaped(said)}</title></circle>'


def _ends(points: tuple[FrontPoint, ...], across: Axis, up: Axis) -> Iterator[str]:
    first, last = points[0], points[-1]
    x, y = across.at(first.values), up.at(first.factor)
    yield f'<text class="said" x="{x + 12}" y="{y - 14}">nothing computed twice:</text>'
    yield f'<text class="said" x="{x + 12}" y="{y + 4}">{first.values:,} values</text>'
    if last is not first:
        x, y = across.at(last.values), up.at(last.factor)
        said = f"every bottleneck buffered: {last.values:,} values, {last.factor:.2f}x"
        yield f'<text class="said" x="{x}" y="{y - 12}">{said}</text>'
