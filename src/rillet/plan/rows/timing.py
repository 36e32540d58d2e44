"""When a tile of pixels can fire, and which pixels it still needs: the arithmetic under every row plan.

Values are made in tiles: some pixels of one row, or some whole rows, in raster order. A stage fires a tile as soon as
the last pixel that its window needs is there, at once and depth first. So time can be told in tiles of any earlier
value, and the space that a value needs follows in closed form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rillet.ir.facts import is_pool
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Places, PoolKind, Window, op_reads
from rillet.ir.types import Shape

Indices = npt.NDArray[np.int64]

MOST_LAGS = 2**12
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


class Geometry(NamedTuple):
    """All that decides which pixels of a source each pixel of a result reads."""

    reads: Window | Places | None
    height: int
    width: int
    source_height: int
    source_width: int


def _ends(tile: Tile, height: int, width: int) -> Indices:
    """Pixels made once each tile of a map is done."""
    if tile.rows:
        pixels = tile.of(Shape(height, width, 1))
        return np.minimum(np.arange(1, -(-height * width // pixels) + 1) * pixels, height * width)
    pixels = min(tile.pixels, width)
    row = np.minimum(np.arange(1, -(-width // pixels) + 1) * pixels, width)
    return (np.arange(height)[:, None] * width + row).reshape(-1)


def _reach(geometry: Geometry, last: bool) -> tuple[Indices, Indices]:
    """For each row and each column of a result, the last (or first) one of its source that it reads."""
    reads, height, width, source_height, source_width = geometry
    if isinstance(reads, Places):
        rows, columns = reads.last if last else (reads.rows, reads.columns)
        return np.array(rows, np.int64), np.array(columns, np.int64)
    if source_height * source_width == 1:
        return np.zeros(height, np.int64), np.zeros(width, np.int64)
    rows, columns = np.arange(height), np.arange(width)
    if reads is None:
        return rows, columns
    (top, _, left, _), (high, wide) = reads.padding, reads.extent
    rows = rows * reads.stride[0] - top + (high - 1 if last else 0)
    columns = columns * reads.stride[1] - left + (wide - 1 if last else 0)
    # np.clip looks up the limits of the type, which takes as long as all else here.
    return np.minimum(np.maximum(rows, 0), source_height - 1), np.minimum(np.maximum(columns, 0), source_width - 1)


def _trigger(tile: Tile, geometry: Geometry) -> Indices:
    """For each tile of a result, the tile of its source whose arrival completes its window."""
    rows, columns = _reach(geometry, last=True)
    ends = _ends(tile, geometry.height, geometry.width) - 1
    last_row, last_column = rows[ends // geometry.width], columns[ends % geometry.width]
    if tile.rows:
        return np.maximum.accumulate(last_row // tile.rows)
    pixels = min(tile.pixels, geometry.source_width)
    return np.maximum.accumulate(last_row * -(-geometry.source_width // pixels) + last_column // pixels)


def _need(tile: Tile, geometry: Geometry) -> Indices:
    """For each tile of a result, the first pixel of its source that it or a later tile reads; one more for the end."""
    rows, columns = _reach(geometry, last=False)
    ends = _ends(tile, geometry.height, geometry.width)
    starts = np.concatenate([[0], ends[:-1]])
    first = rows[starts // geometry.width] * geometry.source_width + columns[starts % geometry.width]
    lows = np.minimum.accumulate(first[::-1])[::-1]
    return np.concatenate([lows, [geometry.source_height * geometry.source_width]])


@lru_cache(maxsize=MOST_LAGS)
def _lag(tile: Tile, geometry: Geometry) -> int:
    """`Timing.lag`, the same for all networks."""
    made = _ends(tile, geometry.source_height, geometry.source_width)[_trigger(tile, geometry)]
    return int((made - _need(tile, geometry)[:-1]).max())


class Timing:
    """Firing order of a graph's values at one tile size. All answers are cached."""

    def __init__(self, graph: Graph, tile: Tile) -> None:
        self.graph = graph
        self.tile = tile
        self.position = {node.name: i for i, node in enumerate(graph.nodes)}
        # Layers of one geometry have the same answers.
        self._triggers: dict[Geometry, Indices] = {}
        self._needs: dict[Geometry, Indices] = {}
        self._clocks: dict[tuple[str, int], dict[str, Indices | None]] = {}
        self._held = 0
        self._ends: dict[tuple[int, int], Indices] = {}

    def ends(self, name: str) -> Indices:
        """Pixels made once each tile is done."""
        shape = self.graph.by_name[name].shape
        size = shape.height, shape.width
        if size not in self._ends:
            self._ends[size] = _ends(self.tile, *size)
        return self._ends[size]

    def trigger(self, node: Node, source: str) -> Indices:
        """For each tile of `node`, the tile of `source` whose arrival completes its window."""
        geometry = self._geometry(node, source)
        if geometry not in self._triggers:
            self._triggers[geometry] = _trigger(self.tile, geometry)
        return self._triggers[geometry]

    def needs(self, node: Node, source: str) -> Indices:
        """For each tile of `node`, the first pixel of `source` that it or a later tile reads; one more for the end."""
        geometry = self._geometry(node, source)
        if geometry not in self._needs:
            self._needs[geometry] = _need(self.tile, geometry)
        return self._needs[geometry]

    def lag(self, node: Node, source: str) -> int:
        """Greatest distance from the newest pixel of `source` to the oldest that `node` wants, when it fires and waits
        for nothing else.
        """
        return _lag(self.tile, self._geometry(node, source))

    def _geometry(self, node: Node, source: str) -> Geometry:
        out, read = node.shape, self.graph.by_name[source].shape
        return Geometry(op_reads(node.op), out.height, out.width, read.height, read.width)

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
