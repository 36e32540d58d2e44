"""Networks: opened, written, and asked whether they can run."""

from os import PathLike
from typing import Any

from rillet.api import checks
from rillet.errors import GraphError
from rillet.ir.graph import Graph


def load(name: "str | PathLike[str]", **said: Any) -> Graph:
    """A network by a file, `hub:NAME`, or a name of the zoo with `:key=value,...` behind it."""
    from rillet.models.opening import open_model

    return open_model(name if isinstance(name, str) else checks.path(name, "model"), **said).graph


def save(net: Graph, path: "str | PathLike[str]") -> int:
    """Writes a network as .rlt, .onnx, .tflite or .safetensors, by the suffix; returns its bytes."""
    from rillet.models.convert import convert

    return convert(checks.graph(net), checks.path(path, "path"))


def with_weights(net: Graph) -> Graph:
    """The graph, if it can run; raises GraphError with what would."""
    if not net.params and any(net.node_params(node) for node in net.nodes):
        from rillet.models.hub import registry

        joint = "," if "=" in net.name else ":"
        trained = f"hub:{net.name} is trained" if net.name in registry() else "a trained network"
        raise GraphError(f"{net.name}: must have weights to run: {trained}, or {net.name}{joint}seed=0 for drawn ones")
    return net
