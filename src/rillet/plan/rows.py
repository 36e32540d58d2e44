"""The row plan: segments that stream through rings, whole maps only between them, cut by dynamic programming.

Cost of a segment = the maps that live through it (its output may lie over the spent part of its input) + a ring for every
value inside + working space. Cuts may fall anywhere. The cheapest sequence of cuts is exact for this cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from rillet.errors import TargetError, Unsupported
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Input, op_macs
from rillet.plan.arena import ALIGNMENT, Chain, Piece, align, place
from rillet.plan.kernels import Choice, choose, in_place
from rillet.plan.plan import Buffer, BufferKind, Plan, Segment, Stage
from rillet.plan.timing import Timing

TILES = (1, 4, 8)
"""Tile sizes that a plan tries: one pixel takes the least memory, more take less time."""
FIRING_NS = 12.0
DENSE_NS_PER_MAC = {1: 0.075, 4: 0.055, 8: 0.055}
DEPTHWISE_NS_PER_MAC = 0.25
MAP_NS_PER_BYTE = 0.1
"""Rates of the portable kernels on one x86-64 core (bench/kernels.py prints them); only their ratios matter here."""


@dataclass(frozen=True, slots=True)
class _Cost:
    """What one segment takes at one tile size."""

    bytes: int
    ns: float
    driver: str
    tile: int
    overlay: int | None
    """How far before the driver's map the output map begins, or None where they lie apart."""


def plan_rows(
    graph: Graph, *, ram_bytes: int | None = None, objective: str = "memory", resident: bool = False
) -> Plan:
    """Cuts `graph` into streaming segments.

    objective: `memory` for the least arena (then the least time within it), `time` for the least time within `ram_bytes`.
    resident: the input image lies in the arena; else its rows are pushed in.
    Raises TargetError where the budget cannot be met, Unsupported where a node has no kernel.
    """
    if objective not in ("memory", "time"):
        raise TargetError(f"--objective must be memory or time, got {objective!r}")
    planner = _Planner(graph, resident)
    least = planner.least_bytes()
    bound = least if objective == "memory" else None
    # Rings lie between the maps, so the best cut on paper may leave a gap: then the bound is lowered until it fits.
    while True:
        made = planner.plan(bound if ram_bytes is None or bound is not None else ram_bytes)
        if ram_bytes is None or made.arena_bytes <= ram_bytes:
            return made
        tightest = planner.plan(least)
        if tightest.arena_bytes > ram_bytes or bound == least:
            raise TargetError(
                f"{graph.name}: --ram must be at least {tightest.arena_bytes} bytes for this network, got {ram_bytes}"
            )
        bound = max(least, int((bound or ram_bytes) * 0.98))


def plan_layerwise(graph: Graph) -> Plan:
    """Every layer by itself, whole maps between them, nothing overlaid: what an ordinary interpreter does."""
    planner = _Planner(graph, resident=True)
    return planner.build("layerwise", [(i, i + 1, planner.alone(i)) for i in range(planner.first, planner.count)])


