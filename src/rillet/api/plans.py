"""Plans: planning for a target, emission as C, simulation."""

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, get_args, overload
from warnings import warn

from rillet.api import checks, networks
from rillet.api.machines import Named, find
from rillet.errors import GraphError, RilletWarning, TargetError
from rillet.ir.graph import Graph
from rillet.plan.options import PlanOptions
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan
from rillet.report.progress import Advance, shown
from rillet.system.record import Record
from rillet.targets.boards import Board
from rillet.targets.chips import StreamChip
from rillet.targets.host import WASM, Host

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rillet.backends.c.footprint import Footprint
    from rillet.backends.c.project.check import Example
    from rillet.plan.pipeline.claims import Claim
    from rillet.simulation.pipeline import Simulation

Layout = Literal["c", "cmake", "arduino", "platformio", "zephyr", "cmsis-pack"]


def options(
    target: Named | None = None,
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
    ideal: bool = False,
    precision: str | None = None,
) -> PlanOptions:
    """The arguments of `plan` as a record; a RilletWarning says what the machine lacks for them.

    Raises TargetError for one that does not apply to the kind of plan.
    """
    memory_bytes = checks.size(memory, "--memory")
    for what, value in (("interval", interval), ("multipliers", multipliers), ("devices", devices)):
        if value is not None:
            checks.count(value, what)
    made = PlanOptions(
        target=None if target is None else find(target),
        ram_bytes=checks.size(ram, "--ram"),
        objective=objective,
        resident=resident,
        slower=max_slowdown,
        threads=threads,
        precision=precision,
        multipliers=multipliers,
        interval=interval,
        memory_bits=None if memory_bytes is None else 8 * memory_bytes,
        clock_hz=checks.frequency(clock, "--clock"),
        bits=bits,
        ceil=ceil,
        narrow=tuple(recompute.split(",")) if isinstance(recompute, str) else tuple(recompute or ()),
        several=devices,
        ideal=ideal,
    )
    for sentence in made.doubts:
        warn(RilletWarning(sentence), stacklevel=3)
    return made


def chip_options(
    target: Named | None = None,
    interval: int | None = None,
    multipliers: int | None = None,
    memory: str | int | None = None,
    clock: str | float | None = None,
    bits: int | None = None,
    ceil: bool = False,
    recompute: "str | Iterable[str] | None" = None,
    ideal: bool = False,
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
        ideal=ideal,
    )


class RowWords(TypedDict, total=False):
    """What may be asked of a row plan beside its RAM."""

    objective: str | None
    resident: bool
    max_slowdown: float | None
    threads: int | None
    precision: str | None


class ChipWords(TypedDict, total=False):
    """What may be asked of a chip's plan beside its interval and its multipliers."""

    memory: str | int | None
    clock: str | float | None
    bits: int | None
    ceil: bool
    recompute: "str | Iterable[str] | None"
    devices: int | None
    ideal: bool


