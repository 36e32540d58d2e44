"""A picture of a row plan: layers down by segments, the arena across; what each layer keeps of its value beside it."""

from collections.abc import Iterator
from itertools import chain, pairwise

from rillet.plan.rows.plan import Buffer, BufferKind, RowPlan
from rillet.report.picture.axis import Axis
from rillet.report.picture.ink import Ink, escaped
from rillet.report.picture.ink import number as _n
from rillet.report.picture.layout import LABEL, MARGIN, TEXT
from rillet.report.picture.legend import Legend
from rillet.report.picture.slabs import SMALL
from rillet.report.picture.words import engineering, text_width

INK = Ink(
    "memory",
    {
        "paper": ("#ffffff", "#14181d"),
        "ink": ("#1b2026", "#e8ebef"),
        "soft": ("#57606a", "#a0a9b4"),
        "tag": ("#1b2026", "#14181d"),
        "lane": ("#eef1f4", "#1f252c"),
        "map": ("#1b8deb", "#3f9df0"),
        "ring": ("#c67e00", "#ffa013"),
        "sums": ("#508d4d", "#86f2ba"),
        "scratch": ("#8a8d91", "#8b8d91"),
    },
    {"grid": ("soft", ' stroke-width="0.5" stroke-opacity="0.35"'), "edge": ("paper", ' stroke-width="0.7"')},
)
WORDS = {
    BufferKind.MAP: "full tensor",
    BufferKind.RING: "ring: the pixels that are still wanted",
    BufferKind.SUMS: "sums of a pool",
    BufferKind.SCRATCH: "scratch memory of kernels",
}
"""Kinds of buffers as the legend has them; each has a colour of its name."""
ROW, STRIP = 13.0, 10.0
"""Heights of a layer: with the gap to the next, and of its bar."""
LANE, ARENA, GAP, BAR, NUMBER = 26.0, 620.0, 22.0, 110.0, 46.0
"""Widths: of a segment's number, the arena, between parts of the page, the longest bar, the number before it."""
TITLE, HEAD, FOOT = 20.0, 112.0, 34.0
FIRST = "segment, layer"
"""Over the first column."""
FAINT = "0.28"
"""How much of its colour a buffer has where its room is kept and its value not yet or no longer there."""


