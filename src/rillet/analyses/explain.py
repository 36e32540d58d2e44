"""The arithmetic of depthwise-separable convolution (Howard et al. 2017), and a network's demand on a machine."""

from dataclasses import dataclass

from rillet.analyses.count import count, kind, value_bytes
from rillet.errors import GraphError
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Activate, Apply, BatchNorm, Concat, Conv, Multiply, Slice
from rillet.ir.types import Shape
from rillet.system.record import Record


@dataclass(frozen=True, slots=True, repr=False)
class Explanation(Record):
    """One convolution, and the depthwise-separable pair that it is part of, if it is."""

    name: str
    kind: str
    block: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    input_shape: Shape
    output_shape: Shape
    multiplications: int
    weights: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int
    ring_bytes: int
    """Line buffer of the input when streamed: (K - 1) rows and K pixels of its channels."""
    uses_of_an_input: float
    """Multiplications for each value of the input."""
    uses_of_a_weight: int
    """Pixels of the output: each weight is used once for each of them."""
    pair: tuple[str, ...]
    """The depthwise convolutions and the pointwise one that together do the work of a standard one."""
    pair_multiplications: int | None
    """Of the pair; for a standard convolution, of the pair that would replace it."""
    standard_multiplications: int | None
    """What a standard convolution of the same window, channels and output takes."""
    ratio: float | None
    """Pair over standard."""
    formula_ratio: float | None
    """1/N + 1/K^2 for N output channels, where the pair is a K x K depthwise and a pointwise convolution."""

    def __repr__(self) -> str:
        return f"<Explanation {self.name}: {self.kind}, {self.multiplications:,} multiplications>"


@dataclass(frozen=True, slots=True)
class Demand:
    """A network's demand on a machine at a frame rate, and on a board with so much memory."""

    name: str
    frames_per_second: float
    macs_per_second: float
    operations_per_second: float
    """A multiply-accumulate is two operations."""
    input_bytes_per_second: float
    weight_bytes_per_second: float
    """If every weight is read once an image; 0 where they stay."""
    traffic_bytes_per_second: float
    """Layer by layer, as `count` has it."""
    model_bytes: int
    board_bytes: int
    model_over_board: float


@dataclass(frozen=True, slots=True, repr=False)
class Explained(Record):
    """The convolutions of a network, and what it asks of a machine."""

    demand: Demand
    layers: tuple[Explanation, ...]

    def __repr__(self) -> str:
        return f"<Explained {self.demand.name}: {len(self.layers)} convolutions and dense layers>"


def explain(graph: Graph, bits: int | None = None) -> tuple[Explanation, ...]:
    """Every convolution and dense layer of `graph`; bytes at the network's own widths, or at `bits`."""
    pairs = _pairs(graph)
    return tuple(_explain(graph, node, pairs, bits) for node in graph.nodes if has_weights(node.op))


def explain_layer(graph: Graph, name: str, bits: int | None = None) -> Explanation:
    """One convolution by the name of its node; raises GraphError where there is none."""
    node = graph.by_name.get(name)
    if node is None or not has_weights(node.op):
        some = ", ".join(n.name for n in graph.nodes if has_weights(n.op))
        raise GraphError(f"{graph.name}: --layer must be one of {some}; got {name!r}")
    return _explain(graph, node, _pairs(graph), bits)


def demand(graph: Graph, frames_per_second: float, board_bytes: int, bits: int | None = None) -> Demand:
    """What `graph` asks of a machine; raises GraphError where the frame rate is not above 0."""
    if not 0 < frames_per_second < float("inf"):
        raise GraphError(f"--fps must be above 0, got {frames_per_second:g}")
    counted = count(graph, bits=bits)
    return Demand(
        graph.name,
        frames_per_second,
        counted.macs * frames_per_second,
        2 * counted.macs * frames_per_second,
        sum(node.shape.elements for node in graph.input_nodes) * frames_per_second,
        counted.weight_bytes * frames_per_second,
        counted.traffic_bytes * frames_per_second,
        counted.weight_bytes,
        board_bytes,
        counted.weight_bytes / board_bytes,
    )


