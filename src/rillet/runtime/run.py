"""Runs emitted programs in this process, and measures the arena bytes that they touch and their latency."""

import ctypes
import os
import statistics
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rillet.errors import TargetError
from rillet.ir.facts import is_given
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.inputs import Inputs, by_input
from rillet.ir.types import DType
from rillet.system.library import CONTEXT_NAMES, Context, address, load_library, lock_of

if TYPE_CHECKING:
    from rillet.plan.rows.plan import RowPlan

POISONS = (0xA5, 0x5A)
"""Two fillings of the arena: a byte that differs from either one was written."""
_STAGES_A_PIECE = 12
"""Reading the kernels takes a compiler as long as some stages do."""
_NAMES = ("net_arena", "net_start", "net_run", "net_push_row", *CONTEXT_NAMES)


@dataclass(frozen=True)
class Latency:
    """Time of one image, over several runs."""

    minimum_ms: float
    median_ms: float
    runs: int


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled program: its shared library, and the facts of its plan that a caller needs."""

    library: Path
    graph: Graph
    """As it was planned; its arrays are not needed."""
    arena_bytes: int
    threads: int = 1
    batches: bool = False
    """Whether one call takes many images, as that of a host plan's program."""


def build(plan: "RowPlan", trace: bool = False) -> Built:
    """Emits and compiles the program of a plan; with `trace`, it shows every value."""
    # Imported here: a program that was kept needs neither.
    from rillet.backends.c.emit import sources
    from rillet.backends.c.flags import machine_flags
    from rillet.runtime.wasm.building import build_wasm, is_wasm
    from rillet.system.build import build_library

    if plan.core is not None:
        got = f"kernels of {plan.board.name if plan.board else plan.core.value}"
        raise TargetError(f"{plan.graph.name}: must be planned for a host to run here, got {got}")
    if is_wasm(plan):
        return Built(build_wasm(plan, trace), plan.graph, plan.arena_bytes)
    made = sources(plan, pieces_of(plan))
    flags, defines = machine_flags(plan), ("NET_TRACE",) if trace else ()
    portable = plan.host is None or plan.host.kernels == "portable"
    library = build_library(made.files, flags, defines, made.data, portable=portable)
    return Built(library, plan.graph, plan.arena_bytes, plan.threads, plan.host is not None)


