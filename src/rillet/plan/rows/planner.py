"""The row planner: segments that stream through ring buffers, full tensors between them, cut by dynamic programming.

A segment needs the full tensors that live through it (its output may overwrite the consumed part of its input), a ring
buffer for every value inside, and scratch memory. Cuts may fall anywhere; the best sequence of cuts is exact for this
cost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from rillet.errors import TargetError, Unsupported
from rillet.ir.graph import Graph
from rillet.plan.rows.arena import Chain, Piece, place
from rillet.plan.rows.pairs import Matrix
from rillet.plan.rows.plan import Buffer, BufferKind, RowPlan, Segment, Stage
from rillet.plan.rows.segments import Cost, Segments
from rillet.plan.rows.timing import Tile

ROUNDED = 1e-12
"""Times that differ by at most this share are equal."""
MOST_UNDONE = 4000
"""Segments placed anew for an arena without gaps, an overlay undone each time: hundreds of times in a usual network."""
_NEVER = np.iinfo(np.int64).max
"""Bytes of segments that cannot run."""


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


class RowPlanner(Segments):
    """Cuts of one graph, by what its segments take."""

    def __init__(self, graph: Graph, resident: bool) -> None:
        super().__init__(graph, resident)
        self.runs = self.driven()

    def layers(self) -> list[Cut]:
        """Every layer by itself, nothing overlaid; none where pushed rows cannot go through the network like that."""
        cuts: list[Cut] = []
        for i in range(self.first, self.count):
            cost = self.cost(i, i + 1, self.tiles[-1])
            if cost is None:
                return []
            cuts.append((i, i + 1, replace(cost, bytes=cost.bytes + cost.saved, overlay=None, saved=0)))
        return cuts

    # -- all segments ----------------------------------------------------------------------------------------------

    def bounds(self, tile: Tile) -> tuple[Matrix, Matrix]:
        """Bytes of every segment without an overlay, and a bound below those with one."""
        apart = np.where(self.runs, self.apart(tile), _NEVER)
        return apart, apart - np.where(self.runs, self.saved, 0) if self.overlays else apart

    @cached_property
    def saved(self) -> Matrix:
        """What overlays can save."""
        return self.most_saved()

    @cached_property
    def all_bounds(self) -> tuple[Matrix, Matrix]:
        """`bounds` at all tile sizes, as arrays of [stop, start, tile]."""
        every = [self.bounds(tile) for tile in self.tiles]
        apart = np.stack([apart for apart, _ in every], axis=2)
        return apart, np.stack([least for _, least in every], axis=2) if self.overlays else apart

    @cached_property
    def all_times(self) -> Matrix:
        """Nanoseconds of every segment at all tile sizes, as an array of [stop, start, tile]."""
        return np.stack([np.where(self.runs, self.times(tile), np.inf) for tile in self.tiles], axis=2)

    @cached_property
    def least_bytes(self) -> int:
        """The smallest peak that any cut reaches; raises Unsupported where there is none."""
        best = np.full(self.count + 1, _NEVER)
        best[self.first] = 0
        self.must_run()
        for stop, (apart, floor) in enumerate(zip(*self.bounds(self.tiles[0]), strict=True)):
            if stop <= self.first:
                continue
            best[stop] = np.maximum(best, apart).min()
            least = np.maximum(best, floor)
            while least.min() < best[stop]:
                start = int(least.argmin())
                cost = self.cost(start, stop, self.tiles[0])
                assert cost is not None
                best[stop] = min(best[stop], max(best[start], cost.bytes))
                least[start] = _NEVER
        return int(best[self.count])

    def must_run(self) -> None:
        """Raises Unsupported where no cuts are segments that can run."""
        reached = np.zeros(self.count + 1, np.bool_)
        reached[self.first] = True
        for stop in range(self.first + 1, self.count + 1):
            reached[stop] = (reached & self.runs[stop]).any()
        if not reached[self.count]:
            raise Unsupported(
                f"{self.graph.name}: rows cannot be pushed into this network; plan it with the image resident"
            )

    def plan(self, bound: int | None) -> RowPlan:
        """The fastest cut whose every segment keeps within `bound` bytes (the least, where none does)."""
        return self.build("rows", self.cuts(bound))

    def tightest(self) -> RowPlan:
        """The plan of the least arena: that of the least peak, or layer by layer where first fit leaves fewer gaps."""
        made, layers = self.plan(self.least_bytes), self.layers()
        apart = [self.build("rows", layers)] if layers else []
        return min([made, *apart], key=lambda plan: plan.arena_bytes)

    def within(self, ram_bytes: int) -> RowPlan:
        """The fastest plan whose arena has at most so many bytes; the smallest found, where none has."""
        best, bound, least = self.plan(ram_bytes), ram_bytes, self.least_bytes
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
        low, high, best = self.least_bytes, max(cost.bytes for _, _, cost in fastest), fastest
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
        limit = _NEVER if bound is None else max(bound, self.least_bytes)
        apart, least = self.all_bounds
        best = np.full(self.count + 1, np.inf)
        best[self.first] = 0
        came = [(0, 0)] * (self.count + 1)
        for stop in range(self.first + 1, self.count + 1):
            totals = best[:, None] + np.where(least[stop] <= limit, self.all_times[stop], np.inf)
            while best[stop] > totals.min():
                start, tile = divmod(int(totals.argmin()), len(self.tiles))
                cost = None if apart[stop, start, tile] <= limit else self.cost(start, stop, self.tiles[tile])
                if cost is None or cost.bytes <= limit:
                    best[stop], came[stop] = totals[start, tile], (start, tile)
                totals[start, tile] = np.inf
        cuts: list[Cut] = []
        stop = self.count
        while stop > self.first:
            start, tile = came[stop]
            cost = self.cost(start, stop, self.tiles[tile])
            assert cost is not None
            cuts.append((start, stop, cost))
            stop = start
        return cuts[::-1]

    def build(self, kind: str, cuts: list[Cut]) -> RowPlan:
        """The plan of these cuts, with offsets.

        Overlays tie the maps of successive segments together, so that gaps can open elsewhere. Where the arena is
        larger than its fullest segment, those overlays are undone whose segments have room for the map apart: where
        that halves the widest of these chains, and all at once; or, where there are not very many, one by one.
        """
        made = self.assemble(kind, cuts)
        room = _with_room(cuts, made.arena_bytes)
        if not _has_gaps(made) or not room:
            return made
        found = [self._halved(kind, made, cuts)]
        if found[0].arena_bytes > _fullest(made) and len(room) * len(cuts) <= MOST_UNDONE:
            found.append(self._swept(kind, made, cuts, room))
        return min(found, key=lambda plan: plan.arena_bytes)

    def _halved(self, kind: str, made: RowPlan, cuts: list[Cut]) -> RowPlan:
        """The plan without the overlays by which chains of maps are halved until they are no wider than the rest."""
        while _has_gaps(made):
            smaller, trial = self._undone(kind, made, cuts, self._splits(cuts, made.arena_bytes))
            if smaller is made:
                break
            made, cuts = smaller, trial
        return self._undone(kind, made, cuts, _with_room(cuts, made.arena_bytes))[0] if _has_gaps(made) else made

    def _swept(self, kind: str, made: RowPlan, cuts: list[Cut], room: Sequence[int]) -> RowPlan:
        """The plan without each of these overlays in turn by which the arena gets smaller."""
        for i in room:
            if not _has_gaps(made):
                break
            if cuts[i][2].bytes + cuts[i][2].saved < made.arena_bytes:
                made, cuts = self._undone(kind, made, cuts, [i])
        return made

    def _undone(self, kind: str, made: RowPlan, cuts: list[Cut], places: Sequence[int]) -> tuple[RowPlan, list[Cut]]:
        """The plan and its cuts without the overlays at these places; those given, where that arena is no smaller."""
        if not places:
            return made, cuts
        trial = list(cuts)
        for at in places:
            start, stop, cost = cuts[at]
            trial[at] = start, stop, replace(cost, bytes=cost.bytes + cost.saved, overlay=None, saved=0)
        other = self.assemble(kind, trial)
        return (other, trial) if other.arena_bytes < made.arena_bytes else (made, cuts)

    def _splits(self, cuts: list[Cut], arena_bytes: int) -> list[int]:
        """Of each chain of maps that is as wide as the arena, the cut whose overlay, undone, leaves the least of it."""
        runs: list[list[int]] = []
        for i, (_, _, cost) in enumerate(cuts):
            if cost.overlay is not None:
                tied = bool(runs) and runs[-1][-1] == i - 1 and cost.driver == self.nodes[cuts[i - 1][1] - 1].name
                runs[-1].append(i) if tied else runs.append([i])
        found, room = list[int](), set(_with_room(cuts, arena_bytes))
        for run in runs:
            if self._span(cuts, run) >= arena_bytes:
                spans = {
                    i: max(self._span(cuts, run[:k]), self._span(cuts, run[k + 1 :]))
                    for k, i in enumerate(run)
                    if i in room
                }
                found += [min(spans, key=spans.__getitem__)] if spans else []
        return found

    def _span(self, cuts: list[Cut], run: Sequence[int]) -> int:
        """Bytes from the lowest to the highest of the maps that these overlays tie together, one behind another."""
        if not run:
            return 0
        at, low, high = 0, 0, self.value_bytes[self.position[cuts[run[0]][2].driver]]
        for i in run:
            at -= cuts[i][2].overlay or 0
            low, high = min(low, at), max(high, at + self.value_bytes[cuts[i][1] - 1])
        return high - low

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
        for name, offset in place(chains, _least_arena(pieces.values(), segments)).items():
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


def _has_gaps(made: RowPlan) -> bool:
    """True where the arena is larger than its fullest segment."""
    return made.arena_bytes > _fullest(made)


def _fullest(made: RowPlan) -> int:
    """Bytes of the fullest segment."""
    return max(segment.peak_bytes for segment in made.segments)


def _with_room(cuts: list[Cut], arena_bytes: int) -> list[int]:
    """The places of the overlays whose segments take less than so many bytes without them."""
    return [i for i, (_, _, c) in enumerate(cuts) if c.overlay is not None and c.bytes + c.saved < arena_bytes]


def _least_arena(pieces: Iterable[Piece], segments: Sequence[Segment]) -> int:
    """Bytes that no arena of these segments is below: its last buffer need not be aligned behind."""
    slack = [0] * len(segments)
    for piece in pieces:
        for i in range(piece.first, piece.last + 1):
            slack[i] = max(slack[i], piece.bytes - piece.used)
    return max(segment.peak_bytes - spare for segment, spare in zip(segments, slack, strict=True))


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
