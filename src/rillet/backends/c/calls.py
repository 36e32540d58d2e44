"""The body of a stage for one tile: its constants, and the call of its kernel."""

from typing import assert_never

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift, tables, wide
from rillet.backends.c import core, lists, low_bit, rows, threads
from rillet.backends.c.bounds import bounds
from rillet.backends.c.constants import (
    ROUNDINGS,
    is_curved,
    keeps_bytes,
    quant,
    real,
    weight_zero,
)
from rillet.backends.c.copies import Body, braced, copied, interpolated
from rillet.backends.c.pairwise import pairwise_constants, pairwise_lines
from rillet.backends.c.reads import await_pixels, await_window, outside_pixel, place_of, source_at, window_record
from rillet.backends.c.records import record
from rillet.backends.c.storage import offset
from rillet.errors import Unsupported
from rillet.ir.facts import (
    has_weights,
    is_activation,
    is_curve,
    is_pair,
    is_pairwise,
    is_pool,
    is_product,
    is_softmax,
    is_sum,
)
from rillet.ir.functions import Curve
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activation,
    PairKind,
    PoolKind,
    Rounding,
    op_window,
)
from rillet.ir.types import DType, Quant, TensorType
from rillet.plan.rows.kernels import DENSE_TILE
from rillet.plan.rows.plan import Kernel, RowPlan, Segment, Split, Stage

_TYPES = {
    DType.I8: "int8_t",
    DType.U8: "uint8_t",
    DType.I16: "int16_t",
    DType.F32: "float",
    DType.BINARY: "uint8_t",
    DType.I32: "int32_t",
}
"""Binary values are eight in a byte."""


def c_type(value: TensorType) -> str:
    """The C type of a value's elements; raises Unsupported for types without kernels."""
    if value.dtype not in _TYPES:
        raise Unsupported(f"values must be i8, u8, i16, f32, binary or i32 in C, got {value.dtype.value}")
    return _TYPES[value.dtype]


def body(plan: RowPlan, segment: Segment, node: Node, stage: Stage) -> Body:
    """The lines of a stage."""
    match stage.kernel:
        case Kernel.DENSE | Kernel.LOW_BIT:
            return _dense(plan, node, stage)
        case Kernel.DEPTHWISE | Kernel.LOW_BIT_DEPTHWISE:
            return _depthwise(plan, node, stage)
        case Kernel.CORE_DENSE:
            return core.dense(plan, node, stage)
        case Kernel.CORE_DEPTHWISE:
            return core.depthwise(plan, node)
        case Kernel.CORE_PLANES:
            return core.rows(plan, node)
        case Kernel.CORE_LISTS:
            return core.lists(plan, node, stage)
        case Kernel.CORE_SUM:
            return core.sums(plan, node)
        case Kernel.XNOR:
            return _xnor(plan, node, stage)
        case Kernel.SIGN:
            source = plan.graph.by_name[node.inputs[0]]
            kernel = f"rillet_sign_bits_{source.type.dtype.value}"
            return _each(plan, node, stage, kernel, quant(plan.graph, source).zero_point)
        case Kernel.TILES:
            window = op_window(node.op)
            assert window is not None
            ready = await_pixels(plan.graph, node) if window.pointwise else [await_window(plan, node)]
            constants, lines = rows.dense(plan, node, stage, window_record(plan, node))
            return constants, ready, lines
        case Kernel.WINOGRAD:
            constants, lines = rows.winograd(plan, node, stage, window_record(plan, node))
            return constants, [await_window(plan, node)], lines
        case Kernel.LISTS:
            window = op_window(node.op)
            assert window is not None
            ready = await_pixels(plan.graph, node) if window.pointwise else [await_window(plan, node)]
            constants, lines = lists.lists(plan, stage, window_record(plan, node))
            return constants, ready, lines
        case Kernel.DEPTHWISE_TILES:
            constants, lines = rows.depthwise(plan, node, stage, window_record(plan, node))
            return constants, [await_window(plan, node)], lines
        case Kernel.POOL:
            return _pool(plan, node, stage)
        case Kernel.GLOBAL_POOL:
            return _global_pool(plan, segment, node, stage)
        case Kernel.ARITHMETIC:
            return _arithmetic(plan, node, stage)
        case Kernel.PAIR:
            return _pair(plan, node, stage)
        case Kernel.LOOKUP:
            if keeps_bytes(plan, node):
                return _each(plan, node, stage, "rillet_same")
            return _each(plan, node, stage, "rillet_lookup", f"net_{node.name}_table")
        case Kernel.FUNCTION | Kernel.CURVE:
            return _each(plan, node, stage, *_function(node))
        case Kernel.WIDE_FUNCTION:
            return _each(plan, node, stage, *_wide_function(plan.graph, node))
        case Kernel.QUANTIZE:
            to, (low, high) = quant(plan.graph, node), node.type.dtype.integers
            kernel = "rillet_quantize" if node.type.dtype is not DType.I16 else "rillet_quantize_i16"
            return _each(plan, node, stage, kernel, real(to.scale), to.zero_point, low, high)
        case Kernel.DEQUANTIZE:
            source = plan.graph.by_name[node.inputs[0]]
            from_ = quant(plan.graph, source)
            kernel = f"rillet_dequantize_{source.type.dtype.value}"
            return _each(plan, node, stage, kernel, real(from_.scale), from_.zero_point)
        case Kernel.SOFTMAX:
            return _softmax(plan, node, stage)
        case Kernel.ARGMAX:
            return _argmax(plan, node, stage)
        case Kernel.COPY:
            return copied(plan, node, stage, c_type(node.type))
        case Kernel.INTERPOLATE:
            return interpolated(plan, node, stage)
        case _:
            assert_never(stage.kernel)


