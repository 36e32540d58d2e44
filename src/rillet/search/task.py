"""One training of a search: a network, a recipe and a seed in, held-back accuracy and the trained network out.

A task is plain data, so that it can go to another process or machine; where it is cut off, the same task goes on from
its last checkpoint, and one that had ended gives its numbers again.
"""

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rillet.data.datasets import Dataset, held_back, subset
from rillet.data.given import as_dataset
from rillet.errors import GraphError
from rillet.ir.text import parse_graph
from rillet.system.extras import extra
from rillet.system.reading import MODEL_BYTES, read_bytes
from rillet.train import recipe as recipes
from rillet.train import records

HELD_BACK = 5000
_LEAST_SHARE = 10
"""At most one picture in so many is held back."""
SAVE_SECONDS = 20.0
_HELD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Task:
    """A training."""

    key: str
    """Of the network."""
    epochs: int
    graph: str
    """As text, without weights."""
    recipe: str
    """As TOML, with the epochs in it."""
    data: str
    """The data set's name."""
    limit: int
    """At most so many pictures to train on; 0 for all."""
    seed: int
    folder: str
    """Of the run, where this machine has it."""

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.key}-{self.epochs}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task came to."""

    key: str
    epochs: int
    top1: float
    """On the pictures held back from the training part."""
    seconds: float
    network: bytes
    """The trained network, as .rlt."""
    failed: str = ""
    """A sentence where the training could not end, as one that diverged: it counts as top-1 0."""


def parts(data: str, limit: int, seed: int) -> tuple[Dataset, Dataset]:
    """The training part of a data set without the pictures held back, and these: the same for the same seed.

    Raises GraphError where there are too few.
    """
    whole = as_dataset(data, "train")
    held = min(HELD_BACK, len(whole) // _LEAST_SHARE)
    if held < 1:
        raise GraphError(f"--data {data}: must have at least {_LEAST_SHARE} pictures to train on, got {len(whole)}")
    kept, rest = held_back(len(whole), held, seed)
    return subset(whole, np.sort(kept[: limit or len(kept)])), subset(whole, rest)


def run(task: Task) -> Outcome:
    """Trains; raises GraphError for data or a recipe that are none. A training that diverges has failed."""
    with extra("torch"):
        from rillet.train.checkpoint import Held
        from rillet.train.loop import LAST, train

    graph = parse_graph(task.graph)
    learned, held = parts(task.data, task.limit, task.seed)
    recipe = recipes.parse(f"{task.key}", task.recipe)
    place = Path(task.folder)
    with tempfile.TemporaryDirectory() as elsewhere:
        # A machine that does not see the run's folder trains in one of its own.
        out = (place if place.is_dir() else Path(elsewhere)) / task.name
        asked = records.Options(task.seed, resume=True, threads=1, save_seconds=SAVE_SECONDS)
        made = None
        while made is None:
            try:
                made = train(graph, learned, held, recipe, out, asked, judged_by=records.HELD_BACK)
            except Held:
                # Its coordinator was killed, or its machine given up for lost, and it trains on: what it ends with is
                # this task's outcome too.
                time.sleep(_HELD_SECONDS)
            except GraphError as error:
                if "must be finite" not in str(error):
                    raise
                return Outcome(task.key, task.epochs, 0.0, 0.0, b"", str(error))
        seconds = sum(row.seconds for row in made.rows)
        network = read_bytes(out / LAST, MODEL_BYTES)
        return Outcome(task.key, task.epochs, made.last_top1, seconds, network)
