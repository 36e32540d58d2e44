"""Benchmark against other runtimes in alternating rounds: times, ratios by round, memory, and fraction of the peak."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rillet.bench.ceiling import Ceiling, Meter
from rillet.bench.machine import Machine, machine
from rillet.bench.peers import ASKED, OURS, Peer
from rillet.bench.peers.files import Given, Request, TorchFile, jobs, precision_of
from rillet.bench.peers.ours import kernels
from rillet.bench.peers.process import Process
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph
from rillet.plan.options import PlanOptions
from rillet.runtime.quantization import quantize_with
from rillet.runtime.run import checked_inputs
from rillet.runtime.verify import random_given
from rillet.targets.host import Host, this_host
from rillet.transforms.dequantize import dequantize
from rillet.transforms.fold import fold

ROUNDS = 20
ROUND_MS = 50.0
"""About how long one runtime is at work in a round."""
LEAST_RUNS, MOST_RUNS = 3, 200
"""Inferences of one runtime in a round that are timed."""
TRIES = 20
"""Inferences by which the fastest of several forms is chosen."""
UNCOUNTED = 2
"""Inferences before them, which bring the weights back that the others drove from the caches."""
REST_SECONDS = 0.01
"""Between two runtimes: threads that spin in wait for more work go to sleep."""
IMAGES = 4
"""Seeded random inputs on which answers are compared."""
CALIBRATION_IMAGES = 2
"""Of noise: speed does not depend on what a network sees."""
COLD_RUNS = 3
COLD_MOST_BYTES = 2**29
MOST_ROUNDS, MOST_THREADS, MOST_BATCH = 10_000, 256, 256


@dataclass(frozen=True, slots=True)
class Spread:
    """A ratio round by round: its median, and the 10th and 90th percentile."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Record:
    """One runtime at one precision and number of threads."""

    runtime: str
    version: str
    precision: str
    threads: int
    min_ms: float
    median_ms: float
    ratio: Spread | None
    """How many times as fast Rillet is: its time goes into this runtime's so often; None where Rillet did not run."""
    rss_mb: float | None
    """Resident memory above the idle interpreter, in 10^6 bytes."""
    cold_ms: float
    """Median of single inferences after the caches were emptied."""
    first_ms: float
    """From nothing to the first result: import, load, and one inference of a whole batch."""
    gmacs: float
    """10^9 multiply-accumulates a second at the minimum time."""
    peak_share: float | None
    """Of the peak rate measured between the rounds."""
    difference: float | None
    """Largest difference from Rillet's answers: steps for int8, for f32 a share of the largest value."""
    same_top1: int | None
    """Of `images` answers, those with Rillet's class first."""
    images: int
    runs: int
    """Inferences timed."""
    form: str = ""
    """What it could have been given otherwise, and was given so because that is fastest: the activations of its file,
    `int8` or `uint8`, and how it takes the images of a batch.
    """
    batch: int = 1
    """Images of a call; all times are those of one image."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A runtime that has no figure, and why."""

    runtime: str
    precision: str
    threads: int
    why: str
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Bench:
    """All figures of one command."""

    model: str
    macs: int
    rounds: int
    kernels: str
    """What Rillet's program is made of."""
    machine: Machine
    ceilings: tuple[Ceiling, ...]
    records: tuple[Record, ...]
    refusals: tuple[Refusal, ...]
    doubts: tuple[str, ...] = ()
    """What was asked for and the machine lacks; sentences."""


def _silent(done: int, total: int) -> None:
    """No progress."""


def spread(numbers: Sequence[float]) -> Spread:
    """Median, 10th and 90th percentile (linear between neighbours); raises ValueError for none."""
    if not numbers:
        raise ValueError("numbers must not be empty")
    low, middle, high = np.percentile(np.array(numbers, np.float64), (10, 50, 90))
    return Spread(float(middle), float(low), float(high))


def ratios(ours: Sequence[float], others: Sequence[float]) -> Spread:
    """How many times as fast Rillet is, from the least times of the same rounds: a disturbance only adds to a time."""
    return spread([other / own for own, other in zip(ours, others, strict=True)])


def turns(names: Sequence[str], rounds: int) -> Iterator[tuple[str, ...]]:
    """The order of each round: everyone is first, second and so on equally often."""
    for i in range(rounds):
        first = i % len(names)
        yield (*names[first:], *names[:first])


def agreement(ours: Array, theirs: Array, precision: str) -> tuple[float, int]:
    """Largest difference (see `Record.difference`), and how many answers have the same class first."""
    want, have = ours.reshape(len(ours), -1).astype(np.float64), theirs.reshape(len(theirs), -1).astype(np.float64)
    apart = float(np.abs(want - have).max())
    if precision != "int8":
        apart /= float(np.abs(want).max()) or 1.0
    return apart, int((want.argmax(1) == have.argmax(1)).sum())


