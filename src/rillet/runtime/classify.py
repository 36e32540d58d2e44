"""The main job: a picture through the streamed program, with the proof of what it took."""

from dataclasses import dataclass
from pathlib import Path

from rillet.analyses.classify import Class, classify
from rillet.analyses.memory import memory
from rillet.backends import reference
from rillet.errors import BuildError
from rillet.plan.plan import Plan
from rillet.runtime.images import load_array, load_input
from rillet.runtime.models import Model
from rillet.runtime.run import Program
from rillet.runtime.verify import first_difference


@dataclass(frozen=True, slots=True)
class RunResult:
    """An answer and what it took."""

    top: list[Class]
    arena_bytes: int
    measured_bytes: int
    layerwise_bytes: int
    weight_bytes: int
    macs: int
    latency_ms: float
    segments: int
    compared: str
    """`bytes` where the output is the reference's to the bit, `values` for real numbers, which agree within 1e-5."""


def run_image(model: Model, image: Path, plan: Plan, raw: bool = False, count: int = 5) -> RunResult:
    """Classifies a picture (`raw`: an array); raises BuildError if the program's values are not the reference's."""
    graph = plan.graph
    pixels = load_array(image, graph) if raw else load_input(image, graph)
    program = Program(plan)
    names = tuple(dict.fromkeys(graph.outputs))
    output = program.push(pixels)
    expected = dict(zip(names, reference.outputs(graph, pixels), strict=False))
    difference = first_difference(graph, expected, dict(zip(names, output, strict=True)), 0, "c")
    if difference is not None:
        raise BuildError(f"{model.name}: the program must give the reference's values, got {difference}")
    report = memory(graph, plan)
    return RunResult(
        classify(graph, output[0], count),
        report.arena_bytes,
        program.touched_bytes(pixels),
        report.layerwise_bytes,
        graph.weight_bytes,
        graph.macs,
        program.latency(pixels).median_ms,
        report.segments,
        "bytes" if all(graph.by_name[name].type.quant for name in names) else "values",
    )
