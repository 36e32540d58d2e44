"""The functions of an emitted program that its caller knows: begin an image, push a row, run one image or many."""

from rillet.backends.c.image import LENT, input_of, lends_image
from rillet.backends.c.threads import argument, last_fields, parameter
from rillet.ir.graph import Node
from rillet.plan.rows.plan import Kernel, RowPlan, Segment


def outputs_of(plan: RowPlan) -> list[tuple[str, Node]]:
    """The outputs, each with what its names in C end in: nothing for the first, then _2, _3 and so on."""
    names = dict.fromkeys(plan.graph.outputs)
    return [("" if i == 0 else f"_{i + 1}", plan.graph.by_name[name]) for i, name in enumerate(names)]


def run_arguments(plan: RowPlan) -> str:
    """Parameters of net_run."""
    outputs = (f"net_output{end}_t *output{end}" for end, _ in outputs_of(plan))
    return ", ".join(["const net_input_t *image", *outputs])


def batch_arguments(plan: RowPlan) -> str:
    """Parameters of net_run_batch."""
    outputs = (f"net_output{end}_t *outputs{end}" for end, _ in outputs_of(plan))
    return ", ".join(["const net_input_t *images", "int32_t count", *outputs])


def reads_pushed(plan: RowPlan) -> bool:
    """True where the first stage reads the pushed row where it lies."""
    return not plan.resident and input_of(plan).name not in plan.buffers


def advance(plan: RowPlan, segment: Segment, driver: Node, indent: str) -> list[str]:
    """Lets the next tile of the driver in."""
    name, width = driver.name, driver.shape.width
    tile = segment.tile_pixels if segment.tile_rows else min(segment.tile_pixels, width)
    if segment.tile_rows:
        width = driver.shape.pixels
    if width % tile == 0:
        lines = [f"made.of_{name} += {tile};"]
    else:
        lines = [f"const int32_t left = {width} - made.of_{name} % {width};"]
        lines.append(f"made.of_{name} += left < {tile} ? left : {tile};")
    readers = [s.node for s in segment.stages if driver.name in plan.graph.by_name[s.node].inputs]
    lines += [f"run_{reader}({argument(plan)});" for reader in readers]
    return [indent + line for line in lines]


