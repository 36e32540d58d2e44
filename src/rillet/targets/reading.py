"""Reads TOML files strictly: what is unknown, missing, doubled or out of range is named."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rillet.errors import TargetError

MAX_FILE_BYTES = 1 << 16


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
        return plain, table(plain, files(package).joinpath(folder, f"{plain}.toml").read_text("utf-8"))
    near = difflib.get_close_matches(plain, known, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}, and files ending in .toml"
    raise TargetError(f"{name}: must be a {what}; {hint}")


def canonical(name: str) -> str:
    """A name as files are called: `ECP5-85` is ecp5_85."""
    return name.lower().replace("-", "_").replace(" ", "")


def text_of(path: Path) -> str:
    """The text of a file of at most MAX_FILE_BYTES; raises TargetError where it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TargetError(f"{path}: must be a file that can be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise TargetError(f"{path}: must have at most {MAX_FILE_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise TargetError(f"{path}: must be text in UTF-8") from None


def table(where: str, text: str) -> dict[str, Any]:
    """A TOML text as a table; raises TargetError, which begins with `where`, where it is none or doubles a key."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        again = _doubled(text) if "overwrite" in str(error) or "twice" in str(error) else ""
        raise TargetError(f"{where}: must be TOML: {error}{again}") from None


def _doubled(text: str) -> str:
    """The first key or table that a text says again; nothing where each is said once."""
    seen: set[tuple[str, str]] = set()
    where = ""
    for line in text.splitlines():
        key = line.partition("=")[0].strip()
        if not key or key.startswith("#"):
            continue
        if key.startswith("["):
            where, key = key.strip("[] "), ""
        if (where, key) in seen:
            return f"; {'.'.join(filter(None, (where, key)))} must be said once"
        seen.add((where, key))
    return ""


def check_keys(where: str, found: Mapping[str, Any], known: Iterable[str], required: Iterable[str]) -> None:
    """Raises TargetError for a key that is not known (with the nearest that is), or a required one that is missing."""
    known = tuple(known)
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise TargetError(f"{where}: key must be a known one, got {key!r}; {hint}")
    for key in required:
        if key not in found:
            raise TargetError(f"{where}: must say {key}")


def section(where: str, value: Any, known: Iterable[str], required: Iterable[str]) -> dict[str, Any]:
    """A table within a file, with its keys checked; raises TargetError where it is none."""
    if not isinstance(value, dict):
        raise TargetError(f"{where}: must be a table, got {value!r}")
    check_keys(where, value, known, required)
    return value


def text(where: str, value: Any, among: tuple[str, ...] = ()) -> str:
    """A text that is not empty, one of `among` where those are given; raises TargetError for anything else."""
    if not isinstance(value, str) or not value.strip():
        raise TargetError(f"{where}: must be a text, got {value!r}")
    if among and value not in among:
        raise TargetError(f"{where}: must be one of {', '.join(among)}; got {value!r}")
    return value


def number(where: str, value: Any, least: float = 0.0, most: float = 1e15, *, whole: bool = False) -> float:
    """A number above `least` and up to `most`; raises TargetError for anything else."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not least < value <= most:
        raise TargetError(f"{where}: must be a number above {least:g} and at most {most:g}, got {str(value)[:40]}")
    if whole and not isinstance(value, int):
        raise TargetError(f"{where}: must be a whole number, got {value!r}")
    return value
