"""What is trained on: the same pictures for the same seed, decoded once, broken ones stood in for; downloads."""

import hashlib
import io
import tarfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rillet.data import archives, datasets
from rillet.data.datasets import Dataset, held_back, limited, open_dataset
from rillet.errors import GraphError, RilletWarning
from rillet.ir.graph import ImageSpec
from rillet.train.augment import CROP_DRAWS, changed
from rillet.train.data import Batch, Batches, Share, kept_size
from rillet.train.pictures import Pictures
from rillet.train.recipe import Augment
from rillet.zoo.registry import build

SPEC = ImageSpec(8, 8, 3)
PLAIN = Augment()
DRAWN = np.full(CROP_DRAWS, 0.5)


def in_memory(count: int = 20, side: int = 8) -> Dataset:
    """Pictures of one value each, that of their index; classes in turns."""
    stored = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, side, side, 3)).copy()
    labels = np.arange(count, dtype=np.int64) % 10
    return Dataset("some", tuple("abcdefghij"), labels, lambda index, _: stored[index], stored)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(1)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                image = draw.integers(0, 256, (12, 10, 3)).astype(np.uint8)
                Image.fromarray(image).save(tmp_path / part / name / f"{i}.png")
    return tmp_path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_epoch_is_every_picture_once_in_an_order_of_its_own() -> None:
    batches = Batches(Pictures(in_memory(), SPEC), 5, PLAIN, seed=3)
    epochs = [[int(p) for b in batches.stream(e) for p in b.pixels[:, 0, 0, 0]] for e in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(20))
    assert epochs[0] != epochs[1]
    assert all((b.labels == b.pixels[:, 0, 0, 0] % 10).all() for b in batches.stream(0))
    other = Batches(Pictures(in_memory(), SPEC), 5, PLAIN, seed=4)
    assert other.batch(0, 0).labels.tolist() != batches.batch(0, 0).labels.tolist()


@pytest.mark.parametrize(
    "augment",
    [
        Augment(flip=True, pad=2),
        Augment(share=0.5),
        Augment(crop_scale=(0.3, 1.0)),
        Augment(randaugment=2, magnitude=20, erase=0.5),
        Augment(mixup=0.4, cutmix=1.0, mix_probability=0.8),
    ],
)
def test_batches_are_the_same_again_from_any_step_and_shared_among_processes(augment: Augment) -> None:
    data = in_memory()
    assert data.stored is not None
    data.stored[:] = np.random.default_rng(0).integers(0, 256, data.stored.shape)

    def hints(pixels: np.ndarray) -> np.ndarray:
        return pixels.sum((1, 2), dtype=np.float32)

    whole = Batches(Pictures(data, SPEC), 6, augment, 1, hints=hints)
    later = list(Batches(Pictures(data, SPEC), 6, augment, 1, hints=hints).stream(2, start=1, workers=3))
    assert len(later) == whole.steps - 1 == 2
    for step, batch in enumerate(later, 1):
        same_batch([batch], whole.batch(2, step))
    shares = [Share(rank, 3) for rank in range(3)]
    same_batch(
        [Batches(Pictures(data, SPEC), 6, augment, 1, share, hints).batch(0, 2) for share in shares], whole.batch(0, 2)
    )
    if augment.mixup:
        with pytest.raises(GraphError, match="--batch must be even in each process for pictures mixed in pairs, got 6"):
            Batches(Pictures(data, SPEC), 6, augment, 1, Share(0, 2))


def same_batch(parts: list[Batch], whole: Batch) -> None:
    for field in fields(Batch):
        found = [getattr(part, field.name) for part in parts]
        wanted = getattr(whole, field.name)
        assert found == [None] * len(parts) if wanted is None else np.array_equal(np.concatenate(found), wanted)


def one(picture: np.ndarray, augment: Augment, drawn: np.ndarray) -> np.ndarray:
    return changed(picture[None], augment, drawn[None])[0]


def test_changes_of_a_picture() -> None:
    picture = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    low, high = np.zeros(CROP_DRAWS), np.full(CROP_DRAWS, 0.999)
    assert np.array_equal(one(picture, Augment(flip=True), low), picture[:, ::-1])
    assert np.array_equal(one(picture, Augment(flip=True), high), picture)
    shifted = one(picture, Augment(pad=2), low)
    assert np.array_equal(shifted[2:, 2:], picture[:6, :6]) and not shifted[:2].any() and not shifted[:, :2].any()
    assert np.array_equal(one(picture, Augment(pad=2), high)[:6, :6], picture[2:, 2:])
    assert np.array_equal(one(picture, Augment(share=0.5), high), picture[4:, 4:])
    assert np.array_equal(one(picture, Augment(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0)), DRAWN), picture)
    ramp = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8)[:, None, None], (32, 32, 1)).copy()
    quarter = one(ramp, Augment(crop_scale=(0.25, 0.25), crop_ratio=(1.0, 1.0)), np.zeros(CROP_DRAWS))
    assert quarter.shape == (32, 32, 1)
    assert abs(int(quarter[-1, 0, 0]) - int(ramp[15, 0, 0])) <= 4  # the first half of the rows, twice as large


