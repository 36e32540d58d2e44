"""The functions of an emitted program that its caller knows: begin an image, push a row, run one image or many."""

from rillet.backends.c.constants import identifier
from rillet.backends.c.threads import argument, last_fields
from rillet.ir.graph import Node
from rillet.plan.plan import Kernel, Plan, Segment


def input_of(plan: Plan) -> Node:
    """The network's input."""
    return plan.graph.input_nodes[0]


def outputs_of(plan: Plan) -> list[tuple[str, Node]]:
    """The outputs, each with what its names in C end in: nothing for the first, then _2, _3 and so on."""
    names = dict.fromkeys(plan.graph.outputs)
    return [("" if i == 0 else f"_{i + 1}", plan.graph.by_name[name]) for i, name in enumerate(names)]


def run_arguments(plan: Plan) -> str:
    """Parameters of net_run."""
    outputs = (f"net_output{end}_t *output{end}" for end, _ in outputs_of(plan))
    return ", ".join(["const net_input_t *image", *outputs])


def batch_arguments(plan: Plan) -> str:
    """Parameters of net_run_batch."""
    outputs = (f"net_output{end}_t *outputs{end}" for end, _ in outputs_of(plan))
    return ", ".join(["const net_input_t *images", "int32_t count", *outputs])


def reads_pushed(plan: Plan) -> bool:
    """True where the first stage reads the pushed row where it lies."""
    return not plan.resident and input_of(plan).name not in plan.buffers


def advance(plan: Plan, segment: Segment, driver: Node, indent: str) -> list[str]:
    """Lets the next tile of the driver in."""
    name, width = identifier(driver.name), driver.shape.width
    tile = segment.tile_pixels if segment.tile_rows else min(segment.tile_pixels, width)
    if segment.tile_rows:
        width = driver.shape.pixels
    if width % tile == 0:
        lines = [f"made.{name} += {tile};"]
    else:
        lines = [f"const int32_t left = {width} - made.{name} % {width};"]
        lines.append(f"made.{name} += left < {tile} ? left : {tile};")
    readers = [s.node for s in segment.stages if driver.name in plan.graph.by_name[s.node].inputs]
    lines += [f"run_{identifier(reader)}({argument(plan)});" for reader in readers]
    return [indent + line for line in lines]


def _finish(plan: Plan) -> list[str]:
    """What follows the last row: the segments that are not pushed, and outputs as the caller knows them."""
    out = [f"  segment_{i + 1}({argument(plan)});" for i in range(0 if plan.resident else 1, len(plan.segments))]
    flips = [
        f"  rillet_flip(at_{identifier(node.name)}(0), at_{identifier(node.name)}(0), {node.type.bytes});"
        for _, node in outputs_of(plan)
        if node.name in plan.flipped
    ]
    if plan.threads > 1:
        return [
            *out,
            "  rillet_together(&self->place);",
            *(["  if (self->place.part) return;"] if flips else []),
            *flips,
        ]
    return [*out, *flips]


def _pools(plan: Plan) -> bool:
    return any(s.kernel is Kernel.GLOBAL_POOL for g in plan.segments for s in g.stages)


def _stored_row(plan: Plan, to: str) -> str:
    """Keeps a row of the caller's."""
    source = input_of(plan)
    values = source.shape.width * source.shape.channels
    if source.name in plan.flipped:
        return f"  rillet_flip(row, {to}, {values});"
    copy = f"memcpy({to}, row, {values} * sizeof *row);"
    return f"  if ({to} != row) {copy}" if plan.resident else f"  {copy}"


def _one_thread(plan: Plan, profile: bool) -> list[str]:
    """net_start and net_push_row."""
    source, later = input_of(plan), _finish(plan)
    name, shape = identifier(source.name), source.shape
    lines = [
        "void net_start(void)",
        "{",
        *(["  profile.since = rillet_ticks();"] if profile else []),
        "  memset(&made, 0, sizeof made);",
        *(["  memset(&taken, 0, sizeof taken);"] if _pools(plan) else []),
        "}",
        "",
    ]
    lines += ["static void finish(void)", "{", *later, "}", ""] if later else []
    lines += ["void net_push_row(const net_input_t *row)", "{"]
    lines += [f"  if (made.{name} >= {shape.pixels}) return;"]
    if plan.resident:
        kind = "(net_input_t *)" if source.name in plan.flipped else ""
        lines += [f"  net_input_t *const here = {kind}at_{name}(made.{name});", _stored_row(plan, "here")]
        lines.append(f"  made.{name} += {shape.width};")
    elif plan.host is not None:
        lines += [_stored_row(plan, f"at_{name}(made.{name})"), *advance(plan, plan.segments[0], source, "  ")]
    else:
        first = plan.segments[0]
        lines += ["  pushed = row;"] if reads_pushed(plan) else []
        lines += ["  for (uint32_t x = 0; x < NET_INPUT_WIDTH;) {", f"    const uint32_t before = made.{name};"]
        if not reads_pushed(plan):
            tile = min(first.tile_pixels, shape.width)
            count = (
                str(tile) if shape.width % tile == 0 else f"({shape.width} - x < {tile} ? {shape.width} - x : {tile})"
            )
            lines += [
                f"    for (uint32_t p = 0; p < {count}; p++)",
                f"      memcpy(at_{name}(before + p), row + (x + p) * {shape.channels},",
                f"             {shape.channels} * sizeof *row);",
            ]
        lines += [*advance(plan, first, source, "    "), f"    x += made.{name} - before;", "  }"]
    if later:
        lines += [f"  if (made.{name} == {shape.pixels}) finish();"]
    return [*lines, "}", ""]


