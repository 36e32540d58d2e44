"""What a user may say behind the name of a model: `mobilenet_v2:width=0.5,fuse=half`."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.models.specifier import split
from rillet.transforms import fuseconv
from rillet.transforms.fold import without_weights
from rillet.transforms.resize import with_classes, with_resolution, with_width
from rillet.transforms.stride import move_strides
from rillet.zoo import registry
from rillet.zoo.weights import with_seeded_weights

_FUSE_WORDS = ("blocks", "share", "fit")


def zoo_network(name: str, words: Mapping[str, str], weights: Path | None = None) -> Graph:
    """A network of the zoo: its own parameters first, then `weights`, then the changes that any network can take."""
    network = registry.find(name)
    own = {key: value for key, value in words.items() if key in registry.parameters(network)}
    others = {key: value for key, value in words.items() if key not in own}
    graph = registry.build(name, own)
    if weights is not None:
        from rillet.importers import checkpoints

        graph = checkpoints.lay(graph, checkpoints.read(weights)).graph
    return change(graph, others, network)


def change(graph: Graph, words: Mapping[str, str], network: registry.Network | None = None) -> Graph:
    """`graph` under the changes that `words` name, in a fixed order; raises GraphError for one that is none."""
    known = (*_CHANGES, "fuse", *_FUSE_WORDS, "seed")
    for key in words:
        if key not in known:
            own = registry.parameters(network) if network else ()
            listed = ", ".join(dict.fromkeys((*own, *known)))
            raise GraphError(f"{graph.name}: parameter must be one of {listed}; got {key!r}")
    name = graph.name
    for key, apply in _CHANGES.items():
        if key in words:
            graph = apply(graph, words[key])
    if "fuse" in words:
        graph = _fuse(graph, words, network)
    elif any(key in words for key in _FUSE_WORDS):
        raise GraphError(f"{name}: {', '.join(_FUSE_WORDS)} must come with fuse=half or fuse=full")
    if "seed" in words:
        graph = with_seeded_weights(graph, _whole(graph, "seed", words["seed"]))
    return graph if not words else _named(graph, name, words)


def _named(graph: Graph, name: str, words: Mapping[str, str]) -> Graph:
    joint = "," if split(name)[1] else ":"
    return graph.with_name(f"{name}{joint}{','.join(f'{key}={value}' for key, value in words.items())}")


def _resolution(graph: Graph, word: str) -> Graph:
    height, _, width = word.partition("x")
    return with_resolution(graph, _whole(graph, "resolution", height), _whole(graph, "resolution", width or height))


def _untrained(graph: Graph, word: str) -> Graph:
    if word not in ("true", "false"):
        raise GraphError(f"{graph.name}: untrained must be true or false, got {word!r}")
    return without_weights(graph) if word == "true" else graph


_CHANGES: Mapping[str, Callable[[Graph, str], Graph]] = {
    "untrained": _untrained,
    "width": lambda graph, word: with_width(graph, _number(graph, "width", word)),
    "resolution": _resolution,
    "classes": lambda graph, word: with_classes(graph, _whole(graph, "classes", word)),
    "strides": move_strides,
}


def _fuse(graph: Graph, words: Mapping[str, str], network: registry.Network | None) -> Graph:
    variant, blocks = words["fuse"], words.get("blocks", "")
    if variant in ("half50", "full50"):
        if network is None or not network.fuse_half:
            published = ", ".join(n.name for n in registry.NETWORKS.values() if n.fuse_half)
            raise GraphError(f"{graph.name}: fuse={variant} is published for {published} only; or share=0.5")
        if blocks or "share" in words:
            raise GraphError(f"{graph.name}: blocks and share must come with fuse=half or full, got {variant}")
        variant, blocks = variant[:4], network.fuse_half
    elif variant not in ("half", "full"):
        raise GraphError(f"{graph.name}: fuse must be one of half, full, half50, full50, got {variant!r}")
    share = _number(graph, "share", words["share"]) if "share" in words else None
    fit = words.get("fit", "false")
    if fit not in ("true", "false"):
        raise GraphError(f"{graph.name}: fit must be true or false, got {fit!r}")
    drop = network is not None and network.fuse_drops_activation
    return fuseconv.fuse(graph, variant, fuseconv.choose(graph, blocks, share), drop=drop, fit=fit == "true")


def _number(graph: Graph, key: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise GraphError(f"{graph.name}: {key} must be a number, got {word!r}") from None


def _whole(graph: Graph, key: str, word: str) -> int:
    if not re.fullmatch(r"\d{1,9}", word):
        raise GraphError(f"{graph.name}: {key} must be a whole number, got {word!r}")
    return int(word)
