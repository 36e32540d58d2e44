"""Recipes: those that ship, the numbers of their sources, and what is refused, with the key named."""

from dataclasses import replace
from pathlib import Path

import pytest

from rillet.errors import GraphError
from rillet.train import recipe
from rillet.train.optim import rate_at
from rillet.train.recipe import Recipe, Ternary

PLAIN = """
about = "a test"
[run]
epochs = 3
batch = 8
[optimizer]
name = "sgd"
[rate]
base = 0.1
per_batch = 8
shape = "constant"
"""


@pytest.mark.parametrize("name", recipe.names())
def test_each_recipe_comes_back_from_its_text(name: str) -> None:
    found = recipe.find(name)
    assert found.about and found.source
    assert recipe.parse(name, recipe.to_toml(found)) == found


def test_fuseconv_trains_as_its_source_does() -> None:
    found = recipe.find("fuseconv-imagenet")
    assert (found.optimizer.name, found.optimizer.momentum, found.optimizer.alpha) == ("rmsprop", 0.9, 0.9)
    assert (found.optimizer.epsilon, found.optimizer.weight_decay) == (1e-3, 1e-5)
    assert (found.rate.base, found.rate.per_batch, found.rate.factor, found.rate.every_epochs) == (
        0.016,
        128,
        0.97,
        2.4,
    )
    assert (found.loss.label_smoothing, found.average.decay, found.run.epochs) == (0.1, 0.9999, 350)
    assert (found.batch_norm.momentum, found.batch_norm.epsilon) == (0.01, 1e-3)


def test_a_recipe_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PLAIN + '[augment]\ncrop_scale = [0.5, 1]\n[ternary]\nlayers = ["a.b"]\n')
    found = recipe.find(str(path))
    assert (found.run.epochs, found.augment.crop_scale, found.optimizer.momentum) == (3, (0.5, 1.0), 0.0)
    assert found.ternary == Ternary(layers=("a.b",))


def test_a_run_may_leave_the_end_of_its_schedule_to_the_next() -> None:
    whole = recipe.parse("x", PLAIN.replace('"constant"', '"cosine"'))
    part = replace(whole, run=replace(whole.run, epochs=2), rate=replace(whole.rate, over_epochs=3))
    assert [rate_at(part, step, 5) for step in range(10)] == [rate_at(whole, step, 5) for step in range(10)]
    # The schedule fits the epochs that are said.
    assert recipe.with_said(part, epochs=4).rate.over_epochs == 0


def test_what_is_said_over_it() -> None:
    found = recipe.with_said(recipe.find("cifar"), epochs=2, upscale=64, freeze=True, ternary=True)
    assert (found.run.epochs, found.run.batch, found.run.upscale) == (2, 128, 64)
    assert found.start.freeze and found.ternary == Ternary()
    assert recipe.with_said(recipe.find("cifar")) == recipe.find("cifar")
    named = recipe.find("ttq_microbotnet")
    assert recipe.with_said(named, ternary=True) == named


def test_pictures_held_back_are_a_number_or_a_share() -> None:
    for said, text in ((5000, "5000"), (5000.0, "5000"), (0.1, "0.1")):
        found = recipe.parse("x", PLAIN.replace("epochs = 3", f"epochs = 3\nheld_back = {said}"))
        assert found.run.held_back == said and f"held_back = {text}\n" in recipe.to_toml(found)
        assert recipe.with_said(recipe.find("cifar"), held_back=said).run.held_back == said
    with pytest.raises(GraphError, match=r"--held-back: must be a share below 1 or a whole number, got 2\.5"):
        recipe.with_said(recipe.find("cifar"), held_back=2.5)


def test_twins_differ_in_their_layers_alone() -> None:
    published, plain = recipe.find("ttq_microbotnet"), recipe.find("ttq")
    assert published.ternary is not None and len(published.ternary.layers) == 31

    def bare(found: Recipe) -> Recipe:
        return replace(found, name="", about="", source="", ternary=None)

    assert bare(published) == bare(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 3", "epoch = 3"), "x: run: key must be a known one, got 'epoch'; did you mean epochs?"),
        (("epochs = 3\n", ""), "x: run: must say epochs"),
        (("epochs = 3", "epochs = 0"), "x: run: epochs: must be a whole number from 1 to 100000, got 0"),
        (("epochs = 3", "epochs = 3.5"), "x: run: epochs: must be a whole number from 1 to 100000, got 3.5"),
        (("epochs = 3", "epochs = true"), "got True"),
        (("epochs = 3", "epochs = 3\nepochs = 4"), "epochs must be given once"),
        (('"sgd"', '"adam"'), "x: optimizer: name: must be one of sgd, rmsprop, adamw; got 'adam'"),
        (('"sgd"', '"sgd"\nalpha = 0.9'), "x: optimizer: alpha must come with rmsprop"),
        (('"sgd"', '"sgd"\nnesterov = true'), "nesterov must come with momentum"),
        (('"sgd"', '"sgd"\nnesterov = 1'), "nesterov: must be true or false, got 1"),
        (('"constant"', '"cosine"\nfactor = 0.9'), 'rate: factor must come with shape = "step"'),
        (('"constant"', '"cosine"\nover_epochs = 2'), 'rate: over_epochs must come with shape = "cosine", and be at'),
        (("epochs = 3", "epochs = 3\nheld_back = 1.5"), "x: run: held_back: must be a share below 1 or a whole number"),
        (("epochs = 3", "epochs = 3\nheld_back = -1"), "held_back: must be a number from 0 to"),
        (("base = 0.1", "base = nan"), "base: must be a number from 0 to 100, got nan"),
        (("[rate]", "[rates]"), "key must be a known one, got 'rates'; did you mean rate?"),
        (("[run]", "[augment]\ncrop_scale = [1, 0.5]\n[run]"), "must be the least and the greatest"),
        (("[run]", "[augment]\ncrop_scale = 0.5\n[run]"), "must be a list"),
        (("[run]", "[augment]\npad = 1\ncrop_scale = [0.5, 1]\n[run]"), "crop_scale must come without pad and share"),
        (("[run]", "loss = 3\n[run]"), "x: loss: must be a table, got 3"),
        (("about", "= about"), "x: must be TOML"),
    ],
)  # fmt: skip
def test_what_is_refused(change: tuple[str, str], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        recipe.parse("x", PLAIN.replace(*change))
    assert message in str(caught.value)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"cifar69: must be a recipe; did you mean cifar96\?"):
        recipe.find("cifar69")
    with pytest.raises(GraphError, match=r"none\.toml: must be a TOML file, got no file"):
        recipe.find(str(tmp_path / "none.toml"))
