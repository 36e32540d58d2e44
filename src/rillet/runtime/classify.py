"""The main job: a picture through the streamed program, then the proof of what it took."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.analyses.classify import Class, classify
from rillet.errors import BuildError
from rillet.runtime.run import Program

if TYPE_CHECKING:
    from rillet.ir.graph import Array, Graph
    from rillet.runtime.ready import Ready


@dataclass(frozen=True, slots=True)
class Answer:
    """What the program says of one picture, not yet compared with anything."""

    top: list[Class]
    pixels: "Array"
    outputs: "tuple[Array, ...]"
    program: Program
    ready: "Ready"


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


def answer(ready: "Ready", image: Path, raw: bool = False, count: int = 5) -> Answer:
    """Classifies a picture (`raw`: an array) by rows pushed in; raises GraphError for what is none."""
    from rillet.runtime.images import load_array, load_input

    graph = ready.built.graph
    pixels = load_array(image, graph) if raw else load_input(image, graph)
    program = Program(ready.built)
    outputs = program.push(pixels)
    return Answer(classify(graph, outputs[0], count), pixels, outputs, program, ready)


def prove(name: str, said: Answer, graph: "Graph") -> RunResult:
    """What an answer took; `graph` is the planned one with its arrays.

    Raises BuildError if the program's values are not the reference's.
    """
    # Imported here: the answer needs none of them.
    from rillet.backends import reference
    from rillet.runtime.verify import first_difference

    names, built = tuple(dict.fromkeys(graph.outputs)), said.ready.built
    expected = dict(zip(names, reference.outputs(graph, said.pixels), strict=False))
    difference = first_difference(graph, expected, dict(zip(names, said.outputs, strict=True)), 0, "c")
    if difference is not None:
        raise BuildError(f"{name}: the program must give the reference's values, got {difference}")
    return RunResult(
        said.top,
        built.arena_bytes,
        said.program.touched_bytes(said.pixels),
        said.ready.layerwise_bytes,
        graph.weight_bytes,
        graph.macs,
        said.program.latency(said.pixels).median_ms,
        said.ready.segments,
        "bytes" if all(graph.by_name[name].type.quant for name in names) else "values",
    )
