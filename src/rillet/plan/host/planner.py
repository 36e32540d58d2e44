"""The row plan of a host: tiles are whole rows, cuts and rows are chosen for time within the sizes of its caches."""

from dataclasses import dataclass, field, replace
from itertools import accumulate

from rillet.errors import TargetError
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import op_macs
from rillet.ir.types import DType
from rillet.plan.host.threads import MAX_THREADS, evenness, pixel_split
from rillet.plan.host.tilings import VECTORS, channel_units, choose_on, lists_ns
from rillet.plan.rows.kernels import Choice
from rillet.plan.rows.plan import Kernel, RowPlan, Split
from rillet.plan.rows.planner import Cost, RowPlanner
from rillet.plan.rows.timing import Tile
from rillet.targets.host import Host

ROWS = (1, 2, 4, 8, 16, 32)
"""Rows that a tile of a host plan may have."""
HOST_ALIGNMENT = 64
"""A line of the cache, and a vector of the widest set."""
MACS_PER_NS = {"avx512": (105.0, 300.0), "avx2": (35.0, 60.0), "neon": (18.0, 60.0), "portable": (8.0, 20.0)}
"""Multiply-accumulates a nanosecond of dense layers, real and 8-bit; orders of magnitude, only their ratios matter."""
DEPTHWISE_SHARE = 0.45
"""Rate of a depthwise layer as a share of a dense one's."""
NEAR_BYTES_PER_NS = 60.0
FAR_BYTES_PER_NS = 40.0
"""What a core reads from its own second-level cache, and from beyond."""
TILE_NS = 40.0
"""Overhead of a firing."""
WAIT_NS = 200.0
"""What it costs more where threads share it: a hand-over (`bench/handover.py`), and shares that are not quite even."""
LEAST_SHARED_NS = 300.0
"""Tiles that take one thread less are made by the caller's alone."""
LEAST_GAIN = 0.4
"""By how much each thread after the first must be estimated to make it faster: networks of some microseconds that were
estimated to become a third faster by a second thread were measured to be slower."""
VALUE_BYTES_PER_NS = 20.0
"""Bytes that a kernel without weights takes in or gives out."""
ALIKE = 0.1
"""Estimates that differ by less say nothing; of such plans the one of least memory was measured to be faster."""
ALIKE_SHARED = 0.02
"""The same for several threads: they wait at each tile, and more and smaller ones cost what the nearer cache saves."""
CACHE_SHARE = 0.75
"""Share of the second-level cache that weights and rings of a segment may fill and still count as near."""


def plan_host(
    graph: Graph,
    host: Host,
    *,
    ram_bytes: int | None = None,
    resident: bool = False,
    slower: float | None = None,
    threads: int = 1,
) -> RowPlan:
    """The smallest plan of whole rows that is estimated about as fast as the fastest for `threads` threads of `host`,
    or for one where more hardly help.

    ram_bytes: instead, the least estimated time within so many bytes.
    slower: instead, the least memory at an estimated time of at most 1 + `slower` times the least.

    Raises TargetError where the budget cannot be met or the number of threads makes no sense, Unsupported where a node
    has no kernel.
    """
    if not 1 <= threads <= MAX_THREADS:
        raise TargetError(f"--threads must be from 1 to {MAX_THREADS}, got {threads}")
    planner = HostPlanner(graph, host, resident, threads)
    planner.least_bytes()  # refuses what cannot be cut at all
    if threads > 1:
        alone = HostPlanner(graph, host, resident)
        if alone.least_ns() < planner.least_ns() * (1 + LEAST_GAIN * (threads - 1)):
            return plan_host(graph, host, ram_bytes=ram_bytes, resident=resident, slower=slower)
    if slower is None and ram_bytes is not None:
        made = planner.within(ram_bytes)
    else:
        alike = ALIKE if threads == 1 else ALIKE_SHARED
        made = planner.smallest(alike if slower is None else slower)
    if ram_bytes is not None and made.arena_bytes > ram_bytes:
        raise TargetError(
            f"{graph.name}: --ram must be at least {made.arena_bytes} bytes for this network in whole rows,"
            f" got {ram_bytes}"
        )
    return made


