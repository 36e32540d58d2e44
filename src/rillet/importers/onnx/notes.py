"""Metadata that Rillet's exporter writes to a file: blocks, rounding rules, the input contract.

Notes are as little trusted as the rest of a file.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rillet.errors import GraphError
from rillet.importers.onnx.file import File
from rillet.ir.decoding import Decoding
from rillet.ir.graph import ImageSpec, Node
from rillet.ir.ops import Activate, Apply, Conv, Multiply, Pool, Rounding
from rillet.ir.text import NAME

MAX_CHARACTERS = 2**22
MAX_NAMES = 2**20
"""Characters of them that are read."""
_NAME = re.compile(r"""(\d{1,6}): (?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""")
_BESIDE = {"classify": 0, "detect": 4}
"""Channels of an output beside one for each class, by the task."""


def _object(file: File, key: str) -> dict[str, Any] | None:
    """A JSON object of the metadata, None where there is none."""
    text = file.metadata.get(key)
    if text is None:
        return None
    try:
        found = json.loads(text) if len(text) <= MAX_CHARACTERS else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise GraphError(f"metadata {key} must be a JSON object, got {text[:40]!r}")
    return {str(k): v for k, v in found.items()}


def _words(file: File, key: str) -> dict[str, str] | None:
    """As `_object`, of strings."""
    found = _object(file, key)
    if found is not None and not all(isinstance(word, str) and word.isprintable() for word in found.values()):
        raise GraphError(f"metadata {key} must have a word for each node, got other values")
    return found


def present(file: File) -> bool:
    """True where the file is by Rillet's exporter: the nodes keep their names."""
    return "rillet.blocks" in file.metadata


def name(file: File) -> str:
    """What the graph is called."""
    if not file.graph_name.isprintable():
        raise GraphError(f"name of the graph must be printable, got {file.graph_name[:60]!r}")
    return file.graph_name


def named(file: File, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes as they are called in the file, in their blocks, and rounding as they did."""
    blocks, roundings = _words(file, "rillet.blocks") or {}, _words(file, "rillet.rounding") or {}
    out: list[Node] = []
    for node in nodes:
        if not NAME.fullmatch(node.name):
            raise GraphError(f"values must be named by letters, digits and _./-, got {node.name[:60]!r}")
        op = node.op
        if isinstance(op, Conv | Activate | Apply | Multiply | Pool) and node.name in roundings:
            op = replace(op, rounding=_rounding(roundings[node.name]))
        out.append(replace(node, op=op, block=blocks.get(node.name, "")))
    return tuple(out)


def _rounding(word: str) -> Rounding:
    known = {rounding.value: rounding for rounding in Rounding}
    if word not in known:
        raise GraphError(f"metadata rillet.rounding must be one of {', '.join(known)}, got {word[:40]!r}")
    return known[word]


def image(file: File, default: ImageSpec | None) -> ImageSpec | None:
    """The input contract; `default` where nothing is noted, None where it is noted that there is none."""
    found = _object(file, "rillet.image")
    if not found:
        return default if found is None else None
    try:
        return ImageSpec(
            height=_one(found["height"], int),
            width=_one(found["width"], int),
            channels=_one(found["channels"], int),
            resize=_one(found["resize"], str),
            mean=_many(found["mean"], int | float),
            deviation=_many(found["deviation"], int | float),
            labels=_many(found["labels"], str),
            detail=_one(found.get("detail", 0), int),
            decoding=_decoding(found.get("decoding")),
        )
    except (KeyError, TypeError):
        raise GraphError("metadata rillet.image must be an input contract, got others or fewer fields") from None


def labels(file: File, outputs: Sequence[Node]) -> tuple[str, ...]:
    """The classes that Ultralytics' exporter names in its metadata; empty where they are not those of all outputs."""
    named = _NAME.findall(file.metadata.get("names", "")[:MAX_NAMES])
    found = tuple((one or other) for _, one, other in named)
    beside = _BESIDE.get(file.metadata.get("task", ""))
    numbered = [int(number) for number, _, _ in named] == list(range(len(named)))
    fits = beside is not None and all(node.shape.channels == beside + len(found) for node in outputs)
    return found if fits and numbered and all(map(str.isprintable, found)) else ()


def _decoding(found: Any) -> Decoding | None:
    """How a detector's outputs are decoded, if that is noted."""
    if found is None:
        return None
    numbers = int | float
    return Decoding(
        anchors=tuple(_many(anchor, numbers) for anchor in _one(found["anchors"], list)),
        scales=_many(found["scales"], numbers),
        classes=_one(found["classes"], int),
        least_score=_one(found["least_score"], numbers),
        overlap=_one(found["overlap"], numbers),
        most=_one(found["most"], int),
        classes_a_box=_one(found["classes_a_box"], int),
        by_class=_one(found["by_class"], bool),
        most_a_class=_one(found["most_a_class"], int),
    )


def _one(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, str) and not value.isprintable()):
        raise TypeError
    return value


def _many(values: Any, kind: Any) -> Any:
    return tuple(_one(value, kind) for value in _one(values, list))
