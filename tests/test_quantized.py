"""Quantisation-aware training: it computes what the integers compute, gradients pass, what was lost comes back."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from conftest import mostly_slow
from graphs import graphs, random_image
from rillet.arithmetic.fixed_point import quantize as as_stored
from rillet.backends import reference
from rillet.data.images import as_input
from rillet.errors import GraphError
from rillet.exporters.rlt import to_bytes
from rillet.importers.rlt import load
from rillet.ir.graph import Graph
from rillet.ir.ops import Activate, Activation, Pool, PoolKind, Softmax
from rillet.ir.types import DType, Quant
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.evaluate import evaluate
from rillet.runtime.quantization import collect, quantize_with
from rillet.train import checkpoint
from rillet.train.loop import train
from rillet.train.modules import to_module
from rillet.train.quantized import QuantizedNetwork, _away, _settled, from_state, to_state
from rillet.train.recipe import Quantize, Recipe, Start, find, to_toml, with_said
from rillet.train.records import Options, Tick, Watch
from rillet.transforms.fold import fold
from rillet.transforms.quantize import Quantization, Rule, choose_scales, quantize, quantize_under
from rillet.transforms.statistics import Calibration
from rillet.zoo.layers import Layers, square
from rillet.zoo.registry import build
from rillet.zoo.weights import with_seeded_weights
from train_case import network, pictures, recipe

ONE = Options(threads=1)
QUANTIZE = "[quantize]\nimages = 16\n"
CHOSEN = np.random.default_rng(0).permutation(24)[:16]
"""The pictures that a run calibrates on."""


def module_of(graph: Graph, rule: Rule, inputs: list[np.ndarray]) -> tuple[QuantizedNetwork, Graph]:
    """The fake-quantised module of a folded graph, and the integers that it stands for."""
    how = Quantization(rule, Calibration.MINMAX)
    seen = collect(graph, inputs)
    scales = choose_scales(graph, seen, how)
    made = quantize(graph, seen, how)
    assert quantize_under(graph, scales) == made
    assert from_state(to_state(scales)) == scales
    module = QuantizedNetwork(graph)
    module.load_state_dict(to_module(graph).state_dict())
    module.use(scales)
    return module, made


def stored(module: QuantizedNetwork, made: Graph, image: np.ndarray) -> dict[str, np.ndarray]:
    """What the module holds, as the integers that the reference has."""
    with torch.no_grad():
        found = module.stored(torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None])
    out = {}
    for node in made.nodes:
        assert node.type.quant is not None
        out[node.name] = found[node.name][0].permute(1, 2, 0).numpy() + node.type.quant.zero_point
    return out


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(real=True), st.sampled_from(list(Rule)))
def test_any_network_holds_the_very_integers(graph: Graph, rule: Rule) -> None:
    """Each value from the reference's own inputs."""
    assume(Activate(Activation.SIGN) not in [node.op for node in graph.nodes])
    module, made = module_of(graph, rule, [random_image(graph, seed) for seed in range(3)])
    values = reference.run(made, random_image(made, 7))
    for name, value in alone(module, made, values).items():
        op = made.by_name[name].op
        near = isinstance(op, Softmax) or (isinstance(op, Pool) and op.kind is PoolKind.AVERAGE)
        assert np.abs(value - values[name]).max() <= near, made.by_name[name]


