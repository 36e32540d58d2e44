"""Accuracy of a network on a data set, by any backend, on all cores."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from rillet.backends import reference
from rillet.data.datasets import Dataset
from rillet.data.images import as_input, contract
from rillet.errors import BuildError, GraphError, Unsupported
from rillet.ir.graph import Array, Graph
from rillet.plan.rows.plan import RowPlan
from rillet.runtime.programs import program_of
from rillet.runtime.verify import first_difference
from rillet.system.record import Record

BACKENDS = ("reference", "c", "torch")
CHUNK = 50
TORCH_CHUNK = 256
Runner = Callable[[list[Array]], list[Array]]
"""Outputs for inputs."""


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation(Record):
    """How many pictures a network gets right; shares are fractions of `images`."""

    model: str
    data: str
    backend: str
    images: int
    correct: int
    top1: float
    top5: float
    checked: bool = False
    """Every output was compared with the reference's: to the byte, or for float32 within 1e-5."""

    def __repr__(self) -> str:
        return (
            f"<Evaluation {self.model} on {self.data} by {self.backend}: top-1 {self.top1:.2%}, {self.images:,} images>"
        )


def _silent(done: int, total: int) -> None:
    """No progress."""


def evaluate(
    plan: RowPlan,
    data: Dataset,
    backend: str = "c",
    limit: int | None = None,
    progress: Callable[[int, int], None] = _silent,
    torch_runner: Callable[[Graph], Runner] | None = None,
    check: bool = False,
) -> Evaluation:
    """Runs the first `limit` pictures of `data` (all by default) through the network of `plan`.

    A network with one class more than the data has the background first. Ties go to the lower class. With `check`
    every output of `c` is compared with the reference's. Raises GraphError where the classes do not fit, Unsupported
    where the input is no image, BuildError for an output that is not the reference's.
    """
    graph = plan.graph
    contract(graph)
    extra = background(graph, data)
    count = len(data) if limit is None else min(limit, len(data))
    if count < 1:
        raise GraphError(f"--limit must be at least 1, got {limit}")
    if backend not in BACKENDS:
        raise GraphError(f"--backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if check and backend != "c":
        raise GraphError(f"--check must come with --backend c, got {backend}")
    if backend == "torch":
        if torch_runner is None:
            raise Unsupported("backend torch must be given PyTorch's runner")
        run, chunk = torch_runner(graph), TORCH_CHUNK
    else:
        run, chunk = (_reference(graph) if backend == "reference" else _c(plan)), CHUNK
    chunks = [(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    work = _Work(graph, data, run, extra, check)
    first = fifth = done = 0
    for right, near, size in _spread(work, chunks, alone=backend == "torch"):
        first, fifth, done = first + right, fifth + near, done + size
        progress(done, count)
    return Evaluation(graph.name, data.name, backend, count, first, first / count, fifth / count, check)


def background(graph: Graph, data: Dataset) -> int:
    """Classes that the network has before those of the data: none or one; raises GraphError for other numbers."""
    outputs = graph.by_name[graph.outputs[0]].shape.elements
    extra = outputs - len(data.classes)
    if extra not in (0, 1):
        raise GraphError(f"{graph.name}: must have {len(data.classes)} classes as {data.name} has, got {outputs}")
    return extra


def _reference(graph: Graph) -> Runner:
    return lambda inputs: [reference.outputs(graph, image)[0] for image in inputs]


def _c(plan: RowPlan) -> Runner:
    program = program_of(plan)
    return lambda inputs: list(program.run_batch(np.stack(inputs))[0])


@dataclass(frozen=True)
class _Work:
    graph: Graph
    data: Dataset
    run: Runner
    extra: int
    check: bool

    def __call__(self, chunk: tuple[int, int]) -> tuple[int, int, int]:
        """Pictures right at once, right among five, and how many there were."""
        spec, numbers = contract(self.graph), range(*chunk)
        inputs = [as_input(self.data.pixels(i, spec), self.graph) for i in numbers]
        right = near = 0
        for i, image, output in zip(numbers, inputs, self.run(inputs), strict=True):
            if self.check:
                self._compare(i, image, output)
            order = np.argsort(-output.reshape(-1).astype(np.float64), kind="stable")[:5] - self.extra
            label = int(self.data.labels[i])
            right += int(order[0] == label)
            near += int(label in order)
        return right, near, len(numbers)

    def _compare(self, index: int, image: Array, output: Array) -> None:
        name, expected = self.graph.outputs[0], reference.outputs(self.graph, image)[0]
        difference = first_difference(self.graph, {name: expected}, {name: output}, index, "c")
        if difference is not None:
            raise BuildError(f"{self.graph.name}: the program must give the reference's values, got {difference}")


_shared: list[_Work] = []
"""What the processes of a pool inherit: graphs and programs are not sent, but were there before the fork."""


def _inherited(chunk: tuple[int, int]) -> tuple[int, int, int]:
    return _shared[-1](chunk)


def _spread(work: _Work, chunks: list[tuple[int, int]], alone: bool) -> Iterator[tuple[int, int, int]]:
    """The chunks on all cores where processes can be forked, else one by one; PyTorch (`alone`) spreads by itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if alone or cores == 1 or len(chunks) < 3 or "fork" not in multiprocessing.get_all_start_methods():
        yield from map(work, chunks)
        return
    _shared.append(work)
    try:
        with multiprocessing.get_context("fork").Pool(cores) as pool:
            yield from pool.imap_unordered(_inherited, chunks)
    finally:
        _shared.pop()
