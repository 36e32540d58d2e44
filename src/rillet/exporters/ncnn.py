"""Graphs to the two files of ncnn, float32: a table of layers, and the weights in their order.

The format is that of https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure; the numbers of parameters are
those of https://github.com/Tencent/ncnn/blob/master/docs/developer-guide/operators.md.
Each layer's weights follow those of the layer before, so that layers that share an array have a copy each.
"""

from collections import Counter
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from rillet.errors import Unsupported
from rillet.ir.functions import Curve
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
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
    PairKind,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
    Window,
)
from rillet.ir.types import DType

MAGIC = 7767517
FLOAT32_TAG = b"\0\0\0\0"
"""Before weights that are stored as they are."""
_FLOAT_MAX = float(np.finfo(np.float32).max)
_FUSED = {
    Activation.RELU: "9=1",
    Activation.RELU6: "9=3 -23310=2,0.0,6.0",
    Activation.RELU_N1_TO_1: "9=3 -23310=2,-1.0,1.0",
    Activation.SIGMOID: "9=4",
    Activation.HARD_SWISH: f"9=6 -23310=2,{1 / 6:.9g},0.5",
}
_LAYERS = {
    Activation.RELU: ("ReLU", ""),
    Activation.RELU6: ("Clip", "0=0.0 1=6.0"),
    Activation.RELU_N1_TO_1: ("Clip", "0=-1.0 1=1.0"),
    Activation.SIGMOID: ("Sigmoid", ""),
    Activation.HARD_SIGMOID: ("HardSigmoid", f"0={1 / 6:.9g} 1=0.5"),
    Activation.HARD_SWISH: ("HardSwish", f"0={1 / 6:.9g} 1=0.5"),
    Activation.SILU: ("Swish", ""),
}
_CURVES = {
    Curve.LEAKY_RELU: ("ReLU", "0={a}"),
    Curve.CLIP: ("Clip", "0={a} 1={b}"),
    Curve.ELU: ("ELU", "0={a}"),
    Curve.SELU: ("SELU", "0={a} 1={b}"),
    Curve.CELU: ("CELU", "0={a}"),
    Curve.GELU: ("GELU", "0=0"),
    Curve.GELU_TANH: ("GELU", "0=1"),
    Curve.ERF: ("Erf", ""),
    Curve.TANH: ("TanH", ""),
    Curve.MISH: ("Mish", ""),
    Curve.RAMP: ("HardSigmoid", "0={a} 1={b}"),
    Curve.ABS: ("UnaryOp", "0=0"),
    Curve.NEG: ("UnaryOp", "0=1"),
    Curve.SQRT: ("UnaryOp", "0=5"),
    Curve.EXP: ("UnaryOp", "0=7"),
    Curve.LOG: ("UnaryOp", "0=8"),
    Curve.POWER: ("BinaryOp", "0=6 1=1 2={a}"),
}
_PAIRS = {PairKind.DIVIDE: 3, PairKind.MAXIMUM: 4, PairKind.MINIMUM: 5}


@dataclass(frozen=True, slots=True)
class NcnnFiles:
    """The text of the .param file, the bytes of the .bin file, and what input and first output are called."""

    param: str
    weights: bytes
    input: str
    output: str


