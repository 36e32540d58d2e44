"""The answer: the best network as 8-bit integers, its accuracy and memory measured by the C that is emitted of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from rillet.data.datasets import open_dataset
from rillet.exporters import rlt
from rillet.importers.rlt import load
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


def answer(key: str, costed: Costed, network: Path, asked: "Asked", out: Path) -> Answer:
    """Quantises the network that lies in the file `network`, or one with seeded weights where it was never trained,
    writes best.rlt, and measures it once on the test part.
    """
    trained = network.exists()
    made = load(network) if trained else with_seeded_weights(costed.graph, asked.seed)
    if costed.ternary and not trained:
        made = ternarize(made, costed.ternary)
    learned, _ = parts(asked.data, asked.limit, asked.seed)
    seen = calibrate(made, learned, min(CALIBRATION, len(learned)))
    whole = quantize(seen.graph, seen.seen).with_name(f"{asked.space.name}-{key}")
    if costed.ternary:
        whole = pack(whole)
    write_file(out / BEST, rlt.to_bytes(whole))
    plan = plan_rows(whole)
    program = Program(plan)
    touched = max(program.touched_bytes(image) for image in random_inputs(whole, _POISONED))
    measured = evaluate(plan, open_dataset(asked.data, "test")) if trained else None
    return Answer(
        key,
        BEST,
        None if measured is None else measured.top1,
        0 if measured is None else measured.images,
        plan.arena_bytes,
        touched,
        plan_layerwise(whole).arena_bytes,
        trained,
    )
