"""Names of a network as Verilog identifiers, and as text of its comments."""

import re
from collections import Counter
from collections.abc import Iterable

MOST_CHARACTERS = 60
MOST_SHOWN = 200


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """For each name a word of letters, digits and single underscores, unlike all others whatever their case.

    A word stands behind `stage_`, `ring_` or a like prefix alone, so it may be a keyword. They differ in more than case
    because they name files of memories too.
    """
    out: dict[str, str] = {}
    taken, tries = set[str](), Counter[str]()
    for name in names:
        word = base = (re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "v")[:MOST_CHARACTERS].rstrip("_")
        while word.lower() in taken:
            tries[base] += 1
            end = f"_{tries[base] + 1}"
            word = base[: MOST_CHARACTERS - len(end)].rstrip("_") + end
        taken.add(word.lower())
        out[name] = word
    return out


def shown(text: str) -> str:
    """The text as one line of a comment: printable ASCII, no backslash, which would continue it, or backquote."""
    part = text[:MOST_SHOWN] + ("..." if len(text) > MOST_SHOWN else "")
    return "".join(c if c.isascii() and c.isprintable() and c not in "\\`" else "?" for c in part)
