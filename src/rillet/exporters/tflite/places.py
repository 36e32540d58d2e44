"""What TFLite has words for of where windows and cuts look: its padding, steps, and zeros around a map."""

from collections.abc import Sequence
from itertools import pairwise

from rillet.ir.graph import Node
from rillet.ir.ops import Activate, Activation, Add, Conv, Multiply, Window
from rillet.ir.types import Shape


def step_of(places: Sequence[int]) -> int:
    """The one distance between neighbours, 0 where there are several."""
    found = {b - a for a, b in pairwise(places)} or {1}
    return found.pop() if len(found) == 1 else 0


def same_padding(window: Window, shape: Shape) -> tuple[int, int, int, int]:
    """The padding that TFLite calls SAME."""
    sides: list[int] = []
    for length, step, extent in zip((shape.height, shape.width), window.stride, window.extent, strict=True):
        total = max((-(-length // step) - 1) * step + extent - length, 0)
        sides += [total // 2, total - total // 2]
    return sides[0], sides[1], sides[2], sides[3]


def none_below_zero(node: Node) -> bool:
    """True where zeros around a map change none of its maxima: it has no values below zero."""
    if node.type.quant is not None and node.type.quant.zero_point == node.type.dtype.integers[0]:
        return True
    rectified = (Activation.RELU, Activation.RELU6)
    return isinstance(node.op, Conv | Add | Multiply | Activate) and node.op.activation in rectified
