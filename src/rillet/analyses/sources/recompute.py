"""The cost of no buffering: each tile of a layer's output is computed from the input image alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError, Unsupported
from rillet.ir.facts import is_batch_norm, is_given, is_input, is_pointwise_function
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import op_macs, op_places, op_window
from rillet.ir.types import Shape

Marks = npt.NDArray[np.bool_]
"""Along one axis: tiles of the target down, pixels of a map across; True where the tile needs the pixel."""
Indices = npt.NDArray[np.intp]
Needs = list[tuple[Marks, Marks]]
"""The pixels that a tile needs of a map: the union of some sets of rows, each times a set of columns."""

_MOST_MARKS = 2**24
_MOST_SETS = 500


@dataclass(frozen=True, slots=True)
class Recompute:
    """The cost of one value, tile by tile."""

    name: str
    node: str
    grid: tuple[int, int]
    """Rows and columns of the value."""
    tile: tuple[int, int]
    """Rows and columns of a tile; the last tiles are smaller where these do not divide the grid."""
    tiles: int
    field: tuple[int, int]
    """The most rows and columns of the image that one tile sees; 0 where the value does not depend on an image."""
    macs: int
    """Of this layer and those before it, for all tiles."""
    macs_once: int
    """The same where nothing is computed twice."""
    factor: float
    network_factor: float
    """For the whole network, where the layers behind this one compute nothing twice."""
    input_reads_factor: float
    """Reads of a pixel of the image, on average."""


def recompute(graph: Graph, node_name: str, tile: tuple[int, int]) -> Recompute:
    """Computes the value of `node_name` in tiles of rows x columns, each from the image, with no buffer anywhere.

    Exact: just the pixels that a tile needs are computed, once for each tile, with all their channels; windows are cut
    off at the borders. Raises GraphError where there is no such node, where the tile does not lie within 1x1 and the
    map, where a squeeze-and-excite or another layer before needs the full tensor, or where the tiles are too many,
    and Unsupported where branches reach a layer on more than 500 differing paths.
    """
    node = graph.by_name.get(node_name)
    if node is None:
        raise GraphError(f"{graph.name}: layer must be one of the network's (rillet show), got {node_name!r}")
    shape, (rows, columns) = node.shape, tile
    if not (1 <= rows <= shape.height and 1 <= columns <= shape.width):
        raise GraphError(
            f"{graph.name}: {node_name}: tile must be 1x1 to {shape.height}x{shape.width}, got {rows}x{columns}"
        )
    macs, seen, before = _spent(graph, node, tile)
    once, _, _ = _spent(graph, node, (shape.height, shape.width))
    rest = sum(op_macs(n.op, graph.input_shapes(n)) for n in graph.nodes if n.name not in before)
    images = [n for n in graph.input_nodes if n.name in seen]
    tiles = (-(-shape.height // rows), -(-shape.width // columns))
    return Recompute(
        name=graph.name,
        node=node_name,
        grid=(shape.height, shape.width),
        tile=tile,
        tiles=tiles[0] * tiles[1],
        field=_field(seen[images[0].name]) if images else (0, 0),
        macs=macs,
        macs_once=once,
        factor=macs / once if once else 1.0,
        network_factor=(macs + rest) / (once + rest) if once + rest else 1.0,
        input_reads_factor=sum(_pixels(seen[n.name]) * n.shape.channels for n in images)
        / max(1, sum(n.shape.elements for n in images)),
    )


def granularities(graph: Graph) -> tuple[Recompute, ...]:
    """The last value of each size of map, deepest first, by single points, 2x2 points, rows, and 4x4 to 2x2 patches.

    Values of one pixel are left out, and those behind a layer that needs the full tensor. Raises GraphError where no
    value is left.
    """
    found: list[Recompute] = []
    for node in _cuts(graph):
        high, wide = node.shape.height, node.shape.width
        patches = [(-(-high // n), -(-wide // n)) for n in (4, 3, 2)]
        tiles = [(1, 1), (min(2, high), min(2, wide)), (1, wide), *patches]
        found += [recompute(graph, node.name, tile) for tile in dict.fromkeys(tiles) if tile != (high, wide)]
    if not found:
        raise GraphError(f"{graph.name}: must have a map of several pixels that does not need a full tensor before it")
    return tuple(found)


def _cuts(graph: Graph) -> Iterator[Node]:
    """For each size of map, deepest first, the last value that ends a block, or else the last one; named by the layer
    and not by its batch norm or activation.
    """
    layers = [n for n in graph.nodes if not (is_given(n.op) or is_batch_norm(n.op) or is_pointwise_function(n.op))]
    ends = {node.block or node.name: node.name for node in layers}
    cut: dict[tuple[int, int], Node] = {}
    whole: set[str] = set()
    for node in graph.nodes:
        if _needs_whole(graph, node) or not whole.isdisjoint(node.inputs):
            whole.add(node.name)
    for node in layers:
        size = (node.shape.height, node.shape.width)
        ended = size in cut and cut[size].name in ends.values()
        if node.name not in whole and node.shape.pixels > 1 and (node.name in ends.values() or not ended):
            cut[size] = node
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    return iter(sorted(cut.values(), key=lambda node: order[node.name], reverse=True))


def _needs_whole(graph: Graph, node: Node) -> bool:
    window = op_window(node.op)
    source = graph.input_shapes(node)[0] if node.inputs else node.shape
    return window is not None and source.pixels > 1 and window.covers(source)


def _spent(graph: Graph, target: Node, tile: tuple[int, int]) -> tuple[int, dict[str, Needs], set[str]]:
    """MACs of all tiles, what they need of each input, and the values that lead to the target."""
    shape = target.shape
    needs: dict[str, Needs] = {target.name: [(tiles_along(target, 0, tile[0]), tiles_along(target, 1, tile[1]))]}
    several = tile != (shape.height, shape.width)
    seen: dict[str, Needs] = {}
    before: set[str] = set()
    macs = 0
    for node in reversed(graph.nodes):
        if node.name not in needs:
            continue
        before.add(node.name)
        if several and _needs_whole(graph, node):
            raise GraphError(
                f"{graph.name}: {target.name}: must not need a full tensor before it to be computed in tiles, "
                f"and {node.name} needs one"
            )
        wanted = _reduced(graph, node, needs.pop(node.name))
        if is_input(node.op):
            seen[node.name] = wanted
        macs += op_macs(node.op, graph.input_shapes(node)) // node.shape.pixels * _pixels(wanted)
        for name in dict.fromkeys(node.inputs):
            source = graph.by_name[name].shape
            read = [(needed(node, source, rows, 0), needed(node, source, columns, 1)) for rows, columns in wanted]
            # Windows that lie in the padding alone read nothing.
            needs.setdefault(name, []).extend((rows, columns) for rows, columns in read if rows.any() and columns.any())
    return macs, seen, before


def tiles_along(node: Node, axis: int, tile: int) -> Marks:
    """The tiles of an axis (0 rows, 1 columns) of a value: tiles down, places across.

    Raises GraphError where they are too many to mark.
    """
    length = _length(node.shape, axis)
    count = -(-length // tile)
    _check_marks(node, count, length)
    return np.arange(length) // tile == np.arange(count)[:, None]


def _length(shape: Shape, axis: int) -> int:
    return (shape.height, shape.width)[axis]


def _check_marks(node: Node, tiles: int, length: int) -> None:
    if tiles * length > _MOST_MARKS:
        raise GraphError(
            f"{node.name}: tiles along a map of {length} must be at most {_MOST_MARKS // length}, got {tiles}"
        )


def needed(node: Node, source: Shape, wanted: Marks, axis: int) -> Marks:
    """The places along an axis (0 rows, 1 columns) of a source that the wanted places of `node` read: tiles down.

    Raises GraphError where they are too many to mark.
    """
    length, own = _length(source, axis), _length(node.shape, axis)
    _check_marks(node, len(wanted), length)
    if source.pixels == 1 and node.shape.pixels > 1:
        return np.asarray(wanted.any(axis=1, keepdims=True), np.bool_)
    read = np.zeros((len(wanted), length), np.bool_)
    places = op_places(node.op)
    if places is not None:
        for place, (first, last) in enumerate(zip((places.rows, places.columns)[axis], places.last[axis], strict=True)):
            read[:, first : last + 1] |= wanted[:, place : place + 1]
        return read
    window = op_window(node.op)
    if window is None:
        return wanted
    first = np.arange(own) * window.stride[axis] - window.padding[2 * axis]
    for tap in range(window.kernel[axis]):
        place = first + tap * window.dilation[axis]
        inside = (place >= 0) & (place < length)
        read[:, place[inside]] |= wanted[:, inside]
    return read


def _reduced(graph: Graph, node: Node, needs: Needs) -> Needs:
    """The same pixels by fewer sets."""
    joined: dict[bytes, tuple[Marks, Marks]] = {}
    for rows, columns in needs:
        key = columns.tobytes()
        joined[key] = (joined[key][0] | rows, columns) if key in joined else (rows, columns)
    kept = list(joined.values())
    if len(kept) > 1:
        kept = _steps(kept)
    if len(kept) > _MOST_SETS:
        raise Unsupported(
            f"{graph.name}: {node.name}: recompute takes at most {_MOST_SETS} differing paths to a layer, "
            f"got {len(kept)}"
        )
    return kept


def _steps(needs: Needs) -> Needs:
    """One set for each thing that a row can need: the rows that need at least these columns, and these columns.

    The branches of FuSe convolutions give crosses, and crosses of crosses; this keeps their sets as few as their steps.
    """
    rows, _, which_rows = _memberships([one[0] for one in needs])
    columns, _, which_columns = _memberships([one[1] for one in needs])
    wanted, pattern = np.unique(_meet(rows, columns), axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)[which_rows]
    made: Needs = []
    for want in wanted:
        if want.any():
            at_least = (want <= wanted).all(axis=1)
            made.append((np.asarray(at_least[pattern]), np.asarray(want[which_columns])))
    return made


def _pixels(needs: Needs) -> int:
    """Pixels that all tiles need, those of several tiles counted for each.

    A pixel's row lies in some of the sets of rows, its column in some of the sets of columns; it is needed where both
    lie in those of one pair. Rows, and columns, are told apart by the sets that they lie in, so no tile is looked at.
    """
    if len(needs) < 2:
        return sum(int(rows.sum()) * int(columns.sum()) for rows, columns in needs)
    rows, row_counts, _ = _memberships([one[0] for one in needs])
    columns, column_counts, _ = _memberships([one[1] for one in needs])
    return int(row_counts @ _meet(rows, columns).astype(np.int64) @ column_counts)


def _memberships(sets: list[Marks]) -> tuple[Marks, Indices, Indices]:
    """Kinds of places (tile and row, or tile and column) by the sets they lie in: kinds x sets, how many places are of
    each kind, and the kind of each place.
    """
    flat = np.stack(sets).reshape(len(sets), -1)
    which = np.zeros(flat.shape[1], np.int64)
    for start in range(0, len(sets), 32):
        for marks in flat[start : start + 32]:
            which = 2 * which + marks
        _, which = np.unique(which, return_inverse=True)
    _, first, counts = np.unique(which, return_index=True, return_counts=True)
    return np.asarray(flat[:, first].T), counts, which.reshape(sets[0].shape)


def _meet(rows: Marks, columns: Marks) -> Marks:
    """For each kind of row and each kind of column, whether both lie in the sets of one pair."""
    both = np.zeros((len(rows), len(columns)), np.bool_)
    for in_rows, in_columns in zip(rows.T, columns.T, strict=True):
        both |= in_rows[:, None] & in_columns
    return both


def _field(needs: Needs) -> tuple[int, int]:
    if not needs:
        return 0, 0
    rows = np.logical_or.reduce([one[0] for one in needs]).sum(axis=1)
    columns = np.logical_or.reduce([one[1] for one in needs]).sum(axis=1)
    return int(rows.max()), int(columns.max())
