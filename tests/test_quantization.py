"""Quantising trained networks: calibration data, accuracy kept, errors by layer, the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from conftest import shared_file
from rillet.cli import app
from rillet.data.datasets import open_dataset
from rillet.errors import GraphError, RilletError
from rillet.models.opening import open_model
from rillet.runtime import quantization
from rillet.transforms.lowbit import census
from rillet.transforms.quantize import Quantization, Rule, quantize
from rillet.transforms.statistics import Calibration

SEEDED = "microbotnet:width=0.25,seed=3"
PICTURES = 6


@pytest.fixture
def cifar(tmp_path: Path) -> str:
    """Sheets of noise, test part and training part."""
    rng = np.random.default_rng(0)
    for sheet in ("test_batch", "data_batch_1", "data_batch_2"):
        pixels = rng.integers(0, 256, (PICTURES, 1024, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{sheet}.png")
    (tmp_path / "test_lables.json").write_text(json.dumps([i % 10 for i in range(PICTURES)]))
    (tmp_path / "train_lables.json").write_text(json.dumps([i % 10 for i in range(5 * PICTURES)]))
    return f"cifar10:{tmp_path}"


def run(*arguments: str) -> dict:
    done = CliRunner().invoke(app, ["quantize", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


def test_the_training_part_has_its_own_sheets_and_labels(cifar: str, tmp_path: Path) -> None:
    train = open_dataset(cifar, "train")
    assert train.labels.tolist() == [i % 10 for i in range(2 * PICTURES)]
    (tmp_path / "data_batch_1.png").unlink()
    second = open_dataset(cifar, "train")
    assert second.labels.tolist() == [i % 10 for i in range(PICTURES, 2 * PICTURES)]
    (tmp_path / "train_lables.json").write_text(json.dumps([1] * PICTURES))
    with pytest.raises(GraphError, match=f"must be a list of {5 * PICTURES} labels"):
        open_dataset(cifar, "train")
    (tmp_path / "data_batch_2.png").unlink()
    with pytest.raises(GraphError, match="must have a sheet to train on"):
        open_dataset(cifar, "train")


def test_any_folder_of_pictures_will_do(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for place in (tmp_path / "one.png", tmp_path / "below" / "two.bmp"):
        Image.new("RGB", (40, 30), (200, 100, 50)).save(place)
    (tmp_path / "notes.txt").write_text("no picture")
    assert quantization.calibrate(open_model(SEEDED).graph, str(tmp_path), 5).images == 2
    with pytest.raises(GraphError, match="must have pictures, got none"):
        (tmp_path / "empty").mkdir()
        quantization.calibrate(open_model(SEEDED).graph, str(tmp_path / "empty"), 5)


def test_calibration_keeps_what_it_saw(cifar: str) -> None:
    found: list[int] = []
    calibrated = quantization.calibrate(open_model(SEEDED).graph, cifar, 5, progress=found.append)
    assert (calibrated.images, found) == (5, [1, 2, 3, 4, 5])
    assert len(calibrated.inputs) == 5
    assert quantization.calibrate(open_model(SEEDED).graph, cifar, 99).images == 2 * PICTURES
    again = quantization.calibrate(open_model(SEEDED).graph, cifar, 5)
    assert again.seen["stem.conv"].high == calibrated.seen["stem.conv"].high


@pytest.mark.slow
def test_every_way_of_quantising_beside_the_float_network(cifar: str) -> None:
    calibrated = quantization.calibrate(open_model(SEEDED).graph, cifar, 4)
    rows = quantization.compare(calibrated, cifar, rules=(Rule.SHIFT,))
    assert [(row.rounding, row.calibration) for row in rows] == [
        ("float", "-"),
        *(("shift", method.value) for method in Calibration),
    ]
    assert all(row.top1 * PICTURES == pytest.approx(round(row.top1 * PICTURES)) for row in rows)
    assert rows[1].weight_bytes < rows[0].weight_bytes / 3.8
    assert rows[1].file_bytes < rows[0].file_bytes / 3


def test_errors_of_layers(cifar: str) -> None:
    calibrated = quantization.calibrate(open_model(SEEDED).graph, cifar, 3)
    made = quantize(calibrated.graph, calibrated.seen, Quantization(Rule.FIXED_POINT, Calibration.MINMAX))
    errors = {error.node: error for error in quantization.layer_errors(calibrated, made)}
    assert len(errors) == len(made.nodes) - 1
    first = errors["stem.conv"]
    assert first.own_db == first.total_db  # nothing lies before it but the input, which is the same for both
    assert first.own_db is not None
    assert first.own_db > 30
    worse = made.params["block2.project.weight"].copy()
    worse[:] = np.roll(worse, 1, 0)
    broken = type(made)(made.name, made.nodes, made.outputs, {**made.params, "block2.project.weight": worse})
    wrong = {error.node: error for error in quantization.layer_errors(calibrated, broken)}
    assert min(wrong.values(), key=lambda error: np.inf if error.own_db is None else error.own_db).node == (
        "block2.project"
    )
    assert wrong["block2.depthwise"] == errors["block2.depthwise"]
    assert wrong["block3.expand"].own_db == errors["block3.expand"].own_db


def test_the_command_writes_a_network(cifar: str, tmp_path: Path) -> None:
    out = tmp_path / "net.rlt"
    record = run(SEEDED, "--data", cifar, "--limit", "4", "-o", str(out), "--rounding", "fixed_point", "--equalize")
    assert (record["rounding"], record["calibration"], record["images"]) == ("fixed_point", "percentile", 4)
    assert record["file_bytes"] == out.stat().st_size
    assert open_model(out).graph.weight_bytes == record["weight_bytes"]
    assert record["top1"] is None


def test_the_command_measures(cifar: str) -> None:
    record = run(SEEDED, "--data", cifar, "--limit", "4", "--evaluate", "--layer-errors", "--correct-bias")
    assert 0 <= record["top1"] <= 1
    assert 0 <= record["float_top1"] <= 1
    assert {layer["node"] for layer in record["layers"]} >= {"stem.conv", "head.logits"}


def test_noise_needs_no_data() -> None:
    record = run("mobilenet_v2:resolution=32,seed=0", "--data", "random", "--limit", "1")
    assert record["weight_bytes"] < record["float_weight_bytes"] / 3.8


@pytest.mark.parametrize("bits", ["ternary", "binary"])
def test_few_bits(bits: str, tmp_path: Path) -> None:
    out = tmp_path / "net.rlt"
    for more in (["--limit", "1"], ["--float"]):
        record = run(SEEDED, "--data", "random", "--weight-bits", bits, "-o", str(out), *more)
        made = open_model(out).graph
        assert made.weight_bytes == record["weight_bytes"]
        assert record["few_bits"]["tensors"] == census(made).tensors > 10
        assert (record["few_bits"]["zero"] > 0) is (bits == "ternary")
        assert record["file_bytes"] == out.stat().st_size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["microbotnet", "--data", "random"], "must have weights to run"),
        ([SEEDED, "--data", "nowhere"], "--data must be cifar10, cifar100 or a folder of pictures, got nothing"),
        ([SEEDED, "--data", "random", "--evaluate"], "--evaluate and --compare must have pictures with labels"),
        ([SEEDED, "--data", "random", "--weight-bits", "4"], "--weight-bits must be one of 8, ternary, binary"),
        (
            [SEEDED, "--data", "random", "--weight-bits", "ternary", "--compare"],
            "--compare must come with --weight-bits 8, got ternary",
        ),
        ([SEEDED, "--data", "random", "--float"], "--float must come with --weight-bits ternary or binary, got 8"),
        ([SEEDED, "--data", "random", "--rounding", "up"], "--rounding must be one of shift, fixed_point, got 'up'"),
        ([SEEDED, "--data", "random", "--calibration", "x"], "--calibration must be one of minmax, percentile, mse"),
        (
            [SEEDED, "--data", "random", "--compare", "--layer-errors"],
            "--layer-errors must come with --weight-bits 8 or --weight-bits ternary or --weight-bits binary, got "
            "--compare",
        ),
        (["CLASSES", "--data", "CIFAR", "--evaluate"], "must have 10 classes as cifar10 has, got 7"),
        (["QUANTIZED", "--data", "random"], "input: must be float32 to be quantised, got i8"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str, cifar: str, tmp_path: Path) -> None:
    said = {"CIFAR": cifar, "CLASSES": "microbotnet:width=0.25,classes=7,seed=1", "QUANTIZED": str(tmp_path / "q.rlt")}
    if "QUANTIZED" in arguments:
        run(SEEDED, "--data", "random", "--limit", "1", "-o", said["QUANTIZED"])
    with pytest.raises(RilletError) as caught:
        CliRunner().invoke(app, ["quantize", *(said.get(word, word) for word in arguments)], catch_exceptions=False)
    assert message in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("microbotnet:width=0.5", "microbotnet/fd_mobilenet_v3_x0_50_acc81_91.pth"),
        ("squeezenet_cifar10", "squeezenet/squeezenet_cifar10.pytorch_state"),
    ],
)
def test_trained_networks_lose_at_most_half_a_point(model: str, file: str, rule: Rule) -> None:
    """All 10,000 test images by the emitted program; calibrated on 128 training images."""
    data = f"cifar10:{shared_file('cifar10/test_batch.png').parent}"
    calibrated = quantization.calibrate(open_model(model, weights=shared_file(file)).graph, data, 128)
    made = quantize(calibrated.graph, calibrated.seen, Quantization(rule))
    lost = quantization.accuracy(calibrated.graph, data) - quantization.accuracy(made, data)
    assert lost <= 0.005
