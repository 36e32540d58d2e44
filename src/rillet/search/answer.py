"""The answer: the best network as 8-bit integers, its accuracy and memory measured by the C that is emitted of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.data.datasets import open_dataset
from rillet.exporters import rlt
from rillet.importers.rlt import load
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.runtime.evaluate import evaluate
from rillet.runtime.quantization import calibrate
from rillet.runtime.run import Program
from rillet.runtime.verify import random_inputs
from rillet.search.found import Answer
from rillet.search.funnel import Costed
from rillet.search.task import parts
from rillet.system.files import write_file
from rillet.transforms.lowbit import pack, ternarize
from rillet.transforms.quantize import quantize
from rillet.zoo.weights import with_seeded_weights

if TYPE_CHECKING:
    from rillet.search.run import Asked

BEST = "best.rlt"
CALIBRATION = 128
_POISONED = 2
"""Pictures of noise by which the arena that is written is found."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A network that may become the answer."""

    key: str
    costed: Costed
    file: Path
    """Of its longest training; none is there where it was never trained."""


def answer(among: Sequence[Trained], asked: "Asked", out: Path, late: Callable[[], bool]) -> Answer:
    """Of some networks, the best first, the one that is best in 8-bit integers on pictures held back: writes best.rlt,
    and measures it once on the test part.

    Once it is `late` no further one is looked at. One that was never trained has seeded weights.
    """
    trained = among[0].file.exists()
    best, plan = among[0], _planned(among[0], asked)
    held_top1: float | None = None
    if trained:
        _, held = parts(asked.data, asked.limit, asked.seed)
        held_top1 = evaluate(plan, held).top1
        for one in among[1:]:
            if late():
                break
            other = _planned(one, asked)
            top1 = evaluate(other, held).top1
            if top1 > held_top1:
                best, plan, held_top1 = one, other, top1
    whole = plan.graph
    write_file(out / BEST, rlt.to_bytes(whole))
    program = Program(plan)
    touched = max(program.touched_bytes(image) for image in random_inputs(whole, _POISONED))
    measured = evaluate(plan, open_dataset(asked.data, "test")) if trained else None
    return Answer(
        best.key,
        BEST,
        None if measured is None else measured.top1,
        0 if measured is None else measured.images,
        plan.arena_bytes,
        touched,
        plan_layerwise(whole).arena_bytes,
        trained,
        held_top1,
    )


def _planned(one: Trained, asked: "Asked") -> RowPlan:
    """The plan of least memory of a network in 8-bit integers."""
    trained = one.file.exists()
    made = load(one.file) if trained else with_seeded_weights(one.costed.graph, asked.seed)
    if one.costed.ternary and not trained:
        made = ternarize(made, one.costed.ternary)
    learned, _ = parts(asked.data, asked.limit, asked.seed)
    seen = calibrate(made, learned, min(CALIBRATION, len(learned)))
    whole = quantize(seen.graph, seen.seen).with_name(f"{asked.space.name}-{one.key}")
    return plan_rows(pack(whole) if one.costed.ternary else whole)
