"""Supernets: shared weights, resumed trainings, scores, and the audit of a search."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from rillet.data.datasets import Dataset
from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.report.search import lines
from rillet.search import network, run, space, supernet
from rillet.search.found import Found
from rillet.search.supernet import Audit
from rillet.search.task import parts
from rillet.system.checksums import read_record, record_text
from rillet.train import recipe
from rillet.train.inputs import to_input
from rillet.train.modules import TorchNetwork, to_module
from rillet.train.pictures import Pictures
from rillet.train.supernet import Diverged, Member, Supernet, Training
from searching import SPACE, Here, asked, pictures, results


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("colours"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def members(count: int, within: space.Space = SPACE, classes: int = 3) -> list[Member]:
    rng, found = Random(4), dict[str, Member]()
    while len(found) < count:
        choice = within.drawn(rng)
        tally = network.tally(within, choice, classes)
        graph = network.graph(within, choice, classes, f"one{len(found)}")
        found.setdefault(str(choice), Member(graph, supernet.places(within, choice), tally.macs))
    return list(found.values())


def quick(epochs: int = 2) -> recipe.Recipe:
    usual = recipe.find("cifar")
    rate = replace(usual.rate, base=0.8, warmup_epochs=0.5)
    return replace(usual, run=replace(usual.run, epochs=epochs, batch=16), rate=rate)


def training(data: Path, out: Path, count: int = 6, epochs: int = 2) -> Training:
    out.mkdir(exist_ok=True)
    return Training(members(count), parts(str(data), 0, 1)[0], quick(epochs), 1, out)


# -- shared weights ----------------------------------------------------------------------------------------------------


def test_a_member_is_an_ordinary_network_with_slices_of_the_shared_weights() -> None:
    found = members(8)
    net = Supernet(found, ("a", "b", "c"), 0)
    with torch.no_grad():
        for weight in net.weights:
            weight.copy_(torch.randn(weight.shape) * 0.3)
    for i, one in enumerate(found):
        alone = to_module(one.graph)
        state = net.weights_of(i)
        with torch.no_grad():
            for name, value in alone.named_parameters():
                shared = net.weights[net.places[_place(one, name)]]
                at = [slice(0, n) if d < 2 else _middle(shared.shape[d], n) for d, n in enumerate(value.shape)]
                assert torch.equal(state[name], shared[tuple(at)])
                value.copy_(shared[tuple(at)])
        side = one.graph.input_nodes[0].shape.height
        image = torch.randn(4, 3, side, side)
        alone.train()
        torch.testing.assert_close(net(i, image), alone(image), rtol=1e-5, atol=1e-5)


def _place(one: Member, name: str) -> str:
    block, _, rest = name.partition(".")
    return f"{one.places.get(block, block)}.{rest}"


def _middle(length: int, taps: int) -> slice:
    at = (length - taps) // 2
    return slice(at, at + taps)


def test_blocks_of_one_place_share_whatever_the_depth_before_them() -> None:
    rng = Random(0)
    deep = SPACE.plain({**SPACE.drawn(rng), **{g.name: g.values[-1] for g in SPACE.genes}})
    flat = SPACE.plain({**deep, "stage1.depth": 0})
    assert supernet.places(SPACE, deep) == {
        "block1": "stage1_block1",
        "block2": "stage1_block2",
        "block3": "stage2_block1",
    }
    assert supernet.places(SPACE, flat) == {"block1": "stage2_block1"}


@pytest.mark.parametrize("name", space.names())
def test_networks_of_every_space_share_weights(name: str) -> None:
    found = members(4, space.find(name), 10)
    net = Supernet(found, tuple("0123456789"), 0)
    for i, one in enumerate(found):
        side = one.graph.input_nodes[0].shape.height
        assert net(i, torch.randn(2, 3, side, side)).shape == (2, 10)
    sizes = {key: net.weights[at].numel() for key, at in net.places.items()}
    assert max(_weights(one.graph) for one in found) <= sum(sizes.values()) < sum(_weights(one.graph) for one in found)


def _weights(graph: Graph) -> int:
    return sum(value.numel() for value in to_module(graph).parameters())


def test_first_weights_are_drawn_as_those_of_a_network_alone() -> None:
    found = members(6)
    net = Supernet(found, ("a", "b", "c"), 0)
    module = net.module(net.largest)
    for name, value in net.weights_of(net.largest).items():
        value = value.detach()
        alone = module.get_parameter(name).detach()
        if alone.ndim > 1:
            assert abs(float(value.std() / alone.std()) - 1) < 0.5
        else:
            assert torch.equal(value, alone)


# -- training ----------------------------------------------------------------------------------------------------------


def test_a_training_that_is_killed_ends_with_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole = training(data, tmp_path / "whole")
    assert len(list(whole.run())) == whole.steps
    cut = training(data, tmp_path / "cut")
    steps = cut.run()
    for _ in range(whole.steps // 2):
        next(steps)
    cut.save()
    again = training(data, tmp_path / "cut")
    assert again.step == whole.steps // 2
    assert len(list(again.run())) == whole.steps - again.step + (again.step - whole.steps // 2)
    for mine, its in zip(whole.net.weights, again.net.weights, strict=True):
        assert torch.equal(mine, its)


def test_a_supernet_learns_and_its_scores_are_its_networks(data: Path, tmp_path: Path) -> None:
    made = training(data, tmp_path / "run", epochs=6)
    losses = list(made.run())
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.2
    _, held = parts(str(data), 0, 1)
    scores = list(made.scores(held))
    assert max(scores) > 0.6
    assert scores == list(made.scores(held))  # asking changes nothing


def test_another_supernet_does_not_go_on_in_a_folder(data: Path, tmp_path: Path) -> None:
    training(data, tmp_path / "run").save()
    with pytest.raises(GraphError, match="must be resumed with the network it was begun with"):
        training(data, tmp_path / "run", count=5)


def test_a_score_is_that_of_the_network_with_its_weights_and_statistics(data: Path, tmp_path: Path) -> None:
    """Exported as a graph of its own, it has the same top-1."""
    made = training(data, tmp_path / "run", epochs=4)
    list(made.run())
    _, held = parts(str(data), 0, 1)
    scores = list(made.scores(held))
    for i, one in enumerate(made.net.members):
        alone = to_module(one.graph)
        alone.load_state_dict({**made.net.module(i).state_dict(), **made.net.weights_of(i)})
        assert _top1(alone.eval(), made, i, held) == pytest.approx(scores[i], abs=1e-6)


def _top1(alone: TorchNetwork, made: Training, member: int, held: Dataset) -> float:
    spec = made.net.spec(member)
    shown = Pictures(held, spec)
    pixels = np.stack([shown.near(i)[0] for i in range(len(held))])
    with torch.no_grad():
        found = alone(to_input(pixels, spec, torch.device("cpu"), torch.contiguous_format))
    return float((found.argmax(1).numpy() == held.labels).mean())


# -- in a search -------------------------------------------------------------------------------------------------------


def searched(data: Path, out: Path, engine: Here | None = None, **more: object) -> Found:
    what = asked(data, rungs="4x1,2x2", supernet=2, **more)
    return run.search(what, engine or Here(), out, lambda *_: None)


def test_networks_are_chosen_by_a_supernet_that_passes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supernet, "AUDITED", 5)
    monkeypatch.setattr(Audit, "passed", property(lambda _: True))
    engine = Here()
    found = searched(data, tmp_path / "run", engine)
    assert found.audit is not None
    assert found.audit.scored == 16
    assert engine.trained[:5] == [f"{one.key}-2" for one in found.audit.networks]
    scores, _ = read_record(tmp_path / "run" / supernet.FOLDER / supernet.SCORES)
    assert len(scores) == 16
    assert max(scores[key] for key in found.first) == max(scores.values())
    assert {f"{key}-1" for key in found.first} == set(engine.trained[5:9])
    assert {one.key for one in found.candidates} == found.first | {one.key for one in found.audit.networks}
    assert results(run.read(tmp_path / "run")) == results(found)
    assert "the supernet was used: 5 networks trained alone for 2 epochs" in " ".join(lines(found))
    assert found.to_dict()["audit"]["tau"] == found.audit.tau


def test_one_that_fails_changes_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supernet, "AUDITED", 4)
    monkeypatch.setattr(supernet, "TAU", 1.5)
    alone = run.search(asked(data, rungs="4x1,2x2"), Here(), tmp_path / "alone", lambda *_: None)
    found = searched(data, tmp_path / "run")
    assert found.audit is not None
    assert not found.audit.passed
    assert found.first == {one.key for one in alone.candidates}
    assert found.answer is not None
    assert alone.answer is not None
    assert "the supernet was not used" in " ".join(lines(found))


@pytest.mark.slow
def test_a_search_with_a_supernet_that_is_killed_ends_the_same(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supernet, "AUDITED", 4)
    whole = searched(data, tmp_path / "whole")
    for at in (1, 5, 7):
        engine = Here()
        engine.before = partial(_end_after, engine, at)
        with pytest.raises(KeyboardInterrupt):
            searched(data, tmp_path / f"cut{at}", engine)
        rest = Here()
        again = searched(data, tmp_path / f"cut{at}", rest, resume=True)
        assert results(again) == results(whole)
        assert len(engine.trained) == at
        assert rest.trained
        assert not set(engine.trained) & set(rest.trained)


def _end_after(engine: Here, count: int, _: object) -> None:
    if len(engine.trained) == count:
        raise KeyboardInterrupt


def test_where_the_hours_end_first_the_supernet_is_not_used(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(supernet, "SHARE", 1e-9)
        found = searched(data, tmp_path / "run", hours=9.0)
    assert found.audit is None
    assert len(found.first) == 4
    assert "the supernet was not used: it was not audited" in " ".join(lines(found))
    with pytest.raises(GraphError, match="must be resumed with the same supernet"):
        run.search(asked(data, rungs="4x1,2x2", hours=9.0, resume=True), Here(), tmp_path / "run", lambda *_: None)
    # With more hours it goes on, and is audited.
    more = searched(data, tmp_path / "run", resume=True)
    assert more.audit is not None


def test_ternary_networks_have_no_supernet(data: Path, tmp_path: Path) -> None:
    genes = tuple(replace(g, values=("int8", "ternary")) if g.name == "network.bits" else g for g in SPACE.genes)
    with pytest.raises(GraphError, match="--supernet must come with a space whose networks are all int8"):
        searched(data, tmp_path / "run", within=replace(SPACE, genes=genes))
    assert not (tmp_path / "run").exists()


def test_a_supernet_that_diverges_is_not_used(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(_: Training) -> Iterator[float]:
        raise Diverged("supernet: loss must be finite, got nan at step 1")

    monkeypatch.setattr(Training, "run", diverged)
    found = searched(data, tmp_path / "run")
    assert found.audit is None
    assert len(found.first) == 4
    assert found.answer is not None


def test_a_loss_that_is_no_number_ends_the_training(data: Path, tmp_path: Path) -> None:
    made = training(data, tmp_path / "run")
    with torch.no_grad():
        made.net.weights[0].fill_(float("nan"))
    with pytest.raises(Diverged, match="loss must be finite, got nan at step 1"):
        next(made.run())


@pytest.mark.slow
def test_scores_of_other_networks_are_refused(data: Path, tmp_path: Path) -> None:
    searched(data, tmp_path / "run")
    (tmp_path / "run" / run.AUDIT).unlink()
    (tmp_path / "run" / supernet.FOLDER / supernet.SCORES).write_text(record_text({"0" * 16: 0.5}))
    with pytest.raises(GraphError, match=r"scores.json: must have a score of each network"):
        searched(data, tmp_path / "run", resume=True)


@pytest.mark.parametrize("drawn", range(20))
def test_kendall_is_the_share_of_pairs_in_order(drawn: int) -> None:
    rng = np.random.default_rng(drawn)
    a, b = (rng.permutation(12).astype(float).tolist() for _ in range(2))
    pairs = [(i, j) for i in range(12) for j in range(i)]
    agree = sum((a[i] - a[j]) * (b[i] - b[j]) > 0 for i, j in pairs)
    assert supernet.kendall(a, b) == pytest.approx(2 * agree / len(pairs) - 1)
    assert supernet.kendall(a, a) == pytest.approx(1)
    assert supernet.kendall(a, [-x for x in a]) == pytest.approx(-1)


def test_kendall_of_ties() -> None:
    # tau-b by hand: 5 of 6 pairs untied on the left, 5 on the right, 4 in order, none against it.
    assert supernet.kendall([1, 1, 2, 3], [1, 2, 3, 3]) == pytest.approx(4 / 5)
    assert supernet.kendall([1, 1, 1], [1, 2, 3]) == 0
