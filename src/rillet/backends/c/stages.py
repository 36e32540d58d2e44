"""The C text of one stage: when it may fire, where it reads and writes, and the call of its kernel."""

from typing import assert_never

from rillet.arithmetic import fixed_point as fp
from rillet.backends.c.constants import outside_value, quant
from rillet.errors import Unsupported
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activation,
    Add,
    Conv,
    Pool,
    PoolKind,
    Requantize,
    Rounding,
    Softmax,
    op_name,
    op_window,
)
from rillet.ir.types import DType, TensorType
from rillet.plan.kernels import DENSE_TILE
from rillet.plan.plan import Buffer, BufferKind, Kernel, Plan, Segment, Stage

_TYPES = {DType.I8: "int8_t", DType.U8: "uint8_t"}
_SHORT = {DType.I8: "i8", DType.U8: "u8"}


def identifier(name: str) -> str:
    """A node's name as a C identifier."""
    return "".join(c if c.isalnum() else "_" for c in name)


def c_type(value: TensorType) -> str:
    """The C type of a value's elements; raises Unsupported for types without kernels."""
    if value.dtype not in _TYPES:
        raise Unsupported(f"values must be i8 or u8 in C, got {value.dtype.value}")
    return _TYPES[value.dtype]


def accessor(graph: Graph, buffer: Buffer) -> str:
    """The function that tells where a pixel of a value lies."""
    node = graph.by_name[buffer.name]
    name, kind = identifier(node.name), c_type(node.type)
    slot = "i" if buffer.pixels >= node.shape.pixels else f"i % {buffer.pixels}"
    what = "whole map" if buffer.kind is BufferKind.MAP else f"ring of {buffer.pixels} pixels"
    comment = f"/* {node.name}: {node.shape}, {what}, {buffer.bytes} bytes */\n"
    body = f"return ({kind} *)(arena + {buffer.offset}) + ({slot}) * {node.shape.channels};"
    return f"{comment}static inline {kind} *at_{name}(int32_t i) {{ {body} }}\n"


def stage_text(plan: Plan, segment: Segment, stage: Stage) -> str:
    """The function that makes a stage's pixels as long as it can, and lets its readers run after each tile."""
    graph = plan.graph
    node = graph.by_name[stage.node]
    name, shape = identifier(node.name), node.shape
    inputs = ", ".join(f"{n} {graph.by_name[n].shape}" for n in node.inputs)
    body = _body(plan, node, stage)
    readers = [s.node for s in segment.stages if node.name in graph.by_name[s.node].inputs]
    after = [f"    made.{name} += n;"] + [f"    run_{identifier(r)}();" for r in readers]
    return "\n".join(
        [
            f"/* {node.name}: {_what(graph, node)}, {inputs} -> {shape} */",
            f"static void run_{name}(void)",
            "{",
            *body[0],
            f"  while (made.{name} < {shape.pixels}) {{",
            *_tile(node, stage),
            *body[1],
            f"    SEEN({plan.graph.nodes.index(node)}, {name}, n);",
            *after,
            "  }",
            "}",
            "",
        ]
    )


def _what(graph: Graph, node: Node) -> str:
    op = node.op
    if isinstance(op, Conv):
        kernel = f"{op.window.kernel[0]}x{op.window.kernel[1]}"
        kind = "depthwise " if op.depthwise(graph.input_shapes(node)[0]) else ""
        return f"{kind}{kernel} convolution, stride {op.window.stride[0]}x{op.window.stride[1]}"
    return op_name(op)


def _tile(node: Node, stage: Stage) -> list[str]:
    """The tile to make: n pixels from `row`, `column` on."""
    name, width = identifier(node.name), node.shape.width
    lines: list[str] = []
    if _windowed(node, stage):
        lines.append(f"    const int32_t row = made.{name} / {width}, column = made.{name} % {width};")
    if stage.tile_pixels == 1:
        lines.append("    const int32_t n = 1;")
    elif width % stage.tile_pixels == 0:
        lines.append(f"    const int32_t n = {stage.tile_pixels};")
    else:
        column = "column" if lines else f"made.{name} % {width}"
        lines.append(f"    const int32_t left = {width} - {column};")
        lines.append(f"    const int32_t n = left < {stage.tile_pixels} ? left : {stage.tile_pixels};")
    return lines


