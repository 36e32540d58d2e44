"""A network as blocks of layers: what its pictures show, before anything has a place on a page."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal, assert_never

from rillet.analyses.count import parameters
from rillet.ir.facts import has_weights, is_constant, is_given, is_input, is_pool, is_product
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
    op_macs,
    op_name,
    op_window,
)
from rillet.ir.types import Shape


class Kind(Enum):
    """What a layer is to a reader; the value is the word of the legend."""

    CONV = "convolution KxK"
    POINTWISE = "pointwise 1x1"
    DEPTHWISE = "depthwise KxK"
    ROW = "row 1xK"
    COLUMN = "column Kx1"
    DENSE = "dense"
    POOL = "pool"
    EXCITE = "squeeze-and-excite"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, pool, squeeze-and-excite or resizing; what only follows it (batch norm, activation) is none."""

    name: str
    kind: Kind
    kernel: str
    """As `3x3`; nothing for one of 1x1, and for a layer that takes all pixels at once."""
    stride: str
    """As `/2`; nothing for 1."""
    shape: Shape
    channels: int
    """Those of its output; of a squeeze-and-excite those it squeezes to."""
    about: str
    macs: int
    params: int


@dataclass(frozen=True, slots=True)
class Join:
    """A place where values meet: an add, a product, a concatenation."""

    name: str
    op: Literal["add", "subtract", "multiply", "concat", "maximum", "minimum", "divide", "prelu"]


Item = Layer | Join


@dataclass(frozen=True, slots=True)
class Block:
    """Items `start` to `stop` (exclusive) of a network, what they are called and what they cost."""

    label: str
    start: int
    stop: int
    shape: Shape
    """Of what comes out."""
    macs: int
    params: int


@dataclass(frozen=True, slots=True)
class Outline:
    """A network in blocks. Items are known by their places in `items`; an input of the network is -1, -2 and so on."""

    name: str
    inputs: tuple[Shape, ...]
    items: tuple[Item, ...]
    blocks: tuple[Block, ...]
    edges: tuple[tuple[int, int], ...]
    """Which item reads which, skips apart: (source, reader), sorted by the reader."""
    skips: tuple[tuple[int, int], ...]
    """Values that go past other items to a join: (source, join)."""
    macs: int
    params: int

    def residual(self, skip: tuple[int, int]) -> bool:
        """True where a skip ends in an add: a residual connection."""
        join = self.items[skip[1]]
        return isinstance(join, Join) and join.op in ("add", "subtract")

    def block_of(self) -> list[int]:
        """For each item, the place of its block."""
        return [i for i, block in enumerate(self.blocks) for _ in range(block.start, block.stop)]


def outline(graph: Graph) -> Outline:
    """The blocks of `graph`: runs of nodes under one label; a layer without a label is a block of its own name."""
    trace = _Trace(graph)
    runs = trace.runs()
    empty = {run[-1].name for _, run in runs if not any(node.name in trace.places for node in run)}
    if empty:
        trace = _Trace(graph, empty)
    blocks: list[Block] = []
    start = 0
    for label, run in runs:
        stop = start + sum(node.name in trace.places for node in run)
        macs = sum(op_macs(node.op, graph.input_shapes(node)) for node in run)
        params = sum(parameters(graph, node) for node in run)
        blocks.append(Block(label, start, stop, run[-1].shape, macs, params))
        start = stop
    edges, skips = trace.connections()
    shapes = tuple(node.shape for node in graph.input_nodes)
    total = sum(parameters(graph, node) for node in graph.nodes)
    return Outline(graph.name, shapes, tuple(trace.items), tuple(blocks), edges, skips, graph.macs, total)


