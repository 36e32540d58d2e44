"""The timeline of a simulated pipeline: layers down, cycles across, and each layer's memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from rillet.plan.pipeline.plan import PixelBuffer, PixelPlan, PixelStage
from rillet.report.picture.axis import Axis
from rillet.report.picture.ink import Ink, escaped
from rillet.report.picture.ink import number as _n
from rillet.report.picture.layout import LABEL, MARGIN, TEXT
from rillet.report.picture.legend import Legend
from rillet.report.picture.slabs import SMALL
from rillet.report.picture.words import engineering, fitted, text_width
from rillet.simulation.pipeline import Activity, Simulation

BINS = 240
"""Parts of the time that the picture tells apart: simulate(..., bins=BINS)."""
INK = Ink(
    "pipeline",
    {
        "paper": ("#ffffff", "#14181d"),
        "ink": ("#1b2026", "#e8ebef"),
        "soft": ("#57606a", "#a0a9b4"),
        "odd": ("#1f2fa6", "#3f71ee"),
        "even": ("#1b8deb", "#86c8ff"),
        "starved": ("#d9dee4", "#333b45"),
        "blocked": ("#c0210c", "#ff6a52"),
        "weights": ("#57606a", "#a0a9b4"),
        "line": ("#c67e00", "#ffa013"),
        "skip": ("#a93092", "#fdb6e9"),
        "hold": ("#508d4d", "#86f2ba"),
        "rates": ("#8a8d91", "#8b8d91"),
    },
    {"grid": ("soft", ' stroke-width="0.5" stroke-opacity="0.35"'), "out": ("ink", ' stroke-dasharray="4 3"')},
)
ROW, STRIP = 13.0, 10.0
"""Heights of a layer: with the gap to the next, and of its colours."""
LEVELS, LEAST = 20, 2
"""Heights of a colour that are told apart, and the least that can be seen."""
NAMES, TIME, GAP = 132.0, 720.0, 22.0
"""Widths: of the names at most, of the time, between the parts of the page."""
BAR, NUMBER = 110.0, 46.0
"""Widths of the longest bar of memory, and of the number before it."""
TITLE, HEAD, FOOT = 20.0, 112.0, 40.0
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_PARTS = (
    ("line", "line buffer"),
    ("skip", "lag of a skip or branch"),
    ("hold", "full tensor, until its gate is known"),
    ("rates", "for the rates of writer and readers"),
)


def svg(plan: PixelPlan, found: Simulation) -> str:
    """The plan and its simulation as an SVG document, light and dark; lengths are in CSS pixels.

    `found` must have a profile, by simulate(plan, images, bins=BINS).
    """
    page = _Page(plan, found)
    legend = Legend(INK, page.right, page.bottom + FOOT + 24)
    page.explain(legend)
    lines = [
        *INK.head(page.title, page.summary, page.right + MARGIN, legend.y + MARGIN),
        *page.head(),
        *page.grid(),
        *page.rows(),
        *page.ends(),
        '<g class="n-legend">',
        *legend.lines,
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


class _Page:
    def __init__(self, plan: PixelPlan, found: Simulation) -> None:
        self.plan, self.found = plan, found
        self.inputs = [node.name for node in plan.graph.input_nodes]
        names = [*self.inputs, *(stage.node for stage in plan.stages)]
        self.left = MARGIN + min(NAMES, max(text_width(name, TEXT) for name in names)) + 8
        # A machine that deadlocks ends before the planned time, one that stalls for a while behind it.
        self.cycles = max(found.cycles, (found.profile.shape[1] - 1) * found.bin_cycles + 1)
        self.axis = Axis(0, self.cycles, self.left, self.left + TIME)
        self.weights_at = self.left + TIME + GAP
        self.rings_at = self.weights_at + NUMBER + BAR + GAP
        self.right = self.rings_at + NUMBER + BAR
        self.bottom = HEAD + ROW * len(names)
        images = f"{found.images} images" if found.images > 1 else "one image"
        self.title = f"{plan.graph.name}: {images} through the pipeline"
        self.summary = "  ·  ".join(_facts(plan, found))

    def head(self) -> Iterator[str]:
        room = self.right - MARGIN
        yield INK.text(MARGIN, MARGIN + 18, fitted(self.title, TITLE, room, bold=True), TITLE, bold=True)
        yield INK.text(MARGIN, MARGIN + 39, fitted(self.summary, LABEL, room), LABEL, "soft")
        yield INK.text(self.left, HEAD - 30, "cycles", TEXT, bold=True)
        yield INK.text(self.weights_at, HEAD - 30, "weights and biases, bits", TEXT, bold=True)
        yield INK.text(self.rings_at, HEAD - 30, "ring behind, values", TEXT, bold=True)

    def grid(self) -> Iterator[str]:
        """Cycles above, time below."""
        for tick in self.axis.ticks():
            x = self.axis.at(tick)
            yield f'<path {INK.stroke("grid")} d="M{_n(x)} {_n(HEAD - 6)}V{_n(self.bottom + 4)}"/>'
            yield INK.text(x, HEAD - 11, f"{tick:,.0f}", SMALL, "soft", "middle")
        seconds = self.cycles / self.plan.clock_hz
        scale, unit = _unit(seconds)
        time = Axis(0, seconds / scale, self.axis.start, self.axis.end)
        for tick in time.ticks():
            x = time.at(tick)
            yield f'<path {INK.stroke("out")} stroke-width="0.5" d="M{_n(x)} {_n(self.bottom + 2)}v4"/>'
            yield INK.text(x, self.bottom + 18, f"{tick:.4g}", SMALL, "soft", "middle")
        words = f"{unit} at {self.plan.clock_hz / 1e6:g} MHz"
        yield INK.text(self.left, self.bottom + 34, words, TEXT, bold=True)

    def rows(self) -> Iterator[str]:
        rings = {buffer.value: buffer for buffer in self.plan.buffers}
        heaviest = max(stage.resident_bits for stage in self.plan.stages)
        largest = max(buffer.values for buffer in self.plan.buffers)
        y = HEAD
        for name in self.inputs:
            yield f"<g><title>{escaped(name)}: pixels come at one pace, image after image</title>"
            yield self._name(name, y)
            for image in range(self.found.images):
                begin, end = (self.axis.at(self.plan.interval_cycles * (image + i)) for i in (0, 1))
                yield INK.rect(_colour(image), begin, y, end - begin, STRIP)
            yield from self._ring(rings.get(name), y, largest)
            yield "</g>"
            y += ROW
        for at, (stage, seen) in enumerate(zip(self.plan.stages, self.found.stages, strict=True)):
            yield f"<g><title>{escaped(_words(stage, seen, rings.get(stage.node)))}</title>"
            yield self._name(stage.node, y)
            yield from self._activity(self.found.profile[at], y)
            if stage.resident_bits:
                yield from self._amount(stage.resident_bits, self.weights_at, y)
                width = BAR * stage.resident_bits / heaviest
                yield INK.rect("weights", self.weights_at + NUMBER, y + 1, max(width, 0.5), STRIP - 2)
            yield from self._ring(rings.get(stage.node), y, largest)
            yield "</g>"
            y += ROW

    def _name(self, name: str, y: float) -> str:
        return INK.text(self.left - 8, y + STRIP - 1, fitted(name, TEXT, NAMES), TEXT, anchor="end")

    def _activity(self, profile: npt.NDArray[np.int64], y: float) -> Iterator[str]:
        """Areas over each other, the largest first, so that no seams show between them."""
        edges = np.append(np.arange(len(profile)) * self.found.bin_cycles, self.cycles)
        places = [self.axis.at(float(cycle)) for cycle in edges]
        starved, blocked, *busy = profile.T
        kinds = [*((_colour(i), cycles) for i, cycles in enumerate(busy)), ("blocked", blocked), ("starved", starved)]
        totals = np.cumsum([cycles for _, cycles in kinds], axis=0)
        levels = np.rint(totals / np.diff(edges) * LEVELS).clip(LEAST) * (totals > 0)
        for (name, cycles), shown in reversed(list(zip(kinds, levels.astype(int).tolist(), strict=True))):
            if cycles.any():
                yield f'<path {INK.fill(name)} d="{_steps(shown, places, y)}"/>'

    def _amount(self, count: int, x: float, y: float) -> Iterator[str]:
        yield INK.text(x + NUMBER - 5, y + STRIP - 1, engineering(count), SMALL, "ink", "end")

    def _ring(self, ring: PixelBuffer | None, y: float, largest: int) -> Iterator[str]:
        if ring is None:
            return
        yield from self._amount(ring.values, self.rings_at, y)
        x, scale = self.rings_at + NUMBER, BAR * ring.channels / largest
        for name, pixels in _shares(ring):
            if pixels:
                yield INK.rect(name, x, y + 1, max(pixels * scale, 0.5), STRIP - 2)
                x += pixels * scale

    def ends(self) -> Iterator[str]:
        """Where each image is out."""
        for end in self.found.ends:
            x = _n(self.axis.at(end))
            yield f'<path {INK.stroke("out")} d="M{x} {_n(HEAD - 6)}V{_n(self.bottom + 4)}"/>'

    def explain(self, legend: Legend) -> None:
        """The legend."""
        images = self.found.images
        legend.swatch("odd", "busy with the first image")
        if images > 1:
            legend.swatch("even", "with the second image" if images == 2 else "with the next, and so on in turn")
        legend.swatch("starved", "starved: waits for pixels")
        stalled = self.found.stalled_cycles
        legend.swatch("blocked", "blocked: waits for room" + ("" if stalled else " (none does)"))
        legend.entry(f'<path {INK.stroke("out")} d="M0 -4H20"/>', 20, "an image is out")
        legend.line()
        legend.swatch("weights", "weights and biases, which stay")
        for name, words in _PARTS:
            if any(dict(_shares(ring))[name] for ring in self.plan.buffers):
                legend.swatch(name, words)
        legend.line()
        legend.notes(
            (
                "height of a colour: its share of the cycles",
                "ring: the pixels of what the layer makes, until the last reader is done with them",
                f"longest bars: {engineering(max(s.resident_bits for s in self.plan.stages))} bits of weights, "
                f"{engineering(max(b.values for b in self.plan.buffers))} values of a ring",
            )
        )


def _facts(plan: PixelPlan, found: Simulation) -> Iterator[str]:
    yield f"an image every {plan.interval_cycles:,} cycles: {plan.images_per_s:,.1f} a second"
    if found.latency_cycles is not None:
        scale, unit = _unit(found.latency_cycles / plan.clock_hz)
        time = found.latency_cycles / plan.clock_hz / scale
        yield f"the first is out {found.latency_cycles:,} cycles ({time:.3g} {unit}) after its first pixel came"
    yield f"{plan.multipliers:,} multipliers, {plan.utilisation:.1%} used"
    yield f"{plan.weight_bits}-bit weights"


def _words(stage: PixelStage, seen: Activity, ring: PixelBuffer | None) -> str:
    count = stage.multipliers + stage.elementwise_multipliers
    said = f"{stage.node}: {stage.op}, {count:,} multipliers, {seen.busy_cycles:,} cycles busy, "
    said += f"{seen.starved_cycles:,} starved, {seen.blocked_cycles:,} blocked"
    if stage.resident_bits:
        said += f"; weights and biases {stage.resident_bits:,} bits"
    if ring is not None:
        said += f"; ring of {ring.depth_pixels:,} pixels, {ring.values:,} values"
    return said


def _colour(image: int) -> str:
    return "even" if image % 2 else "odd"


def _shares(ring: PixelBuffer) -> Iterator[tuple[str, int]]:
    """The pixels of a ring by what they are for; together its depth."""
    left = ring.depth_pixels
    for name, pixels in (("line", ring.line_pixels), ("skip", ring.skip_pixels), ("hold", ring.hold_pixels)):
        yield name, min(pixels, left)
        left -= min(pixels, left)
    yield "rates", left


def _steps(levels: Sequence[int], edges: Sequence[float], y: float) -> str:
    """An area over the base line of a strip: an outline for each stretch that has a height."""
    base, path, before = round(y + STRIP, 2), "", 0
    xs = [round(edge, 2) for edge in edges]
    for level, start, end in _runs(levels):
        if level and not before:
            path += f"M{_n(xs[start])} {_n(base)}"
        if level or before:
            path += f"v{_n(STRIP * (before - level) / LEVELS)}"
        if level:
            path += f"h{_n(xs[end] - xs[start])}"
        before = level
    # What is filled is closed: the last stretch goes down by itself, and along the base.
    return f"{path}V{_n(base)}" if before else path


def _runs(levels: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Stretches of equal levels: the level, where it begins and where it ends."""
    start = 0
    for i in range(1, len(levels) + 1):
        if i == len(levels) or levels[i] != levels[start]:
            yield levels[start], start, i
            start = i


def _unit(seconds: float) -> tuple[float, str]:
    """The unit in which so many seconds are a number of one or more."""
    return next((unit for unit in _SECONDS if seconds >= unit[0]), _SECONDS[-1])
