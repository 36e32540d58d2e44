"""Plans: made for a machine, written as C, simulated, drawn."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rillet.api import checks, networks
from rillet.api.backends import Plan, backend_of
from rillet.errors import GraphError, TargetError
from rillet.ir.graph import Graph
from rillet.plan.options import PlanOptions
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan
from rillet.system.record import Record
from rillet.targets.catalogue import Target
from rillet.targets.catalogue import load as load_target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rillet.plan.pipeline.claims import Claim
    from rillet.simulation.pipeline import Simulation

LAYOUTS = ("c", "cmake")


def options(
    target: "str | PathLike[str] | Target | None" = None,
    ram: str | int | None = None,
    objective: str | None = None,
    resident: bool = False,
    max_slowdown: float | None = None,
    threads: int | None = None,
    interval: int | None = None,
    multipliers: int | None = None,
    memory: str | int | None = None,
    clock: str | float | None = None,
    bits: int | None = None,
    ceil: bool = False,
    recompute: "str | Iterable[str] | None" = None,
    devices: int | None = None,
) -> PlanOptions:
    """What is asked of a plan, as `plan` takes it; raises TargetError for what the kind of plan has no use for."""
    memory_bytes = checks.size(memory, "--memory")
    for what, value in (("interval", interval), ("multipliers", multipliers), ("devices", devices)):
        if value is not None:
            checks.count(value, what)
    return PlanOptions(
        target=as_target(target),
        ram_bytes=checks.size(ram, "--ram"),
        objective=objective,
        resident=resident,
        slower=max_slowdown,
        threads=threads,
        multipliers=multipliers,
        interval=interval,
        memory_bits=None if memory_bytes is None else 8 * memory_bytes,
        clock_hz=checks.frequency(clock, "--clock"),
        bits=bits,
        ceil=ceil,
        narrow=tuple(recompute.split(",")) if isinstance(recompute, str) else tuple(recompute or ()),
        several=devices,
    )


def chip_options(
    target: "str | PathLike[str] | Target | None" = None,
    interval: int | None = None,
    multipliers: int | None = None,
    memory: str | int | None = None,
    clock: str | float | None = None,
    bits: int | None = None,
    ceil: bool = False,
    recompute: "str | Iterable[str] | None" = None,
) -> PlanOptions:
    """As `options`, what is asked of one chip alone."""
    return options(
        target,
        interval=interval,
        multipliers=multipliers,
        memory=memory,
        clock=clock,
        bits=bits,
        ceil=ceil,
        recompute=recompute,
    )


def as_target(target: "str | PathLike[str] | Target | None") -> Target | None:
    """The machine of a name, a TOML file or a record; raises TargetError for what is none."""
    given: Any = target
    if given is None or isinstance(given, Target):
        return given
    if not isinstance(given, str | PathLike):
        raise TargetError(f"target must be a machine's name, a .toml file or a Target, got {type(given).__name__}")
    return load_target(str(given))


def plan(
    net: Graph,
    target: "str | PathLike[str] | Target | None" = None,
    *,
    ram: str | int | None = None,
    objective: str | None = None,
    resident: bool = False,
    max_slowdown: float | None = None,
    threads: int | None = None,
    interval: int | None = None,
    multipliers: int | None = None,
    memory: str | int | None = None,
    clock: str | float | None = None,
    bits: int | None = None,
    ceil: bool = False,
    recompute: "str | Iterable[str] | None" = None,
    devices: int | None = None,
) -> RowPlan | PixelPlan:
    """When each layer fires and where each value lies: a RowPlan for a host or a board, a PixelPlan for a chip.

    target: a machine by name (`host`, `stm32f746`, `zcu102`), a .toml file or a record; without one, any processor.
    ram: most bytes of activations, as `64KiB`. objective: `memory` or `time`. resident: the whole input lies in the
    arena. max_slowdown: percent over the least estimated time, for less memory. threads: on a host.
    For a chip, in place of its own numbers: interval (cycles an image), multipliers, memory (as `4MiB`), clock (as
    `200MHz`), bits (8 or 16), ceil (foldings that do not divide), recompute (blocks that buffer their bottleneck
    input, `all` or `auto`), devices (chips in a row). Raises TargetError for what cannot be met.

    >>> import rillet
    >>> net = rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10")
    >>> rillet.plan(net, target="zcu102").multipliers <= 2520
    True
    """
    said = options(
        target,
        ram=ram,
        objective=objective,
        resident=resident,
        max_slowdown=max_slowdown,
        threads=threads,
        interval=interval,
        multipliers=multipliers,
        memory=memory,
        clock=clock,
        bits=bits,
        ceil=ceil,
        recompute=recompute,
        devices=devices,
    )
    return planned(net, said)


def planned(net: Graph, said: PlanOptions) -> RowPlan | PixelPlan:
    """As `plan`, of options that are a record already."""
    from rillet.plan.choose import plan_for

    made = plan_for(checks.graph(net), said)
    networks.keep_file(made.graph, net)
    return made


def row_planned(net: Graph, said: PlanOptions) -> RowPlan:
    """As `planned`, of a network with weights, to be run as C; raises TargetError for a chip, GraphError for none."""
    from rillet.plan.choose import row_plan_for

    net = checks.graph(net)
    made = row_plan_for(networks.with_weights(net), said)
    networks.keep_file(made.graph, net)
    return made


def pixel_planned(net: Graph, said: PlanOptions) -> PixelPlan:
    """As `planned`, for a chip; raises TargetError for a processor."""
    from rillet.plan.choose import pixel_plan_for

    return pixel_plan_for(checks.graph(net), said)


def claim_of(net: Graph, said: PlanOptions) -> "Claim | None":
    """What becomes of the images a second that the chip's document promises; None where it promises nothing."""
    from rillet.plan.pipeline.claims import check_claim

    chip = said.chip
    return check_claim(net, chip, ceil=said.ceil) if chip is not None and chip.claimed_images_per_s else None