def _explain(graph: Graph, node: Node, pairs: dict[str, tuple[Node, ...]], bits: int | None) -> Explanation:
    op, source = node.op, graph.input_shapes(node)[0]
    assert has_weights(op)
    weights = op.out_channels * op.window.taps * (source.channels // op.groups)
    macs, width = op.macs(source), bits or op.weights.bits
    rows, columns = op.window.kernel
    streamed = min((rows - 1) * source.width + columns, source.pixels)
    pair = pairs.get(node.name, ())
    taken, standard, formula = _compared(graph, node, pair)
    return Explanation(
        name=node.name,
        kind=kind(graph, node),
        block=node.block,
        kernel=op.window.kernel,
        stride=op.window.stride,
        input_shape=source,
        output_shape=node.shape,
        multiplications=macs,
        weights=weights,
        weight_bytes=(weights * width + 7) // 8,
        input_bytes=value_bytes(graph, node.inputs[0], bits),
        output_bytes=value_bytes(graph, node.name, bits),
        ring_bytes=(streamed * source.channels * (bits or graph.input_types(node)[0].dtype.bits) + 7) // 8,
        uses_of_an_input=macs / source.elements,
        uses_of_a_weight=node.shape.pixels,
        pair=tuple(n.name for n in pair),
        pair_multiplications=taken,
        standard_multiplications=standard,
        ratio=taken / standard if taken and standard else None,
        formula_ratio=formula,
    )


def _compared(graph: Graph, node: Node, pair: tuple[Node, ...]) -> tuple[int | None, int | None, float | None]:
    """Multiplications of the pair and of the standard convolution, and the ratio by the formula."""
    op, source = node.op, graph.input_shapes(node)[0]
    assert has_weights(op)
    if not pair:
        if op.groups != 1 or op.window.taps == 1 or op.window.covers(source):
            return None, None, None
        separable = node.shape.pixels * source.channels * (op.window.taps + op.out_channels)
        return separable, op.macs(source), 1 / op.out_channels + 1 / op.window.taps
    *filters, mix = pair
    assert has_weights(mix.op)
    kernels = [n.op.window.kernel for n in filters if has_weights(n.op)]
    rows, columns = max(k[0] for k in kernels), max(k[1] for k in kernels)
    channels = graph.input_shapes(filters[0])[0].channels
    if len(filters) > 1 and not all(graph.by_name[n.inputs[0]] is graph.by_name[filters[0].inputs[0]] for n in filters):
        channels = sum(graph.input_shapes(n)[0].channels for n in filters)
    taken = sum(n.op.macs(graph.input_shapes(n)[0]) for n in pair if has_weights(n.op))
    standard = mix.shape.pixels * rows * columns * channels * mix.op.out_channels
    plain = len(filters) == 1 and mix.shape.pixels == filters[0].shape.pixels
    return taken, standard, 1 / mix.op.out_channels + 1 / (rows * columns) if plain else None


def _pairs(graph: Graph) -> dict[str, tuple[Node, ...]]:
    """For each convolution of a separable pair: its depthwise ones, then the pointwise one that mixes them."""
    out: dict[str, tuple[Node, ...]] = {}
    for node in graph.nodes:
        if has_weights(node.op) and node.op.window.kernel == (1, 1) and node.op.groups == 1:
            filters = _filters(graph, graph.by_name[node.inputs[0]])
            if filters:
                pair = (*filters, node)
                out |= {member.name: pair for member in pair}
    return out


def _filters(graph: Graph, node: Node) -> tuple[Node, ...]:
    """The depthwise convolutions whose channels a value is made of, if it is made of nothing else."""
    match node.op:
        case Conv() if node.op.depthwise(graph.input_shapes(node)[0]) and node.op.window.taps > 1:
            return (node,)
        case BatchNorm() | Activate() | Apply() | Multiply() | Slice():
            return _filters(graph, graph.by_name[node.inputs[0]])
        case Concat():
            found = [_filters(graph, graph.by_name[name]) for name in node.inputs]
            return tuple(n for part in found for n in part) if all(found) else ()
        case _:
            return ()
