"""What callers from Python may pass: a wrong type says what was wanted."""

import os
import re
from pathlib import Path
from typing import Any

from rillet.errors import GraphError, TargetError
from rillet.ir.graph import Graph
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan

_SIZES = {"B": 1, "kB": 1000, "KB": 1000, "KiB": 1024, "MB": 10**6, "MiB": 2**20}
_RATES = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}


def graph(value: Any, what: str = "model") -> Graph:
    """The value, if it is a graph; raises GraphError."""
    if not isinstance(value, Graph):
        hint = " (rillet.load opens one)" if isinstance(value, str | os.PathLike) else ""
        raise GraphError(f"{what} must be a Graph{hint}, got {_kind(value)}")
    return value


def row_plan(value: Any) -> RowPlan:
    """The value, if it is a row plan; raises TargetError."""
    if not isinstance(value, RowPlan):
        raise TargetError(f"plan must be a RowPlan (of a host or a board), got {_kind(value)}")
    return value


def pixel_plan(value: Any) -> PixelPlan:
    """The value, if it is a pipeline's plan; raises TargetError."""
    if not isinstance(value, PixelPlan):
        raise TargetError(f"plan must be a PixelPlan (of a chip), got {_kind(value)}")
    return value


def count(value: Any, what: str) -> int:
    """The value, if it is a whole number of at least 1; raises GraphError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GraphError(f"{what} must be a whole number of at least 1, got {value!r}")
    return value


def path(value: Any, what: str) -> Path:
    """The value as a path; raises GraphError."""
    if not isinstance(value, str | os.PathLike):
        raise GraphError(f"{what} must be a path, got {_kind(value)}")
    return Path(value)


def size(value: str | int | None, what: str) -> int | None:
    """Bytes from `65536`, `64KiB`, `64kB` or `1.5MiB`; raises TargetError for anything else."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|KB|KiB|MB|MiB)?\s*", value) if isinstance(value, str) else None
    if match is None or len(match[1]) > 15 or int(float(match[1]) * _SIZES[match[2] or "B"]) < 1:
        raise TargetError(f"{what} must be a size such as 65536, 64KiB or 0.5MiB, got {value!r}")
    return int(float(match[1]) * _SIZES[match[2] or "B"])


def frequency(value: str | float | None, what: str) -> float | None:
    """Hertz from `200MHz`, `1.5GHz` or a number; raises TargetError for anything else."""
    if value is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*(Hz|kHz|MHz|GHz)?\s*", str(value))
    if match is None or not 0 < float(match[1]) < 1e15:
        raise TargetError(f"{what} must be a frequency such as 200MHz, got {value!r}")
    return float(match[1]) * _RATES[match[2] or "Hz"]


def _kind(value: object) -> str:
    return f"{type(value).__name__} {value!r}" if isinstance(value, str | int | float) else type(value).__name__
