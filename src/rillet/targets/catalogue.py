"""All machines under one name: systolic arrays, chips that stream, and boards."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rillet import targets
from rillet.errors import TargetError
from rillet.targets import StreamChip, arrays, boards, reading
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board

Machine = ArrayMachine | StreamChip | Board


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of machines: what it knows, and how its files are told and read."""

    names: Callable[[], tuple[str, ...]]
    load: Callable[[str], Machine]
    from_table: Callable[[str, Mapping[str, Any]], Machine]
    keys: tuple[str, ...]
    """Those that only files of this kind have."""


_KINDS = (
    _Kind(
        arrays.names,
        arrays.load,
        arrays.from_table,
        ("rows", "columns", "dataflow", "hardware", "dram_bytes_per_s"),
    ),
    _Kind(
        targets.names,
        targets.load,
        targets.from_table,
        ("multipliers", "memory_bits", "weights_per_multiplier", "claimed_images_per_s"),
    ),
    _Kind(boards.names, boards.load, boards.from_table, ("core", "flash_bytes", "ram_bytes", "cycles_per_mac")),
)
_LIKE = 0.8
"""How near a misspelt key must be to tell the kind of a file."""


def names() -> tuple[str, ...]:
    """Every machine that Rillet knows: arrays, then chips, then boards."""
    return tuple(name for kind in _KINDS for name in kind.names())


def load(name: str) -> Machine:
    """The machine called `name`, or that of a file whose name ends in .toml, told by its keys.

    Raises TargetError for an unknown name (with the nearest one), and for a file that is not well formed.
    """
    if name.endswith(".toml"):
        where, table = reading.document("", "machine", name)
        return _kind(where, table).from_table(where, table)
    plain = reading.canonical(name)
    for kind in _KINDS:
        if plain in kind.names():
            return kind.load(plain)
    near = difflib.get_close_matches(plain, names(), 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}, and files ending in .toml"
    raise TargetError(f"{name}: must be a machine; {hint}")


def _kind(where: str, table: Mapping[str, Any]) -> _Kind:
    """What a file describes, by the keys that it has; misspelt ones count where no others do."""
    for cutoff in (1.0, _LIKE):
        found = [sum(bool(difflib.get_close_matches(key, kind.keys, 1, cutoff)) for key in table) for kind in _KINDS]
        if any(found):
            return _KINDS[found.index(max(found))]
    raise TargetError(
        f"{where}: must say rows (of a systolic array), multipliers (of a chip that streams) or ram_bytes (of a board)"
    )
