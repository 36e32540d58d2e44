"""Stages by the kernels of a microcontroller's core: when and how these are called."""

import textwrap

from rillet.arithmetic import fixed_point as fp
from rillet.backends.c.constants import ROUNDINGS
from rillet.backends.c.reads import await_pixels, await_window, outside_pixel, window_record
from rillet.backends.c.records import record
from rillet.ir.facts import has_weights
from rillet.ir.graph import Node
from rillet.ir.ops import Rounding
from rillet.ir.types import Quant
from rillet.plan.board.kernels import ABREAST, Finish, abreast, dense_words, finish, gathers_windows
from rillet.plan.rows.plan import Buffer, RowPlan, Stage

Body = tuple[list[str], list[str], list[str]]

_PLACE = 6
"""Spaces before a line within the loop over pixels."""


def _quant(node: Node) -> Quant:
    assert node.type.quant is not None
    return node.type.quant


def _clamp(node: Node) -> fp.Clamp:
    op = node.op
    assert has_weights(op)
    return fp.activation_clamp(op.activation, _quant(node), node.type.dtype)


def _kernel(node: Node, known: Finish) -> str:
    """The end of a kernel's name: the rule, and whether it looks at the clamp."""
    op = node.op
    assert has_weights(op)
    return f"{op.rounding.value}{'_clamped' if known.clamped else ''}"


def _record(kind: str, fields: tuple[object, ...]) -> list[str]:
    """The lines that define the arguments of a call."""
    return textwrap.dedent(record(kind, "call", fields)).splitlines()


def _steps(plan: RowPlan, node: Node) -> tuple[int, int]:
    """Bytes from a pixel of a result to the next, and from a channel to the next."""
    planes = plan.buffers[node.name].planes
    return (node.shape.channels, 1) if planes is None else (1, planes.pitch)


def dense(plan: RowPlan, node: Node, stage: Stage) -> Body:
    """A dense stage: gathers pixels, three abreast where it can, and multiplies."""
    graph, op, name = plan.graph, node.op, node.name
    assert has_weights(op) and stage.scratch is not None
    source, words, together = graph.by_name[node.inputs[0]], dense_words(graph, node), abreast(node, stage.tile_pixels)
    place = f"self->arena + {plan.buffers[stage.scratch].offset}"
    constants = [f"  uint8_t *const values = {place};"]
    ready = await_pixels(graph, node)
    if gathers_windows(graph, node):
        constants.append(f"  uint8_t *const bytes = values + {8 * words * together};")
        constants.append(window_record(plan, node))
        ready = ready if op.window.pointwise else [await_window(plan, node)]
    known = finish(graph, node)
    if not known.by_words:
        constants.append(_portable_channels(node))

    gather = f"rillet_core_gather{'_wide' if known.wide else ''}"

    def tile(pixels: int, at: str) -> list[str]:
        first = f"self->made.of_{name} + {at}"
        if not gathers_windows(graph, node):
            step = source.shape.channels
            lines = [f"{gather}_{pixels}(at_{source.name}(self, {first}), {step}, values, {words});"]
            return [*lines, *_multiply(plan, node, known, pixels, f"at_{name}(self, {first})")]
        place = f"row, {at}" if plan.by_rows else f"row, column + {at}"
        at = f"at_{source.name}(self, 0), {outside_pixel(graph, node)}, {place}"
        return [
            f"rillet_core_window(window, {at}, {pixels}, {gather}_{pixels},",
            "                   bytes, values);",
            *_multiply(plan, node, known, pixels, f"at_{name}(self, {first})"),
        ]

    def indented(lines: list[str], more: int = 0) -> list[str]:
        return [" " * (_PLACE + more) + line for line in lines]

    if together == 1:
        loop = ["    for (int32_t p = 0; p < n; p++) {", *indented(tile(1, "p")), "    }"]
    elif plan.by_rows:
        # The last three pixels of a row may have some of those before them.
        loop = [f"    for (int32_t q = 0; q < n; q += {ABREAST}) {{"]
        last = "q" if node.shape.width % ABREAST == 0 else f"q + {ABREAST} <= n ? q : n - {ABREAST}"
        loop += [f"      const int32_t p = {last};", *indented(tile(ABREAST, "p")), "    }"]
    else:
        several = f"p + {ABREAST} <= n"
        for value in (node,) if gathers_windows(graph, node) else (source, node):
            ring = plan.buffers.get(value.name)
            if ring is not None and _wraps(ring, node, stage):
                several += f" && (uint32_t)(self->made.of_{name} + p) % {ring.pixels} <= {ring.pixels - ABREAST}"
        loop = ["    for (int32_t p = 0; p < n;) {", f"      if ({several}) {{", *indented(tile(ABREAST, "p"), 2)]
        loop += [
            f"        p += {ABREAST};",
            "      } else {",
            *indented(tile(1, "p"), 2),
            "        p++;",
            "      }",
            "    }",
        ]
    return constants, ready, loop


def _wraps(ring: Buffer, node: Node, stage: Stage) -> bool:
    """True where pixels that are taken together may lie at the end and at the beginning of a ring."""
    together = (node.shape.width, stage.tile_pixels, ring.pixels)
    return ring.pixels < node.shape.pixels and any(count % ABREAST for count in together)


