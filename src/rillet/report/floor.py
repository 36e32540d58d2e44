"""What the stages of a chip's plan take of it, as planned: DSP blocks, block RAMs and look-up tables, a row a stage."""

from collections.abc import Iterator
from dataclasses import dataclass

from rillet.plan.pipeline.estimates import Estimate, estimates
from rillet.plan.pipeline.memories import Content, memories
from rillet.plan.pipeline.plan import PixelPlan
from rillet.report.picture.axis import Axis
from rillet.report.picture.ink import escaped
from rillet.report.picture.ink import number as _n
from rillet.report.picture.layout import LABEL, MARGIN, TEXT
from rillet.report.picture.legend import Legend
from rillet.report.picture.slabs import SMALL
from rillet.report.picture.words import fitted, text_width
from rillet.report.pipeline import INK, NAMES
from rillet.targets.families import Family, Taken

ROW, STRIP, TITLE, HEAD, WHOLE = 13.0, 10.0, 20.0, 136.0, 12.0
"""Heights: of a row, of its bars, of the title, of what is above the rows, of a bar of the whole chip."""
WIDE, NUMBER, GAP = 230.0, 46.0, 22.0
"""Widths: of the longest bar, of the number before it, between the columns."""

Piece = tuple[str, int, str]
"""A colour, a number, and what it is."""


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    room: int | None
    """What the chip has; None where its file does not say."""
    pieces: tuple[tuple[Piece, ...], ...]
    """Of each stage."""

    @property
    def totals(self) -> list[int]:
        return [sum(count for _, count, _ in own) for own in self.pieces]

    @property
    def used(self) -> int:
        return sum(self.totals)


def svg(plan: PixelPlan, family: Family) -> str:
    """The plan of hardware as an SVG document, light and dark; lengths are in CSS pixels."""
    found = estimates(plan, family)
    columns = _columns(plan, found)
    names = [stage.node for stage in plan.stages]
    left = MARGIN + min(NAMES, max(text_width(name, TEXT) for name in names)) + 8
    starts = [left + i * (NUMBER + WIDE + GAP) for i in range(len(columns))]
    right, bottom = starts[-1] + NUMBER + WIDE, HEAD + ROW * len(names)
    title = f"{plan.graph.name}: what takes {plan.chip}"
    about = (
        f"an image every {plan.interval_cycles:,} cycles, {plan.images_per_s:,.1f} a second at "
        f"{plan.clock_hz / 1e6:g} MHz; as planned, before anything is synthesised"
    )
    legend = Legend(INK, right, bottom + 30)
    for colour, words in _LEGEND:
        legend.swatch(colour, words)
    legend.line()
    legend.notes(_NOTES)
    lines = [
        *INK.head(title, about, right + MARGIN, legend.y + MARGIN),
        INK.text(MARGIN, MARGIN + 18, fitted(title, TITLE, right - MARGIN, bold=True), TITLE, bold=True),
        INK.text(MARGIN, MARGIN + 39, fitted(about, LABEL, right - MARGIN), LABEL, "soft"),
    ]
    axes = [
        Axis(0, max(1, *column.totals), x + NUMBER, x + NUMBER + WIDE)
        for column, x in zip(columns, starts, strict=True)
    ]
    for column, axis, x in zip(columns, axes, starts, strict=True):
        lines += _head(column, axis, x, bottom)
    for i, name in enumerate(names):
        y = HEAD + i * ROW
        lines.append(f"<g><title>{escaped(_words(plan, i, columns))}</title>")
        lines.append(INK.text(left - 8, y + STRIP - 1, fitted(name, TEXT, NAMES), TEXT, anchor="end"))
        for column, axis, x in zip(columns, axes, starts, strict=True):
            lines += _bar(column.pieces[i], axis, x, y)
        lines.append("</g>")
    return "\n".join([*lines, '<g class="n-legend">', *legend.lines, "</g>", "</svg>"]) + "\n"


