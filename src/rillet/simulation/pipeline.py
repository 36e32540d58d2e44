"""Simulates a pixel plan cycle by cycle, with rings of exactly its size: in C (pipeline.c), and with values.

The simulation knows the plan's foldings and depths, and nothing of how they were found.
"""

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import accumulate, chain
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt

from rillet.errors import TargetError
from rillet.ir.facts import is_interpolation
from rillet.ir.graph import Node
from rillet.ir.linear import Interpolate
from rillet.ir.ops import Window, op_places, op_window
from rillet.plan.pipeline.plan import PixelPlan
from rillet.simulation.orders import tokens_read, wide_orders
from rillet.system.build import build_library
from rillet.system.library import load_library

Integers = npt.NDArray[np.int64]

MOST_IMAGES = 1000
MOST_FIRINGS = 10**9
MOST_SPANS = 200_000
"""Spans of a trace; what comes later is left out."""

REPORT_S = 0.1
"""Time between two reports of progress."""

STATES = ("starved", "busy", "blocked")
_NOW = 2
"""Place of the current cycle among the counts that the simulation keeps."""
_WINDOW, _TABLE, _ACCUMULATE, _LIST = range(4)
_ENDED = ("ended", "memory", "deadlock", "wrong")


@dataclass(frozen=True, slots=True)
class Activity:
    """Cycles of one stage by state, over all images."""

    node: str
    busy_cycles: int
    starved_cycles: int
    """Cycles in which it waited for input pixels."""
    blocked_cycles: int
    """Cycles in which its output FIFO was full (back pressure)."""
    utilisation: float
    """Busy cycles as a fraction of interval x images."""
    weight_reads: float
    """Reads of each weight from off chip; 1 where it then stays on chip, 0 for a stage without weights."""
    starved_on: Mapping[str, int]
    """Cycles by the value that it waited for."""
    blocked_on: Mapping[str, int]
    """Cycles by the reader that it waited for."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stage in one state from one cycle to another."""

    node: str
    state: str
    """`busy`, `starved` or `blocked`."""
    begin_cycle: int
    end_cycle: int


@dataclass(frozen=True, repr=False)
class Simulation:
    """Results of a cycle-accurate simulation."""

    images: int
    cycles: int
    """Cycle of the last event."""
    interval_cycles: int | None
    """Between the last outputs of the last two images; None for one image alone, or where not all came out."""
    latency_cycles: int | None
    """From the first input pixel to the last output value of the first image; None where it did not come out."""
    ends: tuple[int, ...]
    """Cycle of the last output value of each image that came out."""
    stages: tuple[Activity, ...]
    peaks: Mapping[str, int]
    """Peak occupancy of each FIFO, in pixels, by the names of PixelPlan.depths."""
    input_blocked: int
    """Input pixels that found their FIFO full."""
    deadlock: tuple[str, ...] = ()
    """The stages of a deadlock and what each waits for; empty where all images came out."""
    wrong: str = ""
    """The first pixel that was overwritten before a firing read it; empty where there was none."""
    trace: tuple[Span, ...] = ()
    events: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32), repr=False)
    profile: Integers = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64), repr=False)
    """Of each stage and each of equal parts of the time: cycles starved, blocked, busy with each image in turn."""
    bin_cycles: int = 0
    """Length of these parts."""

    def __repr__(self) -> str:
        how = "passed" if self.passed else "wrong" if self.wrong else "deadlock"
        return f"Simulation({how}, {self.images} images in {self.cycles:,} cycles, interval {self.interval_cycles})"

    @property
    def passed(self) -> bool:
        """True where all images came out and no pixel was missing."""
        return not self.deadlock and not self.wrong

    @property
    def stalled_cycles(self) -> int:
        """Cycles of back pressure over all stages: 0 with the planned FIFO depths."""
        return sum(stage.blocked_cycles for stage in self.stages)