class _Trace:
    """Which item each value comes from."""

    def __init__(self, graph: Graph, forced: set[str] | None = None) -> None:
        self.graph = graph
        self.forced: set[str] = forced or set()
        """Nodes that are items whatever they are, so that their blocks are not empty."""
        self.items: list[Item] = []
        self.reads: list[tuple[int, ...]] = []
        """For each item, the items (or inputs) that it reads."""
        self.places: dict[str, int] = {}
        """The item that a node is, if it is one."""
        self.sources: dict[str, int] = {}
        self.excites = _squeeze_excites(graph)
        self.inside = {node.name for nodes in self.excites.values() for node in nodes[:-1]}
        """Nodes of squeeze-and-excites, which stand for themselves no more; their products stand for them."""
        inputs = 0
        for node in graph.nodes:
            if is_input(node.op):
                inputs += 1
                self.sources[node.name] = -inputs
            elif not is_constant(node.op) and node.name not in self.inside:
                self.node(node, self.excites.get(node.name))

    def node(self, node: Node, excite: tuple[Node, ...] | None) -> None:
        names = node.inputs if excite is None else node.inputs[:1]
        read = tuple(dict.fromkeys(self.sources[name] for name in names if name in self.sources))
        item = _excite(self.graph, excite) if excite else _item(self.graph, node, len(read))
        if item is None and node.name in self.forced:
            item = _layer(self.graph, node, Kind.OTHER)
        if item is not None:
            self.places[node.name] = self.sources[node.name] = len(self.items)
            self.items.append(item)
            self.reads.append(read)
        elif read:
            self.sources[node.name] = read[0]

    def runs(self) -> list[tuple[str, list[Node]]]:
        """The nodes of each block, under its label."""
        runs: list[tuple[str, list[Node]]] = []
        names: set[str] = set()
        labelled = ""
        for node in self.graph.nodes:
            if is_given(node.op) or node.name in self.inside:
                continue
            if node.block:
                begins = not runs or node.block != labelled
            else:
                place = self.places.get(node.name)
                layer = place is not None and isinstance(self.items[place], Layer)
                begins = layer or names.isdisjoint(node.inputs)
            if begins:
                runs.append((node.block or node.name, []))
                names = set()
                labelled = node.block
            runs[-1][1].extend(self.excites.get(node.name, (node,)))
            names.add(node.name)
        return runs

    def connections(self) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
        """The edges and the skips: an operand of a join that another operand comes from skips what lies between."""
        edges: list[tuple[int, int]] = []
        skips: list[tuple[int, int]] = []
        for i, item in enumerate(self.items):
            read = self.reads[i]
            past = {u for u in read if isinstance(item, Join) and any(self.reaches(u, v) for v in read if v > u)}
            edges += [(source, i) for source in read if source not in past]
            skips += [(source, i) for source in read if source in past]
        return tuple(edges), tuple(skips)

    def reaches(self, source: int, item: int) -> bool:
        """True where `item` comes from `source`, another one."""
        seen: set[int] = set()
        ahead = [item]
        while ahead:
            at = ahead.pop()
            # Items read only earlier ones, so that nothing before the source leads to it; an input reads nothing.
            if at >= 0 and at > source and at not in seen:
                seen.add(at)
                ahead += self.reads[at]
            elif at == source:
                return True
        return False


def _item(graph: Graph, node: Node, sources: int) -> Item | None:
    """What a node is that reads values from `sources` items; None where it belongs to the item before it."""
    op = node.op
    match op:
        case Conv() | Pool() | Resize() | Interpolate() | DepthToSpace() | SpaceToDepth():
            return _layer(graph, node, kind_of(graph, node))
        case Add():
            return Join(node.name, "subtract" if op.subtract else "add") if sources > 1 else None
        case Multiply():
            return Join(node.name, "multiply") if sources > 1 else None
        case Pair(kind=kind):
            return Join(node.name, kind.value) if sources > 1 else None
        case Concat():
            return Join(node.name, "concat") if sources > 1 else None
        case Input() | Constant() | BatchNorm() | Activate() | Apply() | Requantize():
            return None
        case Softmax() | ArgMax():
            return None
        case Slice() | Select() | Pad():
            return None
        case _:
            assert_never(op)


def kind_of(graph: Graph, node: Node) -> Kind:
    """What a node by itself is to a reader."""
    if has_weights(node.op):
        return _conv_kind(node.op, graph.input_shapes(node)[0])
    return Kind.POOL if is_pool(node.op) else Kind.OTHER


