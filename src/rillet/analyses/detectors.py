"""Which detector a network is, and what its outputs say: those whose file says it, YOLOs, and MediaPipe's."""

from rillet.analyses import boxes, ssd, yolo
from rillet.analyses.boxes import Box, Detector
from rillet.analyses.yolo import Yolo
from rillet.ir.decoding import Decoding
from rillet.ir.graph import Array, Graph

Known = Decoding | Yolo | Detector


def detector_of(graph: Graph) -> Known | None:
    """The detector that a network is; None where nothing tells what its outputs mean."""
    return ssd.decoding_of(graph) or yolo.yolo_of(graph) or boxes.detector_of(graph)


def find_boxes(graph: Graph, outputs: tuple[Array, ...], detector: Known) -> tuple[Box, ...]:
    """What it found, the most certain first; `outputs` in the order of their names."""
    labels = graph.image.labels if graph.image is not None else ()
    match detector:
        case Decoding():
            return ssd.find_boxes(graph, outputs, detector, labels)
        case Yolo():
            return yolo.find_boxes(graph, outputs, detector, labels)
        case Detector():
            return boxes.find_boxes(graph, outputs, detector)


def classes_of(detector: Known | None) -> int | None:
    """How many classes have names of their own; None where it finds one kind of thing, or is no detector."""
    return detector.classes if isinstance(detector, Decoding | Yolo) else None


def pixels_of(detector: Known | None) -> tuple[float, float] | None:
    """Mean and deviation of the pixels that it was trained with; None where these are not known."""
    match detector:
        case Detector():
            return detector.mean, detector.deviation
        case Yolo():
            return 0.0, yolo.DEVIATIONS[detector.form]
        case _:
            return None