@dataclass(frozen=True, repr=False)
class Emitted(Record):
    """A program as it was written."""

    folder: Path
    files: tuple[str, ...]
    arena_bytes: int
    build: str
    """The command that builds it, in the folder."""
    run: str
    """A shell's line that builds it and shows it an image."""

    def __repr__(self) -> str:
        return f"Emitted({str(self.folder)!r}, {len(self.files)} files, {self.arena_bytes:,} bytes of activations)"


def emit(
    made: RowPlan,
    folder: "str | PathLike[str]",
    *,
    prefix: str = "net",
    layout: Literal["c", "cmake"] = "c",
) -> Emitted:
    """Writes the C99 program of a row plan, with a main.c that reads a raw image, into a folder.

    prefix: what all names of the program begin with, so that several link together. layout: `cmake` adds a
    CMakeLists.txt. Files of an earlier program there go, all others stay. Raises TargetError for a chip's plan,
    GraphError for a network without weights, Unsupported for a prefix that C cannot have, BuildError where the folder
    cannot be written.

    >>> import rillet
    >>> made = rillet.plan(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10"))
    >>> "net.c" in rillet.emit(made, "out").files
    True
    """
    from rillet.backends.c.emit import emit as emit_c
    from rillet.backends.c.flags import build_line, cmake_text, run_line
    from rillet.system.folders import write_folder

    made, out = checks.row_plan(made), checks.path(folder, "folder")
    if layout not in LAYOUTS:
        raise GraphError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    networks.with_weights(made.graph)
    files = emit_c(made, prefix=prefix)
    if layout == "cmake":
        files["CMakeLists.txt"] = cmake_text(made, prefix)
    write_folder(out, files)
    return Emitted(out, tuple(sorted(files)), made.arena_bytes, build_line(made, prefix), run_line(made, out, prefix))


@dataclass(frozen=True, repr=False)
class Simulated(Record):
    """A pipeline's plan, and what its simulation measured."""

    plan: PixelPlan
    measured: "Simulation"

    @property
    def passed(self) -> bool:
        """True where all images came out in the planned interval, and no pixel was missing in a ring."""
        planned_cycles = self.plan.interval_cycles
        return self.measured.passed and (self.measured.interval_cycles or planned_cycles) == planned_cycles

    @property
    def interval_cycles(self) -> int | None:
        """Cycles from one image to the next; None for one image alone."""
        return self.measured.interval_cycles

    @property
    def latency_cycles(self) -> int | None:
        """Cycles from the first pixel of the first image to its last output value."""
        return self.measured.latency_cycles

    def __repr__(self) -> str:
        how = "passed" if self.passed else "failed"
        return f"Simulated({how}, {self.plan.graph.name!r}, {self.measured!r})"


def simulate(made: PixelPlan, images: int = 3) -> Simulated:
    """Runs a chip's pipeline cycle by cycle, images back to back, with rings of just the planned depth.

    Raises TargetError for a plan that is none of a chip, BuildError without a C compiler.

    >>> import rillet
    >>> made = rillet.plan(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10"), interval=4096)
    >>> rillet.simulate(made, images=2).passed
    True
    """
    from rillet.simulation.pipeline import simulate as run

    made = checks.pixel_plan(made)
    return Simulated(made, run(made, checks.count(images, "images")))


class Svg(str):
    """A picture as an SVG document, which notebooks show."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The document."""
        return str(self)

    def save(self, path: "str | PathLike[str]") -> None:
        """Writes the document; raises BuildError where it cannot be written."""
        from rillet.system.files import write_file

        write_file(checks.path(path, "path"), self.encode())

    def _repr_svg_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"Svg({len(self):,} characters)"


def draw(what: Graph | RowPlan | PixelPlan) -> Svg:
    """A network as blocks, wide by channels and high by resolution; a plan for a processor as its segments and where
    each value lies in memory; a chip's plan as two images through its layers.

    >>> import rillet
    >>> rillet.draw(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10")).startswith("<svg")
    True
    """
    from rillet.report import draw as drawing

    if isinstance(what, Plan):
        return Svg(backend_of(what).draw())
    return Svg(drawing.svg(checks.graph(what, "what is drawn")))


def draw_front(net: Graph) -> Svg:
    """Values on chip against MACs of a network, by the blocks that buffer their bottleneck input."""
    from rillet.analyses.sources.narrow import narrow
    from rillet.report.sources import front

    return Svg(front.svg(narrow(checks.graph(net))))
