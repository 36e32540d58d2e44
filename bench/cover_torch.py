"""The parts of coverage.py for PyTorch's model collections: torchvision and timm, each name with drawn weights."""

import importlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from cover import Case, Found, Part
from torch import nn

import rillet
from rillet.backends import reference
from rillet.ir.graph import Graph
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.verify import random_inputs, verify
from rillet.transforms.fold import fold

MOST_PARAMETERS = 60_000_000
SIDES = (64, 128)
"""Pixels of an image's height and width: the first that the network takes, else its own."""
ROUNDINGS = 16
"""Rillet may be so many times as far from the network in float64 as PyTorch in float32 is: both only round."""
LEAST = 1e-6
"""Or so far, as a share of the output's greatest value."""
NOT_CONVOLUTIONAL = frozenset(
    (
        "beit",
        "cait",
        "coat",
        "convit",
        "crossvit",
        "davit",
        "deepseek_vit",
        "deit",
        "efficientformer",
        "efficientformer_v2",
        "efficientvim",
        "efficientvit_mit",
        "efficientvit_msra",
        "eva",
        "gcvit",
        "gemma4_vit",
        "hiera",
        "hieradet_sam2",
        "iformer",
        "levit",
        "lowformer",
        "maxxvit",
        "metaformer",
        "mlp_mixer",
        "mvitv2",
        "naflexvit",
        "nest",
        "nextvit",
        "pit",
        "pvt_v2",
        "qwen3_vit",
        "sequencer",
        "shvit",
        "swiftformer",
        "swin_transformer",
        "swin_transformer_v2",
        "swin_transformer_v2_cr",
        "tiny_vit",
        "tnt",
        "twins",
        "visformer",
        "vision_transformer",
        "vision_transformer_hybrid",
        "vision_transformer_relpos",
        "vision_transformer_sam",
        "vitamin",
        "volo",
        "xcit",
    )
)
"""Modules of timm whose networks are transformers or mixers; all others count as convolutional, attention or not."""


def of_torchvision(said: list[str]) -> Iterator[Case]:
    """The names of torchvision's classifiers, or those that are said."""
    models = importlib.import_module("torchvision.models")
    yield from _small(said or models.list_models(module=models), _torchvision)


def of_timm(said: list[str]) -> Iterator[Case]:
    """The names of timm's convolutional networks, or those that are said."""
    timm = importlib.import_module("timm")
    entry = importlib.import_module("timm.models").model_entrypoint
    names = [name for name in timm.list_models() if entry(name).__module__.rpartition(".")[2] not in NOT_CONVOLUTIONAL]
    yield from _small(said or names, _timm)


def _small(names: list[str], make: Callable[[str], nn.Module]) -> Iterator[Case]:
    """Those of at most MOST_PARAMETERS, made without their values."""
    for name in names:
        try:
            with torch.device("meta"):
                module = make(name)
        except NotImplementedError:  # some compute their widths with tensors
            module = make(name)
        if sum(parameter.numel() for parameter in module.parameters()) <= MOST_PARAMETERS:
            yield Case(name, name)


def _torchvision(name: str) -> nn.Module:
    models, more = importlib.import_module("torchvision.models"), {}
    if name in ("googlenet", "inception_v3"):
        more = {"init_weights": False}
    return models.get_model(name, weights=None, **more)


def _timm(name: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("timm").create_model(name, pretrained=False)


def _size(module: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of its images."""
    configured: Any = getattr(module, "pretrained_cfg", None) or {}
    channels, height, width = configured.get("input_size", (3, 224, 224))
    for side in () if configured.get("fixed_input_size") else SIDES:
        if _takes(module, channels, side):
            return channels, side, side
    return channels, height, width


def _takes(module: nn.Module, channels: int, side: int) -> bool:
    try:
        with torch.no_grad():
            module(torch.zeros(1, channels, side, side))
    except (RuntimeError, AssertionError, ValueError):  # what modules raise where an image is too small for them
        return False
    return True


def _drawn(module: nn.Module) -> nn.Module:
    """The module with batch norms as if trained: drawn statistics, scales and offsets."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:  # pyright: ignore[reportPrivateUsage]
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            if part.affine:
                with torch.no_grad():
                    part.weight.uniform_(0.5, 1.5)
                    part.bias.normal_(0, 0.1)
    return module.eval()


def _look(make: Callable[[str], nn.Module]) -> Callable[[str, Found, Callable[[], None]], None]:
    def look(place: str, found: Found, told: Callable[[], None]) -> None:
        torch.manual_seed(0)
        module = _drawn(make(place))
        size = _size(module)
        graph = rillet.from_torch(module, torch.zeros(1, *size), name=place)
        found.nodes, found.macs, found.kind, found.stage = len(graph.nodes), graph.macs, "float32", "comparing"
        told()
        if found.only_read:
            return
        found.difference = _difference(graph, module, found) or _difference_of_c(graph)

    return look


def _difference(graph: Graph, module: nn.Module, found: Found) -> str:
    """Where Rillet's reference is further from the network in float64 than rounding explains; empty where nowhere."""
    image = next(iter(random_inputs(graph, 1)))
    sample = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    seen = reference.run(graph, image)
    with torch.no_grad():
        single, exact = _outputs(module(sample)), _outputs(module.double()(sample.double()))
    found.against, found.rounding = "torch", 0.0
    for name, near, true in zip(graph.outputs, single, exact, strict=True):
        mine = seen[name].transpose(2, 0, 1).reshape(true.shape).astype(np.float64)
        allowed = ROUNDINGS * np.abs(near - true).max() + LEAST * np.abs(true).max()
        off = float(np.abs(mine - true).max())
        # Written so that a NaN is a difference.
        if not off <= allowed:
            return f"output {name} is off by {off:.3g} of at most {np.abs(true).max():.3g}, PyTorch by {allowed:.3g}"
        found.rounding = max(found.rounding, off / float(allowed))
    return ""


def _difference_of_c(graph: Graph) -> str:
    """Where the C program, whole or pushed, is not Rillet's reference; empty where nowhere."""
    done = verify(plan_rows(fold(graph)), 1, original=graph)
    return "" if done.first_difference is None else str(done.first_difference)


def _outputs(given: Any) -> list[np.ndarray]:
    if isinstance(given, torch.Tensor):
        return [given.numpy()]
    return [array for part in (given.values() if isinstance(given, dict) else given) for array in _outputs(part)]


_SAYS = f"""Names of at most {MOST_PARAMETERS // 10**6} million parameters, of images of {SIDES[0]} x {SIDES[0]} pixels,
or of the next size that they take; seeded weights, and batch norms with drawn statistics. The outputs of Rillet's
reference are compared with those of the module in float64: they may be off {ROUNDINGS} times what the module in float32
is, as weights that a module computes of others are float32 in a graph. The C program, with batch norms folded, whole
and pushed row by row, is compared with Rillet's reference."""
TORCHVISION = Part("torchvision's classifiers", _SAYS, of_torchvision, _look(_torchvision))
TIMM = Part("timm's convolutional networks", _SAYS, of_timm, _look(_timm))
