"""Entry points of an emitted program: start an image, push a row, run one image or a batch."""

from rillet.backends.c.context import gathers_rows, pooled
from rillet.backends.c.image import borrows_image, input_of, other_inputs, reads_pushed
from rillet.backends.c.schedule import try_stages
from rillet.backends.c.threads import last_fields, parameter
from rillet.ir.graph import Node
from rillet.ir.types import DType
from rillet.plan.rows.plan import Buffer, RowPlan, Segment


def outputs_of(plan: RowPlan) -> list[tuple[str, Node]]:
    """The outputs, each with the suffix of its names in C: none for the first, then _2, _3 and so on."""
    names = dict.fromkeys(plan.graph.outputs)
    return [("" if i == 0 else f"_{i + 1}", plan.graph.by_name[name]) for i, name in enumerate(names)]


def run_arguments(plan: RowPlan) -> str:
    """Parameters of net_run."""
    outputs = (f"net_output{end}_t *output{end}" for end, _ in outputs_of(plan))
    others = (f"const net_input{end}_t *input{end}" for end, _ in other_inputs(plan))
    return ", ".join(["net_context *net", "const net_input_t *image", *others, *outputs])


def batch_arguments(plan: RowPlan) -> str:
    """Parameters of net_run_batch."""
    outputs = (f"net_output{end}_t *outputs{end}" for end, _ in outputs_of(plan))
    others = (f"const net_input{end}_t *inputs{end}" for end, _ in other_inputs(plan))
    return ", ".join(["net_context *net", "const net_input_t *images", *others, "int32_t count", *outputs])


def advance(plan: RowPlan, segment: Segment, driver: Node, indent: str) -> list[str]:
    """Advances the driver by a tile, and lets the stages fire."""
    name, width = driver.name, driver.shape.width
    tile = segment.tile_pixels if segment.tile_rows else min(segment.tile_pixels, width)
    if segment.tile_rows:
        width = driver.shape.pixels
    if width % tile == 0:
        lines = [f"self->made.of_{name} += {tile};"]
    else:
        lines = [f"const int32_t left = {width} - self->made.of_{name} % {width};"]
        lines.append(f"self->made.of_{name} += left < {tile} ? left : {tile};")
    return [indent + line for line in [*lines, try_stages(plan, segment)]]


def _finish(plan: RowPlan) -> list[str]:
    """Code after the last row: the remaining segments, and outputs converted to the caller's types."""
    begin = 0 if plan.pushed is None else plan.pushed + 1
    out = [f"  segment_{i + 1}(self);" for i in range(begin, len(plan.segments))]
    flips = [
        f"  rillet_flip(at_{node.name}(self, 0), at_{node.name}(self, 0), {node.type.bytes});"
        for _, node in outputs_of(plan)
        if node.name in plan.sign_flipped
    ]
    if plan.threads > 1:
        return [
            *out,
            "  rillet_together(&self->place);",
            *(["  if (self->place.part) return;"] if flips else []),
            *flips,
        ]
    return [*out, *flips]


def _stored_row(plan: RowPlan, to: str) -> str:
    """Copies one of the caller's rows into the arena."""
    source = input_of(plan)
    values = source.shape.width * source.shape.channels
    if source.name in plan.sign_flipped and not borrows_image(plan):
        return f"  rillet_flip(row, {to}, {values});"
    copy = f"memcpy({to}, row, {values} * sizeof *row);"
    return f"  if ({to} != row) {copy}" if plan.resident else f"  {copy}"


def _begun(plan: RowPlan) -> list[str]:
    """Resets the counters at the start of an image."""
    return [
        "  memset(&self->made, 0, sizeof self->made);",
        *(["  memset(&self->taken, 0, sizeof self->taken);"] if pooled(plan) else []),
        *(f"  self->made.of_{node.name} = {node.shape.pixels};" for _, node in other_inputs(plan)),
        *(padding_lines(plan, 0) if plan.pushed == 0 else []),
    ]


