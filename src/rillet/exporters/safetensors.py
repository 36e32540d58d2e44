"""The weights of a float graph as a safetensors file, with the names and layouts of PyTorch's state dictionaries."""

import numpy as np
from safetensors.numpy import save

from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Conv
from rillet.ir.types import DType

_LEAVES = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}


def to_bytes(graph: Graph) -> bytes:
    """The file: `block1.expand.weight` [out, in, rows, columns], dense ones [out, in], `block1.expand_bn.running_mean`.

    A tensor that layers share is there once; the metadata name it for each other layer, as those of safetensors' own
    `save_model` do.
    Raises GraphError for a network without weights, Unsupported for a quantised one (a .rlt file holds those).
    """
    if not graph.params:
        raise GraphError(f"{graph.name}: must have weights for a safetensors file, got none")
    arrays: dict[str, Array] = {}
    names: dict[str, str] = {}
    metadata = {"format": "pt"}
    for node in graph.nodes:
        for param in graph.node_params(node):
            if param.dtype is not DType.F32:
                raise Unsupported(f"{graph.name}: {node.name}: must be float for a safetensors file; .rlt holds all")
            array = graph.param(node, param.name)
            if isinstance(node.op, Conv) and param.name == "weight":
                array = array.transpose(0, 3, 1, 2)
                array = array.reshape(array.shape[0], -1) if node.op.dense else array
            own, name = f"{node.name}.{param.name}", f"{node.name}.{_LEAVES.get(param.name, param.name)}"
            names[own] = name
            first = names[graph.key(node, param.name)]
            if first != name and arrays[first].shape == array.shape:
                metadata[name] = first
            else:
                arrays[name] = np.ascontiguousarray(array)
    return save(arrays, metadata)
