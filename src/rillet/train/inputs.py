"""Inputs of a network in training: pixels scaled by the input contract, and the precision of convolutions."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from rillet.ir.graph import Array, ImageSpec
from rillet.train.recipe import Recipe


def to_input(pixels: Array, spec: ImageSpec, device: torch.device, layout: torch.memory_format) -> Tensor:
    """The network's input for bytes of N x height x width x channels: brought to its size, scaled by its contract."""
    value = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float()
    size = (spec.height, spec.width)
    if value.shape[2:] != size:
        shrinks = value.shape[2] > size[0] or value.shape[3] > size[1]
        value = F.interpolate(value, size, mode="bilinear", antialias=shrinks)
    mean, deviation = (torch.tensor(v, device=device)[:, None, None] for v in (spec.mean, spec.deviation))
    return ((value - mean) / deviation).contiguous(memory_format=layout)


def precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """The element type in which convolutions are computed."""
    said = recipe.run.precision
    if said == "auto" and device.type == "cuda":
        said = "bf16" if torch.cuda.is_bf16_supported() else "f16"
    return {"auto": torch.float32, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[said]