def forms(graph: Graph, precisions: Sequence[str] | None) -> dict[str, Graph]:
    """The network at each precision, batch norms folded; its own where none is given.

    A quantised network has a float32 form, a float32 one is quantised by the rule `shift`, calibrated on noise. Raises
    GraphError for a precision that is none.
    """
    own = precision_of(graph)
    out: dict[str, Graph] = {}
    for precision in precisions or (own,):
        if precision not in ASKED:
            raise GraphError(f"--precision must be of {', '.join(ASKED)}, got {precision!r}")
        if precision == "int8" and own == "f32":
            out[precision] = quantize_with(graph, random_given(graph, CALIBRATION_IMAGES))
        else:
            out[precision] = fold(graph if precision == "int8" else dequantize(graph))
    return out


def bench(
    graph: Graph,
    peers: Sequence[Peer],
    *,
    threads: Sequence[int] = (1,),
    precisions: Sequence[str] | None = None,
    batches: Sequence[int] = (1,),
    rounds: int = ROUNDS,
    given: Given | None = None,
    torch_files: Mapping[str, TorchFile] | None = None,
    host: Host | None = None,
    progress: Callable[[int, int], None] = _silent,
) -> Bench:
    """Measures Rillet and `peers` on `graph`, which has weights; `given` is the .tflite it came from, unchanged.

    batches: numbers of images of a call. torch_files: what makes the files of runtimes that PyTorch writes for.
    host: what Rillet's program is made for, the machine that this runs on if None.

    A peer that cannot take the network is a refusal, not an error. Raises GraphError for numbers of threads, images or
    rounds and for precisions that make no sense.
    """
    for count in threads:
        if not 1 <= count <= MOST_THREADS:
            raise GraphError(f"--threads must be from 1 to {MOST_THREADS}, got {count}")
    for count in batches:
        if not 1 <= count <= MOST_BATCH:
            raise GraphError(f"--batch must be from 1 to {MOST_BATCH}, got {count}")
    if not 1 <= rounds <= MOST_ROUNDS:
        raise GraphError(f"--rounds must be from 1 to {MOST_ROUNDS}, got {rounds}")
    made, here = forms(graph, precisions), machine()
    own, total = precision_of(graph), len(made) * len(threads) * len(batches) * rounds
    records: list[Record] = []
    refusals: list[Refusal] = []
    ceilings: list[Ceiling] = []
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    with tempfile.TemporaryDirectory(prefix="rillet-bench-") as name:
        for count in threads:
            meter = Meter(here, count)
            meter.measure_reads()
            runs: list[_Field] = []
            for batch, (precision, form) in product(batches, made.items()):
                as_given = given if precision == own else None
                request = Request(
                    form, count, Path(name), as_given, torch_files or {}, host, batch, precision == "bf16"
                )
                field = _Field(request, precision, peers)
                field.race(rounds, meter, advance)
                runs.append(field)
            ceilings.append(meter.ceiling())
            for field in runs:
                records += field.records(ceilings[-1])
                refusals += field.refusals
    measured = tuple(ceilings), tuple(records), tuple(refusals)
    return Bench(graph.name, graph.macs, rounds, kernels(host), here, *measured, _doubts(host, threads, tuple(made)))


def _doubts(host: Host | None, threads: Sequence[int], precisions: Sequence[str]) -> tuple[str, ...]:
    """What the machine lacks for so many threads, and for a precision."""
    target = host or this_host()
    asked = [PlanOptions(target=target, threads=count) for count in threads]
    asked += [PlanOptions(target=target, precision="bf16")] if "bf16" in precisions else []
    return tuple(dict.fromkeys(sentence for one in asked for sentence in one.doubts))


@dataclass
class _Runner:
    """A runtime at work."""

    name: str
    version: str
    form: str
    process: Process
    first_ms: float
    count: int = 0
    answers: Array | None = None
    rss_bytes: int | None = None
    cold_ms: float = 0.0

    def __post_init__(self) -> None:
        self.times: list[list[float]] = []


