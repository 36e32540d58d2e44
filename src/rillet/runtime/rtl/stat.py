"""Reads what yosys counts: its `stat -json`, from which nothing is taken on trust."""

import json
from typing import Any

from rillet.errors import BuildError

MOST_BYTES = 16 << 20
_MOST_CELLS = 10**9
_MOST_NAME = 1000


def cells_of(text: str, what: str) -> dict[str, int]:
    """How many cells of each type a design has; raises BuildError, which begins with `what`, where a text says none."""
    found: Any = None
    if len(text) <= MOST_BYTES:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
    for key in ("design", "num_cells_by_type"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise BuildError(f"{what}: statistics of yosys must say num_cells_by_type of the design, got none")
    for cell, count in found.items():
        plain = isinstance(count, int) and not isinstance(count, bool)
        if not plain or not 0 <= count <= _MOST_CELLS or len(cell) > _MOST_NAME:
            raise BuildError(f"{what}: statistics of yosys must count cells, got {cell[:40]!r}: {str(count)[:40]}")
    return found
