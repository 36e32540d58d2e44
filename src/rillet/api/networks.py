"""Networks: loading, conversion from and to PyTorch, saving, and the reference's outputs."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn
from weakref import WeakKeyDictionary

from rillet.api import checks
from rillet.errors import GraphError, RilletWarning, Unsupported
from rillet.ir.graph import Array, Graph, ImageSpec, Node
from rillet.ir.text import print_graph as print_graph
from rillet.models.specifier import Preprocessing, split
from rillet.report.progress import Advance, shown

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from rillet.importers.supported import Rows
    from rillet.importers.tflite import Imported
    from rillet.ir.inputs import Inputs
    from rillet.models.hub import Published
    from rillet.models.opening import Model
    from rillet.report.card import Card
    from rillet.train.modules import TorchNetwork
    from rillet.zoo.registry import Described

    Given = str | PathLike[str] | Array | Image
    """One input as a caller may give it."""

FORMATS = ("tflite", "onnx", "torch")
"""What `operators` may be asked for."""

_files: WeakKeyDictionary[Graph, tuple[Path, dict[str, str]]] = WeakKeyDictionary()
"""The files of graphs that are as they stand there, so that another runtime can be asked about the same network; and
the words that say which part of the file is read, and at what size.
"""
_said: WeakKeyDictionary[Graph, tuple[str, tuple[str, ...]]] = WeakKeyDictionary()
"""What was said for graphs as MODEL, and the options that make the same of it."""


def load(
    name: "str | PathLike[str]",
    *,
    weights: "str | PathLike[str] | None" = None,
    labels: "str | PathLike[str] | None" = None,
    resize: str | None = None,
    mean: Sequence[float] | float | None = None,
    deviation: Sequence[float] | float | None = None,
    progress: Advance | None = None,
) -> Graph:
    """Loads a network from a file (.tflite, .onnx, .rlt), `hub:NAME`, or the zoo (`NAME:key=value,...`).

    weights: a checkpoint for a network of the zoo. labels, resize, mean, deviation: preprocessing of pictures, where
    the model has none or a wrong one. progress: called with bytes done and in total, where a file is downloaded.
    Raises GraphError for an invalid model, Unsupported for an operator or a type that Rillet does not handle.

    >>> import rillet
    >>> rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10").outputs
    ('head.logits',)
    """
    if not isinstance(name, str):
        name = checks.path(name, "model")
    label_file = None if labels is None else checks.path(labels, "labels")
    checkpoint = None if weights is None else checks.path(weights, "weights")
    said = Preprocessing(label_file, resize, _numbers(mean), _numbers(deviation))
    with shown("downloading", progress, at_once=False) as advance:
        return opened(name, said, checkpoint, advance).graph


def opened(
    name: str | Path,
    said: Preprocessing | None = None,
    weights: Path | None = None,
    progress: Advance | None = None,
) -> "Model":
    """As `load`: the graph, and the file that it came from."""
    from rillet.models.opening import open_model

    model = open_model(name, said, *(() if progress is None else (progress,)), weights=weights)
    words = split(str(name))[1]
    if model.graph.params and "seed" not in words and {"fuse", "strides", "classes"} & words.keys():
        changed = ", ".join(f"{key}={word}" for key, word in words.items() if key in ("fuse", "strides", "classes"))
        sentence = (
            f"{model.name}: {changed} replaced layers; the accuracy of the loaded weights no longer applies, "
            "retrain with rillet train"
        )
        warn(RilletWarning(sentence), stacklevel=3)
    if model.path is not None:
        _files[model.graph] = (model.path, words)
    if weights is None:
        _said[model.graph] = str(name), ()
    return model


def file_of(net: Graph) -> Path | None:
    """The file that a graph was loaded from, if it is as it stands there."""
    return _files[net][0] if net in _files else None


def until_of(net: Graph) -> str | None:
    """The tensors up to which a graph's file was read, where that is not the whole."""
    return _files[net][1].get("until") if net in _files else None


def imported_of(net: Graph) -> "Imported | None":
    """What a graph's .tflite file says of it, if it was loaded from one and is as it stands there."""
    from rillet.models.opening import load_tflite

    path, words = _files.get(net, (None, {}))
    return load_tflite(path, words) if path is not None and path.suffix.lower() == ".tflite" else None


def said(net: Graph) -> tuple[str, tuple[str, ...]] | None:
    """The MODEL that a graph was loaded as, and the options that make the same of it, if it is known."""
    return _said.get(net)


def keep_said(net: Graph, source: Graph, option: str) -> None:
    """`net` is what the commands make of `source` under an option."""
    if source in _said:
        model, options = _said[source]
        _said[net] = model, (*options, option)


def keep_file(net: Graph, source: Graph) -> Graph:
    """`net`, which computes what `source` does: another runtime may be asked about it by the same file."""
    if source in _files:
        _files[net] = _files[source]
    return net