def test_pictures_of_files_are_decoded_once_and_kept_for_the_next_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    load = datasets.load_pixels
    monkeypatch.setattr(datasets, "load_pixels", lambda path, spec: decoded.append(path) or load(path, spec))
    data = open_dataset(f"imagefolder:{folder}", "train")
    first = [b.pixels for e in (0, 1) for b in Batches(Pictures(data, SPEC), 4, PLAIN, 0).stream(e, workers=2)]
    assert sorted(decoded) == sorted(data.files)
    again = [b.pixels for e in (0, 1) for b in Batches(Pictures(data, SPEC), 4, PLAIN, 0).stream(e)]
    assert len(decoded) == len(data)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert Pictures(data, replace(SPEC, height=4)).at(0).shape == (4, 8, 3)  # another size is kept apart


def test_what_the_cache_holds_is_checked(folder: Path, cache: Path) -> None:
    data = open_dataset(f"imagefolder:{folder}", "train")
    before = [Pictures(data, SPEC).at(i) for i in range(len(data))]
    (kept,) = cache.rglob("*.pixels")
    torn = bytearray(kept.read_bytes())
    torn[5] ^= 1
    kept.write_bytes(torn[:-3])
    after = [Pictures(data, SPEC).at(i) for i in range(len(data))]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_without_room_for_the_cache(folder: Path, cache: Path) -> None:
    cache.write_text("no folder")
    data = open_dataset(f"imagefolder:{folder}", "train")
    with pytest.warns(RilletWarning, match="cache must be writable"):
        assert Pictures(data, SPEC).at(0) is not None


def test_broken_pictures_are_counted_and_stood_in_for(folder: Path) -> None:
    (folder / "train" / "cat" / "1.png").write_bytes(b"no picture")
    data = open_dataset(f"imagefolder:{folder}", "train")
    pictures = Pictures(data, SPEC)
    batches = Batches(pictures, 8, PLAIN, 0)
    assert sorted(batches.batch(0, 0).labels.tolist()) == [0] * 4 + [1] * 4
    assert pictures.at(1) is None and pictures.near(1)[1] == 2
    assert list(pictures.corrupt) == [1] and "1.png: must be an image file" in pictures.corrupt[1]
    for path in data.files:
        path.write_bytes(b"x")
    with pytest.raises(GraphError, match="must have a picture that can be decoded: .*must be an image file"):
        Pictures(open_dataset(f"imagefolder:{folder}", "train"), SPEC).near(0)


def test_rows_held_back() -> None:
    kept, rest = held_back(20, 0.25)
    assert len(rest) == 5 and sorted([*kept, *rest]) == list(range(20)) and list(rest) == sorted(rest)
    assert all(np.array_equal(a, b) for a, b in zip((kept, rest), held_back(20, 5), strict=True))
    assert not np.array_equal(rest, held_back(20, 5, seed=1)[1])
    for share in (0.01, 20):
        with pytest.raises(GraphError, match="pictures held back must be some and not all of 20 to train on"):
            held_back(20, share)


def test_sizes_and_limits(folder: Path) -> None:
    graph = build("microbotnet")
    files = open_dataset(f"imagefolder:{folder}", "train")
    kept = kept_size(graph, files, Augment(share=0.875))
    assert (kept.height, kept.width) == (37, 37)
    assert kept_size(graph, in_memory(), PLAIN).height == 8
    assert limited(in_memory(), 5).labels.tolist() == [0, 5, 0, 4, 9]
    assert limited(files, 2).labels.tolist() == [0, 1] and len(limited(files, 99)) == 8
    with pytest.raises(GraphError, match="must have a batch of 21 pictures at least, got 20"):
        Batches(Pictures(in_memory(), SPEC), 21, PLAIN, 0)
    with pytest.raises(GraphError, match="--batch must be a multiple of 3 processes, got 8"):
        Batches(Pictures(in_memory(), SPEC), 8, PLAIN, 0, Share(0, 3))


def packed(member: str = "cifar-10-batches-py/x") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(member), io.BytesIO())
    return out.getvalue()


def test_downloads_are_checked_unpacked_and_found(cache: Path, tmp_path: Path) -> None:
    data = packed()
    (tmp_path / "c.tar.gz").write_bytes(data)
    url = (tmp_path / "c.tar.gz").as_uri()
    entry = replace(
        archives.ARCHIVES["cifar10"], url=url, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data)
    )
    place = archives.fetch(entry)
    assert place == cache / "data" / "cifar-10-batches-py" and (place / "x").exists()
    (tmp_path / "c.tar.gz").unlink()
    assert archives.fetch(entry) == place
    assert datasets._search("cifar10") == place
    with pytest.raises(GraphError, match="cifar100: cannot be downloaded .*; unpack .* into a folder that RILLET_DATA"):
        archives.fetch(replace(entry, name="cifar100", folder="cifar-100-python"))


def test_archives_that_reach_outside_or_are_none(cache: Path, tmp_path: Path) -> None:
    for data, message in ((packed("../escape"), "must be an archive"), (b"x" * 100, "must be an archive")):
        (tmp_path / "c.tar.gz").write_bytes(data)
        entry = archives.Archive(
            "cifar10", (tmp_path / "c.tar.gz").as_uri(), hashlib.sha256(data).hexdigest(), len(data), "f"
        )
        with pytest.raises(GraphError, match=message):
            archives.fetch(entry)
        assert [path.name for path in (cache / "data").iterdir()] == []
        assert not (cache / "escape").exists()
