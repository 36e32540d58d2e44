"""The public functions that count, cost, change and measure networks: their examples, records, data and refusals."""

import doctest
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import rillet
from rillet.api import analysis
from rillet.cli import app
from rillet.data.given import as_dataset
from rillet.errors import GraphError, RilletError
from rillet.ir.graph import Graph, ImageSpec
from rillet.system.printable import json_text

PUBLIC = {
    "analysis": ("count", "census", "compare", "explain", "fit", "cost", "energy", "systolic"),
    "changes": ("fold", "dequantize", "fuse", "resize", "quantize", "compress"),
    "accuracy": ("evaluate", "train"),
}


SLOW = {"train": pytest.mark.slow}


@pytest.mark.parametrize(
    ("module", "name"),
    [pytest.param(module, name, marks=SLOW.get(name, ())) for module, names in PUBLIC.items() for name in names],
)
def test_examples(module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "train":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    found = import_module(f"rillet.api.{module}")
    function: Callable[..., object] = getattr(found, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, module=found)
    assert example.examples, f"rillet.{name} must have an example"
    result = doctest.DocTestRunner(verbose=False).run(example)
    assert result.failed == 0


# -- data --------------------------------------------------------------------------------------------------------------

SPEC = ImageSpec(4, 6, 3)
BYTES = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3)).astype(np.uint8)
LABELS = [2, 0, 1, 1, 0]


class Places:
    """A map-style data set, as PyTorch's are."""

    classes = ("a", "b", "c")

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        self.read.append(index)
        return np.moveaxis(BYTES[index], 2, 0) / np.float32(255), LABELS[index]


def forms(folder: Path) -> dict[str, Any]:
    """The same pictures in every form that is taken."""
    files = [folder / f"{i}.png" for i in range(len(BYTES))]
    for path, picture in zip(files, BYTES, strict=True):
        Image.fromarray(picture).save(path)
    return {
        "arrays": (BYTES, np.array(LABELS)),
        "channels first": (np.moveaxis(BYTES, 3, 1), LABELS),
        "float32 values": (BYTES / 255.0, LABELS),
        "pairs": list(zip(BYTES, LABELS, strict=True)),
        "once": ((Image.fromarray(picture), label) for picture, label in zip(BYTES, LABELS, strict=True)),
        "paths": list(zip(files, LABELS, strict=True)),
        "places": Places(),
    }


def test_all_forms_of_data_are_the_same_pictures(tmp_path: Path) -> None:
    for name, data in forms(tmp_path).items():
        found = as_dataset(data, outputs=3)
        assert found.labels.tolist() == LABELS, name
        assert len(found.classes) == 3
        for i, picture in enumerate(BYTES):
            assert np.array_equal(found.pixels(i, SPEC), picture), name
        assert as_dataset(found) is found


def test_a_folder_is_data_by_its_path(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "val" / label).mkdir(parents=True)
        Image.fromarray(BYTES[0]).save(tmp_path / "val" / label / "one.png")
    assert as_dataset(tmp_path).classes == as_dataset(str(tmp_path)).classes == ("cat", "dog")


def test_only_as_many_pictures_are_read_as_are_wanted() -> None:
    data = Places()
    assert len(as_dataset(data, limit=2)) == 2
    assert data.read == [0, 1]
    endless = ((BYTES[0], 0) for _ in itertools.count())
    assert len(as_dataset(endless, limit=3)) == 3


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (7, "data must be a name such as cifar10, a folder, .* got int"),
        ({"a": 1}, "data must be a name .* got dict"),
        ((BYTES, LABELS[:3]), "must have a label for each of 5 pictures, got 3"),
        (BYTES, "must have a label for each picture, .* got pictures alone"),
        ([BYTES[0]], r"picture 0: must be given with its label, as \(picture, label\), got ndarray"),
        ((BYTES, [0.5] * 5), "labels must be 5 whole numbers, got float64"),
        ((BYTES, [0, 1, 2, 3, 0]), "picture 3: label must be 0 to 2, got 3"),
        ([], "data must have a picture, got none"),
    ],
)
def test_what_is_no_data(data: Any, says: str) -> None:
    with pytest.raises(GraphError, match=says):
        as_dataset(data, outputs=3)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (BYTES[0] / 100.0, "picture 0: floats must be 0 to 1, got 0"),
        (BYTES[0].astype(np.int32) - 200, "picture 0: must be bytes 0 to 255 or floats 0 to 1, got int32"),
        (BYTES[0, :, :, :2], r"picture 0: must be height x width x 1, 3 or 4 channels, got shape \(4, 6, 2\)"),
    ],
)
def test_what_is_no_picture(picture: np.ndarray, says: str) -> None:
    with pytest.raises(GraphError, match=says):
        as_dataset([(picture, 0)]).pixels(0, SPEC)


# -- records -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net() -> Graph:
    """A small network with weights."""
    return rillet.load("microbotnet:width=0.32,seed=0")


