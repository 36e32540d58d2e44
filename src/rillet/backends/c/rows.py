"""Stages of a host plan: whole rows by register tiles."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from rillet.backends.c import threads
from rillet.backends.c.bounds import bounds
from rillet.backends.c.constants import identifier, outside_value, quant
from rillet.backends.c.packing import channel_rounding
from rillet.backends.c.tiles import DenseTile, DepthwiseTile, Tile
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Rounding
from rillet.ir.types import DType
from rillet.plan.plan import Kernel, Plan, Split, Stage
from rillet.plan.shares import bounds as ends_of
from rillet.plan.shares import shares
from rillet.plan.tilings import GROUP_ROWS, VECTORS, dense_depth, split

Body = tuple[list[str], list[str]]


def lanes(plan: Plan) -> int:
    """Lanes of 32 bits of the plan's vectors."""
    assert plan.host is not None
    return VECTORS[plan.host.kernels].lanes


def used_tiles(plan: Plan) -> set[Tile]:
    """Every register tile that the plan's stages call."""
    out: set[Tile] = set()
    for segment in plan.segments:
        for stage in segment.stages:
            node = plan.graph.by_name[stage.node]
            real = node.type.quant is None
            if stage.kernel is Kernel.TILES:
                out |= {
                    DenseTile(real, pixels, block.vectors)
                    for block in _blocks(node, stage, lanes(plan))
                    for pixels in _pixel_tiles(plan, node, stage)
                }
            elif stage.kernel is Kernel.DEPTHWISE_TILES:
                out |= {tile for tile, _, _ in _row_tiles(plan, node, stage)}
    return out


def _channels(graph: Graph, node: Node) -> str:
    op, name = node.op, identifier(node.name)
    assert isinstance(op, Conv)
    low, high = bounds(graph, node, op.activation)
    if node.type.quant is None:
        return f"  static const rillet_channels_f32_tiles channels = {{net_{name}_bias, {low}, {high}}};"
    rounding = channel_rounding(graph, node)
    integers = "0, 0, 0, 0"
    if not rounding.shown.all():
        integers = ", ".join(f"net_{name}_{part}" for part in ("by_integers", "mantissa", "left", "right"))
    steps = f"{int(rounding.signed)}, {int(rounding.careful)}, {int(op.rounding is Rounding.SINGLE)}, {rounding.centre}"
    arrays = ", ".join(f"net_{name}_{part}" for part in ("bias", "scale", "nudge"))
    numbers = f"{integers},\n    {steps}, {quant(graph, node).zero_point}, {low}, {high}"
    return f"  static const rillet_channels_u8_tiles channels = {{\n    {arrays},\n    {numbers}}};"


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


def _pixel_tiles(plan: Plan, node: Node, stage: Stage) -> list[int]:
    """Sizes of the pixel tiles, the largest first: those of every piece that a thread makes at once."""
    assert stage.tiling is not None
    counts = shares(node.shape, stage.tile_pixels, stage.split, plan.threads)
    return sorted({size for count in counts for size in split(count, stage.tiling.pixels)}, reverse=True)


def dense(plan: Plan, node: Node, stage: Stage, window: str) -> tuple[list[str], list[str]]:
    """Constants and lines of a convolution by dense tiles; `window` declares its window."""
    graph, op = plan.graph, node.op
    assert isinstance(op, Conv)
    real, source = node.type.quant is None, graph.by_name[node.inputs[0]]
    name, value = identifier(node.name), "float" if real else "uint8_t"
    constants = [_channels(graph, node)]
    depth, step = dense_depth(graph, node), source.shape.channels
    lines: list[str] = []
    assert stage.tiling is not None
    parts, values = stage.tiling.parts, op.window.taps * source.shape.channels
    if op.window.pointwise and parts == 1:
        lines.append(f"    const {value} *const in = at_{identifier(source.name)}(made.{name});")
    else:
        assert stage.scratch is not None
        step, size = depth, 4 if real else 1
        constants += [window, f"  {value} *const in = ({value} *)(arena + {plan.buffers[stage.scratch].offset});"]
        lines += _gathered(node, source, stage, outside_value(graph, node), depth * size)
        if parts > 1:
            copied = f"memcpy(in + p * {depth} + {values}, in + p * {depth}, {values})"
            lines += [*threads.each_pixel(node, stage), f"      {copied};"]
    lines.append(f"    {value} *const out = at_{name}(made.{name});")
    blocks = _blocks(node, stage, lanes(plan))
    lines += threads.channel_share(stage, sum(block.count for block in blocks))
    (start, end), piece = threads.piece(stage), threads.each_piece(node, stage)
    for block in blocks:
        o = "o" if block.count > 1 else str(block.first)
        lines.append(_each_block(stage, block, lanes(plan), blocks[0].count))
        lines += [f"  {head} {{" for head in piece]
        lines.append(f"      int32_t p = {start};")
        for pixels in _pixel_tiles(plan, node, stage):
            tile = DenseTile(real, pixels, block.vectors)
            lines += [
                f"      for (; p + {pixels} <= {end}; p += {pixels})",
                f"        {tile.name}(in + p * {step}, {step}, net_{name}_weights + {o} * {depth}, {depth}, {o},",
                f"          out + p * {node.shape.channels} + {o}, {node.shape.channels}, {block.channels},",
                "          &channels);",
            ]
        lines += ["      }" for _ in piece]
        lines.append("    }")
    return constants, lines


