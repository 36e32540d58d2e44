"""A network's output as classes with probabilities."""

from dataclasses import dataclass

import numpy as np

from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Requantize, Softmax


@dataclass(frozen=True, slots=True)
class Class:
    """One class of an answer."""

    label: str
    index: int
    probability: float


def classify(graph: Graph, output: Array, count: int = 5) -> list[Class]:
    """The `count` most probable classes; equal ones in the order of their indices.

    Stored values become real ones by the output's quantisation; logits go through a softmax in float64.
    """
    node = graph.by_name[graph.outputs[0]]
    real = output.reshape(-1).astype(np.float64)
    if node.type.quant is not None:
        real = (real - node.type.quant.zero_point) * node.type.quant.scale
    if not _probabilities(graph):
        powers = np.exp(real - real.max())
        real = powers / powers.sum()
    labels = graph.image.labels if graph.image else ()
    order = np.argsort(-real, kind="stable")[:count]
    return [Class(labels[i] if labels else f"class {i}", int(i), float(real[i])) for i in order]


def _probabilities(graph: Graph) -> bool:
    """True where the output comes out of a softmax."""
    node = graph.by_name[graph.outputs[0]]
    while isinstance(node.op, Requantize):
        node = graph.by_name[node.inputs[0]]
    return isinstance(node.op, Softmax)
