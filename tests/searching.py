"""A small search: pictures of three colours, a space of narrow networks, and an engine without processes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from rillet.search import budget, halving, space
from rillet.search.found import Found
from rillet.search.run import Asked
from rillet.search.task import Outcome, Task, run
from rillet.train import recipe

SPACE = space.parse(
    "small",
    """
about = "narrow networks for tests"
[input]
resolution = [16, 24]
[stem]
channels = [4, 8]
[[stage]]
channels = [4, 8]
depth = [0, 1, 2]
kernel = [3, 5]
expand = [1, 2]
squeeze = [false, true]
spatial = ["depthwise", "fuse"]
[[stage]]
kind = "residual"
stride = 2
channels = 8
depth = [0, 1]
""",
)


def pictures(folder: Path) -> Path:
    """Three classes that a network learns in a few steps: 30 pictures of each to train on, 5 to test."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 5)):
        for colour in range(3):
            place = folder / part / f"class{colour}"
            place.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (16, 16, 3))
                pixels[..., colour] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    return folder


def asked(
    folder: Path,
    *,
    rungs: str = "4x1,2x2",
    candidates: int = 40,
    resume: bool = False,
    within: space.Space = SPACE,
    **more: object,
) -> Asked:
    """A search of the small space."""
    return Asked(
        within,
        str(folder),
        budget.parse(str(more.pop("budget", "ram<=2KiB, macs<=300k"))),
        ("top1", "macs"),
        halving.parse(rungs),
        recipe.find("cifar"),
        candidates,
        seed=1,
        generations=int(str(more.pop("generations", 1))),
        resume=resume,
        **more,  # type: ignore[arg-type]
    )


def results(found: Found) -> Found:
    """Without what depends on the clock."""
    plain = tuple(replace(one, seconds=0.0) for one in found.candidates)
    return replace(found, candidates=plain, seconds=0.0, asked_per_s=0.0)


class Here:
    """Trains when it is asked for an outcome; `before` may end it."""

    def begin(self) -> "Here":
        return self

    slots = 1

    def __init__(self, before: Callable[[Task], None] = lambda _: None) -> None:
        self.before, self.tasks, self.trained, self.closed = before, list[Task](), list[str](), False

    def submit(self, task: Task) -> None:
        self.tasks.append(task)

    def next(self, seconds: float) -> Outcome | None:  # noqa: ARG002
        task = self.tasks.pop(0)
        self.before(task)
        self.trained.append(task.name)
        return run(task)

    def close(self) -> None:
        self.closed = True
