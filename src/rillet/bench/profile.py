"""Profile of a network by layer, by clock reads in the emitted program."""

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
import numpy.typing as npt

from rillet.backends.c.emit import sources
from rillet.backends.c.flags import machine_flags
from rillet.bench.ceiling import Ceiling, Meter
from rillet.bench.machine import Machine, machine
from rillet.bench.peers.files import precision_of
from rillet.errors import GraphError
from rillet.ir.graph import Graph, Node
from rillet.ir.inputs import Inputs
from rillet.ir.ops import op_macs
from rillet.plan.rows.plan import RowPlan
from rillet.runtime.run import checked_inputs, pieces_of
from rillet.runtime.verify import random_given
from rillet.system.build import build_library
from rillet.system.library import CONTEXT_NAMES, Context, load_library

ABOUT_MS = 4000.0
"""How long a profile takes where nobody says how many runs it has."""
LEAST_RUNS, MOST_RUNS = 5, 1000
MOST_RUNS_SAID = 100_000
_CLOCKS = ("net_profile_ticks", "net_profile_calls", "net_profile_clock")

Ticks = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer: mean of the fastest quarter of the runs, the time of the layers that it sets off not counted."""

    name: str
    ms: float
    share: float
    """Of the sum."""
    calls: int
    """Times that it was asked whether it can make a tile."""
    macs: int
    gmacs: float
    """10^9 multiply-accumulates a second."""
    peak_share: float | None
    """Of the measured peak of its precision; None where none was measured."""
    bytes: int
    """Inputs, output and weights, each once: the least that it must move."""
    gbytes: float
    """The same, 10^9 a second."""


@dataclass(frozen=True)
class Profile:
    """All layers in the plan's order, and how well they add up; times are means of the fastest quarter of the runs."""

    graph: Graph
    precision: str
    runs: int
    layers: tuple[LayerTime, ...]
    between_ms: float
    """Between the layers: the loops over segments and rows."""
    clocked_ms: float
    """The same inferences with the clocks, timed from outside: the sum should be near it."""
    whole_ms: float
    """Inferences without them: what the clocks cost is the difference."""
    ceiling: Ceiling
    machine: Machine

    @property
    def sum_ms(self) -> float:
        """Layers, and what is between them."""
        return sum(layer.ms for layer in self.layers) + self.between_ms


def profile(
    plan: RowPlan, runs: int | None = None, progress: Callable[[int, int], None] = lambda _, __: None
) -> Profile:
    """Runs the program of `plan` in turn with and without clocks, on a random image; of several threads the first has
    the clocks, and waits for the others in the times of layers.

    progress: takes runs done, and how many there are, between one and the next. Raises GraphError for a number of runs
    that makes no sense, and for a network without weights.
    """
    if runs is not None and not 1 <= runs <= MOST_RUNS_SAID:
        raise GraphError(f"--runs must be from 1 to {MOST_RUNS_SAID}, got {runs}")
    image = next(random_given(plan.graph, 1))
    plain, clocked = _Program(plan, image, False), _Program(plan, image, True)
    meter = Meter(machine(), plan.threads)
    meter.measure()
    meter.measure_reads()
    warm = min(plain.run() for _ in range(3))
    runs = runs or max(LEAST_RUNS, min(MOST_RUNS, round(ABOUT_MS / 2 / warm)))
    start, first = time.perf_counter(), clocked.clock()
    found: list[tuple[float, float, Ticks, Ticks]] = []
    for done in range(runs):
        progress(done, runs)
        found.append((plain.run(), clocked.run(), *clocked.counted()))
    progress(runs, runs)
    ticks_per_ms = (clocked.clock() - first) / (time.perf_counter() - start) / 1e3
    meter.measure()
    best = fastest([clocked_ms for _, clocked_ms, *_ in found])
    wholes = [whole_ms for whole_ms, *_ in found]
    return _result(
        plan,
        times_ms=np.mean([found[i][2] for i in best], axis=0) / ticks_per_ms,
        calls=found[0][3],
        clocked_ms=mean(found[i][1] for i in best),
        whole_ms=mean(wholes[i] for i in fastest(wholes)),
        runs=runs,
        meter=meter,
    )