def from_torch(
    module: "torch.nn.Module",
    example: "torch.Tensor | Sequence[torch.Tensor]",
    *,
    name: str | None = None,
    image: ImageSpec | None = None,
) -> Graph:
    """Converts a PyTorch module, traced in eval mode on `example` (1xCxHxW, float32), to a graph with its weights.

    Of a module of several arguments, one example each: the first a map, the others maps or 1xC.

    Raises Unsupported without PyTorch, and for operators that Rillet lacks (docs/torch.md).

    >>> import rillet, torch
    >>> layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> rillet.from_torch(layers, torch.zeros(1, 3, 8, 8)).macs
    3888
    """
    from rillet.system.extras import extra

    with extra("torch"):
        from rillet.importers.torch import from_torch as convert

    return convert(module, example, name=name, image=image)


def to_torch(net: Graph) -> "TorchNetwork":
    """Converts a network to a PyTorch module on N x C x H x W for each input; weights are random where it has none.

    Raises Unsupported without PyTorch, and for networks that are not float32.

    >>> import rillet, torch
    >>> module = rillet.to_torch(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10"))
    >>> module.eval()(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """
    from rillet.system.extras import extra

    net = checks.graph(net)
    with extra("torch"):
        from rillet.train.modules import to_module

    return to_module(net)


def save(net: Graph, path: "str | PathLike[str]") -> int:
    """Writes a network as .rlt, .onnx, .tflite or .safetensors, by the suffix; returns the file's size in bytes.

    Raises GraphError for another suffix, BuildError where the file cannot be written.

    >>> import rillet
    >>> rillet.save(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10"), "net.rlt") > 10_000
    True
    """
    from rillet.models.convert import convert

    return convert(checks.graph(net), checks.path(path, "path"))


def operators(format: str) -> "Rows":
    """The operators that an importer reads: name, the op that it becomes in a graph, and its limits.

    format: `tflite`, `onnx` or `torch`. Raises Unsupported for another, and where the importer's extra is missing.

    >>> from rillet.api.networks import operators
    >>> operators("tflite")[0][0]
    'ADD'
    """
    from rillet.system.extras import extra

    match format:
        case "tflite":
            from rillet.importers import tflite as importer
        case "onnx":
            with extra("onnx"):
                from rillet.importers import onnx as importer
        case "torch":
            with extra("torch"):
                from rillet.importers import torch as importer
        case _:
            raise Unsupported(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    return importer.operator_rows()


def reference(net: Graph, image: "Given | Sequence[Given] | Mapping[str, Given]") -> tuple[Array, ...]:
    """The outputs of the NumPy reference for one image, with which every program and backend must agree.

    image: as for `Program`. Raises GraphError for a network without weights, and for an invalid input.

    >>> import numpy, rillet
    >>> net = rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10")
    >>> rillet.reference(net, numpy.zeros((32, 32, 3), numpy.float32))[0].shape
    (1, 1, 10)
    """
    from rillet.backends.reference import outputs

    net = with_weights(checks.graph(net))
    return tuple(outputs(net, as_inputs(net, image)))


def models(pattern: str = "*") -> tuple[str, ...]:
    """Names of networks that match a pattern: the zoo's, and trained ones (`hub:NAME`), as `load` takes them.

    >>> import rillet
    >>> rillet.models("mobilenet_v3*")
    ('mobilenet_v3_large', 'mobilenet_v3_small')
    """
    from rillet.models import hub
    from rillet.zoo.registry import NETWORKS

    names = (*NETWORKS, *(f"hub:{entry.name}" for entry in hub.models()))
    return tuple(name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"hub:{pattern}"))


def save_text(path: Path, text: str) -> None:
    """A text file; raises BuildError where it cannot be written."""
    from rillet.system.files import write_file

    write_file(path, text.encode())


def with_weights(net: Graph) -> Graph:
    """The graph, if it can run; raises GraphError with what would."""
    if not net.params and any(net.node_params(node) for node in net.nodes):
        from rillet.models.hub import registry

        joint = "," if "=" in net.name else ":"
        trained = f"hub:{net.name} is trained" if net.name in registry() else "a trained network"
        raise GraphError(f"{net.name}: must have weights to run: {trained}, or {net.name}{joint}seed=0 for drawn ones")
    return net


