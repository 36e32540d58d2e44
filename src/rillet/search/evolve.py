"""Evolution in memory: many choices through the funnel, and from those that keep the budget the ones to train.

NSGA-II (Deb et al., IEEE TEC 2002) with constrained domination: of two choices, one that keeps the budget is better;
of two that do not, the one nearer to it; of two that do, one that is not behind in what makes a network able to learn,
its multiply-accumulates and its parameters. Each resolution has a population of its own: else the least one, which
leaves the most for parameters, would soon be the only one; it begins with the networks that the space says to begin
with, in every width. Choices are judged once each. Optuna's sampler would do
the same through a study, all of whose trials it goes through anew for each generation.

Once some are trained, those that learn best have children, which are trained in their turn.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from rillet.search.budget import Budget
from rillet.search.funnel import Judged, judge
from rillet.search.space import RESOLUTION, WIDTH, Choice, Space, Value

POPULATION = 64
"""Of all resolutions together; each has at least `_LEAST`."""
_LEAST = 16
MUTATION = 0.08
_OCTAVE = 0.25
"""Networks whose MACs are this near (in log2) count as of one size when those to train are spread over sizes."""
_PARENTS, _LEAST_PARENTS = 0.25, 4
"""Of the networks trained, the share that has children, and at least so many."""
_LITTER = 8
"""For each child that is to be trained, so many that keep the budget are made, and the largest is taken."""


@dataclass(frozen=True)
class Evolved:
    """What the funnel was asked, and what of it keeps the budget."""

    asked: int
    """Choices that went through the funnel, each once."""
    fitting: tuple[Judged, ...]
    """Those that keep the budget, in the order in which they were found."""


def silent(done: int, total: int) -> None:
    """No progress."""


def evolve(
    space: Space,
    budget: Budget,
    classes: int,
    candidates: int,
    seed: int,
    late: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = silent,
) -> Evolved:
    """Judges up to `candidates` different choices, and ends earlier once it is `late`, or where no new ones are found.

    The same for the same seed, but for where `late` ends it. progress: takes choices judged, and how many there can be.
    """
    sides = space.by_name[RESOLUTION].values
    starts = {side: space.started(side) for side in sides}
    most = max(_LEAST, POPULATION // len(sides))
    rng, seen, populations = Random(seed), dict[tuple[object, ...], Judged](), [list[Judged]() for _ in sides]
    barren = turn = 0
    while len(seen) < candidates and barren < 50 * POPULATION:
        turn += 1
        side, population = sides[turn % len(sides)], populations[turn % len(sides)]
        if starts[side]:
            made = starts[side].pop(0)
        else:
            made = space.drawn(rng) if len(population) < most else _child(space, population, rng)
        choice = space.plain({**made, RESOLUTION: side})
        key = tuple(choice.items())
        if key in seen:
            barren += 1
            continue
        barren = 0
        seen[key] = judge(space, choice, budget, classes)
        population.append(seen[key])
        if len(population) == 2 * most:
            population[:] = survivors(population, most)
        progress(len(seen), candidates)
        # An answer there must be: the first that keeps the budget is waited for.
        if late() and any(one.fits for one in seen.values()):
            break
    return Evolved(len(seen), tuple(one for one in seen.values() if one.fits))


def _child(space: Space, population: Sequence[Judged], rng: Random) -> dict[str, Value]:
    parents = [_tournament(population, rng).choice for _ in range(2)]
    return space.crossed(parents[0], parents[1], rng, MUTATION)


def _tournament(population: Sequence[Judged], rng: Random) -> Judged:
    one, other = rng.choice(population), rng.choice(population)
    return other if dominates(other, one) else one


def dominates(one: Judged, other: Judged) -> bool:
    """Constrained domination: see above."""
    if one.fits != other.fits:
        return one.fits
    if not one.fits:
        return one.excess < other.excess
    no_worse = one.macs >= other.macs and one.params >= other.params
    return no_worse and (one.macs > other.macs or one.params > other.params)


def survivors(population: Sequence[Judged], count: int) -> list[Judged]:
    """The best `count`: front by front, of the last one those with the most room around them."""
    left, kept = list(population), list[Judged]()
    while left and len(kept) < count:
        front = [one for one in left if not any(dominates(other, one) for other in left)]
        left = [one for one in left if one not in front]
        room = count - len(kept)
        kept += front if len(front) <= room else [front[i] for i in np.argsort(-_crowding(front), kind="stable")[:room]]
    return kept


def _crowding(front: Sequence[Judged]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """The distance between the neighbours of each, over both objectives; infinity at the ends."""
    total = np.zeros(len(front))
    for values in (np.log([max(one.macs, 1) for one in front]), np.log([max(one.params, 1) for one in front])):
        order = np.argsort(values, kind="stable")
        width = max(float(values[order[-1]] - values[order[0]]), 1e-12)
        total[order[0]] = total[order[-1]] = math.inf
        total[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / width
    return total


def to_train(fitting: Sequence[Judged], count: int, seed: int, starts: Sequence[Choice] = ()) -> list[Judged]:
    """The choices to train: of each network to begin with the largest form, then others spread over depths and, within
    each, over sizes and resolutions, the largest first.

    Depths take turns, that of the most choices first, so that each has a share; of a depth, first the one with the
    most multiply-accumulates, then the largest of another size or resolution, and so on; the order among equals is
    drawn by the seed.
    """
    rng = Random(seed)
    chosen = [max(same, key=lambda one: (one.macs, one.params)) for start in starts if (same := _forms(fitting, start))]
    chosen = chosen[:count]
    by_depth: dict[int, list[Judged]] = {}
    for one in rng.sample([one for one in fitting if one not in chosen], len(fitting) - len(chosen)):
        by_depth.setdefault(one.depth, []).append(one)
    queues = [_spread(by_depth[depth]) for depth in sorted(by_depth, key=lambda one: (-len(by_depth[one]), one))]
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop(0))
    return chosen


def _forms(fitting: Sequence[Judged], start: Choice) -> list[Judged]:
    """Those that differ from a network to begin with in nothing but resolution and width."""
    scales = (RESOLUTION, WIDTH)
    return [one for one in fitting if {k: v for k, v in one.choice.items() if k not in scales} == start]


def _spread(same: Sequence[Judged]) -> list[Judged]:
    """Round after round, the largest of each size and resolution that is left."""
    by_size: dict[tuple[int, Value], list[Judged]] = {}
    for one in sorted(same, key=lambda one: (-one.macs, -one.params)):
        size = int(math.log2(max(one.macs, 1)) / _OCTAVE)
        by_size.setdefault((size, one.choice[RESOLUTION]), []).append(one)
    order: list[Judged] = []
    while any(by_size.values()):
        order += [size.pop(0) for size in by_size.values() if size]
    return order


def children(
    space: Space, budget: Budget, classes: int, best: Sequence[Choice], count: int, seed: str
) -> Iterator[Judged]:
    """Children of choices that learned, the best first; at most `count`, each of which keeps the budget.

    Parents are the best quarter, the better of two drawn; a child has each gene from either, some drawn anew. Of
    several made alike, the largest goes on: what the budget allows is to be used. Ends where no new ones are found.
    """
    rng, seen = Random(seed), {tuple(choice.items()) for choice in best}
    parents = best[: max(_LEAST_PARENTS, math.ceil(_PARENTS * len(best)))]
    for _ in range(count):
        litter = list[Judged]()
        for _ in range(50 * POPULATION):
            pair = [parents[min(rng.randrange(len(parents)), rng.randrange(len(parents)))] for _ in range(2)]
            choice = space.crossed(pair[0], pair[1], rng, MUTATION)
            key = tuple(choice.items())
            if key in seen:
                continue
            seen.add(key)
            judged = judge(space, choice, budget, classes)
            litter += [judged] if judged.fits else []
            if len(litter) == _LITTER:
                break
        if not litter:
            return
        yield max(litter, key=lambda one: (one.macs, one.params))
