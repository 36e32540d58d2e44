"""A network as a Mermaid flowchart, a box a block, for READMEs and other Markdown."""

import re

from rillet.ir.graph import Graph
from rillet.report.picture.blocks import Block, Item, Join, Kind, Layer, Outline, outline
from rillet.report.picture.lanes import Parallel, Part, Series, block_tree
from rillet.report.picture.words import engineering, shortened
from rillet.system.printable import printable

PLAIN = "-A-Za-z0-9 .,/()+_="
"""Characters that mean nothing to Mermaid within quotes, but for a point or a dash before a space, as in lists."""
MOST_ITEMS, MOST_LETTERS = 8, 40
"""The layers of a block are listed up to this many, and counted beyond it; letters of a label."""


def mermaid(graph: Graph) -> str:
    """The blocks of `graph` as a Mermaid flowchart (flowchart TD); what goes past layers is a labelled edge."""
    net = outline(graph)
    home = net.block_of()
    title = f"{net.name}: {engineering(net.macs)} MACs, {engineering(net.params)} parameters"
    lines = ["---", f'title: "{_yaml(title)}"', "---", "flowchart TD"]
    lines += [f'  in{i}(["input {shape}"])' for i, shape in enumerate(net.inputs, 1)]
    lines += [f'  b{i}["{_box(net, block)}"]' for i, block in enumerate(net.blocks)]
    flow = [(_end(home, source), _end(home, reader)) for source, reader in net.edges]
    lines += [f"  {source} --> {reader}" for source, reader in dict.fromkeys(flow) if source != reader]
    for source, reader in net.skips:
        word = "residual" if net.residual((source, reader)) else _word(net.items[reader])
        lines.append(f"  {_end(home, source)} -.->|{word}| {_end(home, reader)}")
    return "\n".join(lines) + "\n"


def _end(home: list[int], item: int) -> str:
    """What stands for an item (its block) or an input at the end of an edge."""
    return f"b{home[item]}" if item >= 0 else f"in{-item}"


def _box(net: Outline, block: Block) -> str:
    """Label, layers, output and costs of a block, in lines."""
    count = block.stop - block.start
    layers = _words(net, block_tree(net, block)) if count <= MOST_ITEMS else f"{count} layers and joins"
    costs = f"{engineering(block.macs)} MACs", f"{engineering(block.params)} parameters"
    return "<br/>".join(map(_quoted, (shortened(block.label, MOST_LETTERS), layers, str(block.shape), *costs)))


def _words(net: Outline, part: Part) -> str:
    match part:
        case int():
            return _word(net.items[part])
        case Series(parts=parts):
            return ", ".join(_words(net, p) for p in parts)
        case Parallel(lanes=lanes):
            return "(" + " + ".join(_words(net, p) for p in lanes) + ")"


def _word(item: Item) -> str:
    """An item in a word or two: `3x3 /2`, `depthwise 3x3`, `add`."""
    match item:
        case Join():
            return item.op
        case Layer(kind=Kind.CONV | Kind.POINTWISE | Kind.ROW | Kind.COLUMN):
            words = [item.kernel or "1x1"]
        case Layer():
            words = [item.about.split(",")[0], item.kernel]
    return " ".join(word for word in (*words, item.stride) if word)


def _quoted(text: str) -> str:
    """Text within the quotes of a label: what might mean something is written by its number, as `#34;`."""
    return re.sub(f"[^{PLAIN}]|[.-](?= )", lambda found: f"#{ord(found[0])};", printable(text))


def _yaml(text: str) -> str:
    """Text within the double quotes of a YAML string."""
    return re.sub(f"[^{PLAIN}:]", lambda found: f"\\U{ord(found[0]):08x}", printable(text))
