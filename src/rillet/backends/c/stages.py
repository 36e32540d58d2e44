"""The C text of one stage: when it may fire, its tile, and the accessors of its values' pixels."""

from rillet.backends.c.calls import body, c_type
from rillet.backends.c.context import state_type
from rillet.backends.c.names import Named
from rillet.backends.c.reads import windowed
from rillet.backends.c.threads import await_lines, done_lines, parameter, share
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import op_name
from rillet.plan.host.tilings import VECTORS
from rillet.plan.rows.plan import Buffer, BufferKind, Kernel, RowPlan, Segment, Split, Stage


def accessor(known: Named, graph: Graph, buffer: Buffer, instead: str = "") -> str:
    """The C function that gives a pixel's address: in the arena, or in the array `instead` while that is not null."""
    node = graph.by_name[buffer.name]
    name, kind = node.name, c_type(node.type)
    slot = "i" if buffer.pixels >= node.shape.pixels else f"(int32_t)((uint32_t)i % {buffer.pixels})"
    slot = "0" if buffer.pixels == 1 else slot
    what = "full tensor" if buffer.kind is BufferKind.MAP else f"ring of {buffer.pixels} pixels"
    comment = f"/* {known.nodes[name]}: {node.shape}, {what}, {buffer.bytes} bytes */\n"
    step = node.type.pixel_bytes // node.type.dtype.numpy.itemsize
    lines = [f"static inline {kind} *at_{name}(const {state_type(known.plan)} *self, int32_t i)", "{"]
    if instead:
        lines += [f"  const void *const given = {instead};", f"  if (given) return ({kind} *)given + i * {step};"]
    lines += ["  (void)i;"] if slot == "0" else []
    place = f"self->arena + {buffer.offset}" if buffer.offset else "self->arena"
    if buffer.planes is not None:
        rows, width = buffer.pixels // buffer.planes.width, buffer.planes.width
        row = f"i / {width}" + ("" if buffer.pixels >= node.shape.pixels else f" % {rows}")
        at = f"{place} + {buffer.planes.before} + {row} * {buffer.row_bytes} + i % {width}"
        return comment + "\n".join([*lines, f"  return ({kind} *)({at});", "}", ""])
    typed = place if kind == "uint8_t" else f"({kind} *)(void *)({place})"
    more = "" if slot == "0" else f" + {slot}" + (f" * {step}" if step > 1 else "")
    return f"{comment}" + "\n".join([*lines, f"  return {typed}{more};", "}", ""])


def constant_accessor(known: Named, node: Node) -> str:
    """The same for a constant, which is stored with the weights."""
    name, kind = node.name, c_type(node.type)
    slot = "0" if node.shape.pixels == 1 else "i"
    return (
        f"/* {known.nodes[name]}: {node.shape}, constant */\n"
        f"static inline const {kind} *at_{name}(const {state_type(known.plan)} *self, int32_t i)\n"
        f"{{ return (void)self, (void)i, net_{name}_value + {slot} * {node.shape.channels}; }}\n"
    )


def stage_text(known: Named, plan: RowPlan, segment: Segment, stage: Stage) -> str:
    """The C function that makes a stage's next tile, and tells whether its inputs were ready."""
    graph = plan.graph
    node = graph.by_name[stage.node]
    name, shape = node.name, node.shape
    inputs = ", ".join(f"{known.nodes[n]} {graph.by_name[n].shape}" for n in node.inputs)
    constants, ready, lines = body(plan, segment, node, stage)
    if plan.threads > 1:
        ready, lines = _shared(plan, segment, stage, ready, lines)
    seen, planes = "SEEN_FLIPPED" if node.name in plan.sign_flipped else "SEEN", plan.buffers[name].planes
    bytes_ = str(node.type.pixel_bytes)
    if planes is not None:
        seen, bytes_ = "SEEN_PLANES", f"{bytes_}, {planes.pitch}, {128 if node.name in plan.sign_flipped else 0}"
    tile = [
        *(_rows(plan, node, stage) if segment.tile_rows else _tile(plan, node, stage)),
        *ready,
        *_awake(plan, stage),
        *lines,
        f"    {seen}({plan.graph.position[node.name]}, at_{name}, self->made.of_{name}, n, {bytes_});",
        f"    self->made.of_{name} += n;",
    ]
    return "\n".join(
        [
            f"/* {known.nodes[name]}: {_what(graph, node)}, {inputs} -> {shape} */",
            *_attributes(plan, stage),
            f"static int32_t fire_{name}({parameter(plan)})",
            "{",
            f"  const uint32_t done = (uint32_t)self->made.of_{name};",
            f"  if (done >= {shape.pixels}) return 0;",
            *constants,
            *(line.removeprefix("  ") for line in tile),
            "  return 1;",
            "}",
            "",
        ]
    )