def _windowed(node: Node, stage: Stage) -> bool:
    """True where the stage reads a window around each pixel's place."""
    if stage.kernel is Kernel.DENSE:
        window = op_window(node.op)
        return window is not None and not window.pointwise
    return stage.kernel in (Kernel.DEPTHWISE, Kernel.AVERAGE_POOL)


Body = tuple[list[str], list[str]]
"""Constants before the loop, and the lines of one tile."""


def _body(plan: Plan, node: Node, stage: Stage) -> Body:
    match stage.kernel:
        case Kernel.DENSE:
            return _dense(plan, node, stage)
        case Kernel.DEPTHWISE:
            return _depthwise(plan, node)
        case Kernel.AVERAGE_POOL:
            return _average_pool(plan, node)
        case Kernel.GLOBAL_POOL:
            return _global_pool(plan, node, stage)
        case Kernel.ADD:
            return _add(plan.graph, node)
        case Kernel.REQUANTIZE:
            return _requantize(plan.graph, node)
        case Kernel.SOFTMAX:
            return _softmax(plan.graph, node)
        case _:
            assert_never(stage.kernel)


def _ready(node: Node) -> list[str]:
    """Returns from the stage unless every input pixel of the tile is there (ops that see their own pixel alone)."""
    name = identifier(node.name)
    missing = " || ".join(f"made.{identifier(source)} < made.{name} + n" for source in dict.fromkeys(node.inputs))
    return [f"    if ({missing}) return;"]


def _clamp(activation: Activation, graph: Graph, node: Node) -> fp.Clamp:
    return fp.activation_clamp(activation, quant(graph, node), node.type.dtype)


def _window(plan: Plan, node: Node) -> str:
    """The constants of a stage's window over its input."""
    window, source = op_window(node.op), plan.graph.by_name[node.inputs[0]]
    assert window is not None
    buffer = plan.buffers.get(source.name)
    slots = buffer.pixels if buffer else source.shape.width
    numbers = (
        *window.kernel,
        *window.stride,
        window.padding[0],
        window.padding[2],
        *window.dilation,
        source.shape.height,
        source.shape.width,
        slots,
        source.type.pixel_bytes,
    )
    return f"  const rillet_window window = {{{', '.join(map(str, numbers))}}};"


def _channels(graph: Graph, node: Node, activation: Activation) -> str:
    name, clamp = identifier(node.name), _clamp(activation, graph, node)
    arrays = ", ".join(f"net_{name}_{part}" for part in ("weights", "bias", "mantissa", "shift"))
    return (
        f"  const rillet_channels channels = {{{arrays}, {quant(graph, node).zero_point}, {clamp.low}, {clamp.high}}};"
    )


def _needs(node: Node) -> str:
    source = identifier(node.inputs[0])
    return f"    if (made.{source} <= rillet_window_needs(window, row, column + n - 1)) return;"


def outside_name(value: int, dtype: DType) -> str:
    """Name of the constant pixel that stands for padding."""
    return f"outside_{_SHORT[dtype]}_{'m' if value < 0 else ''}{abs(value)}"


def _outside(graph: Graph, node: Node) -> str:
    window = op_window(node.op)
    if window is None or not any(window.padding):
        return f"at_{identifier(node.inputs[0])}(0)"  # no tap lies outside
    return outside_name(outside_value(graph, node), graph.by_name[node.inputs[0]].type.dtype)


