"""Records of a training run: options, progress events, results."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rillet.system.record import Record
from rillet.transforms.lowbit import TernaryReport as TernaryReport


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a run beside its recipe."""

    seed: int = 0
    resume: bool = False
    threads: int | None = None
    """Threads of each process; measured where it is None."""
    device: str = "auto"
    save_seconds: float = 60.0
    save_steps: int | None = None
    """A checkpoint after so many steps as well."""


TEST, HELD_BACK = "test part", "pictures held back"


@dataclass(frozen=True, slots=True)
class Row:
    """An epoch: its last learning rate, loss and top-1 while training and on the pictures it is judged by, pictures a
    second.
    """

    epoch: int
    step: int
    rate: float
    train_loss: float
    train_top1: float
    judged_loss: float
    judged_top1: float
    images_per_s: float
    seconds: float
    judged_by: str = TEST
    """The pictures that the best epoch is chosen by: the test part, or those held back from training."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Where a run stands: steps done of all, loss and top-1 of the epoch so far, pictures a second, seconds to go."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    top1: float
    images_per_s: float
    seconds_left: float


@dataclass(frozen=True, slots=True, repr=False)
class Trained(Record):
    """What a run came to; top-1 shares are of the pictures it is judged by."""

    model: str
    data: str
    rows: tuple[Row, ...]
    best_epoch: int
    best_top1: float
    last_top1: float
    corrupt: tuple[str, ...]
    """Why pictures were skipped, one reason for each."""
    ternary: TernaryReport | None
    signs_top1: float | None
    """The best network's, its ternary weights replaced by their signs."""
    rounding: str | None = None
    """The rule of the integers that best.rlt and last.rlt are made of; None where they are float32."""
    start_top1: float | None = None
    """Of these integers before training: epoch 0, where none is better."""
    judged_by: str = TEST
    """The pictures that the best epoch is chosen by: the test part, or those held back from training."""

    def __repr__(self) -> str:
        return f"<Trained {self.model} on {self.data}: top-1 {self.best_top1:.2%} after epoch {self.best_epoch}>"


@dataclass(frozen=True)
class Watch:
    """Who is told: of every step looked at, of all epochs so far after each, and of what is worth saying once."""

    tick: Callable[[Tick], None] = lambda _: None
    rows: Callable[[Sequence[Row]], None] = lambda _: None
    note: Callable[[str], None] = lambda _: None


DEFAULT, SILENT = Options(), Watch()
"""Nothing said, nobody told."""


def row(kept: Mapping[str, Any]) -> Row:
    """A row as a checkpoint keeps it, by this version or an older one; raises TypeError for what is none."""
    return Row(**{key.replace("test_", "judged_"): value for key, value in kept.items()})


def to_csv(rows: Sequence[Row]) -> str:
    """The log of a run."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) for one in rows)
    return out.getvalue()