def alone(module: QuantizedNetwork, made: Graph, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each node's result where it reads what the reference has."""
    centred = {
        node.name: torch.from_numpy(
            (values[node.name].astype(np.float32) - node.type.quant.zero_point).transpose(2, 0, 1)[None].copy()
        )
        for node in made.nodes
        if node.type.quant is not None
    }
    out = {}
    with torch.no_grad():
        for node in made.nodes:
            if node.inputs:
                made_value = module._value(node, [centred[name] for name in node.inputs])
                out[node.name] = made_value[0].permute(1, 2, 0).numpy() + node.type.quant.zero_point
    return out


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize(
    "name", mostly_slow(["tiny", "microbotnet", "mobilenet_v2", "squeezenet1_1"], "tiny", "microbotnet")
)
def test_whole_networks_hold_the_very_integers(name: str, rule: Rule) -> None:
    plain = network() if name == "tiny" else build(name, {"classes": "10"})
    if name in ("mobilenet_v2", "squeezenet1_1"):
        plain = build(name, {"classes": "10", "resolution": "48"})
    graph = fold(with_seeded_weights(plain, 2))
    module, made = module_of(graph, rule, [random_image(graph, seed) for seed in range(2)])
    node = made.input_nodes[0]
    assert node.type.quant is not None
    for seed in (5, 6):
        image = random_image(graph, seed)
        values = reference.run(made, as_stored(image, node.type.quant, DType.I8).astype(np.int8))
        found = stored(module, made, image)
        assert all(np.array_equal(found[name], values[name]) for name in values)


def aware(more: str = "", epochs: int = 3) -> Recipe:
    plain = recipe(QUANTIZE + more, epochs=epochs)
    return replace(plain, rate=replace(plain.rate, base=0.02), average=replace(plain.average, decay=0.0))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    out = tmp_path_factory.mktemp("float")
    train(network(), pictures(), pictures(30, 1), recipe(epochs=12), out, ONE)
    return load(out / "best.rlt")


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """A trained chain, two channels of which are made 600 times greater between two layers, and the second layer's
    weights for them less by as much: the same function, and rounding loses all other channels."""
    net = Layers("chain", square(8))
    net.block = "stem"
    net.conv_bn("conv", 8, 3, 2, Activation.RELU)
    net.depthwise_bn(3, 1, Activation.RELU)
    net.conv_bn("mix", 8, activation=Activation.RELU)
    net.classifier(3)
    out = tmp_path_factory.mktemp("chain")
    train(net.graph(), pictures(), pictures(30, 1), recipe(epochs=20), out, ONE)
    graph = fold(load(out / "best.rlt"))
    params = {name: array.copy() for name, array in graph.params.items()}
    for name in ("weight", "bias"):
        params[f"stem.conv.{name}"][:2] *= 600
    params["stem.depthwise.weight"][:2] /= 600
    return replace(graph, params=params)


@pytest.mark.parametrize("rule", list(Rule))
def test_what_rounding_loses_comes_back(rule: Rule, uneven: Graph, tmp_path: Path) -> None:
    graph, test = uneven, pictures(30, 1)
    assert evaluate(plan_rows(graph), test, "reference").top1 == 1
    inputs = [as_input(pictures().pixels(int(i), graph.image), graph) for i in CHOSEN]
    before = evaluate(plan_rows(quantize_with(graph, inputs, Quantization(rule))), test, "reference").top1
    said = recipe(f"{QUANTIZE}observe_every = 3\nfreeze_epochs = 10\nrounding = '{rule.value}'\n", 20, "adamw", "")
    said = replace(said, rate=replace(said.rate, base=0.01), average=replace(said.average, decay=0.0))
    run = train(graph, pictures(), test, said, tmp_path, ONE)
    made = load(tmp_path / "best.rlt")
    assert {node.type.dtype for node in made.nodes} == {DType.I8} and run.rounding == rule.value
    after = evaluate(plan_rows(made), test, "c").top1
    assert before == run.start_top1 < 0.8
    assert after == run.best_top1 >= 0.95
    assert run.rows[-1].train_loss < 0.8 * run.rows[0].train_loss
    assert {node.type.dtype for node in load(tmp_path / "float.rlt").nodes} == {DType.F32}


class Stop(Exception):
    pass


def test_a_run_goes_on_exactly(trained: Graph, tmp_path: Path) -> None:
    """Ranges are looked at again at steps 0, 2 and 4 of nine, and kept in the checkpoint."""
    said = aware("observe_every = 2\nfreeze_epochs = 1.8\n")
    said = replace(said, average=replace(said.average, decay=0.5))
    train(trained, pictures(), pictures(9, 1), said, tmp_path / "whole", ONE)
    check_cut_off(trained, said, tmp_path, (1, 2, 5, 8))
    frozen = replace(said, quantize=replace(said.quantize or Quantize(), freeze_epochs=0.0))
    train(trained, pictures(), pictures(9, 1), frozen, tmp_path / "frozen", ONE)
    kinds = [[n.type for n in load(tmp_path / name / "last.rlt").nodes] for name in ("whole", "frozen")]
    assert kinds[0] != kinds[1]


def check_cut_off(trained: Graph, said: Recipe, place: Path, steps: tuple[int, ...]) -> None:
    """A run that is cut off at these steps ends as the one in `whole`, bit for bit."""
    options = replace(ONE, resume=True, save_steps=1)
    for step in steps:

        def tick(now: Tick, step: int = step) -> None:
            if now.step == step:
                raise Stop

        with pytest.raises(Stop):
            train(trained, pictures(), pictures(9, 1), said, place / "cut", options, Watch(tick))
    train(trained, pictures(), pictures(9, 1), said, place / "cut", options)
    for name in ("best.rlt", "last.rlt", "float.rlt"):
        assert (place / "whole" / name).read_bytes() == (place / "cut" / name).read_bytes()


def test_the_gradient_of_a_scale_is_that_of_the_source() -> None:
    """Esser et al., arXiv:1902.08153, equation 3: rounded less exact, or the bound; times the gradient of the value."""
    value = torch.tensor([-9.0, -1.3, 0.2, 0.74, 3.0, 40.0])
    quant = Quant(0.25, -100)
    step = torch.tensor(0.25, requires_grad=True)
    made = _settled(value / step, quant, _away) * step
    grad = torch.arange(1.0, 7.0)
    (made * grad).sum().backward()
    low, high = -128 + 100, 127 + 100
    exact = value / 0.25
    wanted = torch.where(exact < low, low, torch.where(exact > high, high, _away(exact) - exact))
    assert made.tolist() == [-7.0, -1.25, 0.25, 0.75, 3.0, 40.0]
    assert step.grad is not None and torch.isclose(step.grad, (wanted * grad).sum())


@pytest.mark.parametrize("training", [False, True])
def test_learnt_scales_hold_the_very_integers(trained: Graph, training: bool) -> None:
    graph = fold(trained)
    seen = collect(graph, [random_image(graph, seed) for seed in range(2)])
    module = QuantizedNetwork(graph, learn=True)
    module.load_state_dict(to_module(graph).state_dict(), strict=False)
    first = choose_scales(graph, seen, Quantization(Rule.FIXED_POINT, Calibration.MINMAX))
    module.use(first)
    with torch.no_grad():
        module.scale_growth.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(0))
    module.train(training)
    node, image = module.made.input_nodes[0], random_image(graph, 5)
    made_value = module(torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None])
    made = quantize_under(graph, module.scales)
    assert made.input_nodes[0].type == node.type and module.scales != first
    kept = [n.name for n in graph.nodes if module.scales.quants[n.name] == first.quants[n.name]]
    assert "input" in kept and len(kept) < len(graph.nodes) / 2
    quant = made.input_nodes[0].type.quant
    assert quant is not None
    values = reference.run(made, as_stored(image, quant, DType.I8).astype(np.int8))
    found = stored(module, made, image)
    assert all(np.array_equal(found[name], values[name]) for name in values)
    if training:
        made_value.square().sum().backward()
        grad = module.scale_growth.grad
        assert grad is not None and (grad != 0).sum() > 0.8 * grad.numel()


