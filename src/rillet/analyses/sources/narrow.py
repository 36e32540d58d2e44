"""Trade-off per inverted-residual block: buffer the bottleneck map and recompute the expansion, or buffer the latter.

A depthwise layer behind an expansion buffers rows of the expanded map. It may instead buffer the same rows of the
bottleneck map, and only the window's pixels of the expanded one: then each window's column is expanded again for every
row of the result that it is part of. The narrow rows also serve the block's skip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rillet.analyses.sources.buffers import LineBuffer, held
from rillet.analyses.sources.recompute import needed, tiles_along
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Activate, Apply, Conv, Requantize, Slice
from rillet.plan.pipeline.pareto import subsets
from rillet.transforms.fold import fold, without_weights

_MOST_READERS = 8


@dataclass(frozen=True, slots=True)
class NarrowOption:
    """One expansion and the two ways to hold its rows."""

    expansion: str
    readers: tuple[str, ...]
    """The depthwise layers that read it."""
    block: str
    wide_values: int
    """Held where the wide rows are: line buffers of the readers, and the skip over the block."""
    narrow_values: int
    """Held where the narrow rows are: they alone, since the skip reads them too."""
    window_values: int
    """Beside the bottleneck rows: the window's pixels of the expanded map."""
    extra_macs: int
    """Expansions done again; rows of the padding are none."""
    extra_macs_steady: int
    """The same for a machine whose rate never changes: rows of the padding take their time too."""

    @property
    def saved_values(self) -> int:
        """Values fewer than with the wide rows."""
        return self.wide_values - self.narrow_values - self.window_values


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A choice of blocks that no other choice beats in values without taking more MACs."""

    values: int
    extra_macs: int
    factor: float
    """MACs beside those of the network."""
    narrow: tuple[str, ...]
    """The expansions with bottleneck buffering."""
    corner: bool
    """True on the convex hull of the front: taking blocks by values saved for each MAC leads from corner to corner."""


@dataclass(frozen=True, slots=True)
class Narrow:
    """All choices of a network."""

    name: str
    macs: int
    wide_values: int
    """On chip where nothing is computed twice."""
    narrow_values: int
    """On chip where every option is taken, without the windows' pixels."""
    window_values: int
    extra_macs: int
    extra_macs_steady: int
    """Of all options together."""
    options: tuple[NarrowOption, ...]
    front: tuple[FrontPoint, ...]
    """Every choice that is best for its values, from all wide to the least values."""


def narrow(graph: Graph) -> Narrow:
    """The narrow-side options of `graph`, each expansion that depthwise layers alone read, and the front they span.

    The front is exact: of all subsets of the options, those that no other beats. Where two expansions read one value,
    its rows are counted for each. Raises GraphError where the network has not one input, the front has more than
    20,000 points, or a map is too large to be marked row by row.
    """
    folded = fold(without_weights(graph))
    buffers = {one.value: one for one in held(folded)}
    options = tuple(
        option
        for node in folded.nodes
        if (option := _option(folded, node, buffers)) is not None and option.saved_values > 0
    )
    wide = sum(one.values for one in buffers.values())
    return Narrow(
        name=graph.name,
        macs=graph.macs,
        wide_values=wide,
        narrow_values=wide - sum(option.wide_values - option.narrow_values for option in options),
        window_values=sum(option.window_values for option in options),
        extra_macs=sum(option.extra_macs for option in options),
        extra_macs_steady=sum(option.extra_macs_steady for option in options),
        options=options,
        front=front(wide, graph.macs, {one.expansion: (one.saved_values, one.extra_macs) for one in options}),
    )


def front(wide_values: int, macs: int, options: Mapping[str, tuple[int, int]]) -> tuple[FrontPoint, ...]:
    """All choices of options, name to (values saved, extra MACs), that no other choice beats; exact.

    Raises GraphError beyond 20,000 points (subsets.py).
    """
    names = tuple(options)
    kept = subsets([(extra, -saved) for saved, extra in options.values()])
    corners = _hull([(extra, less) for extra, less, _ in kept])
    return tuple(
        FrontPoint(
            values=wide_values + less,
            extra_macs=extra,
            factor=(macs + extra) / macs if macs else 1.0,
            narrow=tuple(name for i, name in enumerate(names) if chosen >> i & 1),
            corner=(extra, less) in corners,
        )
        for extra, less, chosen in kept
    )


