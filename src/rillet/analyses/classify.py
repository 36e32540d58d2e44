"""Interpretation of a network's outputs: classes with probabilities for a classifier, else numbers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.ir.facts import is_requantization, is_softmax
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Activation


@dataclass(frozen=True, slots=True)
class Class:
    """One class of an answer."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a vector; its label where the network has labels for all of them."""

    index: int
    value: float
    label: str | None


@dataclass(frozen=True, slots=True)
class Output:
    """An output in float32: a quantised one's stored values less the zero point, times the scale."""

    name: str
    shape: tuple[int, int, int]
    """Height, width, channels."""
    dtype: str
    """As NumPy calls what the program gives."""
    minimum: float
    mean: float
    maximum: float
    largest: tuple[Value, ...]
    """Of a vector (1 x 1 x channels) only."""


def is_classifier(graph: Graph) -> bool:
    """True where the only output is a vector with a label for each value, and these are probabilities or logits.

    Values that each came through a function of their own, as a sigmoid's of several labels, are neither.
    """
    if len(set(graph.outputs)) != 1 or not _labels(graph, graph.by_name[graph.outputs[0]]):
        return False
    op = made_by(graph, graph.outputs[0]).op
    return getattr(op, "activation", Activation.NONE) not in (Activation.SIGMOID, Activation.HARD_SIGMOID)


def classify(graph: Graph, output: Array, count: int = 5) -> list[Class]:
    """The `count` most probable classes of a classifier; equal ones in the order of their indices.

    Stored values become real ones by the output's quantisation; logits go through a softmax in float64.
    """
    node = graph.by_name[graph.outputs[0]]
    real = real_values(node, output)
    if not is_softmax(made_by(graph, node.name).op):
        powers = np.exp(real - real.max())
        real = powers / powers.sum()
    labels = _labels(graph, node)
    return [Class(labels[i], int(i), float(real[i])) for i in _order(real, count)]


def described(graph: Graph, outputs: tuple[Array, ...], count: int = 5) -> tuple[Output, ...]:
    """What each output holds, with the `count` largest values of a vector; `outputs` in the order of their names."""
    out: list[Output] = []
    for name, array in zip(dict.fromkeys(graph.outputs), outputs, strict=True):
        node = graph.by_name[name]
        real, labels, shape = real_values(node, array), _labels(graph, node), node.shape
        largest = _order(real, count) if shape.pixels == 1 else ()
        values = tuple(Value(int(i), float(real[i]), labels[i] if labels else None) for i in largest)
        size = (shape.height, shape.width, shape.channels)
        ends = float(real.min()), float(real.mean()), float(real.max())
        out.append(Output(name, size, str(node.type.dtype.numpy), *ends, values))
    return tuple(out)


def _order(real: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    return np.argsort(-real, kind="stable")[:count]


def real_values(node: Node, output: Array) -> npt.NDArray[np.float64]:
    """The real values of a node's stored ones, one after another."""
    real = output.reshape(-1).astype(np.float64)
    if node.type.quant is not None:
        real = (real - node.type.quant.zero_point) * node.type.quant.scale
    return real


def _labels(graph: Graph, node: Node) -> tuple[str, ...]:
    """The labels of an output's values; none where it is no vector of as many."""
    labels = graph.image.labels if graph.image else ()
    return labels if node.shape.pixels == 1 and len(labels) == node.shape.channels else ()


def made_by(graph: Graph, name: str) -> Node:
    """The node that makes an output's values; one that only rescales them is not it."""
    node = graph.by_name[name]
    while is_requantization(node.op):
        node = graph.by_name[node.inputs[0]]
    return node
