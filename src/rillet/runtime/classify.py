"""A picture by the streamed program: what it says of it, then verification of its outputs and its memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.analyses.boxes import Box
from rillet.analyses.classify import Class, Output, described
from rillet.analyses.regions import Region
from rillet.errors import BuildError, GraphError, RilletError, Unsupported
from rillet.runtime.findings import Findings, interpret
from rillet.runtime.programs import AnyProgram, program_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.Image import Image

    from rillet.ir.graph import Array, Graph
    from rillet.ir.inputs import Inputs
    from rillet.plan.rows.plan import RowPlan
    from rillet.runtime.ready import Ready


@dataclass(frozen=True, slots=True)
class Answer:
    """The program's outputs for one picture, not yet verified."""

    found: Findings
    """What a network says that was shown a picture, or its own kind of input; else nothing."""
    described: tuple[Output, ...]
    doubt: str | None
    """One sentence where a picture was shown to what may never have seen one."""
    pixels: "Inputs"
    outputs: "tuple[Array, ...]"
    program: AnyProgram
    ready: "Ready"
    picture: "Image | None"
    """As it lies in its file, turned; None where an array was given."""


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
    """Of a classifier."""
    boxes: tuple[Box, ...]
    """Of a detector, in pixels of the picture."""
    regions: tuple[Region, ...]
    """Of a segmentation network."""
    outputs: tuple[Output, ...]
    arena_bytes: int
    measured_bytes: int
    layerwise_bytes: int
    weight_bytes: int
    macs: int
    latency_ms: float
    segments: int
    compared: str
    """`bytes` where the output is the reference's to the bit, `values` for float32, which agree but for rounding."""
    on_host: OnHost | None = None
    """Where the plan is the one of least memory."""


def answer(
    ready: "Ready", images: "Sequence[Path]", raw: bool = False, count: int = 5, *, told: bool = False
) -> Answer:
    """Shows a network a picture (`raw`: an array) by rows pushed in; raises GraphError for what is none.

    images: one for each input; of several, .npy files are arrays without `raw`, and all but the first must be arrays.

    told: the user says how a picture becomes the input, so it takes pictures whatever its shape.
    """
    from rillet.data.images import as_input, fit, load_array, load_picture, may_be_picture

    graph = ready.built.graph
    image, others = images[0], _other_arrays(graph, images)
    raw = raw or (bool(others) and image.suffix.lower() == ".npy")
    if graph.image is None and not raw:
        shape = graph.input_nodes[0].shape
        raise Unsupported(f"{graph.name}: input must be an image of 1 or 3 channels, got {shape}; give it with --raw")
    picture = None if raw else load_picture(image)
    if picture is None or graph.image is None:
        pixels = load_array(image, graph)
    else:
        pixels = as_input(fit(picture, graph.image), graph)
    program = program_of(ready.built)
    given: Inputs = {graph.input_nodes[0].name: pixels} | others if others else pixels
    outputs = program.push(given)
    doubt = None
    if not (raw or told or may_be_picture(graph)):
        node = graph.input_nodes[0]
        doubt = (
            f"{graph.name}: input {node.shape} may be no picture; {image.name} was made to fit all the same. Give an "
            "array with --raw, or say --labels, --resize, --mean or --deviation if it is one"
        )
    size = None if picture is None else picture.size
    found = interpret(graph, outputs, size, count) if doubt is None else Findings()
    return Answer(found, described(graph, outputs, count), doubt, given, outputs, program, ready, picture)


def _other_arrays(graph: "Graph", files: "Sequence[Path]") -> "dict[str, Array]":
    """The inputs behind the first, by name; raises GraphError where there is not a file for each input."""
    from rillet.data.images import load_array

    nodes = graph.input_nodes
    if len(files) != len(nodes):
        wanted = ", ".join(f"{node.name} {node.shape}" for node in nodes)
        count = "one file" if len(nodes) == 1 else f"{len(nodes)} files"
        raise GraphError(f"{graph.name}: IMAGE must be {count}, for {wanted}; got {len(files)}")
    return {node.name: load_array(path, graph, node) for node, path in zip(nodes[1:], files[1:], strict=True)}


def on_host(graph: "Graph", kept: "Ready | None", pixels: "Inputs") -> OnHost | None:
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
    name: str, said: Answer, graph: "Graph", plan: "Callable[[], RowPlan]", beside: OnHost | None = None
) -> RunResult:
    """What an answer took, and what it would `beside`.

    `graph` is the network whose values they must be, with its arrays; `plan` makes the program's own plan, which is
    needed where float32 values differ so much that each node must be asked. Raises BuildError if the values are not
    the reference's.
    """
    # Imported here: the answer does without.
    from rillet.runtime.verify import output_difference

    built = said.ready.built
    difference = output_difference(plan, graph, said.pixels, said.outputs)
    if difference is not None:
        raise BuildError(f"{name}: the program must give the reference's values, got {difference}")
    found, names = said.found, tuple(dict.fromkeys(graph.outputs))
    return RunResult(
        list(found.top),
        found.boxes or (),
        found.regions,
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