def _each_block(stage: Stage, block: _Block, width: int, before: int) -> str:
    """Head of the loop over equal blocks of output channels; of a single one, whether a thread makes it."""
    stride = block.vectors * width
    if block.count > 1:
        if stage.split is not Split.CHANNELS:
            return f"    for (int32_t o = 0; o < {block.count * stride}; o += {stride}) {{"
        end = f"rillet_least(last, {block.count}) * {stride}"
        return f"    for (int32_t o = first * {stride}; o < {end}; o += {stride}) {{"
    at = 0 if block.first == 0 else before
    return f"    if (first <= {at} && {at} < last) {{" if stage.split is Split.CHANNELS else "    {"


def _gathered(node: Node, source: Node, stage: Stage, fill: int, depth_bytes: int) -> list[str]:
    """Gathers the windows of a thread's pixels, row by row."""
    width, start, window, lines = node.shape.width, "", "window", list[str]()
    columns = str(width)
    if stage.split is Split.COLUMNS:
        assert isinstance(node.op, Conv)
        window, columns, start = "moved", "end - begin", " + begin"
        lines += [
            "    rillet_window moved = window;",
            f"    moved.left -= begin * {node.op.window.stride[1]};",
        ]
    return [
        *lines,
        threads.each_row(node, stage),
        f"      rillet_gather_row({window}, at_{identifier(source.name)}(0), {fill}, row + y, {columns},",
        f"                        (uint8_t *)in + (y * {width}{start}) * {depth_bytes}, {depth_bytes});",
    ]


# -- depthwise -------------------------------------------------------------------------------------------------------


def _row_tiles(plan: Plan, node: Node, stage: Stage) -> Iterator[tuple[DepthwiseTile, int, int]]:
    """Tiles along one row, as (tile, first pixel, how many like it in a row); each in one thread's share."""
    op, source = node.op, plan.graph.input_shapes(node)[0]
    assert isinstance(op, Conv)
    assert stage.tiling is not None
    window, found, at = op.window, list[tuple[DepthwiseTile, int, int]](), 0
    ends = ends_of(node.shape.width, plan.threads if stage.split is Split.COLUMNS else 1)
    for pixels in (n for start, end in pairwise(ends) for n in split(end - start, stage.tiling.pixels)):
        real = node.type.quant is None
        kernel = (window.kernel[0] * stage.tiling.parts, window.kernel[1])
        tile = DepthwiseTile(real, kernel, window.stride[1], window.dilation[1], pixels, 0, 0)
        left = at * window.stride[1] - window.padding[2]
        first, last = max(0, -left), min(tile.columns, source.width - left)
        tile = replace(tile, first=first, last=max(first, last))
        if found and found[-1][0] == tile:
            found[-1] = (tile, found[-1][1], found[-1][2] + 1)
        else:
            found.append((tile, at, 1))
        at += pixels
    yield from found


def outside_rows(plan: Plan) -> dict[str, tuple[DType, int, int]]:
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
    assert isinstance(op, Conv)
    return any(op.window.padding[:2])


