"""Stages of a host plan: whole rows by register tiles."""

from dataclasses import dataclass, replace
from itertools import pairwise
from textwrap import TextWrapper

from rillet.backends.c import threads
from rillet.backends.c.bounds import bounds
from rillet.backends.c.constants import outside_name, outside_value, quant
from rillet.backends.c.image import borrows_image, input_of
from rillet.backends.c.packing import channel_rounding, factor_arrays
from rillet.backends.c.records import record
from rillet.backends.c.tile_shapes import DenseTile, DepthwiseRow, DepthwiseTile, Tile, WinogradTile, groups
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Rounding
from rillet.ir.types import DType
from rillet.plan.host.pieces import even, split
from rillet.plan.host.threads import bounds as ends_of
from rillet.plan.host.threads import shares, tiles
from rillet.plan.host.tilings import (
    GROUP_ROWS,
    MOST_NEIGHBOURS,
    VECTORS,
    Vectors,
    band_line,
    band_values,
    dense_depth,
    in_line,
    past,
    value_type,
    window_runs,
)
from rillet.plan.host.winograd import PLACES, SQUARE, scratch_parts, squares
from rillet.plan.rows.plan import Kernel, RowPlan, Split, Stage

Body = tuple[list[str], list[str]]
_IN = "        "
_WRAPPED = TextWrapper(
    120, initial_indent=_IN, subsequent_indent=_IN + "  ", break_long_words=False, break_on_hyphens=False
)


def vectors_of(plan: RowPlan) -> Vectors:
    """The instruction set of the plan."""
    assert plan.host is not None
    return VECTORS[plan.host.kernels]


def lanes(plan: RowPlan) -> int:
    """Lanes of 32 bits of the plan's vectors."""
    return vectors_of(plan).lanes


def used_tiles(plan: RowPlan) -> set[Tile]:
    """Every register tile that the plan's stages call."""
    out: set[Tile] = set()
    for segment in plan.segments:
        for stage in segment.stages:
            node = plan.graph.by_name[stage.node]
            real = node.type.quant is None
            if stage.kernel is Kernel.TILES:
                assert stage.tiling is not None
                out |= {
                    DenseTile(value_type(stage.tiling, real), pixels, block.vectors, _windows(node, stage))
                    for block in _blocks(node, stage, lanes(plan))
                    for pixels in _pixel_tiles(plan, node, stage)
                }
            elif stage.kernel is Kernel.WINOGRAD:
                assert stage.tiling is not None
                out |= {
                    WinogradTile(count, block.vectors, stage.tiling.halves)
                    for block in _blocks(node, stage, lanes(plan))
                    for count in _square_groups(node, stage)
                }
            elif stage.kernel is Kernel.DEPTHWISE_TILES:
                blocks = _channel_blocks(node, stage, lanes(plan))
                out |= {_row_tiles(plan, node, stage, block.vectors)[0] for block in blocks}
    return out


def channels_record(plan: RowPlan, node: Node) -> str:
    """The constant that tells a kernel how the sums of each output channel become values."""
    graph = plan.graph
    op, name = node.op, node.name
    assert has_weights(op)
    low, high = bounds(graph, node, op.activation)
    if node.type.quant is None:
        return record("rillet_channels_f32_tiles", "channels", (f"net_{name}_bias", low, high), static=True)
    vectors = vectors_of(plan)
    rounding = channel_rounding(graph, node, fused=vectors.fused)
    factors = factor_arrays(rounding, vectors)
    integers = ["0", "0", "0", "0"]
    if not rounding.shown.all():
        integers = [f"net_{name}_{part}" for part in ("by_integers", "mantissa", "left", "right")]
    ways = (rounding.signed, rounding.careful, rounding.as_bits, op.rounding is Rounding.SINGLE)
    scale, nudge, shift = (f"net_{name}_{part}" if part in factors else "0" for part in ("scale", "nudge", "shift"))
    arrays = (f"net_{name}_bias", scale, nudge, *integers, shift)
    numbers = (*map(int, ways), rounding.centre, quant(graph, node).zero_point, low, high)
    return record("rillet_channels_byte_tiles", "channels", (*arrays, *numbers), static=True)


# -- dense -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Block:
    """`channels` output channels from `first` on, `count` times over."""

    first: int
    count: int
    vectors: int
    channels: int


