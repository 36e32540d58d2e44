"""Checks of arguments from Python callers: a wrong type raises a sentence with the expected one."""

import os
from pathlib import Path
from typing import Any

from rillet.api.backends import Plan, backend_of
from rillet.errors import GraphError, TargetError
from rillet.ir.graph import Graph
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan
from rillet.system.quantities import parse_frequency, parse_size
from rillet.targets.host import lacking


def graph(value: Any, what: str = "model") -> Graph:
    """The value, if it is a graph; raises GraphError."""
    if not isinstance(value, Graph):
        hint = " (rillet.load opens one)" if isinstance(value, str | os.PathLike) else ""
        raise GraphError(f"{what} must be a Graph{hint}, got {_kind(value)}")
    return value


def row_plan(value: Any) -> RowPlan:
    """The value, if it is a row plan; raises TargetError."""
    found = backend_of(value).program if isinstance(value, Plan) else None
    if found is None:
        raise TargetError(f"plan must be a RowPlan (of a host or a board), got {_kind(value)}")
    return found


def runs_here(made: RowPlan) -> RowPlan:
    """The plan, if this machine can run its program; raises TargetError where it lacks instructions of it."""
    words = lacking(made.host) if made.host is not None else ()
    if words:
        raise TargetError(
            f"{made.graph.name}: must be planned for this machine to run here (--target host), got {made.kernels} "
            f"kernels: this processor has no {', '.join(words)}"
        )
    return made


def pipeline_of(value: Any) -> PixelPlan | None:
    """The value, if it is a pipeline's plan."""
    return backend_of(value).pipeline if isinstance(value, Plan) else None


def pixel_plan(value: Any) -> PixelPlan:
    """The value, if it is a pipeline's plan; raises TargetError."""
    found = pipeline_of(value)
    if found is None:
        raise TargetError(f"plan must be a PixelPlan (of a chip), got {_kind(value)}")
    return found


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
    return None if value is None else parse_size(value, what)


def frequency(value: str | float | None, what: str) -> float | None:
    """Hertz from `200MHz`, `1.5GHz` or a number; raises TargetError for anything else."""
    return None if value is None else parse_frequency(value, what)


def _kind(value: object) -> str:
    return f"{type(value).__name__} {value!r}" if isinstance(value, str | int | float) else type(value).__name__
