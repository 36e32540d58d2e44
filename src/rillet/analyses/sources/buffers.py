"""Line buffers and skip buffers of a network that streams pixel by pixel and recomputes nothing."""

from dataclasses import dataclass, replace
from enum import StrEnum

from rillet.errors import GraphError
from rillet.ir.facts import is_constant, is_given
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import op_window
from rillet.plan.rows.space import Space
from rillet.plan.rows.timing import Tile
from rillet.transforms.fold import fold, without_weights


class BufferKind(StrEnum):
    """Reason for a buffer."""

    LINE = "line"
    """Line buffer: a window reads earlier rows."""
    SKIP = "skip"
    """Skip buffer: one reader of the value waits for the other branch of a join."""


@dataclass(frozen=True, slots=True)
class LineBuffer:
    """A buffer of more than the newest pixel of a value."""

    value: str
    reader: str
    """The reader that needs the most pixels."""
    kind: BufferKind
    width: int
    """Pixels in a row of the map."""
    channels: int
    pixels: int
    values: int


def buffers(graph: Graph) -> tuple[LineBuffer, ...]:
    """What each value of `graph` must hold when pixels come in raster order and each layer fires as soon as it can.

    Exact: the greatest distance from the newest pixel to the oldest that is still wanted. A KxK window of stride 1 over
    W columns and C channels holds ((K-1) W + K) C values, the skip around a 3x3 window (W + 2) C. A value of which just
    the newest pixel is wanted is no buffer, nor is the sum of a global average pool. Batch norms are folded.
    Raises GraphError where the network has not one input.
    """
    return held(fold(without_weights(graph)))


def held(folded: Graph) -> tuple[LineBuffer, ...]:
    """As `buffers`, for a graph whose batch norms are folded."""
    if len(folded.input_nodes) != 1:
        raise GraphError(f"{folded.name}: must have one input to stream, got {len(folded.input_nodes)}")
    # Constants first: what lies before `start` is there from the beginning.
    outside = [node for node in folded.nodes if is_given(node.op)]
    inside = [node for node in folded.nodes if not is_given(node.op)]
    space = Space(replace(folded, nodes=(*outside, *inside)), Tile(1))
    start, driver = len(outside), folded.input_nodes[0].name
    found: list[LineBuffer] = []
    for node in folded.nodes:
        if is_constant(node.op):
            continue
        readers = [n for n in folded.consumers[node.name] if not space.timing.accumulates(n)]
        spans = {reader.name: space.span(reader, node.name, start, driver) for reader in readers}
        reader = max(spans, key=lambda name: spans[name], default="")
        if spans and spans[reader] > 1:
            kind = _kind(folded.by_name[reader])
            shape, pixels = node.shape, spans[reader]
            found.append(
                LineBuffer(node.name, reader, kind, shape.width, shape.channels, pixels, values=pixels * shape.channels)
            )
    return tuple(found)


def _kind(reader: Node) -> BufferKind:
    window = op_window(reader.op)
    return BufferKind.SKIP if window is None or window.taps == 1 else BufferKind.LINE