def _finish(plan: RowPlan) -> list[str]:
    """What follows the last row: the segments that are not pushed, and outputs as the caller knows them."""
    out = [f"  segment_{i + 1}({argument(plan)});" for i in range(0 if plan.resident else 1, len(plan.segments))]
    flips = [
        f"  rillet_flip(at_{node.name}(0), at_{node.name}(0), {node.type.bytes});"
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


def _pools(plan: RowPlan) -> bool:
    return any(s.kernel is Kernel.GLOBAL_POOL for g in plan.segments for s in g.stages)


def _stored_row(plan: RowPlan, to: str) -> str:
    """Keeps a row of the caller's."""
    source = input_of(plan)
    values = source.shape.width * source.shape.channels
    if source.name in plan.flipped and not lends_image(plan):
        return f"  rillet_flip(row, {to}, {values});"
    copy = f"memcpy({to}, row, {values} * sizeof *row);"
    return f"  if ({to} != row) {copy}" if plan.resident else f"  {copy}"


def _begun(plan: RowPlan) -> list[str]:
    """What an image begins with."""
    return ["  memset(&made, 0, sizeof made);", *(["  memset(&taken, 0, sizeof taken);"] if _pools(plan) else [])]


def _takes(plan: RowPlan, name: str, pixels: int) -> list[str]:
    """take_rows: a tile of rows is there, or the `whole` image."""
    rows = [*advance(plan, plan.segments[0], input_of(plan), "  ")]
    given = [parameter(plan)] if plan.threads > 1 else []
    if lends_image(plan):
        # Not asked of the image itself: a thread may still be behind, at rows of an image that was given up.
        rows = ["  do {", *(f"  {line}" for line in rows), f"  }} while (whole && made.of_{name} < {pixels});"]
        given.append("int32_t whole")
    ends = plan.threads > 1 or _finish(plan)
    finish = [f"  if (made.of_{name} == {pixels}) finish({argument(plan)});"] if ends else []
    return [f"static void take_rows({', '.join(given) or 'void'})", "{", *rows, *finish, "}", ""]


def _take(plan: RowPlan, thread: str, whole: str) -> str:
    """The call of it."""
    return (
        f"take_rows({', '.join([*([thread] if plan.threads > 1 else []), *([whole] if lends_image(plan) else [])])});"
    )


def _gathers(plan: RowPlan, name: str) -> list[str]:
    """Of a tile of several rows, returns before it is full; `name` has the rows of full ones."""
    source, rows = input_of(plan), plan.segments[0].tile_rows
    return [
        f"  gathered = (gathered + 1) % {rows};",
        f"  if (gathered && made.of_{name} + gathered * {source.shape.width} < {source.shape.pixels}) return;",
        "  gathered = 0;",
    ]


def _one_thread(plan: RowPlan, profile: bool) -> list[str]:
    """net_start and net_push_row."""
    source, later = input_of(plan), _finish(plan)
    name, shape, lends = source.name, source.shape, lends_image(plan)
    lines = [
        "void net_start(void)",
        "{",
        *(["  profile.since = rillet_ticks();"] if profile else []),
        *([f"  {LENT} = 0;"] if lends else []),
        *_begun(plan),
        "}",
        "",
    ]
    lines += ["static void finish(void)", "{", *later, "}", ""] if later else []
    by_rows = plan.host is not None and not plan.resident
    if by_rows:
        lines += _takes(plan, name, shape.pixels)
    lines += ["void net_push_row(const net_input_t *row)", "{"]
    lines += [f"  if (made.of_{name} >= {shape.pixels}) return;"]
    if plan.resident:
        kind = "(net_input_t *)" if source.name in plan.flipped else ""
        lines += [f"  net_input_t *const here = {kind}at_{name}(made.of_{name});", _stored_row(plan, "here")]
        lines.append(f"  made.of_{name} += {shape.width};")
    elif by_rows:
        lines += [_stored_row(plan, f"at_{name}(made.of_{name})"), f"  {_take(plan, '', '0')}"]
    else:
        first = plan.segments[0]
        lines += ["  pushed = row;"] if reads_pushed(plan) else []
        lines += ["  for (uint32_t x = 0; x < NET_INPUT_WIDTH;) {", f"    const uint32_t before = made.of_{name};"]
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
        lines += [*advance(plan, first, source, "    "), f"    x += made.of_{name} - before;", "  }"]
    if later and not by_rows:
        lines += [f"  if (made.of_{name} == {shape.pixels}) finish();"]
    return [*lines, "}", ""]


def _several_threads(plan: RowPlan, profile: bool) -> list[str]:
    """The same where threads go through the schedule side by side: the caller's with its rows, the others after it."""
    source, spent = input_of(plan), last_fields(plan)
    name, shape, several = source.name, source.shape, plan.segments[0].tile_rows > 1 and not plan.resident
    lines = ["static void finish(net_thread *const self)", "{", *_finish(plan), "}", ""]
    lines += ["/* Begins an image. */", "static void begin(net_thread *const self)", "{", *_begun(plan), "}", ""]
    if plan.resident:
        lines += ["/* The image is there. */", "static void take_rows(net_thread *const self)", "{"]
        lines += [f"  made.of_{name} = {shape.pixels};", "  finish(self);", "}", ""]
    else:
        lines += _takes(plan, name, shape.pixels)
    lines += [
        *(["/* Rows of the next tile that are there. */", "static uint32_t gathered;", ""] if several else []),
        "static void *work(void *thread)",
        "{",
        "  for (uint64_t count = 0; rillet_more(&gate, count); count++) {",
        "    if (count == __atomic_load_n(&gate.first, __ATOMIC_RELAXED)) begin(thread);",
        f"    {_take(plan, 'thread', 'count + 1 == __atomic_load_n(&gate.whole, __ATOMIC_RELAXED)')}",
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
        "  __atomic_store_n(&gate.first, gate.opened, __ATOMIC_RELAXED);",
        *([f"  {LENT} = 0;"] if lends_image(plan) else []),
        *(["  gathered = 0;"] if several else []),
        "  begin(self);",
        "}",
        "",
        "void net_push_row(const net_input_t *row)",
        "{",
        "  net_thread *const self = threads;",
        f"  if (made.of_{name} >= {shape.pixels}) return;",
    ]
    here = f"at_{name}(made.of_{name}{f' + gathered * {shape.width}' if several else ''})"
    if plan.resident:
        kind = "(net_input_t *)" if source.name in plan.flipped else ""
        lines += [
            f"  net_input_t *const here = {kind}{here};",
            _stored_row(plan, "here"),
            f"  made.of_{name} += {shape.width};",
            f"  if (made.of_{name} < {shape.pixels}) return;",
        ]
    else:
        if f"read_{name}" in spent:
            lines.append(f"  rillet_after(&self->place, self->last.read_{name});")
        lines += [_stored_row(plan, here), *(_gathers(plan, name) if several else [])]
    return [*lines, "  rillet_open(&gate);", f"  {_take(plan, 'self', '0')}", "}", ""]


def _image(plan: RowPlan) -> list[str]:
    """Gives the program the caller's image."""
    source = input_of(plan)
    if not lends_image(plan):
        values = source.shape.width * source.shape.channels
        return [f"  for (int32_t y = 0; y < NET_INPUT_HEIGHT; y++) net_push_row(image + y * {values});"]
    lines = [f"  {LENT} = (void *)image;"]
    if plan.threads > 1:
        lines += ["  __atomic_store_n(&gate.whole, gate.opened + 1, __ATOMIC_RELAXED);", "  rillet_open(&gate);"]
    return [*lines, f"  {_take(plan, 'threads', '1')}"]


def entry_points(plan: RowPlan, profile: bool) -> str:
    """The text of all of them."""
    source, outputs = input_of(plan), outputs_of(plan)
    name = source.name
    lines = _one_thread(plan, profile) if plan.threads == 1 else _several_threads(plan, profile)
    for end, node in outputs:
        lines += [
            f"const net_output{end}_t *net_output{end}(void)",
            f"{{ return {_as(plan, node, f'net_output{end}_t')}at_{node.name}(0); }}",
            "",
        ]
    lines += [
        f"void net_run({run_arguments(plan)})",
        "{",
        "  net_start();",
        *_image(plan),
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


def _as(plan: RowPlan, node: Node, kind: str) -> str:
    """The cast from the type that a value is kept in, where that is another."""
    return f"({kind} *)" if node.name in plan.flipped else ""


def _batch(plan: RowPlan) -> list[str]:
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
