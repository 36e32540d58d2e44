"""Whether a network fits into so many bytes: reachability over its cuts, without finding the best of them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rillet.plan.rows.planner import RowPlanner

_NEVER = np.iinfo(np.int64).max
"""Bytes of segments that cannot run."""
Places = npt.NDArray[np.intp]


def fits(planner: RowPlanner, ram_bytes: int) -> bool:
    """True where some cuts keep every segment within `ram_bytes`, gaps between buffers not counted.

    Equal to asking whether the least peak is at most `ram_bytes`, for less: short segments first, and rings only of
    those whose maps and scratch memory leave room for them; then those that could fit with the output overlaid. Raises
    Unsupported where there are no cuts.
    """
    planner.must_run()
    rings, reached = _Rings(planner), np.zeros(planner.count + 1, np.bool_)
    least = np.where(planner.runs, planner.fixed(planner.tiles[0]), _NEVER)
    overlaid = least - np.where(planner.runs, planner.saved, 0)
    reached[planner.first] = True
    for stop in range(planner.first + 1, planner.count + 1):
        rings.read_before(stop)
        if reached[stop - 1] and least[stop, stop - 1] <= ram_bytes and rings.has_none(stop - 1):
            reached[stop] = True
            continue
        near = np.flatnonzero(reached & (least[stop] <= ram_bytes))[::-1]
        reached[stop] = rings.any_within(near, stop, ram_bytes, least[stop], overlaid=False)
        if not reached[stop]:
            near = np.flatnonzero(reached & (overlaid[stop] <= ram_bytes))[::-1]
            reached[stop] = rings.any_within(near, stop, ram_bytes, overlaid[stop], overlaid=True)
    return bool(reached[planner.count])


class _Rings:
    """Rings of segments that end at one place after another, each found when a segment is asked for that has it."""

    def __init__(self, planner: RowPlanner) -> None:
        self._planner, self._tile = planner, planner.tiles[0]
        self._space = planner.spaces[self._tile]
        self._settled = np.zeros(planner.count + 1, np.int64)
        """Bytes of rings that are the same for all segments that begin at or before a place."""
        self._unsettled: list[list[int]] = [[] for _ in planner.nodes]
        """By start, the values whose rings depend on it."""
        self._waiting: list[int] = []
        """Values that are read before the stop, and whose rings nobody asked for."""
        self._read_last: list[list[int]] = [[] for _ in range(planner.count + 2)]
        for i in range(planner.first, planner.count):
            self._read_last[planner.last[i] + 1].append(i)
        if not planner.resident:
            self._unsettled[planner.begins].append(0)

    def read_before(self, stop: int) -> None:
        """Goes on to segments that end there."""
        self._waiting += self._read_last[stop]

    def has_none(self, start: int) -> bool:
        """Whether the segment of one layer has no ring, not even of pushed rows: its value is read later."""
        return self._planner.last[start] > start and (self._planner.resident or start != self._planner.begins)

    def any_within(self, starts: Places, stop: int, ram_bytes: int, least: Places, *, overlaid: bool) -> bool:
        """Whether a segment from one of these starts keeps within so many bytes; `least`: without rings."""
        if not len(starts):
            return False
        found = max(self._waiting, default=-1) < starts[-1]
        for some in [starts] if found else _doubling(starts):
            first = int(some[-1])
            self._find(first)
            known = least[some] + np.cumsum(self._settled[first:][::-1])[::-1][some - first]
            for start in some[known <= ram_bytes]:
                if self._bytes(int(start), stop, overlaid=overlaid) <= ram_bytes:
                    return True
        return False

    def _find(self, start: int) -> None:
        """Finds the rings of segments that begin there or later."""
        planner, space, left = self._planner, self._space, list[int]()
        for i in self._waiting:
            if i < start:
                left.append(i)
                continue
            name = planner.nodes[i].name
            place = space.settled(name)
            if place >= planner.first:
                bytes_ = planner.align(planner.ring(name, planner.first, self._tile, planner.image))
                self._settled[min(place, i)] += bytes_
            for later in range(max(place + 1, planner.first), i + 1):
                self._unsettled[later].append(i)
        self._waiting = left

    def _bytes(self, start: int, stop: int, *, overlaid: bool) -> int:
        """Bytes of a segment under the driver that needs the least, its output over the driver where that is asked."""
        planner, tile = self._planner, self._tile
        apart = int(planner.fixed(tile)[stop, start] + self._settled[start:].sum())
        names = [planner.nodes[i].name for i in self._unsettled[start] if planner.last[i] < stop]
        return min(
            apart
            + sum(planner.align(planner.ring(name, start, tile, driver)) for name in names)
            - (planner.overlay(start, stop, tile, driver)[1] if overlaid else 0)
            for driver in planner.drivers(start, stop)
        )


def _doubling(starts: Places) -> Iterator[Places]:
    """The first, the next, then twice as many each time: far ones are asked for where near ones are of no use."""
    begin, count = 0, 1
    while begin < len(starts):
        yield starts[begin : begin + count]
        begin, count = begin + count, 2 * count
