"""Targets: their names by kind, and one target with the sources of its numbers."""

from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from rillet.errors import TargetError
from rillet.targets import catalogue
from rillet.targets.catalogue import Kind, Target, kind_of
from rillet.targets.writing import to_toml

__all__ = ["Kind", "Named", "Target", "find", "found", "kind_of", "label", "target", "targets", "to_toml"]

Named = str | PathLike[str] | Target
"""A machine as every function takes it: a name, a TOML file, or a record."""
_T = TypeVar("_T", bound=Target)


def target(name: str | Path) -> Target:
    """A target by name or by a TOML file, whose keys docs/targets.md lists.

    `host` is this machine. Raises TargetError for an unknown name (with the nearest one), and for a
    file that is not well formed.

    >>> target("nano33ble").ram_bytes
    262144
    >>> target("zcu102").quantities["multipliers"].confidence
    'data sheet'
    """
    return catalogue.load(_named(name))


def targets(kind: str | None = None) -> tuple[str, ...]:
    """The names that `target` knows: hosts, boards, chips and arrays, or those of one kind.

    Raises TargetError for an unknown kind.

    >>> targets("array")
    ('fuse_64x64', 'gemmini_16x16', 'systolic_64x64')
    """
    return catalogue.names(tuple(Kind) if kind is None else kind)


def find(machine: Named) -> Target:
    """The machine of a name, a TOML file or a record; raises TargetError for what is none."""
    given: Any = machine
    if isinstance(given, Target):
        return given
    if not isinstance(given, str | PathLike):
        raise TargetError(f"target must be a machine's name, a .toml file or a Target, got {type(given).__name__}")
    return catalogue.load(str(given))


def found(machine: Named, kinds: tuple[type[_T], ...], what: str) -> _T:
    """As `find`, of one of `kinds`, which have an answer for `what`; raises TargetError that says which do."""
    return catalogue.need(find(machine), kinds, what, label(machine))


def label(machine: Named) -> str:
    """What a machine was asked for by."""
    return machine.name if isinstance(machine, Target) else str(machine)


def _named(name: object) -> str:
    if not isinstance(name, str | Path):
        raise TargetError(f"target must be a name or the path of a TOML file, got {type(name).__name__}")
    return str(name)
