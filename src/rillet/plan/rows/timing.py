"""When a tile of pixels can fire, and which pixels it still needs: the arithmetic under every row plan.

Values are made in tiles: some pixels of one row, or some whole rows, in raster order. A stage fires a tile as soon as
the last pixel that its window needs is there, at once and depth first. So time can be told in tiles of any earlier
value, and the space that a value needs follows in closed form.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.ir.facts import is_pool
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import PoolKind, op_places, op_window
from rillet.ir.types import Shape

Indices = npt.NDArray[np.int64]

MAX_HELD_BYTES = 2**27
"""Of clocks that are kept; a large network with large maps has gigabytes of them."""


@dataclass(frozen=True, slots=True)
class Tile:
    """What a stage makes at once: up to `pixels` of one row, or, where `rows` is not 0, so many whole rows."""

    pixels: int = 1
    rows: int = 0

    def of(self, shape: Shape) -> int:
        """Pixels of a full tile of a map of this shape."""
        return min(self.rows, shape.height) * shape.width if self.rows else min(self.pixels, shape.width)


class Timing:
    """Firing order of a graph's values at one tile size. All answers are cached."""

    def __init__(self, graph: Graph, tile: Tile) -> None:
        self.graph = graph
        self.tile = tile
        self.position = {node.name: i for i, node in enumerate(graph.nodes)}
        self._triggers: dict[tuple[str, str], Indices] = {}
        self._needs: dict[tuple[str, str], Indices] = {}
        self._clocks: dict[tuple[str, int], dict[str, Indices | None]] = {}
        self._held = 0
        self._ends: dict[str, Indices] = {}

    def _holder(self, shape: Shape, row: Indices, column: Indices) -> Indices:
        """The tile in which each of these pixels is made."""
        if self.tile.rows:
            return row // self.tile.rows
        pixels = self.tile.of(shape)
        return row * -(-shape.width // pixels) + column // pixels

    def ends(self, name: str) -> Indices:
        """Pixels made once each tile is done."""
        if name not in self._ends:
            self._ends[name] = self._end(self.graph.by_name[name].shape)
        return self._ends[name]

    def _end(self, shape: Shape) -> Indices:
        pixels = self.tile.of(shape)
        if self.tile.rows:
            return np.minimum(np.arange(1, -(-shape.pixels // pixels) + 1) * pixels, shape.pixels)
        row = np.minimum(np.arange(1, -(-shape.width // pixels) + 1) * pixels, shape.width)
        return (np.arange(shape.height)[:, None] * shape.width + row).reshape(-1)

    def trigger(self, node: Node, source: str) -> Indices:
        """For each tile of `node`, the tile of `source` whose arrival completes its window."""
        key = (node.name, source)
        if key not in self._triggers:
            self._triggers[key] = self._trigger(node, self.graph.by_name[source].shape)
        return self._triggers[key]

    def _trigger(self, node: Node, source: Shape) -> Indices:
        rows, columns = self._reach(node, source, last=True)
        ends = self.ends(node.name) - 1
        last_row, last_column = rows[ends // node.shape.width], columns[ends % node.shape.width]
        return np.maximum.accumulate(self._holder(source, last_row, last_column))

    def _reach(self, node: Node, source: Shape, last: bool) -> tuple[Indices, Indices]:
        """For each row and each column of `node`, the last (or first) one of its source that it reads."""
        out, places = node.shape, op_places(node.op)
        if places is not None:
            rows, columns = places.last if last else (places.rows, places.columns)
            return np.array(rows, np.int64), np.array(columns, np.int64)
        if source.pixels == 1:
            return np.zeros(out.height, np.int64), np.zeros(out.width, np.int64)
        window = op_window(node.op)
        rows, columns = np.arange(out.height), np.arange(out.width)
        if window is None:
            return rows, columns
        (top, _, left, _), (high, wide) = window.padding, window.extent
        rows = rows * window.stride[0] - top + (high - 1 if last else 0)
        columns = columns * window.stride[1] - left + (wide - 1 if last else 0)
        return np.clip(rows, 0, source.height - 1), np.clip(columns, 0, source.width - 1)

    def needs(self, node: Node, source: str) -> Indices:
        """For each tile of `node`, the first pixel of `source` that it or a later tile reads; one more for the end."""
        key = (node.name, source)
        if key not in self._needs:
            self._needs[key] = self._need(node, self.graph.by_name[source].shape)
        return self._needs[key]

    def _need(self, node: Node, source: Shape) -> Indices:
        rows, columns = self._reach(node, source, last=False)
        ends = self.ends(node.name)
        starts = np.concatenate([[0], ends[:-1]])
        first = rows[starts // node.shape.width] * source.width + columns[starts % node.shape.width]
        lows = np.minimum.accumulate(first[::-1])[::-1]
        return np.concatenate([lows, [source.pixels]])

    def accumulates(self, node: Node) -> bool:
        """True where the node takes each pixel in as it comes and keeps none (a global pool)."""
        if not is_pool(node.op) or node.op.kind is PoolKind.MAX:
            return False
        return node.op.window.covers(self.graph.input_shapes(node)[0])

    def clock(self, name: str, origin: str, start: int) -> Indices | None:
        """For each tile of value `name`, the tile of value `origin` whose arrival makes it fire.

        Values before place `start` lie there whole and delay nothing, but for the origin. None where `name` does not
        follow from `origin`.
        """
        begin = max(start, self.position[origin] + 1)
        known = self._clocks.setdefault((origin, begin), {})
        path = [name]
        while path:
            at = path[-1]
            missing = [] if self._apart(at, origin, begin) else [n for n in self._inputs(at) if n not in known]
            if at not in known and not missing:
                known[at] = self._clock(at, origin, begin, known)
                self._hold(known[at], (origin, begin))
            if at in known:
                path.pop()
            path += missing
        return known[name]

    def _inputs(self, name: str) -> tuple[str, ...]:
        return self.graph.by_name[name].inputs

    def _apart(self, name: str, origin: str, begin: int) -> bool:
        """True for the origin, and for what does not follow from it."""
        return name == origin or self.position[name] < begin

    def _clock(self, name: str, origin: str, begin: int, known: Mapping[str, Indices | None]) -> Indices | None:
        if self._apart(name, origin, begin):
            return np.arange(self.tiles(name)) if name == origin else None
        node = self.graph.by_name[name]
        latest: Indices | None = None
        for source in node.inputs:
            made = known[source]
            if made is not None:
                fired = made[self.trigger(node, source)]
                latest = fired if latest is None else np.maximum(latest, fired)
        return None if latest is None else np.maximum.accumulate(latest)

    def _hold(self, made: Indices | None, newest: tuple[str, int]) -> None:
        """Counts what is kept, and forgets the oldest where that is too much."""
        self._held += 0 if made is None else made.nbytes
        while self._held > MAX_HELD_BYTES and next(iter(self._clocks)) != newest:
            dropped = self._clocks.pop(next(iter(self._clocks)))
            self._held -= sum(clock.nbytes for clock in dropped.values() if clock is not None)

    def tiles(self, name: str) -> int:
        """Number of tiles of a value: how often its stage fires for one image."""
        return len(self.ends(name))
