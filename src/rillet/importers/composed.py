"""What frameworks have as one operator and a graph as several: norms, softmaxes of parts, convolutions over channels.

All of it streams as its parts do: what is of each pixel alone by pixels, what is of all pixels behind a global pool.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from rillet.errors import Unsupported
from rillet.ir.functions import Activation, Curve
from rillet.ir.graph import Array
from rillet.ir.moves import widened
from rillet.ir.ops import (
    Activate,
    Add,
    Apply,
    Concat,
    Conv,
    Multiply,
    Op,
    Pair,
    PairKind,
    Pool,
    PoolKind,
    Select,
    Slice,
    Softmax,
    Window,
)
from rillet.ir.types import Shape

MOST_GROUPS = 64
"""Groups of channels that a softmax is over; each is three nodes."""
MOST_PLACES = 2**20
"""Channels that a convolution over channels reads, each as often as a tap sees it."""


class Maker(Protocol):
    """Where importers put the nodes: each is known by its name."""

    def make(self, op: Op, inputs: Sequence[str], params: Mapping[str, Array] | None = None) -> str:
        """A node, and its name."""
        ...

    def shape(self, name: str) -> Shape:
        """Shape of a node's value."""
        ...


def whole(shape: Shape) -> Window:
    """The window of a global pool."""
    return Window((shape.height, shape.width))


def channel_sums(m: Maker, source: str, groups: int, factor: float, offset: float = 0.0) -> str:
    """For each of the groups, which lie one behind another, the sum of its channels times a factor, plus an offset."""
    each = m.shape(source).channels // groups
    params: dict[str, Array] = {"weight": np.full((groups, 1, 1, each), factor, np.float32)}
    if offset:
        params["bias"] = np.full(groups, offset, np.float32)
    return m.make(Conv(groups, groups=groups, bias=bool(offset)), [source], params)