def test_a_run_learns_its_scales_and_goes_on_exactly(trained: Graph, tmp_path: Path) -> None:
    said = aware("rounding = 'fixed_point'\nlearn_scales = true\n")
    said = replace(said, average=replace(said.average, decay=0.5))
    whole = train(trained, pictures(), pictures(9, 1), said, tmp_path / "whole", ONE)
    check_cut_off(trained, said, tmp_path, (1, 5))
    last = load(tmp_path / "whole" / "last.rlt")
    assert evaluate(plan_rows(last), pictures(9, 1), "c").top1 == whole.last_top1
    still = replace(said, rate=replace(said.rate, base=0.0))
    train(trained, pictures(), pictures(9, 1), still, tmp_path / "still", ONE)
    moved = [a.type != b.type for a, b in zip(last.nodes, load(tmp_path / "still" / "last.rlt").nodes, strict=True)]
    assert sum(moved) > len(moved) / 2 and not moved[0]
    with pytest.raises(GraphError, match='quantize: learn_scales must come with rounding = "fixed_point"'):
        aware("learn_scales = true\n")


def test_ranges_are_those_of_post_training_quantisation(trained: Graph, tmp_path: Path) -> None:
    """At a rate of nothing the run ends with the very network that `rillet quantize` makes of the same pictures."""
    said = aware('calibration = "minmax"\n', epochs=1)
    said = replace(said, rate=replace(said.rate, base=0.0))
    run = train(trained, pictures(), pictures(9, 1), said, tmp_path, ONE)
    graph = fold(trained)
    inputs = [as_input(pictures().pixels(int(i), graph.image), graph) for i in CHOSEN]
    want = quantize_with(graph, inputs, Quantization(Rule.SHIFT, Calibration.MINMAX))
    made = load(tmp_path / "last.rlt")
    assert run.best_epoch == 0 and made == load(tmp_path / "best.rlt")
    for mine, other in zip(made.nodes, want.nodes, strict=True):
        assert mine.op == other.op
        # float32 there, float64 here: a range differs in its last digits.
        assert mine.type.quant is not None and other.type.quant is not None
        assert mine.type.quant.scale == pytest.approx(other.type.quant.scale, rel=1e-5)


