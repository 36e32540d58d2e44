"""Foldings that memories can feed: one pixel a firing, and taps one at a time, a row of them, or all.

A stage reads words of its ring: `inputs` channels (of a depthwise layer or one without products `outputs` channels) of
as many pixels as it takes taps at once, which have a copy of the ring each. Neither need divide the channels: the last
word is padded, its spare products dropped. Stages without products take part too: they do `outputs` channels a cycle,
the least that keep the interval.
"""

from dataclasses import dataclass, replace
from functools import cache
from math import gcd, log
from typing import assert_never

from rillet.errors import Unsupported
from rillet.ir.facts import is_given, is_left_to_readers
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Add,
    Apply,
    ArgMax,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Interpolate,
    Multiply,
    Pad,
    Pair,
    Pool,
    Requantize,
    Resize,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
    Window,
    op_name,
)
from rillet.ir.sharing import remade
from rillet.ir.types import DType
from rillet.plan.pipeline.fifos import Flow
from rillet.plan.pipeline.folding import Folding, divisors, word_widths
from rillet.plan.pipeline.registers import blocks_of


@dataclass(frozen=True, slots=True)
class Firing:
    """What a stage does for one pixel, and what of it may be done at once: those of equal firings fold alike."""

    channels: int
    """That it makes."""
    inputs: int
    """Channels of a sum; 0 for a stage without products."""
    taps: int
    pixels: int
    """Firings for one image."""
    parallel_taps: tuple[int, ...]
    """Taps that may be read at once."""
    parallel_channels: tuple[tuple[int, int], ...]
    """Channels that may be made at once, and in how many steps all of them are."""
    whole: bool = False
    """Words of weights must not be padded: one of a bit is never 0."""
    groups: int = 1
    adds: bool = False
    """Its products are additions, which take no DSP blocks."""
    unit_blocks: int = 0
    """DSP blocks of each value that leaves in a cycle: what brings it to bytes."""

    def folding(self, channels: int, steps: int, inputs: int, taps: int) -> Folding:
        """The folding with so many at once."""
        words = -(-self.inputs // inputs) if inputs else 1
        cycles = steps * words * (self.taps // taps)
        return Folding(channels, inputs, taps, 1, cycles, self.pixels)

    def requantising(self, folding: Folding) -> int:
        """DSP blocks that bring results to bytes."""
        return self.unit_blocks and self.unit_blocks * self._units(folding)

    def dsp_blocks(self, folding: Folding) -> int:
        """DSP blocks of products and of what brings results to bytes."""
        return (0 if self.adds else folding.multipliers) + self.requantising(folding)

    def cost(self, folding: Folding) -> int:
        """What a folding is chosen by: products at once, or channels times taps of a stage without, and DSP blocks."""
        return (folding.multipliers or folding.outputs * folding.taps) + self.requantising(folding)

    def _units(self, folding: Folding) -> int:
        return blocks_of(self.channels, self.groups, folding).units if self.inputs else folding.outputs


def firing_of(flow: Flow, node: Node, unit_blocks: int) -> Firing:
    """What `node` does for one pixel as hardware, by units of so many DSP blocks (requantisers.py)."""
    return replace(_firing_of(flow, node), unit_blocks=unit_blocks)


def _firing_of(flow: Flow, node: Node) -> Firing:
    shape, channels, pixels = flow.graph.input_shapes(node)[0], node.shape.channels, flow.fired_pixels(node)
    match node.op:
        case Conv(window=window, groups=groups, out_channels=outputs, weights=weights) as op:
            return Firing(
                *(channels, shape.channels // groups, window.taps, pixels),
                parallel_taps=_taps(window),
                parallel_channels=_of_groups(groups, outputs // groups),
                whole=weights is DType.BINARY,
                groups=groups,
                adds=op.only_adds,
            )
        case Multiply():
            return Firing(channels, 1, 1, pixels, (1,), _any(channels))
        case Pool(window=window):
            taps = (1,) if flow.accumulates(node) else _taps(window)
            return Firing(channels, 0, taps[-1], pixels, taps, _any(channels))
        case Concat():
            others = [source.channels for source in flow.graph.input_shapes(node)[:-1]]
            return Firing(channels, 0, 1, pixels, (1,), _aligned(channels, *others))
        case Slice(start=start):
            return Firing(channels, 0, 1, pixels, (1,), _aligned(channels, start))
        case ArgMax():
            return Firing(shape.channels, 0, 1, pixels, (1,), _any(shape.channels))
        case Activate() | Apply() | Add() | Pair() | BatchNorm() | Requantize() | Softmax():
            return Firing(channels, 0, 1, pixels, (1,), _any(channels))
        case Select() | DepthToSpace() | SpaceToDepth() | Pad() | Resize() | Interpolate():
            return Firing(channels, 0, 1, pixels, (1,), _any(channels))
        case Input() | Constant():
            raise AssertionError(f"{node.name} does not fire")
        case _ as other:
            assert_never(other)


def without_host_layers(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph up to its final softmaxes and argmaxes, which whoever reads the outputs computes, and their names.

    Raises Unsupported for one that a layer reads, and where nothing else is left.
    """
    gone: list[str] = []
    while on_host := [name for name in graph.outputs if _ends(graph, graph.by_name[name])]:
        sources = [graph.by_name[name].inputs[0] if name in on_host else name for name in graph.outputs]
        if any(is_given(graph.by_name[name].op) for name in sources):
            last = op_name(graph.by_name[on_host[0]].op)
            raise Unsupported(f"{graph.name}: must have a layer before its {last} to be hardware")
        nodes = tuple(node for node in graph.nodes if node.name not in on_host)
        graph = remade(graph, nodes, tuple(dict.fromkeys(sources)), graph.arrays, graph.image)
        gone = [*on_host, *gone]
    for node in graph.nodes:
        if is_left_to_readers(node.op):
            raise Unsupported(f"{graph.name}: {node.name}: {op_name(node.op)} must be the last layer as hardware")
    return graph, tuple(dict.fromkeys(gone))


def _ends(graph: Graph, node: Node) -> bool:
    """True of a last layer that is left to whoever reads it."""
    return is_left_to_readers(node.op) and not graph.consumers[node.name]


@cache
def hardware_foldings(firing: Firing) -> tuple[Folding, ...]:
    """The foldings that no other beats in both cost and cycles, the cheapest first."""
    kept: list[Folding] = []
    for folding in sorted(_all(firing), key=lambda f: (firing.cost(f), f.cycles)):
        if not kept or folding.cycles < kept[-1].cycles:
            kept.append(folding)
    return tuple(kept)


@cache
def hardware_equals(firing: Firing, fewest: Folding, interval: int) -> tuple[Folding, ...]:
    """The foldings as cheap as `fewest` within `interval`, with the fewest taps at once: one for each timing.

    Of equally long ones that whose words are padded least wins, then that whose words are of the most equal widths.
    """
    equal = [f for f in _by_cost(firing)[firing.cost(fewest)] if f.interval <= interval]
    taps = min(f.taps for f in equal)
    found: dict[int, Folding] = {}
    for folding in sorted((f for f in equal if f.taps == taps), key=lambda f: (f.cycles, _preference(firing, f))):
        found.setdefault(folding.cycles, folding)
    return tuple(found.values())


@cache
def with_taps(firing: Firing, taps: int) -> tuple[Folding, ...]:
    """All foldings with so many taps at once, fewest multipliers first, of these the fastest."""
    found = (f for f in _all(firing) if f.taps == taps)
    return tuple(sorted(found, key=lambda f: (firing.cost(f), f.cycles, _preference(firing, f))))


@cache
def same_timing(firing: Firing, folding: Folding) -> tuple[Folding, ...]:
    """The foldings with as many multipliers, taps and cycles, which share them out over channels otherwise.

    In the order of `hardware_equals`: the first is what that takes.
    """
    like = _by_cost(firing)[firing.cost(folding)]
    same = (f for f in like if (f.taps, f.cycles) == (folding.taps, folding.cycles))
    return tuple(sorted(same, key=lambda f: _preference(firing, f)))


@cache
def _all(firing: Firing) -> list[Folding]:
    widths = divisors if firing.whole else word_widths
    inputs = widths(firing.inputs) if firing.inputs else (0,)
    return [
        firing.folding(channels, steps, wide, taps)
        for taps in firing.parallel_taps
        for channels, steps in firing.parallel_channels
        for wide in inputs
    ]


@cache
def _by_cost(firing: Firing) -> dict[int, list[Folding]]:
    found: dict[int, list[Folding]] = {}
    for folding in _all(firing):
        found.setdefault(firing.cost(folding), []).append(folding)
    return found


def _preference(firing: Firing, folding: Folding) -> tuple[int, float, int]:
    padded = -firing.channels % folding.outputs
    padded += -firing.inputs % folding.inputs if folding.inputs else 0
    return padded, abs(log(folding.outputs / (folding.inputs or 1))), folding.outputs


def _taps(window: Window) -> tuple[int, ...]:
    """One, a row, all."""
    return tuple(sorted({1, window.kernel[1], window.taps}))


def _any(channels: int) -> tuple[tuple[int, int], ...]:
    return tuple((wide, -(-channels // wide)) for wide in word_widths(channels))


def _of_groups(groups: int, each: int) -> tuple[tuple[int, int], ...]:
    """Outputs of one group, or whole groups, at once: others would read different channels for one another."""
    within = [(wide, groups * -(-each // wide)) for wide in word_widths(each)]
    across = [(wide * each, -(-groups // wide)) for wide in word_widths(groups) if wide > 1]
    return (*within, *across)


def _aligned(channels: int, *edges: int) -> tuple[tuple[int, int], ...]:
    """So many at once that no word lies across an edge; or all."""
    step = gcd(*edges)
    widths = {channels, *(divisors(step) if step else word_widths(channels))}
    return tuple((wide, -(-channels // wide)) for wide in sorted(widths) if wide <= channels)
