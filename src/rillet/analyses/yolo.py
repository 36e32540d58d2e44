"""YOLO: a box for each place of maps of several scales, told by how such a network ends."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from rillet.analyses.boxes import Box, Floats, kept
from rillet.analyses.classify import real_values
from rillet.ir.facts import has_weights, is_concat, is_constant, is_product, is_requantization
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Activation


class Form(Enum):
    """What the channels of a place are."""

    DECODED = "decoded"
    """Centre, width and height in pixels of the input, and a probability a class (Ultralytics' YOLOv8 and later)."""
    RAW = "raw"
    """Centre from the place, logarithms of width and height, all in strides; a box's probability, and a class's (YOLOX,
    arXiv:2107.08430)."""


@dataclass(frozen=True, slots=True)
class Yolo:
    """A detector of this kind, and which boxes count."""

    form: Form
    classes: int
    least_score: float
    overlap: float = 0.45
    """Of two boxes of a class that share more than this of their union, the less certain one goes."""


_LEAST = {Form.DECODED: 0.25, Form.RAW: 0.3}
"""The default of `yolo predict`; that of YOLOX's demo."""
DEVIATIONS = {Form.DECODED: 255.0, Form.RAW: 1.0}
"""Of pixels 0 to 255, as the networks were trained."""


def yolo_of(graph: Graph) -> Yolo | None:
    """The detector that a network is; None for another one."""
    if len(graph.input_nodes) != 1:
        return None
    side = graph.input_nodes[0].shape
    found: set[tuple[Form | None, int]] = set()
    for name in dict.fromkeys(graph.outputs):
        node = graph.by_name[name]
        step = side.height // node.shape.height
        if (node.shape.height * step, node.shape.width * step) != (side.height, side.width) or step < 2:
            return None
        found.add(_form(graph, node, step))
    if len(found) != 1:
        return None
    form, classes = found.pop()
    return None if form is None else Yolo(form, classes, _LEAST[form])


def _form(graph: Graph, node: Node, step: int) -> tuple[Form | None, int]:
    """The form of one map of the outputs, and its classes; None and 0 where it has none."""
    made = _made(graph, node.name)
    parts = [_made(graph, name) for name in made.inputs] if is_concat(made.op) else []
    channels = [graph.by_name[name].shape.channels for name in made.inputs]
    if len(parts) not in (2, 3) or channels[0] != 4 or not all(_is_sigmoid(part) for part in parts[1:]):
        return None, 0
    if len(parts) == 3:
        raw = channels[1] == 1 and has_weights(parts[0].op)
        return (Form.RAW, channels[2]) if raw else (None, 0)
    factors = [one for one in (_made(graph, name) for name in parts[0].inputs) if is_constant(one.op)]
    scaled = is_product(parts[0].op) and len(factors) == 1 and graph.params
    decoded = scaled and bool((real_values(factors[0], graph.param(factors[0], "value")) == step).all())
    return (Form.DECODED, channels[1]) if decoded else (None, 0)


def _made(graph: Graph, name: str) -> Node:
    """The node that makes a value, looked at through requantisations."""
    node = graph.by_name[name]
    while is_requantization(node.op):
        node = graph.by_name[node.inputs[0]]
    return node


def _is_sigmoid(node: Node) -> bool:
    return getattr(node.op, "activation", None) is Activation.SIGMOID


def find_boxes(graph: Graph, outputs: tuple[Array, ...], detector: Yolo, labels: tuple[str, ...]) -> tuple[Box, ...]:
    """What a detector found, the most certain first; `outputs` in the order of their names."""
    side = graph.input_nodes[0].shape
    sides = np.array([side.width, side.height] * 2)
    boxes: list[Floats] = []
    scores: list[Floats] = []
    for name, array in zip(dict.fromkeys(graph.outputs), outputs, strict=True):
        node = graph.by_name[name]
        values = real_values(node, array).reshape(node.shape.array)
        step = side.height // node.shape.height
        boxes.append(_corners(values, detector.form, step).reshape(-1, 4) / sides)
        own = values[..., 4:]
        scores.append(
            (own if detector.form is Form.DECODED else own[..., 1:] * own[..., :1]).reshape(-1, detector.classes)
        )
    return kept(np.concatenate(boxes), np.concatenate(scores), detector.least_score, detector.overlap, labels)


def _corners(values: Floats, form: Form, step: int) -> Floats:
    """Left, top, right and bottom of each place's box in pixels of the input."""
    centre, size = values[..., :2], values[..., 2:4]
    if form is Form.RAW:
        rows, columns = np.meshgrid(*(np.arange(n) for n in values.shape[:2]), indexing="ij")
        centre = (centre + np.stack([columns, rows], -1)) * step
        with np.errstate(over="ignore"):
            size = np.exp(size) * step
    return np.concatenate([centre - size / 2, centre + size / 2], -1)
