"""The order in which an emitted program tries its stages, depth first, as steps that need no stack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from rillet.ir.graph import Graph

if TYPE_CHECKING:
    from rillet.plan.rows.plan import Segment

END = -1
"""Instead of a step's number: all stages were tried."""
BACK = -2
"""Instead of a step's number: the one that a joint remembers."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage tried after another: where it goes on, by the numbers of steps."""

    stage: str
    fired: int
    """After a tile: the first of the stages that read it; itself again where there is none."""
    idle: int
    """When it cannot fire: the next stage that reads the same value, or the one that made that value, again."""
    joint: int = 0
    """For a stage that several values lead to, from 1 on: `idle` is remembered after a tile; BACK goes there."""


@dataclass(frozen=True, slots=True)
class Order:
    """The steps of a program, numbered from 0 on."""

    steps: tuple[Step, ...]
    begins: Mapping[str, int]
    """The first step of each segment, by the segment's first stage."""
    joints: int


def order_of(graph: Graph, segments: "Sequence[Segment]") -> Order:
    """The steps of a plan's program. A stage fires until it cannot, and after each tile its readers are tried in turn,
    each with its own readers: it is what rings are planned for.
    """
    steps: list[Step] = []
    begins: list[int] = []
    joints = 0
    for segment in segments:
        readers: dict[str, list[str]] = {segment.driver: [], **{stage.node: [] for stage in segment.stages}}
        for stage in segment.stages:
            for name in dict.fromkeys(graph.by_name[stage.node].inputs):
                if name in readers:
                    readers[name].append(stage.node)
        found, joints = _steps(readers, segment.driver, len(steps), joints)
        begins.append(len(steps))
        steps += found
    begin_of = {segment.stages[0].node: begin for segment, begin in zip(segments, begins, strict=True)}
    return Order(tuple(steps), begin_of, joints)


def _steps(readers: dict[str, list[str]], driver: str, first: int, joints: int) -> tuple[list[Step], int]:
    """The steps of a segment, numbered from `first` on, and how many joints there are with those before.

    One for each value that leads to a stage, and for a joint that has readers one more, by which these return to it.
    """
    numbers: dict[tuple[str, str], int] = {}
    leads: dict[str, list[str]] = {name: [] for name in readers}
    for value, those in readers.items():
        for reader in those:
            numbers[value, reader] = first + len(numbers)
            leads[reader].append(value)
    again: dict[str, int] = {driver: END}
    joint: dict[str, int] = {}
    for name, values in leads.items():
        if name == driver:
            continue
        again[name] = numbers[values[0], name]
        if len(values) > 1 and readers[name]:
            joint[name] = joints + len(joint) + 1
            again[name] = first + len(numbers) + len(joint) - 1
    out: list[Step] = []
    for value, those in readers.items():
        for reader, following in zip_longest(those, those[1:]):
            idle = again[value] if following is None else numbers[value, following]
            fired = numbers[reader, readers[reader][0]] if readers[reader] else numbers[value, reader]
            out.append(Step(reader, fired, idle, joint.get(reader, 0)))
    out += [Step(name, numbers[name, readers[name][0]], BACK, which) for name, which in joint.items()]
    return out, joints + len(joint)


def number_type(order: Order) -> str:
    """The C type of a step's number, two beside theirs."""
    return "uint8_t" if len(order.steps) + 2 <= 256 else "uint16_t"


def table_bytes(order: Order) -> int:
    """Bytes of the table of steps where addresses have 4 bytes: of each step a function and three numbers."""
    return len(order.steps) * (8 if number_type(order) == "uint8_t" else 12)
