"""The graph: what is computed. Immutable, topologically ordered, checked at birth."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError, RilletError
from rillet.ir.decoding import Decoding
from rillet.ir.ops import ArgMax, Input, Op, Param, op_macs, op_params, output_shape
from rillet.ir.types import DType, Shape, TensorType, indices
from rillet.system.record import Record

if TYPE_CHECKING:
    from rich.console import RenderableType

MAX_MACS = 10**12
"""Largest network accepted, in multiply-accumulates an image; keeps hostile files from running indefinitely."""


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """The input contract: how a picture becomes the (first) input tensor, and what the outputs are called."""

    height: int
    width: int
    channels: int
    resize: str = "stretch"
    """`stretch` to the size, or `crop` the middle square first."""
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    """The network's real input is (pixel - mean) / deviation, with pixels 0 to 255; one value, or one a channel."""
    labels: tuple[str, ...] = ()
    detail: int = 0
    """Side of the square that a larger picture is first reduced to, since training pictures had no more; 0 for none."""
    decoding: Decoding | None = None
    """How the outputs of a detector become boxes, where its file says it."""

    def __post_init__(self) -> None:
        if self.detail < 0:
            raise GraphError(f"detail must be at least 0, got {self.detail}")
        if self.resize not in ("stretch", "crop"):
            raise GraphError(f"resize must be stretch or crop, got {self.resize!r}")
        for name, values in (("mean", self.mean), ("deviation", self.deviation)):
            if len(values) not in (1, self.channels) or not np.isfinite(values).all():
                raise GraphError(f"{name} must be 1 or {self.channels} finite numbers, got {values}")
        if any(not 1e-30 <= abs(d) <= 1e30 for d in self.deviation):
            raise GraphError(f"deviation must not be zero nor beyond 1e-30 to 1e30, got {self.deviation}")


