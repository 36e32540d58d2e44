"""Rillet: convolutional networks as streams."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from rillet.ir.graph import Graph, ImageSpec

__version__ = "0.1.0"


def from_torch(
    module: "torch.nn.Module", example: "torch.Tensor", *, name: str | None = None, image: "ImageSpec | None" = None
) -> "Graph":
    """The graph of what `module` does in eval mode with an input like `example` (1xCxHxW, float32), weights included.

    See rillet.importers.torch.from_torch, which is imported (and PyTorch with it) at the first call.
    """
    from rillet.importers.torch import from_torch as convert

    return convert(module, example, name=name, image=image)
