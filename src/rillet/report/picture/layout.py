"""The page: blocks from left to right in rows, on the smallest page of 16:9, and arcs over them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from rillet.report.picture.blocks import Block, Outline
from rillet.report.picture.lanes import Part, block_tree
from rillet.report.picture.slabs import FORK, SLAB_GAP, Caption, Extent, Placed, Slabs, Spot, Wire
from rillet.report.picture.words import fitted, text_width

LABEL, TEXT = 12.5, 11.0
"""Sizes of text beneath a block."""
LABEL_WIDTH, NUMBER, BAR = 150.0, 38.0, 42.0
"""The most that a label takes; room for a number such as `12.3 M`; length of the longest bar."""
PAD, CELL_GAP, SPREAD = 10.0, 8.0, 64.0
"""Room beside the items of a block and beside its text, and what is added at most to fill a row."""
ARROW = 8.0
"""Length of the arrow into a row, before its first block."""
MARGIN, GUTTER = 22.0, 54.0
SIDES = GUTTER + 2 * MARGIN
HEAD, BELOW, ROW_GAP, FOOT = 80.0, 66.0, 16.0, 78.0
"""Heights: of the title, of the text beneath the slabs of a row, between rows, of a usual legend."""
LEAST_WIDTH, MOST_STRETCH = 640.0, 1.7
"""Of the page, and of slabs in height where the page has some to spare."""
ARC_GAP, ARC_STEP = 8.0, 6.0
"""From slabs to an arc, and from arc to arc."""

Point = tuple[int, float, float]
"""A row, and a place about its axis."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A block and its room in a row: `left` to `right` is its room, `begin` to `end` what its items take of it."""

    place: int
    """Of its block in the network."""
    block: Block
    tree: Part
    extent: Extent
    least: float
    """Width that it needs."""
    left: float = 0.0
    width: float = 0.0

    @property
    def right(self) -> float:
        """Where the next cell begins."""
        return self.left + self.width

    @property
    def middle(self) -> float:
        """What text is centred on."""
        return self.left + self.width / 2

    @property
    def begin(self) -> float:
        """Where its items begin."""
        return self.middle - self.extent.width / 2

    @property
    def end(self) -> float:
        """Where its items end."""
        return self.middle + self.extent.width / 2


