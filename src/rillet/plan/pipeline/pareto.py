"""Pareto front over subsets of options, for two costs."""

from collections.abc import Sequence

from rillet.errors import GraphError

MOST_POINTS = 20_000


def subsets(options: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Of options with their two costs: each unbeaten subset's costs, and its options as bits, the first cost rising.

    Options are taken in one by one, and of all subsets so far just those are kept that are not beaten: what is beaten
    stays so whatever is added to both (Nemhauser and Ullmann, 1969). Raises GraphError beyond 20,000 subsets.
    """
    kept: list[tuple[int, int, int]] = [(0, 0, 0)]
    for i, (one, other) in enumerate(options):
        taken = [(first + one, second + other, chosen | 1 << i) for first, second, chosen in kept]
        best: list[tuple[int, int, int]] = []
        for point in sorted(kept + taken):
            if not best or point[1] < best[-1][1]:
                best.append(point)
        kept = best
        if len(kept) > MOST_POINTS:
            raise GraphError(
                f"front of {len(options)} expansions must have at most {MOST_POINTS} points, got {len(kept)}"
            )
    return kept