def padding_lines(plan: RowPlan, index: int) -> list[str]:
    """Fills the rows that a segment begins to keep channel by channel: what is not written over is their padding."""
    kept = plan.padded.get(index, ())
    return [f"  memset(self->arena + {b.offset}, {_padding(plan, b) & 255}, {b.bytes});" for b in kept]


def _padding(plan: RowPlan, buffer: Buffer) -> int:
    value = plan.graph.by_name[buffer.name].type
    assert value.quant is not None
    # The kernels of a core know int8 alone: uint8 values are kept less 128.
    return value.quant.zero_point - (128 if value.dtype is DType.U8 else 0)


def _with_matrices(plan: RowPlan, lines: list[str]) -> list[str]:
    """The body of a function that runs stages: the matrix unit is taken before, where some need it, and given back."""
    if not plan.has_matrices:
        return lines
    return ["  rillet_matrix_begin();", *lines, "  rillet_matrix_end();"]


def _clock_begun(net: str) -> list[str]:
    """Time that is no stage's, from now on."""
    return [f"  {net}->profile.at = NET_STAGES;", f"  {net}->profile.since = rillet_ticks();"]


def _takes(plan: RowPlan, name: str, pixels: int) -> list[str]:
    """take_rows: a tile of rows is there, or the `whole` image."""
    rows = [*advance(plan, plan.segments[plan.pushed or 0], input_of(plan), "  ")]
    given = [parameter(plan)]
    if borrows_image(plan):
        # Not asked of the image itself: a thread may still be behind, at rows of an image that was given up.
        rows = ["  do {", *(f"  {line}" for line in rows), f"  }} while (whole && self->made.of_{name} < {pixels});"]
        given.append("int32_t whole")
    ends = plan.threads > 1 or _finish(plan)
    finish = [f"  if (self->made.of_{name} == {pixels}) finish(self);"] if ends else []
    return [f"static void take_rows({', '.join(given)})", "{", *_with_matrices(plan, [*rows, *finish]), "}", ""]


def _take(plan: RowPlan, thread: str, whole: str) -> str:
    """The call of it."""
    return f"take_rows({', '.join([thread, *([whole] if borrows_image(plan) else [])])});"


def _gathers(plan: RowPlan, name: str) -> list[str]:
    """Of a tile of several rows, returns before it is full; `name` has the rows of full ones."""
    source, rows = input_of(plan), plan.segments[0].tile_rows
    return [
        f"  net->gathered = (net->gathered + 1) % {rows};",
        f"  const int32_t come = self->made.of_{name} + net->gathered * {source.shape.width};",
        f"  if (net->gathered && come < {source.shape.pixels}) return;",
        "  net->gathered = 0;",
    ]


def _early(plan: RowPlan) -> list[str]:
    """before_rows: the segments of other inputs alone, none where there are none."""
    if not plan.pushed:
        return []
    return [
        "/* What follows from the other inputs alone; its memory is then free. */",
        f"static void before_rows({parameter(plan)})",
        "{",
        *_with_matrices(plan, [f"  segment_{i + 1}(self);" for i in range(plan.pushed)]),
        *padding_lines(plan, plan.pushed),
        "}",
        "",
    ]


def _others(plan: RowPlan) -> list[str]:
    """net_set_input_2 and so on."""
    lines: list[str] = []
    for end, node in other_inputs(plan):
        lines += [f"void net_set_input{end}(net_context *net, const net_input{end}_t *values)", "{"]
        if node.name not in plan.buffers:
            lines.append("  (void)net, (void)values; /* no layer reads it */")
        elif node.name in plan.sign_flipped:
            lines.append(f"  rillet_flip(values, at_{node.name}(net, 0), {node.type.bytes});")
        else:
            lines.append(f"  memcpy(at_{node.name}(net, 0), values, {node.type.bytes});")
        lines += ["}", ""]
    return lines


