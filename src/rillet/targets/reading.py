"""Reads TOML files strictly: what is unknown, missing, doubled or out of range is named."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rillet.errors import TargetError
from rillet.system.reading import TOML_BYTES, read_text

MAX_DEPTH = 8
"""Tables within tables of a file that is meant."""
MAX_SHOWN = 80
_MAX_PARTS = 64
_PART = r"(?:[A-Za-z0-9_-]++|\"[^\"\n]*+\"|'[^'\n]*+')[ \t]*+"
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}\.[ \t]*+){{{_MAX_PARTS}}}")
"""Python takes a time that grows as the square of a key's parts."""
_INTEGERS = range(-(2**63), 2**63)
"""Those that TOML 1.0 asks for; Python reads longer ones, and then stumbles over them."""


@cache
def names(folder: str, package: str = "rillet.targets") -> tuple[str, ...]:
    """The files that Rillet has in a folder of a package, without their suffix."""
    found = (file.name for file in files(package).joinpath(folder).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def document(folder: str, what: str, name: str, package: str = "rillet.targets") -> tuple[str, dict[str, Any]]:
    """The key and table of the file that `name` means: one of `folder`, or a path that ends in .toml.

    Raises TargetError for an unknown name (with the nearest one) and for a file that is no TOML.
    """
    if name.endswith(".toml"):
        return name, table(name, text_of(Path(name)))
    plain, known = canonical(name), names(folder, package)
    if plain in known:
        return plain, table(plain, packaged(folder, plain, package))
    near = difflib.get_close_matches(plain, known, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}, and files ending in .toml"
    raise TargetError(f"{name}: must be a {what}; {hint}")


def packaged(folder: str, name: str, package: str = "rillet.targets") -> str:
    """The text of a file that Rillet has, by its name as files are called."""
    return files(package).joinpath(folder, f"{name}.toml").read_text("utf-8")


def canonical(name: str) -> str:
    """A name as files are called: `ECP5-85` is ecp5_85."""
    return name.lower().replace("-", "_").replace(" ", "")


def text_of(path: Path) -> str:
    """The text of a file of at most TOML_BYTES; raises TargetError where it cannot be read."""
    return read_text(path, TOML_BYTES, "a TOML file", TargetError)


def table(where: str, text: str) -> dict[str, Any]:
    """A TOML text as a table; raises TargetError, which begins with `where`, where it is none or doubles a key."""
    if _LONG_KEY.search(text):
        raise TargetError(f"{where}: must have keys of at most {_MAX_PARTS} parts")
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        again = _doubled(text) if "overwrite" in str(error) or "twice" in str(error) else ""
        raise TargetError(f"{where}: must be TOML: {error}{again}") from None
    _check_values(where, found)
    return found


def _check_values(where: str, found: dict[str, Any]) -> None:
    """Raises TargetError for integers that are longer than 64 bits, and for tables and lists too deep within others."""
    left: list[tuple[str, Any, int]] = [(where, found, 0)]
    while left:
        place, value, depth = left.pop()
        if isinstance(value, int) and value not in _INTEGERS:
            raise TargetError(f"{place}: must be an integer of at most 64 bits, got one of {value.bit_length()}")
        if isinstance(value, dict | list) and depth > MAX_DEPTH:
            raise TargetError(f"{where}: must have at most {MAX_DEPTH} tables within each other, got more")
        if isinstance(value, dict):
            joint = "." if depth else ": "
            left += [(f"{place}{joint}{key}", item, depth + 1) for key, item in value.items()]
        elif isinstance(value, list):
            left += [(place, item, depth + 1) for item in value]


def shown(value: Any) -> str:
    """A value of a file as a message has it."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _doubled(text: str) -> str:
    """The first key or table that a text repeats; empty where each occurs once."""
    seen: set[tuple[str, str]] = set()
    where = ""
    for line in text.splitlines():
        key = line.partition("=")[0].strip()
        if not key or key.startswith("#"):
            continue
        if key.startswith("["):
            where, key = key.strip("[] "), ""
        if (where, key) in seen:
            return f"; {'.'.join(filter(None, (where, key)))} must be given once"
        seen.add((where, key))
    return ""


def check_keys(where: str, found: Mapping[str, Any], known: Iterable[str], required: Iterable[str]) -> None:
    """Raises TargetError for a key that is not known (with the nearest that is), or a required one that is missing."""
    known = tuple(known)
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise TargetError(f"{where}: key must be a known one, got {shown(key)}; {hint}")
    for key in required:
        if key not in found:
            raise TargetError(f"{where}: must say {key}")


def section(where: str, value: Any, known: Iterable[str], required: Iterable[str]) -> dict[str, Any]:
    """A table within a file, with its keys checked; raises TargetError where it is none."""
    if not isinstance(value, dict):
        raise TargetError(f"{where}: must be a table, got {shown(value)}")
    check_keys(where, value, known, required)
    return value


def text(where: str, value: Any, among: tuple[str, ...] = ()) -> str:
    """A text that is not empty, one of `among` where those are given; raises TargetError for anything else."""
    if not isinstance(value, str) or not value.strip():
        raise TargetError(f"{where}: must be a text, got {shown(value)}")
    if among and value not in among:
        raise TargetError(f"{where}: must be one of {', '.join(among)}; got {shown(value)}")
    return value


def number(where: str, value: Any, least: float = 0.0, most: float = 1e15, *, whole: bool = False) -> float:
    """A number above `least` and up to `most`; raises TargetError for anything else."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not least < value <= most:
        raise TargetError(f"{where}: must be a number above {least:g} and at most {most:g}, got {str(value)[:40]}")
    if whole and not isinstance(value, int):
        raise TargetError(f"{where}: must be a whole number, got {shown(value)}")
    return value
