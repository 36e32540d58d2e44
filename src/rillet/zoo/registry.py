"""Names of the networks, their parameters, and building one from a specifier."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.zoo import binarynet, classic, mobilenet, mobilenet_v3, squeezenet
from rillet.zoo.layers import Resolution


@dataclass(frozen=True, slots=True)
class Network:
    """One network of the zoo: how it is built, and how FuSeConv's authors change it."""

    name: str
    build: Callable[..., Graph]
    fuse_half: str = ""
    """The blocks that their 50 % variants replace."""
    fuse_drops_activation: bool = False
    """True where their pairs have no activation of their own."""

    @property
    def about(self) -> str:
        """What it is, in a sentence."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]


NETWORKS: Mapping[str, Network] = {
    network.name: network
    for network in (
        Network("mobilenet_v1", mobilenet.mobilenet_v1, "1-5", fuse_drops_activation=True),
        Network("mobilenet_v2", mobilenet.mobilenet_v2, "2-10"),
        Network("mobilenet_v3_large", mobilenet_v3.mobilenet_v3_large, "2-8"),
        Network("mobilenet_v3_small", mobilenet_v3.mobilenet_v3_small, "3+5-8"),
        Network("mnasnet_b1", mobilenet.mnasnet_b1, "2-10"),
        Network("efficientnet_lite0", mobilenet.efficientnet_lite0),
        Network("efficientnet_lite1", mobilenet.efficientnet_lite1),
        Network("efficientnet_lite2", mobilenet.efficientnet_lite2),
        Network("fd_mobilenet", mobilenet.fd_mobilenet),
        Network("microbotnet", mobilenet_v3.microbotnet),
        Network("squeezenet1_0", squeezenet.squeezenet1_0),
        Network("squeezenet1_1", squeezenet.squeezenet1_1),
        Network("squeezenet_cifar10", squeezenet.squeezenet_cifar10),
        Network("resnet18", classic.resnet18),
        Network("resnet50", classic.resnet50),
        Network("vgg16", classic.vgg16),
        Network("binarynet_cifar10", binarynet.binarynet_cifar10),
    )
}


def find(name: str) -> Network:
    """The network called `name`; raises GraphError, with the nearest name, where there is none."""
    if name in NETWORKS:
        return NETWORKS[name]
    near = difflib.get_close_matches(name, NETWORKS, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else "rillet models lists them"
    raise GraphError(f"{name}: must be a network of the zoo; {hint}")


@cache
def parameters(network: Network) -> Mapping[str, inspect.Parameter]:
    """The parameters of a network, with their defaults."""
    return inspect.signature(network.build).parameters


def build(name: str, words: Mapping[str, str] | None = None) -> Graph:
    """The network called `name` with parameters such as {"width": "0.5"}, named with those that were given.

    Raises GraphError for an unknown network or parameter, or a value that does not fit.
    """
    network = find(name)
    known = parameters(network)
    values: dict[str, Any] = {}
    for key, word in (words or {}).items():
        if key not in known:
            listed = ", ".join(known) or "none"
            raise GraphError(f"{name}: parameter must be one of {listed}; got {key!r}")
        values[key] = _value(f"{name}: {key}", known[key].annotation, word)
    graph = network.build(**values)
    if not words:
        return graph
    return graph.with_name(f"{name}:{','.join(f'{key}={word}' for key, word in words.items())}")


@dataclass(frozen=True, slots=True)
class Described:
    """A network as a list shows it."""

    name: str
    about: str
    parameters: tuple[str, ...]
    """What may be said, with the defaults: `width=1.0`."""


def described(network: Network) -> Described:
    """A network's name, sentence and parameters."""
    words = tuple(f"{key}={_word(parameter.default)}" for key, parameter in parameters(network).items())
    return Described(network.name, network.about, words)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _value(where: str, hint: Any, word: str) -> Any:
    """`word` as the type of a parameter."""
    if get_origin(hint) is Literal:
        if word not in get_args(hint):
            raise GraphError(f"{where} must be one of {', '.join(get_args(hint))}, got {word!r}")
        return word
    if hint is bool:
        if word not in ("true", "false"):
            raise GraphError(f"{where} must be true or false, got {word!r}")
        return word == "true"
    try:
        if hint is Resolution:
            height, _, width = word.partition("x")
            return Resolution(int(height), int(width or height))
        return hint(word)
    except (ValueError, OverflowError):
        wanted = {int: "a whole number", float: "a number", Resolution: "a size such as 96 or 96x128"}[hint]
        raise GraphError(f"{where} must be {wanted}, got {word!r}") from None
