"""Rillet's own file: a zip of the text form and a safetensors file, versioned."""

import io
import zipfile

import numpy as np
from safetensors.numpy import save

from rillet.ir.graph import Graph
from rillet.ir.text import print_graph

VERSION = "rillet 1\n"
_DATE = (1980, 1, 1, 0, 0, 0)
"""The same for every file, so that equal graphs are equal files."""


def to_bytes(graph: Graph) -> bytes:
    """The file of a graph, with or without weights."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        members = {
            "version": VERSION.encode(),
            "graph.txt": print_graph(graph).encode(),
            # As the graph holds them, one array for each `node.param`.
            "weights.safetensors": save({name: np.ascontiguousarray(array) for name, array in graph.params.items()}),
        }
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    return out.getvalue()
