"""The funnel: whether a choice keeps a budget, the cheapest questions first, and its costs where it does.

1. Multiply-accumulates, parameters and bytes of weights, by closed forms (bytes of ternary weights by the graph).
2. The graph, its cycles on arrays, and whether it has a row plan within the RAM, without finding the best.
3. Plans: of boards and chips, and energy.

A choice that fails a question is not asked the next.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import assert_never

from rillet.analyses.count import count
from rillet.analyses.energy import Schedule, energy
from rillet.analyses.memory import stored_as
from rillet.analyses.streamed import of_rows
from rillet.analyses.systolic import systolic
from rillet.costs.fit import Fit, Planned
from rillet.errors import GraphError, TargetError, Unsupported
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph
from rillet.ir.text import print_graph
from rillet.ir.types import DType
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.rows.arena import ALIGNMENT
from rillet.plan.rows.fits import fits
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import RowPlanner, plan_rows
from rillet.search import network
from rillet.search.budget import Budget, Cost, Limit, Measure
from rillet.search.space import Choice, Space, Value, is_ternary
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.chips import StreamChip
from rillet.targets.technology import Technology
from rillet.transforms.fold import fold
from rillet.transforms.lowbit import large_layers

BITS = 8
_NEAR = 32
"""Within this part of the RAM a network is planned to know whether it fits. Those that are trained are all planned."""
_BIAS_BYTES = 4
_STEP = {
    Cost.MACS: 1,
    Cost.PARAMS: 1,
    Cost.CYCLES: 2,
    Cost.RAM: 2,
    Cost.UJ: 3,
    Cost.MS: 3,
    Cost.INTERVAL: 3,
    Cost.MULTIPLIERS: 3,
}
"""The step of the funnel that asks for a cost; flash is of the first without a board, RAM of the third with one."""


@dataclass(frozen=True)
class Judged:
    """What the funnel says of a choice."""

    choice: Choice
    depth: int
    macs: int
    params: int
    excess: float
    """0 where it keeps the budget; else how far it is from it: log2 of cost / most, 1 where only yes or no is known."""
    missed: str
    """The first limit that it does not keep; empty where it keeps all."""

    @property
    def fits(self) -> bool:
        """True where it keeps the budget."""
        return not self.missed


@dataclass
class Costed:
    """One choice, its costs found when they are asked for."""

    space: Space
    choice: Choice
    classes: int
    _fits: dict[tuple[str, str], Fit] = field(default_factory=dict[tuple[str, str], Fit])

    @cached_property
    def tally(self) -> network.Tally:
        """Its counts, by closed forms."""
        return network.tally(self.space, self.choice, self.classes)

    @cached_property
    def graph(self) -> Graph:
        """The network, without weights."""
        return network.graph(self.space, self.choice, self.classes)

    @cached_property
    def key(self) -> str:
        """What it is known by: equal for choices that make equal graphs, whatever they are called."""
        text = print_graph(self.graph.with_name("network")) + " ".join(self.ternary)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def ternary(self) -> tuple[str, ...]:
        """The layers that have ternary weights: by the choice and the rule of trainings; it may leave none."""
        if not is_ternary(self.choice):
            return ()
        try:
            return large_layers(self.graph)
        except GraphError:
            return ()

    @cached_property
    def stored(self) -> Graph:
        """The network as 8-bit integers of the same shapes, its ternary weights as such."""
        made = stored_as(fold(self.graph), BITS)
        nodes = tuple(
            replace(node, op=replace(node.op, weights=DType.TERNARY, levels=DType.I8))
            if has_weights(node.op) and node.name in self.ternary
            else node
            for node in made.nodes
        )
        return replace(made, nodes=nodes)

    @cached_property
    def planner(self) -> RowPlanner:
        """The row planner, before any cut is chosen."""
        return RowPlanner(self.stored, False)

    @cached_property
    def rows(self) -> RowPlan:
        """The row plan with the least arena."""
        return plan_rows(self.stored)

    def value(self, of: Measure, interval: float = math.inf) -> float:
        """A cost; infinity where the machine has no plan of it. interval: what a chip's plan is made for."""
        try:
            return self._value(of, interval)
        except (GraphError, TargetError, Unsupported):
            return math.inf

    def _value(self, of: Measure, interval: float) -> float:
        machine = of.machine
        match of.cost:
            case Cost.MACS:
                return self.tally.macs
            case Cost.PARAMS:
                return self.tally.params
            case Cost.FLASH:
                if isinstance(machine, Board):
                    return self._fit(of.at, machine, "memory").flash_bytes
                if self.ternary:
                    return count(self.stored).weight_bytes
                return self.tally.weights + _BIAS_BYTES * self.tally.vectors
            case Cost.RAM:
                return self._fit(of.at, machine, "memory").ram_bytes if isinstance(machine, Board) else self._arena()
            case Cost.CYCLES:
                assert isinstance(machine, ArrayMachine)
                return systolic(
                    self.graph,
                    rows=machine.rows,
                    columns=machine.columns,
                    dataflow=machine.dataflow,
                    hardware=machine.hardware,
                ).cycles
            case Cost.UJ:
                assert isinstance(machine, Technology)
                return energy(self.graph, machine, schedule=Schedule.STREAM, plan=of_rows(self.rows)).total_uj
            case Cost.MS:
                assert isinstance(machine, Board)
                found = self._fit(of.at, machine, "time").milliseconds
                return math.inf if found is None else found
            case Cost.INTERVAL | Cost.MULTIPLIERS:
                assert isinstance(machine, StreamChip)
                asked = None if interval == math.inf else int(interval)
                made = plan_pixels(self.graph, interval=asked, chip=machine, pipeline=machine.pipeline)
                return made.interval_cycles if of.cost is Cost.INTERVAL else made.multipliers
        assert_never(of.cost)

    def _arena(self) -> int:
        return self.rows.arena_bytes

    def _fit(self, name: str, board: Board, objective: str) -> Fit:
        key = (name, objective)
        if key not in self._fits:
            self._fits[key] = Planned(self.stored, objective).on(board)
        return self._fits[key]

    def excess(self, limit: Limit, budget: Budget) -> float:
        """0 where the network keeps a limit, else how far it is above it, by the cheapest question that says so."""
        if limit.measure.cost is Cost.RAM and limit.measure.machine is None:
            return 0.0 if self._has_plan_within(int(limit.most)) else 1.0
        found = self.value(limit.measure, interval_for(limit.measure, budget))
        return 0.0 if found <= limit.most else 1.0 if found == math.inf else math.log2(found / limit.most)

    def _has_plan_within(self, ram_bytes: int) -> bool:
        """True where the arena of the best row plan has at most so many bytes.

        An arena may be larger than its fullest segment by gaps between buffers, and smaller by what aligns its end;
        what is near is planned.
        """
        try:
            if not fits(self.planner, ram_bytes + ALIGNMENT - 1):
                return False
            return fits(self.planner, ram_bytes - ram_bytes // _NEAR) or self._arena() <= ram_bytes
        except Unsupported:
            return False


def interval_for(of: Measure, budget: Budget) -> float:
    """The interval that the plan of a chip is made for: that which the budget allows."""
    found = [limit.most for limit in budget.of(Cost.INTERVAL) if limit.measure.at == of.at]
    return found[0] if found else math.inf


def step(of: Measure) -> int:
    """The step of the funnel that asks for a cost."""
    if of.cost is Cost.FLASH:
        return 1 if of.machine is None else 3
    return 3 if of.cost is Cost.RAM and of.machine is not None else _STEP[of.cost]


def judge(space: Space, choice: Choice, budget: Budget, classes: int, most_steps: int = 3) -> Judged:
    """Asks a choice the questions of the first `most_steps` steps, in their order, until one fails.

    Limits of one step are asked all. Where the strides leave no pixel, no budget is kept.
    """
    made, depth = Costed(space, choice, classes), space.depth(choice)
    try:
        tally = made.tally
    except GraphError as error:
        return Judged(choice, depth, 0, 0, math.inf, str(error))
    for number in range(1, most_steps + 1):
        over = {str(limit): made.excess(limit, budget) for limit in budget.limits if step(limit.measure) == number}
        missed = [name for name, excess in over.items() if excess]
        if missed:
            later = sum(step(limit.measure) > number for limit in budget.limits)
            return Judged(choice, depth, tally.macs, tally.params, sum(over.values()) + later, missed[0])
    return Judged(choice, depth, tally.macs, tally.params, 0.0, "")


def least(space: Space, of: Measure, classes: int, interval: float = math.inf) -> tuple[float, dict[str, Value]]:
    """The least of a cost that was found in a space, and its choice: from each gene's least value, gene by gene."""

    def cost(choice: Choice) -> float:
        return Costed(space, choice, classes).value(of, interval)

    best = space.plain({gene.name: _smallest(gene.values) for gene in space.genes})
    found, improved = cost(best), True
    while improved:
        improved = False
        for gene in space.free:
            for value in gene.values:
                if best.get(gene.name) in (None, value):
                    continue
                tried = _with(space, best, gene.name, value)
                other = cost(tried)
                if other < found:
                    best, found, improved = tried, other, True
    return found, best


def _smallest(values: Sequence[Value]) -> Value:
    """Of words the first, for they have no order."""
    return values[0] if isinstance(values[0], str) else min(values)  # pyright: ignore[reportArgumentType]


def _with(space: Space, choice: Choice, name: str, value: Value) -> dict[str, Value]:
    """The choice with another value; genes that a greater depth brings have their least."""
    rest = {gene.name: _smallest(gene.values) for gene in space.genes}
    return space.plain({**rest, **choice, name: value})


def check_possible(space: Space, budget: Budget, classes: int) -> None:
    """Raises TargetError for a limit that nothing in the space was found to keep, with the least that was found."""
    for limit in budget.limits:
        found, choice = least(space, limit.measure, classes, interval_for(limit.measure, budget))
        if found > limit.most:
            said = "has no plan" if found == math.inf else f"must be at least {found:,.6g}"
            at = ", ".join(f"{key}={choice[key]}" for key in choice if len(space.by_name[key].values) > 1)
            raise TargetError(
                f"--budget: {limit.measure.name} {said} in the space {space.name}, got {limit.most:,.6g}; "
                f"the least is that of {at}"
            )
