"""Which arrays of a graph in the making are one: what importers and transforms say of where each comes from."""

from collections import Counter
from collections.abc import Hashable, Mapping

from rillet.ir.graph import Array, Graph, ImageSpec, Node
from rillet.ir.ops import op_params


def sources(graph: Graph) -> dict[str, Hashable]:
    """For each array of each layer (`node.param`) the key that it stands under: what a transform begins with."""
    keys = [f"{node.name}.{param.name}" for node in graph.nodes for param in graph.node_params(node)]
    return {key: graph.shared.get(key, key) for key in keys}


def ties(made_of: Mapping[str, Hashable]) -> dict[str, str]:
    """`Graph.shared` where arrays made of the same are one: `made_of` says for each key what its array follows from."""
    first: dict[Hashable, str] = {}
    return {key: one for key, source in made_of.items() if (one := first.setdefault(source, key)) != key}


def each_once(arrays: Mapping[str, Array], made_of: Mapping[str, Hashable]) -> tuple[dict[str, Array], dict[str, str]]:
    """`Graph.params` and `Graph.shared` where arrays of one source that came out equal are one.

    Those that came out different (of another type, shape or value) are several, and so are those without a source.
    """
    counts = Counter(made_of[key] for key in arrays if key in made_of)
    equal: dict[str, Hashable] = {
        key: (made_of[key], array.dtype.str, array.shape, array.tobytes())
        for key, array in arrays.items()
        if key in made_of and counts[made_of[key]] > 1
    }
    shared = ties(equal)
    return {key: array for key, array in arrays.items() if key not in shared}, shared


def remade(
    graph: Graph,
    nodes: tuple[Node, ...],
    outputs: tuple[str, ...],
    arrays: Mapping[str, Array],
    image: ImageSpec | None,
) -> Graph:
    """`graph` with other nodes; `arrays` has those of each under its own keys, or none.

    What was one array stays one where it is still equal: of one shape and type, and with weights of one content.
    """
    shapes = {node.name: node.shape for node in nodes}
    specs = {
        f"{node.name}.{param.name}": param
        for node in nodes
        for param in op_params(node.op, tuple(shapes[name] for name in node.inputs), node.shape)
    }
    made_of: dict[str, Hashable] = {key: (graph.shared.get(key, key), spec) for key, spec in specs.items()}
    params, shared = each_once(arrays, made_of) if arrays else ({}, ties(made_of))
    return Graph(graph.name, nodes, outputs, params, image, shared)
