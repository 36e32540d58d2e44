"""Experiments: the page is what its records say, and a run writes a record."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT
from rillet.analyses.count import count
from rillet.models.opening import open_model
from rillet.models.variants import split, zoo_network
from rillet.train.recipe import find

sys.path.insert(0, str(ROOT / "experiments"))
import page
import run as runs


@pytest.fixture
def cifar(tmp_path: Path) -> str:
    """Sheets of noise."""
    rng = np.random.default_rng(0)
    for sheet in ("test_batch", "data_batch_1"):
        pixels = rng.integers(0, 256, (16, 1024, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{sheet}.png")
    (tmp_path / "test_lables.json").write_text(json.dumps([i % 10 for i in range(16)]))
    (tmp_path / "train_lables.json").write_text(json.dumps([i % 10 for i in range(5 * 16)]))
    return f"cifar10:{tmp_path}"


def test_the_page_is_what_the_records_say() -> None:
    assert page.PAGE.read_text() == page.written()


def test_every_experiment_has_a_network_a_recipe_and_a_start() -> None:
    known = runs.experiments()
    for name, found in known.items():
        graph = zoo_network(*split(found["model"]))
        recipe = find(str(ROOT / found["recipe"]) if found["recipe"].endswith(".toml") else found["recipe"])
        start = found.get("start")
        assert start is None or list(known).index(start) < list(known).index(name)
        begun = (start is not None, "dequantized" in found)
        assert sum(begun) == any((recipe.ternary, recipe.quantize, recipe.prune))
        assert recipe.quantize is None or recipe.quantize.rounding == found["rounding"]
        assert graph.by_name[graph.outputs[0]].shape.elements == 10
    assert len({found["recipe"] for found in known.values() if "cycles" in found}) == 1


@pytest.mark.parametrize("file", sorted(runs.TRAINED.iterdir()), ids=lambda file: file.stem)
def test_a_network_that_is_kept_is_an_experiments_and_others_begin_with_it(file: Path, tmp_path: Path) -> None:
    known = runs.experiments()
    graph = open_model(str(file)).graph
    assert graph.params
    record = json.loads((runs.RECORDS / f"{file.stem}.json").read_text())
    assert count(graph).macs == record["results"]["macs"]
    later = next(name for name, found in known.items() if found.get("start") == file.stem)
    assert runs.first(later, known[later], None, tmp_path, []) == ([str(file)], file.stem)
    mine = tmp_path / file.stem / "best.rlt"
    mine.parent.mkdir()
    mine.touch()
    assert runs.first(later, known[later], None, tmp_path, []) == ([str(mine)], file.stem)


def start(name: str, cifar: str, tmp_path: Path, *more: str) -> dict:
    words = ["--data", cifar, "--epochs", "1", "--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    done = subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "run.py"), name, *words, "--batch", "8", "--threads", "1", *more],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "records" / f"{name}.json").read_text())


@pytest.mark.slow
def test_runs_leave_records(cifar: str, tmp_path: Path) -> None:
    first = start("microbotnet", cifar, tmp_path)
    assert first["budget"]["epochs"] == 1 and first["start"] == "nothing" and first["results"]["params"] == 236_658
    assert (tmp_path / "records" / "microbotnet.csv").read_text().count("\n") == 2
    ternary = start("microbotnet_ttq", cifar, tmp_path)
    assert 0 <= ternary["results"]["signs_top1"] <= 1 and ternary["start"] == "microbotnet"
    integer = start("int8_shift", cifar, tmp_path)
    assert {"float_top1", "post_training_top1", "top1"} <= integer["results"].keys()
    small = start("compressed_microbotnet", cifar, tmp_path)
    coded = [step["coded_bytes"] for step in small["results"]["sizes"]]
    assert coded[0] > coded[1] > coded[3] and coded[2] > coded[3]
    records = {one["name"]: one for one in (first, ternary, integer, small)}
    text = page.text(records, runs.experiments())
    assert f"| {100 * first['results']['top1']:.2f} |" in text and f"{coded[3]:,}" in text


def test_a_start_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "squeezenet_ttq", "--data", "x", "--runs", str(tmp_path)])
    with pytest.raises(SystemExit, match="run squeezenet first, or say --weights FILE"):
        runs.main()
