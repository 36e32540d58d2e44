"""What pictures are written with: colours light and dark, text, numbers, names that cannot break out."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from rillet.system.printable import printable

FONT = "Arial, Helvetica, 'Liberation Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Ink:
    """The colours of a picture, each with a class of shapes that it fills, and its classes of lines."""

    name: str
    """Of this ink alone: its classes mean nothing in the pictures of others, which may stand in one page."""
    colours: Mapping[str, tuple[str, str]]
    """Light and dark."""
    strokes: Mapping[str, tuple[str, str]]
    """Colour, and further attributes."""

    def head(self, title: str, about: str, width: float, height: float) -> list[str]:
        """The beginning of a document: size in CSS pixels, title, style sheet, paper."""
        wide, high = number(width), number(height)
        return [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
            f'role="img" class="n-{self.name}" font-family="{FONT}">',
            f"<title>{escaped(title)}</title>",
            f"<desc>{escaped(about)}</desc>",
            f"<style>\n{self.style()}</style>",
            f'<rect {self.fill("paper")} width="{wide}" height="{high}"/>',
        ]

    def style(self) -> str:
        """The style sheet: colours as variables, light and dark, over the plain light ones that each shape has.

        A viewer that knows no variables, or no style sheets, shows the light picture.
        """
        light, dark = ("".join(f"--n-{name}:{pair[i]};" for name, pair in self.colours.items()) for i in (0, 1))
        own = f".n-{self.name}"
        fills = [f"{own} .n-{name}{{fill:var(--n-{name})}}" for name in self.colours]
        strokes = [f"{own} .n-{name}{{stroke:var(--n-{colour})}}" for name, (colour, _) in self.strokes.items()]
        rules = "\n".join([*fills, *strokes])
        return f"""@supports (--a:0){{
{own}{{{light}}}
@media (prefers-color-scheme:dark){{{own}{{{dark}}}}}
{rules}
}}
"""

    def fill(self, name: str) -> str:
        """Attributes of a shape in one of the colours."""
        return f'class="n-{name}" fill="{self.colours[name][0]}"'

    def stroke(self, name: str) -> str:
        """Attributes of a line of one of the classes."""
        colour, more = self.strokes[name]
        return f'class="n-{name}" fill="none" stroke="{self.colours[colour][0]}"{more}'

    def rect(self, name: str, x: float, y: float, width: float, height: float) -> str:
        """A filled rectangle."""
        place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        return f"<rect {self.fill(name)} {place}/>"

    def text(
        self, x: float, y: float, words: str, size: float, colour: str = "ink", anchor: str = "start",
        *, bold: bool = False,
    ) -> str:  # fmt: skip
        """A line of text on its base line."""
        place = f'x="{number(x)}" y="{number(y)}" font-size="{number(size)}"'
        weight = ' font-weight="600"' if bold else ""
        anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
        return f"<text {self.fill(colour)} {place}{weight}{anchored}>{escaped(words)}</text>"


def escaped(words: str) -> str:
    """Text as XML takes it, within an element or an attribute."""
    return escape(printable(words))


def number(value: float) -> str:
    """A number in hundredths, as short as it goes."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