@dataclass(frozen=True, slots=True)
class Row:
    """Cells side by side; all its places are about its axis, which lies at `axis`."""

    cells: tuple[Cell, ...]
    spots: Mapping[int, Spot]
    """Where the items of its blocks stand."""
    captions: tuple[Caption, ...]
    wires: tuple[Wire, ...]
    """What flows, as polylines."""
    tips: tuple[float, ...]
    """Where the arrows on the axis end, all of them to the right."""
    axis: float = 0.0

    @property
    def down(self) -> float:
        """How far its slabs go below the axis."""
        return max(cell.extent.down for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of an arc that lies in one row: from a point up to `top`, along, and down to another."""

    row: int
    x0: float
    y0: float | None
    """None where the arc comes from the row before."""
    x1: float
    y1: float | None
    """None where the arc goes on in the row after."""
    top: float = 0.0


@dataclass(frozen=True, slots=True)
class Arc:
    """A value that goes past layers: to a join (a skip), or to a block that is not the next."""

    source: int
    """An item, or an input of the network where it is negative."""
    reader: int
    skip: bool
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """All places, in units of the picture; y goes down."""

    width: float
    bottom: float
    rows: tuple[Row, ...]
    arcs: tuple[Arc, ...]


def bar_length(value: int, most: int) -> float:
    """Length of a bar for `value` where the longest stands for `most`."""
    return BAR * value / most if most else 0.0


def lay_out(net: Outline) -> Layout:
    """Places for all of `net`."""
    slabs = Slabs(net, 1.0)
    inner, parts = _paginate([_cell(slabs, net, i) for i in range(len(net.blocks))])
    width = inner + SIDES
    # A page that is wider than 16:9 has height to spare.
    heights = sum(_slab_height(part) for part in parts)
    spare = max(0.0, width * 9 / 16 - _page_height(parts))
    slabs = Slabs(net, min(1 + spare / heights, MOST_STRETCH) if heights else 1.0)
    home = net.block_of()
    joined = {0} | {home[reader] for source, reader in net.edges if source >= 0 and home[source] == home[reader] - 1}
    cells = (_cell(slabs, net, i) for i in range(len(net.blocks)))
    rows: list[Row] = []
    for part in parts:
        spread = _spread(list(islice(cells, len(part))), inner, len(parts) == 1)
        rows.append(_row(slabs, tuple(spread), joined))
    arcs = _arcs(net, rows, joined)
    tops = [min(-cell.extent.up for cell in row.cells) for row in rows]
    for arc in arcs:
        for piece in arc.pieces:
            tops[piece.row] = min(tops[piece.row], piece.top)
    y = HEAD
    for i, row in enumerate(rows):
        rows[i] = replace(row, axis=y - tops[i])
        y = rows[i].axis + row.down + BELOW + ROW_GAP
    return Layout(width, y - ROW_GAP, tuple(rows), tuple(arcs))


def _cell(slabs: Slabs, net: Outline, place: int) -> Cell:
    """A block with the room that it needs."""
    block = net.blocks[place]
    tree = block_tree(net, block)
    inner = slabs.extent(tree)
    extent = replace(inner, width=inner.width + 2 * PAD)
    words = text_width(fitted_label(block), LABEL, bold=True), text_width(str(block.shape), TEXT)
    return Cell(place, block, tree, extent, max(extent.width, max(*words, NUMBER + 4 + BAR) + CELL_GAP))


def fitted_label(block: Block) -> str:
    """The label of a block, as much as there is room for."""
    return fitted(block.label, LABEL, LABEL_WIDTH, bold=True)


def _spread(cells: Sequence[Cell], inner: float, alone: bool) -> Iterator[Cell]:
    """The cells of a row from left to right, over its whole width if that does not tear them apart."""
    spare = inner - sum(cell.least for cell in cells)
    each = min(spare / len(cells), SPREAD)
    x = MARGIN + GUTTER + ((spare - each * len(cells)) / 2 if alone else 0.0)
    for cell in cells:
        yield replace(cell, left=x, width=cell.least + each)
        x += cell.least + each


def _row(slabs: Slabs, cells: tuple[Cell, ...], joined: set[int]) -> Row:
    """A row with its items in place; `joined` has the blocks that read what the block before them makes."""
    placed = Placed({}, [], [])
    tips: list[float] = []
    for i, cell in enumerate(cells):
        last = i + 1 == len(cells)
        slabs.place(cell.tree, cell.begin + PAD, 0.0, placed)
        if cell.place in joined:
            left = cells[i - 1].end if i else cell.left - ARROW
            placed.wires.append(((left, 0.0), (cell.begin + PAD, 0.0)))
            tips += [] if i else [cell.begin]
        if last or cells[i + 1].place in joined:
            placed.wires.append(((cell.end - PAD, 0.0), (cell.right if last else cell.end, 0.0)))
            tips += [cell.right] if last else []
    return Row(cells, placed.spots, tuple(placed.captions), tuple(placed.wires), tuple(tips))


def _paginate(cells: Sequence[Cell]) -> tuple[float, list[list[Cell]]]:
    """Rows of cells, and their width, that make the text largest on a page of 16:9."""
    best: tuple[float, float, list[list[Cell]]] = 0.0, LEAST_WIDTH - SIDES, []
    for count in range(1, len(cells) + 1):
        inner, rows = _narrowest(cells, count)
        height = _page_height(rows)
        scale = min(16 / (inner + SIDES), 9 / height)
        if scale <= best[0]:
            break
        # A page that is higher than 16:9 has width to spare.
        full = max(sum(cell.least + SPREAD for cell in row) for row in rows)
        best = scale, max(inner, min(height * 16 / 9 - SIDES, full)), rows
    return best[1], best[2]


def _page_height(rows: Sequence[Sequence[Cell]]) -> float:
    """Of a page, as far as can be told before legend and arcs are made."""
    return HEAD + FOOT + sum(_slab_height(row) + ARC_GAP + BELOW + ROW_GAP for row in rows)


def _slab_height(cells: Sequence[Cell]) -> float:
    return max(cell.extent.up for cell in cells) + max(cell.extent.down for cell in cells)


def _narrowest(cells: Sequence[Cell], count: int) -> tuple[float, list[list[Cell]]]:
    """The least width at which the cells take at most `count` rows, and these rows."""
    low = max(LEAST_WIDTH - SIDES, *(cell.least for cell in cells))
    high = max(low, sum(cell.least for cell in cells))
    while high - low > 1:
        middle = (low + high) / 2
        if len(_filled(cells, middle)) <= count:
            high = middle
        else:
            low = middle
    return high, _filled(cells, high)


def _filled(cells: Sequence[Cell], inner: float) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    room = 0.0
    for cell in cells:
        if not rows or cell.least > room + 1e-6:
            rows.append([])
            room = inner
        rows[-1].append(cell)
        room -= cell.least
    return rows


def _arcs(net: Outline, rows: list[Row], joined: set[int]) -> list[Arc]:
    """The skips, and the edges to blocks other than the next, each in the least height that is free over it."""
    home = net.block_of()
    wanted = [(source, reader, True) for source, reader in net.skips]
    seen: set[tuple[int, int]] = set()
    for source, reader in net.edges:
        block = home[reader]
        past = block > 0 if source < 0 else home[source] < block - 1
        if past and (source, block) not in seen:
            seen.add((source, block))
            wanted.append((source, reader, False))
    cells = [(r, cell) for r, row in enumerate(rows) for cell in row.cells]
    spots = {item: (r, spot) for r, row in enumerate(rows) for item, spot in row.spots.items()}
    ways: list[list[Piece]] = []
    for source, reader, skip in wanted:
        after = 0 if source < 0 else home[source] + 1
        forks = source < 0 or (source == net.blocks[after - 1].stop - 1 and after in joined and after <= home[reader])
        begin = _fork(*cells[after]) if forks else _behind(*spots[source])
        end = _above(*spots[reader]) if skip else _fork(*cells[home[reader]])
        ways.append(list(_way(rows, begin, end)))
    _lift(rows, ways)
    return [Arc(*arc, tuple(way)) for arc, way in zip(wanted, ways, strict=True)]


def _fork(row: int, cell: Cell) -> Point:
    """Where a value comes into a block."""
    return row, cell.begin + FORK / 2, 0.0


def _behind(row: int, spot: Spot) -> Point:
    return row, spot.x + spot.width + SLAB_GAP / 2, spot.y


def _above(row: int, spot: Spot) -> Point:
    return row, spot.x + spot.width / 2, spot.y - spot.height / 2


def _way(rows: list[Row], begin: Point, end: Point) -> Iterator[Piece]:
    """The pieces of an arc, row by row, still without their heights."""
    for r in range(begin[0], end[0] + 1):
        x0, y0 = begin[1:] if r == begin[0] else (rows[r].cells[0].left - ARROW, None)
        x1, y1 = end[1:] if r == end[0] else (rows[r].cells[-1].right, None)
        yield Piece(r, x0, y0, x1, y1)


def _lift(rows: list[Row], ways: list[list[Piece]]) -> None:
    """Gives each piece its height: over the blocks beneath it and over shorter arcs."""
    lifted: dict[int, list[Piece]] = {}
    for way in sorted(ways, key=lambda way: sum(piece.x1 - piece.x0 for piece in way)):
        for i, piece in enumerate(way):
            cells, others = rows[piece.row].cells, lifted.setdefault(piece.row, [])
            tops = [-cell.extent.up - ARC_GAP for cell in cells if cell.begin < piece.x1 and cell.end > piece.x0]
            tops += [other.top - ARC_STEP for other in others if other.x0 < piece.x1 and other.x1 > piece.x0]
            way[i] = replace(piece, top=min(tops, default=-ARC_GAP))
            others.append(way[i])
