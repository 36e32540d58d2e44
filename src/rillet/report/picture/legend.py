"""What colours, signs and sizes mean, in lines as wide as the page."""

from collections.abc import Iterable

from rillet.report.picture.ink import Ink, number
from rillet.report.picture.layout import MARGIN, TEXT
from rillet.report.picture.slabs import SMALL
from rillet.report.picture.words import text_width

GAP, LINE, NOTE_LINE = 18.0, 18.0, 14.0
SWATCH = 11.0


class Legend:
    """Entries and notes, written one after the other into `lines`; `y` is the base line that comes next."""

    def __init__(self, ink: Ink, right: float, y: float) -> None:
        self.ink, self.right, self.y = ink, right, y
        self.x = MARGIN
        self.lines: list[str] = []

    def swatch(self, colour: str, words: str) -> None:
        """A colour and its meaning."""
        size = f'width="{number(SWATCH)}" height="{number(SWATCH)}"'
        self.entry(f'<rect {self.ink.fill(colour)} y="{number(1.5 - SWATCH)}" {size} rx="1.5"/>', SWATCH, words)

    def entry(self, mark: str, size: float, words: str) -> None:
        """A mark of some width and its meaning."""
        width = size + 5 + text_width(words, TEXT)
        if self.x > MARGIN and self.x + width > self.right:
            self.line()
        self.lines.append(f'<g transform="translate({number(self.x)} {number(self.y)})">{mark}</g>')
        self.lines.append(self.ink.text(self.x + size + 5, self.y, words, TEXT))
        self.x += width + GAP

    def line(self) -> None:
        """A new line."""
        self.x = MARGIN
        self.y += LINE

    def notes(self, notes: Iterable[str]) -> None:
        """Notes one behind the other, as many in a line as there is room for."""
        line = ""
        for note in notes:
            longer = f"{line} · {note}" if line else note
            if line and text_width(longer, SMALL) > self.right - MARGIN:
                self.lines.append(self.ink.text(MARGIN, self.y, line, SMALL, "soft"))
                self.y += NOTE_LINE
                longer = note
            line = longer
        self.lines.append(self.ink.text(MARGIN, self.y, line, SMALL, "soft"))