def _conv_kind(op: Conv, shape: Shape) -> Kind:
    rows, columns = op.window.kernel
    if op.dense or (op.groups == 1 and op.window.covers(shape)):
        return Kind.DENSE
    if min(rows, columns) == 1 and max(rows, columns) > 1:
        return Kind.ROW if rows == 1 else Kind.COLUMN
    if op.depthwise(shape):
        return Kind.DEPTHWISE
    return Kind.POINTWISE if (rows, columns) == (1, 1) else Kind.CONV


def _layer(graph: Graph, node: Node, kind: Kind) -> Layer:
    words = [kind.value.split(" ")[0]]
    kernel = stride = ""
    op = node.op
    if has_weights(op):
        channels = f"{graph.input_shapes(node)[0].channels} to {op.out_channels} channels"
        words.append(channels + (f" in {op.groups} groups" if op.groups > 1 else ""))
    else:
        words = [f"{op.kind.value} pool" if is_pool(op) else op_name(op)]
    window = op_window(node.op)
    if window is not None:
        size, step = _by(window.kernel), _by(window.stride)
        words.insert(1, f"kernel {size}, stride {step}")
        if window.dilation != (1, 1):
            words.insert(2, f"dilation {_by(window.dilation)}")
        # A dense layer and a global pool take all pixels: the map is drawn, its size need not be repeated.
        if kind is not Kind.DENSE and not window.covers(graph.input_shapes(node)[0]):
            kernel = "" if size == step == "1x1" else size
            down, across = window.stride
            stride = "" if step == "1x1" else f"/{down}" if down == across else f"/{step}"
    macs = op_macs(node.op, graph.input_shapes(node))
    count = parameters(graph, node)
    return Layer(node.name, kind, kernel, stride, node.shape, node.shape.channels, ", ".join(words), macs, count)


def _by(sizes: tuple[int, int]) -> str:
    return f"{sizes[0]}x{sizes[1]}"


def _excite(graph: Graph, nodes: tuple[Node, ...]) -> Layer:
    """The nodes of a squeeze-and-excite as one layer; the last one is its product."""
    shapes = [node.shape.channels for node in nodes if has_weights(node.op)]
    macs = sum(op_macs(node.op, graph.input_shapes(node)) for node in nodes)
    params = sum(parameters(graph, node) for node in nodes)
    last = nodes[-1]
    about = f"squeeze-and-excite, {last.shape.channels} channels by way of {min(shapes)}"
    return Layer(last.name, Kind.EXCITE, "", "", last.shape, min(shapes), about, macs, params)


def _squeeze_excites(graph: Graph) -> dict[str, tuple[Node, ...]]:
    """The nodes of each squeeze-and-excite, by the product that it ends in."""
    found: dict[str, tuple[Node, ...]] = {}
    for node in graph.nodes:
        if is_product(node.op):
            gate = list(_gate(graph, node))
            if any(is_pool(part.op) for part in gate) and any(has_weights(part.op) for part in gate):
                found[node.name] = (*reversed(gate), node)
    return found


def _gate(graph: Graph, product: Node) -> Iterator[Node]:
    """From the gate of `product` up to the pool of the value that it gates; what else reads a part ends it early."""
    above = graph.by_name[product.inputs[1]]
    while len(graph.consumers[above.name]) == 1 and above.name not in graph.outputs and above.shape.pixels == 1:
        read = [name for name in above.inputs if not is_constant(graph.by_name[name].op)]
        if len(read) != 1:
            return
        if is_pool(above.op):
            if read[0] == product.inputs[0]:
                yield above
            return
        yield above
        above = graph.by_name[read[0]]


def members(graph: Graph) -> dict[str, tuple[str, Kind]]:
    """For each node the label of its block, and the kind of the layer that it is or belongs to."""
    trace = _Trace(graph)
    found = {node.name: (node.name, Kind.OTHER) for node in graph.nodes}
    for label, run in trace.runs():
        for node in run:
            item = trace.items[trace.sources[node.name]] if trace.sources.get(node.name, -1) >= 0 else None
            kind = item.kind if isinstance(item, Layer) else Kind.OTHER
            gated = node.name in trace.inside or node.name in trace.excites
            found[node.name] = (label, Kind.EXCITE if gated else kind)
    return found