@overload
def plan(
    net: Graph,
    target: Named | None = None,
    *,
    interval: int,
    multipliers: int | None = None,
    **more: Unpack[ChipWords],
) -> PixelPlan: ...
@overload
def plan(
    net: Graph, target: Named | None = None, *, multipliers: int, interval: None = None, **more: Unpack[ChipWords]
) -> PixelPlan: ...
@overload
def plan(net: Graph, target: Named | None = None, *, ram: str | int, **more: Unpack[RowWords]) -> RowPlan: ...
@overload
def plan(net: Graph, target: Host | Board | None = None, *, ram: None = None, **more: Unpack[RowWords]) -> RowPlan: ...
@overload
def plan(net: Graph, target: StreamChip, **more: Unpack[ChipWords]) -> PixelPlan: ...
@overload
def plan(
    net: Graph,
    target: Named | None = None,
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
    ideal: bool = False,
    precision: str | None = None,
) -> RowPlan | PixelPlan: ...
def plan(
    net: Graph,
    target: Named | None = None,
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
    ideal: bool = False,
    precision: str | None = None,
) -> RowPlan | PixelPlan:
    """Plans the schedule and the memory of a network: a RowPlan for a host or a board, a PixelPlan for a chip.

    What takes a plan (`emit`, `compile`, `verify`, `simulate`, `draw`) takes either, and says which it needs. A type
    checker knows which it is by `ram`, `interval` or `multipliers`, by a record as target, and where there is none.

    target: a machine by name (`host`, `stm32f746`, `zcu102`), a .toml file or a record; without one, any processor.
    ram: most bytes of activations, as `64KiB`. objective: `memory` or `time`. resident: the whole input lies in the
    arena. max_slowdown: percent over the least estimated time, for less memory. threads, precision: on a host; `bf16`
    multiplies in bfloat16 where the processor can (docs/host.md).
    For a chip, in place of its own numbers: interval (cycles an image), multipliers, memory (as `4MiB`), clock (as
    `200MHz`), bits (8 or 16), ceil (foldings that do not divide), recompute (blocks that buffer their bottleneck
    input, `all` or `auto`), devices (chips in a row). ideal: results that take no time and rings that readers share,
    which no hardware has; ceil, recompute, devices and 16 bits need it. Raises TargetError for what cannot be met.

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
        ideal=ideal,
        precision=precision,
    )
    return planned(net, said)


def planned(net: Graph, said: PlanOptions) -> RowPlan | PixelPlan:
    """As `plan`, of options that are a record already."""
    from rillet.plan.choose import plan_for

    made = plan_for(checks.graph(net), said)
    networks.keep_file(made.graph, net)
    return made


def row_planned(net: Graph, said: PlanOptions, *, here: bool = False) -> RowPlan:
    """As `planned`, of a network with weights, to be run as C; raises TargetError for a chip, GraphError for none.

    here: for a program of this machine, with portable kernels where the target is a board.
    """
    from rillet.plan.choose import row_plan_for

    net = checks.graph(net)
    made = row_plan_for(networks.with_weights(net), replace(said, here=here))
    if here:
        checks.runs_here(made)
    networks.keep_file(made.graph, net)
    return made


def pixel_planned(net: Graph, said: PlanOptions) -> PixelPlan:
    """As `planned`, for a chip; raises TargetError for a processor."""
    from rillet.plan.choose import pixel_plan_for

    return pixel_plan_for(checks.graph(net), said)


def emitted_plan(net: Graph, said: PlanOptions) -> RowPlan | PixelPlan:
    """As `planned`, of a network with weights, to be emitted as C or as Verilog."""
    from rillet.api.hardware import is_hardware

    return pixel_planned(networks.with_weights(net), said) if is_hardware(said) else row_planned(net, said)


def claim_of(net: Graph, said: PlanOptions) -> "Claim | None":
    """The vendor's throughput claim for the chip, checked against the network; None where there is none."""
    from rillet.plan.pipeline.claims import check_claim

    chip = said.chip
    return check_claim(net, chip, ceil=said.ceil) if chip is not None and chip.claimed_images_per_s else None


def footprint(made: RowPlan | PixelPlan) -> "Footprint":
    """What the program of a board's plan takes there: RAM, flash, and of one image instructions and milliseconds.

    Raises TargetError for a plan for another machine.

    >>> import rillet
    >>> net = rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10")
    >>> found = rillet.footprint(rillet.plan(net, target="nano33ble"))
    >>> found.ram_bytes == found.arena_bytes + found.context_bytes
    True
    """
    from rillet.backends.c.footprint import footprint as found

    rows = checks.row_plan(made)
    if rows.board is None:
        raise TargetError(f"{rows.graph.name}: must be planned for a board here, got a plan for {rows.kernels} kernels")
    return found(rows, rows.board)


def doubts(made: RowPlan | PixelPlan) -> tuple[str, ...]:
    """What whoever builds a board's program should know before it: memory that its board lacks with stack and code, and
    the price of float32 on a core without a floating-point unit. A sentence each; none for a plan of another machine.
    """
    from rillet.costs.fit import doubts as found

    return found(made) if isinstance(made, RowPlan) else ()


@dataclass(frozen=True, repr=False)
class Emitted(Record):
    """An emitted program: its folder, files and commands."""

    folder: Path
    files: tuple[str, ...]
    arena_bytes: int
    build: str
    """The command that builds it, in the folder; empty for a layout that other tools build."""
    run: str
    """The shell command that builds it and runs it on an image; for a Cortex-M core in QEMU; for a page, serves it."""

    def __repr__(self) -> str:
        return f"Emitted({str(self.folder)!r}, {len(self.files)} files, {self.arena_bytes:,} bytes of activations)"


def layout_of(word: str) -> Layout:
    """The layout called so; raises GraphError where there is none."""
    for layout in get_args(Layout):
        if layout == word:
            return layout
    raise GraphError(f"layout must be one of {', '.join(get_args(Layout))}, got {word!r}")