def _dense(plan: Plan, node: Node, stage: Stage) -> Body:
    graph, op = plan.graph, node.op
    assert isinstance(op, Conv) and stage.scratch is not None
    name, source = identifier(node.name), graph.by_name[node.inputs[0]]
    per_group, outputs = source.shape.channels // op.groups, op.out_channels // op.groups
    taps, single = op.window.taps, int(op.rounding is Rounding.SINGLE)
    depth = taps * per_group
    constants = [_channels(graph, node, op.activation)]
    constants.append(f"  int16_t *const gathered = (int16_t *)(arena + {plan.buffers[stage.scratch].offset});")
    if op.window.pointwise:
        fetch = [f"const void *tap[1] = {{at_{identifier(source.name)}(made.{name} + PIXEL)}};"]
        ready = _ready(node)
    else:
        constants.append(_window(plan, node))
        at = f"at_{identifier(source.name)}(0)"
        fetch = [
            f"const void *tap[{taps}];",
            f"rillet_window_taps(window, {at}, {_outside(graph, node)}, row, column + PIXEL, tap);",
        ]
        ready = [_needs(node)]
    first, output, loop = "0", "0", ["    {"]
    if op.groups > 1:
        first, output = f"g * {per_group}", f"g * {outputs}"
        loop = [f"    for (int32_t g = 0; g < {op.groups}; g++) {{"]
    one = [
        "      for (; p < n; p++) {",
        *(f"        {line.replace('PIXEL', 'p')}" for line in fetch),
        f"        rillet_gather_i8(tap, {taps}, {first}, {per_group}, gathered);",
        f"        int8_t *const out = at_{name}(made.{name} + p);",
        f"        rillet_dense_1(gathered, out, {depth}, {output}, {outputs}, channels, {single});",
        "      }",
    ]
    four: list[str] = []
    if stage.tile_pixels >= DENSE_TILE:
        four = [
            f"      for (; p + {DENSE_TILE} <= n; p += {DENSE_TILE}) {{",
            f"        int8_t *out[{DENSE_TILE}];",
            f"        for (int32_t q = 0; q < {DENSE_TILE}; q++) {{",
            *(f"          {line.replace('PIXEL', 'p + q')}" for line in fetch),
            f"          rillet_gather_i8(tap, {taps}, {first}, {per_group}, gathered + q * {depth});",
            f"          out[q] = at_{name}(made.{name} + p + q);",
            "        }",
            f"        rillet_dense_4(gathered, out, {depth}, {output}, {outputs}, channels, {single});",
            "      }",
        ]
    return constants, [*ready, *loop, "      int32_t p = 0;", *four, *one, "    }"]


def _depthwise(plan: Plan, node: Node) -> Body:
    graph, op = plan.graph, node.op
    assert isinstance(op, Conv)
    name, taps = identifier(node.name), op.window.taps
    source = identifier(node.inputs[0])
    constants = [_channels(graph, node, op.activation), _window(plan, node)]
    lines = [
        _needs(node),
        "    for (int32_t p = 0; p < n; p++) {",
        f"      const void *tap[{taps}];",
        f"      rillet_window_taps(window, at_{source}(0), {_outside(graph, node)}, row, column + p, tap);",
        f"      rillet_depthwise_i8(tap, {taps}, at_{name}(made.{name} + p), {op.out_channels}, channels);",
        "    }",
    ]
    return constants, lines


def _average_pool(plan: Plan, node: Node) -> Body:
    graph, op = plan.graph, node.op
    assert isinstance(op, Pool)
    name, clamp = identifier(node.name), _clamp(op.activation, graph, node)
    source, channels = identifier(node.inputs[0]), node.shape.channels
    lines = [
        _needs(node),
        "    for (int32_t p = 0; p < n; p++) {",
        f"      const void *tap[{op.window.taps}];",
        f"      const int32_t taps = rillet_window_inside(window, at_{source}(0), row, column + p, tap);",
        f"      rillet_average_i8(tap, taps, at_{name}(made.{name} + p), {channels}, {clamp.low}, {clamp.high});",
        "    }",
    ]
    return [_window(plan, node)], lines