@dataclass(frozen=True, slots=True)
class Node:
    """One op at work: its name, the names of the values it reads, the type of the value it makes."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    type: TensorType
    block: str = ""
    """The block it belongs to, so that people can say `block3`."""

    @property
    def shape(self) -> Shape:
        """Shape of the value it makes."""
        return self.type.shape


Array = npt.NDArray[np.generic]


@dataclass(frozen=True, eq=False, repr=False)
class Graph(Record):
    """Nodes in topological order, the names of the outputs, and the arrays by `node.param`.

    `params` is either complete or empty (a network without weights). Raises GraphError where anything does not fit.

    Layers may share an array: `shared` has `node.param` of each but the first, and the key of that one, under which
    alone the array stands in `params`. So sharing is part of what is computed, not a likeness of values: a network
    without weights still has it, equal biases of two layers stay two, and whoever changes one layer's array alone must
    say that it is shared no longer (a key that is neither in `params` nor in `shared` is refused).
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    params: Mapping[str, Array] = field(default_factory=dict[str, Array], repr=False)
    image: ImageSpec | None = None
    shared: Mapping[str, str] = field(default_factory=dict[str, str])
    """Any key of a group may name any other; what is stored names the first in the order of nodes."""

    def __post_init__(self) -> None:
        params, shared = {k: _frozen(v) for k, v in self.params.items()}, dict(self.shared)
        specs = _check_nodes(self)
        if shared:
            params, shared = _by_first(self.name, specs, params, shared)
        object.__setattr__(self, "params", MappingProxyType(params))
        object.__setattr__(self, "shared", MappingProxyType(shared))
        _check(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        if self is other:  # as weak references to one ask
            return True
        described = (self.name, self.nodes, self.outputs, self.image, self.shared)
        if described != (other.name, other.nodes, other.outputs, other.image, other.shared):
            return False
        return self.params.keys() == other.params.keys() and all(
            np.array_equal(array, other.params[key]) for key, array in self.params.items()
        )

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        inputs = " and ".join(str(node.shape) for node in self.input_nodes)
        outputs = " and ".join(str(self.by_name[name].shape) for name in self.outputs)
        weights = "" if self.params else ", no weights"
        return f"Graph({self.name!r}, {inputs} -> {outputs}, {len(self.nodes)} nodes, {self.macs:,} MACs{weights})"

    def summary(self) -> "RenderableType":
        """The layers with output shapes, parameters and multiply-accumulates, and the totals; `print` shows it."""
        return self.table()

    def __reduce__(self) -> tuple[object, ...]:
        # The read-only views of mappings can neither be pickled nor copied.
        return Graph, (self.name, self.nodes, self.outputs, dict(self.params), self.image, dict(self.shared))

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by their names."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def position(self) -> Mapping[str, int]:
        """The place of each node in their order."""
        return {node.name: i for i, node in enumerate(self.nodes)}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """For each value, the nodes that read it, in order."""
        readers: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    def input_types(self, node: Node) -> tuple[TensorType, ...]:
        """Types of the values that `node` reads."""
        return tuple(self.by_name[name].type for name in node.inputs)

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        """Shapes of the values that `node` reads."""
        return tuple(self.by_name[name].shape for name in node.inputs)

    def param(self, node: Node, name: str) -> Array:
        """One array of `node`; raises GraphError where the graph has no weights."""
        try:
            return self.params[self.key(node, name)]
        except KeyError:
            raise GraphError(f"{self.name}: must have weights for this, and {node.name} has no {name}") from None

    def key(self, node: Node, name: str) -> str:
        """The key of one array of `node`: its own, or that of the first node that shares the array."""
        own = f"{node.name}.{name}"
        return self.shared.get(own, own)

    @property
    def arrays(self) -> dict[str, Array]:
        """The arrays by the key of each layer that has them, shared ones under several."""
        return dict(self.params) | {key: self.params[first] for key, first in self.shared.items() if self.params}

    @cached_property
    def input_nodes(self) -> tuple[Node, ...]:
        """The Input nodes."""
        return tuple(node for node in self.nodes if isinstance(node.op, Input))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and dense layers for one image."""
        return sum(op_macs(node.op, self.input_shapes(node)) for node in self.nodes)

    def node_params(self, node: Node) -> tuple[Param, ...]:
        """The arrays that `node` needs."""
        return op_params(node.op, self.input_shapes(node), node.shape)

    def own_params(self, node: Node) -> tuple[Param, ...]:
        """Those of them that no earlier node has: over all nodes, each array once."""
        return tuple(param for param in self.node_params(node) if f"{node.name}.{param.name}" not in self.shared)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights and biases, each array once, packed at their own widths.

        Scales, levels and zero points are not counted.
        """
        bits = 0
        for node in self.nodes:
            for param in self.own_params(node):
                if param.name not in ("weight_scale", "weight_zero_point", "levels"):
                    bits += int(np.prod(param.shape)) * param.dtype.bits
        return (bits + 7) // 8

    def with_name(self, name: str) -> "Graph":
        """The same graph under another name."""
        return replace(self, name=name)

    def with_image(self, image: ImageSpec | None) -> "Graph":
        """The same graph under another input contract."""
        return replace(self, image=image)


def _frozen(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _check_nodes(graph: Graph) -> dict[str, Param]:
    """The arrays that the nodes need, by key; raises GraphError where a node does not fit."""
    shapes: dict[str, Shape] = {}
    specs: dict[str, Param] = {}
    macs = 0
    for node in graph.nodes:
        declared = node.type.shape
        try:
            if node.name in shapes:
                raise GraphError("name must be unique")
            inputs = tuple([shapes[name] for name in node.inputs])
            shape = output_shape(node.op, inputs, declared)
            if shape != declared:
                raise GraphError(f"shape must be {shape}, got {declared}")
            _check_indices(node)
            specs |= {f"{node.name}.{param.name}": param for param in op_params(node.op, inputs, declared)}
        except RilletError as error:
            raise type(error)(f"{graph.name}: {node.name}: {error}") from None
        except KeyError as error:
            raise GraphError(f"{graph.name}: {node.name}: input must be an earlier node, got {error}") from None
        macs += op_macs(node.op, inputs)
        shapes[node.name] = declared
    if macs > MAX_MACS:
        raise GraphError(f"{graph.name}: must take at most {MAX_MACS:.0e} MACs, got {macs:.2e}")
    return specs


def _check_indices(node: Node) -> None:
    """Raises GraphError unless an op that makes places has a type that stands for these."""
    if isinstance(node.op, ArgMax) and node.type != indices(node.shape):
        quant = node.type.quant
        got = node.type.dtype.value + (f" of scale {quant.scale:g}, {quant.zero_point}" if quant else "")
        raise GraphError(f"type of argmax must be i32 of scale 1 and zero point 0, got {got}")


def _by_first(
    name: str, specs: Mapping[str, Param], params: Mapping[str, Array], shared: Mapping[str, str]
) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and who shares them, each group under its first key; raises GraphError where none can be shared."""
    for key, other in shared.items():
        for one in (key, other):
            if one not in specs:
                raise GraphError(f"{name}: {one}: must be an array of a node to be shared")
        if other in shared:
            raise GraphError(f"{name}: {key}: must share an array of its own, got {other}, which is another's")
        if specs[key] != specs[other]:
            one, two = (f"{spec.name} {spec.dtype.value} {spec.shape}" for spec in (specs[key], specs[other]))
            raise GraphError(f"{name}: {key}: must be as {other} is to share it, {two}, got {one}")
        if key in params:
            raise GraphError(f"{name}: {key}: must have no array beside that of {other}, which it shares")
    firsts: dict[str, str] = {}
    for key in specs:
        firsts.setdefault(shared.get(key, key), key)
    moved = {firsts.get(key, key): array for key, array in params.items()}
    return moved, {key: firsts[shared.get(key, key)] for key in specs if firsts[shared.get(key, key)] != key}


def _check(graph: Graph) -> None:
    """Raises GraphError where arrays, outputs or the input contract do not fit the nodes."""
    for node in graph.nodes if graph.params else ():
        try:
            _check_params(graph, node)
        except RilletError as error:
            raise type(error)(f"{graph.name}: {node.name}: {error}") from None
    if not graph.outputs:
        raise GraphError(f"{graph.name}: must have an output")
    names = {node.name for node in graph.nodes}
    for name in graph.outputs:
        if name not in names:
            raise GraphError(f"{graph.name}: output must be a node, got {name!r}")
    _check_image(graph)


def _check_params(graph: Graph, node: Node) -> None:
    for param in graph.own_params(node):
        array = graph.params.get(f"{node.name}.{param.name}")
        if array is None:
            raise GraphError(f"{param.name} is missing")
        if array.shape != param.shape:
            raise GraphError(f"{param.name} must have shape {param.shape}, got {array.shape}")
        if array.dtype != param.dtype.numpy:
            raise GraphError(f"{param.name} must be {param.dtype.numpy}, got {array.dtype}")
        if param.dtype is DType.F32 and not np.isfinite(array).all():
            raise GraphError(f"{param.name} must be finite")
        _check_values(param, array)


def _check_values(param: Param, array: Array) -> None:
    """Raises GraphError where an array of few values has others."""
    match param.name, param.dtype:
        case "weight", DType.TERNARY if not np.isin(array, (-1, 0, 1)).all():
            raise GraphError("ternary weights must be -1, 0 or 1")
        case "weight", DType.BINARY if not np.isin(array, (-1, 1)).all():
            raise GraphError("binary weights must be -1 or 1")
        case "levels", _ if (array.astype(np.float64) < 0).any():
            raise GraphError("levels must not be negative")
        case _:
            pass


def _check_image(graph: Graph) -> None:
    if graph.image is None:
        return
    spec, inputs = graph.image, graph.input_nodes
    expected = Shape(spec.height, spec.width, spec.channels)
    if not inputs or inputs[0].shape != expected:
        got = ", ".join(str(node.shape) for node in inputs) or "none"
        raise GraphError(f"{graph.name}: input must be {expected} as its image is, got {got}")
