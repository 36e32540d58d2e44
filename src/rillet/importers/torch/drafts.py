"""Drafts of nodes, and their conversion to a graph: dead nodes removed, constants and names assigned."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from rillet.errors import Unsupported
from rillet.importers.naming import name_nodes
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Add, ArgMax, Constant, Input, Multiply, Op
from rillet.ir.sharing import each_once
from rillet.ir.types import Shape, TensorType, indices

INPUT = "input"


def input_name(place: int) -> str:
    """The draft of an input, by its place among the arguments."""
    return INPUT if place == 0 else f"{INPUT}{place + 1}"


@dataclass(frozen=True, slots=True)
class Scale:
    """factor * x + offset: becomes constants where it is no part of a hard-swish or the like."""

    factor: float
    offset: float


@dataclass(frozen=True, slots=True)
class LowPad:
    """A border of minus infinity (top, bottom, left, right), which a maximum takes as its padding."""

    padding: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Draft:
    """A node in the making."""

    op: Op | Scale | LowPad
    inputs: tuple[str, ...]
    shape: Shape
    layer: str
    """Path of the submodule that called it."""
    params: Mapping[str, Array] = field(default_factory=dict[str, Array])
    made_of: Mapping[str, Hashable] = field(default_factory=dict[str, Hashable])
    """For an array, what of the module it follows from: what decides if two arrays can be one."""


def assemble(name: str, drafts: Mapping[str, Draft], outputs: tuple[str, ...], keep: Graph | None) -> Graph | None:
    """The graph of the drafts that `outputs` need; with `keep`, its names, or None where they do not fit.

    They fit where each node is all that one submodule does, and the submodule has the path of a node of `keep`.
    Raises Unsupported for a draft that no op stands for.
    """
    needed = _lowered(name, _needed(drafts, outputs))
    places = {} if keep is None else {node.name: place for place, node in enumerate(keep.nodes)}
    first = [n for n, draft in needed.items() if isinstance(draft.op, Constant)]
    first.sort(key=lambda n: places.get(needed[n].layer, 0))
    order = dict.fromkeys((*_inputs(drafts), *first, *needed))
    nodes = tuple(_node(n, needed[n]) for n in order)
    if keep is None:
        nodes, renamed = name_nodes(nodes)
    else:
        renamed = {n: draft.layer for n, draft in needed.items()} | {INPUT: keep.input_nodes[0].name}
        if len(set(renamed.values())) < len(renamed) or not places.keys() >= set(renamed.values()):
            return None
        nodes = tuple(_renamed(node, renamed, keep) for node in nodes)
    arrays = {f"{renamed[n]}.{key}": array for n, draft in needed.items() for key, array in draft.params.items()}
    made_of = {
        f"{renamed[n]}.{key}": (key, source) for n, draft in needed.items() for key, source in draft.made_of.items()
    }
    params, shared = each_once(arrays, made_of)
    return Graph(name, nodes, tuple(renamed[n] for n in outputs), params, None, shared)


def _inputs(drafts: Mapping[str, Draft]) -> list[str]:
    return [name for name, draft in drafts.items() if isinstance(draft.op, Input)]


def _node(name: str, draft: Draft) -> Node:
    assert not isinstance(draft.op, Scale | LowPad)
    made = indices(draft.shape) if isinstance(draft.op, ArgMax) else TensorType(draft.shape)
    return Node(name, draft.op, draft.inputs, made)


def _renamed(node: Node, renamed: Mapping[str, str], keep: Graph) -> Node:
    name = renamed[node.name]
    inputs = tuple(renamed[n] for n in node.inputs)
    return replace(node, name=name, inputs=inputs, block=keep.by_name[name].block)


def _needed(drafts: Mapping[str, Draft], outputs: Iterable[str]) -> dict[str, Draft]:
    needed = set(_inputs(drafts))
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(drafts[name].inputs)
    return {name: draft for name, draft in drafts.items() if name in needed}


def _lowered(name: str, drafts: Mapping[str, Draft]) -> dict[str, Draft]:
    """The drafts with every Scale as a product and a sum with constants."""
    out: dict[str, Draft] = {}
    for key, draft in drafts.items():
        match draft.op:
            case LowPad():
                raise Unsupported(
                    f"{name}: {draft.layer or 'forward'}: padding with minus infinity must be read by max_pool2d alone"
                )
            case Scale(factor=factor, offset=offset):
                at = draft.inputs[0]
                if factor != 1:
                    made = f"{key}_scaled" if offset else key
                    at = _with_constant(out, made, Multiply(), at, factor, draft)
                if offset:
                    _with_constant(out, key, Add(), at, offset, draft)
            case _:
                out[key] = draft
    return out


def _with_constant(out: dict[str, Draft], name: str, op: Op, source: str, number: float, draft: Draft) -> str:
    pixel = Shape(1, 1, draft.shape.channels)
    value = np.full(pixel.array, number, np.float32)
    out[f"{name}_constant"] = Draft(Constant(), (), pixel, draft.layer, {"value": value})
    out[name] = replace(draft, op=op, inputs=(source, f"{name}_constant"))
    return name
