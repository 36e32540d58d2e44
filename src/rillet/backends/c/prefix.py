"""A prefix other than `net` for all public names of an emitted program: symbols, macros, types and files."""

import re
from collections.abc import Mapping
from dataclasses import replace

from rillet.backends.c.names import Named
from rillet.errors import Unsupported

DEFAULT = "net"
MOST_CHARACTERS = 20
_TAKEN = frozenset({"at", "of", "outside", "read", "rillet", "run", "seen", "segment", "wrote"})
"""What names within a program begin with."""
_OURS = re.compile(r"(?<![A-Za-z0-9_])(?:net(?=_)|NET(?=_)|net(?=\.[ch]\b))")
_HIDDEN = re.compile("\0([0-9]+)\0")


def checked(prefix: str) -> str:
    """The prefix; raises Unsupported unless it can begin a C identifier and clashes with no name of the program."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", prefix) or len(prefix) > MOST_CHARACTERS:
        raise Unsupported(f"prefix must be a C identifier of at most {MOST_CHARACTERS} characters, got {prefix!r}")
    if prefix.lower() in _TAKEN:
        raise Unsupported(f"prefix must be none of {', '.join(sorted(_TAKEN))}, got {prefix!r}")
    return prefix


def renamed(text: str, prefix: str) -> str:
    """The text of a file of the program, or the name of one, with the prefix instead of `net`."""
    if prefix == DEFAULT:
        return text
    return _OURS.sub(lambda found: prefix.upper() if found[0] == "NET" else prefix, text)


def hidden(known: Named) -> tuple[Named, list[str]]:
    """What comments call nodes and network, as numbers that no renaming touches, and what these stand for."""
    told = [known.graph, *known.nodes.values()]
    numbers = {name: f"\0{i + 1}\0" for i, name in enumerate(known.nodes)}
    return replace(known, graph="\0" + "0" + "\0", nodes=numbers), told


def restored(text: str, told: list[str]) -> str:
    """The text with what was hidden."""
    return _HIDDEN.sub(lambda found: told[int(found[1])], text)


def renamed_files(files: Mapping[str, str], prefix: str, told: list[str]) -> dict[str, str]:
    """A whole program with the prefix; kernels are no program's own."""
    out: dict[str, str] = {}
    for name, text in files.items():
        if name.startswith("kernels/"):
            out[name] = text
            continue
        out[renamed(name, prefix)] = restored(renamed(text, prefix), told)
    return out
