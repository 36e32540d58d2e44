"""Labelled pictures: CIFAR-10 and CIFAR-100 in the forms they come in, image folders, and the parts of each."""

import difflib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from rillet.data.archives import ARCHIVES, DATA
from rillet.data.images import fit, load_pixels, open_picture
from rillet.errors import GraphError
from rillet.importers.checkpoints.batches import read_batch
from rillet.ir.graph import Array, ImageSpec
from rillet.system.cache import cache_folder
from rillet.system.reading import LIST_BYTES, read_bytes, read_text

CIFAR = ("cifar10", "cifar100")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
OUTDOOR = (
    "acorn", "basketball", "bee", "black widow", "tailed frog", "ladybug", "mushroom", "nail", "snail", "tarantula",
)  # fmt: skip
INDOOR = (
    "banana", "candle", "dumbbell", "iPod", "pill bottle", "pop bottle", "sandal", "sock", "syringe", "teapot",
)  # fmt: skip
GROUPS = {"outdoor": OUTDOOR, "indoor": INDOOR, "combined": OUTDOOR + INDOOR}
"""Classes of Tiny-ImageNet that a micro-robot may meet, as `bCom5/micro-robot-dataset` groups them."""
SIDE = 32
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
Part = Literal["train", "test"]
_MAX_SHEET_PIXELS = 2**26
_PLACES = {"train": ("train",), "test": ("val", "test")}
_HELD_OUT = 10
"""One picture in so many is for testing where visual wake words come without parts."""


@dataclass(frozen=True)
class Dataset:
    """Pictures with the index of their class; `pixels(i, spec)` is picture i as a network wants it."""

    name: str
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    pixels: Callable[[int, ImageSpec], Array]
    stored: Array | None = None
    """All pictures, where they lie in memory: N x height x width x 3, bytes."""
    files: tuple[Path, ...] = ()
    """The pictures' files, where each has its own."""

    def __len__(self) -> int:
        return len(self.labels)


def open_dataset(name: str, part: Part = "test", classes: Sequence[str] = ()) -> Dataset:
    """A part of a data set: `cifar10[:DIR]`, `cifar100[:DIR]`, `tiny-imagenet`, `imagefolder:DIR`, `vww:DIR` or DIR.

    Where none is given, a folder called cifar10 (cifar-10-batches-py, cifar100, ...) in those that RILLET_DATA names,
    or what was downloaded. `classes`: only those of these names, in this order, or of a group (outdoor, indoor,
    combined). Raises GraphError where there is none.
    """
    kind, colon, folder = name.partition(":")
    if kind in CIFAR:
        found = _cifar(kind, Path(folder) if colon else _search(kind), part)
    elif name == "tiny-imagenet":
        found = _folder(_search(name), part)
    elif kind == "vww":
        found = _wake_words(Path(folder), part)
    else:
        found = _folder(Path(folder if kind == "imagefolder" else name), part)
    return found if not classes else chosen(found, classes)


