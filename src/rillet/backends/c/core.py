"""Stages by the kernels of a microcontroller's core: when and how these are called."""

import textwrap
from typing import assert_never

from rillet.arithmetic import fixed_point as fp
from rillet.backends.c.constants import ROUNDINGS
from rillet.backends.c.reads import await_pixels, await_window, outside_pixel, window_record
from rillet.backends.c.records import record
from rillet.ir.facts import has_activation, has_weights, is_sum
from rillet.ir.graph import Node
from rillet.ir.ops import Rounding
from rillet.ir.types import Quant
from rillet.plan.board.kernels import (
    ABREAST,
    RUN,
    abreast,
    dense_depth,
    dense_words,
    finish,
    gathers_windows,
    pairs,
    together,
)
from rillet.plan.rows.plan import Buffer, CoreKernels, RowPlan, Stage

Body = tuple[list[str], list[str], list[str]]

_PLACE = 6
"""Spaces before a line within the loop over pixels."""


def _quant(node: Node) -> Quant:
    assert node.type.quant is not None
    return node.type.quant


def _clamp(node: Node) -> fp.Clamp:
    op = node.op
    assert has_activation(op)
    return fp.activation_clamp(op.activation, _quant(node), node.type.dtype)


def _core(plan: RowPlan) -> CoreKernels:
    assert plan.core is not None
    return plan.core


def _kernel(plan: RowPlan, node: Node) -> str:
    """The end of a kernel's name: the rule, and whether it looks at the clamp, where not all do."""
    op, known = node.op, finish(plan.graph, node, _core(plan))
    assert has_weights(op)
    looks = known.clamped and _core(plan) is CoreKernels.DSP
    return f"{_rule(op.rounding)}{'_clamped' if looks else ''}"


def _rule(rounding: Rounding) -> str:
    """The rule in a kernel's name: sums that are rounded once are known to words only where each is a constant, which
    any rule gives.
    """
    return Rounding.SHIFT.value if rounding is Rounding.SHIFT else Rounding.DOUBLE.value


def _wide(plan: RowPlan, node: Node) -> str:
    """What the name of a depthwise kernel has where weights are no bytes; with the DSP extension they never are."""
    core = _core(plan)
    return "wide_" if core is not CoreKernels.DSP and finish(plan.graph, node, core).wide else ""


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
    assert has_weights(op)
    source, several_at_once = graph.by_name[node.inputs[0]], abreast(node, stage.tile_pixels)
    windows = gathers_windows(graph, node, _core(plan))
    ready = await_pixels(graph, node) if op.window.pointwise else [await_window(plan, node)]
    constants = _gathered(plan, node, stage)
    if not finish(graph, node, _core(plan)).by_words:
        constants.append(_portable_channels(node))

    def tile(pixels: int, at: str) -> list[str]:
        first = f"self->made.of_{name} + {at}"
        place = f"row, {at}" if plan.by_rows else f"row, column + {at}"
        gathered = _gather(plan, node, pixels, first, place)
        return [*gathered, *_multiply(plan, node, pixels, first)]

    def indented(lines: list[str], more: int = 0) -> list[str]:
        return [" " * (_PLACE + more) + line for line in lines]

    if several_at_once == 1:
        loop = ["    for (int32_t p = 0; p < n; p++) {", *indented(tile(1, "p")), "    }"]
    elif plan.by_rows:
        # The last three pixels of a row may have some of those before them.
        loop = [f"    for (int32_t q = 0; q < n; q += {ABREAST}) {{"]
        last = "q" if node.shape.width % ABREAST == 0 else f"q + {ABREAST} <= n ? q : n - {ABREAST}"
        loop += [f"      const int32_t p = {last};", *indented(tile(ABREAST, "p")), "    }"]
    else:
        several = f"p + {ABREAST} <= n"
        for value in (node,) if windows else (source, node):
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


def _gathered(plan: RowPlan, node: Node, stage: Stage) -> list[str]:
    """Constants of a stage: where it gathers values, and its window if it reads one."""
    graph = plan.graph
    if stage.scratch is None:
        return []
    out = [f"  uint8_t *const values = self->arena + {plan.buffers[stage.scratch].offset};"]
    if not gathers_windows(graph, node, _core(plan)):
        return out
    if _core(plan) is not CoreKernels.HELIUM:
        gathered = 8 * dense_words(graph, node) * abreast(node, stage.tile_pixels)
        out.append(f"  uint8_t *const bytes = values + {gathered};")
    return [*out, window_record(plan, node)]


