"""The folder of a run: its lock, and atomically written checkpoints with checksums."""

import hashlib
import io
import os
import pickle
import struct
import tomllib
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rillet.data.datasets import Dataset
from rillet.errors import BuildError, GraphError
from rillet.ir.graph import Graph
from rillet.ir.text import print_graph
from rillet.system.checksums import seal, unseal
from rillet.system.files import write_file
from rillet.system.reading import MODEL_BYTES, read_bytes
from rillet.train.recipe import Recipe, parse, to_toml

CHECKPOINT, LOCK = "checkpoint.pt", "lock"
_VERSION, _WITHOUT_CHECKSUM = 2, 1
_LENGTH = ("run.epochs", "rate.over_epochs")
"""Keys of a recipe that say how long a run is; it may go on to another length."""
_BROKEN = (
    RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, OSError,
    ValueError, LookupError, TypeError, AttributeError, AssertionError,
)  # fmt: skip
"""What PyTorch raises for files that are no checkpoints."""


class Held(GraphError):
    """Another run is writing the folder."""


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Makes the folder and holds it; the lock goes with the process, however it ends.

    A run that raises before it has written anything leaves nothing: neither the lock's file nor folders made for it.
    Raises Held where another run has it, BuildError where it cannot be written.
    """
    # Unix alone has it; imported here, so that the rest of the module can be read elsewhere.
    import fcntl

    lock = folder / LOCK
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise BuildError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A run that was refused may have taken the file away in between.
            free = os.path.samestat(os.fstat(descriptor), lock.lstat())
        except OSError:
            free = False
        if not free:
            raise Held(f"{folder}: must be each run's own, and another run is writing it")
        try:
            yield
        except BaseException:
            _tidy(lock, made)
            raise
    finally:
        os.close(descriptor)


def _tidy(lock: Path, made: list[Path]) -> None:
    """Takes away a lock that lies alone in its folder, and folders that are empty then."""
    try:
        if [one.name for one in lock.parent.iterdir()] == [lock.name]:
            lock.unlink()
            for one in made:
                one.rmdir()
    except OSError:
        pass  # what is left there is no reason to hide why the run was refused


def save(folder: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Writes the checkpoint of a run; raises BuildError where it cannot be, and the one before is still there then.

    `identity` says which run it is, in words and numbers; `state` holds tensors, numbers, texts, lists and dicts.
    """
    out = io.BytesIO()
    torch.save({"version": _VERSION, "identity": dict(identity), "state": dict(state)}, out)
    out.write(seal(out.getbuffer()))
    try:
        write_file(folder / CHECKPOINT, out.getbuffer())
    except BuildError as error:
        kept = "; the checkpoint before it is whole" if (folder / CHECKPOINT).exists() else ""
        raise BuildError(f"{error}{kept}") from None


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Any], bool] | None:
    """Identity and state of the checkpoint in a folder, None where there is none; runs nothing that is in it.

    The last says whether its checksum told that it is as written: checkpoints of Rillet 0.1.0 have none. Raises
    GraphError for a file that is damaged or no checkpoint.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    data, checked = unseal(read_bytes(path, MODEL_BYTES, "a checkpoint"), str(path))
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _BROKEN as error:
        raise GraphError(f"{path}: must be a checkpoint: {str(error).partition(chr(10))[0]}") from None
    expected = _VERSION if checked else _WITHOUT_CHECKSUM
    match found:
        case {"version": int(version), "identity": dict(identity), "state": dict(state)} if version == expected:
            return identity, state, checked
        case {"version": int(version)} if version == _VERSION:
            raise GraphError(f"{path}: must be a checkpoint with its checksum at the end: it is damaged")
        case _:
            raise GraphError(f"{path}: must be a checkpoint of version {_VERSION}")


def identity_of(
    graph: Graph, data: Dataset, test: Dataset, recipe: Recipe, seed: int, processes: int, teacher: Graph | None = None
) -> dict[str, Any]:
    """What a run must have in common with the one it goes on from."""
    taught = {} if teacher is None else {"teacher": f"{teacher.name}, {_digest(teacher)}"}
    return {
        "network": graph.name,
        "data": f"{data.name}, {len(data)} pictures to train on, {len(test)} to test",
        "seed": seed,
        "processes": processes,
        "recipe": to_toml(recipe),
        "weights": f"{graph.name} as it began, {_digest(graph)}",
        "labels": hashlib.sha256(data.labels.tobytes()).hexdigest()[:16],
        **taught,
    }


def _digest(graph: Graph) -> str:
    """Which network it is, and which weights it has."""
    found = hashlib.sha256(print_graph(graph).encode())
    for name in sorted(graph.params):
        found.update(np.ascontiguousarray(graph.params[name]).tobytes())
    return found.hexdigest()[:16]


def check_identity(folder: Path, now: Mapping[str, Any], then: Mapping[str, Any]) -> None:
    """Raises GraphError, naming the first difference, where a run is to go on as another than it was.

    It may go on to another number of epochs. Keys that a recipe did not have in an older version are as they are by
    default.
    """
    for key, value in now.items():
        if then.get(key) == value:
            continue
        said, had = (_short(key, one) for one in (value, then.get(key)))
        if key == "recipe":
            changed = [change for change in _changes(_whole(then.get(key)), value) if change[0] not in _LENGTH]
            if not changed:
                continue
            said, had = (f"{changed[0][0]} = {one}" for one in (changed[0][2], changed[0][1]))
        raise GraphError(f"{folder}: must be resumed with the {key} it was begun with, {had}; got {said}")


def begun_epochs(then: Mapping[str, Any]) -> int | None:
    """The epochs that the run of a checkpoint was to have."""
    found = dict(_keys(then.get("recipe"))).get("run.epochs")
    return found if isinstance(found, int) else None


def _whole(recipe: Any) -> Any:
    """A recipe's text with every key that this version has."""
    try:
        return to_toml(parse("", recipe))
    except (GraphError, TypeError, AttributeError):
        return recipe


def _changes(then: Any, now: str) -> list[tuple[str, Any, Any]]:
    """Keys of two recipes that differ, with both values; None for a key that is missing."""
    before, after = _keys(then), _keys(now)
    return [(key, before.get(key), after.get(key)) for key in {**before, **after} if before.get(key) != after.get(key)]


def _keys(recipe: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = tomllib.loads(recipe)
    except (tomllib.TOMLDecodeError, TypeError, AttributeError):
        return {}
    tables = {key: value if isinstance(value, dict) else {"": value} for key, value in found.items()}
    return {f"{table}.{key}".rstrip("."): value for table, keys in tables.items() for key, value in keys.items()}


def _short(key: str, value: Any) -> str:
    text = str(value).strip()
    return text or f"no {key}"
