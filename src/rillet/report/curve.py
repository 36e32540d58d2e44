"""The learning curves of a training run: loss and top-1 after each epoch, in training and on the test part."""

from collections.abc import Callable, Iterator, Sequence

from rillet.report.picture.axis import Axis
from rillet.report.picture.ink import escaped
from rillet.train.records import Row

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM, _BETWEEN = 760, 340, 60, 24, 76, 52, 68
_PANEL = (_WIDTH - _LEFT - _RIGHT - _BETWEEN) // 2
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: var(--text); }
.title { font-size: 16px; font-weight: 600; }
.soft { fill: var(--soft); }
.grid { stroke: var(--grid); stroke-width: 1; }
.page { fill: var(--page); }
path { fill: none; stroke-width: 2; stroke-linejoin: round; }
.test { stroke: var(--test); }
.train { stroke: var(--train); stroke-dasharray: 5 3; }
circle { fill: var(--test); }
svg { --page: #ffffff; --text: #1f2328; --soft: #59636e; --grid: #e3e6ea; --test: #0969da; --train: #bc4c00; }
@media (prefers-color-scheme: dark) {
  svg { --page: #0d1117; --text: #e6edf3; --soft: #9198a1; --grid: #262c36; --test: #58a6ff; --train: #f0883e; }
}
""".strip()

_Value = Callable[[Row], float]


def svg(name: str, rows: Sequence[Row]) -> str:
    """The learning curves of a run of one epoch or more as an SVG, light or dark as the reader's system is."""
    best = max(rows, key=lambda row: (row.judged_top1, -row.epoch))
    right = _LEFT + _PANEL + _BETWEEN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escaped(name)}: loss and top-1 by epoch</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>',
        f'<text class="title" x="{_LEFT}" y="26">{escaped(name)}</text>',
        f'<text class="soft" x="{_LEFT}" y="46">best: {best.judged_top1:.2%} on the {best.judged_by} '
        f"after epoch {best.epoch}; solid: {best.judged_by}, dashed: training</text>",
        *_panel("loss", _LEFT, rows, (lambda row: row.train_loss, lambda row: row.judged_loss), "{:g}"),
        *_panel("top-1", right, rows, (lambda row: row.train_top1, lambda row: row.judged_top1), "{:.0%}"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(title: str, left: int, rows: Sequence[Row], pair: tuple[_Value, _Value], form: str) -> Iterator[str]:
    """One plot: a quantity in training and on the test part."""
    bottom, right = _HEIGHT - _BOTTOM, left + _PANEL
    values = [value(row) for row in rows for value in pair]
    up = Axis(min(values), max(values), bottom, _TOP)
    across = Axis(rows[0].epoch, rows[-1].epoch, left, right)
    yield f'<text x="{left}" y="{_TOP - 10}">{title}</text>'
    for value in up.ticks():
        y = up.at(value)
        yield f'<line class="grid" x1="{left}" y1="{y}" x2="{right}" y2="{y}"/>'
        yield f'<text class="soft" x="{left - 8}" y="{y + 4}" text-anchor="end">{form.format(round(value, 9))}</text>'
    for value in across.ticks():
        if value == round(value):
            x = across.at(value)
            yield f'<text class="soft" x="{x}" y="{bottom + 20}" text-anchor="middle">{value:.0f}</text>'
    yield f'<text class="soft" x="{(left + right) / 2:g}" y="{bottom + 42}" text-anchor="middle">epoch</text>'
    for value, name in zip(pair, ("train", "test"), strict=True):
        points = " ".join(f"{across.at(row.epoch)},{up.at(value(row))}" for row in rows)
        yield f'<path class="{name}" d="M{points}"/>'
    last = rows[-1]
    x, y = across.at(last.epoch), up.at(pair[1](last))
    said = f"{title}, test, epoch {last.epoch}: {pair[1](last):.4g}"
    yield f'<circle cx="{x}" cy="{y}" r="3"><title>{said}</title></circle>'
