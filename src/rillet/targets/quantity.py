"""A number of a machine with its lower and upper bound, its source, and its confidence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rillet.errors import TargetError
from rillet.targets import reading

CONFIDENCES: Mapping[str, str] = {
    "data sheet": "its maker's data sheet prints it",
    "measured": "measured on this machine, by its source or by Rillet",
    "claimed": "a document says so, and nobody has measured it",
    "transferred": "measured on a machine like it",
    "assumed": "a plausible choice; the source says why",
}
"""Confidence in a number by the kind of its source, the strongest first."""
LARGEST = 1e15
_FIELDS = ("value", "source", "confidence")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its bounds (the number itself where there are none), its source and its confidence."""

    value: float
    low: float
    high: float
    source: str
    confidence: str
    """One of CONFIDENCES."""

    @property
    def banded(self) -> bool:
        """Whether the number has a band."""
        return self.low != self.high


def plain(value: float, source: str, confidence: str) -> Quantity:
    """A number without a band."""
    return Quantity(value, value, value, source, confidence)


def quantity(
    where: str, value: Any, *, whole: bool = False, least: float = 1, most: float = LARGEST, band: bool = False
) -> Quantity:
    """A number from `least` to `most` of a TOML file, with its source; low and high where the file says them.

    band: whether it must say them. Raises TargetError, which begins with `where`, for anything else.
    """
    both = (*_FIELDS, "low", "high")
    found = reading.section(where, value, both, _FIELDS)
    if band or "low" in found or "high" in found:
        reading.check_keys(where, found, both, both)
    middle = _number(f"{where}: value", found["value"], whole, least, most)
    low, high = (_number(f"{where}: {key}", found.get(key, middle), whole, least, most) for key in ("low", "high"))
    if not low <= middle <= high:
        raise TargetError(f"{where}: value must lie within low and high, got {low:g}, {middle:g}, {high:g}")
    confidence = reading.text(f"{where}: confidence", found["confidence"], tuple(CONFIDENCES))
    return Quantity(middle, low, high, reading.text(f"{where}: source", found["source"]), confidence)


def _number(where: str, number: Any, whole: bool, least: float, most: float) -> float:
    numeric = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    if not numeric or not least <= number <= most:
        raise TargetError(f"{where} must be a number from {least:g} to {most:g}, got {str(number)[:40]}")
    if whole and not isinstance(number, int):
        raise TargetError(f"{where} must be a whole number, got {reading.shown(number)}")
    return number
