"""Instructions of a stage on a microcontroller's core, counted from the kernels' text.

What surrounds a kernel is compiled C: its parts are fitted to counts of six networks under both plans, compiled by
gcc 12 -O3, and differ by compiler.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rillet.ir.facts import has_weights, is_sum
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Rounding, op_macs
from rillet.plan.board.kernels import abreast, dense_depth, dense_words, finish, gathers_windows, together
from rillet.plan.rows.kernels import Choice
from rillet.plan.rows.plan import CoreKernels, Kernel, RowPlan
from rillet.plan.rows.timing import Tile

_VECTOR = 16
"""Bytes of a vector."""
_SUM, _SAME = (26, 4), (8, 8)
"""Of a vector of sums, rescaled or of one scale, and the sums that it has."""


@dataclass(frozen=True, slots=True)
class _Rates:
    """Instructions of the kernels of a core."""

    dense: Mapping[int, tuple[float, float]]
    """By pixels abreast: of the output channels that are made at once (constants, rounding, storing), and of a word of
    their weights, or of a vector.
    """
    wide: float
    """Of those channels, where their weights are in two parts."""
    gather: tuple[float, float]
    """Of a pixel whose values are gathered, and of a word of them; vectors have it of windows alone."""
    taps: tuple[float, float]
    """Depthwise by the pixel, of the channels that are made at once: their constants and rounding, and a tap."""
    taps_together: int
    rows_channel: float
    """Depthwise by the row: a channel."""
    rows_pixels: tuple[float, float]
    """Of the pixels that are made at once, under a stride of 1 and of 2."""
    rows_together: int
    shift: float
    """How much less a sum takes under the rule `shift`."""
    around: "_Around"


@dataclass(frozen=True, slots=True)
class _Around:
    """Instructions of compiled code."""

    firing: float
    """Of a stage's function: what tells whether it may fire, and which pixels."""
    call: float
    """Of a call of a kernel by the pixel: its arguments, and what it does once."""
    row: float
    """Of one by the row."""
    tap: float
    """Of the place of a tap."""
    window_row: float
    """Of a row of a window."""
    portable: float
    """Of a portable kernel: each multiply-accumulate or value."""
    rescaled: float
    """Of a sum or product of two values."""
    same: float
    """Of a sum of two values, all of one scale."""
    finish: float
    """Of a sum that the portable function makes a stored value."""


_RATES: Mapping[CoreKernels, _Rates] = {
    CoreKernels.DSP: _Rates(
        dense={3: (59, 18), 1: (40, 9)},
        wide=0,
        gather=(7, 6),
        taps=(64, 9.7),
        taps_together=4,
        rows_channel=27,
        rows_pixels=(38, 38),
        rows_together=2,
        shift=-2,
        around=_Around(firing=10, call=100, row=100, tap=4, window_row=0, portable=8, rescaled=42, same=20, finish=80),
    ),
    CoreKernels.ARMV6M: _Rates(
        dense={3: (107, 31.5), 1: (53, 14.5)},
        wide=20,
        gather=(20, 15),
        taps=(47, 6.67),
        taps_together=1,
        rows_channel=105,
        rows_pixels=(74.5, 73.5),
        rows_together=1,
        shift=12,
        around=_Around(
            firing=13, call=199, row=218, tap=111, window_row=155, portable=30, rescaled=169, same=19, finish=126
        ),
    ),
    CoreKernels.HELIUM: _Rates(
        dense={3: (73, 24), 1: (36, 10)},
        wide=13,
        gather=(0, 4.5),
        taps=(17, 7),
        taps_together=4,
        rows_channel=37,
        rows_pixels=(29, 40),
        rows_together=4,
        shift=0,
        around=_Around(firing=55, call=65, row=123, tap=19, window_row=41, portable=9, rescaled=57, same=26, finish=79),
    ),
}


def plan_instructions(plan: RowPlan) -> float:
    """About how many one image takes under a plan for a core."""
    assert plan.core is not None
    spent = 0.0
    for segment in plan.segments:
        tile = Tile(rows=segment.tile_rows) if segment.tile_rows else Tile(segment.tile_pixels)
        for stage in segment.stages:
            spent += instructions(plan.graph, plan.graph.by_name[stage.node], Choice(stage.kernel), tile, plan.core)
    return spent


def instructions(graph: Graph, node: Node, choice: Choice, tile: Tile, core: CoreKernels) -> float:
    """About how many one image takes in this stage."""
    op, shape, rates = node.op, node.shape, _RATES[core]
    around = rates.around
    pixels = tile.of(shape)
    firings = -(-shape.pixels // pixels) if tile.rows else shape.height * -(-shape.width // pixels)
    spent = firings * around.firing
    match choice.kernel:
        case Kernel.CORE_DENSE:
            return spent + _dense(graph, node, pixels, core)
        case Kernel.CORE_DEPTHWISE:
            assert has_weights(op)
            groups, (group, tap) = -(-shape.channels // rates.taps_together), rates.taps
            group += op.window.taps * tap - _saved(rates, op) * rates.taps_together
            return spent + shape.pixels * (around.call + op.window.taps * around.tap + groups * group)
        case Kernel.CORE_PLANES:
            assert has_weights(op)
            step = rates.rows_pixels[op.window.stride[1] - 1] - _saved(rates, op) * rates.rows_together
            row = shape.channels * (rates.rows_channel + -(-shape.width // rates.rows_together) * step)
            return spent + shape.height * (around.row + row)
        case Kernel.CORE_SUM:
            calls, values = (firings, pixels) if tile.rows else (shape.pixels, 1)
            per, together = _SAME if _same_scales(graph, node) else _SUM
            return spent + calls * (around.call + -(-values * shape.channels // together) * per)
        case Kernel.ARITHMETIC:
            same = is_sum(op) and _same_scales(graph, node)
            return spent + (around.same if same else around.rescaled) * shape.pixels * shape.channels
        case _:
            values = sum(source.pixels * source.channels for source in graph.input_shapes(node))
            macs = 0 if choice.kernel is Kernel.GLOBAL_POOL else op_macs(op, graph.input_shapes(node))
            return spent + around.portable * (macs + values)


def _same_scales(graph: Graph, node: Node) -> bool:
    return all(source.quant == node.type.quant for source in graph.input_types(node))


def _saved(rates: _Rates, op: Conv) -> float:
    return rates.shift if op.rounding is Rounding.SHIFT else 0


def _dense(graph: Graph, node: Node, tile_pixels: int, core: CoreKernels) -> float:
    op, shape, rates = node.op, node.shape, _RATES[core]
    assert has_weights(op)
    pixels, unit, known = abreast(node, tile_pixels), together(core), finish(graph, node, core)
    calls = shape.height * -(-shape.width // pixels)
    group, word = rates.dense[pixels]
    depth, made = dense_words(graph, node), -(-shape.channels // unit)
    windows, gather = gathers_windows(graph, node, core), 0.0
    if windows or core is not CoreKernels.HELIUM:
        gather = pixels * (rates.gather[0] + depth * rates.gather[1])
    if core is CoreKernels.HELIUM:
        depth = -(-dense_depth(graph, node) // _VECTOR)
    if windows:
        gather += op.window.kernel[0] * rates.around.window_row * (pixels if core is CoreKernels.HELIUM else 1)
    passes = 2 if known.wide and rates.wide else 1
    group += passes * depth * word - _saved(rates, op) * pixels + (rates.wide if known.wide else 0)
    if not known.by_words:
        group += unit * pixels * rates.around.finish
    return calls * (rates.around.call + gather + made * group)