def test_what_cannot_be_trained_so(trained: Graph, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="tiny: must have trained weights to learn to be quantised"):
        train(network(), pictures(), pictures(9, 1), aware(), tmp_path / "a", ONE)
    train(trained, pictures(), pictures(9, 1), aware(epochs=1), tmp_path / "b", ONE)
    with pytest.raises(GraphError, match="must be float32 to be quantised, got i8"):
        train(load(tmp_path / "b" / "last.rlt"), pictures(), pictures(9, 1), aware(), tmp_path / "c", ONE)
    for more, message in (
        ("[ternary]\n", "ternary: must come without prune and quantize"),
        ("[start]\nnew_head = true\n", "quantize: must come without new_head"),
    ):
        with pytest.raises(GraphError, match=message):
            aware(more)
    with pytest.raises(GraphError, match="ternary: must come without prune and quantize"):
        with_said(find("qat"), ternary=True)
    text = (tmp_path / "b" / "recipe.toml").read_text().replace('precision = "auto"', 'precision = "bf16"')
    (tmp_path / "half.toml").write_text(text)
    with pytest.raises(GraphError, match='quantize: must come with precision = "f32", which holds its integers'):
        find(str(tmp_path / "half.toml"))


def test_the_last_layer_alone(trained: Graph, tmp_path: Path) -> None:
    said = aware(epochs=1)
    run = train(trained, pictures(), pictures(9, 1), replace(said, start=Start(freeze=True)), tmp_path, ONE)
    state = checkpoint.load(tmp_path)
    assert state is not None
    plain, made = to_module(fold(trained)).state_dict(), state[1]["module"]
    changed = {name.rpartition(".")[0] for name in plain if not torch.equal(plain[name], made[name])}
    assert changed == {"head.logits"} and run.rounding == "shift"


def test_a_softmax_at_the_end_is_quantised_too(trained: Graph, tmp_path: Path) -> None:
    (last,) = trained.outputs
    node = replace(trained.by_name[last], name="head.softmax", op=Softmax(), inputs=(last,))
    graph = Graph("tiny", (*trained.nodes, node), (node.name,), trained.params, trained.image)
    run = train(graph, pictures(), pictures(30, 1), aware(epochs=1), tmp_path, ONE)
    made = load(tmp_path / "last.rlt")
    assert made.outputs == ("head.softmax",)
    assert evaluate(plan_rows(made), pictures(30, 1), "c").top1 == pytest.approx(run.last_top1, abs=0.04)


@pytest.mark.slow
def test_two_processes_do_what_one_does(trained: Graph, tmp_path: Path) -> None:
    (tmp_path / "tiny.rlt").write_bytes(to_bytes(trained))
    (tmp_path / "aware.toml").write_text(to_toml(aware()))
    for part, data in (("train", pictures()), ("val", pictures(9, 1))):
        assert data.stored is not None
        for i, (pixels, label) in enumerate(zip(data.stored, data.labels, strict=True)):
            place = tmp_path / "data" / part / data.classes[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{i:02}.png")
    words = ["train", str(tmp_path / "tiny.rlt"), "--data", f"imagefolder:{tmp_path / 'data'}", "--threads", "1"]
    words += ["--recipe", str(tmp_path / "aware.toml")]
    losses: list[list[float]] = []
    for count in ("1", "2"):
        command = [sys.executable, "-m", "rillet", *words, "--processes", count, "--out", str(tmp_path / count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with (tmp_path / count / "log.csv").open() as file:
            losses.append([float(row["train_loss"]) for row in csv.DictReader(file)])
    # A sum in another order may round a value to the next integer, which shows more than float32's last digit.
    assert np.allclose(losses[0], losses[1], rtol=1e-3, atol=0)
