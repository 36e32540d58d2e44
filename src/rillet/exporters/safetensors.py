"""The arrays of a graph as a safetensors file, one tensor for each `node.param`."""

import numpy as np
from safetensors.numpy import save

from rillet.errors import GraphError
from rillet.ir.graph import Graph


def to_bytes(graph: Graph) -> bytes:
    """The file; raises GraphError for a network without weights."""
    if not graph.params:
        raise GraphError(f"{graph.name}: must have weights for a safetensors file, got none")
    return weights_bytes(graph)


def weights_bytes(graph: Graph) -> bytes:
    """As `to_bytes`, and an empty file for a network without weights."""
    arrays = {name: np.ascontiguousarray(array) for name, array in graph.params.items()}
    return save(arrays, {"format": "rillet", "graph": graph.name})
