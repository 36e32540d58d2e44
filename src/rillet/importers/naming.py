"""Names that people can say: sorts an imported network into stem, blocks and head, and names nodes by their roles."""

from collections import Counter
from dataclasses import replace

from rillet.ir.graph import Node
from rillet.ir.ops import Add, Constant, Conv, Input, op_name


def name_nodes(nodes: tuple[Node, ...]) -> tuple[tuple[Node, ...], dict[str, str]]:
    """The nodes with block labels and names such as `block3.expand`, and the old name of each as {old: new}.

    A block is a residual region, or a depthwise convolution with the expansion before and the projection after it.
    """
    blocks = _blocks(nodes)
    renamed: dict[str, str] = {}
    taken: Counter[str] = Counter()
    out: list[Node] = []
    roles = [_role(i, nodes, blocks) for i in range(len(nodes))]
    totals = Counter(roles)
    for i, (node, role) in enumerate(zip(nodes, roles, strict=True)):
        taken[role] += 1
        name = role if totals[role] == 1 else f"{role}{taken[role]}"
        renamed[node.name] = name
        out.append(replace(node, name=name, block=blocks[i], inputs=tuple(renamed[n] for n in node.inputs)))
    return tuple(out), renamed


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
    in_block = [(k, n) for k, n in enumerate(nodes) if blocks[k] == blocks[i]]
    readers = [n for _, n in in_block if node.name in n.inputs]
    if any(_depthwise(n) for n in readers):
        return "expand"
    if any(_depthwise(n) for _, n in in_block if n.name in node.inputs):
        return "project"
    return "shortcut" if any(isinstance(n.op, Add) for n in readers) else "conv"


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
        if group is not None:
            labels.append(f"block{numbers.setdefault(group, len(numbers) + 1)}")
        elif isinstance(node.op, Input | Constant):
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
