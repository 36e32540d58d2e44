"""Class maps: the class that a segmentation network gives each pixel."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.analyses.classify import real_values
from rillet.ir.facts import is_argmax, is_interpolation, is_requantization, is_softmax, only_moves
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Activation

MOST_CLASSES = 256
_SURE = (Activation.SIGMOID, Activation.HARD_SIGMOID)


@dataclass(frozen=True, slots=True)
class Region:
    """All pixels of one class."""

    label: str
    index: int
    share: float
    """Of the map's pixels."""


def is_segmentation(graph: Graph) -> bool:
    """True where the only output is a map of the image: of classes as an argmax gives them, with a class a channel, or
    with a probability in its only channel.

    A map of several channels counts where it has labels or ends in a softmax: any other may be a picture, or depths.
    """
    if len(set(graph.outputs)) != 1 or graph.image is None:
        return False
    node = graph.by_name[graph.outputs[0]]
    if is_argmax(node.op):
        of = graph.by_name[node.inputs[0]].shape
        return min(of.height, of.width) > 1 and of.channels <= MOST_CLASSES
    channels, made = node.shape.channels, node
    while len(made.inputs) == 1 and (only_moves(made.op) or is_requantization(made.op) or is_interpolation(made.op)):
        made = graph.by_name[made.inputs[0]]
    if min(node.shape.height, node.shape.width) == 1 or channels > MOST_CLASSES:
        return False
    if channels == 1:
        return getattr(made.op, "activation", Activation.NONE) in _SURE
    return is_softmax(made.op) or len(graph.image.labels) == channels


def class_map(graph: Graph, output: Array) -> npt.NDArray[np.uint8]:
    """The class of each pixel of a segmentation network's output, height x width.

    Where the output is what an argmax gives, that; of several channels that of the largest value, the first of equal
    ones; of one, 1 where the probability is over one half.
    """
    node = graph.by_name[graph.outputs[0]]
    if is_argmax(node.op):
        return output.reshape(node.shape.array[:2]).astype(np.uint8)
    real = real_values(node, output).reshape(node.shape.array)
    if node.shape.channels == 1:
        return (real[:, :, 0] > 0.5).astype(np.uint8)
    return real.argmax(-1).astype(np.uint8)


def regions(graph: Graph, classes: npt.NDArray[np.uint8]) -> tuple[Region, ...]:
    """The classes that a map has, the most frequent first, equal ones in the order of their indices."""
    counts = np.bincount(classes.reshape(-1))
    labels = graph.image.labels if graph.image else ()
    last = graph.by_name[graph.outputs[0]]
    several = last.shape.channels > 1 or is_argmax(last.op)
    named = labels if several else ("rest", labels[0] if len(labels) == 1 else "found")

    def label(index: int) -> str:
        return named[index] if index < len(named) else f"class {index}"

    order = np.argsort(-counts, kind="stable")
    return tuple(Region(label(int(i)), int(i), float(counts[i] / classes.size)) for i in order if counts[i])