def as_input(net: Graph, image: "str | PathLike[str] | Array | Image") -> Array:
    """The input of a network: an array as it stores it (or a .npy file of one), else a picture made to fit.

    Raises GraphError for what is neither.
    """
    import numpy as np

    node = net.input_nodes[0]
    # First, and before anything is imported: a small network takes some microseconds.
    if isinstance(image, np.ndarray) and image.dtype == node.type.dtype.numpy and image.shape == node.shape.array:
        return image
    from PIL import Image as Pillow

    from rillet.data import images

    if isinstance(image, str | PathLike):
        path = Path(image)
        return images.load_array(path, net) if path.suffix.lower() == ".npy" else images.load_input(path, net)
    if isinstance(image, Pillow.Image):
        return images.as_input(images.fit(image, images.contract(net)), net)
    given: Any = image
    if not isinstance(given, np.ndarray):
        wanted = f"an array of {node.type.dtype.value} of {node.shape}, a picture's path or a PIL image"
        raise GraphError(f"{net.name}: input must be {wanted}, got {type(given).__name__}")
    array: Array = given
    if array.dtype == np.uint8 and net.image is not None and array.ndim in (2, 3) and array.size:
        pixels = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
        if pixels.ndim == 2 or pixels.shape[2] in (3, 4):
            return images.as_input(images.fit(Pillow.fromarray(pixels), net.image), net)
    raise GraphError(
        f"{net.name}: input must be {node.type.dtype.value} of {node.shape}, or pixels of uint8, got {array.dtype} of "
        f"{'x'.join(map(str, array.shape)) or 'no shape'}"
    )


def as_inputs(net: Graph, given: "Given | Sequence[Given] | Mapping[str, Given]") -> "Inputs":
    """The inputs of a network: of one, as `as_input`; of several, one for each, in their order or by name.

    Each is an array as the network stores it, or a .npy file of one; the first may be a picture. Raises GraphError.
    """
    nodes = net.input_nodes
    if len(nodes) == 1 and not isinstance(given, Mapping):
        one: Any = given
        return as_input(net, one)
    names = [node.name for node in nodes]
    wanted = f"{len(nodes)}, of {', '.join(f'{node.name} {node.shape}' for node in nodes)}"
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise GraphError(f"{net.name}: inputs must be {wanted}, got {', '.join(map(str, given)) or 'none'}")
        parts: list[Any] = [given[name] for name in names]
    else:
        parts = list(given) if isinstance(given, list | tuple) else [given]
    if len(parts) != len(nodes):
        raise GraphError(f"{net.name}: inputs must be {wanted}, got {len(parts)}")
    first, *others = parts
    rest = zip(nodes[1:], others, strict=True)
    return {names[0]: as_input(net, first)} | {node.name: _as_other(net, node, one) for node, one in rest}


def _as_other(net: Graph, node: Node, given: "Given") -> Array:
    """An input that is no picture, for `by_input` to check; raises GraphError for what is no array."""
    import numpy as np

    from rillet.data.images import load_array

    if isinstance(given, str | PathLike) and Path(given).suffix.lower() == ".npy":
        return load_array(Path(given), net, node)
    if not isinstance(given, np.ndarray):
        got = str(given) if isinstance(given, str | PathLike) else type(given).__name__
        raise GraphError(f"{net.name}: input {node.name} must be an array or a .npy file, got {got}")
    return given


def as_picture(image: "str | PathLike[str] | Array | Image") -> "Image | None":
    """The picture that `as_input` makes fit, None for an array as a network stores it; raises GraphError for none."""
    import numpy as np
    from PIL import Image as Pillow

    from rillet.data import images

    if isinstance(image, str | PathLike):
        path = Path(image)
        return None if path.suffix.lower() == ".npy" else images.load_picture(path)
    if isinstance(image, Pillow.Image):
        return image
    pixels = np.squeeze(image, 2) if image.ndim == 3 and image.shape[2] == 1 else image
    return Pillow.fromarray(pixels) if image.dtype == np.uint8 else None


def _numbers(said: Sequence[float] | float | None) -> tuple[float, ...] | None:
    if said is None:
        return None
    return (float(said),) if isinstance(said, int | float) else tuple(map(float, said))


def published() -> "list[tuple[Published, Path | None]]":
    """Published trained networks, and where each lies here; None where it must be downloaded."""
    from rillet.models import hub

    return [(entry, hub.local(entry)) for entry in hub.models()]


def card(name: str, progress: Advance | None = None) -> "Card":
    """The card of a published network: what it was trained on and how, its accuracy and the command that measures it,
    its licence; and, where its file is on this machine, what it costs on every board.

    name: with or without `hub:`. progress: called with boards planned for and their number. Raises GraphError, with the
    nearest, for one that is not published.

    >>> import rillet
    >>> made = rillet.card("mobilenet_v2_cifar10")
    >>> made.published.measured_by
    'rillet evaluate hub:mobilenet_v2_cifar10 --data cifar10:DIR --check'
    """
    from rillet.models import hub
    from rillet.models.opening import open_model
    from rillet.report.card import card as made_of

    entry = hub.find(name.removeprefix("hub:"))
    path = hub.local(entry)
    graph = None if path is None else open_model(f"hub:{entry.name}").graph
    with shown("planning", progress) as advance:
        return made_of(entry, path, graph, advance)


def zoo_networks() -> "list[Described]":
    """The networks of the zoo with their parameters."""
    from rillet.zoo.registry import NETWORKS, described

    return [described(network) for network in NETWORKS.values()]