class _Field:
    """All runtimes at one precision and number of threads."""

    def __init__(self, request: Request, precision: str, peers: Sequence[Peer]) -> None:
        self.request, self.precision = request, precision
        self._images = -(-IMAGES // request.batch) * request.batch
        self.refusals: list[Refusal] = []
        self._versions = {OURS: _own_version(), **{peer.name: peer.version for peer in peers}}
        self._runners: dict[str, _Runner] = {}

    def race(self, rounds: int, meter: Meter, advance: Callable[[], None]) -> None:
        """Starts everyone, looks at answers and memory, and lets them run in turn."""
        batch = self.request.batch
        images = self.request.folder / f"images-{self.precision}-{batch}.npz"
        graph = self.request.graph
        given = [checked_inputs(graph, one) for one in random_given(graph, self._images)]
        np.savez(images, *map(np.stack, zip(*given, strict=True)))
        cold_bytes = min(4 * meter.machine.cache(3), COLD_MOST_BYTES)
        with ExitStack() as stack:
            for name in self._versions:
                self._trying(name, lambda name=name: self._start(name, images, cold_bytes, stack))
            for order in turns(tuple(self._versions), rounds):
                meter.measure()
                for name in order:
                    if name in self._runners:
                        self._trying(name, lambda name=name: self._round(name))
                        time.sleep(REST_SECONDS)
                advance()

    def _trying(self, name: str, work: Callable[[], None]) -> None:
        """Does something with a runtime; one that fails at it is out of the race."""
        try:
            work()
        except Unsupported as error:
            self._runners.pop(name, None)
            refusal = Refusal(name, self.precision, self.request.threads, str(error), self.request.batch)
            self.refusals.append(refusal)

    def _start(self, name: str, images: Path, cold_bytes: int, stack: ExitStack) -> None:
        given = jobs(name, self.request)
        job = given[0] if len(given) == 1 else self._fastest(given, images)
        process = Process(self.request.threads)
        stack.callback(process.end)
        first = process.ask("start", images=str(images), **job)["first_ms"]
        runner = _Runner(name, self._versions[name], job["form"], process, first)
        answers = self.request.folder / f"answers-{name}.npy"
        process.ask("answers", file=str(answers))
        runner.answers = np.load(answers)
        warm = median(process.ask("run", before=UNCOUNTED, count=LEAST_RUNS)["ms"])
        runner.count = max(LEAST_RUNS, min(MOST_RUNS, round(ROUND_MS / warm)))
        runner.rss_bytes = process.ask("memory")["bytes"]
        runner.cold_ms = median(process.ask("cold", bytes=cold_bytes, count=COLD_RUNS)["ms"])
        self._runners[name] = runner

    def _fastest(self, given: Sequence[dict[str, Any]], images: Path) -> dict[str, Any]:
        """The form that a runtime runs fastest, each tried in a process of its own; raises Unsupported for none."""
        tries = max(LEAST_RUNS, TRIES // self.request.batch)
        found: list[tuple[float, int]] = []
        refusal, file = Unsupported("must have a form"), self.request.folder / "answers-form.npy"
        before: Array | None = None
        for place, job in enumerate(given):
            process = Process(self.request.threads)
            try:
                process.ask("start", images=str(images), **job)
                process.ask("answers", file=str(file))
                answers = np.load(file)
                if job.get("as_before") and not (before is not None and np.array_equal(answers, before)):
                    continue
                before = answers
                found.append((min(process.ask("run", before=UNCOUNTED, count=tries)["ms"]), place))
            except Unsupported as error:
                refusal = error
            finally:
                process.end()
        if not found:
            raise refusal
        return given[min(found)[1]]

    def _round(self, name: str) -> None:
        runner = self._runners[name]
        runner.times.append(runner.process.ask("run", before=UNCOUNTED, count=runner.count)["ms"])

    def records(self, ceiling: Ceiling) -> Iterator[Record]:
        """A record for each runtime that ran all rounds."""
        ours = self._runners.get(OURS)
        own, batch = [min(times) for times in ours.times] if ours else [], self.request.batch
        for runner in self._runners.values():
            times = [t / batch for block in runner.times for t in block]
            apart = same = None
            if ours is not None and ours.answers is not None and runner.answers is not None:
                apart, same = agreement(ours.answers, runner.answers, self.precision)
            gmacs, peak = self.request.graph.macs / min(times) / 1e6, ceiling.gmacs(self.precision)
            yield Record(
                runtime=runner.name,
                version=runner.version,
                precision=self.precision,
                threads=self.request.threads,
                min_ms=min(times),
                median_ms=median(times),
                ratio=ratios(own, [min(block) for block in runner.times]) if own else None,
                rss_mb=None if runner.rss_bytes is None else runner.rss_bytes / 1e6,
                cold_ms=runner.cold_ms / batch,
                first_ms=runner.first_ms,
                gmacs=gmacs,
                peak_share=gmacs / peak if peak else None,
                difference=apart,
                same_top1=same,
                images=self._images,
                runs=len(times),
                form=runner.form,
                batch=batch,
            )


def _own_version() -> str:
    from rillet.system.version import VERSION

    return VERSION
