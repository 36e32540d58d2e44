"""Readable node names: finds stem, blocks and head of an imported network, and names nodes by their roles."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from rillet.ir.graph import Node
from rillet.ir.ops import Activate, Add, BatchNorm, Constant, Conv, Input, Multiply, Pool, op_name

_SQUEEZE_EXCITE = ("squeeze", "reduce", "excite", "scale")


class _Part(NamedTuple):
    """Where a node belongs: the node that leads its layer, and the node that it is called after (itself, or that)."""

    layer: str
    base: str


def name_nodes(nodes: tuple[Node, ...]) -> tuple[tuple[Node, ...], dict[str, str]]:
    """The nodes with block labels and names such as `block3.expand`, and the old name of each as {old: new}.

    A block is a residual region, or a depthwise convolution with the expansion before and the projection after it.
    Batch norms and activations are called after the layer they follow (`block3.expand_bn`); a squeeze-and-excite
    belongs to the layer that it gates (`block3.squeeze`, `reduce`, `excite`, `scale`).
    """
    gates = _gates(nodes)
    parts = _parts(nodes, gates)
    layers = _layers(nodes, parts)
    labels = _blocks(layers)
    blocks = {layer.name: label for layer, label in zip(layers, labels, strict=True)}
    roles = {layer.name: _role(i, layers, labels) for i, layer in enumerate(layers)}
    for name, word in gates.items():
        block = blocks[parts[name].layer]
        roles[name] = f"{block}.{word}" if block.startswith("block") else word
    totals, taken, renamed = Counter(roles.values()), Counter[str](), dict[str, str]()
    out: list[Node] = []
    for node in nodes:
        part = parts[node.name]
        own = part.base == node.name
        role = roles[node.name] if own else f"{renamed[part.base]}_{_suffix(node)}"
        taken[role] += 1
        alone = totals[role] == 1 if own else taken[role] == 1
        renamed[node.name] = role if alone else f"{role}{taken[role]}"
        inputs = tuple(renamed[name] for name in node.inputs)
        out.append(replace(node, name=renamed[node.name], block=blocks[part.layer], inputs=inputs))
    return tuple(out), renamed


# -- layers: an op with all that follows it ----------------------------------------------------------------------------


def _suffix(node: Node) -> str:
    return "bn" if isinstance(node.op, BatchNorm) else "act"


def _parts(nodes: tuple[Node, ...], gates: Mapping[str, str]) -> dict[str, _Part]:
    """The place of each node: batch norms, activations and squeeze-and-excites are part of the layer before them."""
    by_name = {node.name: node for node in nodes}
    readers = Counter(name for node in nodes for name in dict.fromkeys(node.inputs))
    parts: dict[str, _Part] = {}
    for node in nodes:
        source = node.inputs[0] if node.inputs else ""
        if node.name in gates:
            parts[node.name] = _Part(parts[source].layer, node.name)
        elif (
            isinstance(node.op, BatchNorm | Activate)
            and readers[source] == 1
            and not isinstance(by_name[source].op, Input | Constant)
        ):
            layer, base = parts[source]
            # What follows the gate follows the gated layer: some networks activate only then.
            parts[node.name] = _Part(layer, layer if gates.get(source) == "scale" else base)
        else:
            parts[node.name] = _Part(node.name, node.name)
    return parts


def _layers(nodes: tuple[Node, ...], parts: Mapping[str, _Part]) -> tuple[Node, ...]:
    """One node a layer, in the place of its first, with the type of its last."""
    layers: dict[str, Node] = {}
    for node in nodes:
        layer = parts[node.name].layer
        if layer == node.name:
            inputs = tuple(parts[name].layer for name in node.inputs)
            layers[layer] = replace(node, inputs=inputs)
        else:
            layers[layer] = replace(layers[layer], type=node.type)
    return tuple(layers.values())


def _gates(nodes: tuple[Node, ...]) -> dict[str, str]:
    """The pools, convolutions and multiplies of squeeze-and-excites by name, each with its word."""
    by_name = {node.name: node for node in nodes}
    words: dict[str, str] = {}
    for node in nodes:
        if not isinstance(node.op, Multiply) or isinstance(by_name[node.inputs[0]].op, Input):
            continue
        chain = [node]
        at = by_name[node.inputs[1]]
        while isinstance(at.op, Conv | BatchNorm | Activate):
            if isinstance(at.op, Conv):
                chain.append(at)
            at = by_name[at.inputs[0]]
        chain.append(at)
        if len(chain) == 4 and isinstance(at.op, Pool) and at.inputs[0] == node.inputs[0] and at.shape.pixels == 1:
            words.update(zip((part.name for part in reversed(chain)), _SQUEEZE_EXCITE, strict=True))
    return words


# -- roles -------------------------------------------------------------------------------------------------------------


def _role(i: int, nodes: tuple[Node, ...], blocks: list[str]) -> str:
    node, block = nodes[i], blocks[i]
    if block.startswith("block"):
        kind = _conv_role(i, nodes, blocks) if isinstance(node.op, Conv) else op_name(node.op)
        return f"{block}.{kind}"
    if not isinstance(node.op, Conv):
        return op_name(node.op)
    if block == "stem":
        return "stem"
    return "logits" if node.shape.pixels == 1 else "head"


def _conv_role(i: int, nodes: tuple[Node, ...], blocks: list[str]) -> str:
    node = nodes[i]
    if _depthwise(node):
        return "depthwise"
    if not _pointwise(node):
        return "conv"
    in_block = [n for k, n in enumerate(nodes) if blocks[k] == blocks[i]]
    readers = [n for n in in_block if node.name in n.inputs]
    sources = [n for n in in_block if n.name in node.inputs]
    if any(_depthwise(n) for n in readers):
        return "expand"
    if any(_depthwise(n) for n in sources):
        return "project"
    # A shortcut goes from what enters the block straight to its sum.
    return "shortcut" if not sources and any(isinstance(n.op, Add) for n in readers) else "conv"


def _depthwise(node: Node) -> bool:
    return isinstance(node.op, Conv) and node.op.groups > 1


def _blocks(nodes: tuple[Node, ...]) -> list[str]:
    """A label for each node."""
    groups = _depthwise_groups(nodes, _residual_groups(nodes))
    grouped = [i for i, group in enumerate(groups) if group is not None]
    labels: list[str] = []
    numbers: dict[int, int] = {}
    for i, node in enumerate(nodes):
        group = groups[i]
        if isinstance(node.op, Input):
            labels.append("")
        elif group is not None:
            labels.append(f"block{numbers.setdefault(group, len(numbers) + 1)}")
        elif isinstance(node.op, Constant):
            labels.append("")
        else:
            labels.append("stem" if not grouped or i < grouped[0] else "head")
    return labels


def _residual_groups(nodes: tuple[Node, ...]) -> list[int | None]:
    """Regions between two places where just one value is alive, if they hold more than one path."""
    last_use = {name: i for i, node in enumerate(nodes) for name in node.inputs}
    groups: list[int | None] = [None] * len(nodes)
    start = 0
    for i in range(len(nodes)):
        made = (n for n in nodes[: i + 1] if not isinstance(n.op, Constant))
        alive = [n for n in made if last_use.get(n.name, -1) > i]
        if len(alive) <= 1 and (not alive or alive[0].name == nodes[i].name):
            if i > start and any(_joins(n, nodes) for n in nodes[start : i + 1]):
                groups[start : i + 1] = [start] * (i + 1 - start)
            start = i + 1
    return groups


def _joins(node: Node, nodes: tuple[Node, ...]) -> bool:
    """True where a node brings two computed values together."""
    computed = {n.name for n in nodes if not isinstance(n.op, Constant)}
    return len(computed.intersection(node.inputs)) > 1


def _depthwise_groups(nodes: tuple[Node, ...], groups: list[int | None]) -> list[int | None]:
    """Adds a group for each depthwise convolution that is in none: with its neighbours where they are pointwise."""
    for i, node in enumerate(nodes):
        if not _depthwise(node) or groups[i] is not None:
            continue
        groups[i] = i
        if i and groups[i - 1] is None and _pointwise(nodes[i - 1]) and nodes[i - 1].name in node.inputs:
            groups[i - 1] = i
        if i + 1 < len(nodes) and groups[i + 1] is None and _pointwise(nodes[i + 1]):
            groups[i + 1] = i
    return groups


def _pointwise(node: Node) -> bool:
    return isinstance(node.op, Conv) and node.op.window.kernel == (1, 1) and node.op.groups == 1
