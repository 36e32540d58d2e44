"""What a detector's raw outputs mean, where its file says it: boxes from anchors, and which of them count."""

import math
from dataclasses import dataclass

from rillet.errors import GraphError

MAX_ANCHORS = 2**18
MAX_CLASSES = 2**16


@dataclass(frozen=True, slots=True)
class Decoding:
    """How boxes and scores are made of an SSD's outputs (arXiv:1512.02325): as by `TFLite_Detection_PostProcess`.

    The outputs, one behind another, are four numbers an anchor (y, x, height, width), then a probability for each
    class of each anchor.
    """

    anchors: tuple[tuple[float, float, float, float], ...]
    """Of each y, x, height and width, as shares of the input."""
    scales: tuple[float, float, float, float]
    """What y, x, height and width of the outputs are divided by."""
    classes: int
    """Classes, the background not counted."""
    least_score: float
    overlap: float
    """Of two boxes that share more than this of their union the less certain one goes."""
    most: int
    """Boxes at most."""
    classes_a_box: int = 1
    """Classes that one anchor may have, the most certain first; for suppression over all classes at once."""
    by_class: bool = False
    """Whether boxes of different classes may overlap."""
    most_a_class: int = 100
    """Boxes of a class at most; for suppression by class."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.anchors) <= MAX_ANCHORS or any(len(anchor) != 4 for anchor in self.anchors):
            raise GraphError(f"anchors must be 1 to {MAX_ANCHORS} of four numbers, got {len(self.anchors)}")
        numbers = (*(n for anchor in self.anchors for n in anchor), *self.scales, self.least_score, self.overlap)
        if not all(map(math.isfinite, numbers)) or len(self.scales) != 4 or not all(self.scales):
            raise GraphError(f"anchors, scores and scales must be finite numbers, scales not 0, got {self.scales[:4]}")
        if not 1 <= self.classes <= MAX_CLASSES:
            raise GraphError(f"classes must be 1 to {MAX_CLASSES}, got {self.classes}")
        for name in ("most", "classes_a_box", "most_a_class"):
            if not 1 <= getattr(self, name) <= MAX_ANCHORS:
                raise GraphError(f"{name} must be 1 to {MAX_ANCHORS}, got {getattr(self, name)}")
