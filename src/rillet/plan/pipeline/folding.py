"""Folding: the fewest multipliers with which a layer, and so a network, meets an initiation interval.

A layer makes `outputs` sums of `reduction` products at each of `pixels` places. A folding shares that work out over
parallel multipliers (outputs x inputs x taps x lanes, a lane being one more pixel at a time) and time-multiplexes the
rest.

Layers are coupled only by the interval: the pipeline's interval is that of its slowest layer. So the fewest
multipliers at an interval are the sum of each layer's own fewest, and the least interval within a budget is one of the
finitely many that some layer has; the sum falls as the interval grows, so that a binary search over them is exact.

By divisors a folding wastes nothing: multipliers x cycles = MACs. A divisor of the product outputs x reduction x pixels
is a product of divisors of the three, so a layer may have as many multipliers as any divisor of its MACs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from rillet.errors import TargetError


@dataclass(frozen=True, slots=True)
class Work:
    """The products of one layer for one image: those of equal work fold alike."""

    outputs: int
    reduction: int
    """Products in a sum: input channels of a group times taps."""
    taps: int
    pixels: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return self.outputs * self.reduction * self.pixels


@dataclass(frozen=True, slots=True)
class Folding:
    """Parallel multipliers along each dimension, and the cycles over which they are shared."""

    outputs: int
    inputs: int
    taps: int
    lanes: int
    """Pixels of one firing, consecutive in raster order; they share each weight register by broadcast."""
    cycles: int
    """Cycles of one firing; also the weights that each multiplier takes in turn."""
    firings: int
    """Firings for one image."""

    @property
    def multipliers(self) -> int:
        """Parallel multipliers."""
        return self.outputs * self.inputs * self.taps * self.lanes

    @property
    def interval(self) -> int:
        """Cycles of one image."""
        return self.cycles * self.firings


@cache
def foldings(work: Work, ceil: bool = False, most_cycles: int | None = None) -> tuple[Folding, ...]:
    """The foldings that no other beats in both multipliers and cycles an image, fewest multipliers first.

    Of equal ones, that with the fewest lanes: its firings want the fewest pixels at once. `ceil` also takes numbers
    that do not divide, the last word padded with zeros. `most_cycles` bounds a firing: a multiplier's weights.
    """
    made = _by_ceiling(work, most_cycles) if ceil else _by_divisors(work, most_cycles)
    kept: list[Folding] = []
    for folding in made:
        if not kept or folding.interval < kept[-1].interval:
            kept.append(folding)
    return tuple(kept)


@cache
def equals(work: Work, multipliers: int, interval: int, ceil: bool, most_cycles: int | None) -> tuple[Folding, ...]:
    """All foldings with exactly `multipliers` within `interval` that differ in their timing; the fewest lanes first.

    Of those with equal lanes and cycles one is kept, as every pixel has the same timing.
    """
    found: dict[tuple[int, int], Folding] = {}
    for lanes in divisors(work.pixels):
        if multipliers % lanes:
            continue
        side = multipliers // lanes
        for outputs in divisors(side) if ceil else (math.gcd(side, work.outputs),):
            reduction = side // outputs
            if not ceil and work.reduction % reduction:
                continue
            cycles = -(-work.outputs // outputs) * -(-work.reduction // reduction)
            fits = outputs <= work.outputs and reduction <= work.reduction
            if fits and cycles * (work.pixels // lanes) <= interval and cycles <= (most_cycles or cycles):
                found.setdefault((lanes, cycles), _folding(work, outputs, reduction, lanes, cycles))
    return tuple(found[key] for key in sorted(found))


def _by_divisors(work: Work, most_cycles: int | None) -> list[Folding]:
    per_pixel = work.outputs * work.reduction
    made: list[Folding] = []
    for count in divisors(work.outputs, work.reduction, work.pixels):
        # A lane only where the channels and taps cannot take the factor.
        side = math.gcd(count, per_pixel)
        cycles = per_pixel // side
        if most_cycles is None or cycles <= most_cycles:
            outputs = math.gcd(side, work.outputs)
            made.append(_folding(work, outputs, side // outputs, count // side, cycles))
    return made


def _by_ceiling(work: Work, most_cycles: int | None) -> list[Folding]:
    outputs, reduction = (np.array(word_widths(n), np.int64) for n in (work.outputs, work.reduction))
    side = (outputs[:, None] * reduction[None, :]).reshape(-1)
    cycles = (-(-work.outputs // outputs)[:, None] * (-(-work.reduction // reduction))[None, :]).reshape(-1)
    order = np.lexsort((cycles, side))
    if most_cycles is not None:
        order = order[cycles[order] <= most_cycles]
    if not order.size:
        return []
    # The best of one pixel at a time, in order of multipliers; lanes only multiply both.
    best = np.minimum.accumulate(cycles[order])
    order = order[np.flatnonzero(np.diff(best, prepend=best[0] + 1) < 0)]
    made: list[Folding] = []
    for place in order.tolist():
        p, q = int(outputs[place // reduction.size]), int(reduction[place % reduction.size])
        made += [_folding(work, p, q, lanes, int(cycles[place])) for lanes in divisors(work.pixels)]
    return sorted(made, key=lambda f: (f.multipliers, f.interval, f.lanes))


@cache
def word_widths(length: int) -> tuple[int, ...]:
    """Widths of words that cut `length` into ever fewer: the least width for each number of words."""
    root = math.isqrt(length)
    words = {*range(1, root + 1), *(-(-length // width) for width in range(1, root + 2))}
    return tuple(sorted({-(-length // count) for count in words}))


def _folding(work: Work, outputs: int, reduction: int, lanes: int, cycles: int) -> Folding:
    taps = math.gcd(reduction, work.taps)
    if work.reduction % reduction:
        # Words of a flattened window know nothing of taps.
        taps = 1
    return Folding(outputs, reduction // taps, taps, lanes, cycles, work.pixels // lanes)


@cache
def divisors(*factors: int) -> tuple[int, ...]:
    """All divisors of a product, in order."""
    primes: dict[int, int] = {}
    for factor in factors:
        rest, prime = factor, 2
        while prime * prime <= rest:
            while rest % prime == 0:
                primes[prime] = primes.get(prime, 0) + 1
                rest //= prime
            prime += 1
        if rest > 1:
            primes[rest] = primes.get(rest, 0) + 1
    out = [1]
    for prime, power in primes.items():
        out = [d * prime**i for d in out for i in range(power + 1)]
    return tuple(sorted(out))


@dataclass(frozen=True)
class Layers:
    """The layers of a network with the foldings that each may have, fewest multipliers first."""

    names: tuple[str, ...]
    choices: tuple[tuple[Folding, ...], ...]
    floor: int = 1
    """Cycles below which no image comes, whatever the layers do."""
    why: str = ""
    """What a message says of the least interval."""
    spent: Callable[[str, Folding], int] | None = None
    """Multipliers of the machine that a layer's folding takes; None: those of its products."""

    def __post_init__(self) -> None:
        for name, choices in zip(self.names, self.choices, strict=True):
            if not choices:
                raise TargetError(f"{name}: weights of one multiplier must hold a folding of this layer, got too few")

    @cached_property
    def _intervals(self) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
        return [np.array([-folding.interval for folding in choices], np.int64) for choices in self.choices]

    @property
    def least_interval(self) -> int:
        """Cycles an image of the fastest folding of all layers."""
        return max([self.floor, *(choices[-1].interval for choices in self.choices)])

    @property
    def least_multipliers(self) -> int:
        """Multipliers at the slowest interval."""
        return self.taken([choices[0] for choices in self.choices])

    def taken(self, chosen: Sequence[Folding]) -> int:
        """Multipliers of the machine that foldings of all layers take."""
        if self.spent is None:
            return sum(folding.multipliers for folding in chosen)
        return sum(map(self.spent, self.names, chosen))

    def at(self, interval: int) -> tuple[Folding, ...]:
        """The fewest multipliers of each layer that keep within `interval` cycles; raises TargetError for too few."""
        if interval < self.least_interval:
            raise TargetError(
                f"interval must be at least {self.least_interval} cycles for this network{self.why}, got {interval}"
            )
        places = [int(np.searchsorted(own, -interval, side="left")) for own in self._intervals]
        # The first folding that is fast enough: intervals fall along the list.
        return tuple(choices[place] for choices, place in zip(self.choices, places, strict=True))

    def candidates(self) -> list[int]:
        """All intervals at which the multipliers change, fastest first, from the least that all layers reach."""
        all_of_them = {folding.interval for choices in self.choices for folding in choices}
        return sorted(i for i in {self.least_interval, *all_of_them} if i >= self.least_interval)

    def within(self, multipliers: int) -> int:
        """The least interval that so many multipliers reach; raises TargetError where they are too few for any."""
        if multipliers < self.least_multipliers:
            raise TargetError(
                f"multipliers must be at least {self.least_multipliers} for this network, got {multipliers:,}"
            )
        return least(self.candidates(), lambda i: self.taken(self.at(i)) <= multipliers)


def least(ordered: Sequence[int], fits: Callable[[int], bool]) -> int:
    """The first of `ordered` that fits, where all behind one that fits fit too; the last where none does."""
    low, high = 0, len(ordered) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(ordered[middle]):
            high = middle
        else:
            low = middle + 1
    return ordered[low]
