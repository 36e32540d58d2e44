"""Formatting of numbers and labels in drawings."""

import unicodedata

from rillet.system.printable import printable


def engineering(count: int) -> str:
    """A count in three digits and a prefix: `950`, `12.3 k`, `1.00 M`."""
    if count < 1000:
        return str(count)
    value, prefixes = float(count), iter("kMGTPE")
    prefix = ""
    while value >= 999.5:
        value, prefix = value / 1000, next(prefixes)
    # Fewer than three decimals always: what rounds to 10.0 or 100 must not print as 9.995 or 99.95.
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f} {prefix}"


def shortened(text: str, most: int) -> str:
    """`text` as it is shown, or its ends about an ellipsis where it has more than `most` letters."""
    text = printable(text)
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """At most what `text` takes in the usual sans-serif faces, of which Verdana and DejaVu are the widest."""
    return (1.12 if bold else 1.0) * size * sum(_advance(c) for c in text)


def _advance(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.05
    if character in "iljtfrI.,:;'|!()[]/ ":
        return 0.38
    if character in "mwMW@%":
        return 0.98
    return 0.78 if character.isupper() else 0.64 if character.isdigit() else 0.6


def fitted(text: str, size: float, width: float, *, bold: bool = False) -> str:
    """`text` as it is shown, or its ends about an ellipsis where it is wider than `width`."""
    text = printable(text)
    if text_width(text, size, bold=bold) <= width:
        return text
    head, tail = "", ""
    left, right = iter(text), reversed(text)
    while True:
        longer = (head + next(left), next(right) + tail)
        if text_width(longer[0] + "…" + longer[1], size, bold=bold) > width:
            return f"{head}…{tail}"
        head, tail = longer
