"""Targets: their names by kind, and one target with the sources of its numbers."""

from pathlib import Path

from rillet.errors import TargetError
from rillet.targets import catalogue
from rillet.targets.catalogue import Kind, Target, kind_of
from rillet.targets.writing import to_toml

__all__ = ["Kind", "Target", "kind_of", "target", "targets", "to_toml"]


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


def _named(name: object) -> str:
    if not isinstance(name, str | Path):
        raise TargetError(f"target must be a name or the path of a TOML file, got {type(name).__name__}")
    return str(name)
