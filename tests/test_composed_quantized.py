"""What importers compose of several nodes, in int8: C, whole and pushed, gives the bytes of the reference."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402

import rillet  # noqa: E402
from rillet.analyses.classify import real_values  # noqa: E402
from rillet.backends import reference  # noqa: E402
from rillet.exporters.tflite import export  # noqa: E402
from rillet.ir.graph import Array, Graph  # noqa: E402
from rillet.ir.ops import PairKind  # noqa: E402
from rillet.plan.rows.planner import plan_rows  # noqa: E402
from rillet.runtime.verify import verify  # noqa: E402
from rillet.transforms.quotients import as_products  # noqa: E402

HEIGHT, WIDTH = 9, 7


class Attention(nn.Module):
    """A shuffle, split attention, a gate over channels, and a softmax within parts of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.over = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x.reshape(1, 2, 4, HEIGHT, WIDTH).transpose(1, 2).reshape(1, 8, HEIGHT, WIDTH)
        both = torch.stack([x, self.branch(x)], 1)
        x = (both * both.mean((3, 4), keepdim=True).softmax(1)).sum(1)
        x = x * self.over(x.mean((2, 3))[:, None]).sigmoid().view(1, 8, 1, 1)
        return x.reshape(1, 2, 4, HEIGHT, WIDTH).softmax(2).reshape(1, 8, HEIGHT, WIDTH)


class Norms(nn.Module):
    """Norms over channels, groups of them and the map."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(c, 8, 3, padding=1) for c in (3, 8, 8, 8)])
        self.layer, self.group, self.root = nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.RMSNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.convs[0](x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.group(self.convs[1](x))
        x = self.root(self.convs[2](x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return F.instance_norm(self.convs[3](x))


class Quotients(nn.Module):
    """Softmaxes over three branches and over the map, and a quotient of two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.second, self.third = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.mask = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        three = torch.stack([x, self.second(x), self.third(x)], 1)
        x = (three * three.mean((3, 4), keepdim=True).softmax(1)).sum(1)
        context = self.mask(x).reshape(1, 1, 1, -1).softmax(3)
        x = x + (x.reshape(1, 1, 8, -1) @ context.transpose(2, 3)).reshape(1, 8, 1, 1)
        return x / (1 + self.second(x).sigmoid())


def quantised(module: nn.Module) -> tuple[Graph, Graph, Array]:
    """The graph of a module, its int8 form, and a picture."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pictures = [rng.uniform(0, 1, (HEIGHT, WIDTH, 3)).astype(np.float32) for _ in range(8)]
    graph = rillet.from_torch(module.eval(), torch.zeros(1, 3, HEIGHT, WIDTH))
    return graph, rillet.quantize(graph, pictures, rule="fixed_point").graph, pictures[0]


def off(graph: Graph, small: Graph, picture: Array) -> float:
    """Greatest difference of the int8 form from the network, as a share of its greatest value."""
    source, last = small.input_nodes[0].type, small.by_name[small.outputs[0]]
    assert source.quant is not None
    steps = np.round(picture.astype(np.float64) / source.quant.scale) + source.quant.zero_point
    want = reference.outputs(graph, picture)[0].reshape(-1)
    got = real_values(last, reference.outputs(small, np.clip(steps, -128, 127).astype(np.int8))[0])
    return float(np.abs(want - got).max() / np.abs(want).max())


def test_attention_in_int8_gives_the_bytes_of_litert(tmp_path: Path) -> None:
    graph, small, picture = quantised(Attention())
    assert {node.type.dtype.value for node in small.nodes} == {"i8"}
    assert off(graph, small, picture) < 0.05
    assert verify(plan_rows(small), 2).equal
    path = tmp_path / "net.tflite"
    path.write_bytes(export(small))
    again = rillet.load(path)
    assert rillet.verify(again, inputs=2, against="litert").equal
    image = np.random.default_rng(1).integers(-128, 128, (HEIGHT, WIDTH, 3)).astype(np.int8)
    assert np.array_equal(reference.outputs(again, image)[0], reference.outputs(small, image)[0])


def test_quotients_in_int8_are_products_with_an_inverse() -> None:
    graph, small, picture = quantised(Quotients())
    assert sum(getattr(node.op, "kind", None) is PairKind.DIVIDE for node in graph.nodes) >= 3
    assert {node.type.dtype.value for node in small.nodes} == {"i8"}
    assert off(graph, small, picture) < 0.1
    done = verify(plan_rows(small), 2)
    assert done.equal, done.first_difference
    again = as_products(graph)
    want, got = (reference.outputs(one, picture)[0] for one in (graph, again))
    assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max() and as_products(again) is again


def test_norms_in_int8() -> None:
    graph, small, picture = quantised(Norms())
    assert {node.type.dtype.value for node in small.nodes} == {"i8"}
    assert off(graph, small, picture) < 0.1
    done = verify(plan_rows(small), 2)
    assert done.equal, done.first_difference
