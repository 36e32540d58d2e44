"""The schedule of a pipeline, pixel by pixel, by a max-plus recurrence; and the depth that each FIFO needs for it.

A stage fires when the pixels that it reads have arrived and its previous firing is done, and is busy for `cycles`:
done[n] = max(ready[n], done[n - 1]) + cycles, which is cycles * (n + 1) + the running maximum of ready[n] - cycles * n.
A pixel is freed when the last firing that may read it is done; within a cycle, freeing precedes arrival. A FIFO is a
ring buffer, so it keeps everything from the oldest pixel that a reader still needs.

As hardware, a stage has registers from its last operand to its result, its latency: a pixel arrives so many cycles
after its firing is done. Its slot is taken when its firing begins (an input's, the cycle before it arrives), so that
no result ever waits; and each reader has a ring of its own, as a memory feeds one. Without them (the ideal) a pixel
arrives when its firing is done, takes its slot then, and its readers share one ring.

The recurrence assumes unbounded FIFOs; each FIFO's depth is then its peak occupancy. A machine with these depths keeps
the same schedule: suppose some write were the first to find its FIFO full; everything before it happened as in the
recurrence, where that write stayed within the depth. So back pressure never occurs, and as a network is acyclic, no
deadlock is possible.

Frames arrive at the interval, and the schedule becomes periodic. Relative to the start of its frame, no event is
earlier in a later frame, as its stages have more work queued. So if the inputs of a stage are periodic from frame f,
the stage is periodic from f + 1: only work left over from frame f delays it, that of older frames being less.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rillet.ir.facts import has_weights, has_window, is_constant, is_input
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Window, op_places, op_window
from rillet.ir.types import Shape
from rillet.plan.pipeline.bottleneck import NarrowBlock, columns_of, span_along
from rillet.plan.pipeline.folding import Folding

if TYPE_CHECKING:
    from rillet.plan.pipeline.plan import PixelPlan

Cycles = npt.NDArray[np.int64]
Latency = Callable[[Node, Folding], int]


def accumulates(graph: Graph, node: Node, hardware: bool = False) -> bool:
    """True where a node takes in each pixel as it comes and keeps only sums: a global pool, say.

    As hardware a convolution over the map does not: its ring keeps the map, and it has a sum for each multiplier.
    """
    if hardware and has_weights(node.op):
        return False
    if not has_window(node.op) or node.op.window.dilation != (1, 1):
        return False
    shape = graph.input_shapes(node)[0]
    return shape.pixels > 1 and node.op.window.covers(shape)


def streamed(graph: Graph, node: Node) -> tuple[str, ...]:
    """The inputs of a node that are streamed: constants left out, each value once."""
    return tuple(n for n in dict.fromkeys(node.inputs) if not is_constant(graph.by_name[n].op))


@dataclass(frozen=True)
class Reading:
    """What each firing of a reader needs of a value in one frame."""

    needs: Cycles
    """Pixels that must have arrived; at least one, which marks the start of the frame."""
    keeps: Cycles
    """Pixels freed once the firing is done: all before the first that a later firing needs."""
    last: Cycles
    """For each pixel, the firing that frees it."""

    @property
    def span(self) -> int:
        """Minimum FIFO depth in pixels, were every stage infinitely fast."""
        oldest = np.concatenate([[0], self.keeps[:-1]])
        return int((self.needs - oldest).max())


class Flow:
    """What flows through a network, and what each stage's firings read of it, remembered.

    Wide values of `narrow` blocks come column by column (columns.py): a pixel for each place. `latency_of` says how
    many cycles behind its firing a stage's result arrives as hardware; without it the machine is the ideal.
    """

    def __init__(self, graph: Graph, narrow: Sequence[NarrowBlock] = (), latency_of: Latency | None = None) -> None:
        self.graph = graph
        self._latency_of = latency_of
        self.columns = columns_of(graph, narrow)
        self._readings: dict[tuple[str, str, int], Reading] = {}

    def pixels(self, name: str) -> int:
        """Pixels of a value that come for one image, places for the padding's among them."""
        return self.columns[name].count if name in self.columns else self.graph.by_name[name].shape.pixels

    @property
    def hardware(self) -> bool:
        """Whether results have latencies, and each reader a ring of its own."""
        return self._latency_of is not None

    def latency(self, node: Node, folding: Folding) -> int:
        """Cycles from the end of a stage's firing to its result's arrival."""
        return 0 if self._latency_of is None else self._latency_of(node, folding)

    def accumulates(self, node: Node) -> bool:
        """True where a node takes in each pixel as it comes and keeps only sums."""
        return accumulates(self.graph, node, self.hardware)

    def fired_pixels(self, node: Node) -> int:
        """The pixels that a node's firings share out: those it makes, or takes in where it accumulates."""
        return self.pixels(node.inputs[0] if self.accumulates(node) else node.name)

    def reading(self, node: Node, source: str, lanes: int) -> Reading:
        """How `node` reads `source` when a firing makes (or takes in) `lanes` pixels."""
        key = (node.name, source, lanes)
        if key not in self._readings:
            needs, keeps = self._reading(node, source, lanes)
            last = np.searchsorted(keeps, np.arange(self.pixels(source)), side="right")
            self._readings[key] = Reading(needs, keeps, last)
        return self._readings[key]

    def _reading(self, node: Node, source: str, lanes: int) -> tuple[Cycles, Cycles]:
        pixels = self.pixels(source)
        if self.accumulates(node):
            taken = np.arange(1, pixels // lanes + 1, dtype=np.int64) * lanes
            return taken, taken
        first, last = self._seen(node, source)
        needs = np.maximum(last.reshape(-1, lanes).max(1) + 1, 1)
        oldest = np.minimum.accumulate(first.reshape(-1, lanes).min(1)[::-1])[::-1]
        return needs, np.concatenate([oldest[1:], [pixels]])

    def _seen(self, node: Node, source: str) -> tuple[Cycles, Cycles]:
        """For each pixel that a node makes, the first and the last of a source that it reads."""
        own, other = self.columns.get(node.name), self.columns.get(source)
        if own is not None:
            return (np.arange(own.count), np.arange(own.count)) if other is not None else own.source()
        return other.seen() if other is not None else _seen(node, self.graph.by_name[source].shape)


def _seen(node: Node, source: Shape) -> tuple[Cycles, Cycles]:
    """For each pixel of a node, the first and the last pixel of a source that it reads: all of them and -1 for none."""
    out = node.shape
    if source.pixels == 1:
        return np.zeros(out.pixels, np.int64), np.zeros(out.pixels, np.int64)
    copied = op_places(node.op)
    if copied is not None:
        first, last = (
            (np.array(rows, np.int64)[:, None] * source.width + np.array(columns, np.int64)).reshape(-1)
            for rows, columns in ((copied.rows, copied.columns), copied.last)
        )
        return first, last
    window = op_window(node.op) or Window()
    (top, _, left, _), (high, wide) = window.padding, window.kernel
    rows = span_along(out.height, source.height, high, window.stride[0], top, window.dilation[0])
    columns = span_along(out.width, source.width, wide, window.stride[1], left, window.dilation[1])
    some = ((rows[0] <= rows[1])[:, None] & (columns[0] <= columns[1])).reshape(-1)
    first = (rows[0][:, None] * source.width + columns[0]).reshape(-1)
    last = (rows[1][:, None] * source.width + columns[1]).reshape(-1)
    return np.where(some, first, source.pixels), np.where(some, last, -1)


@dataclass(frozen=True)
class Times:
    """Event times by frame, in cycles: one row a frame; the last row repeats at the interval."""

    rows: Cycles
    interval: int

    def frames(self, count: int) -> Cycles:
        """The first `count` frames."""
        more = count - len(self.rows)
        if more <= 0:
            return self.rows[:count]
        later = self.rows[-1] + self.interval * np.arange(1, more + 1, dtype=np.int64)[:, None]
        return np.concatenate([self.rows, later])


@dataclass(frozen=True)
class Schedule:
    """The whole pipeline in time: when each value's pixels arrive, when each stage's firings are done."""

    arrives: Mapping[str, Times]
    done: Mapping[str, Times]
    frames: int
    """Frames until the schedule is periodic."""


def schedule(flow: Flow, foldings: Mapping[str, Folding], interval: int) -> Schedule:
    """The schedule of all stages for images that arrive every `interval` cycles.

    Pixel i of n of an image is there at the end of the cycle ceil((i + 1) * interval / n) after the image before it.
    """
    arrives: dict[str, Times] = {}
    done: dict[str, Times] = {}
    for node in flow.graph.nodes:
        if is_input(node.op):
            arrives[node.name] = paced(node.shape.pixels, interval)
        elif not is_constant(node.op):
            done[node.name], arrives[node.name] = fire(flow, node, foldings[node.name], arrives, interval)
    return Schedule(arrives, done, max(len(times.rows) for times in arrives.values()))


def paced(count: int, interval: int) -> Times:
    """When the pixels of an input arrive."""
    place = np.arange(1, count + 1, dtype=np.int64)
    # In two parts, as the product of the two may be more than 64 bits hold.
    return Times((place * (interval // count) - (-place * (interval % count) // count))[None, :], interval)


def fire(flow: Flow, node: Node, folding: Folding, arrives: Mapping[str, Times], interval: int) -> tuple[Times, Times]:
    """When the firings of one stage are done, and when its pixels arrive, from when those that it reads do."""
    ready: Times | None = None
    for source in streamed(flow.graph, node):
        needs = flow.reading(node, source, folding.lanes).needs
        ready = _later(ready, Times(arrives[source].rows[:, needs - 1], interval))
    assert ready is not None, f"{node.name} reads nothing that streams"
    done = _fire(ready, folding.cycles)
    made = done.rows[:, -1:] if flow.accumulates(node) else np.repeat(done.rows, folding.lanes, axis=1)
    return done, Times(made + flow.latency(node, folding), interval)


def _later(one: Times | None, other: Times) -> Times:
    if one is None:
        return other
    count = max(len(one.rows), len(other.rows))
    return Times(np.maximum(one.frames(count), other.frames(count)), other.interval)


def _fire(ready: Times, cycles: int) -> Times:
    """When a stage's firings are done."""
    rows = ready.frames(len(ready.rows) + 1)
    flat = rows.reshape(-1)
    busy = np.arange(flat.size, dtype=np.int64) * cycles
    done = (np.maximum.accumulate(flat - busy) + busy + cycles).reshape(rows.shape)
    kept = len(done)
    while kept > 1 and np.array_equal(done[kept - 1], done[kept - 2] + ready.interval):
        kept -= 1
    return Times(done[:kept], ready.interval)


def schedule_of(plan: "PixelPlan") -> Schedule:
    """When every pixel of a plan arrives, and when every firing is done."""
    latencies = {stage.node: stage.latency_cycles for stage in plan.stages}
    flow = Flow(plan.graph, plan.narrow, None if plan.pipeline is None else lambda node, _: latencies[node.name])
    return schedule(flow, {stage.node: stage.folding for stage in plan.stages}, plan.interval_cycles)


def rings(
    flow: Flow, foldings: Mapping[str, Folding], times: Schedule, name: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The depths of the rings of a value, and for each the frames in which its peak occupancy is seen.

    As hardware a ring for each reader, in the order of the readers; else the one that they share.
    """
    readers = flow.graph.consumers[name]
    shares = [[reader] for reader in readers] if flow.hardware else [list(readers)]
    found = [_depth(flow, foldings, times, name, share) for share in shares]
    return tuple(depth for depth, _ in found), tuple(frames for _, frames in found)


def depth(flow: Flow, foldings: Mapping[str, Folding], times: Schedule, name: str) -> tuple[int, int]:
    """The most pixels of a value in a ring that its readers share, at least one; the frames in which that is seen."""
    return _depth(flow, foldings, times, name, flow.graph.consumers[name])


def _depth(
    flow: Flow, foldings: Mapping[str, Folding], times: Schedule, name: str, readers: Sequence[Node]
) -> tuple[int, int]:
    freed: Times | None = None
    for reader in readers:
        last = flow.reading(reader, name, foldings[reader.name].lanes).last
        freed = _later(freed, Times(times.done[reader.name].rows[:, last], times.arrives[name].interval))
    assert freed is not None
    taken = _taken(flow, foldings, times.arrives[name], name)
    count = max(len(taken.rows), len(freed.rows))
    longest = int((freed.frames(count) - taken.frames(count)).max())
    # Pixels of as many frames as one may wait through lie there together.
    count += max(0, longest) // taken.interval + 1
    comes, goes = taken.frames(count).reshape(-1), freed.frames(count).reshape(-1)
    held = np.arange(1, comes.size + 1) - np.searchsorted(goes, comes, side="right")
    return max(1, int(held.max())), count


def _taken(flow: Flow, foldings: Mapping[str, Folding], arrives: Times, name: str) -> Times:
    """When the pixels of a value take their slots: as they arrive, or as hardware when their firings begin."""
    if not flow.hardware:
        return arrives
    node = flow.graph.by_name[name]
    ahead = 1 if is_input(node.op) else flow.latency(node, foldings[name]) + foldings[name].cycles
    return Times(arrives.rows - ahead, arrives.interval)