def simulate(
    plan: PixelPlan,
    images: int = 3,
    trace: bool = False,
    *,
    depths: Mapping[str, int] | None = None,
    back_pressure: bool = True,
    events: bool = False,
    bins: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Simulates the pipeline cycle by cycle for `images` images, back to back at the plan's interval.

    `depths` overrides FIFO depths, in pixels, by the names of PixelPlan.depths. Without `back_pressure` stages write
    without checking for room, as in a statically scheduled machine. `bins` is the most equal parts of the planned time
    for a profile; what takes longer than planned counts in the last. `progress` takes cycles simulated, and how many
    are planned.
    Raises TargetError for a count of images, or a depth, that makes no sense.
    """
    if not 1 <= images <= MOST_IMAGES:
        raise TargetError(f"images must be from 1 to {MOST_IMAGES}, got {images}")
    tables = _Tables(plan, depths or {})
    if images * tables.firings > MOST_FIRINGS:
        raise TargetError(f"images must be at most {MOST_FIRINGS // tables.firings} for this network, got {images}")
    planned = plan.latency_cycles + (images - 1) * plan.interval_cycles + tables.first_arrival
    bin_cycles = -(-planned // bins) if bins else 0
    bins = -(-planned // bin_cycles) if bins else 0
    size = np.array(
        [
            *(len(tables.stages), len(tables.edges), len(tables.rings), len(tables.sources)),
            *(images, plan.interval_cycles, int(plan.pipeline is not None), int(back_pressure)),
            *(MOST_SPANS if trace else 0, tables.firings * 2 * images if events else 0, bins, bin_cycles),
        ],
        np.int64,
    )
    out = _Results(images, size)
    arrays = [_matrix(rows) for rows in (tables.stages, tables.edges, tables.rings, tables.sources)]
    whole = np.array([*tables.places, 0], np.int32)
    given = (*map(_pointer, (size, *arrays, whole)), ctypes.byref(out.struct()))
    ended: int = _library().rillet_simulate(*given) if progress is None else _watched(given, out, planned, progress)
    if _ENDED[ended] == "memory":
        raise TargetError(f"{plan.graph.name}: simulation must fit into memory")
    return _simulation(plan, tables, out, images, _ENDED[ended])


def _watched(given: tuple[Any, ...], out: "_Results", planned: int, progress: Callable[[int, int], None]) -> int:
    """Runs the simulation in a thread and reports the cycle that it has come to, which it keeps in its results."""
    ended: list[int] = []
    run = _library().rillet_simulate
    thread = Thread(target=lambda: ended.append(run(*given)), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(REPORT_S)
        if thread.is_alive():
            progress(min(int(out.arrays["counts"][_NOW]), planned), planned)
    progress(planned, planned)
    return ended[0]


class _Tables:
    """The plan as rows of numbers, as pipeline.c declares them."""

    def __init__(self, plan: PixelPlan, depths: Mapping[str, int]) -> None:
        graph = plan.graph
        self.orders = wide_orders(plan)
        self.shared = plan.pipeline is None
        self.ring = {name: i for i, name in enumerate(plan.depths)}
        self.names = [stage.node for stage in plan.stages]
        self.stages: list[list[int]] = []
        self.edges: list[list[int]] = []
        self.edge_stage: list[str] = []
        self.edge_value: list[str] = []
        self.places: list[int] = []
        self.rings: list[list[int]] = []
        self.own: dict[str, list[str]] = {}
        for buffer in plan.buffers:
            self.own[buffer.value] = list(buffer.depths)
            for name, planned in buffer.depths.items():
                found = depths.get(name, planned)
                if found < 1:
                    raise TargetError(f"{name}: depth must be at least 1 pixel, got {found}")
                self.rings.append([found, self._pixels(graph.by_name[buffer.value])])
        for name in depths.keys() - self.ring.keys():
            raise TargetError(f"{name}: must be a value that has a ring")
        self.inputs = [node for node in graph.input_nodes if node.name in self.own]
        self.sources = [[*self._writes(node.name), node.shape.pixels] for node in self.inputs]
        for stage in plan.stages:
            node, folding = graph.by_name[stage.node], stage.folding
            held = folding.cycles
            if stage.weights and plan.weights_per_multiplier is not None:
                held = min(held, plan.weights_per_multiplier)
            self.stages.append(
                [
                    *(folding.firings, folding.lanes, folding.cycles, stage.latency_cycles),
                    *(*self._writes(node.name), self._pixels(node)),
                    *(int(stage.accumulates), len(self.edges), len(stage.reads)),
                    *(folding.cycles, held, int(node.name in graph.outputs)),
                ]
            )
            for value in stage.reads:
                self.edges.append(self._edge(node, graph.by_name[value], stage.accumulates))
                self.edge_stage.append(node.name)
                self.edge_value.append(value)
        self.firings = sum(row[0] for row in self.stages) + sum(row[2] for row in self.sources)
        self.first_arrival = min(-(-plan.interval_cycles // row[2]) for row in self.sources)

    def _writes(self, value: str) -> tuple[int, int]:
        """The first ring of a value, and how many it has: they follow each other."""
        own = self.own.get(value, [])
        return self.ring[own[0]] if own else 0, len(own)

    def _read(self, reader: str, value: str) -> int:
        """The ring of a value that a reader reads: its own, or the one that all share."""
        return self.ring[value if self.shared else f"{value}>{reader}"]

    def _pixels(self, node: Node) -> int:
        """Tokens of a value for one image."""
        return len(self.orders[node.name].places) if node.name in self.orders else node.shape.pixels

    def _edge(self, node: Node, source: Node, accumulates: bool) -> list[int]:
        shape, out, ring = source.shape, node.shape, self._read(node.name, source.name)
        listed = tokens_read(self.orders, node, source)
        if is_interpolation(node.op):
            listed = [_four(node.op, shape.width, *divmod(pixel, out.width)) for pixel in range(out.pixels)]
        if listed is not None:
            ends = self._table([0, *accumulate(map(len, listed))])
            return [ring, _LIST, *[0] * 11, ends, self._table([*chain(*listed)])]
        window, kind, rows, columns = op_window(node.op) or Window(), _WINDOW, 0, 0
        if accumulates:
            kind = _ACCUMULATE
        elif (copied := op_places(node.op)) is not None:
            kind = _TABLE
            rows, columns = self._table([*copied.rows]), self._table([*copied.columns])
        elif shape.pixels == 1 and out.pixels > 1 and op_window(node.op) is None:
            # One value of the whole image, for every pixel.
            kind, rows, columns = _TABLE, self._table([0] * out.height), self._table([0] * out.width)
        return [
            *(ring, kind, shape.height, shape.width, out.width),
            *(*window.kernel, *window.stride, *window.dilation, window.padding[0], window.padding[2]),
            *(rows, columns),
        ]

    def _table(self, places: list[int]) -> int:
        self.places.extend(places)
        return len(self.places) - len(places)


def _four(op: Interpolate, width: int, row: int, column: int) -> list[int]:
    """The pixels that one of a linear resize comes of, those without a share left out."""
    rows = {op.rows[row], op.rows[row] + (op.row_shares[row] > 0)}
    columns = {op.columns[column], op.columns[column] + (op.column_shares[column] > 0)}
    return [y * width + x for y in sorted(rows) for x in sorted(columns)]


class _Struct(ctypes.Structure):
    _names = (
        *("busy", "starved", "blocked", "loads", "edge_starved", "edge_blocked", "peaks", "ends"),
        *("fired", "states", "causes", "records", "events", "source_blocked", "profile", "counts"),
    )
    _fields_ = [(name, ctypes.c_void_p) for name in _names]


class _Results:
    """Arrays that the simulation fills."""

    def __init__(self, images: int, size: Integers) -> None:
        stages, edges, rings, sources = (int(count) for count in size[:4])
        records, events, bins = (int(count) for count in size[-4:-1])
        counts = [stages] * 4 + [edges] * 2 + [rings, stages * images] + [stages] * 3
        counts += [4 * records, events, sources, stages * bins * (images + 2), 6]
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        for name, count in zip(_Struct._names, counts, strict=True):  # pyright: ignore[reportPrivateUsage]
            dtype: Any = np.int32 if name == "events" else np.int64
            self.arrays[name] = np.zeros(count + 1, dtype)
        self.images, self.bins, self.bin_cycles = images, bins, int(size[-1])

    def struct(self) -> _Struct:
        """Pointers to all of them."""
        return _Struct(*(array.ctypes.data for array in self.arrays.values()))


def _matrix(rows: list[list[int]]) -> Integers:
    return np.array(rows or [[0]], np.int64)


def _pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@cache
def _library() -> ctypes.CDLL:
    text = files("rillet.simulation").joinpath("pipeline.c").read_text(encoding="utf-8")
    library = load_library(build_library({"simulate.c": text}), ("rillet_simulate",))
    library.rillet_simulate.restype = ctypes.c_int
    return library


def _simulation(plan: PixelPlan, tables: _Tables, out: _Results, images: int, ended: str) -> Simulation:
    large = ("events", "records", "profile")
    found = {name: array.tolist() for name, array in out.arrays.items() if name not in large}
    records, events, cycles, wrong_edge, wrong_token, first = found["counts"][:6]
    count = len(tables.stages)
    by_stage = out.arrays["ends"][: count * images].reshape(count, images)
    outputs = by_stage[[bool(row[-1]) for row in tables.stages]]
    done = outputs.min(0) > 0
    ends = tuple(int(end) for end in outputs.max(0)[done])
    spans = out.arrays["records"][: 4 * records].reshape(-1, 4).tolist()
    wrong = ""
    if ended == "wrong":
        value = tables.edge_value[wrong_edge]
        frame, pixel = divmod(wrong_token, tables.rings[tables.edges[wrong_edge][0]][1])
        reader = tables.edge_stage[wrong_edge]
        wrong = f"{reader}: pixel {pixel} of {value} in image {frame + 1} must be in its ring, and was written over"
    return Simulation(
        images=images,
        cycles=cycles,
        interval_cycles=ends[-1] - ends[-2] if len(ends) == images > 1 else None,
        latency_cycles=ends[0] - first if ends else None,
        ends=ends,
        stages=tuple(_activity(plan, tables, found, i, images) for i in range(count)),
        peaks={name: found["peaks"][i] for name, i in tables.ring.items()},
        input_blocked=sum(found["source_blocked"]),
        deadlock=tuple(_waiting(tables, found, images)) if ended == "deadlock" else (),
        wrong=wrong,
        trace=tuple(Span(tables.names[s], STATES[state], begin, end) for s, state, begin, end in spans),
        events=out.arrays["events"][:events],
        profile=out.arrays["profile"][:-1].reshape(count, out.bins, images + 2),
        bin_cycles=out.bin_cycles,
    )


def _activity(plan: PixelPlan, tables: _Tables, found: dict[str, list[int]], at: int, images: int) -> Activity:
    row, name = tables.stages[at], tables.names[at]
    edges = range(row[8], row[8] + row[9])
    readers = [i for i, read in enumerate(tables.edge_value) if read == name]
    busy = found["busy"][at]
    return Activity(
        node=name,
        busy_cycles=busy,
        starved_cycles=found["starved"][at],
        blocked_cycles=found["blocked"][at],
        utilisation=busy / (plan.interval_cycles * images),
        weight_reads=found["loads"][at] / row[10] if plan.stages[at].weights else 0.0,
        starved_on={tables.edge_value[i]: found["edge_starved"][i] for i in edges if found["edge_starved"][i]},
        blocked_on={tables.edge_stage[i]: found["edge_blocked"][i] for i in readers if found["edge_blocked"][i]},
    )


def _waiting(tables: _Tables, found: dict[str, list[int]], images: int) -> list[str]:
    """Who waits for what, stage by stage."""
    fired = found["fired"]
    said: list[str] = []
    for at, (name, row) in enumerate(zip(tables.names, tables.stages, strict=True)):
        state, cause = found["states"][at], found["causes"][at]
        where = f"after {fired[at]} of {row[0] * images} firings"
        if state == 2:
            said.append(f"{name}: waits for room in its ring, which {tables.edge_stage[cause]} keeps, {where}")
        elif fired[at] < row[0] * images:
            said.append(f"{name}: waits for pixels of {tables.edge_value[cause]}, {where}")
    return said