# -- convolutions ----------------------------------------------------------------------------------------------------


def _channels(graph: Graph, node: Node) -> str:
    op, name = node.op, node.name
    assert has_weights(op)
    low, high = bounds(graph, node, op.activation)
    if node.type.quant is None:
        return record("rillet_channels_f32", "channels", (f"net_{name}_weights", f"net_{name}_bias", low, high))
    mantissa = "0" if op.rounding is Rounding.SHIFT else f"net_{name}_mantissa"
    arrays = f"net_{name}_weights", f"net_{name}_bias", mantissa, f"net_{name}_shift"
    if node.type.dtype is DType.I16:
        return record("rillet_channels_wide", "channels", (*arrays, low, high))
    numbers = weight_zero(graph, node), quant(graph, node).zero_point, low, high
    return record("rillet_channels", "channels", (*arrays, *numbers))


def _xnor(plan: RowPlan, node: Node, stage: Stage) -> Body:
    window = op_window(node.op)
    assert window is not None
    ready = await_pixels(plan.graph, node) if window.pointwise else [await_window(plan, node)]
    constants, lines = low_bit.xnor(plan, stage, window_record(plan, node), lambda pixel: place_of(plan, node, pixel))
    return constants, ready, lines


def _dense(plan: RowPlan, node: Node, stage: Stage) -> Body:
    graph, op = plan.graph, node.op
    assert has_weights(op)
    assert stage.scratch is not None
    name, source, is_real = node.name, graph.by_name[node.inputs[0]], node.type.quant is None
    per_group, outputs, taps = source.shape.channels // op.groups, op.out_channels // op.groups, op.window.taps
    depth, wide = taps * per_group, "float" if is_real else "int16_t"
    packed, told = (stage.kernel is Kernel.LOW_BIT), ""
    if packed:
        channels, told = low_bit.channels(graph, stage)
    else:
        channels = _channels(graph, node)
    own = ""
    if stage.split is not Split.NONE:
        at_once = DENSE_TILE if stage.tile_pixels >= DENSE_TILE else 1
        own = f" + self->place.part * {at_once * depth}"
    place = f"({wide} *)(void *)(self->arena + {plan.buffers[stage.scratch].offset}){own}"
    constants = [channels, f"  {wide} *const gathered = {place};"]
    if op.window.pointwise:
        fetch = [f"const void *tap[1] = {{at_{source.name}(self, self->made.of_{name} + PIXEL)}};"]
        ready = await_pixels(graph, node)
    else:
        constants.append(window_record(plan, node))
        at = f"at_{source.name}(self, 0)"
        place = place_of(plan, node, "PIXEL")
        fetch = [
            f"const void *tap[{taps}];",
            f"rillet_window_taps(window, {at}, {outside_pixel(graph, node)}, {place}, tap);",
        ]
        ready = [await_window(plan, node)]
    first, output, loop, (start, end) = "0", "0", "    {", threads.piece(stage)
    if op.groups > 1:
        first, output = f"g * {per_group}", f"g * {outputs}"
        loop = f"    for (int32_t g = 0; g < {op.groups}; g++) {{"
    loops = [*threads.each_piece(node, stage), loop]
    gather = f"rillet_gather_{source.type.dtype.value}(tap, {taps}, {first}, {per_group}, gathered"
    kernel = f"rillet_dense{'_f32' if is_real else '_wide' if node.type.dtype is DType.I16 else ''}"
    tail = f"{depth}, {output}, {outputs}, channels" + ("" if is_real else f", {ROUNDINGS[op.rounding]}")
    one_at = f"at_{name}(self, self->made.of_{name} + p)"
    calls, pointer = (f"{kernel}_1(gathered, {one_at}, {tail});", f"{kernel}_4(gathered, out, {tail});"), "void"
    if packed:
        kernel = kernel.replace("rillet_dense", "rillet_low_bit") + "_tile"
        tail = f"{depth}, {output}, {outputs}, channels, {told}"
        calls = (
            f"{kernel}(gathered, (void *const[]){{{one_at}}}, 1, {tail});",
            f"{kernel}(gathered, out, {DENSE_TILE}, {tail});",
        )
    elif is_real:
        pointer = "float"
    one = [
        f"      for (; p < {end}; p++) {{",
        *(f"        {line.replace('PIXEL', 'p')}" for line in fetch),
        f"        {gather});",
        f"        {calls[0]}",
        "      }",
    ]
    four: list[str] = []
    if stage.tile_pixels >= DENSE_TILE:
        four = [
            f"      for (; p + {DENSE_TILE} <= {end}; p += {DENSE_TILE}) {{",
            f"        {pointer} *out[{DENSE_TILE}];",
            f"        for (int32_t q = 0; q < {DENSE_TILE}; q++) {{",
            *(f"          {line.replace('PIXEL', 'p + q')}" for line in fetch),
            f"          {gather} + q * {depth});",
            f"          out[q] = at_{name}(self, self->made.of_{name} + p + q);",
            "        }",
            f"        {calls[1]}",
            "      }",
        ]
    line = node.shape.pixels if plan.by_rows else node.shape.width
    if stage.split is Split.NONE and stage.tile_pixels % DENSE_TILE == 0 and line % stage.tile_pixels == 0:
        one = []  # gcc 12 warns of this loop, which never runs
    return constants, ready, [*loops, f"      int32_t p = {start};", *four, *one, "    }"]


