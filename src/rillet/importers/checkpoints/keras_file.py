"""Keras HDF5 files: whole models (`.h5`) and weights alone, as Keras 2 writes them and Keras 3 still can."""

from rillet.errors import GraphError, Unsupported
from rillet.importers.checkpoints.hdf5 import SIGNATURE, Group, Hdf5
from rillet.importers.checkpoints.records import Checkpoint, Decoder, shown
from rillet.ir.graph import Array

MAX_DEPTH = 8


def is_keras(data: bytes) -> bool:
    """True for an HDF5 file."""
    return data.startswith(SIGNATURE)


def parse_keras(data: bytes, name: str) -> Checkpoint:
    """The weights of a Keras file in the order of its layers, named `layer.kernel`.

    Raises GraphError for a broken file, Unsupported for HDF5 files that Keras does not write so.
    """
    file = Hdf5(data, name)
    root = file.group(file.root)
    wrapper = ("model_weights",) if "model_weights" in root.links else ()
    model = file.group(root.links[wrapper[0]]) if wrapper else root
    if not {"layer_names", "layer_names0"} & model.attributes.keys():
        raise Unsupported(f"{name}: must be an HDF5 file with Keras's layer_names, got none")
    decoder, tensors = Decoder(name), dict[str, Array]()
    for layer in _names(file, model, "layer_names"):
        group = _child(file, model, layer)
        weights = _names(file, group, "weight_names")
        leaves = [weight.rpartition("/")[2].partition(":")[0] for weight in weights]
        # A model within the model is one layer of many weights: then the weight's own folder names it.
        nested = len(set(leaves)) < len(leaves)
        for weight, leaf in zip(weights, leaves, strict=True):
            inner = weight.split("/")[-2:-1] if nested else []
            key = f"{inner[0] if inner else layer}.{leaf}"
            if key in tensors:
                raise GraphError(f"{name}: {shown(key)} must be there once, got it twice")
            tensors[key] = _array(file, group, weight, decoder)
    beside = root.links.keys() - {*wrapper} if wrapper else set[str]()
    extras = dict.fromkeys(sorted(beside), "group")
    return Checkpoint(name, tensors, "keras", True, wrapper, "", extras)


def _names(file: Hdf5, group: Group, attribute: str) -> tuple[str, ...]:
    """The texts of an attribute, which Keras cuts into `name0`, `name1` and so on where they are many."""
    if attribute in group.attributes:
        return file.texts(group.attributes[attribute])
    out: list[str] = []
    parts = 0
    while f"{attribute}{parts}" in group.attributes:
        out += file.texts(group.attributes[f"{attribute}{parts}"])
        parts += 1
    return tuple(out)


def _child(file: Hdf5, group: Group, name: str) -> Group:
    return file.group(_address(file, group, name))


def _address(file: Hdf5, group: Group, name: str) -> int:
    if name not in group.links:
        raise GraphError(f"{file.name}: must have {shown(name)}, got {len(group.links)} other entries in its group")
    return group.links[name]


def _array(file: Hdf5, group: Group, path: str, decoder: Decoder) -> Array:
    *folders, leaf = path.split("/")
    if len(folders) > MAX_DEPTH:
        raise GraphError(f"{file.name}: {shown(path)} must lie at most {MAX_DEPTH} groups deep, got {len(folders)}")
    for folder in folders:
        group = _child(file, group, folder)
    found = file.dataset(_address(file, group, leaf))
    return decoder.view(found.data, found.dtype, found.shape)