class _Planner:
    def __init__(self, graph: Graph, resident: bool) -> None:
        self.graph = graph
        self.resident = resident
        self.nodes = graph.nodes
        self.first = len(graph.input_nodes)
        self.count = len(graph.nodes)
        if any(not isinstance(node.op, Input) for node in self.nodes[: self.first]) or self.first != 1:
            raise Unsupported(f"{graph.name}: must have one input, got {len(graph.input_nodes)}")
        if self.count == self.first:
            raise Unsupported(f"{graph.name}: must have a layer, got an input alone")
        self.position = {node.name: i for i, node in enumerate(self.nodes)}
        self.last_use = {
            node.name: max((self.position[n.name] for n in graph.consumers[node.name]), default=i)
            for i, node in enumerate(self.nodes)
        }
        for name in graph.outputs:
            self.last_use[name] = self.count
        self.timings = {tile: Timing(graph, tile) for tile in TILES}
        self.cost = cache(self._cost)
        self.choice = cache(self._choice)
        self.outside = cache(self._outside)

    def _choice(self, index: int, tile: int) -> Choice:
        return choose(self.graph, self.nodes[index], tile)

    def _outside(self, start: int) -> frozenset[str]:
        return frozenset(node.name for node in self.nodes[:start])

    # -- one segment -----------------------------------------------------------------------------------------------

    def inputs_of(self, start: int, stop: int) -> list[str]:
        """Values made before the segment that it reads."""
        names = dict.fromkeys(n for node in self.nodes[start:stop] for n in node.inputs)
        return [name for name in names if self.position[name] < start]

    def maps_through(self, start: int, stop: int) -> list[str]:
        """Values that lie whole in the arena while the segment runs: made before and used in or after it, or made in it and
        used after it."""
        alive: list[str] = []
        for i, node in enumerate(self.nodes[:stop]):
            last = self.last_use[node.name]
            if (i < start and last >= start) or (i >= start and last >= stop):
                if isinstance(node.op, Input) and not self.resident:
                    continue
                alive.append(node.name)
        return alive

    def drivers(self, start: int, stop: int) -> list[str]:
        """Inputs from which every node of the segment follows; one layer alone can follow any of its inputs."""
        inputs = self.inputs_of(start, stop)
        if not self.resident and self.nodes[0].name in inputs and (start != self.first or len(inputs) > 1):
            return []  # pushed rows are there once, for the first segment
        if not self.resident and start != self.first and self.last_use[self.nodes[0].name] >= start:
            return []
        out: list[str] = []
        for driver in inputs:
            reached = {driver}
            for node in self.nodes[start:stop]:
                if any(name in reached for name in node.inputs):
                    reached.add(node.name)
            if len(reached) == stop - start + 1:
                out.append(driver)
        return out

    def _cost(self, start: int, stop: int, tile: int) -> _Cost | None:
        drivers = self.drivers(start, stop)
        if not drivers:
            return None
        if not self.resident and start == self.first and self.last_use[self.nodes[0].name] >= stop:
            return None
        maps = self.maps_through(start, stop)
        base = sum(align(self.graph.by_name[name].type.bytes) for name in maps)
        rings = sum(align(size) for _, size in self.rings(start, stop, tile, drivers[0]).values())
        space = self.scratch(start, stop, tile)
        best: _Cost | None = None
        for driver in drivers:
            overlay = self.overlay(start, stop, tile, driver)
            saved = 0 if overlay is None else self.saving(driver, self.nodes[stop - 1].name, overlay)
            if saved <= 0:
                overlay, saved = None, 0
            size = base + rings + space - saved
            if best is None or size < best.bytes:
                best = _Cost(size, self.time(start, stop, tile), driver, tile, overlay)
        return best

    def saving(self, driver: str, out: str, overlay: int) -> int:
        """Bytes that lying `overlay` before the driver's map saves over lying apart."""
        ahead, behind = (align(self.graph.by_name[name].type.bytes) for name in (driver, out))
        return ahead + behind - max(ahead + overlay, behind)

    def overlay(self, start: int, stop: int, tile: int, driver: str) -> int | None:
        """How far before the driver's map the output map must begin so that no tile is written over a pixel still needed."""
        out = self.nodes[stop - 1]
        if self.last_use[driver] >= stop or (driver == self.nodes[0].name and not self.resident):
            return None
        if [n for n in self.maps_through(start, stop) if self.position[n] >= start] != [out.name]:
            return None
        timing, outside = self.timings[tile], self.outside(start) - {driver}
        fired = timing.clock(out.name, driver, outside)
        if fired is None:
            return None
        source = self.graph.by_name[driver]
        lows = np.full(len(fired), source.shape.pixels)
        for reader in (n for n in self.graph.consumers[driver] if self.position[n.name] >= start):
            lows = np.minimum(lows, self.still_needed(reader, driver, out, fired, timing, outside))
        reach = timing.ends(out.name) * out.type.pixel_bytes - lows * source.type.pixel_bytes
        return align(max(0, int(reach.max())))

    def still_needed(
        self,
        reader: Node,
        driver: str,
        out: Node,
        fired: np.ndarray,  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
        timing: Timing,
        outside: frozenset[str],
    ) -> np.ndarray:  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
        """For each tile of `out` as it is written, the first pixel of the driver that `reader` still wants."""
        if timing.accumulates(reader):
            return timing.ends(driver)[fired]
        needs = timing.needs(reader, driver)
        if reader.name == out.name:
            done = np.arange(len(fired)) + (1 if in_place(self.graph, out) else 0)
            return needs[done]
        through = timing.clock(out.name, reader.name, outside)
        if through is not None:
            return needs[through + 1]
        own = timing.clock(reader.name, driver, outside)
        assert own is not None
        return needs[np.searchsorted(own, fired, side="left")]

    def rings(self, start: int, stop: int, tile: int, driver: str) -> dict[str, tuple[int, int]]:
        """Pixels and bytes of the ring of every value that lives inside the segment only (a pushed input included)."""
        out: dict[str, tuple[int, int]] = {}
        names = [node.name for node in self.nodes[start:stop] if self.last_use[node.name] < stop]
        if driver == self.nodes[0].name and not self.resident:
            names.append(driver)
        for name in names:
            pixels = self.ring_pixels(name, tile, self.outside(start) - {driver})
            if pixels:
                out[name] = (pixels, pixels * self.graph.by_name[name].type.pixel_bytes)
        return out

    def ring_pixels(self, name: str, tile: int, outside: frozenset[str]) -> int:
        """The least pixels that value `name` must keep for its readers; 0 for pushed rows that are read where they lie."""
        timing, value = self.timings[tile], self.graph.by_name[name]
        readers = self.graph.consumers[name]
        pixels = timing.tile_of(value.shape)
        direct = isinstance(value.op, Input)
        for reader in readers:
            if timing.accumulates(reader):
                continue
            span = self.span(reader, name, timing, outside)
            direct = direct and span <= timing.tile_of(value.shape) and reader.shape == value.shape
            pixels = max(pixels, span)
        return 0 if direct else pixels

    def span(self, reader: Node, name: str, timing: Timing, outside: frozenset[str]) -> int:
        """Greatest distance from the newest pixel of `name` to the oldest that `reader` wants, when it fires."""
        inside = [n for n in dict.fromkeys(reader.inputs) if n not in outside]
        needs = timing.needs(reader, name)[:-1]
        ends = timing.ends(name)
        made = ends[timing.trigger(reader, name)]
        if len(inside) > 1:
            origin = self.fork(inside, timing, outside)
            times = {n: self.time_of(reader, n, origin, timing, outside) for n in inside}
            latest = np.maximum.reduce(list(times.values()))
            own = timing.clock(name, origin, outside)
            assert own is not None
            # The last input to arrive makes the reader fire at once; the others may have run ahead until then.
            later = [times[n] >= latest for n in inside if self.position[n] > self.position[name]]
            triggers = (times[name] >= latest) & ~(np.logical_or.reduce(later) if later else False)
            ahead = ends[np.searchsorted(own, latest, side="right") - 1]
            made = np.where(triggers, made, ahead)
        return int((made - needs).max())

    def time_of(
        self,
        reader: Node,
        name: str,
        origin: str,
        timing: Timing,
        outside: frozenset[str],
    ) -> np.ndarray:  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
        """When each tile of `reader` has what it needs of `name`, in tiles of `origin`."""
        clock = timing.clock(name, origin, outside)
        assert clock is not None
        return clock[timing.trigger(reader, name)]

    def fork(self, names: Sequence[str], timing: Timing, outside: frozenset[str]) -> str:
        """The latest value that all paths to `names` pass (their common dominator)."""
        frontier = set(names)
        while len(frontier) > 1:
            latest = max(frontier, key=self.position.__getitem__)
            frontier.remove(latest)
            frontier |= {n for n in self.graph.by_name[latest].inputs if n not in outside}
        return frontier.pop()

    def scratch(self, start: int, stop: int, tile: int) -> int:
        """Bytes of working space: sums of each global pool, and one space that all gathering kernels share."""
        shared, sums = 0, 0
        for i in range(start, stop):
            choice = self.choice(i, tile)
            if choice.scratch is BufferKind.SUMS:
                sums += align(choice.scratch_bytes)
            else:
                shared = max(shared, choice.scratch_bytes)
        return align(shared) + sums

    def time(self, start: int, stop: int, tile: int) -> float:
        """Estimated nanoseconds of the segment on a host."""
        total = 0.0
        for i in range(start, stop):
            node = self.nodes[i]
            macs = op_macs(node.op, self.graph.input_shapes(node))
            rate = DENSE_NS_PER_MAC[tile]
            if macs and self.choice(i, tile).kernel.value == "depthwise":
                rate = DEPTHWISE_NS_PER_MAC
            total += macs * rate + self.timings[tile].full_tiles[node.name] * FIRING_NS
            if self.last_use[node.name] >= stop:
                total += 2 * node.type.bytes * MAP_NS_PER_BYTE
        return total

    def alone(self, index: int) -> _Cost:
        """One layer by itself, nothing overlaid."""
        drivers = self.drivers(index, index + 1)
        maps = self.maps_through(index, index + 1)
        size = sum(align(self.graph.by_name[n].type.bytes) for n in maps) + self.scratch(index, index + 1, TILES[-1])
        return _Cost(size, 0.0, drivers[0], TILES[-1], None)

    # -- all segments ----------------------------------------------------------------------------------------------

    def least_bytes(self) -> int:
        """The smallest peak that any cut reaches."""
        best: list[float] = [float("inf")] * (self.count + 1)
        best[self.first] = 0
        for stop in range(self.first + 1, self.count + 1):
            for start in range(self.first, stop):
                if best[start] < best[stop]:
                    cost = self.cost(start, stop, TILES[0])
                    if cost is not None:
                        best[stop] = min(best[stop], max(best[start], cost.bytes))
        if best[self.count] == float("inf"):
            raise Unsupported(
                f"{self.graph.name}: rows cannot be pushed into this network; plan it with the image resident"
            )
        return int(best[self.count])

    def plan(self, bound: int | None) -> Plan:
        """The fastest cut whose every segment keeps within `bound` bytes (the least, where none does)."""
        limit = max(bound, self.least_bytes()) if bound is not None else None
        best: list[tuple[float, int, _Cost | None]] = [(float("inf"), 0, None)] * (self.count + 1)
        best[self.first] = (0.0, 0, None)
        for stop in range(self.first + 1, self.count + 1):
            for start in range(self.first, stop):
                for tile in TILES:
                    cost = self.cost(start, stop, tile)
                    if cost is None or (limit is not None and cost.bytes > limit):
                        continue
                    total = best[start][0] + cost.ns
                    if total < best[stop][0]:
                        best[stop] = (total, start, cost)
        cuts: list[tuple[int, int, _Cost]] = []
        stop = self.count
        while stop > self.first:
            _, start, cost = best[stop]
            assert cost is not None
            cuts.append((start, stop, cost))
            stop = start
        return self.build("rows", cuts[::-1])

    def build(self, kind: str, cuts: list[tuple[int, int, _Cost]]) -> Plan:
        """The plan of these cuts, with offsets."""
        segments: list[Segment] = []
        pieces: dict[str, Piece] = {}
        overlays: list[tuple[str, str, int]] = []
        for index, (start, stop, cost) in enumerate(cuts):
            for name in self.maps_through(start, stop):
                value = self.graph.by_name[name]
                old = pieces.get(name)
                first = index if old is None else old.first
                pieces[name] = Piece(name, BufferKind.MAP, value.shape.pixels, value.type.pixel_bytes, first, index)
            for name, (pixels, _) in self.rings(start, stop, cost.tile, cost.driver).items():
                size = self.graph.by_name[name].type.pixel_bytes
                pieces[name] = Piece(name, BufferKind.RING, pixels, size, index, index)
            segments.append(self.segment(index, start, stop, cost, pieces))
            if cost.overlay is not None:
                overlays.append((cost.driver, self.nodes[stop - 1].name, cost.overlay))
        chains = _chains(pieces, overlays)
        buffers: dict[str, Buffer] = {}
        for name, offset in place(chains).items():
            p = pieces[name]
            buffers[name] = Buffer(name, p.kind, p.pixels, p.pixel_bytes, offset, p.first, p.last)
        return Plan(kind, self.graph, tuple(segments), buffers, self.resident)

    def segment(self, index: int, start: int, stop: int, cost: _Cost, pieces: dict[str, Piece]) -> Segment:
        stages: list[Stage] = []
        shared = 0
        for i in range(start, stop):
            node, choice = self.nodes[i], self.choice(i, cost.tile)
            scratch = None
            if choice.scratch_bytes and choice.scratch is BufferKind.SUMS:
                scratch = f"{node.name}.sums"
                pieces[scratch] = Piece(scratch, BufferKind.SUMS, 1, choice.scratch_bytes, index, index)
            elif choice.scratch_bytes:
                scratch = f"scratch{index}"
                shared = max(shared, choice.scratch_bytes)
                pieces[scratch] = Piece(scratch, BufferKind.SCRATCH, 1, shared, index, index)
            tile = min(cost.tile, node.shape.width)
            stages.append(Stage(node.name, choice.kernel, choice.packing, tile, node.name, scratch))
        return Segment(cost.driver, cost.tile, tuple(stages), cost.bytes)


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


__all__ = ["ALIGNMENT", "plan_layerwise", "plan_rows"]