def _portable_channels(node: Node) -> str:
    op = node.op
    assert has_weights(op)
    clamp, mantissa = _clamp(node), f"net_{node.name}_mantissa"
    arrays = "0", "0", "0" if op.rounding is Rounding.SHIFT else mantissa, f"net_{node.name}_shift"
    return record("rillet_channels", "channels", (*arrays, 0, _quant(node).zero_point, clamp.low, clamp.high))


def _multiply(plan: RowPlan, node: Node, known: Finish, pixels: int, out: str) -> list[str]:
    graph, op, name = plan.graph, node.op, node.name
    assert has_weights(op)
    words, (pixel_step, channel_step) = dense_words(graph, node), _steps(plan, node)
    clamp, outputs, bytes_ = _clamp(node), op.out_channels, 8 * words * pixels
    wide, pair = ("wide_", 4 * words) if known.wide else ("", 2 * words)

    def call(kernel: str, first: str, pairs: str, to: str, step: int) -> list[str]:
        weights, channels = f"net_{name}_weights", f"net_{name}_channels"
        if first != "0":
            weights, channels = f"{weights} + {first} * {pair}", f"{channels} + {first} * 8"
        fields = ("values", weights, channels, pairs, bytes_, to, pixel_step, step, clamp.low, clamp.high)
        return [*_record("rillet_core_dense", fields), f"{kernel}(&call);"]

    if known.by_words:
        kernel, pairs = f"rillet_core_{wide}{_kernel(node, known)}_{pixels}", outputs // 2
        lines = [f"uint8_t *const out = (uint8_t *){out};"]
        if pairs:
            lines += ["{", *call(kernel, "0", str(pairs), "out", channel_step), "}"]
        if outputs % 2:
            # The pair's first channel is nothing, and its second is stored over it.
            lines += ["{", *call(kernel, str(pairs), "1", f"out + {(outputs - 1) * channel_step}", 0), "}"]
        return lines
    rounding = ROUNDINGS[op.rounding]
    finished = f"rillet_core_finish(sums{{}}, {pixels}, channels, 2 * o{{}}, {rounding}, out + {{}}, {pixel_step});"
    step = f"2 * o * {channel_step}"
    first, second = finished.format("", "", step), finished.format(f" + {pixels}", " + 1", f"{step} + {channel_step}")
    if outputs % 2:
        last = finished.format(f" + {pixels}", "", step)
        choice = [f"if (o == {outputs // 2}) {{", f"  {last}", "  break;", "}"]
    else:
        choice = []
    return [
        f"uint8_t *const out = (uint8_t *){out};",
        f"for (int32_t o = 0; o < {-(-outputs // 2)}; o++) {{",
        f"  int32_t sums[{2 * pixels}];",
        *(f"  {line}" for line in call(f"rillet_core_{wide}sums_{pixels}", "o", "1", "sums", channel_step)),
        *(f"  {line}" for line in choice),
        f"  {first}",
        f"  {second}",
        "}",
    ]


def depthwise(plan: RowPlan, node: Node) -> Body:
    """A depthwise stage, pixel by pixel."""
    graph, op, name = plan.graph, node.op, node.name
    assert has_weights(op)
    source, taps, clamp = node.inputs[0], op.window.taps, _clamp(node)
    place = "row, p" if plan.by_rows else "row, column + p"
    fields = (
        "tap",
        f"net_{name}_weights",
        f"net_{name}_channels",
        taps % 3,
        taps,
        op.out_channels,
        f"at_{name}(self, self->made.of_{name} + p)",
        clamp.low,
        clamp.high,
    )
    lines = [
        "    for (int32_t p = 0; p < n; p++) {",
        f"      const void *tap[{taps}];",
        f"      rillet_window_taps(window, at_{source}(self, 0), {outside_pixel(graph, node)}, {place}, tap);",
        *(f"      {line}" for line in _record("rillet_core_taps", fields)),
        f"      rillet_core_depthwise_{_kernel(node, finish(graph, node))}(&call);",
        "    }",
    ]
    return [window_record(plan, node)], [await_window(plan, node)], lines


def rows(plan: RowPlan, node: Node) -> Body:
    """A depthwise stage, row by row, of values that are kept channel by channel."""
    graph, op, name = plan.graph, node.op, node.name
    assert has_weights(op)
    source, stride = graph.by_name[node.inputs[0]], op.window.stride[0]
    planes = plan.buffers[source.name].planes
    assert planes is not None
    top, left, width = op.window.padding[0], op.window.padding[2], node.shape.width
    outside = outside_pixel(graph, node)
    at = f"at_{source.name}(self, y * {source.shape.width})"
    lines = [
        "    rillet_core_rows call;",
        "    for (int32_t i = 0; i < 3; i++) {",
        f"      const int32_t y = {stride} * row - {top} + i;",
        f"      const int32_t inside = y >= 0 && y < {source.shape.height};",
        f"      const void *const from = inside ? {at} - {left} : {outside};",
        "      call.row[i] = from;",
        f"      call.step[i] = inside ? {planes.pitch} : 0;",
        "    }",
        f"    call.channels = net_{name}_channels;",
        f"    call.count = {op.out_channels};",
        f"    call.pairs = {width // 2};",
        f"    call.odd = {width % 2};",
        f"    call.out = (uint8_t *)at_{name}(self, self->made.of_{name});",
        f"    rillet_core_rows_{op.rounding.value}_{stride}(&call);",
    ]
    return [window_record(plan, node)], [await_window(plan, node)], lines
