"""`Target`, the union of all machines: a host, a board, a streaming chip, or a systolic array; loading by name."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, assert_never

from rillet.errors import TargetError
from rillet.targets import arrays, boards, chips, host, reading
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.chips import StreamChip
from rillet.targets.host import Host

Machine = ArrayMachine | StreamChip | Board
"""Those that a network can be costed on: a host's time is measured, not modelled."""
Target = Host | Machine
_T = TypeVar("_T", bound=Target)


class Kind(StrEnum):
    """What a machine is."""

    HOST = "host"
    BOARD = "board"
    CHIP = "chip"
    ARRAY = "array"


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The machines of one kind: which there are, and how their files are told and read."""

    names: Callable[[], tuple[str, ...]]
    load: Callable[[str], Target]
    from_table: Callable[[str, Mapping[str, Any]], Target]
    keys: tuple[str, ...]
    """Every key of its files."""
    own: tuple[str, ...]
    """Those that only files of this kind have."""
    noun: str
    example: str


_SHELVES: Mapping[Kind, _Shelf] = {
    Kind.ARRAY: _Shelf(
        arrays.names,
        arrays.load,
        arrays.from_table,
        arrays.KEYS,
        ("rows", "columns", "dataflow", "hardware", "dram_bytes_per_s"),
        "a systolic array",
        "systolic_64x64",
    ),
    Kind.CHIP: _Shelf(
        chips.names,
        chips.load,
        chips.from_table,
        chips.KEYS,
        ("multipliers", "memory_bits", "weights_per_multiplier", "claimed_images_per_s"),
        "a chip",
        "zcu102",
    ),
    Kind.BOARD: _Shelf(
        boards.names,
        boards.load,
        boards.from_table,
        boards.KEYS,
        ("core", "flash_bytes", "ram_bytes", "cycles_per_mac"),
        "a board",
        "nano33ble",
    ),
    Kind.HOST: _Shelf(
        host.names,
        host.load,
        host.from_table,
        host.KEYS,
        ("kernels", "extras", "cores", "l1_bytes", "l2_bytes"),
        "a host",
        "host",
    ),
}
"""A file that could be of several kinds is of the first; `kernels` is a key of boards too."""
_LIKE = 0.8
"""How near a misspelt key must be to tell the kind of a file."""


def names(kind: Kind | str | tuple[Kind, ...] | None = None) -> tuple[str, ...]:
    """The machines that Rillet knows: arrays, chips, boards, then hosts; those of a kind (or of several) where said.

    Raises TargetError for a kind that there is not.
    """
    kinds = tuple(_SHELVES) if kind is None else kind if isinstance(kind, tuple) else (named_kind(kind),)
    return tuple(name for kind in kinds for name in _SHELVES[kind].names())


def named_kind(word: str) -> Kind:
    """The kind of that name; raises TargetError for any other word."""
    if word not in tuple(Kind):
        raise TargetError(f"kind must be one of {', '.join(Kind)}, got {word!r}")
    return Kind(word)


def keys(kind: Kind) -> tuple[str, ...]:
    """Every key that a file of this kind may have."""
    return _SHELVES[kind].keys


def load(name: str | Path) -> Target:
    """The machine called `name`, or that of a file whose name ends in .toml, told by its keys.

    Raises TargetError for an unknown name (with the nearest one), and for a file that is not well formed.
    """
    name = str(name)
    if name.endswith(".toml"):
        return parse(name, reading.text_of(Path(name)))
    plain = reading.canonical(name)
    for shelf in _SHELVES.values():
        if plain in shelf.names():
            return shelf.load(plain)
    near = difflib.get_close_matches(plain, names(), 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}, and files ending in .toml"
    raise TargetError(f"{name}: must be a machine; {hint}")


def parse(where: str, text: str) -> Target:
    """The machine that a TOML text describes; raises TargetError, which begins with `where`, for a wrong one."""
    table = reading.table(where, text)
    return _shelf(where, table).from_table(where, table)


def _shelf(where: str, table: Mapping[str, Any]) -> _Shelf:
    """What a file describes, by the keys that it has; misspelt ones count where no others do."""
    shelves = tuple(_SHELVES.values())
    for cutoff in (1.0, _LIKE):
        found = [sum(bool(difflib.get_close_matches(key, shelf.own, 1, cutoff)) for key in table) for shelf in shelves]
        if any(found):
            return shelves[found.index(max(found))]
    raise TargetError(
        f"{where}: must say rows (of a systolic array), multipliers (of a chip that streams), ram_bytes (of a board) "
        "or kernels (of a host)"
    )


def kind_of(target: Target) -> Kind:
    """What a machine is."""
    match target:
        case Host():
            return Kind.HOST
        case Board():
            return Kind.BOARD
        case StreamChip():
            return Kind.CHIP
        case ArrayMachine():
            return Kind.ARRAY
    assert_never(target)


_CLASSES: Mapping[type[Target], Kind] = {
    Host: Kind.HOST,
    Board: Kind.BOARD,
    StreamChip: Kind.CHIP,
    ArrayMachine: Kind.ARRAY,
}


def need(target: Target, kinds: tuple[type[_T], ...], what: str, name: str | Path | None = None) -> _T:
    """The machine, if it is of one of `kinds`, which are classes of `Target`.

    what: what is asked of it, as `fit`; name: what it was asked for by, its own name by default. Raises TargetError
    that says which kinds have an answer.
    """
    if isinstance(target, kinds):
        return target
    shelves = [_SHELVES[_CLASSES[kind]] for kind in kinds]
    nouns, examples = _or([shelf.noun for shelf in shelves]), _or([shelf.example for shelf in shelves])
    got = _SHELVES[kind_of(target)].noun
    raise TargetError(f"{name or target.name}: must be {nouns} for {what}, as {examples}; got {got}")


def _or(words: list[str]) -> str:
    """Words as a choice: `a chip`, `a chip or a board`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
