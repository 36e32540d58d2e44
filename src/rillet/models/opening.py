"""What a user calls a MODEL: finds it, reads it, and gives it its input contract and labels."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.analyses.detectors import classes_of, detector_of, pixels_of
from rillet.errors import GraphError, Unsupported
from rillet.importers import rlt
from rillet.ir.graph import Graph, ImageSpec
from rillet.models import hub
from rillet.models import variants as spec
from rillet.models.specifier import Preprocessing, input_size, labels_beside, split
from rillet.system.extras import extra
from rillet.system.reading import LABEL_BYTES, read_bytes
from rillet.zoo import registry

if TYPE_CHECKING:
    from rillet.importers.tflite import Imported

SUFFIXES = (".tflite", ".onnx", ".rlt")
_KINDS = "a .tflite, .onnx or .rlt file, hub:NAME, or a network of the zoo such as mobilenet_v2"


@dataclass(frozen=True)
class Model:
    """A graph, and the file it came from as it stands there (None for a network of the zoo or a changed one)."""

    name: str
    graph: Graph
    path: Path | None = None
    imported: "Imported | None" = None


def open_model(
    name: str | Path,
    said: Preprocessing | None = None,
    progress: hub.Progress = hub.silent,
    weights: Path | None = None,
) -> Model:
    """The network that `name` means: a file, `hub:NAME`, or one of the zoo; `:key=value,...` behind changes it.

    `weights`: a checkpoint whose tensors are laid into a network of the zoo, before FuSe convolutions and the like.

    Labels come from the user, the file's metadata, the registry, or a label file beside the model, in this order.
    Raises GraphError for a file that is not one, Unsupported for kinds of files that Rillet does not read.
    """
    base, words = split(str(name))
    if "/" not in base and base in registry.NETWORKS and not Path(base).exists():
        graph = spec.zoo_network(base, words, weights)
        return Model(graph.name, _with_contract(graph, None, said or Preprocessing()))
    published = hub.find(base[4:]) if base.startswith("hub:") else None
    if published is not None and published.zoo is not None and weights is None:
        path = hub.fetch(published, progress)
        graph = spec.zoo_network(published.zoo, words, path)
        return Model(graph.name, _with_contract(graph, path, said or Preprocessing()))
    if weights is not None:
        raise GraphError(f"{base}: --weights must come with a network of the zoo; this model has its own")
    path = _find(base, progress)
    suffix, read = path.suffix.lower(), {key: words.pop(key) for key in ("input", "until") if key in words}
    size = input_size(str(name), read["input"]) if "input" in read else None
    if size is not None and suffix not in (".onnx", ".tflite"):
        raise GraphError(f"{path}: input must come with an .onnx or .tflite file that leaves its height and width open")
    if "until" in read and suffix not in (".onnx", ".tflite"):
        raise GraphError(f"{path}: until must come with a .tflite file or an .onnx file, whose tensors it names")
    imported = load_tflite(path, read) if suffix == ".tflite" else None
    graph = _with_contract(
        imported.graph if imported else _load(path, size, read.get("until")), path, said or Preprocessing()
    )
    if words:
        graph = spec.change(graph, words)
        return Model(graph.name, graph)
    return Model(str(path), graph, path, replace(imported, graph=graph) if imported else None)


def load_tflite(path: Path, words: Mapping[str, str]) -> "Imported":
    """A .tflite file, or the part and the size of it that the words `until` and `input` say."""
    from rillet.importers.tflite import load_with_tensors  # its schema takes a while to import

    size = input_size(f"{path}:input={words['input']}", words["input"]) if "input" in words else None
    return load_with_tensors(path, size, words.get("until"))


def _load(path: Path, size: tuple[int, int] | None, until: str | None) -> Graph:
    """A graph out of a file that is no .tflite; `size` and `until` as the importer of .onnx takes them."""
    match path.suffix.lower():
        case ".rlt":
            return rlt.load(path)
        case ".onnx":
            with extra("onnx"):
                from rillet.importers.onnx import load

            return load(path, size, until)
        case ".pt" | ".pth" | ".safetensors" | ".h5" | ".pytorch_state":
            raise Unsupported(f"{path}: holds weights alone: say a network of the zoo, and --weights {path.name}")
        case suffix:
            raise Unsupported(f"{path}: must be a .tflite, .onnx or .rlt file, got {suffix or 'no suffix'!r}")


def _find(base: str, progress: hub.Progress) -> Path:
    """The file that a name means; raises GraphError with what would be a model."""
    if base.startswith("hub:"):
        return hub.fetch(hub.find(base[4:]), progress)
    path = Path(base)
    if path.is_dir():
        raise GraphError(f"{path}: must be a model ({_KINDS}), got a folder")
    if not path.exists():
        if "/" in base or path.suffix.lower() in SUFFIXES:
            raise GraphError(f"{path}: must be a model ({_KINDS}), got no file")
        registry.find(base)
    return path


def _with_contract(graph: Graph, path: Path | None, said: Preprocessing) -> Graph:
    if graph.image is None:
        return graph
    return graph.with_image(_contract(graph, graph.image, path, said))


def _contract(graph: Graph, image: ImageSpec, path: Path | None, said: Preprocessing) -> ImageSpec:
    output = graph.by_name[graph.outputs[0]].shape
    detector = detector_of(graph)
    classes = classes_of(detector) or (output.channels if min(output.height, output.width) > 1 else output.elements)
    published = hub.known(path) if path else None
    if published is not None and published.mean is not None and published.deviation is not None:
        image = replace(image, mean=published.mean, deviation=published.deviation)
    if said.labels is not None:
        labels = read_labels(said.labels)
        if len(labels) != classes:
            raise GraphError(f"{said.labels}: must have a line for each of {classes} classes, got {len(labels)}")
    else:
        labels = image.labels or _published_labels(published, classes) or _labels_beside(path, classes)
    pixels = pixels_of(detector)
    if pixels is not None and image.mean == (0.0,) and image.deviation == (255.0,):
        image = replace(image, mean=pixels[:1], deviation=pixels[1:])
    return replace(
        image,
        labels=labels,
        resize=said.resize or image.resize,
        mean=said.mean or image.mean,
        deviation=said.deviation or image.deviation,
    )


def _published_labels(published: hub.Published | None, classes: int) -> tuple[str, ...]:
    if published is None:
        return ()
    labels = published.labels
    if published.labels_file is not None:
        path = hub.local(hub.registry()[published.labels_file])
        labels = read_labels(path) if path else ()
    if len(labels) == classes + 1:
        labels = labels[1:]  # the background
    return labels if len(labels) == classes else ()


def read_labels(path: Path) -> tuple[str, ...]:
    """The lines of a label file; raises GraphError where it cannot be read."""
    data = read_bytes(path, LABEL_BYTES, "a label file")
    return tuple(line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip())


def _labels_beside(path: Path | None, classes: int) -> tuple[str, ...]:
    for candidate in labels_beside(path) if path else ():
        try:
            found = read_labels(candidate)
        except GraphError:
            continue
        if len(found) == classes:
            return found
    return ()
