"""What outputs mean where the network says it: classes of a classifier, boxes of a detector, a map of classes."""

import re
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rillet.analyses.boxes import Box, in_picture
from rillet.analyses.classify import Class, classify, is_classifier
from rillet.analyses.detectors import detector_of, find_boxes
from rillet.analyses.regions import Region, class_map, is_segmentation, regions
from rillet.errors import Unsupported

if TYPE_CHECKING:
    from PIL.Image import Image

    from rillet.ir.graph import Array, Graph


_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST = 100
"""Characters of a file's name."""


@dataclass(frozen=True, slots=True)
class Findings:
    """At most one of these is there; none where outputs are numbers alone."""

    top: tuple[Class, ...] = ()
    boxes: tuple[Box, ...] | None = None
    """In pixels of the picture, or of the input where an array was given."""
    classes: "npt.NDArray[np.uint8] | None" = None
    """The class of each pixel of the output's map."""
    regions: tuple[Region, ...] = ()


def interpret(graph: "Graph", outputs: "tuple[Array, ...]", size: tuple[int, int] | None, count: int = 5) -> Findings:
    """What the outputs for one image say; size: width and height of the picture, None where an array was given."""
    detector = detector_of(graph)
    if detector is not None:
        resize = graph.image.resize if graph.image is not None and size is not None else "stretch"
        size = size or (graph.input_nodes[0].shape.width, graph.input_nodes[0].shape.height)
        found = find_boxes(graph, outputs, detector)
        return Findings(boxes=tuple(in_picture(box, size, resize) for box in found))
    if is_classifier(graph):
        return Findings(tuple(classify(graph, outputs[0], count)))
    if is_segmentation(graph):
        classes = class_map(graph, outputs[0])
        return Findings(classes=classes, regions=regions(graph, classes))
    return Findings()


def drawn(graph: "Graph", picture: "Image", found: Findings) -> "Image":
    """The picture with what was found in it; raises Unsupported where that is nothing that lies in a picture."""
    from rillet.data.overlay import draw_boxes, draw_classes

    if found.boxes is not None:
        return draw_boxes(picture, found.boxes)
    if found.classes is not None and graph.image is not None:
        return draw_classes(picture, found.classes, graph.image.resize)
    raise Unsupported(
        f"{graph.name}: outputs must be boxes of a known detector or a map of classes to be drawn, got "
        f"{' and '.join(str(graph.by_name[name].shape) for name in dict.fromkeys(graph.outputs))}; a map of several "
        "channels is one of classes where --labels names them"
    )


def as_files(graph: "Graph", outputs: "tuple[Array, ...]") -> dict[str, bytes]:
    """The outputs as .npy files, by names that every file system has: those of the outputs, else their numbers."""
    names = tuple(dict.fromkeys(graph.outputs))
    plain = [_UNSAFE.sub("_", name)[:_LONGEST].strip(".") for name in names]
    if not all(plain) or len({word.lower() for word in plain}) < len(plain):
        plain = [f"output{i + 1}" for i in range(len(names))]
    files: dict[str, bytes] = {}
    for word, array in zip(plain, outputs, strict=True):
        out = BytesIO()
        np.save(out, array, allow_pickle=False)
        files[f"{word}.npy"] = out.getvalue()
    return files
