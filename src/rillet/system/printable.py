"""Sanitises untrusted text for a terminal or a page: control characters and markup are escaped."""

import json
import math
import re
from typing import Any

_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters that Unicode calls letters or marks, and that show nothing (its Default_Ignorable_Code_Point)."""


def printable(text: str, keep: str = "") -> str:
    r"""`text` with all that shows nothing, or moves what is shown, as Python writes it: `\x1b`, `\u202e`, `\ud800`.

    These are control characters (ESC, CR, NUL, C1), line ends, spaces other than the plain one, marks of direction or
    of no width, lone surrogates, and what Unicode has not assigned. keep: some that stay, such as a line's end.
    What comes out can be encoded in UTF-8 and has a place in XML 1.0 (section 2.2).
    """
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    return "".join(c if c in keep or (c.isprintable() and not _UNSEEN.match(c)) else _written(c) for c in text)


def json_text(record: Any) -> str:
    """A record as JSON in ASCII, whatever its strings hold; null for what is no finite number, which JSON has not."""
    return json.dumps(_finite(record), indent=2, allow_nan=False)


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list() | tuple():
            return [_finite(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value
