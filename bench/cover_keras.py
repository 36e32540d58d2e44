"""The part of coverage.py for Keras applications as TensorFlow's converter writes them: files of keras_files.py."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cover_tflite
from cover import Case, Found, Part

from rillet.errors import GraphError
from rillet.importers.tflite import load
from rillet.importers.tflite import load_with_tensors as read
from rillet.models.convert import convert


def cases(said: list[str]) -> Iterator[Case]:
    """The files in a folder that keras_files.py wrote, by kind."""
    if len(said) != 1:
        raise GraphError("keras must come with the folder into which bench/keras_files.py wrote")
    for path in sorted(Path(said[0]).glob("*.*.tflite"), key=lambda path: path.name.split(".")[::-1]):
        yield Case(path.name.removesuffix(".tflite"), str(path.resolve()))


def look(place: str, found: Found, told: Callable[[], None]) -> None:
    """As of any .tflite file; one of int8 weights and float32 values is compared with its weights as float32."""
    if not read(Path(place)).hybrid:
        cover_tflite.look(place, found, told)
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.tflite"
        convert(load(Path(place)), path)
        cover_tflite.look(str(path), found, told)


PART = Part(
    "Keras applications",
    "Keras's applications with seeded weights, 96 x 96 pixels, as TensorFlow 2.21 converts them "
    "(`bench/keras_files.py FOLDER` writes them): in float32; float16 weights; `dynamic`, int8 weights and float32 "
    "values; int8; and int16x8, int16 values and int8 weights. Compared as .tflite files are; those of dynamic range "
    "with their weights written as float32, since LiteRT rounds what such layers read to 8 bits "
    "([TFLite](tflite.md)).",
    cases,
    look,
)
