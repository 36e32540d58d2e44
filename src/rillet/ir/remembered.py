"""What is found of a node's arrays, remembered for as long as its graph lives."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from rillet.ir.graph import Graph, Node

More = ParamSpec("More")
Found = TypeVar("Found")


def remembered(
    function: Callable[Concatenate[Graph, Node, More], Found],
) -> Callable[Concatenate[Graph, Node, More], Found]:
    """The function, asked once for each node of a graph and each set of further arguments; arrays never change."""
    known: WeakKeyDictionary[Graph, dict[object, Found]] = WeakKeyDictionary()

    @wraps(function)
    def ask(graph: Graph, node: Node, *more: More.args, **words: More.kwargs) -> Found:
        of_graph, key = known.setdefault(graph, {}), (node.name, more, *words.items())
        if key not in of_graph:
            of_graph[key] = function(graph, node, *more, **words)
        return of_graph[key]

    return ask