def chosen(data: Dataset, classes: Sequence[str]) -> Dataset:
    """The pictures of some classes, numbered anew in the order given; a group stands for its classes.

    A class is called by its name or by the first of its names ("black widow" of "black widow, Latrodectus mactans"),
    spaces and underscores alike. Raises GraphError for one that is not there, with the nearest.
    """
    wanted = [one for word in classes for one in GROUPS.get(word, (word,))]
    known = {_plain(name): number for number, name in enumerate(data.classes)}
    known = {_plain(name.partition(",")[0]): number for number, name in enumerate(data.classes)} | known
    old: list[int] = []
    for word in wanted:
        number = known.get(_plain(word))
        if number is None:
            near = difflib.get_close_matches(_plain(word), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {len(data.classes)}, {data.classes[0]!r} first"
            raise GraphError(f"--classes: {data.name} must have a class {word}; {hint}")
        if number in old:
            raise GraphError(f"--classes: must name a class once, got {word} twice")
        old.append(number)
    number_of = np.full(len(data.classes), -1, np.int64)
    number_of[old] = np.arange(len(old))
    names = tuple(data.classes[number] for number in old)
    return replace(subset(data, np.flatnonzero(number_of[data.labels] >= 0), number_of), classes=names)


def subset(data: Dataset, rows: npt.NDArray[np.int64], number_of: npt.NDArray[np.int64] | None = None) -> Dataset:
    """Some pictures of a data set in the order of `rows`; `number_of` gives each class its new number."""
    labels = data.labels[rows]
    return Dataset(
        data.name,
        data.classes,
        labels if number_of is None else number_of[labels],
        lambda index, spec: data.pixels(int(rows[index]), spec),
        None if data.stored is None else data.stored[rows],
        tuple(data.files[row] for row in rows) if data.files else (),
    )


def limited(data: Dataset, limit: int | None) -> Dataset:
    """At most `limit` pictures, evenly spread over the data set."""
    if limit is None or limit >= len(data):
        return data
    return subset(data, np.linspace(0, len(data) - 1, limit).round().astype(np.int64))


def held_back(count: int, share: float, seed: int = 0) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of `count` pictures to train on, in a drawn order, and those held back to choose by, in their own order.

    share: below 1 of the pictures, from 1 on that many. The same rows for the same seed. Raises GraphError where none
    is left on either side.
    """
    held = int(share) if share >= 1 else round(share * count)
    if not 0 < held < count:
        raise GraphError(f"pictures held back must be some and not all of {count:,} to train on, got {held:,}")
    order = np.random.default_rng(seed).permutation(count)
    return order[held:], np.sort(order[:held])


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ")


def _search(kind: str) -> Path:
    """The folder of a data set that was not given: among those of RILLET_DATA, then where downloads are unpacked."""
    names = (kind, ARCHIVES[kind].folder, *((f"{kind[:5]}-{kind[5:]}-python",) if kind in CIFAR else ()))
    places = [Path(part) for part in os.environ.get("RILLET_DATA", "").split(os.pathsep) if part]
    for place in (*places, cache_folder() / DATA):
        for name in names:
            if (place / name).is_dir():
                return place / name
    raise GraphError(
        f"--data {kind}: RILLET_DATA must name a folder with {names[0]}, or say {kind}:DIR, or rillet train --download"
    )


# -- CIFAR -------------------------------------------------------------------------------------------------------------


def _cifar(kind: str, folder: Path, part: Part) -> Dataset:
    """Sheets of PNG (a picture a row), the standard Python batches, or an image folder."""
    inner = folder / ("cifar-10-batches-py" if kind == "cifar10" else "cifar-100-python")
    for place in (folder, inner):
        if (place / "test_batch.png").exists():
            return _arrays(kind, CIFAR10, *_sheets(place, part))
        batches = _batches(kind, place, part)
        if batches:
            key = "labels" if kind == "cifar10" else "fine_labels"
            read = [read_batch(batch, key) for batch in batches]
            rows = np.concatenate([rows for rows, _ in read])
            images = np.ascontiguousarray(rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
            classes = CIFAR10 if kind == "cifar10" else tuple(f"class {i}" for i in range(100))
            return _arrays(kind, classes, images, np.concatenate([numbers for _, numbers in read]))
    if not folder.is_dir():
        raise GraphError(f"{folder}: must be a folder with {kind}, got {'a file' if folder.exists() else 'nothing'}")
    return _folder(folder, part)


def _batches(kind: str, place: Path, part: Part) -> list[Path]:
    """The Python batches of a part that are there."""
    if kind == "cifar100":
        names = (part,)
    else:
        names = ("test_batch",) if part == "test" else tuple(f"data_batch_{i}" for i in range(1, 6))
    return [place / name for name in names if (place / name).is_file()]


def _sheets(place: Path, part: Part) -> tuple[Array, npt.NDArray[np.int64]]:
    """Pictures and labels of the sheets of a part that are there; the labels of all training sheets are one list."""
    if part == "test":
        images = _sheet(place / "test_batch.png")
        return images, _json_labels(place / "test_lables.json", len(images))
    sheets = {i: place / f"data_batch_{i}.png" for i in range(1, 6)}
    found = {i: _sheet(path) for i, path in sheets.items() if path.exists()}
    if not found:
        raise GraphError(f"{place}: must have a sheet to train on, data_batch_1.png to data_batch_5.png, got none")
    each = max(len(images) for images in found.values())
    labels = _json_labels(place / "train_lables.json", 5 * each)
    rows = [labels[(i - 1) * each :][: len(images)] for i, images in found.items()]
    return np.concatenate(list(found.values())), np.concatenate(rows)


def _arrays(name: str, classes: tuple[str, ...], images: Array, labels: npt.NDArray[np.int64]) -> Dataset:
    if len(images) != len(labels) or (len(labels) and not 0 <= labels.min() <= labels.max() < len(classes)):
        raise GraphError(f"{name}: must have a label below {len(classes)} for each of {len(images)} pictures")

    def pixels(index: int, spec: ImageSpec) -> Array:
        return fit(Image.fromarray(np.ascontiguousarray(images[index]).astype(np.uint8)), spec)

    return Dataset(name, classes, labels, pixels, images)


def _sheet(path: Path) -> Array:
    """A PNG whose rows are pictures of 32 x 32 pixels in row order."""
    try:
        with open_picture(path, _MAX_SHEET_PIXELS) as opened:
            if opened.width != SIDE * SIDE or opened.format != "PNG" or opened.mode != "RGB":
                raise GraphError(f"{path}: must be RGB and {SIDE * SIDE} pixels wide, got {opened.mode} {opened.size}")
            return np.asarray(opened).reshape(-1, SIDE, SIDE, 3)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise GraphError(f"{path}: must be a PNG: {error}") from None


def _json_labels(path: Path, count: int) -> npt.NDArray[np.int64]:
    try:
        found = json.loads(read_text(path, LIST_BYTES, "a JSON list of labels"))
    except (ValueError, RecursionError) as error:
        raise GraphError(f"{path}: must be a JSON list of labels: {error}") from None
    if not isinstance(found, list) or len(found) != count or not all(type(n) is int and 0 <= n < 10 for n in found):
        raise GraphError(f"{path}: must be a list of {count} labels from 0 to 9")
    return np.array(found, np.int64)


# -- folders -----------------------------------------------------------------------------------------------------------


def _folder(folder: Path, part: Part) -> Dataset:
    """A folder for each class, its pictures within, below `train` and `val` (or `test`); or Tiny-ImageNet's layout.

    A folder without parts is taken whole for testing.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        raise GraphError(f"--data must be cifar10, cifar100 or a folder of pictures, got {got} at {folder}")
    place = next((folder / name for name in _PLACES[part] if (folder / name).is_dir()), folder)
    if part == "train" and place == folder:
        raise GraphError(f"{folder}: must have the folders train and val (or test), in each a folder for each class")
    if (folder / "wnids.txt").is_file():
        return _tiny_imagenet(folder, place, part)
    classes = _class_names(place)
    other = next((folder / name for name in _PLACES["train"] if (folder / name).is_dir()), place)
    if place != other and classes != _class_names(other):
        odd = sorted(set(classes) ^ set(_class_names(other)))[0]
        raise GraphError(f"{folder}: {place.name} and {other.name} must have the same classes, got {odd} in one alone")
    return _files(folder.name, place, classes, _found(place, classes))


def open_pictures(name: str) -> Dataset:
    """What needs no labels: the training part of a data set, or all pictures of a folder that has none.

    Raises GraphError where there is no picture.
    """
    folder = Path(name.removeprefix("imagefolder:"))
    if not folder.is_dir() or (folder / "train").is_dir():
        return open_dataset(name, "train")
    files = [(path, 0) for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURES]
    if not files:
        raise GraphError(f"{folder}: must have pictures, got none")
    return _files(folder.name, folder, ("picture",), files)


def _class_names(place: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in place.iterdir() if path.is_dir()))