def _blocks(node: Node, stage: Stage, width: int) -> list[_Block]:
    assert stage.tiling is not None
    channels, step = node.shape.channels, stage.tiling.vectors * width
    whole = channels // step
    out = [_Block(0, whole, stage.tiling.vectors, step)] if whole else []
    rest = channels - whole * step
    if rest:
        out.append(_Block(whole * step, 1, -(-rest // width), rest))
    return out


def _windows(node: Node, stage: Stage) -> bool:
    assert stage.tiling is not None
    return not in_line(node, stage.tiling)


def _pixel_tiles(plan: RowPlan, node: Node, stage: Stage) -> list[int]:
    """Sizes of the pixel tiles, the largest first: those of every piece that a thread makes at once."""
    assert stage.tiling is not None
    if stage.tiling.matrix:
        return [stage.tiling.pixels]
    counts = shares(node.shape, stage.tile_pixels, stage.split, plan.threads, row_by_row=_windows(node, stage))
    return sorted({size for count in counts for size in split(count, stage.tiling.pixels)}, reverse=True)


def dense(plan: RowPlan, node: Node, stage: Stage, window: str) -> Body:
    """Constants and lines of a convolution by dense tiles; `window` declares its window."""
    graph, op = plan.graph, node.op
    assert has_weights(op)
    assert stage.tiling is not None
    source, windows = graph.by_name[node.inputs[0]], _windows(node, stage)
    name, value, values = node.name, _value(node), value_type(stage.tiling, node.type.quant is None)
    channels, width, depth = node.shape.channels, node.shape.width, dense_depth(graph, node, stage.tiling)
    constants, step = [channels_record(plan, node)], source.shape.channels
    (start, end), heads = threads.piece(stage), threads.each_piece(node, stage)
    if windows:
        more, lines = _band(plan, node, stage)
        constants += [window, *more]
        step *= op.window.stride[1]
        pitch = band_values(graph, node, 1) // op.window.extent[0] * op.window.stride[0]
        first, rows = _rows(node, stage)
        (start, end) = ("begin", "end") if stage.split is Split.COLUMNS else ("0", str(width))
        heads = [f"    for (int32_t y = 0; y < {rows}; y++)"]
        from_, to, deep = f"in + y * {pitch} + p", f"out + ({f'({first} + y)' if first else 'y'} * {width} + p)", "runs"
        line = band_line(graph, node, stage.split) if values.matrix else 0
        if line:
            end, heads = f"({rows} - 1) * {line} + {width}", []
            from_, to = "in + p", f"out + ({f'{first} * {width} + ' if first else ''}p)"
        lies = f", {width}, {line or width}"
    else:
        lies = ""
        more, lines = _line(plan, node, stage)
        constants += more
        from_, to, deep = "in + p", "out + p", str(depth)
    lines.append(f"    {value} *const out = at_{name}(self, self->made.of_{name});")
    blocks, unit = _blocks(node, stage, lanes(plan)), 0
    lines += threads.channel_share(stage, sum(block.count for block in blocks))
    for block in blocks:
        o = "o" if block.count > 1 else str(block.first)
        lines.append(f"    {_each_block(stage, block, unit, o)}")
        inner = [f"int32_t p = {start};"]
        for pixels in _pixel_tiles(plan, node, stage):
            tile = DenseTile(values, pixels, block.vectors, windows)
            call = [
                f"  {tile.name}({from_} * {step}, {step}, net_{name}_weights + {o} * {depth}, {deep}, {o},",
                f"    {to} * {channels} + {o}, {channels}, {block.channels}, &channels);",
            ]
            if values.matrix:
                inner += [call[0], call[1].replace("&channels", f"{end} - p{lies}, &channels")]
            else:
                inner += [f"for (; p + {pixels} <= {end}; p += {pixels})", *call]
        for head in heads:
            inner = [f"{head.strip()} {{", *(f"  {line}" for line in inner), "}"]
        lines += [*(f"      {line}" for line in inner), "    }"]
        unit += block.count
    return constants, lines


def _each_block(stage: Stage, block: _Block, unit: int, variable: str) -> str:
    """Head of the loop over equal blocks of output channels, the first of which is the one numbered `unit`; of a single
    one, whether a thread makes it.
    """
    shared = stage.split is Split.CHANNELS
    if block.count == 1:
        return f"if (first <= {unit} && {unit} < last) {{" if shared else "{"
    start, end = "0", str(block.count * block.channels)
    if shared:
        start, end = f"first * {block.channels}", f"rillet_least(last, {block.count}) * {block.channels}"
    return f"for (int32_t {variable} = {start}; {variable} < {end}; {variable} += {block.channels}) {{"


def _value(node: Node) -> str:
    return "float" if node.type.quant is None else "rillet_byte"


def _line(plan: RowPlan, node: Node, stage: Stage) -> Body:
    """Pixels that tiles read one after the other: where they lie, or made 16 bits wide, each thread its own."""
    source = plan.graph.by_name[node.inputs[0]]
    name, channels, value = f"at_{source.name}(self, self->made.of_{node.name})", source.shape.channels, _value(node)
    assert stage.tiling is not None
    if not stage.tiling.halves:
        return [], [f"    const {value} *const in = {name};"]
    assert stage.scratch is not None
    (start, end), flip = threads.piece(stage), _flipped_image(plan, source)
    count = f"({end})" if start == "0" else f"({end} - ({start}))"
    at = "" if start == "0" else f" + ({start}) * {channels}"
    heads = threads.each_piece(node, stage)
    if node.type.quant is None:
        more = past(channels, value_type(stage.tiling, real=True))
        made = f"rillet_narrow(values{at}, {count} * {channels}, {more}, in{at});"
    else:
        made = f"rillet_widen(values{at}, {count} * {channels}, {flip}, in{at});"
    lines = [f"    const {value} *const values = {name};", *heads, f"    {'  ' if heads else ''}{made}"]
    return [_scratch(plan, stage, _stored(node, stage), 2)], lines


def _stored(node: Node, stage: Stage) -> str:
    """The type of what dense tiles read."""
    assert stage.tiling is not None
    if not stage.tiling.halves:
        return _value(node)
    return "uint16_t" if node.type.quant is None else "int16_t"


def _flipped_image(plan: RowPlan, source: Node) -> int:
    """1 where a stage reads the caller's image, whose sign bit the program stores flipped."""
    given = borrows_image(plan) and source.name == input_of(plan).name
    return int(given and source.name in plan.sign_flipped)


def _scratch(plan: RowPlan, stage: Stage, value: str, value_bytes: int) -> str:
    """Declares `in`, a thread's own part of what the stage has as scratch memory."""
    assert stage.scratch is not None
    buffer, own = plan.buffers[stage.scratch], ""
    if stage.split is not Split.NONE:
        own = f" + self->place.part * {buffer.bytes // plan.threads // value_bytes}"
    return f"  {value} *const in = ({value} *)(void *)(self->arena + {buffer.offset}){own};"


def _rows(node: Node, stage: Stage) -> tuple[str, str]:
    """First row of the tile of which a thread makes pixels, nothing where that is its first, and how many rows."""
    return ("top", "high") if stage.split is Split.ROWS else ("", f"n / {node.shape.width}")


def _band(plan: RowPlan, node: Node, stage: Stage) -> Body:
    """The band of padded rows that windows are read from, and how they lie in it; each thread fills its own."""
    graph, op = plan.graph, node.op
    assert has_weights(op)
    assert stage.tiling is not None
    source, (first, rows) = graph.by_name[node.inputs[0]], _rows(node, stage)
    halves = stage.tiling.halves
    high, in_row, values = window_runs(graph, node)
    pitch = band_values(graph, node, 1) // op.window.extent[0]
    apart = op.window.dilation[1] * source.shape.channels
    numbers = (stage.tiling.parts, high, op.window.dilation[0] * pitch, in_row, apart, values)
    constants = [
        _scratch(plan, stage, _stored(node, stage), 2 if halves else source.type.dtype.numpy.itemsize),
        record("rillet_runs", "runs", numbers),
    ]
    fill, at = outside_value(graph, node), source.name
    padding = f"{op.window.padding[3]}, {'in' if halves else '(uint8_t *)in'}"
    row = f"row + {first}" if first else "row"
    flip = _flipped_image(plan, source)
    lines = [f"    rillet_band(window, at_{at}(self, 0), {fill}, {flip}, {row}, {rows}, {padding});"]
    if halves:
        lines = [lines[0].replace("rillet_band", "rillet_band_of_halves")]
        if node.type.quant is None:
            more = past(values, value_type(stage.tiling, real=True))
            given = f"{row}, {rows}, {op.window.padding[3]}, {more}, in"
            lines = [f"    rillet_band_of_bf16(window, at_{at}(self, 0), {given});"]
    if stage.split is Split.ROWS:
        width = node.shape.width
        head = f"    const int32_t top = from / {width}, high = (to - from) / {width};"
        lines = [head, "    if (high > 0)", f"  {lines[0]}"]
    return constants, lines


# -- squares of 3x3 windows ------------------------------------------------------------------------------------------


def _square_groups(node: Node, stage: Stage) -> list[int]:
    """How many squares are made at a time, the most first."""
    assert stage.tiling is not None
    counts = {squares(node, rows * node.shape.width) for rows in tiles(node.shape, stage.tile_pixels)}
    return sorted({size for count in counts for size in split(count, stage.tiling.pixels)}, reverse=True)


def winograd(plan: RowPlan, node: Node, stage: Stage, window: str) -> Body:
    """Constants and lines of a convolution by Winograd's algorithm; `window` declares its window.

    Each thread that makes some output channels transforms all values for itself.
    """
    graph, op = plan.graph, node.op
    assert has_weights(op)
    assert stage.scratch is not None
    source, name, width, channels = graph.by_name[node.inputs[0]], node.name, node.shape.width, node.shape.channels
    depth, across = source.shape.channels, -(-width // SQUARE)
    assert stage.tiling is not None
    band, values, sums, _ = scratch_parts(graph, node, stage.tile_pixels, lanes(plan))
    kept, weights_of = stage.tiling.halves, depth * (PLACES if stage.tiling.halves else 9)
    right = SQUARE * across + 2 - op.window.padding[2] - source.shape.width
    fill, flip = outside_value(graph, node), _flipped_image(plan, source)
    constants = [
        channels_record(plan, node),
        _scratch(plan, stage, "uint8_t", 1),
        window,
    ]
    lines = [
        f"    const int32_t high = (n / {width} + {SQUARE - 1}) / {SQUARE}, squares = high * {across};",
        f"    int16_t *const values = (int16_t *)(void *)(in + {band});",
        f"    int32_t *const sums = (int32_t *)(void *)(in + {band + values});",
        *([] if kept else [f"    int16_t *const turned = (int16_t *)(void *)(in + {band + values + sums});"]),
        f"    rillet_band(window, at_{source.name}(self, 0), {fill}, {flip}, row, {SQUARE} * high, {right}, in);",
        f"    const int32_t plane = squares * {depth} + RILLET_W_LINE / 2;",
        f"    rillet_winograd_values((const rillet_byte *)in, high, {across}, {depth}, plane, values);",
        f"    rillet_byte *const out = at_{name}(self, self->made.of_{name});",
    ]
    blocks, unit = _blocks(node, stage, lanes(plan)), 0
    lines += threads.channel_share(stage, sum(block.count for block in blocks))
    for block in blocks:
        o = "o" if block.count > 1 else str(block.first)
        lines += [f"    {_each_block(stage, block, unit, o)}", "      int32_t q = 0;"]
        for count in _square_groups(node, stage):
            tile = WinogradTile(count, block.vectors, kept)
            lines += [
                f"      for (; q + {count} <= squares; q += {count})",
                f"        {tile.name}(values + q * {depth}, plane, {depth},",
                f"          net_{name}_weights + {o} * {weights_of}, {'' if kept else 'turned, '}sums, {o}, out + {o},",
                f"          q, {across}, {width}, n / {width}, {channels}, {block.channels}, &channels);",
            ]
        lines.append("    }")
        unit += block.count
    return constants, lines


# -- depthwise -------------------------------------------------------------------------------------------------------


def _channel_blocks(node: Node, stage: Stage, width: int) -> list[_Block]:
    """The channels that depthwise tiles take at a time."""
    assert stage.tiling is not None
    channels, most = node.shape.channels, stage.tiling.vectors
    whole = channels // (most * width)
    out = [_Block(0, whole, most, most * width)] if whole else []
    first = whole * most * width
    for at, vectors in groups(-(-(channels - first) // width), most):
        begin = first + at * width
        out.append(_Block(begin, 1, vectors, min(vectors * width, channels - begin)))
    return out


def _row_tiles(plan: RowPlan, node: Node, stage: Stage, vectors: int) -> tuple[DepthwiseRow, list[tuple[int, int]]]:
    """One row by tiles of so many vectors, each in one thread's share; and first pixel and end of each run of tiles."""
    op, source = node.op, plan.graph.input_shapes(node)[0]
    assert has_weights(op)
    assert stage.tiling is not None
    window, found, at = op.window, list[DepthwiseTile](), 0
    runs = list[tuple[int, int]]()
    most = min(stage.tiling.pixels * stage.tiling.vectors // vectors, MOST_NEIGHBOURS)
    ends = ends_of(node.shape.width, plan.threads if stage.split is Split.COLUMNS else 1)
    lengths = [end - start for start, end in pairwise(ends) if end > start]
    for pixels in (size for length in lengths for size in split(length, even(length, most))):
        real = node.type.quant is None
        kernel = (window.kernel[0] * stage.tiling.parts, window.kernel[1])
        # Of a single pixel the stride is nothing to its tile.
        apart = window.stride[1] if pixels > 1 else 1
        tile = DepthwiseTile(real, kernel, apart, window.dilation[1], pixels, vectors, 0, 0)
        left = at * window.stride[1] - window.padding[2]
        first, last = max(0, -left), min(tile.columns, source.width - left)
        tile = replace(tile, first=first, last=max(first, last))
        if found and found[-1] == tile:
            runs[-1] = (runs[-1][0], at + pixels)
        else:
            found.append(tile)
            runs.append((at, at + pixels))
        at += pixels
    return DepthwiseRow(tuple(found), window.stride[1]), runs


def outside_rows(plan: RowPlan) -> dict[str, tuple[DType, int, int]]:
    """Arrays of padding that depthwise rows above and below a map read: name -> (type, value, values)."""
    out: dict[str, tuple[DType, int, int]] = {}
    for segment in plan.segments:
        for stage in segment.stages:
            node = plan.graph.by_name[stage.node]
            if stage.kernel is Kernel.DEPTHWISE_TILES and _leaves_rows(node):
                name, value = outside_row_name(plan.graph, node), outside_value(plan.graph, node)
                source = plan.graph.by_name[node.inputs[0]]
                size = source.shape.width * source.shape.channels + 4 * lanes(plan)
                before = out.get(name, (source.type.dtype, value, 0))[2]
                out[name] = (source.type.dtype, value, max(before, size))
    return out


def _leaves_rows(node: Node) -> bool:
    op = node.op
    assert has_weights(op)
    return any(op.window.padding[:2])


def outside_row_name(graph: Graph, node: Node) -> str:
    """Name of the row of padding of a depthwise stage's input."""
    dtype = graph.by_name[node.inputs[0]].type.dtype
    return f"net_row_{outside_name(outside_value(graph, node), dtype)}"


def depthwise(plan: RowPlan, node: Node, stage: Stage, window: str) -> Body:
    """Constants and lines of a depthwise convolution, row by row."""
    graph, op = plan.graph, node.op
    assert has_weights(op)
    real, source = node.type.quant is None, graph.by_name[node.inputs[0]]
    name, value, channels = node.name, _value(node), node.shape.channels
    assert stage.tiling is not None
    high = op.window.kernel[0] * stage.tiling.parts
    again = f" % {op.window.kernel[0]}" if stage.tiling.parts > 1 else ""
    slots = high if real else -(-high // GROUP_ROWS) * GROUP_ROWS
    missing = outside_row_name(graph, node) if _leaves_rows(node) else f"at_{source.name}(self, 0)"
    constants = [channels_record(plan, node), window]
    lines = [
        f"{threads.each_row(node, stage)} {{",
        *(["      rillet_matrix_wake();"] if plan.has_matrices else []),
        f"      const {value} *rows[{slots}];",
        f"      for (int32_t i = 0; i < {slots}; i++) {{",
        f"        const int32_t at = (row + y) * {op.window.stride[0]} - {op.window.padding[0]}"
        f" + i{again} * {op.window.dilation[0]};",
        f"        rows[i] = at < 0 || at >= {source.shape.height}{'' if slots == high else f' || i >= {high}'}",
        f"                    ? {missing}",
        f"                    : (const {value} *)(const void *)rillet_row(window, at_{source.name}(self, 0), at);",
        "      }",
        f"      {value} *const out = at_{name}(self, self->made.of_{name}) + y * {node.shape.width * channels};",
    ]
    taps = op.window.kernel[1] * (high if real else vectors_of(plan).weight_rows(high))
    blocks, unit = _channel_blocks(node, stage, lanes(plan)), 0
    lines = [*threads.channel_share(stage, sum(block.count for block in blocks)), *lines]
    for block in blocks:
        row, runs = _row_tiles(plan, node, stage, block.vectors)
        c = "c" if block.count > 1 else str(block.first)
        ends = [str(end) for run in runs for end in run]
        if stage.split is Split.COLUMNS:
            ends = [f"rillet_most({start}, begin), rillet_least({end}, end)" for start, end in runs]
        outside = [] if real or row.inside else [str(outside_value(graph, node))]
        arguments = [
            *("rows", f"{c} - {op.window.padding[2] * channels}", str(channels), f"net_{name}_weights + {c} * {taps}"),
            *(c, f"out + {c}", str(block.channels), *outside, *ends, "&channels"),
        ]
        lines += [
            f"      {_each_block(stage, block, unit, c)}",
            *_WRAPPED.wrap(f"{row.name}({', '.join(arguments)});"),
            "      }",
        ]
        unit += block.count
    return constants, [*lines, "    }"]
