"""Synthesis of a design by yosys: what each stage and the whole take of an FPGA, beside what the plan says.

The stages' modules are synthesised one by one, several at a time, each flattened within itself; equal ones once, and
all are kept in Rillet's cache, so that what was stopped goes on where it was. The rest is `top` with the stages as
black boxes. Stages of one shape differ in the words of their memories alone: of these one may stand for all.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.errors import BuildError
from rillet.plan.pipeline.estimates import estimates
from rillet.runtime.rtl.placed import Placed
from rillet.runtime.rtl.simulator import write_into
from rillet.runtime.rtl.stat import MOST_BYTES, cells_of
from rillet.runtime.rtl.yosys import run, yosys_version
from rillet.system.cache import forget, keep, kept, key_of, trim, workshop
from rillet.system.reading import open_file
from rillet.system.record import Record
from rillet.targets.families import Family, Taken

if TYPE_CHECKING:
    from rillet.backends.rtl.design import Design
    from rillet.plan.pipeline.plan import PixelPlan, PixelStage

TOP = "top"
_MODULE = re.compile(r"\brillet_\w+")
_STAT = "stat.json"
_KIND = "synthesis"
_NETLIST = "netlist.il"
_FORM = "2"
"""Of what is kept."""


@dataclass(frozen=True, slots=True)
class SynthesisedStage:
    """What one stage takes."""

    node: str
    op: str
    taken: Taken
    planned: Taken
    """By the plan's own estimate."""
    like: str
    """The first stage with an equal module; its own name where that is itself."""
    seconds: float
    """That yosys took for it; 0 where it is like another."""
    was_kept: bool
    """True where the cache had it."""
    counted: bool = True
    """False where neither it nor one that stands for it was synthesised: `taken` is then what is planned."""