def fastest(times: Sequence[float]) -> list[int]:
    """Which are the fastest quarter, at least one: what else the machine did slowed them down least.

    A mean over runs keeps the sum of the parts the whole, which medians part by part do not.
    """
    order = sorted(range(len(times)), key=lambda i: times[i])
    return order[: max(1, len(times) // 4)]


def _result(
    plan: RowPlan,
    times_ms: npt.NDArray[np.float64],
    calls: Ticks,
    clocked_ms: float,
    whole_ms: float,
    runs: int,
    meter: Meter,
) -> Profile:
    graph, ceiling = plan.graph, meter.ceiling()
    precision = "bf16" if plan.bf16_nodes else precision_of(plan.graph)
    total = float(times_ms.sum())
    peak = ceiling.gmacs(precision)
    layers: list[LayerTime] = []
    nodes = [graph.by_name[stage.node] for segment in plan.segments for stage in segment.stages]
    for i, node in enumerate(nodes):
        ms, macs, moved = float(times_ms[i]), op_macs(node.op, graph.input_shapes(node)), moved_bytes(graph, node)
        gmacs = macs / ms / 1e6 if ms else 0.0
        layers.append(
            LayerTime(
                name=node.name,
                ms=ms,
                share=ms / total if total else 0.0,
                calls=int(calls[i]),
                macs=macs,
                gmacs=gmacs,
                peak_share=gmacs / peak if peak else None,
                bytes=moved,
                gbytes=moved / ms / 1e6 if ms else 0.0,
            )
        )
    between = float(times_ms[-1])
    return Profile(graph, precision, runs, tuple(layers), between, clocked_ms, whole_ms, ceiling, meter.machine)


def moved_bytes(graph: Graph, node: Node) -> int:
    """Bytes of a node's inputs, output and arrays, unpacked, each once."""
    arrays = sum(int(np.prod(param.shape)) * param.dtype.numpy.itemsize for param in graph.node_params(node))
    return sum(value.bytes for value in graph.input_types(node)) + node.type.bytes + arrays


class _Program:
    """The emitted program with an image before it, with or without clocks."""

    def __init__(self, plan: RowPlan, image: Inputs, clocks: bool) -> None:
        made = sources(plan, pieces_of(plan), profile=clocks)
        built = build_library(made.files, machine_flags(plan), data=made.data)
        self._library = load_library(built, ("net_run", *CONTEXT_NAMES, *(_CLOCKS if clocks else ())))
        self._library.net_run.restype = None
        self._context = Context(self._library)
        outputs = (plan.graph.by_name[name].type for name in dict.fromkeys(plan.graph.outputs))
        self._arrays = [*checked_inputs(plan.graph, image), *(np.empty(t.shape.array, t.dtype.numpy) for t in outputs)]
        self._pointers = [ctypes.c_void_p(array.ctypes.data) for array in self._arrays]
        self._counts: list[Ticks] = []
        if clocks:
            self._library.net_profile_clock.restype = ctypes.c_uint64
            self._counts = [self._counted(name, plan) for name in _CLOCKS[:2]]

    def _counted(self, name: str, plan: RowPlan) -> Ticks:
        """What the context counts of each stage and of what is between, as it lies there."""
        function, stages = getattr(self._library, name), sum(len(segment.stages) for segment in plan.segments)
        function.restype = ctypes.POINTER(ctypes.c_uint64)
        return np.ctypeslib.as_array(function(self._context.pointer), (stages + 1,))

    def run(self) -> float:
        """Milliseconds of one inference."""
        for counts in self._counts:
            counts.fill(0)
        start = time.perf_counter()
        self._library.net_run(self._context.pointer, *self._pointers)
        return (time.perf_counter() - start) * 1e3

    def counted(self) -> tuple[Ticks, Ticks]:
        """Ticks and calls of each stage in the last run, and of what is between."""
        ticks, calls = (counts.copy() for counts in self._counts)
        return ticks, calls

    def clock(self) -> int:
        """The clock that the ticks are of, now."""
        return int(self._library.net_profile_clock())
