"""Bottleneck buffering: line-buffer the block's input; recompute expanded columns on demand.

An inverted-residual block expands a bottleneck map by a pointwise layer, and a depthwise layer reads windows of the
expanded map. Line-buffering the expanded map computes it once, in raster order, and the line buffer keeps rows of it.
Under bottleneck buffering the line buffer keeps rows of the bottleneck map. For each output row, the rows under its
windows are expanded again, column by column from the left, top to bottom within a column; so only the columns under one
window are buffered expanded. A 3x3 window of stride 1 expands each pixel three times, those of the first and the last
row twice. A place is left for each row of the padding, so that all columns take equally long, but nothing is
computed there; columns of the padding, and those under no window, have no places.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.errors import TargetError
from rillet.ir.facts import has_weights, is_pointwise_function
from rillet.ir.graph import Graph, Node
from rillet.ir.types import Shape

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NarrowBlock:
    """An expansion, and the one depthwise layer that reads what it makes."""

    source: str
    """The narrow value."""
    wide: tuple[str, ...]
    """The values made column by column: the expansion's, and those of functions behind it."""
    reader: str
    block: str

    @property
    def expansion(self) -> str:
        """The pointwise layer."""
        return self.wide[0]


def narrow_blocks(graph: Graph) -> tuple[NarrowBlock, ...]:
    """All blocks of a folded graph that can use bottleneck buffering.

    None where the expanded map is an output or has other readers, where the windows see one row alone or cover the
    full tensor, and where strides leave out so much that nothing is expanded twice.
    """
    return tuple(_blocks(graph))


def _blocks(graph: Graph) -> Iterator[NarrowBlock]:
    for node in graph.nodes:
        if not has_weights(node.op) or not node.op.window.pointwise:
            continue
        wide, at = [node.name], node
        while at.name not in graph.outputs and len(graph.consumers[at.name]) == 1:
            (reader,) = graph.consumers[at.name]
            if is_pointwise_function(reader.op):
                wide.append(reader.name)
                at = reader
                continue
            op = reader.op
            if has_weights(op) and op.depthwise(at.shape) and op.window.kernel[0] > 1:
                again = Columns.of(reader, at.shape).made > at.shape.pixels
                if again and not op.window.covers(at.shape):
                    yield NarrowBlock(node.inputs[0], tuple(wide), reader.name, node.block)
            break


def named_blocks(graph: Graph, names: Sequence[str]) -> tuple[NarrowBlock, ...]:
    """Those blocks that go by these names: of the block, the expansion or the depthwise layer; `all` for every one.

    Raises TargetError for a name that no block has.
    """
    blocks = narrow_blocks(graph)
    if tuple(names) == ("all",):
        return blocks
    chosen: set[NarrowBlock] = set()
    for name in names:
        found = {one for one in blocks if name and name in (one.block, one.expansion, one.reader)}
        if not found:
            known = ", ".join(one.expansion for one in blocks) or "none here"
            raise TargetError(f"narrow must be all, auto or blocks by name ({known}), got {name!r}")
        chosen |= found
    return tuple(one for one in blocks if one in chosen)


def span_along(out: int, length: int, kernel: int, stride: int, before: int, gap: int) -> tuple[Places, Places]:
    """First and last place that each window sees along one axis; first behind last where it sees the padding alone."""
    corner = np.arange(out, dtype=np.int64) * stride - before
    skipped = np.maximum(0, -(corner // gap))
    steps = np.minimum(kernel - 1, (length - 1 - corner) // gap)
    return corner + skipped * gap, corner + steps * gap


@dataclass(frozen=True)
class Columns:
    """The order in which an expanded map is computed for one reader: column by column, for each output row."""

    rows: Places
    """For each row of the result, the rows of the map under its taps; those of the padding too."""
    columns: tuple[Places, Places]
    """For each column of the result, the first and the last that it sees."""
    used: Places
    """The columns that some window sees."""
    map: Shape
    """The expanded map."""

    @classmethod
    def of(cls, reader: Node, source: Shape) -> "Columns":
        """For a convolution and the map that it reads."""
        assert has_weights(reader.op)
        window, out = reader.op.window, reader.shape
        (high, wide), (down, right), (top, _, left, _) = window.kernel, window.stride, window.padding
        first, last = span_along(out.width, source.width, wide, right, left, window.dilation[1])
        seen = np.zeros(source.width, np.bool_)
        for tap in range(wide):
            at = first + tap * window.dilation[1]
            seen[at[at <= last]] = True
        rows = (np.arange(out.height) * down - top)[:, None] + np.arange(high) * window.dilation[0]
        return cls(rows, (first, last), np.flatnonzero(seen), source)

    @property
    def count(self) -> int:
        """Places for one image."""
        return self.rows.size * self.used.size

    @property
    def made(self) -> int:
        """Pixels that are made for one image, those made again counted again."""
        return int(self._inside.sum()) * self.used.size

    @property
    def _inside(self) -> npt.NDArray[np.bool_]:
        return (self.rows >= 0) & (self.rows < self.map.height)

    def source(self) -> tuple[Places, Places]:
        """For each place, the pixel of the map that is made there, twice; all of them and -1 in the padding."""
        pixels = self.rows[:, None, :] * self.map.width + self.used[:, None]
        some = np.broadcast_to(self._inside[:, None, :], pixels.shape)
        return np.where(some, pixels, self.map.pixels).reshape(-1), np.where(some, pixels, -1).reshape(-1)

    def seen(self) -> tuple[Places, Places]:
        """For each pixel of the result, the first and the last place that its window sees: all and -1 for none."""
        high, inside = self.rows.shape[1], self._inside
        place = np.searchsorted(self.used, np.stack(self.columns)) * high
        starts = (np.arange(len(self.rows)) * self.used.size * high)[:, None]
        first = starts + inside.argmax(1)[:, None] + place[0]
        last = starts + (high - 1 - inside[:, ::-1].argmax(1))[:, None] + place[1]
        some = (inside.sum(1) > 0)[:, None] & (self.columns[0] <= self.columns[1])
        return np.where(some, first, self.count).reshape(-1), np.where(some, last, -1).reshape(-1)


def columns_of(graph: Graph, blocks: Sequence[NarrowBlock]) -> Mapping[str, Columns]:
    """The order of every wide value of these blocks."""
    return {
        name: columns
        for one in blocks
        for columns in (Columns.of(graph.by_name[one.reader], graph.by_name[one.wide[0]].shape),)
        for name in one.wide
    }
