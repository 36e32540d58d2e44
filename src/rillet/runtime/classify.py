"""Classification of a picture by the streamed program, then verification of its outputs and its memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.analyses.classify import Class, Output, classify, described, is_classifier
from rillet.errors import BuildError, RilletError, Unsupported
from rillet.runtime.programs import AnyProgram, program_of

if TYPE_CHECKING:
    from rillet.ir.graph import Array, Graph
    from rillet.runtime.ready import Ready


@dataclass(frozen=True, slots=True)
class Answer:
    """The program's outputs for one picture, not yet verified."""

    top: list[Class]
    """Of a classifier that was shown a picture, or its own kind of input; else empty."""
    described: tuple[Output, ...]
    doubt: str | None
    """One sentence where a picture was shown to what may never have seen one."""
    pixels: "Array"
    outputs: "tuple[Array, ...]"
    program: AnyProgram
    ready: "Ready"


@dataclass(frozen=True, slots=True)
class OnHost:
    """Time and memory of the same network on one core of this machine, planned for speed (`--target host`)."""

    latency_ms: float
    measured: bool
    """Of the program as it was kept; else estimated by the time model of host plans."""
    arena_bytes: int | None
    """Of the kept program."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Verified outputs, with measured time and memory."""

    top: list[Class]
    outputs: tuple[Output, ...]
    arena_bytes: int
    measured_bytes: int
    layerwise_bytes: int
    weight_bytes: int
    macs: int
    latency_ms: float
    segments: int
    compared: str
    """`bytes` where the output is the reference's to the bit, `values` for float32, which agree within 1e-5."""
    on_host: OnHost | None = None
    """Where the plan is the one of least memory."""


def answer(ready: "Ready", image: Path, raw: bool = False, count: int = 5, *, told: bool = False) -> Answer:
    """Shows a network a picture (`raw`: an array) by rows pushed in; raises GraphError for what is none.

    told: the user says how a picture becomes the input, so it takes pictures whatever its shape.
    """
    from rillet.data.images import load_array, load_input, may_be_picture

    graph = ready.built.graph
    if graph.image is None and not raw:
        shape = graph.input_nodes[0].shape
        raise Unsupported(f"{graph.name}: input must be an image of 1 or 3 channels, got {shape}; give it with --raw")
    pixels = load_array(image, graph) if raw else load_input(image, graph)
    program = program_of(ready.built)
    outputs = program.push(pixels)
    doubt = None
    if not (raw or told or may_be_picture(graph)):
        node = graph.input_nodes[0]
        doubt = (
            f"{graph.name}: input {node.shape} may be no picture; {image.name} was made to fit all the same. Give an "
            "array with --raw, or say --labels, --resize, --mean or --deviation if it is one"
        )
    top = classify(graph, outputs[0], count) if doubt is None and is_classifier(graph) else []
    return Answer(top, described(graph, outputs, count), doubt, pixels, outputs, program, ready)


def on_host(graph: "Graph", kept: "Ready | None", pixels: "Array") -> OnHost | None:
    """Measured, where the host plan's program was kept, else estimated; None where it cannot be planned so."""
    from rillet.plan.host.planner import estimated_ns
    from rillet.targets.host import this_host

    if kept is not None:
        return OnHost(program_of(kept.built).latency(pixels).median_ms, True, kept.built.arena_bytes)
    try:
        return OnHost(estimated_ns(graph, this_host()) / 1e6, False, None)
    except RilletError:
        return None


def prove(
    name: str, said: Answer, graph: "Graph", beside: OnHost | None = None, original: "Graph | None" = None
) -> RunResult:
    """What an answer took, and what it would `beside`; `graph` is the planned one with its arrays.

    `original` is the network whose values they must be, where it is another one.
    Raises BuildError if the program's values are not the reference's.
    """
    # Imported here: the answer needs none of them.
    from rillet.backends import reference
    from rillet.runtime.verify import first_difference

    names, built = tuple(dict.fromkeys(graph.outputs)), said.ready.built
    expected = dict(zip(names, reference.outputs(original or graph, said.pixels), strict=False))
    difference = first_difference(graph, expected, dict(zip(names, said.outputs, strict=True)), 0, "c")
    if difference is not None:
        raise BuildError(f"{name}: the program must give the reference's values, got {difference}")
    return RunResult(
        said.top,
        said.described,
        built.arena_bytes,
        said.program.touched_bytes(said.pixels),
        said.ready.layerwise_bytes,
        graph.weight_bytes,
        graph.macs,
        said.program.latency(said.pixels).median_ms,
        said.ready.segments,
        "bytes" if all(graph.by_name[name].type.quant for name in names) else "values",
        beside,
    )