SEEDED = "microbotnet:width=0.32,seed=0"


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("count", rillet.count),
        ("explain", rillet.explain),
        ("explain --layer stem.conv", lambda net: rillet.explain(net, "stem.conv")),
        ("energy", rillet.energy),
        ("systolic", rillet.systolic),
        ("quantize --data random --limit 1", lambda net: rillet.quantize(net, "random", limit=1)),
        pytest.param(
            f"compare {SEEDED}", lambda net: rillet.compare([rillet.load(SEEDED), net]), marks=pytest.mark.slow
        ),
        pytest.param("fit --target nano33ble", rillet.fit, marks=pytest.mark.slow),
        pytest.param("fit --all", lambda net: rillet.fit(net, "all"), marks=pytest.mark.slow),
        pytest.param("cost --target zcu102", lambda net: rillet.cost(net, "zcu102"), marks=pytest.mark.slow),
        pytest.param("compress --index-bits 4", lambda net: rillet.compress(net, index_bits=4), marks=pytest.mark.slow),
    ],
)
def test_records_are_what_the_commands_print_and_one_line(net: Graph, words: str, call: Callable[[Graph], Any]) -> None:
    command, *options = words.split()
    done = CliRunner().invoke(app, [command, SEEDED, *options, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    record = call(net)
    assert json.loads(done.stdout) == json.loads(json_text(record.to_dict()))
    assert "\n" not in repr(record)
    assert len(repr(record)) < 160
    assert "object at" not in str(record.table())
    assert "<pre" in record._repr_html_()


def test_pictures_in_memory_measure_as_those_of_a_folder(net: Graph, tmp_path: Path) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (10, 32, 32, 3)).astype(np.uint8)
    for i, picture in enumerate(pictures):
        (tmp_path / "val" / str(i)).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "val" / str(i) / "one.png")
    told: list[tuple[int, int]] = []
    on_disk = rillet.evaluate(net, tmp_path, backend="reference", limit=3, progress=lambda *at: told.append(at))
    given = rillet.evaluate(net, (pictures, np.arange(10)), backend="reference", limit=3)
    assert (on_disk.images, on_disk.correct, on_disk.top5) == (given.images, given.correct, given.top5)
    assert told == [(3, 3)]


@pytest.mark.slow
def test_accuracy_before_and_after_is_that_of_the_program(net: Graph) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (10, 32, 32, 3)).astype(np.uint8)
    data = (pictures, np.arange(10))
    made = rillet.quantize(net, data, limit=4, evaluate=True, layers=True)
    assert (made.images, made.float_top1) == (4, rillet.evaluate(net, data).top1)
    assert made.top1 == rillet.evaluate(made.graph, data, check=True).top1
    assert made.layers
    compressed = rillet.compress(net, sparsity=0.9, evaluate=data)
    assert compressed.top1_before == made.float_top1
    assert compressed.top1 == rillet.evaluate(compressed.graph, data).top1


# -- changes -----------------------------------------------------------------------------------------------------------


def test_changes_are_those_behind_a_name() -> None:
    assert rillet.fuse(rillet.load("mobilenet_v2"), "half50") == rillet.load("mobilenet_v2:fuse=half50")
    small = rillet.resize(rillet.load("mobilenet_v1"), resolution=(64, 96), classes=4)
    assert small.nodes == rillet.load("mobilenet_v1:resolution=64x96,classes=4").nodes


def test_a_network_is_made_again_by_its_name_only_where_that_is_its_name() -> None:
    named = rillet.load("mobilenet_v1:width=0.5,resolution=96")
    source = analysis._source(named)  # pyright: ignore[reportPrivateUsage]
    smaller = {"width": "0.25"}
    assert source.opened(smaller).nodes == rillet.load("mobilenet_v1:width=0.25,resolution=96").nodes
    assert source.said(smaller) == ("mobilenet_v1:width=0.25,resolution=96",)
    other = analysis._source(named.with_name("mobilenet_v2"))  # pyright: ignore[reportPrivateUsage]
    assert other.said(smaller) == ()
    assert other.opened(smaller).by_name["stem.conv"].shape.channels == 8


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda _: rillet.count("mobilenet_v2"), r"model must be a Graph \(rillet.load opens one\), got str"),
        (lambda net: rillet.count(net, "flops"), "--convention must be one of macs, .* got 'flops'"),
        (lambda net: rillet.compare([net]), "compare must be given two networks or more, got 1"),
        (lambda net: rillet.explain(net, "stem.conv", fps=3), "--fps must come with the whole network, got --layer"),
        (lambda net: rillet.fit(net, ()), "target must be a board or several, got none"),
        (lambda net: rillet.cost(net, "nano"), "nano: must be a machine; did you mean"),
        (lambda net: rillet.fuse(net, "third"), "fuse must be one of half, full, half50, full50, got 'third'"),
        (lambda net: rillet.resize(net, width=0.5), "width can change in an untrained network only"),
        (
            lambda net: rillet.quantize(net, "random", weight_bits=4),
            "--weight-bits must be one of 8, ternary, binary, got '4'",
        ),
        (lambda net: rillet.quantize(net, "random", weight_bits="binary", threshold=0.1), "--threshold must come with"),
        (
            lambda net: rillet.quantize(net, "random", evaluate=True),
            "must have pictures with labels, got --data random",
        ),
        (
            lambda net: rillet.compress(net, more_than=3),
            "--more-than must come with --sparsity or --index-bits, got neither",
        ),
        (lambda net: rillet.evaluate(net, (BYTES, LABELS), backend="d"), "--backend must be one of .* got 'd'"),
        (lambda net: rillet.train(net, (BYTES, LABELS), "run", recipe="cifar"), "test must be given with data"),
    ],
)
def test_refusals_say_what_was_wanted(net: Graph, call: Callable[[Graph], object], says: str) -> None:
    with pytest.raises(RilletError, match=says):
        call(net)


@pytest.mark.parametrize(
    "call", ["evaluate(net, data, backend='torch')", "train(net, data, 'run', test=data, recipe='cifar')"]
)
def test_a_missing_extra_is_told_in_the_same_words(call: str) -> None:
    code = (
        "import sys, numpy, rillet; sys.modules['torch'] = None; net = rillet.load('microbotnet:width=0.32,seed=0');"
        f"data = (numpy.zeros((2, 32, 32, 3), numpy.uint8), [0, 1]); rillet.{call}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Unsupported: torch must be installed for this: pip install rillet[torch]" in done.stderr
