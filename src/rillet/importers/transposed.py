"""Transposed convolutions as what a graph has: a convolution that makes squares of pixels, which are then spread.

Under a stride of s each pixel of the result sees only every s-th tap along an axis. So the result is s x s maps of the
size of the source, each a convolution of ceil(k / s) taps with some of the weights: one convolution makes them all, a
DepthToSpace puts them side by side, and a crop takes off what the padding does. Taps that a kernel does not have, where
s does not divide k, are zeros.
"""

from dataclasses import dataclass

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array
from rillet.ir.ops import Conv, DepthToSpace, Op, Resize, Select, Window
from rillet.ir.types import Shape


@dataclass(frozen=True)
class Transposed:
    """The convolution's window, and the ops behind it; arrays of output channels go through `repeated`."""

    window: Window
    weight: Array
    """Output channel, rows, columns, input channel of a group: as a graph has it."""
    groups: int
    block: int
    steps: tuple[Op, ...]

    def repeated(self, array: Array) -> Array:
        """An array of one value an output channel, as the convolution has them."""
        each = array.reshape(self.groups, 1, -1)
        return np.ascontiguousarray(np.broadcast_to(each, (self.groups, self.block**2, each.shape[2]))).reshape(-1)

    def conv(self, like: Conv) -> Conv:
        """The convolution, with all but its window and channels as of `like`."""
        return Conv(len(self.weight), self.window, self.groups, like.activation, like.bias, like.weights, like.rounding)


def transposed(
    source: Shape,
    weight: Array,
    size: tuple[int, int],
    stride: tuple[int, int],
    before: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    fill: int = 0,
) -> Transposed:
    """A transposed convolution of a map.

    weight: output channel, rows, columns, input channel of a group. size: height and width of the result. before: rows
    and columns of padding at the top and at the left, which are taken off the result. fill: the weight that counts as
    zero. Raises Unsupported for strides of two lengths, and for dilated ones.
    """
    block = stride[0]
    if stride[0] != stride[1]:
        raise Unsupported(f"strides of a transposed convolution must be equal, got {stride[0]}x{stride[1]}")
    if block > 1 and dilation != (1, 1):
        raise Unsupported(f"dilation under a stride must be 1x1, got {dilation[0]}x{dilation[1]}")
    if min(*size, *stride, *dilation, groups) < 1 or min(before) < 0:
        raise GraphError(f"size, stride and dilation must be at least 1, got {size}, {stride} and {dilation}")
    outputs, inner, kernel = len(weight), weight.shape[3], weight.shape[1:3]
    lines = [_along(*side) for side in zip(source.array[:2], size, kernel, stride, before, dilation, strict=True)]
    taps = [line.taps for line in lines]
    wide = np.full((outputs, taps[0] * block, taps[1] * block, inner), fill, weight.dtype)
    wide[:, : kernel[0], : kernel[1]] = weight
    # [group, output, tap down, row, tap across, column, input], taps backwards: the last one sees the first pixel.
    split = wide.reshape(groups, outputs // groups, taps[0], block, taps[1], block, inner)[:, :, ::-1, :, ::-1]
    moved = split.transpose(0, 3, 5, 1, 2, 4, 6).reshape(outputs * block**2, *taps, inner)
    padding = (lines[0].padding[0], lines[0].padding[1], lines[1].padding[0], lines[1].padding[1])
    window = Window((taps[0], taps[1]), (1, 1), padding, dilation)
    steps: list[Op] = []
    height, width = window.output(source)
    if block > 1:
        if groups > 1:
            order = np.arange(outputs * block**2).reshape(groups, block**2, -1).transpose(1, 0, 2)
            steps.append(Select(tuple(order.reshape(-1).tolist())))
        steps.append(DepthToSpace(block, height, width))
    made = (height * block, width * block)
    if made != size:
        rows, columns = (
            tuple(range(line.start, line.start + length)) for line, length in zip(lines, size, strict=True)
        )
        steps.append(Resize(rows, columns))
    return Transposed(window, np.ascontiguousarray(moved), groups, block, tuple(steps))


@dataclass(frozen=True)
class _Line:
    taps: int
    padding: tuple[int, int]
    start: int
    """The first place of the result among those that the convolution makes."""


def _along(length: int, out: int, kernel: int, stride: int, before: int, dilation: int) -> _Line:
    taps = -(-kernel // stride)
    reach = (taps - 1) * dilation
    # Squares from that of the first place of the result to that of the last.
    first, last = min(before // stride, reach), (before + out - 1) // stride
    behind = max(last - (length - 1), 0)
    return _Line(taps, (reach - first, behind), before - first * stride)