_LEGEND = (
    ("even", "products"),
    ("odd", "what requantises sums"),
    ("weights", "weights"),
    ("line", "rings, sums of maps"),
    ("skip", "biases, scales, tables and constants"),
    ("hold", "adders, rounding, operands and steps (about)"),
)
_NOTES = (
    "the bar above a column is the whole chip, its number what is taken of it",
    "memories in look-up tables are in the last column",
)
_MEMORIES = (
    (Content.WEIGHTS, "weights", "weights"),
    (Content.RING, "line", "rings"),
    (Content.SUMS, "line", "sums of maps"),
    (Content.SCALES, "skip", "biases and scales"),
    (Content.TABLE, "skip", "tables"),
    (Content.OPERAND, "skip", "values that never change"),
)


def _columns(plan: PixelPlan, found: tuple[Estimate, ...]) -> tuple[_Column, ...]:
    assert plan.pipeline is not None
    machine, pipeline = plan.machine, plan.pipeline
    blocks: dict[str, list[Piece]] = {stage.node: [] for stage in plan.stages}
    made = memories(plan)
    for content, colour, words in _MEMORIES:
        for name, pieces in blocks.items():
            own = [memory for memory in made if memory.stage == name and memory.content is content]
            pieces.append((colour, sum(memory.block_rams(pipeline) for memory in own), words))
    return (
        _Column(
            "DSP blocks",
            machine.multipliers if machine else None,
            tuple(
                (("even", one.products, "products"), ("odd", one.taken.multipliers - one.products, "requantising"))
                for one in found
            ),
        ),
        _Column("block RAMs", machine.block_rams if machine else None, tuple(tuple(own) for own in blocks.values())),
        _Column(
            "look-up tables, about",
            machine.luts if machine else None,
            tuple(_look_up_tables(one) for one in found),
        ),
    )


def _look_up_tables(one: Estimate) -> tuple[Piece, ...]:
    taken: Taken = one.taken
    return (
        ("hold", taken.luts - taken.memory_luts - one.constant_luts, "adders, rounding, operands and steps"),
        ("line", taken.memory_luts, "rings, sums of maps"),
        ("skip", one.constant_luts, "weights, biases and scales"),
    )


def _head(column: _Column, axis: Axis, x: float, bottom: float) -> Iterator[str]:
    """Heading, a bar of the whole chip, and the numbers above the rows."""
    yield INK.text(x + NUMBER, HEAD - 56, column.heading, TEXT, bold=True)
    y, used = HEAD - 48, column.used
    if column.room:
        share = min(1.0, used / column.room)
        yield INK.rect("starved", x + NUMBER, y, WIDE, WHOLE)
        yield INK.rect("blocked" if used > column.room else "rates", x + NUMBER, y, max(0.5, WIDE * share), WHOLE)
        said = f"{used:,} of {column.room:,}"
    else:
        said = f"{used:,}"
    yield INK.text(x + NUMBER + WIDE, HEAD - 56, said, SMALL, "ink", "end")
    for tick in axis.ticks():
        if tick == int(tick):
            at = axis.at(tick)
            yield f'<path {INK.stroke("grid")} d="M{_n(at)} {_n(HEAD - 6)}V{_n(bottom + 4)}"/>'
            yield INK.text(at, HEAD - 11, f"{tick:,.0f}", SMALL, "soft", "middle")


def _bar(pieces: tuple[Piece, ...], axis: Axis, x: float, y: float) -> Iterator[str]:
    total = sum(count for _, count, _ in pieces)
    yield INK.text(x + NUMBER - 5, y + STRIP - 1, f"{total:,}" if total else "", SMALL, "ink", "end")
    at = 0
    for colour, count, _ in pieces:
        if count:
            start, end = axis.at(at), axis.at(at + count)
            yield INK.rect(colour, start, y + 1, max(end - start, 0.5), STRIP - 2)
            at += count


def _words(plan: PixelPlan, at: int, columns: tuple[_Column, ...]) -> str:
    stage = plan.stages[at]
    parts: list[str] = []
    for column in columns:
        said = ", ".join(f"{words} {count:,}" for _, count, words in column.pieces[at] if count)
        parts += [f"{column.heading} {column.totals[at]:,} ({said})"] if said else []
    return f"{stage.node}: {stage.op}; {'; '.join(parts)}"
