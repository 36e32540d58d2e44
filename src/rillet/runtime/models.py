"""What a user calls a MODEL: finds it, reads it, and gives it labels."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from rillet.errors import GraphError, Unsupported
from rillet.importers.tflite import Imported, load_with_tensors
from rillet.ir.graph import Graph

DEMO_MODELS = ("tf2_mobilenet_v2_1.0_224_ptq.tflite",)
"""Trained networks that the demonstration knows, in order of preference; found by file name."""
DEMO_PHOTOS = ("cat.bmp", "cat.jpg", "cat.png")
_MAX_LABEL_BYTES = 2**20
_DEPTH = 3


@dataclass(frozen=True)
class Model:
    """A graph with the file it came from."""

    path: Path
    imported: Imported

    @property
    def graph(self) -> Graph:
        """The network."""
        return self.imported.graph


def open_model(name: str | Path, labels: Path | None = None) -> Model:
    """The network that `name` means; labels from `labels`, the file's metadata, or a label file beside it.

    Raises GraphError for a file that is not one, Unsupported for kinds of files that Rillet does not read.
    """
    path = Path(name)
    if not path.exists():
        raise GraphError(f"{path}: must be a model file (.tflite), got no file")
    if path.is_dir():
        raise GraphError(f"{path}: must be a model file (.tflite), got a folder")
    if path.suffix.lower() != ".tflite":
        raise Unsupported(f"{path}: must be a .tflite file, got {path.suffix or 'no suffix'!r}")
    return Model(path, with_labels(load_with_tensors(path), path, labels))


def with_labels(imported: Imported, path: Path, labels: Path | None) -> Imported:
    """The same network with class labels, where they can be found."""
    graph = imported.graph
    if graph.image is None or (labels is None and graph.image.labels):
        return imported
    classes = graph.by_name[graph.outputs[0]].shape.elements
    if labels is not None:
        found = read_labels(labels)
        if len(found) != classes:
            raise GraphError(f"{labels}: must have a line for each of {classes} classes, got {len(found)}")
    else:
        found = _labels_beside(path, classes)
    return replace(imported, graph=graph.with_image(replace(graph.image, labels=found)))


def read_labels(path: Path) -> tuple[str, ...]:
    """The lines of a label file; raises GraphError where it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_LABEL_BYTES + 1)
    except OSError as error:
        raise GraphError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > _MAX_LABEL_BYTES:
        raise GraphError(f"{path}: label file must be at most {_MAX_LABEL_BYTES} bytes")
    return tuple(line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip())


def _labels_beside(path: Path, classes: int) -> tuple[str, ...]:
    for candidate in sorted(path.parent.glob("*label*.txt")):
        try:
            found = read_labels(candidate)
        except GraphError:
            continue
        if len(found) == classes:
            return found
    return ()


def model_folders() -> list[Path]:
    """The folders of $RILLET_MODELS that exist."""
    names = os.environ.get("RILLET_MODELS", "").split(os.pathsep)
    return [Path(name) for name in names if name and Path(name).is_dir()]


def demo() -> tuple[Path, Path]:
    """A trained network and a photograph out of $RILLET_MODELS; raises GraphError saying what to put where."""
    folders = model_folders()
    model = _find(folders, DEMO_MODELS)
    photo = _find(folders, DEMO_PHOTOS)
    if model is None or photo is None:
        missing = DEMO_MODELS[0] if model is None else DEMO_PHOTOS[0]
        raise GraphError(
            f"RILLET_MODELS must name a folder with {missing}, got {os.environ.get('RILLET_MODELS') or 'nothing'!r}; "
            "or give a model: rillet run MODEL.tflite IMAGE"
        )
    return model, photo


def _find(folders: list[Path], names: tuple[str, ...]) -> Path | None:
    for name in names:
        for folder in folders:
            for depth in range(_DEPTH):
                for found in sorted(folder.glob("*/" * depth + name)):
                    return found
    return None
