"""A draft graph: nodes that can still be replaced by others."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from rillet.ir.graph import Array, Node
from rillet.ir.ops import Conv, Input, Op
from rillet.ir.types import DType, TensorType

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StoredWeights:
    """Quantised weights of a convolution: scale * (weight - zero), the output channel first, a scale for each."""

    weight: Array
    dtype: DType
    scale: Floats
    zero: int
    bias: Array | None = None
    """The bias as int32, where the file has it so."""
    bias_scale: Array | None = None

    @property
    def real(self) -> Array:
        """The weights, dequantised to float32."""
        centred = self.weight.astype(np.float32) - np.float32(self.zero)
        return (centred * self.scale[:, None, None, None]).astype(np.float32)


@dataclass
class Draft:
    """Nodes in topological order (but for late ones, until `sort`), their arrays, and how often each value is read."""

    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    params: dict[str, dict[str, Array]] = field(default_factory=dict[str, dict[str, Array]])
    """Arrays of each node that has some."""
    stored: dict[str, StoredWeights] = field(default_factory=dict[str, StoredWeights])
    """Weights of convolutions that are quantised in the file; such a convolution has no `weight` in `params`."""
    products: set[str] = field(default_factory=set[str])
    """Convolutions that the file has as a MatMul, whose bias is an Add."""
    outputs: list[str] = field(default_factory=list[str])
    origins: dict[int, tuple[Array, str]] = field(default_factory=dict[int, tuple[Array, str]])
    """By the id of an array (which is kept, so that the id stays its own) what of the file it follows from."""
    reads: Counter[str] = field(default_factory=Counter[str])
    """How many nodes and outputs read a value; a node that reads it twice is counted twice."""

    def follows(self, array: Array, source: str) -> None:
        """Notes which constant of the file an array follows from: arrays of one source, if equal, are one."""
        if source:
            self.origins[id(array)] = (array, source)

    def origin(self, array: Array) -> str:
        """What was noted of an array; empty where nothing was."""
        return self.origins[id(array)][1] if id(array) in self.origins else ""

    def fresh(self, name: str) -> str:
        """`name`, or the first like it that no node has."""
        if name not in self.nodes:
            return name
        return next(n for i in range(2, len(self.nodes) + 3) if (n := f"{name}/{i}") not in self.nodes)

    def add(self, node: Node, params: Mapping[str, Array] | None = None) -> None:
        """Adds a node."""
        self.nodes[node.name] = node
        self.reads.update(node.inputs)
        if params:
            self.params[node.name] = dict(params)

    def sort(self) -> None:
        """Brings nodes that were added late before those that read them; the others keep their order."""
        order: dict[str, Node] = {}
        for name in self.nodes:
            waiting = [name]
            while waiting:
                at = waiting.pop()
                missing = [read for read in self.nodes[at].inputs if read not in order]
                if missing:
                    waiting += [at, *missing]
                else:
                    order[at] = self.nodes[at]
        self.nodes = order

    def set_outputs(self, outputs: list[str]) -> None:
        """Says which values are the network's outputs: the world reads each once."""
        before, self.outputs = self.outputs, outputs
        self.reads.update(outputs)
        self.reads.subtract(before)
        for name in set(before).difference(outputs):
            self.drop(name)

    def source(self, node: Node, position: int = 0) -> Node:
        """The node that an input of a node comes from."""
        return self.nodes[node.inputs[position]]

    def alone(self, name: str) -> bool:
        """True where one reader is all that a value has."""
        return self.reads[name] == 1

    def replace(
        self,
        name: str,
        op: Op,
        inputs: tuple[str, ...],
        type: TensorType | None = None,
        params: Mapping[str, Array] | None = None,
    ) -> None:
        """Puts another op in the place of a node, and drops what nobody reads any more."""
        node = self.nodes[name]
        self.reads.update(inputs)
        self.reads.subtract(node.inputs)
        self.nodes[name] = replace(node, op=op, inputs=inputs, type=type or node.type)
        if params is not None:
            self.params[name] = dict(params)
        for read in set(node.inputs).difference(inputs):
            self.drop(read)

    def rename_reads(self, node: Node, renamed: Mapping[str, str]) -> Node:
        """The node reading other values under the names in `renamed`."""
        if any(name in renamed for name in node.inputs):
            self.replace(node.name, node.op, tuple(renamed.get(name, name) for name in node.inputs))
        return self.nodes[node.name]

    def drop(self, name: str) -> None:
        """Removes a node, and those before it, where nothing reads them any more."""
        unread = [name]
        while unread:
            at = unread.pop()
            node = self.nodes.get(at)
            if node is None or self.reads[at] or isinstance(node.op, Input):
                continue
            del self.nodes[at]
            self.params.pop(at, None)
            self.stored.pop(at, None)
            self.reads.subtract(node.inputs)
            unread += node.inputs

    def drop_unread(self) -> None:
        """Removes what no output needs."""
        for name in reversed(list(self.nodes)):
            self.drop(name)

    def arrays(self) -> dict[str, dict[str, Array]]:
        """The arrays of all nodes; quantised weights of a convolution of float32 values are dequantised."""
        out = dict(self.params)
        for name, stored in self.stored.items():
            op = self.nodes[name].op
            if isinstance(op, Conv) and op.weights is DType.F32:
                real = stored.real
                self.follows(real, self.origin(stored.weight))
                out[name] = {**out.get(name, {}), "weight": real}
        return out
