"""Slabs: how large each layer and each part of a block is drawn, and where its pieces stand."""

import math
from dataclasses import dataclass
from itertools import pairwise

from rillet.report.picture.blocks import Item, Join, Layer, Outline
from rillet.report.picture.lanes import Parallel, Part, Series
from rillet.report.picture.words import text_width

TALLEST, WIDEST, WIDEST_CHANNEL = 100.0, 40.0, 4.0
"""Height of the slab of the largest map, width of that of the most channels (and at most for each root of one)."""
THINNEST, LOWEST = 3.0, 5.0
SLAB_GAP, LANE_GAP, FORK = 4.0, 6.0, 8.0
JOIN = 9.0
"""Size of the sign of a join."""
SMALL = 9.5
"""Size of the text of captions."""
CAPTION = SMALL + 2
"""Room beneath a layer for its caption."""

Wire = tuple[tuple[float, float], ...]
"""A polyline of horizontal and vertical steps."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Width of a part, and how far it goes above and below its axis."""

    width: float
    up: float
    down: float


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an item stands: its left edge and the axis it stands on; its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Caption:
    """Text beneath a layer, centred on `x`, on the base line `y`."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Placed:
    """What is being placed, about the axis of a row."""

    spots: dict[int, Spot]
    captions: list[Caption]
    wires: list[Wire]


class Slabs:
    """Sizes and places of slabs: height by the square root of resolution times `stretch`, width by that of channels."""

    def __init__(self, net: Outline, stretch: float) -> None:
        self.items = net.items
        layers = [item for item in net.items if isinstance(item, Layer)]
        self.tall = stretch * TALLEST / max((layer.shape.pixels**0.25 for layer in layers), default=1.0)
        most = max((layer.channels for layer in layers), default=1)
        self.wide = min(WIDEST / math.sqrt(most), WIDEST_CHANNEL)

    def size(self, item: Item) -> tuple[float, float]:
        """Width and height of a slab or sign."""
        if isinstance(item, Join):
            return (JOIN / 3, JOIN * 1.6) if item.op == "concat" else (JOIN, JOIN)
        # The fourth root of height x width is the square root of the side of a square map.
        height = max(LOWEST, self.tall * item.shape.pixels**0.25)
        return max(THINNEST, self.wide * math.sqrt(item.channels)), height

    def extent(self, part: Part) -> Extent:
        """Size of a part that stands for itself, captions included."""
        if isinstance(part, Parallel):
            return self.bare(part)
        return self.series(part if isinstance(part, Series) else Series((part,)))[1]

    def bare(self, part: Part) -> Extent:
        """Size of a part without the caption that belongs beneath it."""
        match part:
            case int():
                width, height = self.size(self.items[part])
                return Extent(width, height / 2, height / 2)
            case Series():
                return self.series(part)[1]
            case Parallel():
                axes, extents = self.lanes(part)
                width = max(e.width for e in extents) + 2 * FORK
                return Extent(width, extents[0].up - axes[0], extents[-1].down + axes[-1])

    def caption(self, part: Part) -> str:
        """Kernel and stride of a layer, or of layers side by side: `3x3 /2`, `1x3+3x1`."""
        parts = part.lanes if isinstance(part, Parallel) else (part,)
        layers = [self.items[p] for p in parts if isinstance(p, int)]
        if len(layers) < len(parts):
            return ""
        kernels = dict.fromkeys(layer.kernel for layer in layers if isinstance(layer, Layer) and layer.kernel)
        strides = dict.fromkeys(layer.stride for layer in layers if isinstance(layer, Layer) and layer.stride)
        return " ".join(["+".join(kernels), *strides]).strip()

    def series(self, series: Series) -> tuple[list[float], Extent, list[float]]:
        """Where the parts begin, so far apart that captions touch nothing; the size of it all; captions' base lines."""
        extents = [self.bare(part) for part in series.parts]
        level = max((e.down for e, p in zip(extents, series.parts, strict=True) if isinstance(p, int)), default=0.0)
        at, free, left, right, down = 0.0, -math.inf, 0.0, 0.0, 0.0
        begins: list[float] = []
        lines: list[float] = []
        for part, inside in zip(series.parts, extents, strict=True):
            caption = self.caption(part)
            wide = text_width(caption, SMALL)
            if not isinstance(part, int):
                wide = max(wide, inside.width)
            if wide:
                at = max(at, free + (wide - inside.width) / 2)
                begin = at + (inside.width - wide) / 2
                free = begin + wide + SLAB_GAP
                left, right = min(left, begin), max(right, begin + wide)
            line = level if isinstance(part, int) else inside.down
            lines.append(line + SMALL)
            down = max(down, inside.down, line + CAPTION if caption else 0.0)
            begins.append(at)
            at += inside.width + SLAB_GAP
        right = max(right, at - SLAB_GAP)
        extent = Extent(right - left, max(e.up for e in extents), down)
        return [begin - left for begin in begins], extent, lines

    def lanes(self, part: Parallel) -> tuple[list[float], list[Extent]]:
        """The axes of the lanes, the first and the last as far above as below the axis of it all."""
        captioned = self.caption(part)
        extents = [self.bare(lane) if captioned else self.extent(lane) for lane in part.lanes]
        axes = [0.0]
        for above, below in pairwise(extents):
            axes.append(axes[-1] + above.down + LANE_GAP + below.up)
        return [axis - axes[-1] / 2 for axis in axes], extents

    def place(self, part: Part, x: float, y: float, into: Placed) -> None:
        """Puts a part that stands for itself with its left edge at `x`, on the axis `y`."""
        if isinstance(part, Parallel):
            self.place_lanes(part, x, y, into)
            return
        series = part if isinstance(part, Series) else Series((part,))
        begins, extent, lines = self.series(series)
        at = x
        for inner, begin, line in zip(series.parts, begins, lines, strict=True):
            width = self.bare(inner).width
            if caption := self.caption(inner):
                into.captions.append(Caption(x + begin + width / 2, y + line, caption))
            if isinstance(inner, int):
                into.spots[inner] = Spot(x + begin, y, *self.size(self.items[inner]))
            else:
                into.wires.append(((at, y), (x + begin, y)))
                self.place(inner, x + begin, y, into)
                at = x + begin + width
        into.wires.append(((at, y), (x + extent.width, y)))

    def place_lanes(self, part: Parallel, x: float, y: float, into: Placed) -> None:
        """Puts lanes between a fork at `x` and where they join."""
        axes, extents = self.lanes(part)
        captioned = self.caption(part)
        right = x + self.bare(part).width
        fork, join = x + FORK / 2, right - FORK / 2
        for lane, axis, inside in zip(part.lanes, axes, extents, strict=True):
            begin, at = (x + right - inside.width) / 2, y + axis
            into.wires.append(((x, y), (fork, y), (fork, at), (begin, at)))
            if captioned and isinstance(lane, int):
                into.spots[lane] = Spot(begin, at, *self.size(self.items[lane]))
            else:
                self.place(lane, begin, at, into)
            into.wires.append(((begin + inside.width, at), (join, at), (join, y), (right, y)))
