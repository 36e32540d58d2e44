"""What a user says of a model: the words behind its name, as in `mobilenet_v2:width=0.5,fuse=half`, and its input."""

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from rillet.errors import GraphError

DEMO_MODEL, DEMO_PHOTO = "hub:mobilenet_v2_cifar10", "chelsea.png"
"""The network and the photograph that come with Rillet."""
_WORDS = re.compile(r"[a-z_]+=[^,=]*(,[a-z_]+=[^,=]*)*")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a user says of the input contract, over what the model says."""

    labels: Path | None = None
    resize: str | None = None
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None


def split(name: str) -> tuple[str, dict[str, str]]:
    """A model's name and the words behind its last colon; a colon without `key=value` belongs to the name."""
    base, colon, tail = name.rpartition(":")
    if not colon or not _WORDS.fullmatch(tail):
        return name, {}
    words: dict[str, str] = {}
    for part in tail.split(","):
        key, _, value = part.partition("=")
        if key in words:
            raise GraphError(f"{name}: parameter must be given once, got {key!r} twice")
        words[key] = value
    return base, words


def input_size(name: str, word: str) -> tuple[int, int]:
    """Height and width that `input=HEIGHTxWIDTH` says, in pixels; one number stands for both.

    Raises GraphError, which begins with `name`, for another word.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", word)
    if found is None:
        raise GraphError(f"{name}: input must be a height and a width as in 320x240, got {word!r}")
    return int(found[1]), int(found[2] or found[1])


def labels_beside(path: Path) -> list[Path]:
    """The files beside a model that may be its labels."""
    return [found for found in sorted(path.parent.glob("*label*.txt")) if found.is_file()]


def demo_photo() -> Path:
    """The photograph that comes with Rillet, for its own network."""
    return Path(str(files("rillet.models") / "shipped" / DEMO_PHOTO))
