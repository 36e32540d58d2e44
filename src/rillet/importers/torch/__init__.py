"""PyTorch modules to graphs, through torch.export: float32, one image, batch norms as they stand in eval mode."""

import contextlib
import io
import logging
import sys
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.torch.operators import operator_rows, operator_table, supported_operators
from rillet.importers.torch.reader import read
from rillet.ir.graph import Graph, ImageSpec
from rillet.ir.types import Shape

__all__ = ["from_torch", "operator_rows", "operator_table", "supported_operators"]


def from_torch(
    module: nn.Module,
    example: torch.Tensor | Sequence[torch.Tensor],
    *,
    name: str | None = None,
    image: ImageSpec | None = None,
) -> Graph:
    """The graph of what `module` does in eval mode with an input like `example` (1xCxHxW, float32), weights included.

    Several examples are the arguments of a module that takes as many: the first a map, the others maps or 1xC.

    The module is traced by torch.export and left as it was. Nodes are sorted into blocks and named by their roles
    (`block3.expand`), except in a module that carries the Graph it was made of as its attribute `graph`, as those of
    rillet.train do: it gives back that graph's names, blocks and input contract.
    `image` says how a picture becomes the input; without it, as torchvision's ToTensor makes it, pixels / 255 (None
    where the input does not have 1 or 3 channels).
    Raises GraphError for an example of another kind, Unsupported for an operation that a graph has no op for, or a
    module that torch.export cannot trace, such as one with control flow that depends on values.
    """
    made_of = getattr(module, "graph", None)
    keep = made_of if isinstance(made_of, Graph) and len(made_of.input_nodes) == 1 else None
    name = name or (keep.name if keep else type(module).__name__)
    examples: list[object] = list(example) if isinstance(example, list | tuple) else [example]
    shapes = [_checked(name, one, others=i > 0) for i, one in enumerate(examples)]
    if not shapes:
        raise GraphError(f"{name}: example must be one image, a tensor of 1xCxHxW, got none")
    shape, keep = shapes[0], keep if len(shapes) == 1 else None
    program = _exported(name, module, tuple(examples))
    graph = read(program, name, shapes, keep) or read(program, name, shapes, None)
    assert graph is not None
    return graph.with_image(image or (_resized(keep.image, shape) if keep else _as_tensor(shape)))


def _checked(name: str, example: object, others: bool = False) -> Shape:
    """The shape of an example, which may be 1xC where it is one of the `others` behind the first."""
    if others and isinstance(example, torch.Tensor) and example.ndim == 2 and example.shape[0] == 1:
        example = example[:, :, None, None]
    if not isinstance(example, torch.Tensor) or example.ndim != 4 or example.shape[0] != 1:
        got = list(example.shape) if isinstance(example, torch.Tensor) else type(example).__name__
        raise GraphError(f"{name}: example must be one image, a tensor of 1xCxHxW, got {got}")
    if example.dtype != torch.float32:
        raise GraphError(f"{name}: example must be float32, got {str(example.dtype).removeprefix('torch.')}")
    _, channels, height, width = example.shape
    try:
        return Shape(height, width, channels)
    except RilletError as error:
        raise type(error)(f"{name}: example: {error}") from None


def _as_tensor(shape: Shape) -> ImageSpec | None:
    """The contract of torchvision's ToTensor: 0 to 1."""
    if shape.channels not in (1, 3):
        return None
    return ImageSpec(shape.height, shape.width, shape.channels, deviation=(255.0,))


def _resized(kept: ImageSpec | None, shape: Shape) -> ImageSpec | None:
    return None if kept is None else replace(kept, height=shape.height, width=shape.width)


# -- tracing -----------------------------------------------------------------------------------------------------------


def _exported(name: str, module: nn.Module, examples: tuple[Any, ...]) -> ExportedProgram:
    try:
        with _in_eval_mode(module), torch.no_grad(), _quiet():
            return torch.export.export(module, examples, strict=False)
    except Exception as error:  # the module's own code runs: anything may come out of it
        reason = " ".join(str(error).split("\n\n")[0].split()) or "no reason"
        raise Unsupported(
            f"{name}: must be a module that torch.export can trace with one image, got {type(error).__name__}: {reason}"
        ) from error


@contextlib.contextmanager
def _in_eval_mode(module: nn.Module) -> Generator[None]:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keeps back what torch.export prints of a trace that fails: the exception says it in a sentence."""
    log, said = logging.getLogger("torch.fx.experimental.symbolic_shapes"), io.StringIO()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(said):
            yield
        sys.stderr.write(said.getvalue())
    finally:
        log.setLevel(level)