def export(graph: Graph) -> NcnnFiles:
    """The graph, its batch norms folded, for ncnn; raises Unsupported, naming the node, for what has no layer here."""
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.add(node)
    blobs = sum(int(line.split()[3]) for line in writer.lines)
    param = "\n".join([str(MAGIC), f"{len(writer.lines)} {blobs}", *writer.lines, ""])
    source, last = graph.input_nodes[0].name, graph.by_name[graph.outputs[0]]
    return NcnnFiles(param, b"".join(writer.weights), writer.place[source], writer.output(last))


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.lines: list[str] = []
        self.weights: list[bytes] = []
        self.read: Counter[str] = Counter()
        """How often each value has been read so far: a value that several read is split, a copy for each."""
        self.place = {node.name: f"v{i}" for i, node in enumerate(graph.nodes)}

    def output(self, node: Node) -> str:
        """What an output is called: where others read it too, the last of its copies."""
        name, reads = self.place[node.name], self.reads(node)
        return f"{name}.{reads - 1}" if reads > 1 else name

    def reads(self, node: Node) -> int:
        """How many read a value, whoever asks for an output among them."""
        readers = sum(other.inputs.count(node.name) for other in self.graph.nodes)
        return readers + (node.name in self.graph.outputs)

    def next_copy(self, name: str) -> str:
        """The copy of a value that its next reader takes."""
        node = self.graph.by_name[name]
        if self.reads(node) < 2:
            return self.place[name]
        self.read[name] += 1
        return f"{self.place[name]}.{self.read[name] - 1}"

    def line(self, kind: str, sources: list[str], made: str, settings: str = "") -> None:
        """A layer with one result."""
        words = [kind, f"{kind}.{made}", str(len(sources)), "1", *sources, made, settings]
        self.lines.append(" ".join(word for word in words if word))

    def layer(self, node: Node, kind: str, settings: str = "", activation: Activation = Activation.NONE) -> None:
        """The layer of a node, the activation behind it, and the copies for those who read it."""
        sources, made = [self.next_copy(name) for name in node.inputs], self.place[node.name]
        if activation is Activation.NONE:
            self.line(kind, sources, made, settings)
        else:
            self.line(kind, sources, f"{made}.linear", settings)
            self.line(self.function(node, activation)[0], [f"{made}.linear"], made, _LAYERS[activation][1])
        self.split(node)

    def split(self, node: Node) -> None:
        count, made = self.reads(node), self.place[node.name]
        if count > 1:
            copies = " ".join(f"{made}.{i}" for i in range(count))
            self.lines.append(f"Split Split.{made} 1 {count} {made} {copies}")

    def function(self, node: Node, activation: Activation) -> tuple[str, str]:
        if activation not in _LAYERS:
            raise self.refuse(node, f"activation {activation.value}")
        return _LAYERS[activation]

    def curve(self, node: Node, op: Apply) -> tuple[str, str]:
        """The layer of a function with numbers, and its settings."""
        if op.curve is Curve.SOFTPLUS and op.a == 1.0:
            return "Softplus", ""
        if op.curve not in _CURVES:
            raise self.refuse(node, op.curve.value)
        kind, settings = _CURVES[op.curve]
        return kind, settings.format(a=_bounded(op.a), b=_bounded(op.b))

    def refuse(self, node: Node, what: str) -> Unsupported:
        return Unsupported(f"{self.graph.name}: {node.name}: ncnn is written no {what}")

    def add(self, node: Node) -> None:
        """The layers of one node."""
        if node.type.dtype is not DType.F32 or len(self.graph.input_nodes) != 1:
            raise Unsupported(
                f"{self.graph.name}: {node.name}: must be float32, of one input, got {node.type.dtype.value}"
            )
        op, shape = node.op, node.shape
        match op:
            case Input():
                self.line("Input", [], self.place[node.name], f"0={shape.width} 1={shape.height} 2={shape.channels}")
                self.split(node)
            case Conv():
                self.convolution(node, op)
            case Activate(activation=activation):
                self.layer(node, *self.function(node, activation))
            case Apply():
                self.layer(node, *self.curve(node, op))
            case Pool():
                self.pool(node, op)
            case Add():
                self.layer(node, "BinaryOp", f"0={int(op.subtract)}", op.activation)
            case Multiply():
                self.layer(node, "BinaryOp", "0=2", op.activation)
            case Pair(kind=PairKind.PRELU):
                raise self.refuse(node, "prelu")
            case Pair(kind=kind):
                self.layer(node, "BinaryOp", f"0={_PAIRS[kind]}")
            case Concat():
                self.layer(node, "Concat", "0=0")
            case Pad(padding=(top, bottom, left, right)):
                self.layer(node, "Padding", f"0={top} 1={bottom} 2={left} 3={right} 4=0 5=0.0")
            case Softmax(beta=beta):
                if beta != 1.0:
                    raise self.refuse(node, f"softmax of beta {beta:g}")
                self.layer(node, "Softmax", "0=0 1=1")
            case (
                BatchNorm()
                | Constant()
                | Requantize()
                | Resize()
                | Interpolate()
                | Slice()
                | Select()
                | DepthToSpace()
                | SpaceToDepth()
                | ArgMax()
            ):
                raise self.refuse(node, type(op).__name__.lower())
            case _:
                assert_never(op)

    def convolution(self, node: Node, op: Conv) -> None:
        """A convolution, or a dense layer where the window covers the map."""
        source = self.graph.input_shapes(node)[0]
        if op.weights is not DType.F32:
            raise self.refuse(node, f"{op.weights.value} weights")
        weight = self.graph.param(node, "weight").transpose(0, 3, 1, 2)
        bias = self.graph.param(node, "bias") if op.bias else None
        fused = op.activation in _FUSED
        if op.groups == 1 and op.window.covers(source):
            kind, settings = "InnerProduct", f"0={op.out_channels} 1={int(op.bias)} 2={weight.size}"
        else:
            kind = "Convolution" if op.groups == 1 else "ConvolutionDepthWise"
            settings = f"0={op.out_channels} {_looks(op.window)} 5={int(op.bias)} 6={weight.size}"
            settings += f" 2={op.window.dilation[1]} 12={op.window.dilation[0]}"
            settings += "" if op.groups == 1 else f" 7={op.groups}"
        settings += f" {_FUSED[op.activation]}" if fused else ""
        self.layer(node, kind, settings, Activation.NONE if fused else op.activation)
        self.weights += [FLOAT32_TAG, _floats(weight)]
        if bias is not None:
            self.weights.append(_floats(bias))

    def pool(self, node: Node, op: Pool) -> None:
        """A pool; one over the full tensor leaves a vector."""
        kind = 0 if op.kind is PoolKind.MAX else 1
        if op.window.covers(self.graph.input_shapes(node)[0]):
            self.layer(node, "Pooling", f"0={kind} 4=1", op.activation)
        else:
            (height, width), (down, across), (top, bottom, left, right) = _sizes(op.window)
            looks = f"1={width} 11={height} 2={across} 12={down} 3={left} 14={right} 13={top} 15={bottom}"
            self.layer(node, "Pooling", f"0={kind} {looks} 5=1", op.activation)


def _looks(window: Window) -> str:
    """A window as parameters of a convolution."""
    (height, width), (down, across), (top, bottom, left, right) = _sizes(window)
    return f"1={width} 11={height} 3={across} 13={down} 4={left} 15={right} 14={top} 16={bottom}"


def _sizes(window: Window) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    return window.kernel, window.stride, window.padding


def _bounded(value: float) -> str:
    """A number as ncnn reads it: with a point, and no infinity."""
    return f"{min(max(value, -_FLOAT_MAX), _FLOAT_MAX):.9e}"


def _floats(array: Array) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()
