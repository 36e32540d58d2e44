"""Pruning and sharing: how many weights go, which, and what the rest become."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.testing import CliRunner

from rillet.cli import app
from rillet.errors import GraphError, RilletError
from rillet.importers.rlt import load
from rillet.runtime.quantization import quantize_with
from rillet.runtime.verify import random_inputs
from rillet.train.loop import train
from rillet.train.records import Options, Tick, Watch
from rillet.transforms.fold import fold
from rillet.transforms.prune import kept, prunable_layers, prune
from rillet.transforms.share import codebook, nearest, share
from rillet.zoo.registry import build
from rillet.zoo.weights import with_seeded_weights
from train_case import network, pictures, recipe

GRAPH = with_seeded_weights(build("microbotnet", {"width": "0.25"}))
SMALL = arrays(np.float32, st.integers(1, 60), elements=st.floats(-2, 2, width=32))


@settings(max_examples=100, deadline=None)
@given(SMALL, st.floats(0, 0.99))
def test_the_least_weights_go(weight: np.ndarray, sparsity: float) -> None:
    mask = kept(weight, sparsity)
    assert int((~mask).sum()) == int(sparsity * weight.size)
    if mask.any() and not mask.all():
        assert np.abs(weight[~mask]).max() <= np.abs(weight[mask]).min()


def test_a_network_is_pruned_layer_by_layer() -> None:
    layers = prunable_layers(GRAPH)
    assert layers and all(GRAPH.params[f"{name}.weight"].size > 1000 for name in layers)
    made = prune(GRAPH, 0.6, layers)
    for name, array in GRAPH.params.items():
        if name.removesuffix(".weight") in layers:
            assert int((made.params[name] == 0).sum()) == int(0.6 * array.size)
            stays = made.params[name] != 0
            assert np.array_equal(made.params[name][stays], array[stays])
        else:
            assert made.params[name] is not None and np.array_equal(made.params[name], array)
    assert prune(GRAPH, 0.0, layers) == GRAPH
    assert prunable_layers(GRAPH, layers=("stem.conv",)) == ("stem.conv",)


@settings(max_examples=100, deadline=None)
@given(SMALL, st.integers(1, 4))
def test_a_codebook_is_settled(values: np.ndarray, bits: int) -> None:
    """Each entry is the mean of the values nearest to it; no more entries than asked for; always the same."""
    values = values.astype(np.float64)
    book = codebook(values, 2**bits)
    assert len(book) <= 2**bits and np.all(np.diff(book) > 0)
    assert np.array_equal(book, codebook(values[::-1], 2**bits))
    places = nearest(values, book)
    slow = np.abs(values[:, None] - book).argmin(1)
    assert np.allclose(np.abs(values - book[places]), np.abs(values - book[slow]))
    if len(np.unique(values)) > 2**bits:
        for place in set(places):
            assert abs(values[places == place].mean() - book[place]) < 1e-3
    else:
        assert np.array_equal(book[places], values)


def test_a_few_great_values_do_not_take_half_of_a_codebook() -> None:
    """Begun evenly, a codebook loses the values between the many and the few."""
    values = np.append(np.random.default_rng(0).normal(size=5000), [-9, 9])
    book = codebook(values, 32)
    even = np.linspace(-9, 9, 32)
    errors = [((values - some[nearest(values, some)]) ** 2).mean() for some in (book, even)]
    assert len(book) == 32
    assert errors[0] < errors[1] / 8


def test_shared_weights() -> None:
    layers = prunable_layers(GRAPH)
    pruned = prune(GRAPH, 0.5, layers)
    made = share(pruned, 3, layers)
    for name in layers:
        before, after = (graph.params[f"{name}.weight"] for graph in (pruned, made))
        assert len(np.unique(after[after != 0])) <= 8
        assert np.array_equal(before == 0, after == 0)
        spread = [np.abs(before - share(pruned, bits, [name]).params[f"{name}.weight"]).mean() for bits in (2, 4, 6)]
        assert spread[0] > 2 * spread[1] > 4 * spread[2]
    assert share(made, 3, layers) == made


def test_what_is_refused() -> None:
    layers = prunable_layers(GRAPH)
    for sparsity in (-0.1, 1.0, float("nan")):
        with pytest.raises(GraphError, match="sparsity must be at least 0 and below 1"):
            prune(GRAPH, sparsity, layers)
    for bits in (0, 9):
        with pytest.raises(GraphError, match=f"bits must be 1 to 8, got {bits}"):
            share(GRAPH, bits, layers)
    with pytest.raises(GraphError, match=r"nowhere: must be a convolution or dense layer"):
        prunable_layers(GRAPH, layers=("nowhere",))
    with pytest.raises(GraphError, match="must have layers of more than 100000000 weights"):
        prunable_layers(GRAPH, 10**8)
    made = quantize_with(GRAPH, random_inputs(GRAPH, 1))
    with pytest.raises(GraphError, match="weights must be float32 to be changed, got i8"):
        prunable_layers(made)


class Stop(Exception):
    pass


def test_what_is_pruned_stays_zero_in_retraining(tmp_path: Path) -> None:
    """With momentum, weight decay and averaged weights; also where the run is cut off and goes on."""
    one = Options(threads=1)
    train(network(), pictures(), pictures(9, 1), recipe(epochs=6), tmp_path / "float", one)
    graph = load(tmp_path / "float" / "best.rlt")
    said = recipe("[prune]\nsparsity = 0.5\nmore_than = 60\n", keys="momentum = 0.9\nweight_decay = 1e-2")
    run = train(graph, pictures(), pictures(9, 1), said, tmp_path / "whole", one)
    layers = prunable_layers(graph, 60)
    start, end = prune(graph, 0.5, layers), load(tmp_path / "whole" / "last.rlt")
    assert len(layers) == 6
    for name in layers:
        before, after = (made.params[f"{name}.weight"] for made in (start, end))
        assert (after[before == 0] == 0).all() and (after[before != 0] != before[before != 0]).any()
        assert (after == 0).sum() == after.size // 2
    assert run.rows[-1].train_loss < run.rows[0].train_loss

    def tick(now: Tick) -> None:
        if now.step == 4:
            raise Stop

    again = replace(one, resume=True, save_steps=1)
    with pytest.raises(Stop):
        train(graph, pictures(), pictures(9, 1), said, tmp_path / "cut", again, Watch(tick))
    train(graph, pictures(), pictures(9, 1), said, tmp_path / "cut", again)
    assert load(tmp_path / "cut" / "last.rlt") == end
    with pytest.raises(GraphError, match="ternary: must come without prune and quantize"):
        recipe("[prune]\nsparsity = 0.5\n[ternary]\n")


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["compress", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_the_command(tmp_path: Path) -> None:
    model, out = "microbotnet:width=0.25,seed=1", tmp_path / "small.rlt"
    record = json.loads(run(model, "--sparsity", "0.6", "--index-bits", "4", "-o", str(out), "--json"))
    made = load(out)
    layers = prunable_layers(made)
    assert all(len(np.unique(made.params[f"{name}.weight"])) <= 17 for name in layers)
    assert record["coded_bytes"] < record["packed_bytes"] / 3
    assert record["file_bytes"] == out.stat().st_size
    again = json.loads(run(str(out), "--json"))
    assert [again[key] for key in ("dense_bytes", "packed_bytes", "coded_bytes", "tensors")] == [
        record[key] for key in ("dense_bytes", "packed_bytes", "coded_bytes", "tensors")
    ]
    text = run(str(out), "--markdown")
    assert f"{record['coded_bytes']:,}" in text and "block3.expand.weight" in text
    one = json.loads(run(model, "--sparsity", "0.9", "--layers", "block3.expand", "--json"))
    zeros = {tensor["name"]: tensor["zeros"] for tensor in one["tensors"]}
    plain = fold(with_seeded_weights(build("microbotnet", {"width": "0.25"}), 1))
    assert zeros["block3.expand.weight"] == int(0.9 * plain.params["block3.expand.weight"].size)
    assert zeros["block3.project.weight"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["microbotnet"], "must have weights to be compressed, got none"),
        (["microbotnet:seed=1", "--sparsity", "1.5"], "sparsity must be at least 0 and below 1, got 1.5"),
        (["microbotnet:seed=1", "--index-bits", "12"], "bits must be 1 to 8, got 12"),
        (["microbotnet:seed=1", "--data", "random"], "must have pictures with labels"),
    ],
)
def test_what_the_command_refuses(words: list[str], message: str) -> None:
    with pytest.raises(RilletError) as caught:
        CliRunner().invoke(app, ["compress", *words], catch_exceptions=False)
    assert message in str(caught.value)
