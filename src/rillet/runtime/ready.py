"""Cache of programs that are ready to run: the second time nothing is opened, planned, emitted or compiled.

An entry is a text in the cache (system/cache.py). Its key tells all that it was made of:
the model's files, the options, Rillet's own sources, NumPy, the compiler and the machine. It names the library, which
is kept by itself. What is damaged or gone is made again.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rillet.errors import BuildError, RilletError
from rillet.ir.text import parse_graph, print_graph
from rillet.runtime.run import Built, build
from rillet.system.build import compiler_facts, find_compiler
from rillet.system.cache import keep, kept, key_of, trim, workshop
from rillet.system.reading import MODEL_BYTES, read_bytes, read_text
from rillet.targets.host import this_host
from rillet.targets.writing import to_toml

if TYPE_CHECKING:
    from rillet.plan.rows.plan import RowPlan

_ROOT = Path(__file__).parent.parent
MOST_ENTRY_BYTES = 2**26
_SOURCES = (".py", ".h", ".c", ".toml")


@dataclass(frozen=True, slots=True)
class Ready:
    """A program, and what its plan says of it."""

    built: Built
    segments: int
    layerwise_bytes: int
    """Activations of a plan layer by layer."""


def make_ready(identity: Callable[[], tuple[str, ...] | None], plan: "Callable[[], RowPlan]") -> Ready:
    """What was kept under `identity`, words and checksums that tell all that `plan` comes from; else made, and kept.

    Nothing is kept where there is no identity, or where it changed meanwhile.
    """
    known = identity()
    key = None if known is None else _key(known)
    found = None if key is None else _read(key)
    if found is not None:
        return found
    made = _make(plan())
    if key is not None and identity() == known:
        _write(made, key)
    return made


def find_ready(identity: tuple[str, ...] | None) -> Ready | None:
    """What was kept under `identity`; None where nothing was."""
    return None if identity is None else _read(_key(identity))


def _make(plan: "RowPlan") -> Ready:
    from rillet.plan.rows.planner import plan_layerwise

    return Ready(build(plan), len(plan.segments), plan_layerwise(plan.graph).arena_bytes)


def _key(identity: tuple[str, ...]) -> str:
    machine = (to_toml(this_host()), *compiler_facts(find_compiler()), *find_compiler(portable=True))
    return key_of((*identity, "", *machine, "", sys.version, np.__version__, _sources()))


@cache
def _sources() -> str:
    """A name for Rillet's own sources: kernels, rules of the plan, and all else that a program comes from."""
    names = [Path(at) / name for at, _, here in os.walk(_ROOT) for name in here if name.endswith(_SOURCES)]
    digest = hashlib.sha256()
    for name in sorted(names):
        data = read_bytes(name, MODEL_BYTES)
        digest.update(f"{name.relative_to(_ROOT)}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def _read(key: str) -> Ready | None:
    """The entry under a key, with its library; None where either is not there or damaged."""
    entry = kept("ready", key, ".json")
    if entry is None:
        return None
    try:
        said: dict[str, Any] = json.loads(read_text(entry, MOST_ENTRY_BYTES))
        library = kept("programs", Path(said["program"]).name, Path(said["library"]).suffix)
        if library is None or library.name != said["library"]:
            return None
        graph = parse_graph(said["graph"])
        built = Built(library, graph, int(said["arena_bytes"]), int(said["threads"]), bool(said["batches"]))
        return Ready(built, int(said["segments"]), int(said["layerwise_bytes"]))
    except (OSError, ValueError, KeyError, TypeError, RilletError):
        return None


def _write(made: Ready, key: str) -> None:
    """Keeps an entry; where the cache cannot be written, nothing is kept."""
    built = made.built
    said = {
        "program": built.library.parent.name,
        "library": built.library.name,
        "graph": print_graph(replace(built.graph, params={})),
        "arena_bytes": built.arena_bytes,
        "threads": built.threads,
        "batches": built.batches,
        "segments": made.segments,
        "layerwise_bytes": made.layerwise_bytes,
    }
    try:
        with workshop() as work:
            file = work / "entry.json"
            file.write_text(json.dumps(said), encoding="utf-8")
            keep(file, "ready", key)
        trim()
    except (OSError, BuildError):
        return
