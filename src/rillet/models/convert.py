"""A graph as a file of another kind, chosen by the suffix."""

from dataclasses import replace
from pathlib import Path

from rillet.errors import GraphError
from rillet.exporters import rlt, safetensors, tflite
from rillet.ir.graph import Graph
from rillet.system.extras import extra
from rillet.system.files import write_file
from rillet.transforms.lowbit import unpack

SUFFIXES = (".onnx", ".rlt", ".safetensors", ".tflite")


def convert(graph: Graph, path: Path) -> int:
    """Writes `graph` to `path`, whole or not at all; returns its bytes. Raises GraphError for an unknown suffix.

    ONNX and TFLite get ternary and binary weights as int8 or float ones, which they know. What has no form in UTF-8, as
    half of a surrogate pair, goes into the file as it is shown.
    """
    graph = _encodable(graph)
    match path.suffix.lower():
        case ".rlt":
            data = rlt.to_bytes(graph)
        case ".safetensors":
            data = safetensors.to_bytes(graph)
        case ".tflite":
            data = tflite.export(unpack(graph))
        case ".onnx":
            with extra("onnx"):
                from rillet.exporters.onnx import export

            data = export(unpack(graph))
        case suffix:
            raise GraphError(f"{path}: must end in {', '.join(SUFFIXES)}, got {suffix or 'no suffix'!r}")
    write_file(path, data)
    return len(data)


def _encodable(graph: Graph) -> Graph:
    """The graph with words that every format can hold: names of files, blocks and labels are any text."""

    def words(text: str) -> str:
        return text.encode("utf-8", "backslashreplace").decode()

    nodes = tuple(replace(node, block=words(node.block)) for node in graph.nodes)
    image = graph.image and replace(graph.image, labels=tuple(map(words, graph.image.labels)))
    return replace(graph, name=words(graph.name), nodes=nodes, image=image)
