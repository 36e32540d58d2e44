"""Machines: what a chip that streams has, every number with its source."""

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rillet.errors import TargetError

CONFIDENCES = ("data sheet", "claimed", "assumed")
"""What a number rests on: its maker's data sheet, a document's word, or nothing but a plausible choice."""

MAX_FILE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, where it is printed, and what it rests on (one of CONFIDENCES)."""

    value: float
    source: str
    confidence: str


@dataclass(frozen=True, slots=True)
class StreamChip:
    """A chip whose multipliers stand in the stream: how many, how fast, and what memory is beside them."""

    name: str
    about: str
    quantities: Mapping[str, Quantity]
    """Every number of the file with its source, by the names below."""

    @property
    def multipliers(self) -> int:
        """Multipliers, each taking one product a cycle."""
        return int(self.quantities["multipliers"].value)

    @property
    def clock_hz(self) -> float:
        """Cycles a second."""
        return float(self.quantities["clock_hz"].value)

    @property
    def memory_bits(self) -> int | None:
        """Memory on the chip for weights and buffers, in bits; None where nothing is said."""
        return self._whole("memory_bits")

    @property
    def weights_per_multiplier(self) -> int | None:
        """Weights that each multiplier can hold and take in turn; None where memory alone bounds them."""
        return self._whole("weights_per_multiplier")

    @property
    def claimed_images_per_s(self) -> float | None:
        """Images a second that its document promises; None where it promises nothing."""
        found = self.quantities.get("claimed_images_per_s")
        return None if found is None else found.value

    def _whole(self, key: str) -> int | None:
        found = self.quantities.get(key)
        return None if found is None else int(found.value)


WHOLE = ("multipliers", "memory_bits", "weights_per_multiplier")
KEYS = ("multipliers", "clock_hz", "memory_bits", "weights_per_multiplier", "claimed_images_per_s")
REQUIRED = KEYS[:2]
_LARGEST = 1e15


@cache
def names() -> tuple[str, ...]:
    """The machines that Rillet knows."""
    found = (file.name for file in files("rillet.targets").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def load(name: str) -> StreamChip:
    """The machine called `name` (`ZCU102` is zcu102), or that of a file whose name ends in .toml.

    Raises TargetError for an unknown name (with the nearest one), and for a file that is not well formed.
    """
    if name.endswith(".toml"):
        return parse(name, _read(Path(name)))
    plain = name.lower().replace("-", "_")
    if plain in names():
        return parse(plain, files("rillet.targets").joinpath(f"{plain}.toml").read_text(encoding="utf-8"))
    near = difflib.get_close_matches(plain, names(), 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}, and files ending in .toml"
    raise TargetError(f"{name}: must be a machine; {hint}")


def _read(path: Path) -> str:
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


def parse(where: str, text: str) -> StreamChip:
    """The machine that a TOML text describes; raises TargetError, which begins with `where`, for a wrong one."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise TargetError(f"{where}: must be TOML: {error}") from None
    _known(where, table, ("name", "about", *KEYS), ("name", "about", *REQUIRED))
    words = {key: _text(f"{where}: {key}", table.pop(key)) for key in ("name", "about")}
    return StreamChip(**words, quantities={key: _quantity(where, key, value) for key, value in table.items()})


def _quantity(where: str, key: str, table: Any) -> Quantity:
    place = f"{where}: {key}"
    if not isinstance(table, dict):
        raise TargetError(f"{place}: must be a table with value, source and confidence, got {table!r}")
    fields = ("value", "source", "confidence")
    _known(place, table, fields, fields)
    value: Any = table["value"]
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not 1 <= value <= _LARGEST:
        raise TargetError(f"{place}: value must be a number from 1 to {_LARGEST:g}, got {value!r}")
    if key in WHOLE and not isinstance(value, int):
        raise TargetError(f"{place}: value must be a whole number, got {value!r}")
    confidence = _text(f"{place}: confidence", table["confidence"])
    if confidence not in CONFIDENCES:
        raise TargetError(f"{place}: confidence must be one of {', '.join(CONFIDENCES)}; got {confidence!r}")
    return Quantity(value, _text(f"{place}: source", table["source"]), confidence)


def _known(where: str, table: Mapping[str, Any], known: tuple[str, ...], required: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TargetError(f"{where}: key must be one of {', '.join(known)}; got {key!r}{hint}")
    for key in required:
        if key not in table:
            raise TargetError(f"{where}: must say {key}")


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TargetError(f"{where}: must be a text, got {value!r}")
    return value