def _depthwise(plan: RowPlan, node: Node, stage: Stage) -> Body:
    graph, op = plan.graph, node.op
    assert has_weights(op)
    name, taps = node.name, op.window.taps
    source = graph.by_name[node.inputs[0]]
    kind = "wide" if source.type.dtype is DType.I16 else source.type.dtype.value
    kernel, at = f"rillet_depthwise_{kind}", f"at_{source.name}(self, 0)"
    tail = "channels" + ("" if node.type.quant is None else f", {ROUNDINGS[op.rounding]}")
    constants = _channels(graph, node)
    if stage.kernel is Kernel.LOW_BIT_DEPTHWISE:
        constants, told = low_bit.channels(graph, stage)
        kernel, tail = kernel.replace("rillet_", "rillet_low_bit_"), f"channels, {told}"
    lines = [
        *braced(threads.each_pixel(node, stage)),
        f"      const void *tap[{taps}];",
        f"      rillet_window_taps(window, {at}, {outside_pixel(graph, node)}, {place_of(plan, node, 'p')}, tap);",
        f"      {kernel}(tap, {taps}, at_{name}(self, self->made.of_{name} + p), {op.out_channels}, {tail});",
        "    }",
    ]
    return [constants, window_record(plan, node)], [await_window(plan, node)], lines


# -- pools -----------------------------------------------------------------------------------------------------------


