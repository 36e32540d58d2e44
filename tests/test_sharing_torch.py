"""Shared arrays and PyTorch: one parameter read as one array, and trained as one."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from torch import nn

from conftest import example_counts
from graphs import Builder
from rillet import from_torch
from rillet.analyses.count import count
from rillet.ir.graph import Graph
from rillet.ir.ops import BatchNorm, Conv, Input, Window
from rillet.ir.types import DType, Shape
from rillet.train.modules import from_module, from_state, to_module
from rillet.train.quantized import QuantizedNetwork, scales_of
from rillet.train.recipe import Quantize, Ternary
from rillet.train.ternary import make_ternary, plain_state
from rillet.transforms.fold import fold
from tied import CHANNELS, QUIET, copies, layers_of, tied, twice

# -- modules of other frameworks ---------------------------------------------------------------------------------------


class Tied(nn.Module):
    """Two layers with one weight and biases of their own, and a layer whose bias is that of another."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.b.weight = self.a.weight
        self.c.bias = self.a.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.b(torch.relu(self.a(x)))))


def test_layers_of_one_parameter_share_it_and_equal_ones_do_not() -> None:
    module = Tied().eval()
    nn.init.zeros_(module.a.bias)
    nn.init.zeros_(module.b.bias)
    graph = from_torch(module, torch.randn(1, 3, 4, 4))
    a, b, c = layers_of(graph)
    assert graph.shared == {f"{b}.weight": f"{a}.weight", f"{c}.bias": f"{a}.bias"}
    assert count(graph).params == sum(p.numel() for p in module.parameters())


class Computed(nn.Module):
    """A weight that is computed at each of two calls, and the same transposed at a third."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for weight in (self.w.tanh(), self.w.tanh(), self.w.transpose(0, 1).tanh()):
            x = torch.relu(nn.functional.conv2d(x, weight))
        return x


def test_what_follows_from_one_parameter_is_one_array_where_it_is_equal() -> None:
    graph = from_torch(Computed().eval(), torch.randn(1, 3, 4, 4))
    a, b, _ = layers_of(graph)
    assert graph.shared == {f"{b}.weight": f"{a}.weight"}


def dense_and_pointwise() -> Graph:
    """A convolution of one pixel and a dense layer with one array."""
    b = Builder(np.random.default_rng(0), DType.F32)
    first = b.add(b.conv(4), b.add(Input(), shape=Shape(1, 1, 4)))
    second = b.add(Conv(4, Window(), weights=DType.F32, dense=True), first)
    third = b.add(b.conv(4), second)
    graph = b.graph()
    shared = {f"{name}.{what}": f"{first}.{what}" for name in (second, third) for what in ("weight", "bias")}
    return replace(graph, params={k: v for k, v in graph.params.items() if k not in shared}, shared=shared)


def test_a_dense_layer_and_a_convolution_train_one_tensor() -> None:
    graph = dense_and_pointwise()
    module = to_module(graph)
    assert sum(p.numel() for p in module.parameters()) == 20
    assert from_module(module, graph) == graph
    gradients_add_up(graph)


# -- training ----------------------------------------------------------------------------------------------------------


def gradients_add_up(graph: Graph) -> None:
    """The gradient of a shared tensor is the sum of what it is for copies."""
    torch.manual_seed(1)
    image = torch.randn(2, graph.nodes[0].shape.channels, *graph.nodes[0].shape.array[:2])
    found: list[dict[str, torch.Tensor]] = []
    for one in (graph, copies(graph)):
        module = to_module(one).eval()
        (module(image) ** 2).sum().backward()
        parameters = dict(module.named_parameters(remove_duplicate=False))
        found.append({key: p.grad for key, p in parameters.items() if p.grad is not None})
    together, apart = found
    names = {node.name: node for node in graph.nodes}

    def place(key: str) -> str:
        node, _, leaf = key.rpartition(".")
        norm = isinstance(names[node].op, BatchNorm)
        own = f"{node}.{ {'weight': 'gamma', 'bias': 'beta'}[leaf] if norm else leaf }".replace(" ", "")
        return graph.shared.get(own, own)

    for key, grad in together.items():
        parts = [other.flatten() for name, other in apart.items() if place(name) == place(key)]
        total = torch.stack(parts).sum(0)
        assert torch.allclose(grad.flatten(), total, rtol=1e-3, atol=1e-4 * float(total.abs().max() + 1))


@example_counts(6, 40)
def test_one_parameter_is_trained_by_all_its_layers_and_comes_back_shared(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(tied(DType.F32, norms=True))
    def run(graph: Graph) -> None:
        module = to_module(graph)
        learned = [key for key in graph.params if not key.endswith((".mean", ".variance"))]
        assert len(list(module.parameters())) == len(learned)
        assert from_module(module, graph) == graph
        gradients_add_up(graph)
        optimizer = torch.optim.SGD(module.parameters(), 0.01)
        shape = graph.nodes[0].shape
        module.train()(torch.randn(2, CHANNELS, shape.height, shape.width)).square().mean().backward()
        optimizer.step()
        moved = module.to(torch.float64).to(torch.float32)
        trained = from_module(moved, graph)
        assert trained.shared == graph.shared
        assert from_torch(moved, torch.randn(1, CHANNELS, shape.height, shape.width)).shared == graph.shared

    run()


def test_ternary_layers_that_share_learn_one_pair_of_levels() -> None:
    graph = twice()
    module = to_module(graph)
    make_ternary(module, layers_of(graph)[1:], Ternary(threshold=0.1))
    assert sum(p.numel() for p in module.parameters()) == 2304 + 2
    made = from_state(plain_state(module), graph)
    assert made.shared == graph.shared
    assert len(np.unique(next(iter(made.params.values())))) == 3


def test_a_quantised_training_has_one_weight_that_each_layer_rounds_for_itself() -> None:
    graph = fold(twice())
    module = QuantizedNetwork(graph)
    module.load_state_dict(to_module(graph).state_dict())
    assert sum(p.numel() for p in module.parameters()) == 2304
    module.use(scales_of(graph, to_module(graph), [torch.randn(2, 16, 8, 8)], Quantize()))
    module(torch.randn(1, 16, 8, 8)).sum().backward()
    assert next(module.parameters()).grad is not None
    assert from_module(module, graph) == graph
