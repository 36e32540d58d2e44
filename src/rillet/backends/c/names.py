"""Names from a model file in an emitted program: only as sanitised identifiers and comment text."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rillet.errors import RilletError
from rillet.ir.graph import Graph, Node
from rillet.plan.rows.plan import RowPlan, Segment, Stage

RESERVED = frozenset({"quick_exit"})
"""Words that would be names of the C library behind a prefix: at_quick_exit."""
MOST_CHARACTERS = 40
"""C tells identifiers apart by 63 characters; those around a node's name take up to 23."""
MOST_SHOWN = 200
"""Characters of a name that a comment shows."""


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """For each name a word of ASCII letters, digits and single underscores, a letter first, unlike all the others.

    A word is only ever the end or the middle of an identifier, behind at_, fire_, of_, wrote_, read_ or net_: so it may
    be a keyword, a macro or a type, whatever the compiler and its headers define.
    """
    out: dict[str, str] = {}
    taken, tries = set(RESERVED), Counter[str]()
    for name in names:
        word = base = _word(name)
        while word in taken:
            tries[base] += 1
            end = f"_{tries[base] + 1}"
            word = base[: MOST_CHARACTERS - len(end)].rstrip("_") + end
        taken.add(word)
        out[name] = word
    return out


def _word(name: str) -> str:
    word = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    if not word[:1].isalpha():
        word = f"v{word}"
    return word[:MOST_CHARACTERS].rstrip("_")


def shown(text: str) -> str:
    """The text as it may stand in a comment, or between the quotes of a string that then reads the same in UTF-8.

    Printable ASCII but quotes, backslashes, `*` and `?`; bytes of others as three octal digits. So it ends neither, and
    has no line, trigraph, or character that an editor would not show.
    """
    part = text[:MOST_SHOWN] + ("..." if len(text) > MOST_SHOWN else "")
    return "".join(_SHOWN[byte] for byte in part.encode("utf-8", "surrogatepass"))


_SHOWN = [chr(i) if 32 <= i < 127 and chr(i) not in '"\\*?' else f"\\{i:03o}" for i in range(256)]


@dataclass(frozen=True, slots=True)
class Named:
    """A plan whose names are identifiers, and what comments call its nodes, by these, and its network."""

    plan: RowPlan
    nodes: Mapping[str, str]
    graph: str

    def original(self, error: RilletError, plan: RowPlan) -> RilletError:
        """The error with the names of the graph, where it begins with those of the program; `plan` is as it came."""
        said, where = str(error.args[0]), f"{self.plan.graph.name}: "
        word, colon, rest = said.removeprefix(where).partition(": ")
        names = dict(zip(self.nodes, plan.graph.by_name, strict=True))
        if not said.startswith(where) or not colon or word not in names:
            return error
        return type(error)(f"{plan.graph.name}: {names[word]}: {rest}")


def named(plan: RowPlan) -> Named:
    """The plan with C identifiers for names; the backend sees no other text of the model file."""
    words = identifiers(node.name for node in plan.graph.nodes)
    # Scratch memory is never called by its name in C; a dot keeps it from being called as a value is.
    places = words | {name: f".{i}" for i, name in enumerate(plan.buffers) if name not in words}
    graph = _graph(plan.graph, words)
    buffers = {places[name]: replace(buffer, name=places[name]) for name, buffer in plan.buffers.items()}
    made = replace(
        plan,
        graph=graph,
        segments=tuple(_segment(segment, places) for segment in plan.segments),
        buffers=buffers,
        sign_flipped=frozenset(words[name] for name in plan.sign_flipped),
    )
    return Named(made, {words[name]: shown(name) for name in words}, graph.name)


def _graph(graph: Graph, words: Mapping[str, str]) -> Graph:
    nodes = tuple(Node(words[n.name], n.op, tuple(words[name] for name in n.inputs), n.type) for n in graph.nodes)
    wanted = [(node, param.name) for node in graph.nodes for param in graph.node_params(node)]
    params = {f"{words[node.name]}.{name}": graph.param(node, name) for node, name in wanted}
    return Graph(shown(graph.name), nodes, tuple(words[name] for name in graph.outputs), params)


def _segment(segment: Segment, places: Mapping[str, str]) -> Segment:
    return replace(
        segment, driver=places[segment.driver], stages=tuple(_stage(stage, places) for stage in segment.stages)
    )


def _stage(stage: Stage, places: Mapping[str, str]) -> Stage:
    scratch = None if stage.scratch is None else places[stage.scratch]
    return replace(stage, node=places[stage.node], output=places[stage.output], scratch=scratch)
