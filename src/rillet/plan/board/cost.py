"""Instructions of one image on a microcontroller's core: kernels by their text, the rest by measured rates."""

from collections import Counter
from collections.abc import Sequence

from rillet.ir.facts import has_weights, is_sum
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Rounding, op_macs
from rillet.ir.types import Shape
from rillet.plan.board import dsp
from rillet.plan.board.kernels import (
    ABREAST,
    WORD,
    abreast,
    dense_depth,
    dense_words,
    finish,
    gathers_windows,
    list_lengths,
    takes_bytes,
    together,
)
from rillet.plan.board.lists import lists
from rillet.plan.board.rates import RATES, Rates
from rillet.plan.rows.plan import BufferKind, CoreKernels, Kernel, RowPlan, Segment, Stage
from rillet.plan.rows.timing import Tile

_COLOURS = 3
"""Bytes of a pixel that `pushed` copies; deeper ones take as much more."""
_VECTOR = 16
"""Bytes of a vector."""
_SUM, _SAME = (26, 4), (8, 8)
"""Of a vector of sums, rescaled or of one scale, and the sums that it has."""


def plan_instructions(plan: RowPlan) -> float:
    """About how many one image takes under a plan for a core: its stages, and what is around them."""
    assert plan.core is not None
    graph, around = plan.graph, RATES[plan.core].around
    spent = sum(stage_instructions(plan, segment, stage) for segment in plan.segments for stage in segment.stages)
    spent += sum(_steps(graph, segment) for segment in plan.segments) * around.step
    spent += sum(firings(graph.by_name[s.driver].shape, tile_of(s)) for s in plan.segments[1:]) * around.driven
    spent += sum(around.set_byte * b.bytes for b in plan.buffers.values() if b.planes is not None)
    image = graph.input_nodes[0]
    outputs = sum(graph.by_name[name].type.bytes for name in graph.outputs)
    spent += around.set_byte * (outputs + 4 * len(graph.nodes))
    for other in (node for node in graph.input_nodes[1:] if node.name in plan.buffers):
        spent += other.type.bytes * (around.flipped_byte if other.name in plan.sign_flipped else around.set_byte)
    if plan.resident:
        return spent + around.set_byte * image.type.bytes
    copied = around.flipped_byte if image.name in plan.sign_flipped else around.set_byte
    if not plan.by_rows:
        more = max(image.type.pixel_bytes - _COLOURS, 0)
        return spent + image.shape.pixels * (around.pushed + copied * more)
    stored = image.name in plan.buffers
    return spent + image.shape.height * around.pushed + (copied * image.type.bytes if stored else 0)


def _steps(graph: Graph, segment: Segment) -> int:
    """Steps of the schedule: each stage is tried after a tile that it reads, and again after each that it makes."""
    tile, nodes = tile_of(segment), [graph.by_name[stage.node] for stage in segment.stages]
    return sum(firings(shape, tile) for node in nodes for shape in (node.shape, *graph.input_shapes(node)))


def stage_instructions(plan: RowPlan, segment: Segment, stage: Stage) -> float:
    """About how many one image takes in a stage of a plan for a core."""
    assert plan.core is not None
    node, rings = plan.graph.by_name[stage.node], rings_of(plan, stage)
    return instructions(plan.graph, node, stage.kernel, tile_of(segment), plan.core, rings)


def rings_of(plan: RowPlan, stage: Stage) -> tuple[int, ...]:
    """Pixels of the ring buffers in which a dense stage must find pixels side by side."""
    if stage.kernel is not Kernel.CORE_DENSE:
        return ()
    assert plan.core is not None
    node = plan.graph.by_name[stage.node]
    names = (node.name,) if gathers_windows(plan.graph, node, plan.core) else (*node.inputs, node.name)
    buffers = [plan.buffers[name] for name in names if name in plan.buffers]
    return tuple(b.pixels for b in buffers if b.kind is BufferKind.RING and b.pixels < node.shape.pixels)


def tile_of(segment: Segment) -> Tile:
    """What the stages of a segment make at once."""
    return Tile(rows=segment.tile_rows) if segment.tile_rows else Tile(segment.tile_pixels)


