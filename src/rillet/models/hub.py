"""Published trained models: a registry with checksums, looked for on this machine first, downloaded else."""

import importlib.util
import os
import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rillet.errors import GraphError
from rillet.system.cache import cache_folder, room
from rillet.system.download import Progress, Remote, checksum, download, silent

_DEPTH = 3
_MODELS = "models"
"""The folder of the cache that downloads go to."""
_LISTS = ("labels", "mean", "deviation", "trained_by")


@dataclass(frozen=True, slots=True)
class Published:
    """One file of the registry: where it comes from, how it is known, and how a picture becomes its input."""

    name: str
    file: str
    url: str
    sha256: str
    size_bytes: int
    licence: str
    about: str
    labels: tuple[str, ...] = ()
    labels_file: str | None = None
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    zoo: str | None = None
    """The network of the zoo whose weights the file holds; None for a whole model."""
    package: str | None = None
    """A package of the Python package index that brings the file; `url` is its page."""
    trained_on: str = ""
    """The pictures, and where they come from."""
    trained_by: tuple[str, ...] = ()
    """The commands that trained it, and made of it what it is."""
    accuracy: str = ""
    measured_by: str = ""
    """The command that prints it."""


@cache
def registry() -> dict[str, Published]:
    """All published files by name."""
    table: dict[str, dict[str, Any]] = tomllib.loads((files("rillet.models") / "hub.toml").read_text())
    known = {field.name for field in fields(Published)}
    out: dict[str, Published] = {}
    for name, entry in table.items():
        assert set(entry) <= known, name
        lists: dict[str, Any] = {key: tuple(entry[key]) for key in _LISTS if key in entry}
        out[name] = Published(name, **{**entry, **lists})
    return out


def models() -> list[Published]:
    """The published models (label files left out)."""
    return [entry for entry in registry().values() if not entry.file.endswith(".txt")]


def find(name: str) -> Published:
    """The entry that `hub:NAME` means; raises GraphError with what it may have meant."""
    entry = registry().get(name)
    if entry is None:
        close = get_close_matches(name, [m.name for m in models()], 1)
        hint = f"did you mean hub:{close[0]}?" if close else "rillet models lists them"
        raise GraphError(f"hub:{name}: must be a published model; {hint}")
    return entry


def known(path: Path) -> Published | None:
    """The entry that a file is, by size and checksum."""
    try:
        size = path.stat().st_size
        same = [entry for entry in registry().values() if entry.size_bytes == size]
        digest = checksum(path) if same else ""
    except (OSError, GraphError):
        return None
    return next((entry for entry in same if entry.sha256 == digest), None)


def model_folders() -> list[Path]:
    """The folders of $RILLET_MODELS that exist."""
    names = os.environ.get("RILLET_MODELS", "").split(os.pathsep)
    return [Path(name) for name in names if name and Path(name).is_dir()]


def search(file: str) -> list[Path]:
    """Files of this name in the folders of $RILLET_MODELS, two levels down at most."""
    return [
        found
        for folder in model_folders()
        for depth in range(_DEPTH)
        for found in sorted(folder.glob("*/" * depth + file))
    ]


def local(entry: Published) -> Path | None:
    """Where the file is on this machine, with the right checksum: its package, $RILLET_MODELS, then the cache."""
    for path in (*_packaged(entry), *search(entry.file), _cached(entry)):
        if path.is_file() and path.stat().st_size == entry.size_bytes and checksum(path) == entry.sha256:
            return path
    return None


def _packaged(entry: Published) -> list[Path]:
    """The file in its package, if that is installed; nothing of the package is run."""
    spec = importlib.util.find_spec(entry.package) if entry.package else None
    places = spec.submodule_search_locations if spec else None
    return [found for place in places or () for found in sorted(Path(place).rglob(entry.file))]


def fetch(entry: Published, progress: Progress = silent) -> Path:
    """The file, downloaded if it is not on this machine; an interrupted download goes on where it stopped.

    Raises GraphError, saying what to do, where there is no network or the bytes are not the published ones.
    """
    found = local(entry)
    if found is not None:
        return found
    if entry.package is not None:
        name = entry.package.replace("_", "-")
        raise GraphError(f"hub:{entry.name}: must be installed: pip install {name} (or rillet[demo])")
    target = room(_MODELS) / entry.file
    otherwise = f"put {entry.file} from {entry.url} into a folder that RILLET_MODELS names"
    download(Remote(f"hub:{entry.name}", entry.url, entry.sha256, entry.size_bytes, otherwise), target, progress)
    return target


def _cached(entry: Published) -> Path:
    return cache_folder() / _MODELS / entry.file
