"""Published figures of the networks: tables and accuracies as the sources print them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Alpha:
    """A row of the table of MobileNetV1 by width and image size."""

    width: float
    resolution: int
    macs_millions: float
    params_millions: float
    top1_percent: float

    @property
    def model(self) -> str:
        """The network, as the command line takes it."""
        return f"mobilenet_v1:width={self.width:g},resolution={self.resolution}"


@dataclass(frozen=True, slots=True)
class Fuse:
    """A row of FuSeConv's tables."""

    model: str
    flops_millions: int
    params_millions: float
    top1_percent: float
    speedup: float
    dead_params: int = 0
    """Parameters that the published code makes and never uses."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A published top-1 accuracy."""

    top1_percent: float
    data: str
    source: str


@cache
def _data() -> Mapping[str, Any]:
    return tomllib.loads(files("rillet.zoo").joinpath("published.toml").read_text(encoding="utf-8"))


def alpha() -> tuple[Alpha, ...]:
    """MobileNetV1 by width and image size, ImageNet."""
    return tuple(Alpha(**row) for row in _data()["alpha"])


def fuseconv() -> tuple[Fuse, ...]:
    """Five networks with their FuSe variants, ImageNet."""
    return tuple(Fuse(**row) for row in _data()["fuseconv"])


@cache
def _accuracies() -> Mapping[str, Accuracy]:
    titles = {name: source["title"] for name, source in _data()["sources"].items()}
    rows = {row.model: Accuracy(row.top1_percent, "ImageNet", titles["lecture"]) for row in alpha()}
    rows |= {row.model: Accuracy(row.top1_percent, "ImageNet", titles["fuseconv"]) for row in fuseconv()}
    rows |= {
        row["model"]: Accuracy(row["top1_percent"], row["data"], titles[row["source"]]) for row in _data()["accuracy"]
    }
    return {canonical(model): accuracy for model, accuracy in rows.items()}


def accuracy(model: str) -> Accuracy | None:
    """The top-1 accuracy that a source gives for a network, named as the command line takes it."""
    return _accuracies().get(canonical(model))


def canonical(model: str) -> str:
    """One spelling for each network: words sorted, numbers plain, defaults left out, and paddings and seeds too."""
    base, _, tail = model.partition(":")
    words = dict(part.split("=", 1) for part in tail.split(",") if "=" in part)
    for key in ("padding", "seed"):
        words.pop(key, None)
    plain = {key: f"{float(word):g}" if word.replace(".", "", 1).isdigit() else word for key, word in words.items()}
    defaults = {"width": "1", "resolution": "32" if base == "microbotnet" else "224"}
    kept = {key: word for key, word in plain.items() if defaults.get(key) != word}
    return ":".join((base, ",".join(f"{key}={kept[key]}" for key in sorted(kept))))
