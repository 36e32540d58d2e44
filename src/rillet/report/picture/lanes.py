"""The layers of a block as a series-parallel tree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rillet.report.picture.blocks import Block, Outline

Sources = Mapping[int, frozenset[int]]
"""For each item, those items of its block that it reads."""

MAX_ITEMS = 200
"""A block of more is drawn as one chain: finding the tree takes the cube of it at worst."""


@dataclass(frozen=True, slots=True)
class Series:
    """Parts from left to right."""

    parts: tuple["Part", ...]


@dataclass(frozen=True, slots=True)
class Parallel:
    """Parts from top to bottom, between the same fork and join."""

    lanes: tuple["Part", ...]


Part = int | Series | Parallel


def block_tree(net: Outline, block: Block) -> Part:
    """The tree of the items of `block`."""
    items = range(block.start, block.stop)
    sources = {i: set[int]() for i in items}
    for source, reader in net.edges:
        if reader in sources and source in sources:
            sources[reader].add(source)
    return arrange(items, {i: frozenset(s) for i, s in sources.items()})


def arrange(items: Sequence[int], sources: Sources) -> Part:
    """The tree of `items`, which are in topological order; what is no series-parallel graph stands by its depth."""
    if len(items) == 1:
        return items[0]
    if len(items) > MAX_ITEMS:
        return Series(tuple(items))
    apart = _components(items, sources)
    if len(apart) > 1:
        return Parallel(tuple(arrange(part, sources) for part in apart))
    pieces = _pieces(items, sources)
    if len(pieces) > 1:
        return Series(tuple(arrange(piece, sources) for piece in pieces))
    return Series(tuple(level[0] if len(level) == 1 else Parallel(tuple(level)) for level in _levels(items, sources)))


def _components(items: Sequence[int], sources: Sources) -> list[list[int]]:
    """The items in groups that know nothing of one another, by their first items."""
    group: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    for item in items:
        group[item], members[item] = item, [item]
        for source in sources[item]:
            if source in group and group[source] != group[item]:
                kept, gone = sorted((group[source], group[item]))
                for other in members[gone]:
                    group[other] = kept
                members[kept] += members.pop(gone)
    return [sorted(members[first]) for first in sorted(members)]


def _pieces(items: Sequence[int], sources: Sources) -> list[Sequence[int]]:
    """The items cut wherever all that follows reads all that came before, at its loose ends alone."""
    cuts = [0]
    for k in range(1, len(items)):
        before, behind = frozenset(items[:k]), frozenset(items[k:])
        ends = before.difference(*(sources[item] for item in items[:k]))
        if all(_after(sources[item], before, behind, ends) for item in items[k:]):
            cuts.append(k)
    return [items[a:b] for a, b in zip(cuts, [*cuts[1:], len(items)], strict=True)]


def _after(read: frozenset[int], before: frozenset[int], behind: frozenset[int], ends: frozenset[int]) -> bool:
    """True where an item behind a cut reads all the ends before it, or else nothing before it at all."""
    return read & before == (ends if read.isdisjoint(behind) else frozenset())


def _levels(items: Sequence[int], sources: Sources) -> list[list[int]]:
    """The items by the longest way to each."""
    depth: dict[int, int] = {}
    levels: list[list[int]] = []
    for item in items:
        depth[item] = max((depth[source] + 1 for source in sources[item] if source in depth), default=0)
        if depth[item] == len(levels):
            levels.append([])
        levels[depth[item]].append(item)
    return levels
