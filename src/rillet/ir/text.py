"""The text form of a graph: prints it for people and goldens, and parses back to the same graph."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_type_hints

from rillet.errors import GraphError, Unsupported
from rillet.ir import ops
from rillet.ir.decoding import Decoding
from rillet.ir.graph import Array, Graph, ImageSpec, Node
from rillet.ir.ops import Op, Window
from rillet.ir.types import DType, Quant, Shape, TensorType

VERSION = 1
_OPS: dict[str, type[Op]] = {cls.__name__.lower(): cls for cls in get_args(Op)}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
"""What a node can be called in the text form."""


def print_graph(graph: Graph) -> str:
    """The graph as text, one node a line; arrays are not part of it."""
    lines = [f"rillet {VERSION}", f"graph {json.dumps(graph.name)}"]
    if graph.image is not None:
        lines.append("image " + " ".join(_fields(graph.image, skip=("labels", "decoding"))))
        lines += [f"label {json.dumps(label)}" for label in graph.image.labels]
        decoding = graph.image.decoding
        if decoding is not None:
            lines.append("decoding " + " ".join(_fields(decoding, skip=("anchors",))))
            lines += [f"anchor {_word(anchor)}" for anchor in decoding.anchors]
    block = ""
    for node in graph.nodes:
        if node.block != block:
            lines.append(f"block {json.dumps(node.block)}")
            block = node.block
        words = [
            node.name,
            "=",
            ops.op_name(node.op),
            *node.inputs,
            *_fields(node.op),
            ":",
            *_type(node.type),
        ]
        lines.append(" ".join(words))
    lines.append("output " + " ".join(graph.outputs))
    lines += [f"shared {key} {first}" for key, first in graph.shared.items()]
    return "\n".join(lines) + "\n"


def parse_graph(text: str, params: Mapping[str, Array] | None = None) -> Graph:
    """The graph that `text` describes; raises GraphError naming the line."""
    state = _Parser()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            state.line(line)
        except Unsupported as error:
            raise Unsupported(f"line {number}: {error}") from None
        except (GraphError, ValueError, KeyError, TypeError) as error:
            detail = f"unknown word {error}" if isinstance(error, KeyError) else str(error)
            raise GraphError(f"line {number}: {detail}") from None
    if not state.versioned:
        raise GraphError(f"line 1: must be 'rillet {VERSION}'")
    image = state.image
    if image is not None:
        image = dataclasses.replace(image, labels=tuple(state.labels), decoding=_decoding(state))
    return Graph(state.name, tuple(state.nodes), state.outputs, params or {}, image, state.shared)


class _Parser:
    def __init__(self) -> None:
        self.versioned = False
        self.name = ""
        self.block = ""
        self.image: ImageSpec | None = None
        self.labels: list[str] = []
        self.decoding: dict[str, Any] | None = None
        self.anchors: list[Any] = []
        self.nodes: list[Node] = []
        self.outputs: tuple[str, ...] = ()
        self.shared: dict[str, str] = {}

    def line(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if not self.versioned:
            if line.strip() != f"rillet {VERSION}":
                raise GraphError(f"must be 'rillet {VERSION}', got {line[:40]!r}")
            self.versioned = True
        elif rest.startswith("= "):
            self.nodes.append(_node(line, self.block, self.nodes))  # which may be called as one of the words below
        elif word == "graph":
            self.name = _string(rest)
        elif word == "block":
            self.block = _string(rest)
        elif word == "label":
            self.labels.append(_string(rest))
        elif word == "image":
            self.image = ImageSpec(**_keywords(ImageSpec, rest.split()))
        elif word == "decoding":
            self.decoding = _keywords(Decoding, rest.split())
        elif word == "anchor":
            self.anchors.append(tuple(float(part) for part in rest.split(",")))
        elif word == "output":
            self.outputs = tuple(rest.split())
        elif word == "shared":
            key, first = rest.split()
            if key in self.shared:
                raise GraphError(f"{key}: must share one array, got a second")
            self.shared[key] = first
        else:
            self.nodes.append(_node(line, self.block, self.nodes))


def _decoding(state: _Parser) -> Decoding | None:
    """The decoding of a detector's outputs; raises GraphError where it does not hold together."""
    if state.decoding is None:
        return None
    try:
        return Decoding(anchors=tuple(state.anchors), **state.decoding)
    except TypeError:
        raise GraphError("decoding must have scales, classes, least_score, overlap and most") from None


