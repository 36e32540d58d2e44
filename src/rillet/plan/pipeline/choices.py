"""Which blocks use bottleneck buffering: chosen by measured plans, within a budget of multipliers or of memory.

A block's cost in multipliers is exact, as layers are coupled only by the interval. Its saving is not: FIFO depths
depend on when the neighbours fire. So up to `MOST_MEASURED` subsets of blocks are all scheduled, and the answer is
exact. Where there are more, a block's saving is estimated as the difference of its own FIFOs between the plan without
bottleneck buffering and the plan with it in every block; of the Pareto-optimal subsets by that estimate, the most
promising are scheduled. The chosen subset is always scheduled, and never worse than none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rillet.errors import TargetError
from rillet.plan.pipeline.bottleneck import NarrowBlock
from rillet.plan.pipeline.pareto import subsets
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.pipeline.planner import Planner
from rillet.system.quantities import bits_text

MOST_MEASURED = 64
LIKELIEST = 4
MARGIN = 0.01
"""Share of the memory by which an estimate may be wrong: what is further above is not tried."""


@dataclass(frozen=True)
class Sides:
    """The ways to plan one network: `make` gives the planner for a subset of blocks."""

    make: Callable[[Sequence[str]], Planner]
    wide: Planner
    every: Planner

    @classmethod
    def of(cls, make: Callable[[Sequence[str]], Planner]) -> "Sides":
        """With both ends of all choices."""
        return cls(make, make(()), make(("all",)))

    @property
    def least_bits(self) -> int:
        """Bits of memory below which no subset has a plan."""
        both = zip(self.wide.least_rings, self.every.least_rings, strict=True)
        return self.wide.resident_bits + sum(min(pair) for pair in both)

    def best(self, multipliers: int | None, memory_bits: int | None) -> PixelPlan:
        """The least interval within the budgets; raises TargetError where there is none."""
        intervals = sorted({*self.wide.layers.candidates(), *self.every.layers.candidates()})
        first = self.wide.layers.within(multipliers) if multipliers is not None else intervals[0]
        if memory_bits is None:
            return self.at(first, multipliers, None)
        for interval in intervals[intervals.index(first) :]:
            found = self._at(interval, multipliers, memory_bits)
            if found is not None:
                return found
        raise TargetError(
            f"memory must be more than {bits_text(memory_bits, up=False)} for this network, some sides narrow"
        )

    def at(self, interval: int, multipliers: int | None, memory_bits: int | None) -> PixelPlan:
        """At one interval: the fewest multipliers that fit the memory, or without it the least memory.

        Raises TargetError where no choice is within the budgets.
        """
        found = self._at(interval, multipliers, memory_bits)
        if found is None:
            least = self._at(interval, multipliers, None)
            if least is None:
                used = _used(self.wide.plan(interval))
                raise TargetError(
                    f"multipliers must be at least {used:,} for an interval of {interval:,} cycles, got {multipliers:,}"
                )
            assert memory_bits is not None  # what is within the multipliers is refused for its memory alone
            raise TargetError(
                f"memory must be at least {bits_text(least.memory_bits)} for an interval of {interval:,} cycles, got "
                f"{bits_text(memory_bits, up=False)}"
            )
        return found

    def _at(self, interval: int, multipliers: int | None, memory_bits: int | None) -> PixelPlan | None:
        wide, every = self.wide.plan(interval), self.every.plan(interval)
        spare = None if multipliers is None else multipliers - _used(wide)
        planned: dict[tuple[NarrowBlock, ...], PixelPlan] = {(): wide, every.narrow: every}

        def measure(chosen: tuple[NarrowBlock, ...]) -> PixelPlan:
            if chosen not in planned:
                planned[chosen] = self.make([block.expansion for block in chosen]).plan(interval)
            return planned[chosen]

        ways, exact = _ways(wide, every)
        affordable = [way for way in ways if spare is None or way.multipliers <= spare]
        if memory_bits is not None:
            limit = memory_bits * (1 + MARGIN)
            likely = [way for way in affordable if exact or wide.memory_bits - way.saved_bits <= limit]
            fitting = (measure(way.blocks) for way in likely)
            return next((plan for plan in fitting if plan.memory_bits <= memory_bits), None)
        if not exact:
            affordable = sorted(affordable, key=lambda way: -way.saved_bits)[:LIKELIEST]
        for way in affordable:
            measure(way.blocks)
        within = (plan for plan in planned.values() if multipliers is None or _used(plan) <= multipliers)
        return min(within, key=lambda plan: (plan.memory_bits, _used(plan)), default=None)


@dataclass(frozen=True, slots=True)
class _Way:
    """A subset of blocks, its cost, and its estimated saving over no bottleneck buffering."""

    multipliers: int
    saved_bits: int
    blocks: tuple[NarrowBlock, ...]


def _ways(wide: PixelPlan, every: PixelPlan) -> tuple[list[_Way], bool]:
    """The subsets worth scheduling, fewest multipliers first, and whether these are all."""
    blocks = every.narrow
    used = {name: (_stages(wide)[name], _stages(every)[name]) for name in _stages(wide)}
    costs = [
        (used[one.expansion][1] - used[one.expansion][0], _ring_bits(every, one) - _ring_bits(wide, one))
        for one in blocks
    ]
    exact = 2 ** len(blocks) <= MOST_MEASURED
    if exact:
        points = [
            (
                sum(costs[i][0] for i in range(len(blocks)) if chosen >> i & 1),
                sum(costs[i][1] for i in range(len(blocks)) if chosen >> i & 1),
                chosen,
            )
            for chosen in range(2 ** len(blocks))
        ]
    else:
        points = subsets(costs)
    made = [
        _Way(more, -bits, tuple(one for i, one in enumerate(blocks) if chosen >> i & 1))
        for more, bits, chosen in sorted(points)
    ]
    return made, exact


def _stages(plan: PixelPlan) -> Mapping[str, int]:
    return {stage.node: stage.multipliers for stage in plan.stages}


def _ring_bits(plan: PixelPlan, block: NarrowBlock) -> int:
    """Bits of the FIFOs of a block's bottleneck and expanded values."""
    return sum(b.values * b.bits for b in plan.buffers if b.value == block.source or b.value in block.wide)


def _used(plan: PixelPlan) -> int:
    return plan.multipliers + plan.elementwise_multipliers
