"""What nextpnr made of a design, read from its report, from which nothing is taken on trust."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rillet.errors import BuildError

_MOST_MHZ = 1e5


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of a path."""

    kind: str
    """clk-to-q, routing, logic or setup."""
    at: str
    """Where it ends: cell and port."""
    ns: float


@dataclass(frozen=True, slots=True)
class Placed:
    """What nextpnr made of a design."""

    clock_hz: float
    """That the longest path allows."""
    path: tuple[Step, ...]
    """The longest, from register to register."""
    used: Mapping[str, tuple[int, int]]
    """Cells by kind as nextpnr counts them: taken, and what there is."""
    bitstream_bytes: int | None
    """None of one stage."""
    tool: str


def report_of(data: bytes, what: str) -> tuple[float, tuple[Step, ...], dict[str, tuple[int, int]]]:
    """Clock, longest path and cells of nextpnr's report; raises BuildError, which begins with `what`, for another."""
    try:
        found: Any = json.loads(data)
        clocks = [_number(one["achieved"], _MOST_MHZ) for one in found["fmax"].values()]
        paths = [_path(one["path"]) for one in found["critical_paths"] if _within(one)]
        cells = found["utilization"].items()
        used = {str(kind)[:60]: (int(one["used"]), int(one["available"])) for kind, one in cells}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        raise BuildError(f"{what}: report of nextpnr must say fmax, critical_paths and utilization") from None
    if not clocks or not paths:
        raise BuildError(f"{what}: report of nextpnr must say a clock and a path, got none")
    longest = max(paths, key=lambda path: sum(step.ns for step in path))
    return min(clocks) * 1e6, longest, {kind: both for kind, both in used.items() if both[0]}


def _within(path: Any) -> bool:
    """True of a path from register to register."""
    return str(path["from"]).startswith("posedge") and str(path["to"]).startswith("posedge")


def _path(steps: Any) -> tuple[Step, ...]:
    return tuple(
        Step(str(one["type"])[:20], f"{one['to']['cell']}.{one['to']['port']}"[:200], _number(one["delay"], 1e6))
        for one in steps
    )


def _number(value: Any, most: float) -> float:
    number = float(value)
    if not 0 <= number <= most:
        raise ValueError
    return number
