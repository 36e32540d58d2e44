"""Boxes, the suppression of overlaps, and MediaPipe's detectors: anchors and decoding."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.analyses.classify import real_values
from rillet.ir.graph import Array, Graph
from rillet.ir.types import Shape

Floats = npt.NDArray[np.float64]
MOST_CANDIDATES = 4096
"""Boxes that are compared with each other, the most certain ones."""
_MOST_LOGIT = 100.0
"""Scores are clipped to this before the sigmoid, as the source does."""


@dataclass(frozen=True, slots=True)
class Box:
    """One thing found. Places are shares of the input's width and height, 0 to 1 from the left and from the top."""

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float
    points: tuple[tuple[float, float], ...] = ()
    """Key points such as eyes, each (x, y), in the order of the network."""


@dataclass(frozen=True, slots=True)
class Detector:
    """A family of detectors with anchors of one size, told by its shapes: what its files do not say themselves.

    A place of a map of scores has an anchor a channel, at the middle of the place. A box is x, y, width, height and
    key points in pixels of the input, x and y from the anchor.
    """

    label: str
    side: int
    """Height and width of the input, and the unit of the boxes."""
    maps: tuple[tuple[int, int], ...]
    """Side of each map of scores, and its anchors a place."""
    points: int
    """Key points of a box."""
    least_score: float
    mean: float
    deviation: float
    """The real input is (pixel - mean) / deviation."""
    overlap: float = 0.3
    """Boxes that share more than this of their union are one."""

    @property
    def values(self) -> int:
        """Numbers of a box."""
        return 4 + 2 * self.points


DETECTORS = (
    Detector("face", 128, ((16, 2), (8, 6)), 6, 0.5, 127.5, 127.5),
    Detector("face", 192, ((48, 1),), 6, 0.6, 127.5, 127.5),
    Detector("palm", 192, ((24, 2), (12, 6)), 7, 0.5, 0.0, 255.0),
    Detector("person", 224, ((28, 2), (14, 2), (7, 6)), 4, 0.5, 127.5, 127.5),
)
"""MediaPipe's: numbers of the graphs in its package (modules/*/*_detection*.binarypb, version 0.10.14)."""


def detector_of(graph: Graph) -> Detector | None:
    """The detector that has a network's shapes, its maps of boxes before those of scores; None where none has."""
    if len(graph.input_nodes) != 1:
        return None
    outputs = [graph.by_name[name].shape for name in dict.fromkeys(graph.outputs)]
    for one in DETECTORS:
        scores = [Shape(side, side, anchors) for side, anchors in one.maps]
        boxes = [Shape(side, side, anchors * one.values) for side, anchors in one.maps]
        if graph.input_nodes[0].shape == Shape(one.side, one.side, 3) and outputs == [*boxes, *scores]:
            return one
    return None


def find_boxes(graph: Graph, outputs: tuple[Array, ...], detector: Detector) -> tuple[Box, ...]:
    """What a detector found, the most certain first; `outputs` in the order of their names."""
    nodes = [graph.by_name[name] for name in dict.fromkeys(graph.outputs)]
    real = [real_values(node, array) for node, array in zip(nodes, outputs, strict=True)]
    count = len(detector.maps)
    found: list[Floats] = []
    for (side, anchors), values, logits in zip(detector.maps, real[:count], real[count:], strict=True):
        found.append(_decoded(values, logits, side, anchors, detector))
    return tuple(_as_box(row, detector.label) for row in merged(np.concatenate(found), detector.overlap))


def _decoded(values: Floats, logits: Floats, side: int, anchors: int, detector: Detector) -> Floats:
    """Rows of score, left, top, right, bottom and key points in shares of the input, of one map's certain boxes."""
    scores = 1 / (1 + np.exp(-np.clip(logits, -_MOST_LOGIT, _MOST_LOGIT)))
    rows = values.reshape(-1, detector.values) / detector.side
    kept = np.flatnonzero(scores >= detector.least_score)
    place = kept // anchors
    centre = np.stack([place % side + 0.5, place // side + 0.5], -1) / side
    rows = rows[kept]
    middle, half = rows[:, :2] + centre, rows[:, 2:4] / 2
    points = rows[:, 4:].reshape(len(rows), detector.points, 2) + centre[:, None]
    return np.concatenate(
        [scores[kept, None], middle - half, middle + half, points.reshape(len(rows), 2 * detector.points)], 1
    )


def merged(rows: Floats, overlap: float) -> list[Floats]:
    """Rows as `_decoded` makes them, those that overlap averaged by their scores, under the best one's score.

    The weighted suppression of BlazeFace (Bazarevsky et al., 2019, arXiv:1907.05047, section 3.3).
    """
    rest = rows[np.argsort(-rows[:, 0], kind="stable")]
    out: list[Floats] = []
    while len(rest):
        shared = overlaps(rest[0, 1:5], rest[:, 1:5]) > overlap
        shared[0] = True
        group = rest[shared]
        mean = (group[:, :1] * group).sum(0) / group[:, 0].sum()
        out.append(np.concatenate([group[0, :1], mean[1:]]))
        rest = rest[~shared]
    return out


def kept(
    corners: Floats, scores: Floats, least_score: float, overlap: float, labels: tuple[str, ...]
) -> tuple[Box, ...]:
    """The boxes that are certain enough, the most certain first, without those that overlap one of their class.

    corners: left, top, right and bottom of each, as shares of the input. scores: boxes x classes.
    """
    finite = np.asarray(np.isfinite(corners).all(1))
    place, which = np.nonzero((scores >= least_score) & finite[:, None])
    sure = scores[place, which]
    rest, out = np.argsort(-sure, kind="stable")[:MOST_CANDIDATES], list[Box]()
    while len(rest):
        best, rest = rest[0], rest[1:]
        box = corners[place[best]]
        left, top, right, bottom = (float(side) for side in box)
        out.append(Box(named(labels, int(which[best])), float(sure[best]), left, top, right, bottom))
        shared = overlaps(box, corners[place[rest]]) > overlap
        rest = rest[~(shared & (which[rest] == which[best]))]
    return tuple(out)


def named(labels: tuple[str, ...], index: int) -> str:
    """What a class is called."""
    return labels[index] if index < len(labels) else f"class {index}"


def overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of a box with each of others."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.clip(sides, 0, None).prod(1)
    whole = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - both
    return np.where(whole > 0, both / np.where(whole > 0, whole, 1), 0.0)


def _as_box(row: Floats, label: str) -> Box:
    score, left, top, right, bottom, *points = (float(value) for value in row)
    return Box(label, score, left, top, right, bottom, tuple(zip(points[::2], points[1::2], strict=True)))


def in_picture(box: Box, size: tuple[int, int], resize: str) -> Box:
    """A box in pixels of the picture of this width and height that was made to fit as `resize` says."""
    left, top, width, height = shown_part(size, resize)

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * width, top + y * height

    corners = *at(box.left, box.top), *at(box.right, box.bottom)
    return Box(box.label, box.score, *corners, tuple(at(*point) for point in box.points))


def shown_part(size: tuple[int, int], resize: str) -> tuple[int, int, int, int]:
    """Left, top, width and height of the part of a picture (width, height) that a network is shown."""
    if resize != "crop":
        return 0, 0, *size
    side = min(size)
    return (size[0] - side) // 2, (size[1] - side) // 2, side, side