def _pool(plan: RowPlan, node: Node, stage: Stage) -> Body:
    graph, op = plan.graph, node.op
    assert is_pool(op)
    scaled = op.kind is PoolKind.MEAN and node.type.quant is not None
    if scaled and any(op.window.padding):
        raise Unsupported(f"{graph.name}: {node.name}: window of a mean must have no padding")
    name, source, channels = node.name, node.inputs[0], node.shape.channels
    binary = node.type.dtype is DType.BINARY
    limits = "" if binary else "".join(f", {bound}" for bound in bounds(graph, node, op.activation))
    plain = plan.host is None or binary or node.type.dtype is DType.I16
    kind = "average" if op.kind is not PoolKind.MAX else "max" if plain else "max_rows"
    kernel = f"rillet_{kind}_{node.type.dtype.value}"
    more = ""
    if scaled:
        from_, to = quant(graph, graph.by_name[source]), quant(graph, node)
        numbers = _mean_scale(from_, to, op.window.taps, op.rounding)
        kernel = f"rillet_mean_{node.type.dtype.value}"
        more = "".join(f", {number}" for number in (from_.zero_point * op.window.taps, *numbers, to.zero_point))
    elif op.kind is not PoolKind.MAX and node.type.quant is not None:
        more = f", {offset(plan, node)}"
    place = place_of(plan, node, "p")
    lines = [
        *braced(threads.each_pixel(node, stage)),
        f"      const void *tap[{op.window.taps}] = {{0}};",
        f"      const int32_t taps = rillet_window_inside(window, at_{source}(self, 0), {place}, tap);",
        f"      {kernel}(tap, taps, at_{name}(self, self->made.of_{name} + p), {channels}{more}{limits});",
        "    }",
    ]
    return [window_record(plan, node)], [await_window(plan, node)], lines


def _global_pool(plan: RowPlan, segment: Segment, node: Node, stage: Stage) -> Body:
    """Accumulates every pixel as it arrives; `taken` counts them, and the last one completes the result."""
    graph, op = plan.graph, node.op
    assert is_pool(op)
    assert stage.scratch is not None
    name, source = node.name, graph.by_name[node.inputs[0]]
    channels, pixels = source.shape.channels, source.shape.pixels
    low, high = bounds(graph, node, op.activation)
    wide = "float" if node.type.quant is None else "int32_t"
    constants = [f"  {wide} *const sums = ({wide} *)(void *)(self->arena + {plan.buffers[stage.scratch].offset});"]
    kept = "_i16" if node.type.dtype is DType.I16 else ""
    own, count = "", str(channels)
    if plan.threads > 1:
        constants += threads.some_channels(stage, channels)
        own, count = " + first", "channels"
    into = f"sums{own}, at_{name}(self, 0){own}, {count}"
    if node.type.quant is None:
        finish = f"rillet_finish_f32({into}, {pixels}, {low}, {high});"
    elif op.kind is PoolKind.MEAN:
        from_, to = quant(graph, source), quant(graph, node)
        numbers = (from_.zero_point * pixels, *_mean_scale(from_, to, pixels, op.rounding), to.zero_point, low, high)
        finish = f"rillet_finish_mean{kept}({into}, {', '.join(map(str, numbers))});"
    else:
        finish = f"rillet_finish_average{kept}({into}, {pixels}, {offset(plan, node)}, {low}, {high});"
    at = source.name
    kind, begins = source.type.dtype.value, f"self->taken.of_{name} == 0"
    if plan.host is None or kept:
        takes = [
            f"    for (; self->taken.of_{name} < self->made.of_{at}; self->taken.of_{name}++)",
            f"      rillet_accumulate_{kind}(at_{at}(self, self->taken.of_{name}){own}, sums{own}, {count}, {begins});",
        ]
    else:  # the rows that came lie in one piece
        come = f"at_{at}(self, self->taken.of_{name}){own}, self->made.of_{at} - self->taken.of_{name}, {channels}"
        takes = [
            f"    rillet_sum_rows_{kind}({come}, sums{own}, {count}, {begins});",
            f"    self->taken.of_{name} = self->made.of_{at};",
        ]
    ready = [
        *threads.await_lines(plan, segment, stage),
        *takes,
        *threads.done_lines(plan, segment, stage),
        f"    if (self->taken.of_{name} < {pixels}) return 0;",
    ]
    return constants, ready, [f"    {finish}"]