def _hull(points: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Corners of the lower convex hull of points that go right and down."""
    hull: list[tuple[int, int]] = []
    for x, y in points:
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (x1 - x0) * (y - y0) > (x - x0) * (y1 - y0):
                break
            hull.pop()
        hull.append((x, y))
    return set(hull)


@dataclass(frozen=True, slots=True)
class _Reader:
    """A depthwise layer that reads channels start to stop of an expansion."""

    node: Node
    start: int
    stop: int


def _option(folded: Graph, node: Node, buffers: Mapping[str, LineBuffer]) -> NarrowOption | None:
    if not has_weights(node.op) or not node.op.window.pointwise:
        return None
    found = _follow(folded, node)
    if found is None:
        return None
    passed, readers = found
    source = folded.by_name[node.inputs[0]]
    rows = [buffers[name] for name in passed if name in buffers]
    skip = buffers.get(source.name)
    once, exact, steady = _expansions(node, readers)
    macs = node.op.macs(source.shape) // node.shape.elements
    return NarrowOption(
        expansion=node.name,
        readers=tuple(reader.node.name for reader in readers),
        block=node.block,
        wide_values=sum(one.values for one in rows) + (skip.values if skip else 0),
        narrow_values=max((one.pixels for one in (*rows, skip) if one), default=1) * source.shape.channels,
        window_values=sum(_window_pixels(reader.node) * (reader.stop - reader.start) for reader in readers),
        extra_macs=(exact - once) * macs,
        extra_macs_steady=(steady - once) * macs,
    )


def _follow(folded: Graph, node: Node) -> tuple[list[str], list[_Reader]] | None:
    """The values from an expansion to its readers, and the readers; None where not all are depthwise layers."""
    passed: list[str] = []
    readers: list[_Reader] = []
    waiting = [_Reader(node, 0, node.shape.channels)]
    while waiting:
        at = waiting.pop()
        passed.append(at.node.name)
        consumers = folded.consumers[at.node.name]
        if at.node.name in folded.outputs or not consumers:
            return None
        for reader in consumers:
            match reader.op:
                case Activate() | Apply() | Requantize():
                    waiting.append(_Reader(reader, at.start, at.stop))
                case Slice(start=start, stop=stop):
                    waiting.append(_Reader(reader, at.start + start, at.start + stop))
                case Conv() if reader.op.depthwise(at.node.shape):
                    readers.append(_Reader(reader, at.start, at.stop))
                case _:
                    return None
    same = len({(reader.node.shape.height, reader.node.shape.width) for reader in readers}) == 1
    return (passed, readers) if same and len(readers) <= _MOST_READERS else None


def _expansions(node: Node, readers: Sequence[_Reader]) -> tuple[int, int, int]:
    """Values of the expansion that are made once at all; that are made where each row of the readers' results makes
    all that it reads; and that are made where every row takes as long as the longest.
    """
    first, out = readers[0].node, readers[0].node.shape
    each_row, all_columns = tiles_along(first, 0, 1), tiles_along(first, 1, out.width)
    rows = [needed(reader.node, node.shape, each_row, 0) for reader in readers]
    columns = [needed(reader.node, node.shape, all_columns, 1) for reader in readers]
    once = exact = steady = 0
    edges = sorted({edge for reader in readers for edge in (reader.start, reader.stop)})
    for start, stop in pairwise(edges):
        reading = [i for i, reader in enumerate(readers) if reader.start <= start and stop <= reader.stop]
        # The bits of `who` say which readers want a row of the expansion; it is made where their columns are.
        who = np.zeros((out.height, node.shape.height), np.int64)
        made = np.zeros((2 ** len(reading), node.shape.width), np.bool_)
        for k, i in enumerate(reading):
            who |= rows[i].astype(np.int64) << k
            made |= columns[i] & (np.arange(len(made)) >> k & 1)[:, None].astype(np.bool_)
        pixels = made.sum(axis=1)
        each = pixels[who].sum(axis=1)
        once += int(pixels[np.bitwise_or.reduce(who)].sum()) * (stop - start)
        exact += int(each.sum()) * (stop - start)
        steady += int(each.max()) * out.height * (stop - start)
    return once, exact, steady


def _window_pixels(reader: Node) -> int:
    """Pixels of the expanded map that a window sliding along a row keeps."""
    assert has_weights(reader.op)
    return reader.op.window.kernel[0] * reader.op.window.extent[1]
