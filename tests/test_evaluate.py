"""Data sets and accuracy: CIFAR-10 in its three forms, image folders, and what the trained networks get right."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import shared_file
from rillet.data.datasets import CIFAR10, chosen, open_dataset
from rillet.errors import BuildError, GraphError, RilletError, Unsupported
from rillet.ir.graph import Graph
from rillet.models.opening import open_model
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.evaluate import BACKENDS, evaluate
from rillet.runtime.run import shortened
from rillet.targets.host import this_host
from rillet.train.infer import runner
from rillet.transforms.fold import fold
from rillet.transforms.lowbit import signs, ternary_tensors

IMAGES = 12


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3)).astype(np.uint8)


LABELS = [i % 10 for i in range(IMAGES)]


def write_sheets(folder: Path, images: np.ndarray) -> None:
    Image.fromarray(images.reshape(IMAGES, 1024, 3)).save(folder / "test_batch.png")
    (folder / "test_lables.json").write_text(json.dumps(LABELS))


def write_batch(path: Path, images: np.ndarray, key: str = "labels", protocol: int = 2) -> None:
    rows = images.transpose(0, 3, 1, 2).reshape(IMAGES, 3072)
    path.write_bytes(pickle.dumps({"data": rows, key: LABELS, "batch_label": "testing"}, protocol=protocol))


def write_folder(folder: Path, images: np.ndarray) -> None:
    for i, image in enumerate(images):
        place = folder / "test" / CIFAR10[LABELS[i]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:02}.png")


@pytest.mark.parametrize("form", ["sheets", "batch", "batch4", "inner", "folder"])
def test_cifar10_in_each_of_its_forms(form: str, images: np.ndarray, tmp_path: Path) -> None:
    match form:
        case "sheets":
            write_sheets(tmp_path, images)
        case "batch":
            write_batch(tmp_path / "test_batch", images)
        case "batch4":
            write_batch(tmp_path / "test_batch", images, protocol=4)
        case "inner":
            (tmp_path / "cifar-10-batches-py").mkdir()
            write_batch(tmp_path / "cifar-10-batches-py" / "test_batch", images)
        case _:
            write_folder(tmp_path, images)
    data = open_dataset(f"cifar10:{tmp_path}")
    spec = open_model("microbotnet").graph.image
    assert spec is not None
    assert len(data) == IMAGES
    seen = {(data.pixels(i, spec).tobytes(), int(data.labels[i])) for i in range(IMAGES)}
    assert seen == {(image.tobytes(), label) for image, label in zip(images, LABELS, strict=True)}


def test_the_training_part_of_cifar10_is_what_sheets_there_are(images: np.ndarray, tmp_path: Path) -> None:
    write_sheets(tmp_path, images)
    labels = [(i // IMAGES + i) % 10 for i in range(5 * IMAGES)]
    (tmp_path / "train_lables.json").write_text(json.dumps(labels))
    with pytest.raises(GraphError, match=r"must have a sheet to train on, data_batch_1\.png to data_batch_5\.png"):
        open_dataset(f"cifar10:{tmp_path}", "train")
    for sheet in (2, 4):
        Image.fromarray((images + sheet).reshape(IMAGES, 1024, 3)).save(tmp_path / f"data_batch_{sheet}.png")
    data = open_dataset(f"cifar10:{tmp_path}", "train")
    assert data.stored is not None
    assert np.array_equal(data.stored, np.concatenate([images + 2, images + 4]))
    assert data.labels.tolist() == labels[IMAGES : 2 * IMAGES] + labels[3 * IMAGES : 4 * IMAGES]


def test_the_training_part_of_the_python_batches(images: np.ndarray, tmp_path: Path) -> None:
    write_batch(tmp_path / "test_batch", images)
    for i in (1, 2, 3, 4, 5):
        write_batch(tmp_path / f"data_batch_{i}", images + i)
    data = open_dataset(f"cifar10:{tmp_path}", "train")
    assert data.stored is not None and len(data) == 5 * IMAGES
    assert np.array_equal(data.stored[3 * IMAGES : 4 * IMAGES], images + 4)
    write_batch(tmp_path / "test", images, "fine_labels")
    write_batch(tmp_path / "train", images + 9, "fine_labels")
    hundred = open_dataset(f"cifar100:{tmp_path}", "train")
    assert hundred.stored is not None and np.array_equal(hundred.stored, images + 9)


def test_parts_of_an_image_folder(images: np.ndarray, tmp_path: Path) -> None:
    write_folder(tmp_path, images)
    with pytest.raises(GraphError, match="must have the folders train and val"):
        open_dataset(f"imagefolder:{tmp_path}", "train")
    (tmp_path / "test").rename(tmp_path / "train")
    write_folder(tmp_path, images[:10])
    assert len(open_dataset(f"imagefolder:{tmp_path}", "train")) == IMAGES
    assert len(open_dataset(f"imagefolder:{tmp_path}")) == 10
    (tmp_path / "train" / "zebra").mkdir()
    with pytest.raises(GraphError, match="test and train must have the same classes, got zebra in one alone"):
        open_dataset(f"imagefolder:{tmp_path}")


def test_tiny_imagenet_and_groups_of_its_classes(images: np.ndarray, tmp_path: Path) -> None:
    words = {"n1": "sock", "n2": "black widow, Latrodectus mactans", "n3": "nail"}
    (tmp_path / "wnids.txt").write_text("\n".join(words))
    (tmp_path / "words.txt").write_text("".join(f"{key}\t{name}\n" for key, name in {**words, "n4": "x"}.items()))
    (tmp_path / "val" / "images").mkdir(parents=True)
    for i, key in enumerate(words):
        place = tmp_path / "train" / key / "images"
        place.mkdir(parents=True)
        for j in range(2):
            Image.fromarray(images[2 * i + j]).save(place / f"{key}_{j}.png")
        Image.fromarray(images[6 + i]).save(tmp_path / "val" / "images" / f"val_{i}.png")
    listed = tmp_path / "val" / "val_annotations.txt"
    listed.write_text("".join(f"val_{i}.png\t{key}\t0\t0\t9\t9\n" for i, key in enumerate(words)))
    spec = open_model("microbotnet").graph.image
    assert spec is not None
    train, test = (open_dataset(f"imagefolder:{tmp_path}", part) for part in ("train", "test"))
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 1, 1, 2, 2], [0, 1, 2])
    assert np.array_equal(test.pixels(1, spec), images[7])
    some = chosen(test, ["nail", "black_widow"])
    assert some.classes == ("nail", "black widow, Latrodectus mactans")
    assert [np.array_equal(some.pixels(i, spec), images[6 + j]) for i, j in ((0, 1), (1, 2))] == [True, True]
    assert some.labels.tolist() == [1, 0]
    with pytest.raises(GraphError, match=r"must have a class nails; did you mean nail\?"):
        chosen(test, ["nails"])
    with pytest.raises(GraphError, match="must name a class once, got sock twice"):
        chosen(test, ["sock", "sock"])
    with pytest.raises(GraphError, match="must have a class acorn"):
        chosen(test, ["outdoor"])
    listed.write_text("../x.png\tn1\n")
    with pytest.raises(GraphError, match="must have a file and its class a line"):
        open_dataset(f"imagefolder:{tmp_path}")


def test_visual_wake_words_with_and_without_parts(images: np.ndarray, tmp_path: Path) -> None:
    def write(place: Path, count: int) -> None:
        for name in ("person", "non_person"):
            (place / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(images[i % IMAGES]).save(place / name / f"COCO_{name}_{i:04}.png")

    write(tmp_path / "whole", 40)
    train, test = (open_dataset(f"vww:{tmp_path / 'whole'}", part) for part in ("train", "test"))
    assert test.classes == ("no person", "person")
    assert len(train) + len(test) == 80 and 2 <= len(test) <= 16
    assert not set(train.files) & set(test.files)
    assert all(
        ("non_person" in str(file)) == (label == 0) for file, label in zip(train.files, train.labels, strict=True)
    )
    write(tmp_path / "parts" / "train", 3)
    write(tmp_path / "parts" / "val", 2)
    assert [len(open_dataset(f"vww:{tmp_path / 'parts'}", part)) for part in ("train", "test")] == [6, 4]
    with pytest.raises(GraphError, match="must have two folders, non_person and person, got nothing"):
        open_dataset(f"vww:{tmp_path / 'none'}")


def test_cifar100(images: np.ndarray, tmp_path: Path) -> None:
    write_batch(tmp_path / "test", images, "fine_labels")
    data = open_dataset(f"cifar100:{tmp_path}")
    assert (len(data), len(data.classes)) == (IMAGES, 100)


def test_the_same_answers_by_every_backend(images: np.ndarray, tmp_path: Path) -> None:
    write_sheets(tmp_path, images)
    data = open_dataset(f"cifar10:{tmp_path}")
    plan = plan_rows(fold(open_model("microbotnet:width=0.25,seed=3").graph))
    results = [evaluate(plan, data, backend, torch_runner=runner) for backend in BACKENDS]
    assert len({(result.correct, result.top5) for result in results}) == 1
    assert results[0].top1 == results[0].correct / IMAGES
    assert evaluate(plan, data, "c", limit=5).images == 5


def test_every_output_is_checked_against_the_reference(images: np.ndarray, tmp_path: Path) -> None:
    write_sheets(tmp_path, images)
    data = open_dataset(f"cifar10:{tmp_path}")
    plan = plan_rows(fold(open_model("microbotnet:width=0.25,seed=3").graph))
    assert evaluate(plan, data, check=True).checked
    # A ring that is a pixel too short spoils values.
    _, wrong = next(shortened(plan))
    with pytest.raises(BuildError, match="must give the reference's values, got "):
        evaluate(wrong, data, check=True)
    with pytest.raises(GraphError, match="--check must come with --backend c, got reference"):
        evaluate(plan, data, "reference", check=True)


def test_the_network_that_comes_with_rillet() -> None:
    model = open_model("hub:mobilenet_v2_cifar10")
    assert model.path is not None and model.path.stat().st_size <= 2_500_000
    plan = plan_host(model.graph, this_host())
    data = open_dataset(f"cifar10:{shared_file('cifar10/test_batch.png').parent}")
    assert evaluate(plan, data, limit=40, check=True).correct >= 36


@pytest.mark.slow
def test_the_accuracy_of_the_network_that_comes_with_rillet() -> None:
    plan = plan_host(open_model("hub:mobilenet_v2_cifar10").graph, this_host())
    data = open_dataset(f"cifar10:{shared_file('cifar10/test_batch.png').parent}")
    result = evaluate(plan, data, check=True)
    assert (result.correct, result.images) == (9032, 10000)


def test_a_network_with_a_background_class(images: np.ndarray, tmp_path: Path) -> None:
    write_sheets(tmp_path, images)
    data = open_dataset(f"cifar10:{tmp_path}")
    plan = plan_rows(fold(open_model("microbotnet:width=0.25,classes=11,seed=3").graph))
    assert evaluate(plan, data, "reference").images == IMAGES


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["c", "torch"])
@pytest.mark.parametrize(
    ("model", "file", "correct"),
    [
        ("microbotnet:width=0.25", "fd_mobilenetv3_x0_25.pth", 7799),
        ("microbotnet:width=0.32", "fd_mobilenetv3_x0_32.pth", 7935),
        ("microbotnet:width=0.5", "fd_mobilenet_v3_x0_50_acc81_91.pth", 8191),
        ("microbotnet:width=0.32", "micro_large_conv_and_fc_ttq_x0_32.pytorch_state", 7279),
        ("microbotnet:width=0.32", "micro_large_conv_ttq_x0_32.pytorch_state", 7285),
        ("squeezenet_cifar10", "../squeezenet/squeezenet_cifar10.pytorch_state", 8746),
    ],
)
def test_trained_networks_on_the_whole_test_set(model: str, file: str, correct: int, backend: str) -> None:
    assert right_answers(open_model(model, weights=shared_file(f"microbotnet/{file}")).graph, backend) == correct


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["c", "torch"])
@pytest.mark.parametrize(
    ("file", "correct"),
    [
        ("micro_large_conv_and_fc_ttq_x0_32.pytorch_state", 7230),
        ("micro_large_conv_ttq_x0_32.pytorch_state", 7233),
    ],
)
def test_ternary_networks_by_their_signs(file: str, correct: int, backend: str) -> None:
    graph = open_model("microbotnet:width=0.32", weights=shared_file(f"microbotnet/{file}")).graph
    assert right_answers(signs(graph, ternary_tensors(graph)), backend) == correct


def right_answers(graph: Graph, backend: str) -> int:
    data = open_dataset(f"cifar10:{shared_file('cifar10/test_batch.png').parent}")
    return evaluate(plan_rows(fold(graph)), data, backend, torch_runner=runner).correct


def test_what_is_no_data_set(images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILLET_DATA", str(tmp_path))
    with pytest.raises(GraphError, match="RILLET_DATA must name a folder with cifar10, or say cifar10:DIR"):
        open_dataset("cifar10")
    with pytest.raises(GraphError, match="--data must be cifar10, cifar100 or a folder of pictures, got nothing"):
        open_dataset("imagenet")
    with pytest.raises(GraphError, match="must have a folder of pictures for each class"):
        open_dataset(str(tmp_path))
    (tmp_path / "test_batch.png").write_bytes(b"x")
    with pytest.raises(GraphError, match="must be a PNG"):
        open_dataset(f"cifar10:{tmp_path}")
    write_sheets(tmp_path, images)
    (tmp_path / "test_lables.json").write_text("[1, 2]")
    with pytest.raises(GraphError, match="must be a list of 12 labels"):
        open_dataset(f"cifar10:{tmp_path}")
    write_sheets(tmp_path, images)
    plan = plan_rows(fold(open_model("microbotnet:width=0.25,classes=7,seed=3").graph))
    with pytest.raises(GraphError, match="must have 10 classes as cifar10 has, got 7"):
        evaluate(plan, open_dataset(f"cifar10:{tmp_path}"))


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self.path,))


def test_a_batch_that_would_run_something_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "test_batch").write_bytes(pickle.dumps({"data": Evil(mark), "labels": []}))
    with pytest.raises(Unsupported, match="would run"):
        open_dataset(f"cifar10:{tmp_path}")
    assert not mark.exists()


def test_broken_batches_are_errors(images: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "test_batch"
    write_batch(path, images[:, :, :, :], protocol=4)
    data, rng = path.read_bytes(), np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            broken[int(rng.integers(0, 400)) if rng.random() < 0.8 else int(rng.integers(len(data)))] = int(
                rng.integers(256)
            )
        path.write_bytes(bytes(broken[: int(rng.integers(1, len(data)))] if rng.random() < 0.3 else broken))
        try:
            open_dataset(f"cifar10:{tmp_path}")
        except RilletError:
            refused += 1
    assert refused > 100