def _node(line: str, block: str, before: Sequence[Node]) -> Node:
    head, colon, tail = line.rpartition(" : ")
    words = head.split()
    if not colon or len(words) < 3 or words[1] != "=" or not NAME.fullmatch(words[0]):
        raise GraphError(f"must be 'name = op inputs key=value : type shape', got {line[:60]!r}")
    cls = _OPS[words[2]]
    inputs = tuple(word for word in words[3:] if "=" not in word)
    said = [word for word in words[3:] if "=" in word]
    older = cls is ops.Resize and any(word.startswith("height=") for word in said)
    op = _older_resize(said, inputs, before) if older else cls(**_keywords(cls, said))
    return Node(words[0], op, inputs, _parse_type(tail.split()), block)


def _older_resize(words: list[str], inputs: tuple[str, ...], before: Sequence[Node]) -> ops.Resize:
    """A resize as it was written before it had tables: a size, and flags that say how to round."""
    hints = get_type_hints(ops.resize)
    said = {key: _value(hints[key], value) for key, _, value in (word.partition("=") for word in words)}
    sources = [node.shape for node in before if node.name in inputs]
    if len(sources) != 1:
        raise GraphError("resize must have one input, which stands before it")
    if min(said["height"], said["width"]) < 1:
        raise GraphError(f"size of a resize must be at least 1x1, got {said['height']}x{said['width']}")
    return ops.resize(sources[0], **said)


def _type(value: TensorType) -> list[str]:
    words = [value.dtype.value, str(value.shape)]
    if value.quant is not None:
        words += [f"scale={value.quant.scale!r}", f"zero={value.quant.zero_point}"]
    return words


def _parse_type(words: list[str]) -> TensorType:
    if len(words) < 2:
        raise GraphError("type must be 'dtype HxWxC'")
    height, width, channels = (int(n) for n in words[1].split("x"))
    keys = dict(word.split("=", 1) for word in words[2:])
    quant = Quant(float(keys["scale"]), int(keys["zero"])) if keys else None
    return TensorType(Shape(height, width, channels), DType(words[0]), quant)


def _fields(value: Any, skip: Sequence[str] = ()) -> list[str]:
    """The fields of a record as words, those at their defaults left out."""
    words: list[str] = []
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if field.name in skip or item == field.default:
            continue
        if isinstance(item, Window):
            words += _fields(item)
        else:
            words.append(f"{field.name}={_word(item)}")
    return words


def _word(item: Any) -> str:
    match item:
        case Enum():
            return str(item.value)
        case tuple():
            return ",".join(_word(part) for part in item)  # pyright: ignore[reportUnknownVariableType]
        case bool():
            return "true" if item else "false"
        case _:
            return str(item) if isinstance(item, str) else repr(item)


def _keywords(cls: type[Any], words: list[str]) -> dict[str, Any]:
    hints = get_type_hints(cls)
    window_hints = get_type_hints(Window) if "window" in hints else {}
    out: dict[str, Any] = {}
    window: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key in window_hints:
            window[key] = _value(window_hints[key], value)
        else:
            out[key] = _value(hints[key], value)
    if "window" in hints:
        out["window"] = Window(**window)
    return out


def _value(hint: Any, text: str) -> Any:
    if isinstance(hint, UnionType):
        hint = hint.__args__[0]  # of a word that may be missing
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(text)
    if hint is bool:
        return {"true": True, "false": False}[text]
    if hint in (int, float, str):
        return hint(text)
    element = hint.__args__[0]
    return tuple(element(part) for part in text.split(","))


def _string(text: str) -> str:
    value = json.loads(text)
    if not isinstance(value, str):
        raise GraphError(f"must be a quoted string, got {text[:40]!r}")
    return value
