"""A fully unrolled network on one device: no weight is ever reloaded, and no layer waits for a buffer.

The source of the goal, "Impossible Goal: run MobileNets V2 from beginning to end on one device", counts for each layer
how many of its output points one point of the last map is responsible for, times the layer's weights. This module
prints that table for any network whose maps nest, and says what its totals are: the multipliers of a machine that makes
one point of the last map a cycle, each with a weight of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rillet.analyses.sources.buffers import BufferKind, LineBuffer, buffers
from rillet.errors import GraphError
from rillet.ir.facts import has_weights, is_batch_norm, is_function
from rillet.ir.graph import Graph, Node
from rillet.ir.types import Shape

SLOWER = 4
"""The source's second machine makes a point of the last map every fourth cycle."""


@dataclass(frozen=True, slots=True)
class Row:
    """One convolution."""

    name: str
    kind: str
    """In the source's words: `Conv2d`, `DW s2`, `1x1`, `exp` (its block's depthwise reads it), `Expand` (the last)."""
    points: tuple[int, int]
    """Rows and columns of this layer's map for one point of the last map; each point has its copy of the weights."""
    weights: int
    product: int
    """Points times weights: multipliers that work at full rate, every cycle, each with one weight."""
    macs: int
    slower: int
    """The same at a quarter of the rate: a quarter of the product, but never below the weights."""
    slower_busy: float
    """Share of the cycles in which those have work."""
    line_values: int
    skip_values: int
    """Buffers in front of this layer, and of what stands between it and the next one: pools and additions."""


@dataclass(frozen=True, slots=True)
class Impossible:
    """The table with its totals."""

    name: str
    last: Shape
    """The last convolution's map."""
    rows: tuple[Row, ...]
    macs: int
    weights: int
    """Weights of the convolutions, each once."""
    interval_cycles: int
    """Cycles an image: one for each point of the last map."""
    total: int
    """Multipliers, and weights if each multiplier owns one, at full rate."""
    slower_interval_cycles: int
    slower_total: int
    """The same at a quarter of the rate."""
    slower_needed: int
    """Multipliers that a quarter of the rate takes where all are always busy; some then hold several weights."""
    slower_busy: float
    weight_bits: int
    total_bytes: int
    slower_bytes: int
    weights_bytes: int
    """Bytes of the weights: at full rate, at a quarter of it, and each once."""
    buffers: tuple[LineBuffer, ...]
    line_values: int
    skip_values: int
    buffer_values: int
    """What the source's near perfect reuse of calculated values holds on chip, in values."""


def impossible(graph: Graph, weight_bits: int = 16) -> Impossible:
    """The source's table for `graph`.

    Raises GraphError where a map's height and width are not multiples of the last convolution's, where the network has
    no convolution or not one input, and where weight_bits are not 1 to 32.
    """
    if not 1 <= weight_bits <= 32:
        raise GraphError(f"weight_bits must be 1 to 32, got {weight_bits}")
    layers = [node for node in graph.nodes if has_weights(node.op)]
    if not layers:
        raise GraphError(f"{graph.name}: must have a convolution")
    last, held = layers[-1], buffers(graph)
    owners = _owners(graph, held)
    rows = tuple(_row(graph, node, last, [one for one in held if owners[one.value] == node.name]) for node in layers)
    macs, total, slower = (sum(getattr(row, name) for row in rows) for name in ("macs", "product", "slower"))
    weights = sum(row.weights for row in rows)
    line, skip = _values(held, BufferKind.LINE), _values(held, BufferKind.SKIP)
    interval = last.shape.pixels
    return Impossible(
        name=graph.name,
        last=last.shape,
        rows=rows,
        macs=macs,
        weights=weights,
        interval_cycles=interval,
        total=total,
        slower_interval_cycles=SLOWER * interval,
        slower_total=slower,
        slower_needed=-(-total // SLOWER),
        slower_busy=total / (SLOWER * slower),
        weight_bits=weight_bits,
        total_bytes=_bytes(total, weight_bits),
        slower_bytes=_bytes(slower, weight_bits),
        weights_bytes=_bytes(weights, weight_bits),
        buffers=held,
        line_values=line,
        skip_values=skip,
        buffer_values=line + skip,
    )


def _values(held: Sequence[LineBuffer], kind: BufferKind) -> int:
    return sum(one.values for one in held if one.kind is kind)


def _bytes(values: int, bits: int) -> int:
    return (values * bits + 7) // 8


def _owners(graph: Graph, held: Sequence[LineBuffer]) -> dict[str, str]:
    """For each buffer by its value, its reader if that is a convolution, else the convolution before it."""
    owner = next(node.name for node in graph.nodes if has_weights(node.op))
    of: dict[str, str] = {}
    for node in graph.nodes:
        owner = of[node.name] = node.name if has_weights(node.op) else owner
    return {one.value: of[one.reader] for one in held}


def _row(graph: Graph, node: Node, last: Node, held: Sequence[LineBuffer]) -> Row:
    assert has_weights(node.op)
    shape, least = node.shape, last.shape
    if shape.height % least.height or shape.width % least.width:
        raise GraphError(
            f"{graph.name}: {node.name}: map must be a multiple of the last convolution's "
            f"{least.height}x{least.width}, got {shape.height}x{shape.width}"
        )
    source = graph.input_shapes(node)[0]
    out, *kernel = node.op.weight_shape(source)
    weights = out * kernel[0] * kernel[1] * kernel[2]
    points = (shape.height // least.height, shape.width // least.width)
    product = points[0] * points[1] * weights
    slower = max(weights, -(-product // SLOWER))
    return Row(
        name=node.name,
        kind=_kind(graph, node, last),
        points=points,
        weights=weights,
        product=product,
        macs=node.op.macs(source),
        slower=slower,
        slower_busy=product / (SLOWER * slower),
        line_values=_values(held, BufferKind.LINE),
        skip_values=_values(held, BufferKind.SKIP),
    )


def _kind(graph: Graph, node: Node, last: Node) -> str:
    assert has_weights(node.op)
    window, source = node.op.window, graph.input_shapes(node)[0]
    stride = "" if window.stride == (1, 1) else f" s{max(window.stride)}"
    if node.op.depthwise(source):
        return f"DW{stride}"
    if window.kernel != (1, 1):
        return f"Conv2d{stride}"
    if node is last:
        return f"Expand{stride}"
    return f"exp{stride}" if _expands(graph, node) else f"1x1{stride}"


def _expands(graph: Graph, node: Node) -> bool:
    """True where a depthwise layer of the same block reads the result."""
    readers = list(graph.consumers[node.name])
    while len(readers) == 1 and (is_batch_norm(readers[0].op) or is_function(readers[0].op)):
        readers = list(graph.consumers[readers[0].name])
    return any(
        has_weights(reader.op) and reader.op.depthwise(node.shape) and reader.block == node.block for reader in readers
    )
