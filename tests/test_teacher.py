"""Learning from a trained network: what it is shown, what it says, what is lost by it, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rillet
from rillet.backends import reference
from rillet.data.datasets import Dataset
from rillet.data.images import as_input, contract, fit
from rillet.errors import GraphError
from rillet.importers.rlt import load
from rillet.ir.graph import Graph
from rillet.ir.ops import Softmax
from rillet.train.data import Batch
from rillet.train.loop import train
from rillet.train.losses import batch_loss, distillation
from rillet.train.recipe import Recipe, find, parse, to_toml, with_said
from rillet.train.records import Options, Tick, Watch
from rillet.train.teacher import Teacher
from rillet.transforms.resize import with_resolution
from rillet.zoo.weights import with_seeded_weights
from train_case import network, pictures, recipe

ONE = Options(threads=1)
ALL = "[distill]\nweight = 0.7\ntemperature = 2.0\n"


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """A network that knows the classes."""
    out = tmp_path_factory.mktemp("teacher")
    train(network(), pictures(), pictures(9, 1), recipe(epochs=12), out, ONE)
    return load(out / "best.rlt")


def other_contract(graph: Graph, **changes: object) -> Graph:
    return graph.with_image(replace(contract(graph), **changes))  # type: ignore[arg-type]


def quantized(graph: Graph) -> Graph:
    return rillet.quantize(graph, (pictures().stored, pictures().labels)).graph


@pytest.mark.parametrize("kind", ["float", "int8", "channels", "int8 channels", "larger", "detail"])
def test_it_is_shown_what_evaluate_would_show_it(kind: str, taught: Graph) -> None:
    graph = taught
    if "channels" in kind:
        graph = other_contract(graph, mean=(120.0, 110.0, 100.0), deviation=(60.0, 61.0, 62.5))
    if kind in ("larger", "detail"):
        graph = with_resolution(graph, 20, 20)
    if kind == "detail":
        graph = other_contract(graph, detail=8)
    if "int8" in kind:
        graph = quantized(graph)
    side = 16 if kind == "detail" else 8
    given = np.random.default_rng(0).integers(0, 256, (5, side, side, 3)).astype(np.uint8)
    teacher = Teacher(graph, pictures())
    made, said = teacher.inputs(given), teacher(given)
    for one, its, answer in zip(given, made, said, strict=True):
        wanted = as_input(fit(Image.fromarray(one), contract(graph)), graph)
        assert its.dtype == wanted.dtype and np.allclose(its, wanted, rtol=0, atol=0.02 if kind == "detail" else 1e-6)
        output = graph.by_name[graph.outputs[0]].type
        value = reference.outputs(graph, its)[0].reshape(-1)
        if output.quant is not None:
            value = (value.astype(np.float32) - output.quant.zero_point) * output.quant.scale
        assert np.allclose(answer, value, rtol=1e-4, atol=1e-4)


def test_a_softmax_at_its_end_is_left_out(taught: Graph) -> None:
    (last,) = taught.outputs
    node = replace(taught.by_name[last], name="head.softmax", op=Softmax(), inputs=(last,))
    ended = Graph("tiny", (*taught.nodes, node), (node.name,), taught.params, taught.image)
    stored = pictures().stored
    assert stored is not None
    assert np.array_equal(Teacher(ended, pictures())(stored), Teacher(taught, pictures())(stored))


def test_the_loss_is_that_of_the_paper() -> None:
    draw = torch.Generator().manual_seed(0)
    made, hints = (torch.randn(6, 4, generator=draw, dtype=torch.float64) for _ in range(2))
    for temperature in (1.0, 3.0):
        p, q = torch.softmax(hints / temperature, 1), torch.softmax(made / temperature, 1)
        wanted = temperature**2 * (p * (p / q).log()).sum(1).mean()
        assert torch.isclose(distillation(made, hints, temperature), wanted)
    # At a high temperature the gradient is that of matching outputs (section 2.1 of the paper).
    free = made.clone().requires_grad_()
    distillation(free, hints, 1e4).backward()
    zero = [value - value.mean(1, keepdim=True) for value in (made, hints)]
    assert free.grad is not None and torch.allclose(free.grad, (zero[0] - zero[1]) / 4 / 6, rtol=1e-3, atol=1e-6)


def test_losses_of_mixed_pictures_are_shared() -> None:
    made = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    labels, others = np.array([0, 1, 2, 0]), np.array([1, 0, 0, 2])
    said, plain = recipe(), Batch(np.zeros(0), labels)
    each = [batch_loss(made[i : i + 1], Batch(np.zeros(0), labels[i : i + 1]), said) for i in range(4)]
    swapped = [batch_loss(made[i : i + 1], Batch(np.zeros(0), others[i : i + 1]), said) for i in range(4)]
    shares = np.array([1.0, 0.75, 0.5, 0.25], np.float32)
    mixed = batch_loss(made, Batch(np.zeros(0), labels, others, shares), said)
    wanted = sum(s * a + (1 - s) * b for s, a, b in zip(shares, each, swapped, strict=True)) / 4
    assert torch.isclose(mixed, torch.as_tensor(wanted, dtype=torch.float32))
    assert torch.isclose(batch_loss(made, plain, said), torch.stack(each).mean())
    hints = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    distilled = batch_loss(made, Batch(np.zeros(0), labels, hints=hints), recipe(ALL))
    both = 0.3 * torch.stack(each).mean() + 0.7 * distillation(made, torch.from_numpy(hints), 2.0)
    assert torch.isclose(distilled, both)


def test_it_teaches_what_the_labels_do_not_say(taught: Graph, tmp_path: Path) -> None:
    """Labels are wrong throughout; the int8 teacher of another resolution knows better."""
    right = pictures()
    wrong = replace(right, labels=(right.labels + 1) % 3)
    teacher = quantized(with_resolution(taught, 12, 12))
    said = recipe("[distill]\nweight = 1.0\n", epochs=12)
    made = train(network(), wrong, pictures(30, 1), said, tmp_path / "a", ONE, teacher=teacher)
    assert made.best_top1 > 0.9
    assert train(network(), wrong, pictures(30, 1), recipe(epochs=12), tmp_path / "b", ONE).best_top1 < 0.4


class Stop(Exception):
    pass


def test_a_run_goes_on_exactly(taught: Graph, tmp_path: Path) -> None:
    said = recipe(ALL)
    more = {"randaugment": 2, "erase": 0.5, "mixup": 0.4, "cutmix": 1.0, "mix_probability": 0.8}
    said = replace(said, augment=replace(said.augment, **more))
    assert parse("test", to_toml(said)) == said

    def run(out: str, **more: object) -> None:
        train(network(), pictures(), pictures(9, 1), said, tmp_path / out, teacher=taught, **more)  # type: ignore[arg-type]

    run("whole", options=ONE)
    options = replace(ONE, resume=True, save_steps=1)
    for step in (1, 4, 6):

        def tick(now: Tick, step: int = step) -> None:
            if now.step == step:
                raise Stop

        with pytest.raises(Stop):
            run("cut", options=options, watch=Watch(tick))
    run("cut", options=options)
    for name in ("best.rlt", "last.rlt"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    other = with_seeded_weights(network(), 7)
    with pytest.raises(GraphError, match="must be resumed with the teacher it was begun with, tiny, "):
        train(network(), pictures(), pictures(9, 1), said, tmp_path / "cut", options, teacher=other)


def test_a_recipe_may_name_its_teacher(taught: Graph, tmp_path: Path) -> None:
    (tmp_path / "teacher.rlt").write_bytes(b"")
    rillet.save(taught, tmp_path / "teacher.rlt")
    name = str(tmp_path / "teacher.rlt")
    said = with_said(recipe(), teacher=name)
    assert said.distill is not None and said.distill.teacher == name and said.distill.weight == 0.9
    data = (pictures().stored, pictures().labels)
    words = {"test": data, "threads": 1, "epochs": 1}
    net = network()
    made = [
        rillet.train(net, data, tmp_path / "a", recipe=said, **words),
        rillet.train(net, data, tmp_path / "b", recipe=recipe(), teacher=name, **words),
        rillet.train(net, data, tmp_path / "c", recipe=recipe(), teacher=load(Path(name)), **words),
        rillet.train(net, data, tmp_path / "d", recipe=recipe(), **words),
    ]
    losses = [one.rows[-1].train_loss for one in made]
    assert losses[0] == losses[1] == losses[2] != losses[3]
    assert find(str(tmp_path / "b" / "recipe.toml")).distill == said.distill


def without_teacher() -> Recipe:
    return recipe(ALL)


def test_teachers_that_cannot_teach(taught: Graph, tmp_path: Path) -> None:
    data = pictures()
    with pytest.raises(GraphError, match="test: distill must come with a teacher, and a teacher with it"):
        train(network(), data, data, without_teacher(), tmp_path / "a", ONE)
    with pytest.raises(GraphError, match="distill must come with a teacher: --teacher MODEL"):
        rillet.train(network(), (data.stored, data.labels), tmp_path / "b", test=data, recipe=without_teacher())
    with pytest.raises(GraphError, match="--teacher tiny: must have trained weights, got none"):
        Teacher(network(), data)
    with pytest.raises(GraphError, match="--teacher tiny: must have the 3 classes of bright, got 1x1x4"):
        Teacher(with_seeded_weights(network(4), 0), data)
    named = Dataset("bright", ("a", "c", "b"), data.labels, data.pixels, data.stored)
    with pytest.raises(GraphError, match="--teacher tiny: class 1 must be c, as bright has it, got b"):
        Teacher(taught, named)
