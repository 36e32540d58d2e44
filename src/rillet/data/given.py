"""Data arguments of the public functions: a data set's name, a folder, arrays, or an iterable of (picture, label)."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from rillet.data.datasets import Dataset, Part, chosen, open_dataset, open_pictures
from rillet.data.images import fit, load_pixels
from rillet.errors import GraphError
from rillet.ir.graph import Array, ImageSpec

Data = str | Path | Dataset | npt.NDArray[Any] | tuple[npt.ArrayLike, npt.ArrayLike] | Iterable[Any]
"""A name or folder as `--data` takes it, a Dataset, pictures, (pictures, labels), or (picture, label) one by one."""
_KINDS = "a name such as cifar10, a folder, (pictures, labels), or an iterable of (picture, label)"
_CHANNELS = (1, 3, 4)


def as_dataset(
    data: Data,
    part: Part = "test",
    classes: Sequence[str] = (),
    *,
    labelled: bool = True,
    outputs: int | None = None,
    limit: int | None = None,
) -> Dataset:
    """The data set that a caller means.

    Pictures are arrays of height x width (x channels, first or last), of bytes 0 to 255 or floats 0 to 1; Pillow
    images; tensors; or paths. A map-style data set (with a length and places, as PyTorch's) is read picture by picture
    when wanted; what can only be gone through once is kept, its first `limit` pictures alone.

    part: of a name, which has two. classes: only those. labelled: False where pictures alone will do. outputs: the
    number of classes where the data do not name them (`data.classes`), else as many as the labels say. Raises
    GraphError where there is no picture, or no label where one is wanted, and for what is none of these.
    """
    if isinstance(data, str | Path):
        return open_dataset(str(data), part, classes) if labelled else open_pictures(str(data))
    found = data if isinstance(data, Dataset) else _given(data, labelled, outputs, limit)
    return chosen(found, classes) if classes else found


def held(data: Data, *, labelled: bool, outputs: int | None = None, limit: int | None = None) -> str | Dataset:
    """Data that may be read again: a name as it is, which has parts, everything else as a data set."""
    if isinstance(data, str | Path):
        return str(data)
    return as_dataset(data, labelled=labelled, outputs=outputs, limit=limit)


def _given(data: Any, labelled: bool, outputs: int | None, limit: int | None) -> Dataset:
    pictures, labels = _parts(data, labelled, limit)
    if not len(pictures):
        raise GraphError("data must have a picture, got none")
    numbers = np.zeros(len(pictures), np.int64) if labels is None else _numbers(labels, len(pictures))
    named = cast("Sequence[object]", getattr(data, "classes", ()))
    most = max(int(numbers.max(initial=-1)) + 1, 1)
    names = tuple(str(name) for name in named) or tuple(f"class {i}" for i in range(outputs or most))
    if labels is not None and len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(names):
        at = int(np.flatnonzero((numbers < 0) | (numbers >= len(names)))[0])
        raise GraphError(f"picture {at}: label must be 0 to {len(names) - 1}, got {numbers[at]}")

    def pixels(index: int, spec: ImageSpec) -> Array:
        return _pixels(pictures[index], spec, index)

    return Dataset(type(data).__name__, names, numbers, pixels)


def _parts(data: Any, labelled: bool, limit: int | None) -> tuple[Sequence[Any], Any]:
    """Pictures by place, and their labels, if there are any."""
    if isinstance(data, tuple) and len(cast("tuple[Any, ...]", data)) == 2 and _many(data[0]):
        pictures, labels = cast("tuple[Any, Any]", data)
        if len(pictures) != len(labels):
            raise GraphError(f"data must have a label for each of {len(pictures)} pictures, got {len(labels)}")
        return pictures, labels
    if _many(data):
        if labelled:
            raise GraphError("data must have a label for each picture, as (pictures, labels), got pictures alone")
        return data, None
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, dict):
        size = min(len(data), limit or len(data))
        targets = getattr(data, "targets", None)
        if not labelled:
            return _Places(size, lambda index: _one(data[index], index, False)[0]), None
        if targets is not None and len(targets) == len(data):
            return _Places(size, lambda index: _one(data[index], index, True)[0]), np.asarray(targets)[:size]
        labels = [_one(data[index], index, True)[1] for index in range(size)]
        return _Places(size, lambda index: _one(data[index], index, True)[0]), labels
    if not isinstance(data, Iterable) or isinstance(data, bytes | dict):
        raise GraphError(f"data must be {_KINDS}, got {type(data).__name__}")
    rows = [_one(item, at, labelled) for at, item in enumerate(islice(cast("Iterable[Any]", data), limit))]
    return [picture for picture, _ in rows], [label for _, label in rows] if labelled else None


class _Places(Sequence[Any]):
    """Pictures that are read when wanted."""

    def __init__(self, size: int, read: Callable[[int], Any]) -> None:
        self._size, self._read = size, read

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: Any) -> Any:
        return self._read(index)


def _many(value: Any) -> bool:
    """True for an array or a tensor of pictures."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape) == 4


def _one(item: Any, at: int, labelled: bool) -> tuple[Any, Any]:
    """A picture and its label of an item."""
    if isinstance(item, tuple | list) and len(cast("Sequence[Any]", item)) == 2:
        picture, label = cast("tuple[Any, Any]", item)
        return picture, label
    if labelled:
        raise GraphError(f"picture {at}: must be given with its label, as (picture, label), got {type(item).__name__}")
    return item, None


def _numbers(labels: Any, count: int) -> npt.NDArray[np.int64]:
    found = np.asarray(labels)
    if found.shape != (count,) or found.dtype.kind not in "iu":
        raise GraphError(f"labels must be {count} whole numbers, got {found.dtype} of shape {found.shape}")
    return found.astype(np.int64)


def _pixels(picture: Any, spec: ImageSpec, at: int) -> Array:
    """Any picture at the size and channels that `spec` asks for."""
    if isinstance(picture, str | Path):
        return load_pixels(Path(picture), spec)
    return fit(picture if isinstance(picture, Image.Image) else _image(np.asarray(picture), at), spec)


def _image(values: npt.NDArray[Any], at: int) -> Image.Image:
    """A picture of an array: channels last, or first as PyTorch has them."""
    shape = values.shape
    if values.ndim == 3 and shape[2] not in _CHANNELS and shape[0] in (1, 3):
        values = np.moveaxis(values, 0, 2)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in _CHANNELS) or not values.size:
        raise GraphError(f"picture {at}: must be height x width x 1, 3 or 4 channels, got shape {shape}")
    if values.dtype.kind == "f":
        if not 0 <= values.min() <= values.max() <= 1:
            got = f"{values.min():g} to {values.max():g}"
            raise GraphError(f"picture {at}: floats must be 0 to 1, got {got}; the network scales them itself")
        values = np.rint(values * 255)
    elif values.dtype.kind not in "iu" or not 0 <= values.min() <= values.max() <= 255:
        raise GraphError(f"picture {at}: must be bytes 0 to 255 or floats 0 to 1, got {values.dtype}")
    plain = values.astype(np.uint8)
    return Image.fromarray(plain[:, :, 0] if plain.ndim == 3 and plain.shape[2] == 1 else plain)
