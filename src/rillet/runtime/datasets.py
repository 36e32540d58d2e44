"""Labelled pictures to measure accuracy on: CIFAR-10 and CIFAR-100 in the forms they come in, and image folders."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from rillet.errors import GraphError
from rillet.importers.checkpoints.batches import read_batch
from rillet.ir.graph import Array, ImageSpec
from rillet.runtime.images import fit, load_pixels

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_MAX_SHEET_PIXELS = 2**27
_TEST_FILES = ("test_batch.png", "test_batch", "test")
_FOLDERS: Mapping[str, tuple[str, ...]] = {"test": ("val", "test"), "train": ("train",)}
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Pictures with the index of their class; `pixels(i, spec)` is picture i as a network wants it."""

    name: str
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    pixels: Callable[[int, ImageSpec], Array]

    def __len__(self) -> int:
        return len(self.labels)


Part = Literal["test", "train"]


def open_dataset(name: str, part: Part = "test") -> Dataset:
    """One part of a data set: `cifar10[:DIR]`, `cifar100[:DIR]`, `imagefolder:DIR` or a folder.

    Without DIR, a folder called cifar10 (cifar-10-batches-py, cifar100, ...) in those that RILLET_DATA names. An image
    folder without parts is one part. Raises GraphError where there is none.
    """
    kind, colon, folder = name.partition(":")
    if kind in ("cifar10", "cifar100"):
        return _cifar(kind, Path(folder) if colon else _search(kind), part)
    return _folder(Path(folder if kind == "imagefolder" else name), part)


def _search(kind: str) -> Path:
    names = (kind, f"{kind[:5]}-{kind[5:]}-batches-py", f"{kind[:5]}-{kind[5:]}-python")
    places = [Path(part) for part in os.environ.get("RILLET_DATA", "").split(os.pathsep) if part]
    for place in places:
        for name in names:
            if (place / name).is_dir():
                return place / name
    raise GraphError(f"--data {kind}: RILLET_DATA must name a folder with {names[0]}, or say {kind}:DIR")


def _cifar(kind: str, folder: Path, part: Part) -> Dataset:
    """Sheets of PNG (a picture a row), the standard Python batches, or an image folder."""
    inner = folder / ("cifar-10-batches-py" if kind == "cifar10" else "cifar-100-python")
    stem = "test_batch" if part == "test" else "data_batch_[1-9]"
    for place in (folder, inner):
        if sheets := sorted(place.glob(f"{stem}.png")):
            images = [_sheet(sheet) for sheet in sheets]
            labels = _json_labels(place / f"{part}_lables.json")
            return _arrays(kind, CIFAR10, np.concatenate(images), _labels_of(sheets, images, labels, part))
        batches = sorted(place.glob(stem)) if kind == "cifar10" else [place / part]
        if batches and all(batch.is_file() for batch in batches):
            key = "labels" if kind == "cifar10" else "fine_labels"
            read = [read_batch(batch, key) for batch in batches]
            images = np.concatenate([rows for rows, _ in read]).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
            classes = CIFAR10 if kind == "cifar10" else tuple(f"class {i}" for i in range(100))
            return _arrays(kind, classes, images, np.concatenate([numbers for _, numbers in read]))
    if not folder.is_dir():
        raise GraphError(f"{folder}: must be a folder with {kind}, got {'a file' if folder.exists() else 'nothing'}")
    if part == "train" and any((place / name).is_file() for place in (folder, inner) for name in _TEST_FILES):
        raise GraphError(f"{folder}: must have the training part of {kind} too, got its test part alone")
    return _folder(folder, part)


def _labels_of(sheets: Sequence[Path], images: Sequence[Array], labels: IntArray, part: Part) -> IntArray:
    """The labels of some sheets out of those of all; sheet n of the training part has the n-th share of them."""
    if part == "test":
        if len(labels) != len(images[0]):
            raise GraphError(f"{sheets[0].parent / 'test_lables.json'}: must be a list of {len(images[0])} labels")
        return labels
    shares = [int(sheet.stem.rpartition("_")[2]) * len(pixels) for sheet, pixels in zip(sheets, images, strict=True)]
    if max(shares) > len(labels):
        raise GraphError(f"{sheets[0].parent / 'train_lables.json'}: must be a list of {max(shares)} labels or more")
    ends = zip(shares, images, strict=True)
    return np.concatenate([labels[end - len(pixels) : end] for end, pixels in ends])


def _arrays(name: str, classes: tuple[str, ...], images: Array, labels: npt.NDArray[np.int64]) -> Dataset:
    if len(images) != len(labels) or (len(labels) and not 0 <= labels.min() <= labels.max() < len(classes)):
        raise GraphError(f"{name}: must have a label below {len(classes)} for each of {len(images)} pictures")

    def pixels(index: int, spec: ImageSpec) -> Array:
        return fit(Image.fromarray(np.ascontiguousarray(images[index]).astype(np.uint8)), spec)

    return Dataset(name, classes, labels, pixels)


def _sheet(path: Path) -> Array:
    """A PNG whose rows are pictures of 32 x 32 pixels in row order."""
    try:
        with Image.open(path) as opened:
            if opened.width != SIDE * SIDE or opened.width * opened.height > _MAX_SHEET_PIXELS or opened.mode != "RGB":
                raise GraphError(f"{path}: must be RGB and {SIDE * SIDE} pixels wide, got {opened.mode} {opened.size}")
            return np.asarray(opened).reshape(-1, SIDE, SIDE, 3)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise GraphError(f"{path}: must be a PNG: {error}") from None


def _json_labels(path: Path) -> IntArray:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GraphError(f"{path}: must be a JSON list of labels: {error}") from None
    if not isinstance(found, list) or not all(type(n) is int and 0 <= n < 10 for n in found):
        raise GraphError(f"{path}: must be a list of labels from 0 to 9")
    return np.array(found, np.int64)


def _folder(folder: Path, part: Part) -> Dataset:
    """A folder for each class, its pictures within; the part's own folder below it is taken where it is there."""
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        raise GraphError(f"--data must be cifar10, cifar100 or a folder of pictures, got {got} at {folder}")
    place = next((folder / name for name in _FOLDERS[part] if (folder / name).is_dir()), folder)
    classes = sorted(path.name for path in place.iterdir() if path.is_dir())
    files = [
        (path, number)
        for number, name in enumerate(classes)
        for path in sorted((place / name).rglob("*"))
        if path.suffix.lower() in PICTURES
    ]
    if not files:
        raise GraphError(f"{place}: must have a folder of pictures for each class, got no picture")
    labels = np.array([number for _, number in files], np.int64)
    return Dataset(folder.name, tuple(classes), labels, lambda index, spec: load_pixels(files[index][0], spec))
