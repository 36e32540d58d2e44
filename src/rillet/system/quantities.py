"""Parses sizes and frequencies with units, for the library and the command line alike.

`K`, `KiB`, `M` and `MiB` count in 1,024s, as linker scripts and data sheets of microcontrollers do; `kB`, `KB` and `MB`
count in 1,000s. A frequency has a unit.
"""

import math
import re

from rillet.errors import TargetError

_SIZES = {
    "": 1,
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "K": 1 << 10,
    "KiB": 1 << 10,
    "MB": 10**6,
    "M": 1 << 20,
    "MiB": 1 << 20,
}
_HERTZ = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}
_NUMBER = r"(\d{1,3}(?:[,_]\d{3})+|\d{1,15}(?:\.\d{1,15})?)"
"""A plain number, or a whole one with its thousands apart, as messages print it."""


def parse_size(said: str | int, what: str = "ram") -> int:
    """Bytes from 65536, `64KiB`, `64K` (both 65,536), `64kB` (64,000) or `1.5MiB`.

    Raises TargetError, which begins with `what`, for anything else.
    """
    error = TargetError(f"{what} must be a size such as 65536, 64KiB or 0.5MiB, got {said!r:.60}")
    if isinstance(said, str):
        found = re.fullmatch(rf"\s*{_NUMBER}\s*([A-Za-z]*)\s*", said)
        if found is None or found[2] not in _SIZES:
            raise error
        size = int(_plain(found[1]) * _SIZES[found[2]])
    else:
        size = whole(said, error)
    if not 1 <= size <= 1 << 53:
        raise error
    return size


def whole(said: object, error: TargetError) -> int:
    """A whole number; raises `error` for anything else, True and False among it."""
    if isinstance(said, bool) or not isinstance(said, int):
        raise error
    return said


def parse_frequency(said: str | float, what: str = "clock") -> float:
    """Hertz from `200MHz`, `1.5GHz` or `5e7 Hz`; a number of Python is in hertz.

    Raises TargetError, which begins with `what`, for anything else, a text without a unit among it.
    """
    if isinstance(said, str):
        found = re.fullmatch(rf"\s*{_NUMBER}(?:[eE](\d{{1,2}}))?\s*([A-Za-z]*)\s*", said)
        if found is None or found[3] not in ("", *_HERTZ):
            raise TargetError(f"{what} must be a frequency such as 200MHz, got {said!r:.60}")
        if not found[3]:
            raise TargetError(f"{what} must have a unit (Hz, kHz, MHz or GHz), as {found[1]}MHz, got {said!r:.60}")
        hertz = _plain(found[1]) * 10.0 ** int(found[2] or 0) * _HERTZ[found[3]]
    else:
        hertz = _real(said, what)
    if not 0 < hertz < 1e15:
        raise TargetError(f"{what} must be above 0 and below 1e15 Hz, got {said!r:.60}")
    return hertz


def _real(said: object, what: str) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        raise TargetError(f"{what} must be a frequency such as 200MHz, got {said!r:.60}")
    return float(said)


def _plain(text: str) -> float:
    """A number whose thousands may stand apart."""
    return float(text.replace(",", "").replace("_", ""))


def bytes_text(size: int) -> str:
    """Bytes as messages have them: `262,144 bytes (256 KiB)`."""
    kib = f"{size / 1024:,.1f}".removesuffix(".0")
    return f"{size:,} bytes" if size < 1024 else f"{size:,} bytes ({kib} KiB)"


def bits_text(bits: int, *, up: bool = True) -> str:
    """Bits as `bytes_text` has them, rounded up to whole bytes (what is needed) or down (what there is)."""
    return bytes_text(-(-bits // 8) if up else bits // 8)
