"""Successive halving: many short trainings, fewer longer ones of the best, and few whole ones.

Short trainings favour shallow networks, so that a share of each rung is kept for each depth.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rillet.errors import GraphError

_RUNG = re.compile(r"(\d{1,5})x(\d{1,5})")
DEFAULT = "64x1,16x5,4x25"
_FOR_DEPTHS = 4
"""One place in so many is for the best of each depth."""


@dataclass(frozen=True, slots=True)
class Rung:
    """So many networks, trained for so many epochs each."""

    networks: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Scored:
    """A network that was trained, and how well it did."""

    key: str
    depth: int
    top1: float


def parse(text: str) -> tuple[Rung, ...]:
    """The rungs that `64x1,16x5,4x25` says (networks x epochs); raises GraphError for what is none."""
    rungs: list[Rung] = []
    for part in text.split(","):
        found = _RUNG.fullmatch(part.strip())
        if found is None or not int(found[1]) or not int(found[2]):
            raise GraphError(f"--rungs must be networks x epochs, such as {DEFAULT}, got {text!r:.60}")
        rungs.append(Rung(int(found[1]), int(found[2])))
    for one, other in pairwise(rungs):
        if other.networks > one.networks or other.epochs <= one.epochs:
            raise GraphError(f"--rungs must each have no more networks and more epochs than the one before, got {text}")
    return tuple(rungs)


def survivors(scored: Sequence[Scored], count: int) -> list[Scored]:
    """Those that go on: three quarters of the places for the best, the others for the best of each depth in turn.

    Depths take turns by their best network; equals are in the order of their keys.
    """
    order = sorted(scored, key=lambda one: (-one.top1, one.key))
    kept = order[: count - count // _FOR_DEPTHS]
    by_depth: dict[int, list[Scored]] = {}
    for one in order:
        if one not in kept:
            by_depth.setdefault(one.depth, []).append(one)
    while len(kept) < count and any(by_depth.values()):
        for same in by_depth.values():
            if same and len(kept) < count:
                kept.append(same.pop(0))
    return sorted(kept, key=lambda one: (-one.top1, one.key))


def front(costs: Mapping[str, tuple[float, ...]]) -> list[str]:
    """The keys of which no other has costs that are all at most theirs, and one that is less; costs are to be small."""
    return [
        key
        for key, mine in costs.items()
        if not any(all(a <= b for a, b in zip(its, mine, strict=True)) and its != mine for its in costs.values())
    ]


def hypervolume(points: Sequence[tuple[float, float]], least_top1: float, most_macs: float) -> float:
    """The area of top-1 over log2 of MACs that points (top-1, MACs) dominate, above `least_top1` and below `most_macs`.

    The larger, the better a front (Zitzler and Thiele, IEEE TEC 1999).
    """
    area, reached = 0.0, least_top1
    for top1, macs in sorted(points, key=lambda point: (point[1], -point[0])):
        if top1 > reached and macs < most_macs:
            area += (top1 - reached) * math.log2(most_macs / macs)
            reached = top1
    return area
