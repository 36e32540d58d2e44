"""Seeded random weights for a network of the zoo, so that two of one shape can be run and compared."""

from dataclasses import replace

import numpy as np

from rillet.errors import Unsupported
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Conv
from rillet.ir.types import DType


def with_seeded_weights(graph: Graph, seed: int = 0) -> Graph:
    """The network with weights drawn by `seed`: He-normal kernels, batch norms with statistics near 0 and 1.

    Raises Unsupported for weights that are not float.
    """
    draw = np.random.default_rng(seed)
    params: dict[str, Array] = {}
    for node in graph.nodes:
        for param in graph.node_params(node):
            if param.dtype is not DType.F32:
                raise Unsupported(
                    f"{graph.name}: {node.name}: must have float weights to draw, got {param.dtype.value}"
                )
            if param.name == "weight" and isinstance(node.op, Conv):
                values = draw.normal(0.0, np.sqrt(2.0 / np.prod(param.shape[1:])), param.shape)
            elif param.name in ("gamma", "variance"):
                values = draw.uniform(0.8, 1.2, param.shape)
            else:
                values = draw.normal(0.0, 0.1, param.shape)
            params[f"{node.name}.{param.name}"] = values.astype(np.float32)
    return replace(graph, params=params)
