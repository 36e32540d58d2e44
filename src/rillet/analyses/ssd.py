"""SSD: boxes out of raw outputs, anchors and scores, as TensorFlow's `TFLite_Detection_PostProcess` makes them."""

import numpy as np
import numpy.typing as npt

from rillet.analyses.boxes import Box, Floats, named, overlaps
from rillet.analyses.classify import real_values
from rillet.ir.decoding import Decoding
from rillet.ir.graph import Array, Graph

Found = tuple[int, int, float]
"""An anchor, a class and its score."""


def decoding_of(graph: Graph) -> Decoding | None:
    """How a network's outputs become boxes; None where it has others than its contract is about."""
    found = graph.image.decoding if graph.image is not None else None
    if found is None or len(graph.input_nodes) != 1:
        return None
    sizes = [graph.by_name[name].shape.elements for name in dict.fromkeys(graph.outputs)]
    boxes = next((i + 1 for i in range(len(sizes)) if sum(sizes[: i + 1]) == 4 * len(found.anchors)), 0)
    rest, most = sum(sizes[boxes:]), len(found.anchors)
    return found if boxes and rest in (found.classes * most, (found.classes + 1) * most) else None


def find_boxes(
    graph: Graph, outputs: tuple[Array, ...], decoding: Decoding, labels: tuple[str, ...]
) -> tuple[Box, ...]:
    """What a detector found, the most certain first; `outputs` in the order of their names."""
    nodes = [graph.by_name[name] for name in dict.fromkeys(graph.outputs)]
    real = np.concatenate([real_values(node, array) for node, array in zip(nodes, outputs, strict=True)])
    count = len(decoding.anchors)
    corners, scores = _corners(real[: 4 * count].reshape(count, 4), decoding), real[4 * count :].reshape(count, -1)
    scores = scores[:, scores.shape[1] - decoding.classes :]  # the background, where there is one, is the first
    found = _by_class(corners, scores, decoding) if decoding.by_class else _together(corners, scores, decoding)
    boxes: list[Box] = []
    for anchor, which, score in found:
        top, left, bottom, right = (float(side) for side in corners[anchor])
        if np.isfinite([top, left, bottom, right]).all():
            boxes.append(Box(named(labels, which), score, left, top, right, bottom))
    return tuple(boxes)


def _corners(values: Floats, decoding: Decoding) -> Floats:
    """Top, left, bottom and right of each anchor's box, as shares of the input."""
    anchors = np.array(decoding.anchors)
    scaled = values / decoding.scales
    centre = scaled[:, :2] * anchors[:, 2:] + anchors[:, :2]
    with np.errstate(over="ignore", invalid="ignore"):
        half = 0.5 * np.exp(scaled[:, 2:]) * anchors[:, 2:]
    return np.concatenate([centre - half, centre + half], 1)


def _apart(corners: Floats, scores: Floats, decoding: Decoding, most: int) -> list[int]:
    """Anchors whose score is enough, the most certain first, without those that overlap one before them."""
    sure = np.flatnonzero(scores >= decoding.least_score)
    rest, out = sure[np.argsort(-scores[sure], kind="stable")], list[int]()
    while len(rest) and len(out) < most:
        out.append(int(rest[0]))
        rest = rest[1:][overlaps(corners[rest[0]], corners[rest[1:]]) <= decoding.overlap]
    return out


def _together(corners: Floats, scores: Floats, decoding: Decoding) -> list[Found]:
    """Suppression over all classes at once: an anchor counts by its most certain class."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, : min(decoding.classes_a_box, decoding.classes)]
    kept = _apart(corners, scores.max(1), decoding, decoding.most)
    found = [(anchor, int(which), float(scores[anchor, which])) for anchor in kept for which in order[anchor]]
    return found[: decoding.most * order.shape[1]]


def _by_class(corners: Floats, scores: Floats, decoding: Decoding) -> list[Found]:
    """Suppression class by class, the most certain of all kept."""
    found: list[Found] = []
    for which in range(decoding.classes):
        own: npt.NDArray[np.float64] = scores[:, which]
        found += [
            (anchor, which, float(own[anchor])) for anchor in _apart(corners, own, decoding, decoding.most_a_class)
        ]
    return sorted(found, key=lambda one: -one[2])[: decoding.most]