def _mean_scale(source: Quant, out: Quant, count: int, rounding: Rounding) -> tuple[int, int, int]:
    """Mantissa, shift and rounding of a mean."""
    if rounding is Rounding.SHIFT:
        return 0, shift.mean_shift(source, out, count), ROUNDINGS[rounding]
    scale = fp.mean_multiplier(source, out, count)
    return scale.mantissa, scale.shift, ROUNDINGS[rounding]


# -- pixel by pixel --------------------------------------------------------------------------------------------------


def _each(plan: RowPlan, node: Node, stage: Stage, kernel: str, *more: object) -> Body:
    """An elementwise kernel, called on each value."""
    return [], await_pixels(plan.graph, node), _over_pixels(plan, node, stage, kernel, *more)


def _function(node: Node) -> tuple[str, ...]:
    """The kernel of a function of float32 values, and its numbers."""
    if is_curve(node.op):
        numbers = (node.op.a, node.op.b)[: node.op.curve.numbers]
        return (f"rillet_{node.op.curve.value}", *map(real, numbers))
    return (f"rillet_{node.op.activation.value if is_activation(node.op) else 'none'}",)


def _wide_function(graph: Graph, node: Node) -> tuple[str, *tuple[object, ...]]:
    """The kernel of a function of 16-bit values, and its numbers."""
    source = graph.by_name[node.inputs[0]]
    from_, to = quant(graph, source), quant(graph, node)
    if is_curve(node.op) and node.op.curve is Curve.LEAKY_RELU:
        above, below = tables.leaky_multipliers(node.op.a, from_, to)
        return ("rillet_leaky_relu_i16", above.mantissa, above.shift, below.mantissa, below.shift)
    if is_curve(node.op) and node.op.curve is Curve.ABS:
        ratio = tables.ratio_f32(from_, to)
        return ("rillet_abs_i16", ratio.mantissa, ratio.shift)
    if is_curve(node.op) and node.op.curve is not Curve.TANH:
        return ("rillet_steps_i16", f"net_{node.name}_table")
    if is_curved(node):
        word = "tanh" if is_curve(node.op) else "sigmoid"
        return (f"rillet_{word}_i16", f"net_{node.name}_table", *wide.sigmoid_multiplier(from_))
    scale, (low, high) = fp.multiplier(from_.scale / to.scale), node.type.dtype.integers
    if is_activation(node.op):
        low, high = bounds(graph, node, node.op.activation)
        scale = wide.clamp_multiplier(from_, to) if node.op.activation is not Activation.NONE else scale
    kernel = f"rillet_requantize_{source.type.dtype.value}_{node.type.dtype.value}"
    return (kernel, from_.zero_point, scale.mantissa, scale.shift, to.zero_point, low, high)


def _over_pixels(plan: RowPlan, node: Node, stage: Stage, kernel: str, *more: object) -> list[str]:
    """Calls a kernel of values for the tile: pixel by pixel, or all at once where they are contiguous."""
    graph, name = plan.graph, node.name
    whole = plan.host is not None and all(shape == node.shape for shape in graph.input_shapes(node))
    whole = whole and node.type.dtype is not DType.BINARY
    pixel, channels = "p", str(node.shape.channels)
    if whole:
        pixel, _ = threads.piece(stage)
        channels = f"{threads.piece_pixels(stage)} * {node.shape.channels}"
    at = [source_at(graph, source, node, pixel) for source in node.inputs]
    arguments = ", ".join(map(str, (*at, f"at_{name}(self, self->made.of_{name} + {pixel})", channels, *more)))
    if whole:
        return [*threads.each_piece(node, stage), f"    {kernel}({arguments});"]
    return [*threads.each_pixel(node, stage), f"      {kernel}({arguments});"]