def estimated_ns(graph: Graph, host: Host) -> float:
    """Estimated nanoseconds of one image on one thread of `host`, layer by layer in the largest tiles.

    That is within some percent of what a plan's cuts are estimated to take, at a fiftieth of the time of finding them.
    Raises Unsupported where the graph or a node cannot be planned so.
    """
    planner = HostPlanner(graph, host, resident=False)
    costs = (planner.cost(i, i + 1, planner.tiles[-1]) for i in range(planner.first, planner.count))
    return sum(cost.ns for cost in costs if cost is not None)


class HostPlanner(RowPlanner):
    """Cuts into segments of whole rows, and their memory and estimated time on a host."""

    tiles = tuple(Tile(rows=n) for n in ROWS)
    alignment = HOST_ALIGNMENT
    overlays = False

    def __init__(self, graph: Graph, host: Host, resident: bool, threads: int = 1) -> None:
        self.host, self.threads = host, threads
        super().__init__(graph, resident)
        params = ((node, graph.node_params(node)) for node in graph.nodes)
        self.weight_bytes = [
            sum((4 if p.dtype is DType.F32 else 1) * _count(p.shape) for p in found) for _, found in params
        ]
        self.weights_before = [0, *accumulate(self.weight_bytes)]
        self.value_bytes = [node.type.bytes for node in self.nodes]
        self._estimates = {tile: _Estimates() for tile in self.tiles}

    def _choice(self, index: int, tile: Tile) -> Choice:
        node = self.nodes[index]
        shared = self.threads > 1 and self._firing_ns(node, tile) >= LEAST_SHARED_NS
        return choose_on(self.graph, node, tile.of(node.shape), self.host.kernels, self.threads if shared else 1)

    def _firing_ns(self, node: Node, tile: Tile) -> float:
        """Estimated nanoseconds of one thread for a tile."""
        rate = MACS_PER_NS[self.host.kernels][0 if node.type.quant is None else 1]
        moved = sum(value.bytes for value in self.graph.input_types(node)) + node.type.bytes
        total = op_macs(node.op, self.graph.input_shapes(node)) / rate + moved / VALUE_BYTES_PER_NS
        return total / self.spaces[tile].timing.tiles(node.name)

    def least_ns(self) -> float:
        """Estimated time of the fastest cuts."""
        return sum(cost.ns for _, _, cost in self.cuts(None))

    def fastest(self, start: int, stop: int, limit: int | None) -> Cost | None:
        """The rows that take the least time within `limit` bytes; one thread takes pushed rows one at a time."""
        pushed = start == self.first and not self.resident and self.threads == 1
        costs = [self.cost(start, stop, tile) for tile in (self.tiles[:1] if pushed else self.tiles)]
        found = [c for c in costs if c is not None and (limit is None or c.bytes <= limit)]
        return min(found, key=lambda c: c.ns, default=None)

    def time(self, start: int, stop: int, tile: Tile) -> float:
        """Estimated nanoseconds: arithmetic, weights read once a tile, values written and read."""
        known = self._estimated(tile, stop)
        driver = self.drivers(start, stop)[0]
        rings = self.ring_bytes(start, stop, tile, driver)[0] + self.scratch(start, stop, tile)
        # Each core keeps its share of the rings, and all weights but those that are dealt out by channels.
        rings /= self.threads
        near = self.host.l2_bytes * CACHE_SHARE
        again = known.again_near if sum(known.walked[start:stop]) + rings <= near else known.again_far
        values = (known.near if rings <= near else known.far)[start:stop]
        for i in range(start, stop):
            if self.last[i] >= stop and self.value_bytes[i] > near * self.threads:
                values[i - start] = known.far[i]
        total = (self.weights_before[stop] - self.weights_before[start]) / FAR_BYTES_PER_NS / self.threads
        for once, more in zip(values, again[start:stop], strict=True):
            total += once
            total += more
        return total

    def _estimated(self, tile: Tile, stop: int) -> "_Estimates":
        """What each node before `stop` takes by itself."""
        known = self._estimates[tile]
        for i in range(len(known.walked), stop):
            if i < self.first:
                known.add(0.0, 0.0, 0.0, 0.0, 0.0)
                continue
            share, workers, ns = self._weight_share(i, tile), self._workers(i, tile), self._node_time(i, tile)
            again = (self.spaces[tile].timing.tiles(self.nodes[i].name) - 1) * self.weight_bytes[i] * share
            moved = 2 * self.value_bytes[i]
            known.add(
                self.weight_bytes[i] * share,
                ns + moved / NEAR_BYTES_PER_NS / workers,
                ns + moved / FAR_BYTES_PER_NS / workers,
                again / NEAR_BYTES_PER_NS,
                again / FAR_BYTES_PER_NS,
            )
        return known

    def _workers(self, index: int, tile: Tile) -> int:
        return 1 if self.choice(index, tile).split is Split.NONE else self.threads

    def _weight_share(self, index: int, tile: Tile) -> float:
        """Share of a node's weights that one thread reads."""
        return 1 / self.threads if self.choice(index, tile).split is Split.CHANNELS else 1.0

    def _node_time(self, index: int, tile: Tile) -> float:
        node, choice = self.nodes[index], self.choice(index, tile)
        firings = self.spaces[tile].timing.tiles(node.name)
        if choice.kernel is Kernel.LISTS:
            by_lists = lists_ns(self.graph, node, tile.of(node.shape))
            assert by_lists is not None
            return firings * (by_lists + TILE_NS)
        rate = MACS_PER_NS[self.host.kernels][0 if node.type.quant is None else 1]
        if choice.kernel in (Kernel.DEPTHWISE, Kernel.DEPTHWISE_TILES):
            rate *= DEPTHWISE_SHARE
        macs = op_macs(node.op, self.graph.input_shapes(node))
        if choice.split is Split.NONE:
            return macs / rate + firings * TILE_NS
        return macs / rate / (self.threads * self._even(node, choice, tile)) + firings * (TILE_NS + WAIT_NS)

    def _even(self, node: Node, choice: Choice, tile: Tile) -> float:
        if choice.split is not Split.CHANNELS:
            return pixel_split(node.shape, tile.of(node.shape), self.threads)[1]
        if choice.tiling is None:
            return 1.0
        return evenness(channel_units(node, choice, self.host.kernels), self.threads)

    def finish(self, plan: RowPlan) -> RowPlan:
        """Adds the host, and which values it stores with the sign bit flipped."""
        if self.host.kernels not in VECTORS:
            return replace(plan, host=self.host, threads=self.threads)
        other = DType.I8 if VECTORS[self.host.kernels].byte is DType.U8 else DType.U8
        sign_flipped = frozenset(node.name for node in self.nodes if node.type.dtype is other)
        return replace(plan, host=self.host, sign_flipped=sign_flipped, threads=self.threads)


@dataclass(frozen=True, slots=True)
class _Estimates:
    """By node, at one tile size: bytes of weights that a thread walks; nanoseconds of the work with its values near and
    far, and of reading its weights again for every tile but the first.
    """

    walked: list[float] = field(default_factory=list[float])
    near: list[float] = field(default_factory=list[float])
    far: list[float] = field(default_factory=list[float])
    again_near: list[float] = field(default_factory=list[float])
    again_far: list[float] = field(default_factory=list[float])

    def add(self, walked: float, near: float, far: float, again_near: float, again_far: float) -> None:
        """One node more."""
        lists = (self.walked, self.near, self.far, self.again_near, self.again_far)
        for column, value in zip(lists, (walked, near, far, again_near, again_far), strict=True):
            column.append(value)


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total