def firings(shape: Shape, tile: Tile) -> int:
    """Tiles of a map."""
    return -(-shape.height // tile.rows) if tile.rows else shape.height * -(-shape.width // tile.pixels)


def instructions(
    graph: Graph, node: Node, kernel: Kernel, tile: Tile, core: CoreKernels, rings: Sequence[int] = ()
) -> float:
    """About how many one image takes in this stage: it looks for pixels whenever a tile that it reads is made.

    rings: pixels of the ring buffers in which a dense stage must find pixels side by side.
    """
    op, shape = node.op, node.shape
    around, sources = RATES[core].around, graph.input_shapes(node)
    values = shape.pixels * shape.channels
    spent = sum(firings(source, tile) for source in sources) * around.attempt
    match kernel:
        case Kernel.CORE_DENSE:
            return spent + _dense(graph, node, tile, core, rings)
        case Kernel.CORE_DEPTHWISE:
            assert has_weights(op)
            pixel = around.call + op.window.taps * around.tap + _taps(graph, node, op, core)
            return spent + shape.pixels * pixel
        case Kernel.CORE_LISTS:
            return spent + _lists(graph, node, tile, core)
        case Kernel.CORE_PLANES:
            assert has_weights(op)
            return spent + shape.height * (around.row + _rows(node, op, core))
        case Kernel.CORE_SUM:
            calls, pixels = (shape.height, shape.width) if tile.rows else (shape.pixels, 1)
            per, together_ = _SAME if _same_scales(graph, node) else _SUM
            return spent + calls * (around.call + -(-pixels * shape.channels // together_) * per)
        case Kernel.ARITHMETIC:
            same = is_sum(op) and _same_scales(graph, node)
            return spent + (around.same if same else around.rescaled) * values
        case Kernel.GLOBAL_POOL:
            read = sources[0].pixels * sources[0].channels
            return spent + around.pooled[0] * read + around.pooled[1] * values
        case Kernel.SOFTMAX:
            return spent + around.softmax * values
        case _ if has_weights(op) and takes_bytes(graph, node, op):
            value, mac = around.convolved
            return spent + value * values + mac * op_macs(op, sources)
        case _:
            read = sum(source.pixels * source.channels for source in sources)
            return spent + around.portable * (op_macs(op, sources) + read)


def _same_scales(graph: Graph, node: Node) -> bool:
    return all(source.quant == node.type.quant for source in graph.input_types(node))


def dense_calls(node: Node, tile: Tile, rings: Sequence[int]) -> Counter[int]:
    """Calls of a dense kernel by pixels at once; pixels that lie at the end and at the beginning of one of these rings
    are taken one by one.
    """
    shape = node.shape
    if abreast(node, tile.of(shape)) == 1:
        return Counter({1: shape.pixels})
    if tile.rows:
        return Counter({ABREAST: shape.height * -(-shape.width // ABREAST)})
    calls: Counter[int] = Counter()
    for start in range(0, shape.width, tile.pixels):
        stop = min(start + tile.pixels, shape.width)
        for row in range(shape.height):
            at = start
            while at < stop:
                first = row * shape.width + at
                several = at + ABREAST <= stop and all(first % ring <= ring - ABREAST for ring in rings)
                calls[ABREAST if several else 1] += 1
                at += ABREAST if several else 1
    return calls


def _dense(graph: Graph, node: Node, tile: Tile, core: CoreKernels, rings: Sequence[int]) -> float:
    spent = 0.0
    for pixels, calls in dense_calls(node, tile, rings).items():
        made = _dense_exact(graph, node, pixels) if core is CoreKernels.DSP else _dense_rates(graph, node, pixels, core)
        spent += calls * (made + RATES[core].around.call)
        if gathers_windows(graph, node, core):
            spent += _windows(graph, node, pixels, calls, core)
    return spent


def list_calls(node: Node, tile: Tile) -> Counter[int]:
    """Calls of a kernel of lists by pixels at once."""
    width, most = node.shape.width, tile.of(node.shape)
    calls: Counter[int] = Counter()
    for start in range(0, width, most):
        twos, ones = divmod(min(most, width - start), 2)
        calls += Counter({2: twos * node.shape.height, 1: ones * node.shape.height})
    return calls


def _lists(graph: Graph, node: Node, tile: Tile, core: CoreKernels) -> float:
    op, around, spent = node.op, RATES[core].around, 0.0
    assert has_weights(op)
    lengths = list_lengths(graph, node)
    for pixels, calls in list_calls(node, tile).items():
        spent += calls * (lists(lengths, pixels, op.rounding) + around.call)
        if not op.window.pointwise:
            high, wide = op.window.kernel
            row, byte = around.copied_row
            spent += calls * pixels * high * (row + byte * wide * graph.input_shapes(node)[0].channels)
    return spent


def _dense_exact(graph: Graph, node: Node, pixels: int) -> float:
    """Of one call and of what it gathers."""
    op, core = node.op, CoreKernels.DSP
    assert has_weights(op)
    words, known, pairs = dense_words(graph, node), finish(graph, node, core), -(-node.shape.channels // 2)
    if known.by_words:
        spent = float(dsp.dense(pairs, words, pixels, op.rounding, clamped=known.clamped, wide=known.wide))
    else:
        spent = pairs * dsp.dense(1, words, pixels, op.rounding, clamped=False, wide=known.wide, sums=True)
        spent += node.shape.channels * pixels * RATES[core].around.finish
    if not gathers_windows(graph, node, core):
        return spent + dsp.gather(words, pixels, wide=known.wide)
    high, wide = op.window.kernel
    whole, rest = divmod(wide * graph.input_shapes(node)[0].channels, WORD)
    spent += high * dsp.gather(whole, pixels, wide=known.wide) if whole else 0
    return spent + (dsp.gather(-(-high * rest // WORD), pixels, wide=known.wide) if rest else 0)


def _dense_rates(graph: Graph, node: Node, pixels: int, core: CoreKernels) -> float:
    """Of one call and of what it gathers, for kernels whose text is not counted line by line."""
    op, rates = node.op, RATES[core]
    assert has_weights(op)
    unit, known = together(core), finish(graph, node, core)
    group, word = rates.dense[pixels]
    depth, made = dense_words(graph, node), -(-node.shape.channels // unit)
    gather = pixels * (rates.gather[0] + depth * rates.gather[1])
    if core is CoreKernels.HELIUM:
        depth = -(-dense_depth(graph, node) // _VECTOR)
    passes = 2 if known.wide and rates.wide else 1
    group += passes * depth * word - _saved(rates, op) * pixels + (rates.wide if known.wide else 0)
    if not known.by_words:
        group += unit * pixels * rates.around.finish
    return gather + made * group


def _windows(graph: Graph, node: Node, pixels: int, calls: int, core: CoreKernels) -> float:
    """Of the rows of all windows: those within the map lie in one piece, those at its border are copied tap by tap."""
    op, around, (source,) = node.op, RATES[core].around, graph.input_shapes(node)
    assert has_weights(op)
    (high, wide), (down, right), (top, _, left, _) = op.window.kernel, op.window.stride, op.window.padding
    a_row, rest = calls / node.shape.height, wide * source.channels % WORD
    inside = sum(
        0 <= y * down - top + i * op.window.dilation[0] < source.height
        for y in range(node.shape.height)
        for i in range(high)
    )
    span = (pixels - 1) * right + wide
    starts = [x * right - left for x in range(0, node.shape.width, pixels)]
    at_border = sum(x < 0 or x + span > source.width for x in starts) / len(starts)
    rows = node.shape.height * high * a_row
    copied = rows - inside * a_row * (1 - at_border)
    tap = around.border[0] + around.border[1] * source.channels
    return rows * (around.window_row[pixels] + pixels * rest * around.rest_byte) + copied * wide * pixels * tap


def _taps(graph: Graph, node: Node, op: Conv, core: CoreKernels) -> float:
    """Of a pixel of a depthwise convolution."""
    rates, channels = RATES[core], node.shape.channels
    if core is CoreKernels.DSP:
        return dsp.taps(op.window.taps, channels, op.rounding, clamped=finish(graph, node, core).clamped)
    groups, (group, tap) = -(-channels // rates.taps_together), rates.taps
    return groups * (group + op.window.taps * tap - _saved(rates, op) * rates.taps_together)


def _rows(node: Node, op: Conv, core: CoreKernels) -> float:
    """Of a row of a depthwise convolution."""
    rates, shape, stride = RATES[core], node.shape, op.window.stride[1]
    if core is CoreKernels.DSP:
        return dsp.rows(shape.channels, shape.width, stride, op.rounding)
    step = rates.rows_pixels[stride - 1] - _saved(rates, op) * rates.rows_together
    return shape.channels * (rates.rows_channel + -(-shape.width // rates.rows_together) * step)


def _saved(rates: Rates, op: Conv) -> float:
    return rates.shift if op.rounding is Rounding.SHIFT else 0