def _gather(plan: RowPlan, node: Node, pixels: int, first: str, place: str) -> list[str]:
    """The call that gathers the values of so many pixels, the first of which is that and lies there; none where they
    are read as they lie.
    """
    graph, source, core = plan.graph, node.inputs[0], _core(plan)
    windows, outside = gathers_windows(graph, node, core), outside_pixel(graph, node)
    if core is CoreKernels.HELIUM:
        at = f"at_{source}(self, 0), {outside}, {place}, {pixels}"
        return [f"rillet_core_window_bytes(window, {at}, values);"] if windows else []
    wide = core is CoreKernels.DSP and finish(graph, node, core).wide
    gather = f"rillet_core_gather{'_wide' if wide else ''}_{pixels}"
    if windows:
        window = f"rillet_core_window(window, at_{source}(self, 0), {outside}, {place}, {pixels}, {gather},"
        return [window, "                   bytes, values);"]
    step, words = graph.by_name[source].shape.channels, dense_words(graph, node)
    return [f"{gather}(at_{source}(self, {first}), {step}, values, {words});"]


def _call(
    plan: RowPlan, node: Node, kernel: str, pixels: int, first: str, units: tuple[str, str, str, int]
) -> list[str]:
    """The call of a dense kernel for some output channels: the number of the first as many as it makes at once, how
    many, where they go and how far apart.
    """
    graph, name, core, clamp = plan.graph, node.name, _core(plan), _clamp(node)
    begin, count, to, step = units
    known, words, depth = finish(graph, node, core), dense_words(graph, node), dense_depth(graph, node)
    twice, weights, channels = 2 if known.wide else 1, f"net_{name}_weights", f"net_{name}_channels"
    match core:
        case CoreKernels.DSP:
            sizes = 2 * words * twice, 8
        case CoreKernels.ARMV6M:
            sizes = words * twice, 4
        case CoreKernels.HELIUM:
            sizes = 4 * depth * twice, 16
        case _:
            assert_never(core)
    if begin != "0":
        weights, channels = f"{weights} + {begin} * {sizes[0]}", f"{channels} + {begin} * {sizes[1]}"
    values, bytes_, more = "values", 8 * words * pixels, tuple[object, ...]()
    if core is CoreKernels.HELIUM:
        windows = gathers_windows(graph, node, core)
        values = "values" if windows else f"at_{node.inputs[0]}(self, {first})"
        bytes_, more = depth, (depth if windows else graph.input_shapes(node)[0].channels,)
    fields = (values, weights, channels, count, bytes_, to, _steps(plan, node)[0], step, clamp.low, clamp.high, *more)
    return [*_record(f"rillet_core_{'vectors' if more else 'dense'}", fields), f"rillet_core_{kernel}_{pixels}(&call);"]