def spread(m: Maker, source: str, channels: int) -> str:
    """Each channel repeated, so that there are so many."""
    have = m.shape(source).channels
    if have == channels:
        return source
    return m.make(Select(tuple(i // (channels // have) for i in range(channels))), [source])


def map_means(m: Maker, source: str) -> str:
    """The mean of each channel over the map."""
    shape = m.shape(source)
    return source if shape.pixels == 1 else m.make(Pool(PoolKind.MEAN, whole(shape)), [source])


def scaled(m: Maker, source: str, gamma: Array | None, beta: Array | None) -> str:
    """Each channel times a number, plus a number: a convolution of one tap a channel."""
    if gamma is None and beta is None:
        return source
    channels = m.shape(source).channels
    weight = np.ones(channels, np.float32) if gamma is None else gamma.astype(np.float32)
    params = {"weight": np.ascontiguousarray(weight.reshape(channels, 1, 1, 1))}
    if beta is not None:
        params["bias"] = np.ascontiguousarray(beta.reshape(channels).astype(np.float32))
    return m.make(Conv(channels, groups=channels, bias=beta is not None), [source], params)


def normalised_pixels(m: Maker, source: str, epsilon: float) -> str:
    """(x - mean) / sqrt(variance + epsilon) over the channels of each pixel: a layer norm of maps."""
    channels = m.shape(source).channels
    mean = spread(m, channel_sums(m, source, 1, 1 / channels), channels)
    centred = m.make(Add(subtract=True), [source, mean])
    square = m.make(Multiply(), [centred, centred])
    inverse = m.make(Apply(Curve.POWER, -0.5), [channel_sums(m, square, 1, 1 / channels, epsilon)])
    return m.make(Multiply(), [centred, spread(m, inverse, channels)])


def normalised_groups(m: Maker, source: str, groups: int, epsilon: float) -> str:
    """The same over the map and each group of channels: a group norm; an instance norm with a group a channel."""
    channels = m.shape(source).channels
    each = channels // groups
    mean = map_means(m, source)
    if each > 1:
        mean = spread(m, channel_sums(m, mean, groups, 1 / each), channels)
    centred = m.make(Add(subtract=True), [source, mean])
    square = map_means(m, m.make(Multiply(), [centred, centred]))
    inverse = m.make(Apply(Curve.POWER, -0.5), [channel_sums(m, square, groups, 1 / each, epsilon)])
    return m.make(Multiply(), [centred, spread(m, inverse, channels)])


def greatest_channel(m: Maker, source: str, groups: int = 1) -> str:
    """For each place within a group, the greatest value over the groups, which lie one behind another.

    With as many groups as channels this is the greatest channel of each pixel.
    """
    left = groups
    while left > 1:
        each, half = m.shape(source).channels // left, left // 2
        low = m.make(Slice(0, each * (left - half)), [source])
        high = m.make(Slice(each * half, each * left), [source])
        source = m.make(Pair(PairKind.MAXIMUM), [low, high])
        left -= half
    return source


def softmax_of_groups(m: Maker, source: str, groups: int) -> str:
    """A softmax over the groups of channels, which lie one behind another, for each place within them.

    Of two it is the sigmoid of their difference.
    """
    channels = m.shape(source).channels
    each = channels // groups
    if groups > MOST_GROUPS:
        raise Unsupported(f"softmax must be over at most {MOST_GROUPS} parts of the channels, got {groups}")
    if groups == 2:
        other = m.make(Select((*range(each, channels), *range(each))), [source])
        return m.make(Activate(Activation.SIGMOID), [m.make(Add(subtract=True), [source, other])])
    peak = greatest_channel(m, source, groups)
    parts = [m.make(Slice(i * each, (i + 1) * each), [source]) for i in range(groups)]
    powers = [m.make(Apply(Curve.EXP), [m.make(Add(subtract=True), [part, peak])]) for part in parts]
    total = powers[0]
    for power in powers[1:]:
        total = m.make(Add(), [total, power])
    return m.make(Concat(), [m.make(Pair(PairKind.DIVIDE), [power, total]) for power in powers])


def softmax_within(m: Maker, source: str, groups: int) -> str:
    """A softmax over the channels of each group, which lie one behind another."""
    each = m.shape(source).channels // groups
    if groups > MOST_GROUPS:
        raise Unsupported(f"softmax must be within at most {MOST_GROUPS} groups of channels, got {groups}")
    parts = [m.make(Slice(i * each, (i + 1) * each), [source]) for i in range(groups)]
    return m.make(Concat(), [m.make(Softmax(), [part]) for part in parts])


def softmax_of_map(m: Maker, source: str) -> str:
    """A softmax over the pixels of each channel, times their number: two global pools, each a barrier."""
    peak = m.make(Pool(PoolKind.MAX, whole(m.shape(source))), [source])
    power = m.make(Apply(Curve.EXP), [m.make(Add(subtract=True), [source, peak])])
    return m.make(Pair(PairKind.DIVIDE), [power, map_means(m, power)])


def over_channels(m: Maker, source: str, taps: Array, before: int, count: int, bias: float | None) -> str:
    """A convolution that slides over the channels of each pixel: `count` results, each of neighbouring channels.

    taps: its weights. before: zeros before the first channel.
    """
    channels, kernel = m.shape(source).channels, len(taps)
    if count < 1 or before < 0 or count * kernel > MOST_PLACES:
        got = f"{count} places of {kernel} taps"
        raise Unsupported(f"convolution over channels must read 1 to {MOST_PLACES} of them, got {got}")
    after = max(count + kernel - 1 - before - channels, 0)
    padded = m.make(widened(channels, before, after), [source]) if before or after else source
    seen = m.make(Select(tuple(i + tap for i in range(count) for tap in range(kernel))), [padded])
    params = {"weight": np.ascontiguousarray(np.broadcast_to(taps, (count, 1, 1, kernel)).astype(np.float32))}
    if bias is not None:
        params["bias"] = np.full(count, bias, np.float32)
    return m.make(Conv(count, groups=count, bias=bias is not None), [seen], params)