def _global_pool(plan: Plan, node: Node, stage: Stage) -> Body:
    """Takes in every pixel as it comes; `taken` counts them, and n stays 0 until the last."""
    graph, op = plan.graph, node.op
    assert isinstance(op, Pool) and stage.scratch is not None
    name, source = identifier(node.name), graph.by_name[node.inputs[0]]
    channels, pixels = source.shape.channels, source.shape.pixels
    clamp = _clamp(op.activation, graph, node)
    sums = f"(int32_t *)(arena + {plan.buffers[stage.scratch].offset})"
    if op.kind is PoolKind.MEAN:
        from_, to = quant(graph, source), quant(graph, node)
        scale = fp.mean_multiplier(from_, to, pixels)
        numbers = (
            from_.zero_point * pixels,
            scale.mantissa,
            scale.shift,
            to.zero_point,
            clamp.low,
            clamp.high,
        )
        finish = f"rillet_finish_mean_i8(sums, at_{name}(0), {channels}, {', '.join(map(str, numbers))});"
    else:
        finish = f"rillet_finish_average_i8(sums, at_{name}(0), {channels}, {pixels}, {clamp.low}, {clamp.high});"
    at = identifier(source.name)
    lines = [
        f"    for (; taken.{name} < made.{at}; taken.{name}++)",
        f"      rillet_accumulate_i8(at_{at}(taken.{name}), sums, {channels}, taken.{name} == 0);",
        f"    if (taken.{name} < {pixels}) return;",
        f"    {finish}",
    ]
    return [f"  int32_t *const sums = {sums};"], lines


def _add(graph: Graph, node: Node) -> Body:
    op = node.op
    assert isinstance(op, Add)
    left, right = (graph.by_name[source] for source in node.inputs)
    k = fp.add_constants(quant(graph, left), quant(graph, right), quant(graph, node))
    clamp = _clamp(op.activation, graph, node)
    numbers = (
        quant(graph, left).zero_point,
        k.left.mantissa,
        k.left.shift,
        quant(graph, right).zero_point,
        k.right.mantissa,
        k.right.shift,
        k.out.mantissa,
        k.out.shift,
        quant(graph, node).zero_point,
        clamp.low,
        clamp.high,
    )
    name = identifier(node.name)
    at = [f"at_{identifier(value.name)}(made.{name} + p)" for value in (left, right, node)]
    lines = [
        *_ready(node),
        "    for (int32_t p = 0; p < n; p++)",
        f"      rillet_add_i8({', '.join(at)}, {node.shape.channels}, constants);",
    ]
    return [f"  const rillet_add constants = {{{', '.join(map(str, numbers))}}};"], lines


def _requantize(graph: Graph, node: Node) -> Body:
    assert isinstance(node.op, Requantize)
    source, name = graph.by_name[node.inputs[0]], identifier(node.name)
    from_, to = quant(graph, source), quant(graph, node)
    scale = fp.requantize_multiplier(from_, to)
    numbers = (from_.zero_point, scale.mantissa, scale.shift, to.zero_point, *node.type.dtype.integers)
    kernel = f"rillet_requantize_{_SHORT[source.type.dtype]}_{_SHORT[node.type.dtype]}"
    at = [f"at_{identifier(value.name)}(made.{name} + p)" for value in (source, node)]
    lines = [
        *_ready(node),
        "    for (int32_t p = 0; p < n; p++)",
        f"      {kernel}({', '.join(at)}, {node.shape.channels}, constants);",
    ]
    return [f"  const rillet_requantize constants = {{{', '.join(map(str, numbers))}}};"], lines


def _softmax(graph: Graph, node: Node) -> Body:
    assert isinstance(node.op, Softmax)
    source, name = graph.by_name[node.inputs[0]], identifier(node.name)
    to = quant(graph, node)
    at = [f"at_{identifier(value.name)}(made.{name} + p)" for value in (source, node)]
    tail = f"{node.shape.channels}, net_{name}_table, {float(to.scale).hex()}f, {to.zero_point}"
    lines = [
        *_ready(node),
        "    for (int32_t p = 0; p < n; p++)",
        f"      rillet_softmax_i8({', '.join(at)}, {tail});",
    ]
    return [], lines