def outside_row_name(graph: Graph, node: Node) -> str:
    """Name of the row of padding of a depthwise stage's input."""
    source = graph.by_name[node.inputs[0]]
    return f"net_outside_row_{source.type.dtype.value}_{outside_value(graph, node)}"


def depthwise(plan: Plan, node: Node, stage: Stage, window: str) -> Body:
    """Constants and lines of a depthwise convolution, row by row."""
    graph, op = plan.graph, node.op
    assert isinstance(op, Conv)
    real, source = node.type.quant is None, graph.by_name[node.inputs[0]]
    name, value, channels = identifier(node.name), "float" if real else "uint8_t", node.shape.channels
    assert stage.tiling is not None
    high = op.window.kernel[0] * stage.tiling.parts
    again = f" % {op.window.kernel[0]}" if stage.tiling.parts > 1 else ""
    slots = high if real else -(-high // GROUP_ROWS) * GROUP_ROWS
    missing = outside_row_name(graph, node) if _leaves_rows(node) else f"at_{identifier(source.name)}(0)"
    constants = [_channels(graph, node), window]
    if not real:
        constants.append(f"  const rillet_four outside = rillet_four_all({outside_value(graph, node)});")
    lines = [
        f"{threads.each_row(node, stage)} {{",
        f"      const {value} *rows[{slots}];",
        f"      for (int32_t i = 0; i < {slots}; i++) {{",
        f"        const int32_t at = (row + y) * {op.window.stride[0]} - {op.window.padding[0]}"
        f" + i{again} * {op.window.dilation[0]};",
        f"        rows[i] = at < 0 || at >= {source.shape.height}{'' if slots == high else f' || i >= {high}'}",
        f"                    ? {missing}",
        f"                    : (const {value} *)rillet_row(window, at_{identifier(source.name)}(0), at);",
        "      }",
        f"      {value} *const out = at_{name}(made.{name}) + y * {node.shape.width * channels};",
    ]
    wide = lanes(plan) if real else 4 * lanes(plan)
    taps = slots * op.window.kernel[1]
    whole, rest = channels // wide * wide, channels % wide
    tiles, units = list(_row_tiles(plan, node, stage)), whole // wide
    by_channels = stage.split is Split.CHANNELS
    lines = [*threads.channel_share(stage, units + (rest > 0)), *lines]
    if whole:
        start, end = ("first", f"rillet_least(last, {units})") if by_channels else ("0", str(units))
        lines.append(f"      for (int32_t c = {start} * {wide}; c < {end} * {wide}; c += {wide}) {{")
        lines += [f"  {line}" for line in _along(node, source, stage, tiles, "c", wide, taps)]
        lines.append("      }")
    if rest:
        lines.append(f"      if (last == {units + 1} && first <= {units}) {{" if by_channels else "      {")
        lines += [*(f"  {x}" for x in _along(node, source, stage, tiles, str(whole), rest, taps)), "      }"]
    return constants, [*lines, "    }"]


def _along(
    node: Node,
    source: Node,
    stage: Stage,
    tiles: list[tuple[DepthwiseTile, int, int]],
    c: str,
    count: int,
    taps: int,
) -> list[str]:
    """The tiles of one row for the channels from `c` on."""
    op, name, channels = node.op, identifier(node.name), node.shape.channels
    assert isinstance(op, Conv)
    lines: list[str] = []
    for tile, at, times in tiles:
        x, start, end = str(at), str(at), str(at + times * tile.pixels)
        if stage.split is Split.COLUMNS:
            start, end = f"rillet_most({at}, begin)", f"rillet_least({end}, end)"
        if times > 1:
            x = "x"
            lines.append(f"      for (int32_t x = {start}; x < {end}; x += {tile.pixels})")
        elif stage.split is Split.COLUMNS:
            lines.append(f"      if (begin <= {at} && {at} < end)")
        from_ = f"({x} * {op.window.stride[1]} - {op.window.padding[2]}) * {source.shape.channels} + {c}"
        more = "" if tile.real else "outside, "
        weights = f"net_{name}_weights + {c} * {taps}"
        indent = "        " if times > 1 or stage.split is Split.COLUMNS else "      "
        lines.append(
            f"{indent}{tile.name}(rows, {from_}, {channels}, {weights}, {c},"
            f" out + {x} * {channels} + {c}, {channels}, {count}, {more}&channels);"
        )
    return lines