def _multiply(plan: RowPlan, node: Node, pixels: int, first: str) -> list[str]:
    """The lines that make all output channels of so many pixels from gathered values."""
    graph, op, core = plan.graph, node.op, _core(plan)
    assert has_weights(op)
    known, outputs, unit, (pixel_step, step) = (
        finish(graph, node, core),
        op.out_channels,
        together(core),
        _steps(plan, node),
    )
    kind = ("vector_" if core is CoreKernels.HELIUM else "") + ("wide_" if known.wide else "")
    lines = [f"uint8_t *const out = (uint8_t *)at_{node.name}(self, {first});"]
    if known.by_words:
        kernel = kind + _kernel(plan, node)
        if core is not CoreKernels.DSP:
            return [*lines, *_call(plan, node, kernel, pixels, first, ("0", str(outputs), "out", step))]
        pairs = str(outputs // 2)
        if outputs > 1:
            lines += ["{", *_call(plan, node, kernel, pixels, first, ("0", pairs, "out", step)), "}"]
        if outputs % 2:
            # The pair's first channel is nothing, and its second is stored over it.
            last = (pairs, "1", f"out + {(outputs - 1) * step}", 0)
            lines += ["{", *_call(plan, node, kernel, pixels, first, last), "}"]
        return lines
    count = str(unit) if core is CoreKernels.HELIUM else "1"
    made = _call(plan, node, f"{kind}sums", pixels, first, ("o", count, "sums", step))
    rounding = ROUNDINGS[op.rounding]
    finished = (
        f"rillet_core_finish(sums + i * {pixels}, {pixels}, channels, c, {rounding}, out + c * {step}, {pixel_step});"
    )
    # Of an odd number of channels, a pair's first is nothing.
    odd = core is CoreKernels.DSP and outputs % 2
    begin = f"o == {outputs // 2} ? 1 : 0" if odd else "0"
    channel = f"{unit} * o + i" + (f" - (o == {outputs // 2})" if odd else "")
    return [
        *lines,
        f"for (int32_t o = 0; o < {-(-outputs // unit)}; o++) {{",
        f"  int32_t sums[{unit * pixels}];",
        *(f"  {line}" for line in made),
        f"  for (int32_t i = {begin}; i < {unit}; i++) {{",
        f"    const int32_t c = {channel};",
        *([f"    if (c < {outputs})"] if unit > 2 and outputs % unit else []),
        f"    {finished}",
        "  }",
        "}",
    ]


def lists(plan: RowPlan, node: Node, stage: Stage) -> Body:
    """A stage of sparse ternary weights: two pixels at a time, wherever they lie."""
    graph, op, name, source, clamp = plan.graph, node.op, node.name, node.inputs[0], _clamp(node)
    assert has_weights(op)
    windows = stage.scratch is not None
    constants = _gathered_bytes(plan, node, stage)
    ready = [await_window(plan, node)] if windows else await_pixels(graph, node)
    depth, channel_step = dense_depth(graph, node), _steps(plan, node)[1]

    def tile(pixels: int) -> list[str]:
        first = f"self->made.of_{name} + p"
        lines = [f"uint8_t *const out = (uint8_t *)at_{name}(self, {first});"]
        values, steps = f"at_{source}(self, {first})", ("0", "0")
        if pixels == 2:
            steps = tuple(
                f"(int32_t)((const uint8_t *)at_{value}(self, {first} + 1) - (const uint8_t *){start})"
                for value, start in ((source, "values"), (name, "out"))
            )
        if windows:
            place = "row, p" if plan.by_rows else "row, column + p"
            at = f"at_{source}(self, 0), {outside_pixel(graph, node)}, {place}, {pixels}"
            lines.append(f"rillet_core_window_bytes(window, {at}, values);")
            values, steps = "values", (str(depth), steps[1])
        else:
            lines.append(f"const void *const values = {values};")
        fields = (
            "values",
            f"net_{name}_weights",
            f"net_{name}_channels",
            op.out_channels,
            steps[0],
            -(-depth // RUN),
            "out",
            steps[1],
            channel_step,
            clamp.low,
            clamp.high,
        )
        call = f"rillet_core_lists_{_rule(op.rounding)}_{pixels}(&call);"
        return [" " * (_PLACE + 2) + line for line in [*lines, *_record("rillet_core_lists", fields), call]]

    if pairs(node, stage.tile_pixels) == 1:
        loop = ["    for (int32_t p = 0; p < n; p++) {", *(line[2:] for line in tile(1)), "    }"]
    else:
        loop = ["    for (int32_t p = 0; p < n; p += 2) {", "      if (p + 1 < n) {", *tile(2)]
        loop += ["      } else {", *tile(1), "      }", "    }"]
    return constants, ready, loop


def _gathered_bytes(plan: RowPlan, node: Node, stage: Stage) -> list[str]:
    """Constants of a stage that takes windows as bytes."""
    if stage.scratch is None:
        return []
    return [f"  uint8_t *const values = self->arena + {plan.buffers[stage.scratch].offset};", window_record(plan, node)]


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
        f"      rillet_core_depthwise_{_wide(plan, node)}{_kernel(plan, node)}(&call);",
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
        f"    rillet_core_rows_{_wide(plan, node)}{_rule(op.rounding)}_{stride}(&call);",
    ]
    return [window_record(plan, node)], [await_window(plan, node)], lines


def sums(plan: RowPlan, node: Node) -> Body:
    """A sum or difference by vectors: of a whole row, which lies in one piece, or of each pixel."""
    op, name, values = node.op, node.name, [plan.graph.by_name[source] for source in node.inputs]
    assert is_sum(op)
    word, (left, right), out, clamp = (
        "subtract" if op.subtract else "add",
        map(_quant, values),
        _quant(node),
        _clamp(node),
    )
    at = [f"at_{value.name}(self, self->made.of_{name} + p)" for value in (*values, node)]
    count, bounds = str(node.shape.channels), (clamp.low, clamp.high)
    if left == right == out:
        zero = out.zero_point if op.subtract else -out.zero_point
        kind, kernel, numbers = "same", f"same_{word}", (zero,)
    else:
        k = fp.add_constants(left, right, out)
        sides = ((q.zero_point, m.mantissa, m.shift) for q, m in ((left, k.left), (right, k.right)))
        kind, kernel = "sum", word
        numbers = (*(number for side in sides for number in side), k.out.mantissa, k.out.shift, out.zero_point)
    if plan.by_rows:
        at, count = [place.removesuffix(" + p)") + ")" for place in at], f"n * {count}"
    call = [*_record(f"rillet_core_{kind}", (*at, count, *numbers, *bounds)), f"rillet_core_vector_{kernel}(&call);"]
    head, tail = ("    {", "    }") if plan.by_rows else ("    for (int32_t p = 0; p < n; p++) {", "    }")
    return [], await_pixels(plan.graph, node), [head, *(" " * _PLACE + line for line in call), tail]
