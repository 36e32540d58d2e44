"""Batched inference of a float graph in PyTorch, and its export as TorchScript and by AOTInductor."""

import importlib
import io
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from rillet.errors import Unsupported
from rillet.ir.graph import Array, Graph
from rillet.ir.inputs import sole_input
from rillet.runtime.evaluate import Runner
from rillet.system.reading import read_bytes
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


def _channels_last(graph: Graph, batch: int) -> tuple[Any, tuple[torch.Tensor, ...]]:
    """The module of `graph` in eval mode, and `batch` images of zeros."""
    module: Any = to_module(graph).eval()
    shapes = [node.shape for node in graph.input_nodes]
    zeros = (torch.zeros(batch, shape.channels, shape.height, shape.width) for shape in shapes)
    images = tuple(image.contiguous(memory_format=torch.channels_last) for image in zeros)
    return module.to(memory_format=torch.channels_last), images


def aot_inductor(graph: Graph, batch: int = 1, threads: int = 1) -> bytes:
    """The package that AOTInductor makes of `graph` for `batch` images and so many threads: weights frozen, channels
    last, compiled by the system's C++ compiler. Takes some ten seconds. Raises as `to_module`, and Unsupported where it
    does not compile.
    """
    module, images = _channels_last(graph, batch)
    with (
        TemporaryDirectory(prefix="rillet-") as folder,
        _with_threads(threads),
        warnings.catch_warnings(),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        before = os.environ.get(_KEPT)
        os.environ[_KEPT] = folder
        try:
            inductor: Any = importlib.import_module("torch._inductor")  # it has no public name
            with importlib.import_module("torch._inductor.config").patch(freezing=True):
                exported = torch.export.export(module, images)
                made = inductor.aoti_compile_and_package(exported, package_path=str(Path(folder, "net.pt2")))
            return read_bytes(Path(made), _MOST_BYTES)
        except Exception as error:  # whatever its many layers raise
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise Unsupported(f"AOTInductor must compile the network, got: {reason}") from None
        finally:
            if before is None:
                os.environ.pop(_KEPT, None)
            else:
                os.environ[_KEPT] = before


_MOST_BYTES = 1 << 31
_KEPT = "TORCHINDUCTOR_CACHE_DIR"
"""Where it would keep what it compiles."""


@contextmanager
def _with_threads(count: int) -> Generator[None]:
    """PyTorch has so many meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def torch_script(graph: Graph, batch: int = 1, _threads: int = 1) -> bytes:
    """The traced and frozen module of `graph` for `batch` images in eval mode, channels last; raises as `to_module`."""
    module, images = _channels_last(graph, batch)
    out = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # TorchScript is called deprecated
        torch.jit.save(torch.jit.freeze(torch.jit.trace(module, images)), out)
    return out.getvalue()