def svg(plan: RowPlan) -> str:
    """The plan as an SVG document, light and dark; lengths are in CSS pixels."""
    page = _Page(plan)
    legend = Legend(INK, page.right, page.bottom + FOOT)
    page.explain(legend)
    lines = [
        *INK.head(page.title, page.summary, page.right + MARGIN, legend.y + MARGIN),
        *page.head(),
        *page.lanes(),
        *page.grid(),
        *page.arena(),
        *page.rows(),
        '<g class="n-legend">',
        *legend.lines,
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


class _Page:
    def __init__(self, plan: RowPlan) -> None:
        self.plan = plan
        self.inputs = [node.name for node in plan.graph.input_nodes]
        self.names = [*self.inputs, *(stage.node for segment in plan.segments for stage in segment.stages)]
        self.row = {name: i for i, name in enumerate(self.names)}
        ends = [len(self.inputs)]
        for segment in plan.segments:
            ends.append(ends[-1] + len(segment.stages))
        self.spans = [(0, ends[1]), *pairwise(ends[1:])]
        """First row and one past the last of each segment; the inputs come with the first."""
        self.title = f"{plan.graph.name}: activations in {plan.arena_bytes:,} bytes"
        self.summary = "  ·  ".join(_facts(plan))
        names = max(text_width(name, TEXT) for name in self.names)
        self.left = MARGIN + max(LANE + names, text_width(FIRST, TEXT, bold=True)) + 12
        # The title is never cut: a page of a long name is as wide as it takes.
        said = max(text_width(self.title, TITLE, bold=True), text_width(self.summary, LABEL)) + MARGIN
        wide = max(ARENA, said - self.left - GAP - NUMBER - BAR)
        self.axis = Axis(0, plan.arena_bytes, self.left, self.left + wide)
        self.kept_at = self.left + wide + GAP
        self.right = self.kept_at + NUMBER + BAR
        self.bottom = self._y(len(self.names))

    def _y(self, row: int) -> float:
        return HEAD + ROW * row

    def head(self) -> Iterator[str]:
        yield INK.text(MARGIN, MARGIN + 18, self.title, TITLE, bold=True)
        yield INK.text(MARGIN, MARGIN + 39, self.summary, LABEL, "soft")
        yield INK.text(MARGIN, HEAD - 30, FIRST, TEXT, bold=True)
        yield INK.text(self.left, HEAD - 30, "place in the arena, bytes", TEXT, bold=True)
        yield INK.text(self.kept_at, HEAD - 30, "kept of its value, bytes", TEXT, bold=True)

    def lanes(self) -> Iterator[str]:
        """A band for each segment, every other one shaded."""
        for i, (segment, (first, last)) in enumerate(zip(self.plan.segments, self.spans, strict=True)):
            y, high = self._y(first), ROW * (last - first)
            words = f"segment {i + 1}: {len(segment.stages)} layers, {segment.peak_bytes:,} bytes at its fullest"
            yield f"<g><title>{escaped(words)}</title>"
            yield INK.rect("paper" if i % 2 else "lane", MARGIN, y - 1, self.right - MARGIN, high)
            yield INK.text(MARGIN + 4, y + STRIP - 1, str(i + 1), TEXT, bold=True)
            yield "</g>"

    def grid(self) -> Iterator[str]:
        for tick in self.axis.ticks():
            x = self.axis.at(tick)
            yield f'<path {INK.stroke("grid")} d="M{_n(x)} {_n(HEAD - 6)}V{_n(self.bottom + 4)}"/>'
            yield INK.text(x, HEAD - 11, f"{tick:,.0f}", SMALL, "soft", "middle")

    def arena(self) -> Iterator[str]:
        """Each buffer: faint while its room is kept, in full colour while its value is there."""
        for buffer in sorted(self.plan.buffers.values(), key=lambda b: (b.first, -b.bytes)):
            colour, x = buffer.kind.value, self.axis.at(buffer.offset)
            width = max(self.axis.at(buffer.offset + buffer.bytes) - x, 0.5)
            first, last = self.spans[buffer.first][0], self.spans[buffer.last][1]
            begin, end = self._life(buffer, first, last)
            yield f"<g><title>{escaped(self._words(buffer))}</title>"
            faint = INK.rect(colour, x, self._y(first), width, ROW * (last - first) - 2)
            yield faint.replace("/>", f' fill-opacity="{FAINT}"/>')
            full = INK.rect(colour, x, self._y(begin), width, ROW * (end - begin) - 2)
            yield full.replace("/>", ' fill-opacity="0.85"/>')
            outline = f"M{_n(x)} {_n(self._y(begin))}h{_n(width)}v{_n(ROW * (end - begin) - 2)}h{_n(-width)}z"
            yield f'<path {INK.stroke("edge")} d="{outline}"/>'
            if text_width(buffer.name, SMALL) + 8 <= width:
                yield INK.text(x + 4, self._y(begin) + STRIP - 2, buffer.name, SMALL, "tag")
            yield "</g>"

    def _life(self, buffer: Buffer, first: int, last: int) -> tuple[int, int]:
        """Rows from the layer that writes a buffer to one past the last that reads it, of those that keep its room."""
        graph = self.plan.graph
        if buffer.name in graph.by_name:
            readers = (self.row[node.name] for node in graph.consumers[buffer.name])
            begin = self.row[buffer.name]
            # An output stays to the end.
            end = last if buffer.name in graph.outputs else max(readers, default=begin) + 1
        else:
            stages = chain.from_iterable(segment.stages for segment in self.plan.segments)
            users = [self.row[stage.node] for stage in stages if stage.scratch == buffer.name]
            begin, end = min(users), max(users) + 1
        return max(begin, first), min(end, last)

    def rows(self) -> Iterator[str]:
        values = [self.plan.buffers[name] for name in self.names if name in self.plan.buffers]
        largest = max(buffer.bytes for buffer in values)
        for name, row in self.row.items():
            y, buffer = self._y(row), self.plan.buffers.get(name)
            words = self._words(buffer) if buffer else f"{name}: read where the caller has it"
            yield f"<g><title>{escaped(words)}</title>"
            yield INK.text(self.left - 8, y + STRIP - 1, name, TEXT, anchor="end")
            kept = buffer.bytes if buffer else 0
            yield INK.text(self.kept_at + NUMBER - 5, y + STRIP - 1, engineering(kept), SMALL, "ink", "end")
            if buffer:
                width = max(BAR * kept / largest, 0.5)
                yield INK.rect(buffer.kind.value, self.kept_at + NUMBER, y + 1, width, STRIP - 2)
            yield "</g>"

    def _words(self, buffer: Buffer) -> str:
        node = self.plan.graph.by_name.get(buffer.name)
        place = f"bytes {buffer.offset:,} to {buffer.offset + buffer.bytes:,}"
        if node is None:
            return f"{buffer.name}: {buffer.kind.value}, {buffer.bytes:,} bytes ({place})"
        share = f"{buffer.pixels:,} of {node.shape.pixels:,} pixels" if buffer.kind is BufferKind.RING else "whole"
        return f"{buffer.name}: {node.shape}, {buffer.kind.value}, {share}, {buffer.bytes:,} bytes ({place})"

    def explain(self, legend: Legend) -> None:
        """The legend."""
        kinds = {buffer.kind for buffer in self.plan.buffers.values()}
        for kind, words in WORDS.items():
            if kind in kinds:
                legend.swatch(kind.value, words)
        legend.line()
        values = [self.plan.buffers[name].bytes for name in self.names if name in self.plan.buffers]
        legend.notes(
            (
                "bands: segments, whose layers run together",
                "faint: room that a segment keeps, before its value comes and after its last reader",
                "colours over each other: a result that runs over the part of its input that is spent",
                f"longest bar: {engineering(max(values))} bytes",
            )
        )


def _facts(plan: RowPlan) -> Iterator[str]:
    count = len(plan.segments)
    yield f"{count} segments" if count > 1 else "one segment"
    fullest = max(range(count), key=lambda i: plan.segments[i].peak_bytes)
    yield f"segment {fullest + 1} is the fullest, {plan.segments[fullest].peak_bytes:,} bytes"
    yield f"{plan.map_bytes:,} bytes of full tensors in all"
    yield "the image lies in the arena" if plan.resident else "rows of the image are pushed in"
    yield f"{plan.host.kernels if plan.host else 'portable'} kernels"
