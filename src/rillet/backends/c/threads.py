"""Multithreaded stages: each thread's part of a tile, and the firings that it waits for."""

from rillet.ir.graph import Node
from rillet.ir.ops import op_window
from rillet.plan.host.threads import tile_rows
from rillet.plan.host.tilings import in_line
from rillet.plan.rows.plan import BufferKind, Kernel, RowPlan, Segment, Split, Stage

PLACE = "&self->place"
_APART = (Kernel.TILES, Kernel.WINOGRAD)
"""Kernels whose scratch memory has a part for each thread that shares their work."""
SUM_LANES = 16
"""Channels that kernels/pool_rows.h sums side by side."""


def parameter(plan: RowPlan) -> str:
    """The parameter of the schedule's functions: the context, or one thread's part of it."""
    return f"{'net_context' if plan.threads == 1 else 'net_thread'} *const self"


# -- shares ----------------------------------------------------------------------------------------------------------


def share(node: Node, stage: Stage) -> list[str]:
    """Declares a thread's share: pixels `from` to `to` - 1 of the tile, or columns `begin` to `end` - 1 of each row."""
    width = node.shape.width
    if stage.split is Split.COLUMNS:
        return [
            f"    const int32_t begin = rillet_share({width}, self->place.part);",
            f"    const int32_t end = rillet_share({width}, self->place.part + 1);",
        ]
    if stage.split is Split.ROWS:
        rows = tile_rows(node.shape, stage.tile_pixels)
        ends = (f"rillet_least({width} * rillet_share({rows}, self->place.part{more}), n)" for more in ("", " + 1"))
        start, end = ends
        return [f"    const int32_t from = {start};", f"    const int32_t to = {end};"]
    return []


def each_pixel(node: Node, stage: Stage) -> list[str]:
    """Heads of the loops over the pixels `p` of a tile that a thread makes."""
    width = node.shape.width
    if stage.split is Split.COLUMNS:
        return [
            f"    for (int32_t y = 0; y < n; y += {width})",
            "    for (int32_t p = y + begin; p < y + end; p++)",
        ]
    if stage.split is Split.ROWS:
        return ["    for (int32_t p = from; p < to; p++)"]
    return ["    for (int32_t p = 0; p < n; p++)"]


def piece(stage: Stage) -> tuple[str, str]:
    """First pixel, and the one past the last, of a piece of the tile that a thread makes (see `each_piece`)."""
    if stage.split is Split.COLUMNS:
        return "y + begin", "y + end"
    return ("from", "to") if stage.split is Split.ROWS else ("0", "n")


def piece_pixels(stage: Stage) -> str:
    """How many it has."""
    start, end = piece(stage)
    if stage.split is Split.COLUMNS:
        return "(end - begin)"
    return end if start == "0" else f"({end} - {start})"


def each_piece(node: Node, stage: Stage) -> list[str]:
    """Head of the loop over the pieces: none where there is one."""
    if stage.split is not Split.COLUMNS:
        return []
    return [f"    for (int32_t y = 0; y < n; y += {node.shape.width})"]


def each_row(node: Node, stage: Stage) -> str:
    """Head of the loop over the rows `y` of a tile of which a thread makes some pixels."""
    if stage.split is Split.ROWS:
        return f"    for (int32_t y = from / {node.shape.width}; y < to / {node.shape.width}; y++)"
    return f"    for (int32_t y = 0; y < n / {node.shape.width}; y++)"


def channel_share(stage: Stage, units: int) -> list[str]:
    """Declares `first` and `last`: a thread's groups of output channels, of so many; nothing where it makes all."""
    if stage.split is not Split.CHANNELS:
        return []
    return [
        f"    const int32_t first = rillet_share({units}, self->place.part);",
        f"    const int32_t last = rillet_share({units}, self->place.part + 1);",
    ]


