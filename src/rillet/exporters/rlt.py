"""Rillet's own file: a zip of the text form and a safetensors file, versioned.

An array that layers share is there once; the text says whose it is besides.

Ternary and binary weights lie packed (ir/packed.py): `node.weight.planes`, or `node.weight.lists` if these are smaller.
"""

import io
import zipfile

import numpy as np
from safetensors.numpy import save

from rillet.ir.graph import Array, Graph
from rillet.ir.packed import to_smallest
from rillet.ir.text import print_graph
from rillet.ir.types import DType

PLAIN, PACKED, SHARED, DECODING = "rillet 1\n", "rillet 2\n", "rillet 3\n", "rillet 4\n"
"""Versions: the second has packed weights, the third shared ones, the fourth a detector's decoding, which readers of
those before do not know."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""The same for every file, so that equal graphs are equal files."""


def to_bytes(graph: Graph) -> bytes:
    """The file of a graph, with or without weights."""
    low = _low_bit(graph)
    decoded = graph.image is not None and graph.image.decoding is not None
    version = DECODING if decoded else SHARED if graph.shared else PACKED if low else PLAIN
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        members = {
            "version": version.encode(),
            "graph.txt": print_graph(graph).encode(),
            # As the graph holds them, each array once, under its first `node.param`.
            "weights.safetensors": save(_arrays(graph, low)),
        }
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    return out.getvalue()


def _low_bit(graph: Graph) -> dict[str, DType]:
    """Names and types of the weights that are packed."""
    params = ((node, param) for node in graph.nodes for param in graph.own_params(node) if graph.params)
    return {
        f"{node.name}.{param.name}": param.dtype
        for node, param in params
        if param.dtype in (DType.TERNARY, DType.BINARY)
    }


def _arrays(graph: Graph, low: dict[str, DType]) -> dict[str, Array]:
    out: dict[str, Array] = {}
    for name, array in graph.params.items():
        if name in low:
            how, data = to_smallest(array.reshape(len(array), -1).astype(np.int8), low[name])
            out[f"{name}.{how}"] = data
        else:
            out[name] = np.ascontiguousarray(array)
    return out