def _one_thread(plan: RowPlan, profile: bool) -> list[str]:
    """net_start and net_push_row."""
    source, later = input_of(plan), _finish(plan)
    name, shape, borrows = source.name, source.shape, borrows_image(plan)
    lines = [
        "void net_start(net_context *net)",
        "{",
        "  net_context *const self = net;",
        *(_clock_begun("self") if profile else []),
        *(["  self->borrowed = 0;"] if borrows else []),
        *_begun(plan),
        "}",
        "",
    ]
    by_rows = plan.by_rows and not plan.resident
    last = later if by_rows else _with_matrices(plan, later)
    lines += [f"static void finish({parameter(plan)})", "{", *last, "}", ""] if later else []
    lines += [*_others(plan), *_early(plan)]
    if by_rows:
        lines += _takes(plan, name, shape.pixels)
    lines += ["void net_push_row(net_context *net, const net_input_t *row)", "{", "  net_context *const self = net;"]
    lines += [f"  if (self->made.of_{name} >= {shape.pixels}) return;"]
    if plan.pushed:
        lines.append(f"  if (self->made.of_{name} == 0) before_rows(self);")
    if plan.resident:
        kind = "(net_input_t *)" if source.name in plan.sign_flipped else ""
        lines += [
            f"  net_input_t *const here = {kind}at_{name}(self, self->made.of_{name});",
            _stored_row(plan, "here"),
        ]
        lines.append(f"  self->made.of_{name} += {shape.width};")
    elif by_rows:
        lines += [_stored_row(plan, f"at_{name}(self, self->made.of_{name})"), f"  {_take(plan, 'self', '0')}"]
    else:
        first = plan.segments[plan.pushed or 0]
        lines += ["  self->pushed = row;"] if reads_pushed(plan) else []
        lines += ["  for (int32_t x = 0; x < NET_INPUT_WIDTH;) {", f"    const int32_t before = self->made.of_{name};"]
        if not reads_pushed(plan):
            tile = min(first.tile_pixels, shape.width)
            count = (
                str(tile) if shape.width % tile == 0 else f"({shape.width} - x < {tile} ? {shape.width} - x : {tile})"
            )
            to, pixel = f"at_{name}(self, before + p)", f"row + (x + p) * {shape.channels}"
            flips = source.name in plan.sign_flipped
            copy = f"rillet_flip({pixel}, {to}, {shape.channels});" if flips else f"memcpy({to}, {pixel},"
            lines += [f"    for (int32_t p = 0; p < {count}; p++)", f"      {copy}"]
            lines += [] if flips else [f"             {shape.channels} * sizeof *row);"]
        lines += [*advance(plan, first, source, "    "), f"    x += self->made.of_{name} - before;", "  }"]
    if later and not by_rows:
        lines += [f"  if (self->made.of_{name} == {shape.pixels}) finish(self);"]
    return [*lines, "}", ""]


