"""Live channels: those that cannot change an output byte are removed, and what they add stands in the biases."""

from dataclasses import dataclass, replace

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.errors import Unsupported
from rillet.ir.facts import is_slice
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Constant, Conv, Op, Slice, op_macs, op_name
from rillet.ir.sharing import remade
from rillet.ir.types import DType
from rillet.system.record import Record
from rillet.transforms.intervals import Interval, Mask, intervals
from rillet.transforms.needs import Masks, Reader, needed, opaque, readers


@dataclass(frozen=True, slots=True)
class LiveLayer:
    """One node before and after; without channels it is not computed any more."""

    name: str
    kind: str
    channels_before: int
    channels_after: int
    constant: int
    """Of the channels removed, those that take one value whatever the input."""
    unread: int
    """The others: what they are changes no output byte."""
    macs_before: int
    macs_after: int
    param_bytes_before: int
    """Of all its arrays, scales and zero points too, at their own widths; a shared one counts where it comes first."""
    param_bytes_after: int


@dataclass(frozen=True, slots=True, repr=False)
class Live(Record):
    """A network of live channels alone, and what was removed for it."""

    graph: Graph
    layers: tuple[LiveLayer, ...]
    """All nodes of the network as it was, in order."""

    @property
    def name(self) -> str:
        """The network's."""
        return self.graph.name

    @property
    def macs_before(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(layer.macs_before for layer in self.layers)

    @property
    def macs_after(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(layer.macs_after for layer in self.layers)

    @property
    def param_bytes_before(self) -> int:
        """Of all arrays."""
        return sum(layer.param_bytes_before for layer in self.layers)

    @property
    def param_bytes_after(self) -> int:
        """Of all arrays."""
        return sum(layer.param_bytes_after for layer in self.layers)

    def __repr__(self) -> str:
        macs = f"{self.macs_before:,} -> {self.macs_after:,} MACs"
        return f"<Live {self.name}: {macs}, {self.param_bytes_before:,} -> {self.param_bytes_after:,} B of parameters>"


def live(graph: Graph) -> Live:
    """The network without the channels that cannot change an output byte, whatever the input.

    Those are channels that take one value everywhere, which is folded into the biases of their readers, and channels
    that nothing reads. Inputs and outputs stay as they are; so do channels that an op takes one to one with live ones.
    Raises Unsupported for one of float32 values alone, whose sums
    are not the same to the last bit without some terms; GraphError for one without weights.
    """
    if all(opaque(graph, node) for node in graph.nodes):
        raise Unsupported(f"{graph.name}: live channels must be those of an int8 or uint8 network, got others")
    made, kept = graph, {node.name: np.ones(node.shape.channels, np.bool_) for node in graph.nodes}
    found = constant = intervals(graph)
    while True:
        reading = readers(made, found)
        masks = needed(made, reading)
        if all(mask.all() for mask in masks.values()):
            return Live(made, tuple(_layer(graph, made, node, kept[node.name], constant) for node in graph.nodes))
        made = _without(made, masks, reading)
        for name, mask in masks.items():
            kept[name][kept[name]] = mask
        # Again: the last group of a grouped convolution may lose channels that it kept beside the others.
        found = intervals(made)


def _without(graph: Graph, kept: Masks, reading: dict[str, Reader]) -> Graph:
    """The graph with the channels `kept` alone."""
    nodes: list[Node] = []
    arrays: dict[str, Array] = {}
    for node in graph.nodes:
        mask = kept[node.name]
        if not mask.any():
            continue
        own = {param.name: graph.param(node, param.name) for param in graph.node_params(node)}
        op = node.op
        match op:
            case Conv(groups=1) if node.name in reading:
                op, own = _dense(op, own, mask, kept[node.inputs[0]], reading[node.name])
            case Conv():
                op, own = _grouped(op, own, mask)
            case Constant():
                own = {"value": own["value"][:, :, mask]}
            case _:
                op = _moved(node, kept)
        inputs = tuple(name for name in node.inputs if kept[name].any())
        shape = replace(node.shape, channels=int(mask.sum()))
        nodes.append(replace(node, op=op, inputs=inputs, type=replace(node.type, shape=shape)))
        arrays |= {f"{node.name}.{name}": np.ascontiguousarray(array) for name, array in own.items()}
    return remade(graph, tuple(nodes), graph.outputs, arrays, graph.image)


def _dense(op: Conv, own: dict[str, Array], mask: Mask, source: Mask, reader: Reader) -> tuple[Conv, dict[str, Array]]:
    """A convolution of one group without the outputs that are not in `mask` and the inputs that are not in `source`."""
    bias = reader.sums.bias + reader.added(source)
    weight = own["weight"].copy()
    lost = reader.settled & (reader.sums.weight[:, :, ~source] != 0).any((1, 2))
    weight[lost] = int(own["weight_zero_point"][0]) if op.weights is DType.U8 else 0
    bias[lost] = reader.bounds.low[lost]
    own = _outputs(own, mask) | {"weight": weight[mask][:, :, :, source]}
    if op.bias or bias[mask].any():
        own["bias"] = fp.wrap32(bias[mask]).astype(np.int32)
    return replace(op, out_channels=int(mask.sum()), bias="bias" in own), own


def _grouped(op: Conv, own: dict[str, Array], mask: Mask) -> tuple[Conv, dict[str, Array]]:
    """A convolution of several groups without those of outputs that are not in `mask`."""
    per_group = op.out_channels // op.groups
    channels = int(mask.sum())
    return replace(op, out_channels=channels, groups=channels // per_group), _outputs(own, mask)


def _outputs(own: dict[str, Array], mask: Mask) -> dict[str, Array]:
    """A convolution's arrays for the output channels in `mask`."""
    return {name: array if name == "weight_zero_point" else array[mask] for name, array in own.items()}


def _moved(node: Node, kept: Masks) -> Op:
    """An op without arrays, where its input has other channels."""
    if is_slice(node.op):
        source = kept[node.inputs[0]]
        start = int(source[: node.op.start].sum())
        return Slice(start, start + int(source[node.op.start : node.op.stop].sum()))
    return node.op


def _layer(graph: Graph, made: Graph, node: Node, kept: Mask, found: dict[str, Interval]) -> LiveLayer:
    constant = found[node.name].constant if node.name in found else np.zeros_like(kept)
    after = made.by_name.get(node.name)
    return LiveLayer(
        node.name,
        op_name(node.op),
        node.shape.channels,
        int(kept.sum()),
        int((constant & ~kept).sum()),
        int((~constant & ~kept).sum()),
        op_macs(node.op, graph.input_shapes(node)),
        op_macs(after.op, made.input_shapes(after)) if after else 0,
        _param_bytes(graph, node),
        _param_bytes(made, after) if after else 0,
    )


def _param_bytes(graph: Graph, node: Node) -> int:
    bits = sum(int(np.prod(param.shape)) * param.dtype.bits for param in graph.own_params(node))
    return (bits + 7) // 8
