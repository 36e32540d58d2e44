"""Networks whose layers share arrays, drawn and made by hand, and the same without sharing."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck
from hypothesis import strategies as st
from torch import nn

from graphs import Builder, random_image
from rillet import from_torch
from rillet.backends import reference
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation, Add, BatchNorm, Conv, Input, Rounding
from rillet.ir.types import DType, Shape
from rillet.transforms.quantize import Quantization, Rule, quantize
from rillet.transforms.statistics import Calibration, observe

QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
CHANNELS = 4


@st.composite
def tied(draw: st.DrawFn, dtype: DType | None = None, norms: bool = False) -> Graph:
    """A chain of layers, some of whose arrays are those of earlier layers: all of a layer's, or some."""
    dtype = dtype or draw(st.sampled_from([DType.F32, DType.I8, DType.U8]))
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), dtype)
    at = b.add(Input(), shape=Shape(draw(st.integers(3, 7)), draw(st.integers(3, 7)), CHANNELS))
    shared: dict[str, str] = {}
    before: dict[str, list[str]] = {}
    for _ in range(draw(st.integers(2, 6))):
        kind = draw(st.sampled_from(["conv", "conv", "pointwise", "depthwise", *(["norm"] if norms else [])]))
        source, groups = at, CHANNELS if kind == "depthwise" else 1
        if kind == "norm":
            at = b.add(BatchNorm(draw(st.sampled_from([1e-3, 1e-5]))), at)
            for name in ("gamma", "beta", "mean", "variance"):
                b.params[f"{at}.{name}"] = b.rng.uniform(0.5, 1.5, CHANNELS).astype(np.float32)
        else:
            activation = draw(st.sampled_from([Activation.NONE, Activation.NONE, Activation.RELU]))
            kernel, rounding = (1, 1) if kind == "pointwise" else (3, 3), draw(st.sampled_from(ROUNDINGS))
            op = b.conv(CHANNELS, kernel, groups=groups, activation=activation, rounding=rounding)
            at = b.add(op, at)
        own = [key.removeprefix(f"{at}.") for key in b.params if key.startswith(f"{at}.")]
        if before.get(kind) and draw(st.booleans()):
            first, whole = draw(st.sampled_from(before[kind])), draw(st.booleans())
            shared |= {f"{at}.{name}": f"{first}.{name}" for name in own if whole or draw(st.booleans())}
        else:
            before.setdefault(kind, []).append(at)
        if draw(st.integers(0, 4)) == 0:
            at = b.add(Add(), at, source)
    if len(b.nodes) == 2 and norms:
        at = b.add(b.conv(CHANNELS), at)
    params = {key: array for key, array in b.params.items() if key not in shared}
    return Graph("tied", tuple(b.nodes), (at,), params, None, shared)


ROUNDINGS = [Rounding.SINGLE, Rounding.DOUBLE]


def copies(graph: Graph) -> Graph:
    """The same network without sharing."""
    return replace(graph, params=graph.arrays, shared={})


def same_values(one: Graph, other: Graph, seed: int = 0) -> None:
    image = random_image(one, seed)
    for left, right in zip(reference.outputs(one, image), reference.outputs(other, image), strict=True):
        assert np.array_equal(left, right)


def groups_of(graph: Graph) -> list[set[str]]:
    found: dict[str, set[str]] = {}
    for key, first in graph.shared.items():
        found.setdefault(first, {first}).add(key)
    return list(found.values())


class Twice(nn.Module):
    """One convolution three times."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(16, 16, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.c(torch.relu(self.c(x)))))


def twice() -> Graph:
    torch.manual_seed(0)
    return from_torch(Twice().eval(), torch.randn(1, 16, 8, 8))


def layers_of(graph: Graph) -> tuple[str, ...]:
    return tuple(node.name for node in graph.nodes if isinstance(node.op, Conv))


def quantized(graph: Graph) -> Graph:
    values = reference.run(graph, random_image(graph))
    seen = {name: observe(value) for name, value in values.items()}
    how = Quantization(Rule.FIXED_POINT, Calibration.MINMAX)
    return quantize(graph, seen, how)