def _found(place: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """The pictures below a folder for each class, in order."""
    return [
        (path, number)
        for number, name in enumerate(classes)
        for path in sorted((place / name).rglob("*"))
        if path.suffix.lower() in PICTURES
    ]


def _files(name: str, place: Path, classes: tuple[str, ...], files: list[tuple[Path, int]]) -> Dataset:
    if not files:
        raise GraphError(f"{place}: must have a folder of pictures for each class, got no picture")
    paths = tuple(path for path, _ in files)
    labels = np.array([number for _, number in files], np.int64)
    return Dataset(name, classes, labels, lambda index, spec: load_pixels(paths[index], spec), None, paths)


def _tiny_imagenet(folder: Path, place: Path, part: Part) -> Dataset:
    """Tiny-ImageNet: classes by their WordNet numbers, those of the pictures in `val` in a list beside them."""
    numbers = tuple(_lines(folder / "wnids.txt"))
    words = dict(line.split("\t", 1) for line in _lines(folder / "words.txt") if "\t" in line)
    names = tuple(words.get(number, number) for number in numbers)
    if part == "train":
        return _files(folder.name, place, names, _found(place, numbers))
    listed = folder / "val" / "val_annotations.txt"
    of_class = {number: i for i, number in enumerate(numbers)}
    files: list[tuple[Path, int]] = []
    for line in _lines(listed):
        file, *rest = line.split("\t")
        if not rest or rest[0] not in of_class or Path(file).name != file:
            raise GraphError(f"{listed}: must have a file and its class a line, got {line[:60]!r}")
        files.append((folder / "val" / "images" / file, of_class[rest[0]]))
    return _files(folder.name, place, names, sorted(files, key=lambda one: (one[1], one[0])))


def _lines(path: Path) -> Iterable[str]:
    return [line for line in read_bytes(path, LIST_BYTES).decode("utf-8", "replace").splitlines() if line.strip()]


def _wake_words(folder: Path, part: Part) -> Dataset:
    """Visual wake words: a folder of pictures without a person and one with, below parts or, as MLPerf Tiny has them,
    not; a tenth is then held out by the checksum of the file's name.
    """
    whole = folder
    if folder.is_dir():
        whole = next((folder / name for name in _PLACES[part] if (folder / name).is_dir()), folder)
    classes = _class_names(whole) if whole.is_dir() else ()
    pair = sorted(classes, key=lambda name: not name.lower().startswith(("no", "0")))
    if len(pair) != 2 or pair[1].lower().startswith("no"):
        got = f"{len(classes)}, {classes[0]} first" if classes else "nothing"
        raise GraphError(f"{whole}: must have two folders, non_person and person, got {got}")
    files = _found(whole, pair)
    if whole == folder:
        held = [zlib.crc32(path.name.encode()) % _HELD_OUT == 0 for path, _ in files]
        files = [file for file, out in zip(files, held, strict=True) if out == (part == "test")]
    return _files("vww", whole, ("no person", "person"), files)
