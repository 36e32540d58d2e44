"""Budgets such as `ram<=3KiB, flash<=240KiB, macs<=780k, cycles@systolic_64x64<=40k`: limits on costs of a network."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rillet.errors import TargetError
from rillet.system.quantities import parse_size
from rillet.targets import catalogue, technology
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.catalogue import Target, need
from rillet.targets.chips import StreamChip
from rillet.targets.technology import Technology


class Cost(StrEnum):
    """What may be bounded, and what networks are compared by."""

    MACS = "macs"
    PARAMS = "params"
    FLASH = "flash"
    RAM = "ram"
    CYCLES = "cycles"
    UJ = "uj"
    MS = "ms"
    INTERVAL = "interval"
    MULTIPLIERS = "multipliers"


ABOUT: Mapping[Cost, str] = {
    Cost.MACS: "multiply-accumulates of an image",
    Cost.PARAMS: "trained parameters",
    Cost.FLASH: "bytes of weights and biases in 8-bit integers; with @BOARD all of its flash, code among it",
    Cost.RAM: "bytes of the arena of its row plan; with @BOARD all of its RAM, stack among it",
    Cost.CYCLES: "cycles of an image on @ARRAY, without stalls",
    Cost.UJ: "microjoules of an image by the numbers of @TECHNOLOGY, streamed",
    Cost.MS: "milliseconds of an image on @BOARD, as its plan for least time says",
    Cost.INTERVAL: "cycles from one image to the next on @CHIP",
    Cost.MULTIPLIERS: "multipliers on @CHIP at the interval that the budget allows",
}
_BYTES = (Cost.FLASH, Cost.RAM)
_MACHINES: Mapping[Cost, type[ArrayMachine] | type[Board] | type[StreamChip]] = {
    Cost.CYCLES: ArrayMachine,
    Cost.MS: Board,
    Cost.INTERVAL: StreamChip,
    Cost.MULTIPLIERS: StreamChip,
}
_THOUSANDS = {"": 1, "k": 1_000, "M": 1_000_000}
_LIMIT = re.compile(r"([a-z]+)(?:@([^\s<=,]+))?\s*<=\s*([^\s,]+(?:[ ][A-Za-z]+)?)")


@dataclass(frozen=True)
class Measure:
    """One cost, on a machine where it needs one."""

    cost: Cost
    machine: Target | Technology | None = None
    at: str = ""
    """The name by which the machine was asked for."""

    @property
    def name(self) -> str:
        """As it is written: `cycles@systolic_64x64`."""
        return f"{self.cost}@{self.at}" if self.at else str(self.cost)

    @property
    def in_bytes(self) -> bool:
        """True for bytes."""
        return self.cost in _BYTES


@dataclass(frozen=True)
class Limit:
    """The most of a cost."""

    measure: Measure
    most: float

    def __str__(self) -> str:
        most = f"{self.most:g}" if self.most % 1 else f"{int(self.most)}"
        return f"{self.measure.name}<={most}{'B' if self.measure.in_bytes else ''}"


@dataclass(frozen=True)
class Budget:
    """All limits, one for each cost."""

    limits: tuple[Limit, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.limits))

    def of(self, cost: Cost) -> tuple[Limit, ...]:
        """The limits on a cost."""
        return tuple(limit for limit in self.limits if limit.measure.cost is cost)


def parse(text: str) -> Budget:
    """The budget that a text says; raises TargetError, naming the part, for an unknown name, machine or unit."""
    limits: list[Limit] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _LIMIT.fullmatch(part)
        if found is None:
            raise TargetError(f"--budget: must be such as ram<=32KiB, macs<=1.5M, got {part!r:.60}")
        made = Limit(measure(found[1], found[2] or ""), 0.0)
        limit = Limit(made.measure, _amount(made.measure, found[3]))
        if any(limit.measure.name == other.measure.name for other in limits):
            raise TargetError(f"--budget: must bound {limit.measure.name} once")
        limits.append(limit)
    if not limits:
        raise TargetError("--budget: must have a limit, such as ram<=32KiB, got none")
    made = Budget(tuple(limits))
    for limit in made.of(Cost.MULTIPLIERS):
        if not any(other.measure.at == limit.measure.at for other in made.of(Cost.INTERVAL)):
            raise TargetError(f"--budget: {limit.measure.name} must come with interval@{limit.measure.at}")
    return made


def measure(word: str, at: str = "") -> Measure:
    """The cost called `word` on the machine called `at`; raises TargetError for either that there is not."""
    if word not in tuple(Cost):
        near = difflib.get_close_matches(word, tuple(Cost), 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(Cost)}"
        raise TargetError(f"--budget: cost must be a known one, got {word!r:.60}; {hint}")
    cost = Cost(word)
    name = f"{word}@{at}"
    if cost is Cost.UJ:
        if not at:
            raise TargetError(f"--budget: {word} must name a technology, as {word}@{technology.names()[0]}")
        return Measure(cost, technology.load(at), at)
    wanted = _MACHINES.get(cost)
    if wanted is None:
        if not at:
            return Measure(cost)
        if cost not in _BYTES:
            raise TargetError(f"--budget: {word} must come without a machine, got {name!r:.60}")
        return Measure(cost, need(catalogue.load(at), (Board,), name, at), at)
    if not at:
        example = {ArrayMachine: "systolic_64x64", Board: "nano33ble", StreamChip: "zcu102"}[wanted]
        raise TargetError(f"--budget: {word} must name a machine, as {word}@{example}")
    return Measure(cost, need(catalogue.load(at), (wanted,), name, at), at)


def _amount(of: Measure, said: str) -> float:
    """A number in the unit of its cost; bytes need one."""
    if of.in_bytes:
        if said.replace("_", "").isdigit():
            raise TargetError(f"--budget: {of.name} must have a unit (B, KiB, kB, MiB), as {said}B, got {said!r:.60}")
        return parse_size(said, f"--budget: {of.name}")
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([kM]?)", said)
    if found is None or not float(found[1]):
        raise TargetError(f"--budget: {of.name} must be a number such as 780k or 1.5M, got {said!r:.60}")
    return float(found[1]) * _THOUSANDS[found[2]]
