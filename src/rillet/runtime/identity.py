"""The identity of a named network (its files' checksums and its parameters), found without opening it."""

from pathlib import Path

from rillet.errors import GraphError
from rillet.models import hub
from rillet.models.specifier import Preprocessing, labels_beside, split
from rillet.system.download import checksum
from rillet.system.reading import MODEL_BYTES, read_bytes

_ELSEWHERE = b"location"
"""A key in ONNX files whose weights lie in other files."""


def identity(name: str, said: Preprocessing, weights: Path | None) -> tuple[str, ...] | None:
    """Words and checksums that differ wherever `open_model` would give another network; None where they cannot be told.

    Rillet's own sources, of which the networks of the zoo are made, are not among them.
    """
    base = split(name)[0]
    try:
        path = _path(base)
        files = [file for file in (weights, said.labels, path) if file is not None]
        parts = [name, repr(said), repr(weights), str(path)]
        if path is None:
            return *parts, *map(checksum, files)
        if path.suffix.lower() == ".onnx" and _ELSEWHERE in read_bytes(path, MODEL_BYTES):
            return None
        files += labels_beside(path)
        sums = [checksum(file) for file in files]
        published = next((entry for entry in hub.registry().values() if entry.sha256 in sums), None)
        if published is not None and published.labels_file is not None:
            labels = hub.local(hub.registry()[published.labels_file])
            sums.append(str(labels))
        return *parts, *map(str, files), *sums
    except (OSError, GraphError):
        return None


def _path(base: str) -> Path | None:
    """The file that a name means; None for a network of the zoo (or nothing). Raises FileNotFoundError where it must be
    downloaded first.
    """
    if base.startswith("hub:"):
        found = hub.local(hub.find(base[4:]))
        if found is None:
            raise FileNotFoundError(base)
        return found
    path = Path(base)
    return path.absolute() if path.is_file() else None