def pieces_of(plan: "RowPlan") -> int:
    """In how many files the program is compiled side by side: at most one a processor, each of a dozen stages."""
    stages = sum(len(segment.stages) for segment in plan.segments)
    return max(1, min(os.cpu_count() or 1, stages // _STAGES_A_PIECE))


class Program:
    """An emitted net as a shared library. Threads of the caller run side by side, each in a context of its own; they
    take turns where the program has threads itself.
    """

    def __init__(self, made: "RowPlan | Built", trace: bool = False) -> None:
        self._built = made if isinstance(made, Built) else build(made, trace)
        graph = self._graph = self._built.graph
        self._outputs = [graph.by_name[name] for name in dict.fromkeys(graph.outputs)]
        results = [f"net_output{_ending(i)}" for i in range(len(self._outputs))]
        self._sides = [f"net_set_input{_ending(i)}" for i in range(1, len(graph.input_nodes))]
        names = [*_NAMES, *results, *self._sides, *(("net_run_batch",) if self._built.batches else ())]
        self._library = load_library(self._built.library, [*names, *(("net_trace",) if trace else ())])
        self._lock = lock_of(self._library)
        self._alone = self._built.threads > 1
        self._contexts = [Context(self._library)]
        self._results = [getattr(self._library, name) for name in results]
        for function in self._results:
            function.restype = ctypes.c_void_p
        sides = (getattr(self._library, name) for name in self._sides)
        for function in (self._library.net_start, self._library.net_run, self._library.net_push_row, *sides):
            function.restype = None
        self._net_run = self._library.net_run
        self._net_run.argtypes = [ctypes.c_void_p] * (2 + len(self._sides) + len(self._outputs))
        # Made once: a small network takes as long as some of these questions.
        self._stored = [(raw.shape, raw.dtype) for raw in map(_raw, self._outputs)]
        self._as_stored = all(node.type.dtype is not DType.BINARY for node in self._outputs)
        if self._built.batches:
            self._library.net_run_batch.restype = None
        self._trace = self._library.net_trace if trace else None
        if self._trace is not None:
            self._trace.restype = ctypes.POINTER(ctypes.c_void_p)

    @contextmanager
    def _context(self) -> Generator[Context]:
        """A context that nobody else has until it is given back."""
        if self._alone:
            with self._lock:
                yield self._contexts[0]
            return
        context = self._free_context()
        try:
            yield context
        finally:
            self._contexts.append(context)

    def _free_context(self) -> Context:
        try:
            return self._contexts.pop()
        except IndexError:  # all are in use
            return Context(self._library)

    def run(self, image: Inputs) -> tuple[Array, ...]:
        """The outputs for one image, or one array an input, as the net stores them; raises GraphError for others."""
        if self._alone:
            with self._lock:
                return self._run(self._contexts[0], image)
        context = self._free_context()
        try:
            return self._run(context, image)
        finally:
            self._contexts.append(context)

    def _run(self, context: Context, image: Inputs) -> tuple[Array, ...]:
        given = checked_inputs(self._graph, image)
        out = tuple([np.empty(shape, dtype) for shape, dtype in self._stored])
        self._net_run(context.pointer, *map(address, given), *map(address, out))
        if self._as_stored:
            return out
        return tuple(_values(node, array) for node, array in zip(self._outputs, out, strict=True))

    def run_batch(self, images: Array | Sequence[Inputs], threads: int = 1) -> tuple[Array, ...]:
        """The outputs for images x height x width x channels, dealt out to so many threads, a context and a call each.

        That is faster than a program whose threads share each image: nobody waits (`rillet bench --batch 16`).
        """
        if not self._built.batches:
            with ThreadPoolExecutor(threads) as pool:
                return tuple(np.stack(made) for made in zip(*pool.map(self.run, images), strict=True))
        checked = [checked_inputs(self._graph, image) for image in images]
        given = [np.stack(arrays) for arrays in zip(*checked, strict=True)]
        out = tuple(np.stack([_raw(node)] * len(images)) for node in self._outputs)
        shares = min(threads, len(images))
        parts = [slice(len(images) * i // shares, len(images) * (i + 1) // shares) for i in range(shares)]
        if shares == 1:
            self._run_part(given, out, parts[0])
        else:
            with ThreadPoolExecutor(shares) as pool:  # ctypes lets go of the interpreter's lock
                for running in [pool.submit(self._run_part, given, out, part) for part in parts]:
                    running.result()
        return tuple(np.stack([_values(n, raw) for raw in made]) for n, made in zip(self._outputs, out, strict=True))

    def _run_part(self, images: Sequence[Array], outputs: Sequence[Array], part: slice) -> None:
        """One call for some of the images, whose outputs go to their places."""
        given, made = ([ctypes.c_void_p(array[part].ctypes.data) for array in all_] for all_ in (images, outputs))
        with self._context() as context:
            self._library.net_run_batch(context.pointer, *given, ctypes.c_int32(part.stop - part.start), *made)

    def push(self, image: Inputs) -> tuple[Array, ...]:
        """As `run`, one row of the first input at a time out of a buffer that holds only that row."""
        with self._context() as context:
            return self._push(context, image)

    def _push(self, context: Context, image: Inputs) -> tuple[Array, ...]:
        rows, *others = checked_inputs(self._graph, image)
        row = np.empty_like(rows[0])
        self._library.net_start(context.pointer)
        for name, array in zip(self._sides, others, strict=True):
            getattr(self._library, name)(context.pointer, ctypes.c_void_p(array.ctypes.data))
        for line in rows:
            row[...] = line
            self._library.net_push_row(context.pointer, ctypes.c_void_p(row.ctypes.data))
        out: list[Array] = []
        for node, result in zip(self._outputs, self._results, strict=True):
            raw = _raw(node)
            data = ctypes.string_at(result(context.pointer), node.type.bytes)
            out.append(_values(node, np.frombuffer(data, raw.dtype).reshape(raw.shape)))
        return tuple(out)

    def trace(self, image: Inputs) -> dict[str, Array]:
        """Every value that the net makes for one image; the program must have been built with `trace`."""
        assert self._trace is not None
        seen = {node.name: _raw(node) for node in self._graph.nodes}
        with self._context() as context:
            maps = self._trace(context.pointer)
            for i, array in enumerate(seen.values()):
                maps[i] = array.ctypes.data
            try:
                self._run(context, image)
            finally:
                for i in range(len(seen)):
                    maps[i] = None
        made = ((node, seen[node.name]) for node in self._graph.nodes)
        return {node.name: _values(node, array) for node, array in made if not is_given(node.op)}

    def touched_bytes(self, image: Inputs) -> int:
        """High-water mark of the arena: the end of the last byte that one image writes, found by poison."""
        with self._context() as context:
            arena = np.ctypeslib.as_array(context.arena)[: self._built.arena_bytes]
            written = np.zeros(len(arena), bool)
            for poison in POISONS:
                arena[:] = poison
                self._push(context, image)
                written |= arena != poison
        return int(np.flatnonzero(written)[-1]) + 1 if written.any() else 0

    def latency(self, image: Inputs, runs: int = 10) -> Latency:
        """Minimum and median time of `runs` images after one that is not counted."""
        self.run(image)
        times: list[float] = []
        for _ in range(runs):
            start = time.perf_counter()
            self.run(image)
            times.append((time.perf_counter() - start) * 1e3)
        return Latency(min(times), statistics.median(times), runs)

    def stop(self) -> None:
        """Ends the threads of a program that has several; the next image begins them again."""
        if self._built.threads > 1:
            with self._lock:
                self._library.net_stop(self._contexts[0].pointer)


def checked_inputs(graph: Graph, given: Inputs) -> list[Array]:
    """The arrays as a program reads them; raises GraphError where one is not of its input's shape and type."""
    return [np.ascontiguousarray(array) for array in by_input(graph, given).values()]


def _raw(node: Node) -> Array:
    """Room for a value as the net stores it."""
    if node.type.dtype is DType.BINARY:
        return np.zeros((node.shape.height, node.shape.width, node.type.pixel_bytes), np.uint8)
    return np.zeros(node.shape.array, node.type.dtype.numpy)


def _values(node: Node, raw: Array) -> Array:
    """The values that the net stores so: bits are -1 and 1."""
    if node.type.dtype is not DType.BINARY:
        return raw
    bits = np.unpackbits(raw.astype(np.uint8), axis=2, count=node.shape.channels, bitorder="little")
    return np.where(bits == 1, 1, -1).astype(np.int8)


def values_of(node: Node, stored: Array) -> Array:
    """The values of a node, of its bytes one after another as a net stores them."""
    return _values(node, stored.reshape(_raw(node).shape))


def _ending(index: int) -> str:
    """What the names of output `index` end in."""
    return "" if index == 0 else f"_{index + 1}"


def shortened(plan: "RowPlan") -> Iterator[tuple[str, "RowPlan"]]:
    """The plan with a ring one pixel too short, for each ring of more than one: every one must give wrong answers."""
    for name, buffer in plan.buffers.items():
        if buffer.kind.value == "ring" and buffer.pixels > 1:
            yield (
                name,
                replace(plan, buffers={**plan.buffers, name: replace(buffer, pixels=buffer.pixels - 1)}),
            )
