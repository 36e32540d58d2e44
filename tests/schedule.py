"""A slow, obvious play-through of a row plan, tile by tile, that measures how far every ring's pixels are kept."""

from rillet.ir.graph import Graph, Node
from rillet.ir.moves import DepthToSpace
from rillet.ir.ops import Constant, Interpolate, Resize, op_window
from rillet.plan.rows.plan import BufferKind, Kernel, RowPlan, Segment


def ring_spans(plan: RowPlan) -> dict[str, int]:
    """For each ring, the most pixels between the newest and the oldest that a later firing still reads."""
    spans: dict[str, int] = {}
    made = {node.name: node.shape.pixels for node in plan.graph.input_nodes} if plan.resident else {}
    for segment in plan.segments:
        _play(plan, segment, made, spans)
    return spans


def _play(plan: RowPlan, segment: Segment, made: dict[str, int], spans: dict[str, int]) -> None:
    graph = plan.graph
    stages = {stage.node: stage for stage in segment.stages}
    made.update(dict.fromkeys(stages, 0))
    made[segment.driver] = 0
    taken: dict[str, int] = {}

    def readers(name: str) -> list[Node]:
        return [graph.by_name[s] for s in stages if name in graph.by_name[s].inputs]

    def written(name: str) -> None:
        """Notes what must be alive the moment after a tile of `name` was stored."""
        wanted = [
            w for w in (_first_wanted(graph, r, name, made, stages, taken) for r in readers(name)) if w is not None
        ]
        if wanted:
            spans[name] = max(spans.get(name, 0), made[name] - min(wanted))

    def run(name: str) -> None:
        node, stage = graph.by_name[name], stages[name]
        while made[name] < node.shape.pixels:
            if stage.kernel is Kernel.GLOBAL_POOL:
                taken[name] = made[node.inputs[0]]
                if taken[name] < graph.by_name[node.inputs[0]].shape.pixels:
                    return
                count = 1
            else:
                count = min(stage.tile_pixels, node.shape.width - made[name] % node.shape.width)
                computed = [s for s in node.inputs if not isinstance(graph.by_name[s].op, Constant)]
                if any(made[s] <= _last_tap(graph, node, s, made[name] + count - 1) for s in computed):
                    return
            made[name] += count
            written(name)
            for reader in readers(name):
                run(reader.name)

    driver = graph.by_name[segment.driver]
    tile = min(segment.tile_pixels, driver.shape.width)
    while made[driver.name] < driver.shape.pixels:
        made[driver.name] += min(tile, driver.shape.width - made[driver.name] % driver.shape.width)
        written(driver.name)
        for reader in readers(driver.name):
            run(reader.name)


def _taps(graph: Graph, node: Node, source: str, pixel: int) -> list[int]:
    """All pixels of `source` that `node` reads for one of its own."""
    shape, window = graph.by_name[source].shape, op_window(node.op)
    row, column = divmod(pixel, node.shape.width)
    if isinstance(node.op, Interpolate):
        return _between(node.op, shape.width, row, column)
    if isinstance(node.op, Resize | DepthToSpace):
        return [_copied(node, graph.by_name[source], pixel)]
    if window is None:
        return [pixel if shape.pixels > 1 else 0]
    out: list[int] = []
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            y = row * window.stride[0] - window.padding[0] + i * window.dilation[0]
            x = column * window.stride[1] - window.padding[2] + j * window.dilation[1]
            if 0 <= y < shape.height and 0 <= x < shape.width:
                out.append(y * shape.width + x)
    return out


def _between(op: Interpolate, width: int, row: int, column: int) -> list[int]:
    rows = [op.rows[row], *([op.rows[row] + 1] if op.row_shares[row] else [])]
    columns = [op.columns[column], *([op.columns[column] + 1] if op.column_shares[column] else [])]
    return [y * width + x for y in rows for x in columns]


def _copied(node: Node, source: Node, pixel: int) -> int:
    row, column = divmod(pixel, node.shape.width)
    if isinstance(node.op, DepthToSpace):
        return row // node.op.block * source.shape.width + column // node.op.block
    assert isinstance(node.op, Resize)
    return node.op.rows[row] * source.shape.width + node.op.columns[column]


def _last_tap(graph: Graph, node: Node, source: str, pixel: int) -> int:
    """What the emitted program waits for: the window's corner, moved into the map."""
    shape, window = graph.by_name[source].shape, op_window(node.op)
    if isinstance(node.op, Interpolate):
        # The emitted program's tables never go back, though a row may have no share that an earlier one had.
        row, column = divmod(pixel, node.shape.width)
        return node.op.last_rows[row] * shape.width + node.op.last_columns[column]
    if isinstance(node.op, Resize | DepthToSpace):
        return _copied(node, graph.by_name[source], pixel)
    if window is None:
        return pixel if shape.pixels > 1 else 0
    row, column = divmod(pixel, node.shape.width)
    y = row * window.stride[0] - window.padding[0] + window.extent[0] - 1
    x = column * window.stride[1] - window.padding[2] + window.extent[1] - 1
    return min(max(y, 0), shape.height - 1) * shape.width + min(max(x, 0), shape.width - 1)


def _first_wanted(graph, node, source, made, stages, taken):
    """The oldest pixel of `source` that `node` still reads, now or later."""
    if stages[node.name].kernel is Kernel.GLOBAL_POOL:
        return taken.get(node.name, 0)
    later = range(made[node.name], node.shape.pixels)
    wanted = [tap for pixel in later for tap in _taps(graph, node, source, pixel) if tap < made[source]]
    return min(wanted, default=None)


def planned_rings(plan: RowPlan) -> dict[str, int]:
    return {name: b.pixels for name, b in plan.buffers.items() if b.kind is BufferKind.RING}
