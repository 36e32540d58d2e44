"""What a search comes to, and its files: candidates.csv, front.json, best.rlt."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rillet.search.halving import front
from rillet.search.space import Choice
from rillet.search.supernet import Audit
from rillet.system.record import Record


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network that was trained."""

    key: str
    """What it is known by: a part of the checksum of its graph."""
    choice: Choice
    depth: int
    """Blocks."""
    costs: Mapping[str, float]
    """By name: macs, params, and those of the budget and the objectives."""
    top1: float | None = None
    """Of its longest training, on pictures held back from the training part; None before the first ended."""
    epochs: int = 0
    """Of that training."""
    seconds: float = 0.0
    """Of all its trainings."""
    failed: str = ""
    generation: int = 1
    """1 where it was chosen before any training; then parents' generation and one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The network that a search ends with, as 8-bit integers, measured in C."""

    key: str
    file: str
    top1: float | None
    """Of the emitted C program on the test part, by all its pictures; None where there was no time for it."""
    images: int
    arena_bytes: int
    """Of its row plan."""
    touched_bytes: int
    """The end of the last byte of the arena that the C program writes, found by poison."""
    layerwise_bytes: int
    """What it would take layer by layer."""
    trained: bool
    """False where no training had ended."""
    held_top1: float | None = None
    """In 8-bit integers on the pictures held back: by it the answer is chosen among those trained longest."""


@dataclass(frozen=True, repr=False)
class Found(Record):
    """A search."""

    space: str
    classes: int
    data: str
    budget: str
    objectives: tuple[str, ...]
    seed: int
    asked: int
    """Choices that went through the funnel."""
    fitting: int
    """Of these, the ones that keep the budget."""
    asked_per_s: float
    candidates: tuple[Candidate, ...]
    rungs: str
    """Networks x epochs of each."""
    generations: int = 1
    """In which the networks of the first rung are found."""
    supernet: int = 0
    """Epochs of the supernet; 0 without one."""
    first: frozenset[str] = frozenset()
    """With a supernet, keys of the candidates that the first rung trains; the others are its audit's."""
    audit: Audit | None = None
    """What its audit came to; None before its end, and where there was none."""
    answer: Answer | None = None
    """None before the end."""
    ended: str = ""
    """Why it ended: `whole`, or `hours`."""
    seconds: float = 0.0

    @property
    def best(self) -> Candidate | None:
        """The network of the answer."""
        return next((one for one in self.candidates if self.answer and one.key == self.answer.key), None)

    @property
    def front(self) -> tuple[Candidate, ...]:
        """Of the candidates that were trained longest, those that no other beats in every objective."""
        longest = max((one.epochs for one in self.candidates), default=0)
        last = {one.key: one for one in self.candidates if one.epochs == longest and one.top1 is not None}
        costs = {key: tuple(objective(one, name) for name in self.objectives) for key, one in last.items()}
        return tuple(sorted((last[key] for key in front(costs)), key=lambda one: -(one.top1 or 0.0)))

    def __repr__(self) -> str:
        best = self.best
        said = "" if best is None or best.top1 is None else f", best {best.top1:.2%} held back"
        return f"<Found {len(self.candidates)} candidates in {self.space} for {self.budget}{said}>"


def objective(one: Candidate, name: str) -> float:
    """An objective as a number that is to be small."""
    return -(one.top1 or 0.0) if name == "top1" else one.costs[name]


def candidate_dict(one: Candidate) -> dict[str, Any]:
    """A candidate as JSON has it."""
    return {
        "key": one.key,
        "top1": one.top1,
        "epochs": one.epochs,
        "depth": one.depth,
        "costs": dict(one.costs),
        "seconds": round(one.seconds, 1),
        "failed": one.failed,
        "generation": one.generation,
        "choice": dict(one.choice),
    }


def to_csv(found: Found) -> str:
    """All candidates, the best first: a row each, a column for every cost and every gene."""
    order = sorted(found.candidates, key=lambda one: (-one.epochs, -(one.top1 or 0.0), one.key))
    costs = list(dict.fromkeys(name for one in order for name in one.costs))
    genes = list(dict.fromkeys(name for one in order for name in one.choice))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["key", "top1", "epochs", "seconds", "depth", "generation", *costs, *genes])
    for one in order:
        top1 = "" if one.top1 is None else f"{one.top1:.6f}"
        row: list[Any] = [one.key, top1, one.epochs, f"{one.seconds:.1f}", one.depth, one.generation]
        row += [f"{one.costs[name]:g}" if one.costs[name] % 1 else int(one.costs[name]) for name in costs]
        writer.writerow([*row, *(one.choice.get(name, "") for name in genes)])
    return out.getvalue()