def emit(
    made: RowPlan | PixelPlan,
    folder: "str | PathLike[str]",
    *,
    prefix: str = "net",
    layout: Layout = "c",
    image: "str | PathLike[str] | None" = None,
    single_file: bool = False,
) -> Emitted:
    """Writes a plan into a folder, with a README.md that says how to build it: the C99 program of a row plan with an
    example, the Verilog of a chip's plan with a testbench, or for `wasm` a WebAssembly module with a page.

    prefix: of all symbols, macros and files, so that several programs link together. layout: `c` (sources), `cmake`, or
    for boards `arduino`, `platformio`, `zephyr`, `cmsis-pack`. image: a picture that is written beside the program with
    the outputs that the reference computes of it; the example compares; a page shows it first. single_file: that page
    alone, with everything in it. Files of an earlier program in the folder are removed, others kept. Raises TargetError
    for a prefix or a layout of hardware or a page, GraphError for a network without weights and for what is no picture,
    Unsupported for a prefix that is not a C identifier, for a layout that the plan's machine does not have and for
    layers without hardware, BuildError where the folder cannot be written.

    >>> import rillet
    >>> made = rillet.plan(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10"))
    >>> "net.c" in rillet.emit(made, "out").files
    True
    """
    from rillet.backends.c.flags import in_folder
    from rillet.backends.c.prefix import checked
    from rillet.backends.c.project.write import project
    from rillet.system.folders import write_folder

    out, picture = checks.path(folder, "folder"), None if image is None else checks.path(image, "image")
    pixels = checks.pipeline_of(made)
    wasm = pixels is None and checks.row_plan(made).kernels == WASM
    if single_file and not wasm:
        raise TargetError("single_file (--single-file) must come with a plan for wasm: it is a web page")
    if pixels is not None:
        if (layout, prefix) != ("c", "net"):
            raise TargetError(
                f"{pixels.graph.name}: layout and prefix must be left out for hardware, which has its own"
            )
        return _emit_hardware(pixels, out, picture)
    rows = checks.row_plan(made)
    layout_of(layout)
    networks.with_weights(rows.graph)
    if wasm:
        if (layout, prefix) != ("c", "net"):
            raise TargetError(f"{rows.graph.name}: layout and prefix must be left out for wasm, which has its own")
        return _emit_page(rows, out, picture, single_file)
    checked(prefix)
    example = None if picture is None else _example(rows.graph, picture)
    written = project(rows, layout, prefix, example)
    write_folder(out, written.files)
    run = in_folder(out, written.run) if written.run else ""
    return Emitted(out, tuple(sorted(written.files)), rows.arena_bytes, written.build, run)


def _emit_hardware(made: PixelPlan, out: Path, image: Path | None) -> Emitted:
    from rillet.api.hardware import folder_of
    from rillet.backends.c.flags import in_folder
    from rillet.system.folders import write_folder

    written = folder_of(made, image)
    write_folder(out, written)
    memory = -(-made.buffer_bits // 8)
    return Emitted(out, tuple(sorted(written)), memory, "make sim/testbench.vvp", in_folder(out, "make sim"))


def _emit_page(made: RowPlan, out: Path, image: Path | None, single_file: bool) -> Emitted:
    from rillet.backends.c.flags import in_folder
    from rillet.runtime.wasm.package import folder
    from rillet.system.folders import write_folder

    written = folder(made, single_file=single_file, picture=image)
    write_folder(out, written)
    serve = "" if single_file else in_folder(out, "python3 -m http.server")
    return Emitted(out, tuple(sorted(written)), made.arena_bytes, "", serve)


def _example(net: Graph, image: Path) -> "Example":
    """A picture as the input, and what the reference makes of it."""
    from rillet.backends import reference
    from rillet.backends.c.project.check import Example
    from rillet.data.images import load_input

    taken = load_input(image, net)
    return Example(image.name, taken, reference.outputs(net, taken))


@dataclass(frozen=True, repr=False)
class Simulated(Record):
    """A pipeline's plan, and what its simulation measured."""

    plan: PixelPlan
    measured: "Simulation"

    @property
    def passed(self) -> bool:
        """True where all images came out at the planned interval, and no pixel was overwritten before it was read."""
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


def simulate(made: RowPlan | PixelPlan, images: int = 3, *, progress: Advance | None = None) -> Simulated:
    """Simulates a chip's pipeline cycle by cycle, images back to back, with FIFOs of exactly the planned depth.

    progress: called with cycles simulated and planned. Raises TargetError for a plan that is not a PixelPlan,
    BuildError without a C compiler.

    >>> import rillet
    >>> made = rillet.plan(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10"), interval=4096)
    >>> rillet.simulate(made, images=2).passed
    True
    """
    from rillet.simulation.pipeline import simulate as run

    pixels = checks.pixel_plan(made)
    with shown("simulating", progress) as advance:
        return Simulated(pixels, run(pixels, checks.count(images, "images"), progress=advance))
