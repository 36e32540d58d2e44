"""Pixel order of an expanded map under bottleneck buffering, enumerated independently of the planner (an oracle).

It follows from the block alone, and shares no code with the planner's (plan/pipeline/bottleneck.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from rillet.errors import TargetError
from rillet.ir.graph import Node
from rillet.ir.ops import op_window
from rillet.plan.pipeline.plan import PixelPlan

MOST_PLACES = 2**21
"""Places of all maps for one image."""


@dataclass(frozen=True)
class WideOrder:
    """The pixels of an expanded map under bottleneck buffering, in the order in which they come."""

    places: tuple[tuple[int, int, int], ...]
    """Row of the result, and row and column of the expanded map, which may be rows of the padding."""
    number: Mapping[tuple[int, int, int], int]
    """Which place that is."""


def wide_orders(plan: PixelPlan) -> dict[str, WideOrder]:
    """For each value that comes column by column: for each row of the result the columns that it sees, from the left,
    and of each the rows under its windows, from the top. Raises TargetError for more places than fit into memory.
    """
    orders: dict[str, WideOrder] = {}
    total = 0
    for block in plan.narrow:
        node, source = plan.graph.by_name[block.reader], plan.graph.by_name[block.expansion].shape
        window = op_window(node.op)
        assert window is not None
        (high, wide), (down, right), (top, _, left, _) = window.kernel, window.stride, window.padding
        under = {at * right - left + tap * window.dilation[1] for at in range(node.shape.width) for tap in range(wide)}
        columns = sorted(under & {*range(source.width)})
        total += node.shape.height * len(columns) * high
        if total > MOST_PLACES:
            raise TargetError(
                f"{plan.graph.name}: blocks with bottleneck buffering must expand at most {MOST_PLACES} pixels to be "
                f"simulated, got {total}"
            )
        places = tuple(
            (row, row * down - top + tap * window.dilation[0], column)
            for row in range(node.shape.height)
            for column in columns
            for tap in range(high)
        )
        order = WideOrder(places, {place: number for number, place in enumerate(places)})
        orders.update(dict.fromkeys(block.wide, order))
    return orders


def tokens_read(orders: Mapping[str, WideOrder], node: Node, source: Node) -> list[list[int]] | None:
    """For each token of a node, the tokens of a source that it reads, in order; None where no order says which."""
    if node.name in orders:
        order = orders[node.name]
        if source.name in orders:
            return [[token] for token in range(len(order.places))]
        high, wide = source.shape.height, source.shape.width
        return [[y * wide + x] if 0 <= y < high else [] for _, y, x in order.places]
    if source.name not in orders:
        return None
    order, window = orders[source.name], op_window(node.op)
    assert window is not None
    listed: list[list[int]] = []
    for row in range(node.shape.height):
        top = row * window.stride[0] - window.padding[0]
        for column in range(node.shape.width):
            left = column * window.stride[1] - window.padding[2]
            taps = product(range(window.kernel[0]), range(window.kernel[1]))
            seen = [(top + i * window.dilation[0], left + j * window.dilation[1]) for i, j in taps]
            inside = [(y, x) for y, x in seen if 0 <= y < source.shape.height and 0 <= x < source.shape.width]
            listed.append([order.number[row, y, x] for y, x in inside])
    return listed