@dataclass(frozen=True, repr=False)
class Synthesis(Record):
    """What a design takes of an FPGA."""

    graph: str
    chip: str
    family: str
    interval_cycles: int
    clock_hz: float
    stages: tuple[SynthesisedStage, ...]
    """In the order of the plan; one alone where it was asked for."""
    rest: Taken | None
    """Of `top` without its stages; None where one stage was asked for."""
    multipliers_room: int | None
    """What the chip has; None where that is unknown."""
    block_rams_room: int | None
    luts_room: int | None
    tool: str
    placed: Placed | None = None
    """Where it was placed and routed too."""

    @property
    def total(self) -> Taken:
        """Of all stages and the rest."""
        return sum((stage.taken for stage in self.stages), self.rest or Taken())

    @property
    def planned(self) -> Taken:
        """By the plan's own estimate."""
        return sum((stage.planned for stage in self.stages), Taken())

    @property
    def counted(self) -> tuple[Taken, Taken]:
        """Of the stages that were synthesised, or stand for another's shape: what they take, and what was planned."""
        both = [(stage.taken, stage.planned) for stage in self.stages if stage.counted]
        return sum((taken for taken, _ in both), Taken()), sum((planned for _, planned in both), Taken())

    @property
    def lacking(self) -> tuple[tuple[str, int, int], ...]:
        """Resources of which the chip has too little: name, taken, and what there is."""
        total = self.total
        found = (
            ("multipliers", total.multipliers, self.multipliers_room),
            ("block RAMs", total.block_rams, self.block_rams_room),
            ("look-up tables", total.luts, self.luts_room),
        )
        return tuple((name, used, room) for name, used, room in found if room is not None and used > room)

    @property
    def fits(self) -> bool:
        """True where the chip has enough of everything that its file counts."""
        return not self.lacking

    @property
    def distinct(self) -> int:
        """Modules that had to be synthesised, or were kept."""
        return len({stage.like for stage in self.stages if stage.counted})

    def __repr__(self) -> str:
        total = self.total
        return (
            f"Synthesis({self.graph!r} on {self.chip}, {total.multipliers:,} multipliers, {total.block_rams:,} block "
            f"RAMs, {total.luts:,} look-up tables, {total.registers:,} registers)"
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A module to synthesise by itself, with all that it reads."""

    name: str
    """In messages."""
    module: str
    files: Mapping[str, str]
    black: tuple[str, ...] = ()
    """Files of modules that stay black boxes."""

    @property
    def key(self) -> str:
        """Under which its result is kept, beside family and tool."""
        return key_of([self.module, *(text for pair in sorted(self.files.items()) for text in pair)])

    @property
    def shape(self) -> str:
        """The same of all that differ in the words of their memories alone: these have as many, as wide."""
        said = {name: text if name.endswith(".v") else f"{len(text)}" for name, text in self.files.items()}
        return key_of([self.module, *(text for pair in sorted(said.items()) for text in pair)])


@dataclass(frozen=True, slots=True)
class Made:
    """What yosys made of a module."""

    taken: Taken
    seconds: float
    was_kept: bool
    netlist: Path | None
    """In the cells of the family, for those that can be placed."""


def synthesise(
    plan: "PixelPlan",
    design: "Design",
    family: Family,
    *,
    stage: str | None = None,
    by_shape: bool = False,
    kept_alone: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Synthesis:
    """What the design of a plan takes of its chip, or one stage alone.

    by_shape: of stages that differ in their weights alone one stands for all. kept_alone: nothing is synthesised; what
    the cache does not have is as planned. progress: called with modules done and all of them. Raises Unsupported
    without yosys, BuildError where it fails.
    """
    version = yosys_version()
    made = {found.node: found.taken for found in estimates(plan, family)}
    wanted = [one for one in plan.stages if stage is None or one.node == stage]
    parts = {one.node: stage_part(design, one.node) for one in wanted}
    had = {node: found for node, part in parts.items() if (found := _had(part, family, version)) is not None}
    kinds = {node: part.shape if by_shape else part.key for node, part in parts.items()}
    like: dict[str, str] = {}
    for node, kind in kinds.items():
        like[kind] = node if node in had and like.get(kind) not in had else like.get(kind, node)
    # The longest first, so that all cores end at about the same time.
    distinct = [parts[node] for node in sorted(like.values(), key=lambda node: -made[node].multipliers)]
    if stage is None:
        distinct.append(top_part(design))
    if kept_alone:
        found = ((part.name, _had(part, family, version)) for part in distinct)
        made_of = {name: one for name, one in found if one is not None}
    else:
        made_of = results(distinct, family, version, progress)
    stages = tuple(_found(one, like[kinds[one.node]], made[one.node], made_of) for one in wanted)
    machine = plan.machine
    return Synthesis(
        graph=plan.graph.name,
        chip=plan.chip,
        family=family.name,
        interval_cycles=plan.interval_cycles,
        clock_hz=plan.clock_hz,
        stages=stages,
        rest=None if stage is not None else made_of[TOP].taken if TOP in made_of else Taken(),
        multipliers_room=machine.multipliers if machine else None,
        block_rams_room=machine.block_rams if machine else None,
        luts_room=machine.luts if machine else None,
        tool=f"yosys {version}",
    )


def _found(one: "PixelStage", like: str, planned: Taken, made: Mapping[str, "Made"]) -> SynthesisedStage:
    own = made.get(like)
    return SynthesisedStage(
        node=one.node,
        op=one.op,
        taken=planned if own is None else own.taken,
        planned=planned,
        like=one.node if own is None else like,
        seconds=made[one.node].seconds if one.node in made else 0.0,
        was_kept=own is not None and own.was_kept,
        counted=own is not None,
    )


def stage_part(design: "Design", node: str) -> Part:
    """The module of a stage; those of stages that differ in names alone are equal."""
    path = design.modules[node]
    word = path.removeprefix("rtl/stage_").removesuffix(".v")
    own = f"mem/{word}_"
    lines = [line for line in design.files[path].splitlines() if not line.startswith("//")]
    text = "\n".join(lines).replace(f"module stage_{word}\n", "module stage\n").replace(f'"{own}', '"mem/')
    named = {f"mem/{name.removeprefix(own)}": words for name, words in design.files.items() if name.startswith(own)}
    # Those of a stage whose name begins alike are not its own.
    memories = {name: words for name, words in named.items() if f'"{name}"' in text}
    return Part(node, "stage", {"rtl/stage.v": f"{text}\n", **_used(design, text), **memories})


def top_part(design: "Design") -> Part:
    """The whole without what is in its stages."""
    stages = {path: design.files[path] for path in design.modules.values()}
    top = design.files["rtl/top.v"]
    return Part(TOP, TOP, {"rtl/top.v": top, **stages, **_used(design, top)}, tuple(stages))


def _used(design: "Design", text: str) -> dict[str, str]:
    """The modules of the library that a text names, and those that these name."""
    found: dict[str, str] = {}
    left = [text]
    while left:
        for word in _MODULE.findall(left.pop()):
            path = f"rtl/{word}.v"
            if path in design.files and path not in found:
                found[path] = design.files[path]
                left.append(found[path])
    return found


def results(parts: list[Part], family: Family, version: str, progress: Callable[[int, int], None]) -> dict[str, Made]:
    """By the names of parts; where one fails, or the user stops it, all end."""
    stop = threading.Event()
    made: dict[str, Made] = {}
    progress(0, len(parts))
    with ThreadPoolExecutor(max_workers=cpu_count() or 1) as pool:
        jobs = {pool.submit(_result, part, family, version, stop): part.name for part in parts}
        try:
            for job in as_completed(jobs):
                made[jobs[job]] = job.result()
                progress(len(made), len(parts))
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    trim()
    return made


def _key(part: Part, family: Family, version: str) -> str:
    return key_of([_FORM, version, family.synthesis, part.key])


def _had(part: Part, family: Family, version: str) -> Made | None:
    """What the cache has of a module."""
    key = _key(part, family, version)
    place = kept(_KIND, key, ".json")
    netlist = kept(_KIND, key, ".il") if family.placer else None
    if place is None or bool(netlist) != bool(family.placer):
        return None
    try:
        with open_file(place, MOST_BYTES) as data:
            found = json.loads(data.read())
        return Made(family.taken(cells_of(json.dumps(found), part.name)), float(found["seconds"]), True, netlist)
    except (BuildError, KeyError, TypeError, ValueError):
        forget(place)
        return None


def _result(part: Part, family: Family, version: str, stop: threading.Event) -> Made:
    had = _had(part, family, version)
    if had is not None:
        return had
    key = _key(part, family, version)
    began = time.monotonic()
    with workshop() as work:
        write_into(work, part.files)
        black = [name for name in part.files if name in part.black]
        own = sorted(name for name in part.files if name.endswith(".v") and name not in part.black)
        script = "".join(f"read_verilog -lib {name}; " for name in black)
        script += f"read_verilog -defer {' '.join(own)}; {family.synthesis} -top {part.module}; "
        script += f"tee -q -o {_STAT} stat -json"
        script += f"; write_rtlil {_NETLIST}" if family.placer else ""
        run("yosys", ["-q", "-p", script], work, part.name, stop)
        said = work / _STAT
        for path in (said, work / _NETLIST) if family.placer else (said,):
            if path.is_symlink() or not path.is_file():
                raise BuildError(f"{part.name}: yosys must write {path.name}, got none")
        with open_file(said, MOST_BYTES) as data:
            cells = cells_of(data.read().decode("utf-8", "replace"), part.name)
        seconds = time.monotonic() - began
        made = work / "kept.json"
        made.write_text(json.dumps({"design": {"num_cells_by_type": cells}, "seconds": round(seconds, 3)}), "utf-8")
        try:
            netlist = keep(work / _NETLIST, _KIND, key) if family.placer else None
            keep(made, _KIND, key)
        except OSError as error:
            raise BuildError(f"cache: must be writable for synthesis, got: {error.strerror}") from None
    return Made(family.taken(cells), seconds, False, netlist)
