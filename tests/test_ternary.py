"""Trained ternary quantisation: the source's counts, its three gradients, and what is left after training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import shared_file
from rillet.errors import GraphError
from rillet.importers.rlt import load
from rillet.models.opening import open_model
from rillet.train.loop import train
from rillet.train.modules import from_state, to_module
from rillet.train.optim import make_optimizer, set_rate
from rillet.train.recipe import Optimizer, Ternary, find
from rillet.train.records import Options, TernaryReport
from rillet.train.ternary import (
    TernaryWeight,
    chosen_layers,
    clip_scales,
    make_ternary,
    plain_state,
    report,
    scale_rates,
)
from rillet.transforms.lowbit import ternary_tensors
from rillet.zoo.registry import build
from rillet.zoo.weights import with_seeded_weights
from train_case import network, pictures, recipe

SOURCE = TernaryReport(31, 86, 153_792, 12_222, 134_124, 7_446, 82_866)
"""As Notes on MicroBotNet prints it."""


@pytest.mark.parametrize(("file", "gates"), [("conv_and_fc", True), ("conv", False)])
def test_the_published_networks(file: str, gates: bool) -> None:
    path = shared_file(f"microbotnet/micro_large_{file}_ttq_x0_32.pytorch_state")
    graph = open_model("microbotnet:width=0.32", weights=path).graph
    layers = chosen_layers(graph, Ternary(squeeze_excite=gates))
    assert [f"{name}.weight" for name in layers] == ternary_tensors(graph)
    assert (report(graph, layers) == SOURCE) is gates


def test_the_names_of_the_recipe_are_what_the_rules_choose() -> None:
    said = find("ttq_microbotnet").ternary
    assert said is not None
    graph = build("microbotnet", {"width": "0.32"})
    assert said.layers == chosen_layers(graph, said) == chosen_layers(graph, Ternary())


def test_which_layers() -> None:
    graph = network()
    assert chosen_layers(graph, Ternary(more_than=60)) == (
        "block1.expand", "block1.depthwise", "block1.reduce", "block1.excite", "block1.project",
    )  # fmt: skip
    plain = ("block1.expand", "block1.depthwise", "block1.project")
    assert chosen_layers(graph, Ternary(more_than=60, squeeze_excite=False)) == plain
    assert chosen_layers(graph, Ternary(more_than=128)) == ("block1.depthwise",)
    with pytest.raises(GraphError, match="tiny: must have layers of more than 1000 weights to become ternary"):
        chosen_layers(graph, Ternary())
    with pytest.raises(GraphError, match=r"tiny: block9\.x: must be a convolution or dense layer"):
        chosen_layers(graph, Ternary(layers=("block9.x",)))


def test_values_and_gradients() -> None:
    weight = torch.tensor([1.0, 0.25, -0.25, -0.6, 0.2, -0.1], requires_grad=True)
    quantized = TernaryWeight(0.24)
    with torch.no_grad():
        quantized.positive.fill_(2.0)
        quantized.negative.fill_(3.0)
    made = quantized(weight)
    assert made.tolist() == [2, 2, -3, -3, 0, 0]
    grad = torch.tensor([1.0, 2, 3, 4, 5, 6])
    made.backward(grad)
    assert weight.grad is not None and weight.grad.tolist() == [2, 4, 9, 12, 5, 6]
    assert quantized.positive.grad == 3 and quantized.negative.grad == -7
    # The scales' gradients are those of the function itself: it is linear in them.
    for scale in (quantized.positive, quantized.negative):
        with torch.no_grad():
            low = (quantized(weight) * grad).sum()
            scale += 0.5
            high = (quantized(weight) * grad).sum()
            scale -= 0.5
        assert scale.grad is not None and torch.isclose((high - low) / 0.5, scale.grad)


def test_scales_stay_positive_and_a_baked_module_is_plain() -> None:
    graph = with_seeded_weights(network(), 3)
    module = to_module(graph)
    layers = chosen_layers(graph, Ternary(more_than=60))
    make_ternary(module, layers, Ternary())
    for part in module.modules():
        if isinstance(part, TernaryWeight):
            torch.nn.init.constant_(part.negative, -4.0)
    clip_scales(module)
    made = from_state(plain_state(module), graph)
    assert set(ternary_tensors(made)) == {f"{name}.weight" for name in layers}
    assert made.params.keys() == graph.params.keys()
    for name in layers:
        values = np.unique(made.params[f"{name}.weight"])
        assert values.max() == 1 and -1e-5 < values.min() < 0


def test_scales_may_begin_with_what_they_stand_for_at_a_rate_of_their_own() -> None:
    graph = with_seeded_weights(network(), 3)
    module, said = to_module(graph), Ternary(begin="mean", scale_rate=0.5)
    layers = chosen_layers(graph, Ternary(more_than=60))
    before = {name: module.get_submodule(name).get_parameter("weight").detach().clone() for name in layers}
    make_ternary(module, layers, said)
    rates = scale_rates(module, said)
    assert len(rates) == 2 * len(layers)
    for name, weight in before.items():
        made = module.get_submodule(name).weight
        delta = 0.05 * weight.abs().max()
        for side in (weight > delta, weight < -delta):
            assert torch.allclose(made[side], weight[side].mean())
            assert any(rate == pytest.approx(0.5 * abs(float(weight[side].mean()))) for rate in rates.values())
    optimizer = make_optimizer(module, Optimizer("adamw", weight_decay=0.1), rates)
    set_rate(optimizer, 0.25)
    found = {p: group for group in optimizer.param_groups for p in group["params"]}
    assert len(found) == len(list(module.parameters()))
    assert all(found[p]["lr"] == 0.25 * rate and found[p]["weight_decay"] == 0 for p, rate in rates.items())
    others = [group for p, group in found.items() if p not in rates]
    assert {group["lr"] for group in others} == {0.25}
    plain = scale_rates(module, Ternary())
    assert set(plain) == set(rates)


def test_a_ternary_run(tmp_path: Path) -> None:
    said = recipe("[ternary]\nmore_than = 60\nthreshold = 0.1\n", epochs=6)
    trained = train(network(), pictures(), pictures(9, 1), said, tmp_path, Options(threads=1))
    best, plain = load(tmp_path / "best.rlt"), load(tmp_path / "signs.rlt")
    names = ternary_tensors(best)
    assert trained.ternary is not None and trained.ternary.tensors == len(names) == 5
    assert trained.ternary.params == sum(best.params[name].size for name in names)
    assert trained.ternary.plus + trained.ternary.zero + trained.ternary.minus == trained.ternary.params
    scales = {float(value) for name in names for value in np.unique(np.abs(best.params[name])) if value}
    assert len(scales) > len(names)  # each has two of its own, and they have moved
    assert all(set(np.unique(plain.params[name])) <= {-1, 0, 1} for name in names)
    assert trained.signs_top1 is not None and trained.rows[-1].train_loss < trained.rows[0].train_loss
