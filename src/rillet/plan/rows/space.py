"""Space of a segment: ring buffers by the distance from newest to oldest pixel, outputs over consumed inputs."""

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from rillet.ir.facts import is_constant, is_given
from rillet.ir.graph import Graph, Node
from rillet.plan.rows.arena import align
from rillet.plan.rows.kernels import in_place
from rillet.plan.rows.timing import Indices, Tile, Timing


class Space:
    """Rings and overlays of a graph's segments at one tile size; `start` and `stop` are places in the graph's order.

    Values made before the segment lie there whole and delay nothing, but for its driver, whose pixels set the pace.
    `copies_input`: pushed rows are never read where they lie, because values are stored in another way.
    """

    def __init__(self, graph: Graph, tile: Tile, copies_input: bool = False) -> None:
        self.graph = graph
        self.copies_input = copies_input
        self.timing = Timing(graph, tile)
        self.position = self.timing.position
        self._several = len(graph.input_nodes) > 1
        self._computed = sum(is_given(node.op) for node in graph.nodes)
        self._span = cache(self._spans)
        self._awaited = lru_cache(maxsize=4)(self._arrivals)  # those of one reader are asked for in turn
        self._earliest = cache(self._first_fork)
        self._any_pixels = cache(self._pixels)
        self._straight = frozenset(
            node.name for node in graph.nodes if all(len({*n.inputs}) == 1 for n in graph.consumers[node.name])
        )
        self._branches_after: dict[str, list[frozenset[int]]] = {}

    def pixels(self, name: str, start: int, driver: str) -> int:
        """The least pixels that `name` must keep for its readers in a segment; 0 for pushed rows that are read where
        they lie.
        """
        # What is read beside nothing else waits for nothing else, wherever the segment begins.
        return self._any_pixels(name, *((0, "") if name in self._straight else (start, driver)))

    def _pixels(self, name: str, start: int, driver: str) -> int:
        timing, value = self.timing, self.graph.by_name[name]
        tile = timing.tile.of(value.shape)
        spans = [self.span(n, name, start, driver) for n in self.graph.consumers[name] if not timing.accumulates(n)]
        if timing.tile.rows:
            # Whole tiles, so that the rows of one lie in one piece.
            return min(-(-max([tile, *spans]) // tile) * tile, value.shape.pixels)
        own_place = all(n.shape == value.shape for n in self.graph.consumers[name])
        pushed = self.position[name] == 0 and not self.copies_input
        if pushed and own_place and max(spans, default=0) <= tile:
            return 0
        return max([tile, *spans])

    def settled(self, name: str) -> int:
        """The place up to which a segment may begin anywhere and `pixels` of `name` are the same."""
        readers = [n for n in self.graph.consumers[name] if not self.timing.accumulates(n)]
        return min((self._earliest(n.name) for n in readers), default=len(self.graph.nodes))

    def _first_fork(self, reader: str) -> int:
        """The place of the value from which all inputs of `reader` follow in the whole graph; its own, where there is
        one input. Before all, where the network has several inputs: there need not be such a value.
        """
        node, image = self.graph.by_name[reader], self.graph.nodes[0].name
        inside = [n for n in dict.fromkeys(node.inputs) if not is_constant(self.graph.by_name[n].op)]
        if len(inside) > 1 and self._several:
            return -1
        return self.position[self.fork(inside, self._computed, image) if len(inside) > 1 else reader]

    def span(self, reader: Node, name: str, start: int, driver: str) -> int:
        """Greatest distance from the newest pixel of `name` to the oldest that `reader` wants, when it fires."""
        inside = tuple(n for n in dict.fromkeys(reader.inputs) if self._inside(n, start, driver))
        if len(inside) < 2:
            return self._span(reader.name, name, inside, name, 0)
        fork = self.fork(inside, start, driver)
        # What lies between fork and reader is inside every segment that begins at or before the fork.
        return self._span(reader.name, name, inside, fork, start if self.position[fork] < start else 0)

    def _inside(self, name: str, start: int, driver: str) -> bool:
        return self.position[name] >= start or name == driver

    def _spans(self, reader: str, name: str, inside: tuple[str, ...], fork: str, start: int) -> int:
        timing, node = self.timing, self.graph.by_name[reader]
        if len(inside) < 2:
            return timing.lag(node, name)
        ends, trigger = timing.ends(name), timing.trigger(node, name)
        latest, last = self._awaited(reader, inside, fork, start)
        # The input that arrives last makes the reader fire at once; the others may have run ahead until then.
        own = self._clock(name, fork, start)
        ordered = self._ordered(inside, fork)
        first = np.array([self._runs_before(other, name, fork) for other in ordered])[last]
        before, behind = np.searchsorted(own, latest, side="left"), np.searchsorted(own, latest, side="right")
        ahead = np.concatenate([[0], ends])[np.where(first, before, behind)]
        made = np.where(last == ordered.index(name), ends[trigger], ahead)
        return int((made - timing.needs(node, name)[:-1]).max())

    def _ordered(self, inside: tuple[str, ...], fork: str) -> list[str]:
        """The inputs in the order in which they arrive at a tile of `fork`: that of its readers on the way to them."""
        return sorted(inside, key=lambda name: (max(self._branches(name, fork), default=-1), self.position[name]))

    def _arrivals(self, reader: str, inside: tuple[str, ...], fork: str, start: int) -> tuple[Indices, Indices]:
        """When each tile of `reader` has all that it needs, in tiles of `fork`, and which input arrives last."""
        node = self.graph.by_name[reader]
        times = [self._clock(n, fork, start)[self.timing.trigger(node, n)] for n in self._ordered(inside, fork)]
        latest = np.maximum.reduce(times)
        last = np.zeros(len(latest), np.int64)
        for i, arrived in enumerate(times):
            last[arrived >= latest] = i
        return latest, last

    def _runs_before(self, one: str, other: str, fork: str) -> bool:
        """True where, at each tile of `fork`, all that leads to `one` is done before anything that leads to `other`."""
        branches = [self._branches(name, fork) for name in (one, other)]
        return all(branches) and max(branches[0]) < min(branches[1])

    def _branches(self, name: str, fork: str) -> frozenset[int]:
        """Places of the readers of `fork` through which `name` follows from it."""
        # Of each value after the fork, in the graph's order, as far as it was asked for.
        known, origin = self._branches_after.setdefault(fork, []), self.position[fork]
        for i in range(origin + 1 + len(known), self.position[name] + 1):
            inputs = self.graph.nodes[i].inputs
            places = [self.position[n] - origin - 1 for n in inputs if self.position[n] > origin]
            own = frozenset({i} if fork in inputs else set[int]())
            known.append(own.union(*(known[place] for place in places)))
        return frozenset() if name == fork else known[self.position[name] - origin - 1]

    def _clock(self, name: str, origin: str, start: int) -> Indices:
        clock = self.timing.clock(name, origin, start)
        assert clock is not None, f"{name} does not follow from {origin}"
        return clock

    def fork(self, names: Sequence[str], start: int, driver: str) -> str:
        """The latest value that all paths to `names` pass (their common dominator)."""
        frontier = set(names)
        while len(frontier) > 1:
            latest = max(frontier, key=self.position.__getitem__)
            frontier.remove(latest)
            frontier |= {n for n in self.graph.by_name[latest].inputs if self._inside(n, start, driver)}
        return frontier.pop()

    def overlay(self, start: int, stop: int, driver: str) -> int | None:
        """How far before the driver's map the map of the segment's last value must begin, so that no tile is written
        over a pixel still needed; None where it does not follow from the driver.
        """
        timing, out, source = self.timing, self.graph.nodes[stop - 1], self.graph.by_name[driver]
        fired = timing.clock(out.name, driver, start)
        if fired is None:
            return None
        lows = np.full(len(fired), source.shape.pixels)
        for reader in self.graph.consumers[driver]:
            if start <= self.position[reader.name] < stop:
                lows = np.minimum(lows, self._still_needed(reader, driver, out, fired, start))
        reach = timing.ends(out.name) * out.type.pixel_bytes - lows * source.type.pixel_bytes
        return align(max(0, int(reach.max())))

    def _still_needed(self, reader: Node, driver: str, out: Node, fired: Indices, start: int) -> Indices:
        """For each tile of `out` as it is written, the first pixel of the driver that `reader` still wants."""
        timing = self.timing
        if timing.accumulates(reader):
            return timing.ends(driver)[fired]
        needs = timing.needs(reader, driver)
        if reader.name == out.name:
            return needs[np.arange(len(fired)) + (1 if in_place(self.graph, out) else 0)]
        through = timing.clock(out.name, reader.name, start)
        if through is not None:
            return needs[through + 1]
        return needs[np.searchsorted(self._clock(reader.name, driver, start), fired, side="left")]
