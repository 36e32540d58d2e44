"""Batched inference of a float graph in PyTorch, and its export as TorchScript."""

import io
import warnings
from typing import Any

import numpy as np
import torch

from rillet.ir.graph import Array, Graph
from rillet.ir.inputs import sole_input
from rillet.runtime.evaluate import Runner
from rillet.train.modules import to_module


def runner(graph: Graph) -> Runner:
    """Outputs of `graph` (its first) for inputs of height x width x channels, float32; raises as `to_module`, and
    Unsupported for a network of several inputs.
    """
    sole_input(graph, "for one picture an answer")
    module = to_module(graph).eval()

    def run(inputs: list[Array]) -> list[Array]:
        batch = torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            made = module(batch)
        first = made[0] if isinstance(made, tuple) else made
        maps = first[:, :, None, None] if first.ndim == 2 else first
        return list(maps.permute(0, 2, 3, 1).numpy())

    return run


def torch_script(graph: Graph, batch: int = 1) -> bytes:
    """The traced and frozen module of `graph` for `batch` images in eval mode, channels last; raises as `to_module`."""
    module: Any = to_module(graph).eval()
    module = module.to(memory_format=torch.channels_last)
    shapes = [node.shape for node in graph.input_nodes]
    zeros = (torch.zeros(batch, shape.channels, shape.height, shape.width) for shape in shapes)
    images = tuple(image.contiguous(memory_format=torch.channels_last) for image in zeros)
    out = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # TorchScript is called deprecated; what replaces it is slower here
        torch.jit.save(torch.jit.freeze(torch.jit.trace(module, images)), out)
    return out.getvalue()
