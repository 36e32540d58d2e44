"""The row planner: segments that stream through ring buffers, full tensors between them, cut by dynamic programming.

A segment needs the full tensors that live through it (its output may overwrite the consumed part of its input), a ring
buffer for every value inside, and scratch memory. Cuts may fall anywhere; the best sequence of cuts is exact for this
cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

from rillet.errors import TargetError, Unsupported
from rillet.ir.facts import is_constant, is_given, is_input
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import op_macs
from rillet.plan.rows.arena import ALIGNMENT, Chain, Piece, align, place
from rillet.plan.rows.kernels import Choice, choose
from rillet.plan.rows.plan import Buffer, BufferKind, Kernel, Planes, RowPlan, Segment, Stage, stored_bytes
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
ROUNDED = 1e-12
"""Times that differ by at most this share are equal: other cuts add the same times in another order."""


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


def plan_rows(
    graph: Graph,
    *,
    ram_bytes: int | None = None,
    objective: str = "memory",
    resident: bool = False,
    slower: float | None = None,
) -> RowPlan:
    """Cuts `graph` into streaming segments.

    objective: `memory` for the least arena (then the least time in it), `time` for the least time within `ram_bytes`.
    resident: the input image lies in the arena; else its rows are pushed in.
    slower: instead, the least memory at an estimated time of at most 1 + `slower` times the fastest plan's.
    Raises TargetError where the budget cannot be met, Unsupported where a node has no kernel.
    """
    if objective not in ("memory", "time"):
        raise TargetError(f"--objective must be memory or time, got {objective!r}")
    planner = RowPlanner(graph, resident)
    if slower is not None and ram_bytes is None:
        return planner.smallest(slower)
    tightest = planner.tightest()
    if ram_bytes is not None and tightest.arena_bytes > ram_bytes:
        raise TargetError(
            f"{graph.name}: --ram must be at least {tightest.arena_bytes} bytes for this network, got {ram_bytes}"
        )
    if slower is not None:
        return planner.smallest(slower)
    if objective == "memory":
        return tightest
    return planner.plan(None) if ram_bytes is None else planner.within(ram_bytes)


def least_row_bytes(graph: Graph, *, resident: bool = False) -> int:
    """A bound below every row plan's arena: the smallest peak of any cut, less what alignment can add to its end.

    Takes a sixth of the time of `plan_rows`; raises Unsupported as it does.
    """
    return RowPlanner(graph, resident).least_bytes() - (ALIGNMENT - 1)


def plan_layerwise(graph: Graph) -> RowPlan:
    """Layer-by-layer execution: every layer a segment, full tensors between them, no overlays."""
    planner = RowPlanner(graph, resident=True)
    return planner.build("layerwise", planner.layers())


def plan_one_segment(graph: Graph, tile: int) -> RowPlan:
    """The whole network as one segment at one tile size, the image resident (to measure kernels)."""
    planner = RowPlanner(graph, resident=True)
    cost = planner.cost(planner.first, planner.count, Tile(tile))
    if cost is None:
        raise Unsupported(f"{graph.name}: cannot run as one segment")
    return planner.assemble("rows", [(planner.first, planner.count, cost)])


Cut = tuple[int, int, Cost]
"""A segment: first node, one past the last node, and what it takes."""


class RowPlanner:
    """Cuts of one graph and their cost, under the portable kernels; a planner for a host overrides the cost model."""

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
        self.graph = graph
        self.resident = resident
        self.nodes = graph.nodes
        self.first = sum(is_given(node.op) for node in self.nodes)
        self.count = len(graph.nodes)
        if len(graph.input_nodes) != 1 or not is_input(self.nodes[0].op):
            raise Unsupported(f"{graph.name}: must have one input, and first, got {len(graph.input_nodes)}")
        if any(not is_given(node.op) for node in self.nodes[: self.first]):
            raise Unsupported(f"{graph.name}: constants must come before the layers")
        if any(self.graph.by_name[name] in self.nodes[: self.first] for name in graph.outputs):
            raise Unsupported(f"{graph.name}: outputs must be computed, got an input or a constant")
        if self.count == self.first:
            raise Unsupported(f"{graph.name}: must have a layer, got an input alone")
        self.position = {node.name: i for i, node in enumerate(self.nodes)}
        self.last_use = {
            node.name: max((self.position[n.name] for n in graph.consumers[node.name]), default=i)
            for i, node in enumerate(self.nodes)
        }
        for name in graph.outputs:
            self.last_use[name] = self.count
        self.last = [self.last_use[node.name] for node in self.nodes]
        self.ending: list[list[int]] = [[] for _ in range(self.count + 1)]
        for i, last in enumerate(self.last):
            self.ending[last].append(i)
        self.map_size = {n.name: self.align(self.stored_bytes(n.name, n.shape.pixels)) for n in self.nodes}
        self.spaces = {tile: Space(graph, tile, self.copies_input) for tile in self.tiles}
        self._rings: dict[tuple[int, Tile, str], list[tuple[int, int]]] = {}
        self._followers: dict[tuple[int, str], int] = {}
        self._scratch: dict[tuple[int, Tile], list[tuple[int, int]]] = {}
        self._times: dict[Tile, list[float]] = {tile: [0.0] * self.first for tile in self.tiles}
        self.cost = cache(self._cost)
        self.drivers = cache(self._drivers)
        self.maps_through = cache(self._maps_through)
        self.choice = cache(self._choice)

    def _choice(self, index: int, tile: Tile) -> Choice:
        return choose(self.graph, self.nodes[index], tile.of(self.nodes[index].shape))

    def align(self, size: int) -> int:
        """`size` as a buffer takes it in the arena."""
        return align(size, self.alignment)

    # -- one segment -----------------------------------------------------------------------------------------------

    def inputs_of(self, start: int, stop: int) -> list[str]:
        """Values made before the segment that it reads."""
        names = dict.fromkeys(n for node in self.nodes[start:stop] for n in node.inputs)
        outside = (name for name in names if self.position[name] < start)
        return [name for name in outside if not is_constant(self.graph.by_name[name].op)]

    def _maps_through(self, start: int, stop: int) -> list[str]:
        """Values that lie whole in the arena while the segment runs: made before and read in it or later, or made in
        it and read later.
        """
        before = [i for i in range(start) if self.last[i] >= start]
        inside = [i for i in range(start, stop) if self.last[i] >= stop]
        return [self.nodes[i].name for i in (*before, *inside) if self._in_arena(self.nodes[i])]

    def _in_arena(self, node: Node) -> bool:
        return not is_constant(node.op) and (self.resident or not is_input(node.op))

    def _drivers(self, start: int, stop: int) -> list[str]:
        """Inputs from which every node of the segment follows; none where the segment cannot run."""
        inputs = self.inputs_of(start, stop)
        if not self.resident:
            # Pushed rows pass once, through the first segment.
            image = self.nodes[0].name
            if start > self.first and self.last_use[image] >= start:
                return []
            if start == self.first and (self.last_use[image] >= stop or inputs != [image]):
                return []
        return [driver for driver in inputs if self.follows(start, stop, driver)]

    def follows(self, start: int, stop: int, driver: str) -> bool:
        """True where every node of the segment has the driver among its ancestors."""
        key = (start, driver)
        if key not in self._followers:
            self._followers[key] = self._last_follower(start, driver)
        return stop <= self._followers[key]

    def _last_follower(self, start: int, driver: str) -> int:
        """One past the last node from `start` on up to which all follow from the driver."""
        reached = {driver}
        for i in range(start, self.count):
            if reached.isdisjoint(self.nodes[i].inputs):
                return i
            reached.add(self.nodes[i].name)
        return self.count

    def _cost(self, start: int, stop: int, tile: Tile) -> Cost | None:
        drivers = self.drivers(start, stop)
        if not drivers:
            return None
        base = self.map_bytes(start, stop)
        best: Cost | None = None
        for driver in drivers:
            size = base + self.scratch(start, stop, tile) + self.ring_bytes(start, stop, tile, driver)[1]
            overlay, saved = self.overlay(start, stop, tile, driver)
            if best is None or size - saved < best.bytes:
                best = Cost(size - saved, self.time(start, stop, tile), driver, tile, overlay, saved)
        return best

    def overlay(self, start: int, stop: int, tile: Tile, driver: str) -> tuple[int | None, int]:
        """Bytes by which the segment's only output may begin before the driver's tensor, and the bytes saved."""
        out, source = self.nodes[stop - 1], self.graph.by_name[driver]
        if not self.overlays:
            return None, 0
        if self.last_use[driver] >= stop or (is_input(source.op) and not self.resident):
            return None, 0
        if self.last_use[out.name] < stop or self.made_for_later(start, stop) != 1:
            return None, 0
        distance = self.spaces[tile].overlay(start, stop, driver)
        if distance is None:
            return None, 0
        ahead, behind = self.align(source.type.bytes), self.align(out.type.bytes)
        saved = ahead + behind - max(ahead + distance, behind)
        return (distance, saved) if saved > 0 else (None, 0)

    def made_for_later(self, start: int, stop: int) -> int:
        """Number of values of the segment that are read after it."""
        return sum(last >= stop for last in self.last[start:stop])

    def map_bytes(self, start: int, stop: int) -> int:
        """Bytes of the full tensors that live through the segment."""
        return sum(self.map_size[name] for name in self.maps_through(start, stop))

    def rings(self, start: int, stop: int, tile: Tile, driver: str) -> dict[str, tuple[int, int]]:
        """Pixels and bytes of the ring of every value that lives inside the segment only (a pushed input included)."""
        names = [node.name for node in self.nodes[start:stop] if self.last_use[node.name] < stop]
        if driver == self.nodes[0].name and not self.resident:
            names.append(driver)
        out: dict[str, tuple[int, int]] = {}
        for name in names:
            pixels = self.spaces[tile].pixels(name, start, driver)
            if pixels:
                out[name] = (pixels, self.stored_bytes(name, pixels))
        return out

    def ring_bytes(self, start: int, stop: int, tile: Tile, driver: str) -> tuple[int, int]:
        """Bytes of all `rings` of a segment, and the bytes that they take in the arena."""
        # For each end of the segment, from `start` on: a later one has the rings of an earlier one, and some more.
        totals = self._rings.setdefault((start, tile, driver), [])
        if not totals:
            pushed = driver == self.nodes[0].name and not self.resident
            size = self._ring(driver, start, tile, driver) if pushed else 0
            totals.append((size, self.align(size)))
        for end in range(start + len(totals) - 1, stop):
            size, aligned = totals[-1]
            for i in self.ending[end]:
                if i >= start:
                    ring = self._ring(self.nodes[i].name, start, tile, driver)
                    size, aligned = size + ring, aligned + self.align(ring)
            totals.append((size, aligned))
        return totals[stop - start]

    def _ring(self, name: str, start: int, tile: Tile, driver: str) -> int:
        return self.stored_bytes(name, self.spaces[tile].pixels(name, start, driver))

    def stored_bytes(self, name: str, pixels: int) -> int:
        """Bytes of so many pixels of a value."""
        return stored_bytes(pixels, self.graph.by_name[name].type.pixel_bytes, self.planes.get(name))

    def scratch(self, start: int, stop: int, tile: Tile) -> int:
        """Bytes of scratch memory: accumulators of each global pool, and one im2col buffer that all kernels share."""
        totals = self._scratch.setdefault((start, tile), [(0, 0)])
        for i in range(start + len(totals) - 1, stop):
            (shared, sums), choice = totals[-1], self.choice(i, tile)
            if choice.scratch is BufferKind.SUMS:
                sums += self.align(choice.scratch_bytes)
            else:
                shared = max(shared, choice.scratch_bytes)
            totals.append((shared, sums))
        shared, sums = totals[stop - start]
        return self.align(shared) + sums

    def time(self, start: int, stop: int, tile: Tile) -> float:
        """Estimated nanoseconds of the segment on a host."""
        kept = sum(self.nodes[i].type.bytes for i in range(start, stop) if self.last[i] >= stop)
        times = self._times[tile]
        times += [self._node_time(i, tile) for i in range(len(times), stop)]
        return sum(times[start:stop]) + 2 * kept * MAP_NS_PER_BYTE

    def _node_time(self, index: int, tile: Tile) -> float:
        node = self.nodes[index]
        depthwise = self.choice(index, tile).kernel is Kernel.DEPTHWISE
        rate = DEPTHWISE_NS_PER_MAC if depthwise else DENSE_NS_PER_MAC[tile.pixels]
        macs = op_macs(node.op, self.graph.input_shapes(node))
        return macs * rate + self.spaces[tile].timing.tiles(node.name) * FIRING_NS

    def layers(self) -> list[Cut]:
        """Every layer by itself, nothing overlaid; none where pushed rows cannot go through the network like that."""
        cuts: list[Cut] = []
        for i in range(self.first, self.count):
            drivers, tile = self.drivers(i, i + 1), self.tiles[-1]
            if not drivers:
                return []
            size = self.map_bytes(i, i + 1) + self.scratch(i, i + 1, tile)
            size += self.ring_bytes(i, i + 1, tile, drivers[0])[1]
            cuts.append((i, i + 1, Cost(size, self.time(i, i + 1, tile), drivers[0], tile, None, 0)))
        return cuts

    # -- all segments ----------------------------------------------------------------------------------------------

    def floor(self, start: int, stop: int) -> int:
        """Bytes that a segment takes at least: its largest map (an overlay may save the others)."""
        return max((self.map_size[name] for name in self.maps_through(start, stop)), default=0)

    def least_bytes(self) -> int:
        """The smallest peak that any cut reaches."""
        best: list[float] = [float("inf")] * (self.count + 1)
        best[self.first] = 0
        for stop in range(self.first + 1, self.count + 1):
            for start in range(stop - 1, self.first - 1, -1):
                if best[start] < best[stop] and self.floor(start, stop) < best[stop]:
                    cost = self.cost(start, stop, self.tiles[0])
                    if cost is not None:
                        best[stop] = min(best[stop], max(best[start], cost.bytes))
        if best[self.count] == float("inf"):
            raise Unsupported(
                f"{self.graph.name}: rows cannot be pushed into this network; plan it with the image resident"
            )
        return int(best[self.count])

    def plan(self, bound: int | None) -> RowPlan:
        """The fastest cut whose every segment keeps within `bound` bytes (the least, where none does)."""
        return self.build("rows", self.cuts(bound))

    def tightest(self) -> RowPlan:
        """The plan of the least arena: that of the least peak, or layer by layer where first fit leaves fewer gaps."""
        made, layers = self.plan(self.least_bytes()), self.layers()
        apart = [self.build("rows", layers)] if layers else []
        return min([made, *apart], key=lambda plan: plan.arena_bytes)

    def within(self, ram_bytes: int) -> RowPlan:
        """The fastest plan whose arena has at most so many bytes; the smallest found, where none has."""
        best, bound, least = self.plan(ram_bytes), ram_bytes, self.least_bytes()
        while best.arena_bytes > ram_bytes and bound > least:
            # First fit left a gap between the buffers: cut for a little less.
            bound = max(least, int(bound * 0.98))
            best = min(best, self.plan(bound), key=lambda plan: plan.arena_bytes)
        return best

    def smallest(self, slower: float) -> RowPlan:
        """The plan of the least peak whose estimated time is at most 1 + `slower` times the fastest's."""
        return self.build("rows", self.smallest_cuts(slower))

    def smallest_cuts(self, slower: float) -> list[Cut]:
        """Its cuts.

        A higher bound on bytes never takes longer, so the least one is found by halving.
        """
        fastest = self.cuts(None)
        allowed = sum(cost.ns for _, _, cost in fastest) * (1 + slower) * (1 + ROUNDED)
        low, high, best = self.least_bytes(), max(cost.bytes for _, _, cost in fastest), fastest
        while low < high:
            middle = (low + high) // 2
            made = self.cuts(middle)
            if sum(cost.ns for _, _, cost in made) <= allowed:
                best, high = made, max(cost.bytes for _, _, cost in made)
            else:
                low = middle + 1
        return best

    def cuts(self, bound: int | None) -> list[Cut]:
        """The cuts of the fastest plan whose every segment keeps within `bound` bytes."""
        limit = max(bound, self.least_bytes()) if bound is not None else None
        best: list[tuple[float, int, Cost | None]] = [(float("inf"), 0, None)] * (self.count + 1)
        best[self.first] = (0.0, 0, None)
        for stop in range(self.first + 1, self.count + 1):
            for start in range(self.first, stop):
                if best[start][0] >= best[stop][0] or (limit is not None and self.floor(start, stop) > limit):
                    continue
                cost = self.fastest(start, stop, limit)
                if cost is not None:
                    best[stop] = min(best[stop], (best[start][0] + cost.ns, start, cost), key=lambda b: b[0])
        cuts: list[Cut] = []
        stop = self.count
        while stop > self.first:
            _, start, cost = best[stop]
            assert cost is not None
            cuts.append((start, stop, cost))
            stop = start
        return cuts[::-1]

    def fastest(self, start: int, stop: int, limit: int | None) -> Cost | None:
        """The tile size that takes the least time within `limit` bytes; larger ones are faster here."""
        for tile in reversed(self.tiles):
            cost = self.cost(start, stop, tile)
            if cost is None:
                return None
            if limit is None or cost.bytes <= limit:
                return cost
        return None

    def build(self, kind: str, cuts: list[Cut]) -> RowPlan:
        """The plan of these cuts, with offsets.

        Overlays tie the maps of successive segments together, so that gaps can open elsewhere. Where the arena is
        larger than its fullest segment, those overlays are undone whose segments have room for the map apart.
        """
        made = self.assemble(kind, cuts)
        for i, (start, stop, cost) in enumerate(cuts):
            if made.arena_bytes <= max(segment.peak_bytes for segment in made.segments):
                break
            if cost.overlay is not None and cost.bytes + cost.saved < made.arena_bytes:
                apart = replace(cost, bytes=cost.bytes + cost.saved, overlay=None, saved=0)
                trial = [*cuts[:i], (start, stop, apart), *cuts[i + 1 :]]
                other = self.assemble(kind, trial)
                if other.arena_bytes < made.arena_bytes:
                    made, cuts = other, trial
        return made

    def assemble(self, kind: str, cuts: list[Cut]) -> RowPlan:
        """The plan of these cuts with these overlays."""
        segments: list[Segment] = []
        pieces: dict[str, Piece] = {}
        overlays: list[tuple[str, str, int]] = []
        for index, (start, stop, cost) in enumerate(cuts):
            for name in self.maps_through(start, stop):
                value = self.graph.by_name[name]
                old = pieces.get(name)
                first = index if old is None else old.first
                pieces[name] = self.piece(
                    name, BufferKind.MAP, value.shape.pixels, value.type.pixel_bytes, first, index
                )
            for name, (pixels, _) in self.rings(start, stop, cost.tile, cost.driver).items():
                size = self.graph.by_name[name].type.pixel_bytes
                pieces[name] = self.piece(name, BufferKind.RING, pixels, size, index, index)
            segments.append(self.segment(index, start, stop, cost, pieces))
            if cost.overlay is not None:
                overlays.append((cost.driver, self.nodes[stop - 1].name, cost.overlay))
        chains = _chains(pieces, overlays)
        buffers: dict[str, Buffer] = {}
        for name, offset in place(chains).items():
            p = pieces[name]
            buffers[name] = Buffer(name, p.kind, p.pixels, p.pixel_bytes, offset, p.first, p.last, p.planes)
        return self.finish(RowPlan(kind, self.graph, tuple(segments), buffers, self.resident))

    def piece(self, name: str, kind: BufferKind, pixels: int, pixel_bytes: int, first: int, last: int) -> Piece:
        """A buffer to be placed."""
        values = kind in (BufferKind.MAP, BufferKind.RING)
        planes = self.planes.get(name) if values else None
        return Piece(name, kind, pixels, pixel_bytes, first, last, self.alignment, planes)

    def own_name(self, name: str) -> str:
        """`name` for a scratch buffer, or one like it that no value has."""
        while name in self.graph.by_name:
            name += "_"
        return name

    def finish(self, plan: RowPlan) -> RowPlan:
        """What there is to say of the plan as a whole."""
        return plan

    def segment(self, index: int, start: int, stop: int, cost: Cost, pieces: dict[str, Piece]) -> Segment:
        """The stages of one cut; their scratch memory is added to `pieces`."""
        stages: list[Stage] = []
        shared = 0
        for i in range(start, stop):
            node, choice = self.nodes[i], self.choice(i, cost.tile)
            scratch = None
            if choice.scratch_bytes and choice.scratch is BufferKind.SUMS:
                scratch = self.own_name(f"{node.name}.sums")
                pieces[scratch] = self.piece(scratch, BufferKind.SUMS, 1, choice.scratch_bytes, index, index)
            elif choice.scratch_bytes:
                scratch = self.own_name(f"scratch{index}")
                shared = max(shared, choice.scratch_bytes)
                pieces[scratch] = self.piece(scratch, BufferKind.SCRATCH, 1, shared, index, index)
            tile = cost.tile.of(node.shape)
            made_by = (choice.kernel, choice.packing, tile, node.name, scratch, choice.tiling, choice.split)
            stages.append(Stage(node.name, *made_by))
        pixels = cost.tile.of(self.graph.by_name[cost.driver].shape) if cost.tile.rows else cost.tile.pixels
        return Segment(cost.driver, pixels, tuple(stages), cost.bytes, cost.tile.rows)


def _chains(pieces: dict[str, Piece], overlays: list[tuple[str, str, int]]) -> list[Chain]:
    """Groups of pieces whose offsets hang together: an output that lies over its input moves with it."""
    before = {out: (driver, distance) for driver, out, distance in overlays}
    relative: dict[str, tuple[str, int]] = {}
    for name in pieces:  # a driver always comes before its output
        if name in before:
            driver, distance = before[name]
            root, offset = relative[driver]
            relative[name] = (root, offset - distance)
        else:
            relative[name] = (name, 0)
    chains: dict[str, list[tuple[Piece, int]]] = {}
    for name, (root, offset) in relative.items():
        chains.setdefault(root, []).append((pieces[name], offset))
    return [Chain(tuple(members)) for members in chains.values()]