def _several_threads(plan: Plan, profile: bool) -> list[str]:
    """The same where threads go through the schedule side by side: the caller's with its rows, the others after it."""
    source, spent = input_of(plan), last_fields(plan)
    name, shape = identifier(source.name), source.shape
    here = f"at_{name}(made.{name})"
    lines = ["static void finish(net_thread *const self)", "{", *_finish(plan), "}", ""]
    lines += ["/* Begins an image. */", "static void begin(net_thread *const self)", "{"]
    lines += ["  memset(&made, 0, sizeof made);", *(["  memset(&taken, 0, sizeof taken);"] if _pools(plan) else [])]
    lines += ["}", "", "/* A row is there; of an image that lies in the arena, all are. */"]
    lines += ["static void take_row(net_thread *const self)", "{"]
    if plan.resident:
        lines += [f"  made.{name} = {shape.pixels};", "  finish(self);"]
    else:
        lines += advance(plan, plan.segments[0], source, "  ")
        lines.append(f"  if (made.{name} == {shape.pixels}) finish(self);")
    lines += [
        "}",
        "",
        "static void *work(void *thread)",
        "{",
        "  for (uint64_t row = 0; rillet_more(&gate, row); row++) {",
        "    if (row == __atomic_load_n(&gate.first, __ATOMIC_RELAXED)) begin(thread);",
        "    take_row(thread);",
        "  }",
        "  return 0;",
        "}",
        "",
        "static void start_threads(void)",
        "{",
        "  memset(threads, 0, sizeof threads);",
        "  memset(progress, 0, sizeof progress);",
        "  memset(&gate, 0, sizeof gate);",
        "  for (int32_t i = 0; i < RILLET_THREADS; i++) {",
        "    threads[i].place.all = progress;",
        "    threads[i].place.part = i;",
        "  }",
        "  crew.process = getpid();",
        "  int failed = pthread_mutex_init(&gate.lock, 0) | pthread_cond_init(&gate.more, 0);",
        "  for (int32_t i = 1; i < RILLET_THREADS; i++)",
        "    failed |= pthread_create(&crew.threads[i], 0, work, &threads[i]);",
        "  if (failed) abort(); /* every tile needs all of them */",
        "}",
        "",
        "/* Runs at exit, and before the library is unloaded, too. */",
        "__attribute__((destructor)) void net_stop(void) { rillet_stop(&crew, &gate); }",
        "",
        "void net_start(void)",
        "{",
        "  net_thread *const self = threads;",
        *(["  profile.since = rillet_ticks();"] if profile else []),
        "  if (rillet_missing(&crew)) start_threads();",
        "  rillet_together(&self->place);",
        "  __atomic_store_n(&gate.first, gate.rows, __ATOMIC_RELAXED);",
        "  begin(self);",
        "}",
        "",
        "void net_push_row(const net_input_t *row)",
        "{",
        "  net_thread *const self = threads;",
        f"  if (made.{name} >= {shape.pixels}) return;",
    ]
    if plan.resident:
        kind = "(net_input_t *)" if source.name in plan.flipped else ""
        lines += [
            f"  net_input_t *const here = {kind}{here};",
            _stored_row(plan, "here"),
            f"  made.{name} += {shape.width};",
        ]
        lines += [f"  if (made.{name} < {shape.pixels}) return;"]
    else:
        if f"read_{name}" in spent:
            lines.append(f"  rillet_after(&self->place, self->last.read_{name});")
        lines.append(_stored_row(plan, here))
    return [*lines, "  rillet_open(&gate);", "  take_row(self);", "}", ""]


def entry_points(plan: Plan, profile: bool) -> str:
    """The text of all of them."""
    source, outputs = input_of(plan), outputs_of(plan)
    name, row_values = identifier(source.name), source.shape.width * source.shape.channels
    lines = _one_thread(plan, profile) if plan.threads == 1 else _several_threads(plan, profile)
    for end, node in outputs:
        lines += [
            f"const net_output{end}_t *net_output{end}(void)",
            f"{{ return {_as(plan, node, f'net_output{end}_t')}at_{identifier(node.name)}(0); }}",
            "",
        ]
    lines += [
        f"void net_run({run_arguments(plan)})",
        "{",
        "  net_start();",
        f"  for (int32_t y = 0; y < NET_INPUT_HEIGHT; y++) net_push_row(image + y * {row_values});",
        *(
            f"  memcpy(output{end}, net_output{end}(), NET_OUTPUT{end.upper()}_SIZE * sizeof *output{end});"
            for end, _ in outputs
        ),
        "}",
        "",
        *(_batch(plan) if plan.host is not None else []),
        "uint8_t *net_arena(void) { return arena; }",
    ]
    if plan.resident:
        lines += ["", f"net_input_t *net_input(void) {{ return {_as(plan, source, 'net_input_t')}at_{name}(0); }}"]
    return "\n".join([*lines, ""])


def _as(plan: Plan, node: Node, kind: str) -> str:
    """The cast from the type that a value is kept in, where that is another."""
    return f"({kind} *)" if node.name in plan.flipped else ""


def _batch(plan: Plan) -> list[str]:
    image = "images + (size_t)i * NET_INPUT_HEIGHT * NET_INPUT_WIDTH * NET_INPUT_CHANNELS"
    outputs = [f"outputs{end} + (size_t)i * NET_OUTPUT{end.upper()}_SIZE" for end, _ in outputs_of(plan)]
    return [
        f"void net_run_batch({batch_arguments(plan)})",
        "{",
        "  for (int32_t i = 0; i < count; i++)",
        f"    net_run({image},",
        f"            {', '.join(outputs)});",
        "}",
        "",
    ]