def _arithmetic(plan: RowPlan, node: Node, stage: Stage) -> Body:
    graph, op = plan.graph, node.op
    assert is_pairwise(op)
    left, right = (graph.by_name[source] for source in node.inputs)
    word = "multiply" if is_product(op) else "subtract" if is_sum(op) and op.subtract else "add"
    low, high = bounds(graph, node, op.activation)
    constants: list[str] = []
    if (found := pairwise_constants(plan, stage)) is not None:
        constants, lines = pairwise_lines(plan, stage, found, low, high)
        return constants, await_pixels(graph, node), lines
    more = f"{low}, {high}"
    kernel = f"rillet_{word}_{node.type.dtype.value}"
    whole = node.type.dtype is not DType.I16
    if is_sum(op) and node.type.quant is not None and whole and left.type.quant == right.type.quant == node.type.quant:
        # Under shared scales the rescaling of an addition is exact, whatever they are.
        zero = quant(graph, node).zero_point
        kernel, more = kernel.replace("rillet_", "rillet_exact_"), f"{zero}, {more}"
    elif node.type.quant is not None:
        zeros = [quant(graph, value).zero_point for value in (left, right, node)]
        if is_product(op):
            scale = _product_scale(quant(graph, left), quant(graph, right), quant(graph, node), op.rounding)
            numbers = (zeros[0], zeros[1], *scale, zeros[2], low, high)
        else:
            bits = fp.ADD_SHIFT if whole else wide.ADD_SHIFT
            k = fp.add_constants(quant(graph, left), quant(graph, right), quant(graph, node), bits)
            sides = (zeros[0], k.left.mantissa, k.left.shift, zeros[1], k.right.mantissa, k.right.shift)
            numbers = (*sides, k.out.mantissa, k.out.shift, zeros[2], low, high)
        kind = "multiply" if is_product(op) else "add"
        constants, more = [record(f"rillet_{kind}", "constants", numbers)], "constants"
    return constants, await_pixels(graph, node), _over_pixels(plan, node, stage, kernel, more)


def _pair(plan: RowPlan, node: Node, stage: Stage) -> Body:
    """The greater, the lesser, the quotient or a PReLU of two values."""
    graph = plan.graph
    assert is_pair(node.op)
    kind = node.op.kind
    kernel = f"rillet_{kind.value}_{node.type.dtype.value}"
    if kind is not PairKind.PRELU or node.type.quant is None:
        return _each(plan, node, stage, kernel)
    left, right = (quant(graph, graph.by_name[name]) for name in node.inputs)
    out = quant(graph, node)
    above, below = fp.prelu_multipliers(left, right, out)
    numbers = (above.mantissa, above.shift, below.mantissa, below.shift, out.zero_point, *node.type.dtype.integers)
    constants = [record("rillet_prelu", "constants", (left.zero_point, right.zero_point, *numbers))]
    return constants, await_pixels(graph, node), _over_pixels(plan, node, stage, kernel, "constants")


def _product_scale(left: Quant, right: Quant, out: Quant, rounding: Rounding) -> tuple[int, int, int]:
    """Mantissa, shift and rounding of a product."""
    if rounding is Rounding.SHIFT:
        return 0, shift.product_shift(left, right, out), ROUNDINGS[rounding]
    scale = fp.product_multiplier(left, right, out)
    return scale.mantissa, scale.shift, ROUNDINGS[rounding]


def _softmax(plan: RowPlan, node: Node, stage: Stage) -> Body:
    """Softmax of each pixel by itself."""
    op, name = node.op, node.name
    assert is_softmax(op)
    kernel, more = f"rillet_softmax_{node.type.dtype.value}", f"net_{name}_table"
    if node.type.quant is None:
        more = real(op.beta)
    elif node.type.dtype is DType.I16:
        scale = wide.softmax_multiplier(quant(plan.graph, plan.graph.by_name[node.inputs[0]]), op.beta)
        more = f"net_{name}_powers, net_{name}_reciprocals, {scale.mantissa}, {scale.shift}"
    source = source_at(plan.graph, node.inputs[0], node, "p")
    arguments = f"{source}, at_{name}(self, self->made.of_{name} + p), {node.shape.channels}"
    lines = [*threads.each_pixel(node, stage), f"      {kernel}({arguments}, {more});"]
    return [], await_pixels(plan.graph, node), lines


def _argmax(plan: RowPlan, node: Node, stage: Stage) -> Body:
    """The greatest channel of each pixel."""
    source = plan.graph.by_name[node.inputs[0]]
    arguments = f"{source_at(plan.graph, source.name, node, 'p')}, {source.shape.channels}"
    made = f"*at_{node.name}(self, self->made.of_{node.name} + p)"
    lines = [*threads.each_pixel(node, stage), f"      {made} = rillet_argmax_{source.type.dtype.value}({arguments});"]
    return [], await_pixels(plan.graph, node), lines