def _several_threads(plan: RowPlan, profile: bool) -> list[str]:
    """The same where threads go through the schedule side by side: the caller's with its rows, the others after it."""
    source, spent = input_of(plan), last_fields(plan)
    name, shape, several = source.name, source.shape, gathers_rows(plan)
    lines = ["static void finish(net_thread *const self)", "{", *_finish(plan), "}", ""]
    lines += [
        "/* Resets the stream; call before row 0. */",
        "static void begin(net_thread *const self)",
        "{",
        *_begun(plan),
        "}",
        "",
    ]
    if plan.resident:
        lines += ["/* The image is there. */", "static void take_rows(net_thread *const self)", "{"]
        lines += [*_with_matrices(plan, [f"  self->made.of_{name} = {shape.pixels};", "  finish(self);"]), "}", ""]
    else:
        lines += _takes(plan, name, shape.pixels)
    lines += [
        "static void *work(void *thread)",
        "{",
        "  net_thread *const self = thread;",
        "  rillet_gate *const gate = &self->net->gate;",
        "  for (uint64_t count = 0; rillet_more(gate, count); count++) {",
        "    if (count == __atomic_load_n(&gate->first, __ATOMIC_RELAXED)) begin(self);",
        f"    {_take(plan, 'self', 'count + 1 == __atomic_load_n(&gate->whole, __ATOMIC_RELAXED)')}",
        "  }",
        "  return 0;",
        "}",
        "",
        "/* Contexts of this process whose threads run, and what guards them. */",
        "static net_context *running;",
        "static pid_t running_in;",
        "static pthread_mutex_t running_lock = PTHREAD_MUTEX_INITIALIZER;",
        "",
        "static void start_threads(net_context *net)",
        "{",
        "  place_threads(net);",
        "  memset(&net->gate, 0, sizeof net->gate);",
        "  net->crew.process = getpid();",
        "  int failed = pthread_mutex_init(&net->gate.lock, 0) | pthread_cond_init(&net->gate.more, 0);",
        "  for (int32_t i = 1; i < NET_THREADS; i++)",
        "    failed |= pthread_create(&net->crew.threads[i], 0, work, &net->threads[i]);",
        "  if (failed) abort(); /* every tile needs all of them */",
        "  pthread_mutex_lock(&running_lock);",
        "  if (running_in != getpid()) running = 0; /* a forked process has none of its parent's */",
        "  running_in = getpid();",
        "  net->next = running;",
        "  running = net;",
        "  pthread_mutex_unlock(&running_lock);",
        "}",
        "",
        "void net_stop(net_context *net)",
        "{",
        "  if (rillet_missing(&net->crew)) return;",
        "  pthread_mutex_lock(&running_lock);",
        "  for (net_context **at = &running; *at; at = &(*at)->next)",
        "    if (*at == net) {",
        "      *at = net->next;",
        "      break;",
        "    }",
        "  pthread_mutex_unlock(&running_lock);",
        "  rillet_stop(&net->crew, &net->gate);",
        "}",
        "",
        "/* At exit, and before the library is unloaded. */",
        "__attribute__((destructor)) static void stop_all(void)",
        "{",
        "  while (running_in == getpid() && running) net_stop(running);",
        "}",
        "",
        "void net_start(net_context *net)",
        "{",
        "  net_thread *const self = net->threads;",
        *(_clock_begun("net") if profile else []),
        "  if (rillet_missing(&net->crew)) start_threads(net);",
        "  rillet_together(&self->place);",
        "  __atomic_store_n(&net->gate.first, net->gate.opened, __ATOMIC_RELAXED);",
        *(["  __atomic_store_n(&net->borrowed, 0, __ATOMIC_RELEASE);"] if borrows_image(plan) else []),
        *(["  net->gathered = 0;"] if several else []),
        "  begin(self);",
        "}",
        "",
        "void net_push_row(net_context *net, const net_input_t *row)",
        "{",
        "  net_thread *const self = net->threads;",
        f"  if (self->made.of_{name} >= {shape.pixels}) return;",
    ]
    here = f"at_{name}(self, self->made.of_{name}{f' + net->gathered * {shape.width}' if several else ''})"
    if plan.resident:
        kind = "(net_input_t *)" if source.name in plan.sign_flipped else ""
        lines += [
            f"  net_input_t *const here = {kind}{here};",
            _stored_row(plan, "here"),
            f"  self->made.of_{name} += {shape.width};",
            f"  if (self->made.of_{name} < {shape.pixels}) return;",
        ]
    else:
        if f"read_{name}" in spent:
            lines.append(f"  rillet_after(&self->place, self->last.read_{name});")
        lines += [_stored_row(plan, here), *(_gathers(plan, name) if several else [])]
    return [*lines, "  rillet_open(&net->gate);", f"  {_take(plan, 'self', '0')}", "}", ""]


def _image(plan: RowPlan) -> list[str]:
    """Passes the caller's image to the program, copied or zero-copy."""
    source = input_of(plan)
    if not borrows_image(plan):
        values = source.shape.width * source.shape.channels
        return [f"  for (int32_t y = 0; y < NET_INPUT_HEIGHT; y++) net_push_row(net, image + y * {values});"]
    if plan.threads == 1:
        early = ["  before_rows(net);"] if plan.pushed else []
        return [*early, "  net->borrowed = image;", f"  {_take(plan, 'net', '1')}"]
    return [
        "  __atomic_store_n(&net->borrowed, image, __ATOMIC_RELEASE);",
        "  __atomic_store_n(&net->gate.whole, net->gate.opened + 1, __ATOMIC_RELAXED);",
        "  rillet_open(&net->gate);",
        f"  {_take(plan, 'net->threads', '1')}",
    ]


