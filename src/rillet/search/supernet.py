"""Scores of a supernet, and the audit without which nothing is chosen by them.

Networks that share weights cost a second each to score; whether their order is that of networks trained alone is
another question, which an audit answers: a dozen are trained alone, and Kendall's tau with what they come to must be
at least `TAU`, and above that of their multiply-accumulates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from rillet.errors import GraphError
from rillet.search.funnel import Costed
from rillet.search.space import Choice, Space
from rillet.search.task import parts
from rillet.system.checksums import read_record, record_text
from rillet.system.extras import extra
from rillet.system.files import write_file
from rillet.train.recipe import Recipe

POOL = 4
"""So many times the networks of the first rung are scored."""
AUDITED = 12
TAU = 0.5
SHARE = 0.4
"""Of the hours, the most until which a supernet trains."""
FOLDER, SCORES = "supernet", "scores.json"
_SAVE_STEPS = 200


@dataclass(frozen=True, slots=True)
class Audited:
    """A network of the audit."""

    key: str
    macs: float
    score: float
    """Top-1 with the supernet's weights."""
    top1: float
    """Trained alone; both on pictures held back."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit came to."""

    networks: tuple[Audited, ...]
    epochs: int
    """Of their trainings alone."""
    scored: int
    """Networks that the supernet scored."""

    @property
    def tau(self) -> float:
        """Kendall's tau of scores and trainings alone."""
        return kendall([one.score for one in self.networks], [one.top1 for one in self.networks])

    @property
    def tau_macs(self) -> float:
        """That of multiply-accumulates and trainings alone."""
        return kendall([one.macs for one in self.networks], [one.top1 for one in self.networks])

    @property
    def passed(self) -> bool:
        """Whether networks may be chosen by the scores."""
        return len(self.networks) == AUDITED and self.tau >= TAU and self.tau > self.tau_macs

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "tau": self.tau,
            "tau_macs": self.tau_macs,
            "passed": self.passed,
            "epochs": self.epochs,
            "scored": self.scored,
            "networks": [asdict(one) for one in self.networks],
        }


def kendall(left: Sequence[float], right: Sequence[float]) -> float:
    """Kendall's tau-b of two rankings, -1 to 1; 0 where one of them ranks nothing (Kendall, Biometrika 1945)."""
    agree, ties = 0, [0, 0]
    pairs = list(combinations(zip(left, right, strict=True), 2))
    for (a, x), (b, y) in pairs:
        agree += _sign(a - b) * _sign(x - y)
        ties[0] += a == b
        ties[1] += x == y
    among = (len(pairs) - ties[0]) * (len(pairs) - ties[1])
    return agree / among**0.5 if among else 0.0


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def places(space: Space, choice: Choice) -> dict[str, str]:
    """The blocks of a choice's graph, by the place in their stage: the same in networks of any depth."""
    found = (
        f"stage{stage}_block{block}"
        for stage in range(1, space.stages + 1)
        for block in range(1, int(choice[f"stage{stage}.depth"]) + 1)
    )
    return {f"block{number}": place for number, place in enumerate(found, 1)}


@dataclass(frozen=True)
class Asked:
    """The supernet that is asked for."""

    space: Space
    data: str
    limit: int
    seed: int
    recipe: Recipe
    """With the supernet's epochs in it."""
    classes: int
    out: Path


def scores(
    asked: Asked,
    pool: Mapping[str, Choice],
    late: Callable[[], bool],
    progress: Callable[[str, int, int], None],
) -> dict[str, float] | None:
    """The held-back top-1 of each network of `pool`, by key, with the weights of a supernet that is trained for it.

    What was trained or scored before is read. None where it became `late` before the training ended; no scores where
    it diverged.
    """
    file = asked.out / FOLDER / SCORES
    if file.exists():
        said, _ = read_record(file)
        if set(said) != set(pool) or not all(isinstance(value, float) for value in said.values()):
            raise GraphError(f"{file}: must have a score of each network that is to be chosen from")
        return said
    with extra("torch"):
        import torch

        from rillet.train.supernet import Diverged, Member, Training
    file.parent.mkdir(exist_ok=True)
    learned, held = parts(asked.data, asked.limit, asked.seed)
    members: list[Member] = []
    for choice in pool.values():
        made = Costed(asked.space, choice, asked.classes)
        members.append(Member(made.graph, places(asked.space, choice), made.tally.macs))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same weights whatever the machine's cores
    try:
        training = Training(members, learned, asked.recipe, asked.seed, file.parent)
        for _ in training.run():
            progress("steps of the supernet", training.step, training.steps)
            if training.step % _SAVE_STEPS == 0 or training.step == training.steps:
                training.save()
            if training.step < training.steps and late():
                return None
        found: dict[str, float] = {}
        for key, score in zip(pool, training.scores(held), strict=True):
            found[key] = score
            progress("networks scored", len(found), len(pool))
    except Diverged:
        return {}
    finally:
        torch.set_num_threads(threads)
    write_file(file, record_text(found).encode())
    return found
