"""Whether a network fits into so many bytes: reachability over its cuts, without finding the best of them."""

import numpy as np

from rillet.plan.rows.planner import RowPlanner

_NEVER = np.iinfo(np.int64).max
"""Bytes of segments that cannot run."""


def fits(planner: RowPlanner, ram_bytes: int) -> bool:
    """True where some cuts keep every segment within `ram_bytes`, gaps between buffers not counted.

    Equal to asking whether the least peak is at most `ram_bytes`, for less: short segments first, whose few rings are
    found one by one, then those that could fit with the output overlaid. Raises Unsupported where there are no cuts.
    """
    planner.must_run()
    tile, reached = planner.tiles[0], np.zeros(planner.count + 1, np.bool_)
    least = np.where(planner.runs, planner.fixed(tile) + planner.settled_at(tile).aligned, _NEVER)
    overlaid = least - np.where(planner.runs, planner.saved, 0)
    reached[planner.first] = True
    for stop in range(planner.first + 1, planner.count + 1):
        near = np.flatnonzero(reached & (least[stop] <= ram_bytes))[::-1]
        reached[stop] = any(_least(planner, int(start), stop, overlaid=False) <= ram_bytes for start in near)
        if not reached[stop]:
            near = np.flatnonzero(reached & (overlaid[stop] <= ram_bytes))[::-1]
            reached[stop] = any(_least(planner, int(start), stop, overlaid=True) <= ram_bytes for start in near)
    return bool(reached[planner.count])


def _least(planner: RowPlanner, start: int, stop: int, *, overlaid: bool) -> int:
    """Bytes of a segment under the driver that needs the least, its output over the driver where that is asked."""
    tile = planner.tiles[0]
    return min(
        planner.bytes_apart(start, stop, tile, driver)
        - (planner.overlay(start, stop, tile, driver)[1] if overlaid else 0)
        for driver in planner.drivers(start, stop)
    )
