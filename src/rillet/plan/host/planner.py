"""The row plan of a host: tiles are whole rows, cuts and rows are chosen for time within the sizes of its caches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from rillet.errors import TargetError
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import op_macs
from rillet.ir.types import DType
from rillet.plan.host.matrix import matrix_ns
from rillet.plan.host.pieces import HOST_ALIGNMENT
from rillet.plan.host.threads import MAX_THREADS, evenness, pixel_split
from rillet.plan.host.tilings import (
    PAIRS,
    VECTORS,
    channel_units,
    choose_on,
    dense_depth,
    has_pairs,
    lists_ns,
    value_type,
)
from rillet.plan.host.winograd import squares_ns
from rillet.plan.rows.kernels import Choice
from rillet.plan.rows.pairs import Matrix
from rillet.plan.rows.plan import Kernel, RowPlan, Split
from rillet.plan.rows.planner import RowPlanner
from rillet.plan.rows.segments import stepped
from rillet.plan.rows.timing import Tile
from rillet.targets.host import WASM, Host

ROWS = (1, 2, 4, 8, 16, 32)
"""Rows that a tile of a host plan may have."""
MACS_PER_NS = {
    "amx": (105.0, 300.0),
    "avx512": (105.0, 300.0),
    "avx2": (35.0, 60.0),
    "avxvnni": (35.0, 150.0),
    "neon": (18.0, 60.0),
    "wasm128": (12.0, 20.0),
    "portable": (8.0, 20.0),
}
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
    bf16: bool = False,
) -> RowPlan:
    """The smallest plan of whole rows that is estimated about as fast as the fastest for `threads` threads of `host`,
    or for one where more hardly help.

    ram_bytes: instead, the least estimated time within so many bytes.
    slower: instead, the least memory at an estimated time of at most 1 + `slower` times the least.
    bf16: dense layers of float32 multiply in bfloat16 where `host` can, else in float32 as ever.

    Raises TargetError where the budget cannot be met, the number of threads makes no sense or `bf16` meets a network
    without float32, Unsupported where a node has no kernel.
    """
    if not 1 <= threads <= MAX_THREADS:
        raise TargetError(f"--threads must be from 1 to {MAX_THREADS}, got {threads}")
    if threads > 1 and host.kernels == WASM:
        raise TargetError(
            f"--threads must be 1 for WebAssembly, got {threads}: a page has workers, each with a program"
        )
    if bf16 and all(node.type.quant is not None for node in graph.nodes):
        raise TargetError(f"{graph.name}: --precision bf16 must be given for a network of float32, got one of integers")
    if threads > 1 and len(graph.input_nodes) > 1:
        # They would have to share what comes before the image's first row.
        raise TargetError(f"{graph.name}: --threads must be 1 for a network of several inputs, got {threads}")
    planner = HostPlanner(graph, host, resident, threads, bf16)
    _ = planner.least_bytes  # refuses what cannot be cut at all
    if threads > 1:
        alone = HostPlanner(graph, host, resident, bf16=bf16)
        if alone.least_ns() < planner.least_ns() * (1 + LEAST_GAIN * (threads - 1)):
            return plan_host(graph, host, ram_bytes=ram_bytes, resident=resident, slower=slower, bf16=bf16)
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

    def __init__(self, graph: Graph, host: Host, resident: bool, threads: int = 1, bf16: bool = False) -> None:
        self.host, self.threads = host, threads
        self.bf16 = bf16 and has_pairs(host)
        super().__init__(graph, resident)
        params = ((node, graph.node_params(node)) for node in self.nodes)
        real_bytes = 2 if self.bf16 else 4
        self.weight_bytes = np.array(
            [sum((real_bytes if p.dtype is DType.F32 else 1) * _count(p.shape) for p in found) for _, found in params]
        )

    def _choice(self, index: int, tile: Tile) -> Choice:
        node = self.nodes[index]
        shared = self.threads > 1 and self._firing_ns(node, tile) >= LEAST_SHARED_NS
        threads = self.threads if shared else 1
        return choose_on(self.graph, node, tile.of(node.shape), self.host.kernels, threads, bf16=self.bf16)

    def _firing_ns(self, node: Node, tile: Tile) -> float:
        """Estimated nanoseconds of one thread for a tile."""
        rate = MACS_PER_NS[self.host.kernels][0 if node.type.quant is None else 1]
        moved = sum(value.bytes for value in self.graph.input_types(node)) + node.type.bytes
        total = op_macs(node.op, self.graph.input_shapes(node)) / rate + moved / VALUE_BYTES_PER_NS
        return total / self.spaces[tile].timing.tiles(node.name)

    def least_ns(self) -> float:
        """Estimated time of the fastest cuts."""
        return sum(cost.ns for _, _, cost in self.cuts(None))

    @cached_property
    def all_times(self) -> Matrix:
        """Nanoseconds of every segment at all tile sizes; one thread takes pushed rows one at a time."""
        times = super().all_times
        if not self.resident and self.threads == 1:
            times[:, self.begins, 1:] = np.inf
        return times

    def _times(self, tile: Tile) -> Matrix:
        """Estimated nanoseconds: arithmetic, weights read once a tile, values written and read."""
        pairs, known = self.pairs, self._estimates(tile)
        # Each core keeps its share of the rings, and all weights but those that are dealt out by channels.
        rings = self.rings_at(tile).used + self.scratch(tile)
        room = self.host.l2_bytes * CACHE_SHARE * self.threads
        held = rings <= room
        total = pairs.run(stepped(self.weight_bytes / FAR_BYTES_PER_NS / self.threads))
        total += np.where(
            pairs.run(known.walked) + rings <= room, pairs.run(known.again_near), pairs.run(known.again_far)
        )
        outgrown = np.where(np.array(self.value_bytes) > room, known.far - known.near, 0.0)
        return total + np.where(held, pairs.run(known.near) + pairs.kept(outgrown), pairs.run(known.far))

    def _estimates(self, tile: Tile) -> "_Estimates":
        """What each node takes by itself."""
        computed = range(self.first, self.count)
        workers = self._of_nodes([self._workers(i, tile) for i in computed], 1)
        share = self._of_nodes([self._weight_share(i, tile) for i in computed], 1)
        firings = self._of_nodes([self.spaces[tile].timing.tiles(self.nodes[i].name) for i in computed], 1)
        again = (firings - 1) * self.weight_bytes * share / self.threads
        ns, moved = (
            self.node_times(tile),
            self._of_nodes(2 * np.array(self.value_bytes[self.first :]) / workers[self.first :]),
        )
        return _Estimates(
            self.weight_bytes * share,
            ns + stepped(moved / NEAR_BYTES_PER_NS),
            ns + stepped(moved / FAR_BYTES_PER_NS),
            stepped(again / NEAR_BYTES_PER_NS),
            stepped(again / FAR_BYTES_PER_NS),
        )

    def _of_nodes(self, values: Sequence[Any] | Matrix, given: int = 0) -> Matrix:
        """Numbers of all nodes, `given` for the image and constants."""
        return np.array([*([given] * self.first), *values])

    def _workers(self, index: int, tile: Tile) -> int:
        return 1 if self.choice(index, tile).split is Split.NONE else self.threads

    def _weight_share(self, index: int, tile: Tile) -> int:
        """Share of a node's weights that one thread reads, of as many shares as threads."""
        return 1 if self.choice(index, tile).split is Split.CHANNELS else self.threads

    def _node_time(self, index: int, tile: Tile) -> float:
        node, choice = self.nodes[index], self.choice(index, tile)
        firings = self.spaces[tile].timing.tiles(node.name)
        if choice.kernel is Kernel.LISTS:
            by_lists = lists_ns(self.graph, node, tile.of(node.shape))
            assert by_lists is not None
            return firings * (by_lists + TILE_NS)
        real = node.type.quant is None
        if choice.tiling is not None and choice.tiling.matrix:
            products = dense_depth(self.graph, node, choice.tiling) // value_type(choice.tiling, real).deep
            pixels = -(-node.shape.pixels // firings)
            ns = firings * matrix_ns(node.shape.channels, pixels, products)
            return self._shared(ns, node, choice, tile)
        if choice.kernel is Kernel.WINOGRAD:
            lanes = VECTORS[self.host.kernels].lanes
            ns = firings * squares_ns(self.graph, node, tile.of(node.shape), lanes)
            return self._shared(ns, node, choice, tile)
        rate = MACS_PER_NS[self.host.kernels][0 if real else 1]
        if node.type.quant is None and choice.tiling is not None and choice.tiling.halves:
            rate *= PAIRS
        if choice.kernel in (Kernel.DEPTHWISE, Kernel.DEPTHWISE_TILES):
            rate *= DEPTHWISE_SHARE
        return self._shared(op_macs(node.op, self.graph.input_shapes(node)) / rate, node, choice, tile)

    def _shared(self, ns: float, node: Node, choice: Choice, tile: Tile) -> float:
        """What all threads take for so much work of one."""
        firings = self.spaces[tile].timing.tiles(node.name)
        if choice.split is Split.NONE:
            return ns + firings * TILE_NS
        return ns / (self.threads * self._even(node, choice, tile)) + firings * (TILE_NS + WAIT_NS)

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
    """By node, at one tile size: bytes of weights that a thread walks, times threads; nanoseconds of the work with its
    values near and far, and of reading its weights again for every tile but the first.
    """

    walked: Matrix
    near: Matrix
    far: Matrix
    again_near: Matrix
    again_far: Matrix


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total
