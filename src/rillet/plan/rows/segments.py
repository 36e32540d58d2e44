"""What a segment takes, for all pairs of cut points at once: bytes of its maps, rings and scratch memory, and time."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np

from rillet.errors import Unsupported
from rillet.ir.facts import is_constant, is_given, is_input
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import op_macs
from rillet.plan.rows.arena import ALIGNMENT, align
from rillet.plan.rows.inputs import early_count, in_order, of_constants
from rillet.plan.rows.kernels import Choice, choose
from rillet.plan.rows.pairs import Matrix, Pairs
from rillet.plan.rows.plan import BufferKind, Kernel, Planes, stored_bytes
from rillet.plan.rows.space import Space
from rillet.plan.rows.timing import Tile

TILES = (1, 4, 8)
"""Pixels of the tiles that a plan tries: one pixel takes the least memory, more take less time."""
DENSE_NS_PER_MAC = {1: 0.058, 4: 0.049, 8: 0.048}
DEPTHWISE_NS_PER_MAC = 0.57
"""Rates of the portable kernels on one x86-64 core (bench/kernels.py prints them); only their ratios matter here."""
FIRING_NS = 12.0
MAP_NS_PER_BYTE = 0.1
"""Orders of magnitude, not measured: what a firing costs by itself, and what writing or reading a full tensor costs."""
MAX_NODES = 3000
"""Of a network that is planned: what all segments take is kept, eight bytes a pair of cut points and tile size."""
NS_STEPS = 2.0**10
"""Times are multiples of a part of a nanosecond: then sums of them are exact, and the same in any order."""


def stepped(ns: Matrix) -> Matrix:
    """Times as multiples of the step."""
    return np.rint(ns * NS_STEPS) / NS_STEPS


@dataclass(frozen=True, slots=True)
class Cost:
    """Memory and time of one segment at one tile size."""

    bytes: int
    ns: float
    driver: str
    tile: Tile
    overlay: int | None
    """How far before the driver's map the output map begins, or None where they lie apart."""
    saved: int
    """Bytes that the overlay saves."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Bytes of those rings of every segment that do not depend on where it begins."""

    aligned: Matrix
    """What they take in the arena."""
    used: Matrix
    """Bytes that hold values."""
    unsettled: list[list[int]]
    """By start, the values whose rings depend on it."""


@dataclass(frozen=True, slots=True)
class Rings:
    """Bytes of the rings of every segment."""

    least: Matrix
    """What all take in the arena with the driver that needs the least."""
    used: Matrix
    """Bytes that hold values, with the first driver there is."""


