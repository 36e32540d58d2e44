"""Runs a float graph by PyTorch, many images at once."""

import numpy as np
import torch

from rillet.ir.graph import Array, Graph
from rillet.runtime.evaluate import Runner
from rillet.train.modules import to_module


def runner(graph: Graph) -> Runner:
    """Outputs of `graph` (its first) for inputs of height x width x channels, float32; raises as `to_module`."""
    module = to_module(graph).eval()

    def run(inputs: list[Array]) -> list[Array]:
        batch = torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            made = module(batch)
        first = made[0] if isinstance(made, tuple) else made
        maps = first[:, :, None, None] if first.ndim == 2 else first
        return list(maps.permute(0, 2, 3, 1).numpy())

    return run
