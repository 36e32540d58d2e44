"""Programs: plans compiled and run, and their outputs verified against the reference and other runtimes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.api import checks, networks, plans
from rillet.api.machines import Named
from rillet.errors import GraphError, TargetError
from rillet.ir.graph import Array, Graph
from rillet.plan.options import PlanOptions
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan
from rillet.report.progress import Advance, shown
from rillet.system.options import Uses
from rillet.targets.boards import Board
from rillet.targets.catalogue import load as load_target
from rillet.targets.writing import to_toml

if TYPE_CHECKING:
    from PIL.Image import Image

    from rillet.analyses.classify import Class
    from rillet.api.networks import Given
    from rillet.models.specifier import Preprocessing
    from rillet.runtime.classify import Answer, RunResult
    from rillet.runtime.emulator.proof import CoreVerification
    from rillet.runtime.findings import Findings
    from rillet.runtime.rtl.verify import HardwareVerification
    from rillet.runtime.run import Latency
    from rillet.runtime.verify import Verification
    from rillet.targets.cores import Core


class Program:
    """A compiled plan, loaded into this process; images are pictures or arrays (see `__call__`)."""

    def __init__(self, made: RowPlan) -> None:
        from rillet.runtime.programs import program_of

        networks.with_weights(made.graph)
        self.plan = made
        self._loaded = program_of(made)

    def __call__(self, image: "Given | Sequence[Given] | Mapping[str, Given]") -> tuple[Array, ...]:
        """The outputs for one image: height x width x channels each, in the network's own element types.

        image: an array of the input's shape and element type, or a .npy file of one; else a picture (a file, uint8
        pixels of height x width x channels, or a Pillow image), which is preprocessed. Of a network of several inputs,
        one of these each, in their order or by name: the first as above, the others arrays. Raises GraphError for
        others.
        """
        return self._loaded.run(networks.as_inputs(self.plan.graph, image))

    def run_batch(
        self, images: "Iterable[Given | Sequence[Given] | Mapping[str, Given]]", threads: int = 1
    ) -> tuple[Array, ...]:
        """The outputs for many images, each as `__call__` takes it: images x height x width x channels.

        threads: that the images are dealt out to; for a plan of one thread, since others take turns. Raises GraphError
        for no image and for fewer than one thread, TargetError for several of a program for WebAssembly.
        """
        taken = [networks.as_inputs(self.plan.graph, image) for image in images]
        if not taken:
            raise GraphError(f"{self.plan.graph.name}: images must be at least one, got none")
        return self._loaded.run_batch(taken, checks.count(threads, "threads"))

    def classify(self, image: "str | PathLike[str] | Array | Image", top: int = 5) -> "list[Class]":
        """The most probable classes with their labels; raises GraphError for a network that is no classifier."""
        from rillet.analyses.classify import classify, is_classifier

        graph = self.plan.graph
        if not is_classifier(graph):
            raise GraphError(f"{graph.name}: must be a classifier with labels for this (rillet.load(..., labels=FILE))")
        return classify(graph, self(image)[0], checks.count(top, "top"))

    def find(self, image: "str | PathLike[str] | Array | Image") -> "Findings":
        """What the network says of one image: `.top` classes, `.boxes` in pixels of the picture, a map of `.classes`.

        All are empty where the outputs' meaning is not known.
        """
        from rillet.runtime.findings import interpret

        outputs, picture = self(image), networks.as_picture(image)
        return interpret(self.plan.graph, outputs, None if picture is None else picture.size)

    def draw(self, image: "str | PathLike[str] | Array | Image") -> "Image":
        """The picture with the boxes of a detector, or the classes of a segmentation network's map, drawn in.

        Raises GraphError for an array that is no picture, Unsupported for a network of which neither is known.
        """
        from rillet.runtime.findings import drawn

        graph, found, picture = self.plan.graph, self.find(image), networks.as_picture(image)
        if picture is None:
            raise GraphError(f"{graph.name}: image must be a picture to be drawn on, got an array of inputs")
        return drawn(graph, picture, found)

    def latency(self, image: "Given | Sequence[Given] | Mapping[str, Given]", runs: int = 10) -> "Latency":
        """The minimum and the median time of `runs` inferences."""
        return self._loaded.latency(networks.as_inputs(self.plan.graph, image), checks.count(runs, "runs"))

    def __repr__(self) -> str:
        return f"Program({self.plan!r})"


def compile(  # rillet.compile, as torch.compile
    what: RowPlan | PixelPlan | Graph,
    target: Named | None = None,
    *,
    threads: int | None = None,
    precision: str | None = None,
    progress: Advance | None = None,
) -> Program:
    """Compiles a row plan, or a network planned for a host (`host` by default), and loads the program.

    Compiled programs are cached. precision: `bf16` multiplies float32 in bfloat16 where the processor can.
    progress: called with steps done (planning, compiling) and their total.
    Raises GraphError for a network without weights, TargetError for a chip, BuildError without a C compiler.

    >>> import numpy, rillet
    >>> program = rillet.compile(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10"), threads=1)
    >>> program(numpy.zeros((32, 32, 3), numpy.float32))[0].shape
    (1, 1, 10)
    """
    if not isinstance(what, Graph) and not (target is threads is precision is None):
        raise TargetError("target, threads and precision must come with a Graph, got a plan, which has its own")
    with shown("compiling", progress) as advance:
        if isinstance(what, Graph):
            said = plans.options(target or "host", threads=threads, precision=precision)
            made = plans.row_planned(what, said, here=True)
        else:
            made = checks.runs_here(checks.row_plan(what))
        advance(1, 2)
        program = Program(made)
        advance(2, 2)
    return program


def verify(
    what: RowPlan | PixelPlan | Graph,
    inputs: int | None = None,
    against: str | None = None,
    progress: Advance | None = None,
    *,
    original: Graph | None = None,
) -> "Verification | CoreVerification | HardwareVerification":
    """Compares reference, C program and another runtime byte for byte on seeded random inputs, 10 by default.

    A plan for a board with kernels of its core runs on that core, emulated, and the result tells what it takes there.
    A chip's plan runs as Verilog in a simulator, by default 3 images back to back (`rillet verify` has more options).

    what: a plan, or a network, which is planned for the least memory. against: `litert` or `tflm` for a network
    loaded from a .tflite file, `onnxruntime` for an .onnx file. progress: called with inputs done and their total.
    original: the network whose output bytes must come out, where it is not the planned one (docs/live.md). Raises
    Unsupported where that runtime is not installed, or cannot run the network.

    >>> import rillet
    >>> net = rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10")
    >>> rillet.verify(rillet.plan(net), inputs=2).equal
    True
    """
    pixels = checks.pipeline_of(what)
    if pixels is not None:
        from rillet.api.hardware import IMAGES, verify_hardware

        if against is not None or original is not None:
            raise TargetError(f"{pixels.graph.name}: hardware must be compared with the reference alone")
        return verify_hardware(pixels, IMAGES if inputs is None else inputs, progress=progress)
    made = plans.row_planned(what, PlanOptions()) if isinstance(what, Graph) else checks.row_plan(what)
    inputs = 10 if inputs is None else inputs
    if made.core is None:
        return verify_here(made, inputs, against, progress, original=original)
    if against is not None or original is not None:
        raise TargetError(f"{made.graph.name}: must be planned for a host to be compared with more, got a board's plan")
    return verify_on_board(made, inputs, progress)


def verify_here(
    made: RowPlan,
    inputs: int = 10,
    against: str | None = None,
    progress: Advance | None = None,
    *,
    original: Graph | None = None,
) -> "Verification":
    """As `verify`, of a plan whose program runs on this machine."""
    from rillet.runtime.verify import verify as compare

    networks.with_weights(checks.runs_here(made).graph)
    source = made.graph if original is None else checks.graph(original)
    path = networks.file_of(source)
    imported = networks.imported_of(source) if against is not None else None
    count = checks.count(inputs, "inputs")
    with shown("verifying", progress) as advance:
        told: Advance = advance
        return compare(
            made,
            count,
            path=path,
            imported=imported,
            until=networks.until_of(source),
            against=against,
            progress=lambda done: told(done, count),
            **({} if original is None else {"original": original}),
        )


def verify_on_board(made: RowPlan, inputs: int = 10, progress: Advance | None = None) -> "CoreVerification":
    """Runs the program on the emulated Cortex-M core of the board that it was planned for, beside the reference.

    progress: called with inputs done and their total. Raises TargetError for a plan for another processor, Unsupported
    where no compiler or emulator is installed (`rillet[mcu]`), BuildError for a program that faults or does not end.
    """
    from rillet.runtime.emulator.proof import verify_on

    networks.with_weights(made.graph)
    core, board = (None, "none") if made.board is None else (made.board.cortex, made.board.name)
    if core is None:
        raise TargetError(f"{made.graph.name}: must be planned for a board with a Cortex-M core here, got {board}")
    count = checks.count(inputs, "inputs")
    with shown("emulating", progress) as advance:
        told: Advance = advance
        return verify_on(made, core, count, progress=lambda done: told(done, count))


def core_of(options: PlanOptions) -> "Core | None":
    """The Cortex-M core of the board that is planned for, None for other machines."""
    return options.target.cortex if isinstance(options.target, Board) else None


PICTURES = (".png", ".jpg", ".jpeg")


def check_result(path: Path | None, raw: bool) -> None:
    """Raises GraphError where the result of a run cannot go to `path`: a picture, an array (.npy) or a folder."""
    if path is None:
        return
    suffix = path.suffix.lower()
    if suffix not in (*PICTURES, ".npy", "") and not path.is_dir():
        raise GraphError(f"{path}: must end in .png, .jpg or .npy, or be a folder, got {suffix!r}")
    if raw and suffix in PICTURES:
        raise GraphError(f"{path}: must be a .npy file or a folder with --raw, where there is no picture to draw on")


def save_picture(picture: "Image", path: Path) -> None:
    """Writes a picture as PNG or JPEG, by the suffix; raises BuildError where it cannot be written."""
    from io import BytesIO

    from rillet.system.files import write_file

    out = BytesIO()
    picture.save(out, "PNG" if path.suffix.lower() == ".png" else "JPEG")
    write_file(path, out.getvalue())


def save_outputs(net: Graph, outputs: tuple[Array, ...], path: "str | PathLike[str]") -> tuple[Path, ...]:
    """Writes a network's outputs, as a program gives them: the only one to a .npy file, any number into a folder.

    A file in the folder is called as its output, characters that not every file system has replaced. Returns the files.
    Raises GraphError for several outputs and one file, BuildError where they cannot be written.
    """
    from rillet.runtime.findings import as_files

    path = checks.path(path, "path")
    files = as_files(checks.graph(net), outputs)
    if path.suffix.lower() == ".npy":
        if len(files) > 1:
            raise GraphError(f"{path}: must be a folder for {len(files)} outputs, got a file")
        from rillet.system.files import write_file

        write_file(path, next(iter(files.values())))
        return (path,)
    from rillet.system.folders import write_folder

    write_folder(path, files)
    return tuple(path / name for name in files)


RUN = Uses({"a picture": ("--resize", "--mean", "--deviation"), "--raw": ()})
"""How a picture becomes the input; an array is one already."""


def ask(
    model: str | None,
    images: Sequence[Path],
    options: PlanOptions,
    said: "Preprocessing",
    *,
    raw: bool = False,
    weights: Path | None = None,
    opening: Callable[[str], Graph] | None = None,
    live: bool = False,
) -> "Asked":
    """A picture for a network, or a file for each of its inputs; the demo's where neither is given.

    Raises GraphError for a network without a picture.
    """
    from rillet.models import specifier

    if model is None:
        model, images = specifier.DEMO_MODEL, (specifier.demo_photo(),)
    if not images:
        raise GraphError("IMAGE must be given with MODEL: rillet run MODEL IMAGE")
    mode = "--raw" if raw else "a picture"
    RUN.check(mode, {"--resize": said.resize, "--mean": said.mean, "--deviation": said.deviation})
    return Asked(model, tuple(images), said, options, weights, raw, opening, live)


@dataclass(frozen=True)
class Asked:
    """A picture to be shown to a network by its streamed program, which is kept ready for the next time."""

    model: str
    images: tuple[Path, ...]
    """One for each input."""
    said: "Preprocessing"
    options: PlanOptions
    weights: Path | None = None
    raw: bool = False
    """True where the image is an array as stored."""
    opening: Callable[[str], Graph] | None = None
    """Opens the network, where it is needed, in another way than `opened` does."""
    live: bool = False
    """True where live channels alone are computed (docs/live.md)."""

    @cached_property
    def answer(self) -> "Answer":
        """What the program says; the network is opened, planned and compiled only where it was not before."""
        from rillet.models.specifier import Preprocessing
        from rillet.runtime import classify
        from rillet.runtime.ready import make_ready

        ready = make_ready(self._known, self._plan)
        return classify.answer(ready, self.images, self.raw, told=self.said != Preprocessing())

    def prove(self) -> "RunResult":
        """What the answer took; raises BuildError if its values are not the reference's."""
        from rillet.plan.choose import folded
        from rillet.runtime import classify
        from rillet.runtime.ready import find_ready

        beside = None
        if self.options == PlanOptions():
            for_speed = self._known(PlanOptions(target=load_target("host")))
            beside = classify.on_host(folded(self._computed), find_ready(for_speed), self.answer.pixels)
        return classify.prove(self.model, self.answer, folded(self._graph), self._plan, beside)

    def keep(self, path: Path) -> None:
        """Writes what the program said: onto the picture where `path` is one, else as arrays (`save_outputs`)."""
        answer, graph = self.answer, self.answer.ready.built.graph
        if path.suffix.lower() not in PICTURES:
            save_outputs(graph, answer.outputs, path)
        elif answer.picture is not None:
            from rillet.runtime.findings import drawn

            save_picture(drawn(graph, answer.picture, answer.found), path)

    def _plan(self) -> RowPlan:
        return plans.row_planned(self._computed, self.options, here=True)

    @cached_property
    def _graph(self) -> Graph:
        if self.opening is not None:
            return self.opening(self.model)
        return networks.opened(self.model, self.said, self.weights).graph

    @cached_property
    def _computed(self) -> Graph:
        from rillet.transforms.live import live

        return live(self._graph).graph if self.live else self._graph

    def _known(self, options: PlanOptions | None = None) -> tuple[str, ...] | None:
        """What tells the program of these options from any other."""
        from rillet.runtime.identity import identity

        found = identity(self.model, self.said, self.weights)
        asked = options or self.options
        machine = "" if asked.target is None else to_toml(asked.target)
        words = [getattr(asked, one.name) for one in fields(asked) if one.name != "target"]
        return None if found is None else (*found, machine, repr(words))
