"""Whether a network fits into so many bytes: reachability over its cuts, without finding the best of them."""

import numpy as np

from rillet.plan.rows.planner import RowPlanner


def fits(planner: RowPlanner, ram_bytes: int) -> bool:
    """True where some cuts keep every segment within `ram_bytes`, gaps between buffers not counted.

    Equal to asking whether the least peak is at most `ram_bytes`, for less: a segment is looked at closely only where
    it takes too much with its output apart and could fit with it overlaid. Raises Unsupported where there are no cuts.
    """
    planner.must_run()
    tile = planner.tiles[0]
    apart, least = planner.bounds(tile)
    reached = np.zeros(planner.count + 1, np.bool_)
    reached[planner.first] = True
    for stop in range(planner.first + 1, planner.count + 1):
        reached[stop] = (reached & (apart[stop] <= ram_bytes)).any()
        if not reached[stop]:
            near = np.flatnonzero(reached & (least[stop] <= ram_bytes))[::-1]  # short segments have fewer rings
            costs = (planner.cost(int(start), stop, tile) for start in near)
            reached[stop] = any(cost is not None and cost.bytes <= ram_bytes for cost in costs)
    return bool(reached[planner.count])