def _init(plan: RowPlan) -> list[str]:
    """net_init, and what it needs."""
    lines = [
        "#ifdef NET_STATIC_ARENA",
        "NET_ARENA(static_arena);",
        "#endif",
        "",
        "const int32_t net_context_bytes = sizeof(net_context);",
        "const int32_t net_arena_bytes = NET_ARENA_BYTES;",
        "",
    ]
    if plan.threads > 1:
        lines += [
            "static void place_threads(net_context *net)",
            "{",
            "  memset(net->threads, 0, sizeof net->threads);",
            "  memset(net->progress, 0, sizeof net->progress);",
            "  for (int32_t i = 0; i < NET_THREADS; i++) {",
            "    net->threads[i].net = net;",
            "    net->threads[i].arena = net->arena;",
            "    net->threads[i].place.all = net->progress;",
            "    net->threads[i].place.part = i;",
            "  }",
            "}",
            "",
        ]
    lines += [
        "int32_t net_init(net_context *net, void *arena)",
        "{",
        "  memset(net, 0, sizeof *net);",
        "#ifdef NET_STATIC_ARENA",
        "  if (!arena) arena = static_arena;",
        "#endif",
        "  if (!arena || (uintptr_t)arena % NET_ARENA_ALIGN) return 1;",
        "  net->arena = arena;",
        *(["  if (!rillet_matrix_allowed()) return 2;"] if plan.has_matrices else []),
        *(["  place_threads(net);"] if plan.threads > 1 else []),
        "  return 0;",
        "}",
        "",
    ]
    return lines


def entry_points(plan: RowPlan, profile: bool) -> str:
    """The text of all entry points."""
    source, outputs = input_of(plan), outputs_of(plan)
    name = source.name
    self = "net" if plan.threads == 1 else "net->threads"
    lines = _init(plan)
    lines += _one_thread(plan, profile) if plan.threads == 1 else _several_threads(plan, profile)
    for end, node in outputs:
        lines += [
            f"const net_output{end}_t *net_output{end}(const net_context *net)",
            f"{{ return {_as(plan, node, f'net_output{end}_t')}at_{node.name}({self}, 0); }}",
            "",
        ]
    lines += [
        f"void net_run({run_arguments(plan)})",
        "{",
        "  net_start(net);",
        *(f"  net_set_input{end}(net, input{end});" for end, _ in other_inputs(plan)),
        *_image(plan),
        *(
            f"  memcpy(output{end}, net_output{end}(net), NET_OUTPUT{end.upper()}_SIZE * sizeof *output{end});"
            for end, _ in outputs
        ),
        "}",
        "",
        *(_batch(plan) if plan.host is not None else []),
        "uint8_t *net_arena(const net_context *net) { return net->arena; }",
    ]
    if plan.resident:
        lines += [
            "",
            "net_input_t *net_input(const net_context *net)",
            f"{{ return {_as(plan, source, 'net_input_t')}at_{name}({self}, 0); }}",
        ]
    return "\n".join([*lines, ""])


def _as(plan: RowPlan, node: Node, kind: str) -> str:
    """The cast from the type that a value is kept in, where that is another."""
    return f"({kind} *)" if node.name in plan.sign_flipped else ""


def _batch(plan: RowPlan) -> list[str]:
    image = "images + (size_t)i * NET_INPUT_HEIGHT * NET_INPUT_WIDTH * NET_INPUT_CHANNELS"
    others = [f"inputs{end} + (size_t)i * NET_INPUT{end.upper()}_SIZE" for end, _ in other_inputs(plan)]
    outputs = [f"outputs{end} + (size_t)i * NET_OUTPUT{end.upper()}_SIZE" for end, _ in outputs_of(plan)]
    return [
        f"void net_run_batch({batch_arguments(plan)})",
        "{",
        "  for (int32_t i = 0; i < count; i++)",
        f"    net_run(net, {image},",
        f"            {', '.join([*others, *outputs])});",
        "}",
        "",
    ]