def _awake(plan: RowPlan, stage: Stage) -> list[str]:
    """Keeps the matrix unit awake during a stage that makes no use of it."""
    idle = plan.has_matrices and not (stage.tiling is not None and stage.tiling.matrix)
    return ["    rillet_matrix_wake();"] if idle else []


def _attributes(plan: RowPlan, stage: Stage) -> list[str]:
    """Those of a stage's function: where bytes count, one that only calls others is small."""
    calls = stage.kernel in (Kernel.TILES, Kernel.WINOGRAD, Kernel.DEPTHWISE_TILES, Kernel.ARITHMETIC)
    compact = plan.host is not None and plan.host.kernels in VECTORS and VECTORS[plan.host.kernels].compact
    return ["__attribute__((minsize))"] if calls and compact else []


def _shared(
    plan: RowPlan, segment: Segment, stage: Stage, ready: list[str], lines: list[str]
) -> tuple[list[str], list[str]]:
    """The same for one of several threads: when it may fire, and its share."""
    node, done = plan.graph.by_name[stage.node], done_lines(plan, segment, stage)
    if stage.kernel is Kernel.GLOBAL_POOL:
        return ready, [*lines, *done]
    wait = await_lines(plan, segment, stage)
    if stage.split is Split.NONE:
        return ready, ["    if (self->place.part == 0) {", *(f"  {line}" for line in [*wait, *lines]), "    }", *done]
    return [*ready, *wait, *share(node, stage)], [*lines, *done]


def _what(graph: Graph, node: Node) -> str:
    op = node.op
    if has_weights(op):
        kernel = f"{op.window.kernel[0]}x{op.window.kernel[1]}"
        kind = "depthwise " if op.depthwise(graph.input_shapes(node)[0]) else ""
        return f"{kind}{kernel} convolution, stride {op.window.stride[0]}x{op.window.stride[1]}"
    return op_name(op)


def _tile(plan: RowPlan, node: Node, stage: Stage) -> list[str]:
    """The tile to make: n pixels from `row`, `column` on."""
    width = node.shape.width
    lines: list[str] = []
    if windowed(plan, node, stage):
        lines.append(f"    const int32_t row = (int32_t)(done / {width}), column = (int32_t)(done % {width});")
    if stage.tile_pixels == 1:
        lines.append("    const int32_t n = 1;")
    elif width % stage.tile_pixels == 0:
        lines.append(f"    const int32_t n = {stage.tile_pixels};")
    else:
        column = "column" if lines else f"(int32_t)(done % {width})"
        lines.append(f"    const int32_t left = {width} - {column};")
        lines.append(f"    const int32_t n = left < {stage.tile_pixels} ? left : {stage.tile_pixels};")
    return lines


def _rows(plan: RowPlan, node: Node, stage: Stage) -> list[str]:
    """The whole rows to make: n pixels from `row` on."""
    name, shape, tile = node.name, node.shape, stage.tile_pixels
    lines: list[str] = []
    if windowed(plan, node, stage):
        lines.append(f"    const int32_t row = (int32_t)(done / {shape.width});")
    if shape.pixels % tile == 0:
        return [*lines, f"    const int32_t n = {tile};"]
    lines.append(f"    const int32_t left = {shape.pixels} - self->made.of_{name};")
    return [*lines, f"    const int32_t n = left < {tile} ? left : {tile};"]