def some_channels(stage: Stage, count: int) -> list[str]:
    """Declares the `channels` from `first` on that a thread sums; all are the caller's where it works alone."""
    if stage.split is Split.NONE:
        return [f"  const int32_t first = 0, channels = self->place.part ? 0 : {count};"]
    units, last = -(-count // SUM_LANES), "rillet_share({}, self->place.part + 1)"
    return [
        f"  const int32_t first = {SUM_LANES} * rillet_share({units}, self->place.part);",
        f"  const int32_t channels = rillet_least({count}, {SUM_LANES} * {last.format(units)}) - first;",
    ]


# -- what to wait for ------------------------------------------------------------------------------------------------


def _stage(segment: Segment, name: str) -> Stage | None:
    return next((stage for stage in segment.stages if stage.node == name), None)


def _readers(plan: RowPlan, segment: Segment, name: str) -> list[Stage]:
    return [stage for stage in segment.stages if name in plan.graph.by_name[stage.node].inputs]


def _pushed(plan: RowPlan, segment: Segment, name: str) -> bool:
    return name == segment.driver == plan.graph.input_nodes[0].name and not plan.resident


def _own(plan: RowPlan, source: Stage, reader: Stage) -> bool:
    """True where every thread reads only what it computed itself."""
    made, node = plan.graph.by_name[source.node], plan.graph.by_name[reader.node]
    if source.split is not reader.split or source.split is Split.CHANNELS:
        return False
    if source.split is Split.NONE:
        return True
    band = reader.kernel is Kernel.TILES and reader.tiling is not None and not in_line(node, reader.tiling)
    if band and reader.split is Split.COLUMNS:
        return False  # a thread copies whole rows to its band
    window = op_window(node.op)
    elsewhere = reader.kernel in (Kernel.COPY, Kernel.INTERPOLATE)
    return made.shape == node.shape and (window is None or window.pointwise) and not elsewhere


def _crosses(plan: RowPlan, segment: Segment, name: str) -> list[Stage]:
    """Stages of the segment that read what another thread computed."""
    source = _stage(segment, name)
    if source is None:
        return _readers(plan, segment, name) if _pushed(plan, segment, name) else []
    return [reader for reader in _readers(plan, segment, name) if not _own(plan, source, reader)]


def _shared_scratch(plan: RowPlan, segment: Segment) -> list[Stage]:
    """Stages that share scratch memory, where there are several and not all of them keep to parts of their threads."""
    users = [s for s in segment.stages if s.scratch and plan.buffers[s.scratch].kind is BufferKind.SCRATCH]
    apart = all(stage.kernel in _APART and stage.split is not Split.NONE for stage in users)
    return users if len(users) > 1 and not apart else []


def _spent(plan: RowPlan, segment: Segment, name: str) -> bool:
    """True where places of a value are written again while other threads may still read them."""
    ring = name in plan.buffers and plan.buffers[name].kind is BufferKind.RING
    return ring and bool(_crosses(plan, segment, name))


def waits(plan: RowPlan, segment: Segment, stage: Stage) -> list[str]:
    """The firings after which the stage's may begin, as fields of a thread's `last`."""
    inputs = dict.fromkeys(plan.graph.by_name[stage.node].inputs)
    found = [f"wrote_{n}" for n in inputs if _stage(segment, n) and stage in _crosses(plan, segment, n)]
    if _spent(plan, segment, stage.node):
        found.append(f"read_{stage.node}")
    if stage in _shared_scratch(plan, segment):
        found.append("gathered")
    return found


def marks(plan: RowPlan, segment: Segment, stage: Stage) -> list[str]:
    """Fields that publish the stage's firing to threads that wait for it."""
    inputs = dict.fromkeys(plan.graph.by_name[stage.node].inputs)
    found = [f"wrote_{stage.node}"] if _crosses(plan, segment, stage.node) else []
    for name in inputs:
        if stage in _crosses(plan, segment, name) and _spent(plan, segment, name):
            found.append(f"read_{name}")
    if stage in _shared_scratch(plan, segment):
        found.append("gathered")
    return found


def last_fields(plan: RowPlan) -> list[str]:
    """All such fields of the program."""
    found = (field for g in plan.segments for stage in g.stages for field in marks(plan, g, stage))
    return list(dict.fromkeys(found))


def await_lines(plan: RowPlan, segment: Segment, stage: Stage) -> list[str]:
    """Waits until a stage may fire."""
    if plan.threads == 1:
        return []
    return [f"    rillet_after({PLACE}, self->last.{field});" for field in waits(plan, segment, stage)]


def done_lines(plan: RowPlan, segment: Segment, stage: Stage) -> list[str]:
    """C code that publishes a thread's part of a firing as done."""
    if plan.threads == 1:
        return []
    out = [f"    rillet_did({PLACE});"]
    return out + [f"    self->last.{field} = self->place.firing;" for field in marks(plan, segment, stage)]