class Segments:
    """Segments of one graph and what they take under the portable kernels; those of other kernels override it.

    A segment is the nodes start to stop - 1 in the graph's order. It has a driver: an input from which all its nodes
    follow, and whose pixels set the pace.
    """

    tiles: tuple[Tile, ...] = tuple(Tile(n) for n in TILES)
    """Tile sizes to try, the one that takes the least memory first."""
    alignment = ALIGNMENT
    planes: Mapping[str, Planes] = MappingProxyType({})
    """How the rows of those values lie that are kept channel by channel."""
    copies_input = False
    """Whether pushed rows are stored in another way than the caller's."""
    overlays = True
    """Whether outputs may lie over the spent part of their inputs."""

    def __init__(self, graph: Graph, resident: bool) -> None:
        self.graph = graph = in_order(graph)
        self.resident = resident
        self.nodes = graph.nodes
        self.first = sum(is_given(node.op) for node in self.nodes)
        self.begins = self.first + early_count(graph)
        """Where the image's rows are pushed in: before it are layers that follow from other inputs alone."""
        self.count = len(graph.nodes)
        if not is_input(self.nodes[0].op):
            raise Unsupported(f"{graph.name}: must have an input, and first")
        if any(not is_given(node.op) for node in self.nodes[: self.first]):
            raise Unsupported(f"{graph.name}: constants must come before the layers")
        if any(self.graph.by_name[name] in self.nodes[: self.first] for name in graph.outputs):
            raise Unsupported(f"{graph.name}: outputs must be computed, got an input or a constant")
        if self.count > MAX_NODES:
            raise Unsupported(f"{graph.name}: must have at most {MAX_NODES:,} nodes to be planned, got {self.count:,}")
        if self.count == self.first:
            raise Unsupported(f"{graph.name}: must have a layer, got an input alone")
        self.image = self.nodes[0].name
        if self.begins == self.count:
            raise Unsupported(f"{graph.name}: first input must be read by a layer, got {self.image}, which none reads")
        self.position = {node.name: i for i, node in enumerate(self.nodes)}
        self.last_use = {
            node.name: max((self.position[n.name] for n in graph.consumers[node.name]), default=i)
            for i, node in enumerate(self.nodes)
        }
        for name in graph.outputs:
            self.last_use[name] = self.count
        self.last = [self.last_use[node.name] for node in self.nodes]
        self.map_size = [self.align(self.stored_bytes(n.name, n.shape.pixels)) for n in self.nodes]
        self.value_bytes = [node.type.bytes for node in self.nodes]
        self.spaces = {tile: Space(graph, tile, self.copies_input) for tile in self.tiles}
        self.pairs = Pairs(self.last)
        self.drivers_at = self._find_drivers()
        if of_constants(graph):
            raise Unsupported(f"{graph.name}: every layer must follow from the image, got one of constants alone")
        self.choice = cache(self._choice)
        self.settled_at = cache(self._settled)
        self.rings_at = cache(self._rings)
        self.fixed = cache(self._fixed)
        self.apart = cache(self._apart)
        self.times = cache(self._times)
        self.cost = cache(self._cost)

    def _choice(self, index: int, tile: Tile) -> Choice:
        return choose(self.graph, self.nodes[index], tile.of(self.nodes[index].shape))

    def choices(self, tile: Tile) -> list[Choice]:
        """The kernels of all nodes that compute."""
        return [self.choice(i, tile) for i in range(self.first, self.count)]

    def align(self, size: int) -> int:
        """`size` as a buffer takes it in the arena."""
        return align(size, self.alignment)

    def stored_bytes(self, name: str, pixels: int) -> int:
        """Bytes of so many pixels of a value."""
        return stored_bytes(pixels, self.graph.by_name[name].type.pixel_bytes, self.planes.get(name))

    # -- drivers ---------------------------------------------------------------------------------------------------

    def _find_drivers(self) -> list[list[tuple[str, int]]]:
        """For each start, the inputs from which a segment can follow, each with the last stop up to which all does."""
        constant = {node.name for node in self.nodes[: self.first] if is_constant(node.op)}
        inputs = [[n for n in dict.fromkeys(node.inputs) if n not in constant] for node in self.nodes]
        orphans: list[list[int]] = [[] for _ in self.nodes]
        for i in range(self.first, self.count):
            newest = max((self.position[n] for n in inputs[i]), default=-1)
            for start in range(max(newest + 1, self.first), i + 1):
                orphans[start].append(i)  # reads nothing made in a segment that begins there
        found: list[list[tuple[str, int]]] = []
        for start, lost in enumerate(orphans):
            ends = ((d, next((i for i in lost if d not in inputs[i]), self.count)) for d in inputs[start])
            found.append([] if start < self.first else self._allowed(start, [(d, e) for d, e in ends if e > start]))
        return found

    def _allowed(self, start: int, found: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Of the drivers of segments from `start` on and how far they reach, those that pushed rows allow: they pass
        once, through the segment at `begins`.
        """
        if self.resident or (start > self.begins and self.last[0] < start):
            return found
        if start < self.begins:
            return [(driver, min(end, self.begins)) for driver, end in found]
        return [(driver, end) for driver, end in found if start == self.begins and driver == self.image]

    def drivers(self, start: int, stop: int) -> list[str]:
        """Inputs from which every node of the segment follows; none where the segment cannot run."""
        if start == self.begins and not self.resident and self.last[0] >= stop:
            return []
        return [driver for driver, end in self.drivers_at[start] if stop <= end]

    def driven(self) -> Matrix:
        """True for the segments that can run."""
        out = np.zeros((self.count + 1, self.count + 1), np.bool_)
        for start, found in enumerate(self.drivers_at):
            begin = max(start, self.last[0]) if start == self.begins and not self.resident else start
            out[begin + 1 : max((end for _, end in found), default=0) + 1, start] = True
        return out

    # -- bytes -----------------------------------------------------------------------------------------------------

    def maps_through(self, start: int, stop: int) -> list[str]:
        """Values that lie whole in the arena while the segment runs: made before and read in it or later, or made in
        it and read later.
        """
        before = [i for i in range(start) if self.last[i] >= start]
        inside = [i for i in range(start, stop) if self.last[i] >= stop]
        return [self.nodes[i].name for i in (*before, *inside) if self._in_arena(self.nodes[i])]

    def _in_arena(self, node: Node) -> bool:
        return not is_constant(node.op) and (self.resident or node.name != self.image)

    def rings(self, start: int, stop: int, tile: Tile, driver: str) -> dict[str, tuple[int, int]]:
        """Pixels and bytes of the ring of every value that lives inside the segment only (a pushed input included)."""
        names = [node.name for node in self.nodes[start:stop] if self.last_use[node.name] < stop]
        if driver == self.image and not self.resident:
            names.append(driver)
        out: dict[str, tuple[int, int]] = {}
        for name in names:
            pixels = self.spaces[tile].pixels(name, start, driver)
            if pixels:
                out[name] = (pixels, self.stored_bytes(name, pixels))
        return out

    def _settled(self, tile: Tile) -> Settled:
        space = self.spaces[tile]
        until, unsettled = np.zeros(self.count, np.int64), list[list[int]]([] for _ in self.nodes)
        sizes = np.zeros(self.count, np.int64)
        for i in range(self.first, self.count):
            if self.last[i] == self.count:
                continue
            place = space.settled(self.nodes[i].name)
            if place >= self.first:
                sizes[i], until[i] = self.ring(self.nodes[i].name, self.first, tile, self.image), place
            for start in range(max(place + 1, self.first), i + 1):
                unsettled[start].append(i)
        if not self.resident:
            unsettled[self.begins].append(0)
        aligned = self.pairs.ended(-(-sizes // self.alignment) * self.alignment, until)
        return Settled(aligned, self.pairs.ended(sizes, until), unsettled)

    def _rings(self, tile: Tile) -> Rings:
        settled = self.settled_at(tile)
        least, used = settled.aligned.copy(), settled.used.copy()
        for start, values in enumerate(settled.unsettled):
            if values:
                self._add_unsettled(start, values, tile, least, used)
        return Rings(least, used)

    def _add_unsettled(self, start: int, values: list[int], tile: Tile, least: Matrix, used: Matrix) -> None:
        """Adds the rings of those values, whose size depends on where the segment begins and what drives it."""
        best = np.full(self.count + 1, np.iinfo(np.int64).max)
        first = np.zeros(self.count + 1, np.int64)
        done = start + 1
        for driver, end in self.drivers_at[start]:
            marks = np.zeros((2, self.count + 1), np.int64)
            for i in values:
                if self.last[i] < end:
                    size = self.ring(self.nodes[i].name, start, tile, driver)
                    marks[:, self.last[i] + 1] += (size, self.align(size))
            own, aligned = np.cumsum(marks, axis=1)
            best[: end + 1] = np.minimum(best[: end + 1], aligned[: end + 1])
            first[done : end + 1] = own[done : end + 1]
            done = max(done, end + 1)
        best[done:] = 0
        used[:, start] += first
        least[:, start] += best

    def bytes_apart(self, start: int, stop: int, tile: Tile, driver: str) -> int:
        """Bytes of one segment under one of its drivers, its output apart from it."""
        settled = self.settled_at(tile)
        values = (i for i in settled.unsettled[start] if self.last[i] < stop)
        more = sum(self.align(self.ring(self.nodes[i].name, start, tile, driver)) for i in values)
        return int(self.fixed(tile)[stop, start] + settled.aligned[stop, start]) + more

    def ring(self, name: str, start: int, tile: Tile, driver: str) -> int:
        """Bytes of the ring of a value in a segment that begins at `start`, under one of its drivers."""
        return self.stored_bytes(name, self.spaces[tile].pixels(name, start, driver))

    def scratch(self, tile: Tile) -> Matrix:
        """Bytes of scratch memory: accumulators of each global pool, and one im2col buffer that all kernels share."""
        shared, sums = np.zeros((2, self.count), np.int64)
        for i, choice in enumerate(self.choices(tile), self.first):
            if choice.scratch is BufferKind.SUMS:
                sums[i] = self.align(choice.scratch_bytes)
            else:
                shared[i] = choice.scratch_bytes
        return -(-self.pairs.most(shared) // self.alignment) * self.alignment + self.pairs.run(sums)

    def maps(self) -> Matrix:
        """Bytes of the full tensors that live through a segment."""
        sizes = [size if self._in_arena(n) else 0 for n, size in zip(self.nodes, self.map_size, strict=True)]
        return self.pairs.before(sizes)[None, :] + self.pairs.kept(sizes)

    def _apart(self, tile: Tile) -> Matrix:
        """Bytes of every segment whose output lies apart from its driver, with the driver that needs the least."""
        return self.fixed(tile) + self.rings_at(tile).least

    def _fixed(self, tile: Tile) -> Matrix:
        """Bytes of every segment but its rings."""
        return self.maps() + self.scratch(tile)

    def most_saved(self) -> Matrix:
        """What an overlay can save of a segment at most: the smaller of its driver and its output."""
        saved = np.zeros((self.count + 1, self.count + 1), np.int64)
        if not self.overlays:
            return saved
        lone = self.pairs.kept([1] * self.count) == 1
        ends = np.array([False, *(last > i for i, last in enumerate(self.last))])  # the last value of the segment stays
        outs = np.array([0, *(self.align(size) for size in self.value_bytes)])
        for start, found in enumerate(self.drivers_at):
            for driver, end in found:
                begin = self.last_use[driver] + 1
                if end >= begin and (self.resident or driver != self.image):
                    ahead = self.align(self.value_bytes[self.position[driver]])
                    here = slice(begin, end + 1)
                    made = np.where(lone[here, start] & ends[here], np.minimum(outs[here], ahead), 0)
                    saved[here, start] = np.maximum(saved[here, start], made)
        return saved

    # -- one segment -----------------------------------------------------------------------------------------------

    def _cost(self, start: int, stop: int, tile: Tile) -> Cost | None:
        drivers = self.drivers(start, stop)
        if not drivers:
            return None
        ns = float(self.times(tile)[stop, start])
        best: Cost | None = None
        for driver in drivers:
            overlay, saved = self.overlay(start, stop, tile, driver)
            total = self.bytes_apart(start, stop, tile, driver) - saved
            if best is None or total < best.bytes:
                best = Cost(total, ns, driver, tile, overlay, saved)
        return best

    def overlay(self, start: int, stop: int, tile: Tile, driver: str) -> tuple[int | None, int]:
        """Bytes by which the segment's only output may begin before the driver's tensor, and the bytes saved."""
        out, source = self.nodes[stop - 1], self.graph.by_name[driver]
        if not self.overlays:
            return None, 0
        if self.last_use[driver] >= stop or (driver == self.image and not self.resident):
            return None, 0
        if self.last_use[out.name] < stop or sum(last >= stop for last in self.last[start:stop]) != 1:
            return None, 0
        distance = self.spaces[tile].overlay(start, stop, driver)
        if distance is None:
            return None, 0
        ahead, behind = self.align(source.type.bytes), self.align(out.type.bytes)
        saved = ahead + behind - max(ahead + distance, behind)
        return (distance, saved) if saved > 0 else (None, 0)

    # -- time ------------------------------------------------------------------------------------------------------

    def _times(self, tile: Tile) -> Matrix:
        """Estimated nanoseconds of every segment on a host."""
        return self.pairs.run(self.node_times(tile)) + stepped(2 * MAP_NS_PER_BYTE * self.pairs.kept(self.value_bytes))

    def node_times(self, tile: Tile) -> Matrix:
        """Estimated nanoseconds of each node."""
        return stepped(np.array([0.0] * self.first + [self._node_time(i, tile) for i in range(self.first, self.count)]))

    def _node_time(self, index: int, tile: Tile) -> float:
        node = self.nodes[index]
        depthwise = self.choice(index, tile).kernel is Kernel.DEPTHWISE
        rate = DEPTHWISE_NS_PER_MAC if depthwise else DENSE_NS_PER_MAC[tile.pixels]
        macs = op_macs(node.op, self.graph.input_shapes(node))
        return macs * rate + self.spaces[tile].timing.tiles(node.name) * FIRING_NS
