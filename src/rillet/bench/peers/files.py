"""The same network with the same weights as a file for each runtime."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rillet.backends.c.storage import sign_flipped
from rillet.bench.peers import OURS, PEERS, ours
from rillet.bench.peers.lite import nearest
from rillet.errors import Unsupported
from rillet.exporters import tflite
from rillet.ir.graph import Graph
from rillet.ir.types import DType
from rillet.system.extras import extra
from rillet.system.files import write_file
from rillet.targets.host import Host
from rillet.transforms.lowbit import unpack

TorchScript = Callable[[Graph], bytes]
"""A float network as a TorchScript file, which a higher floor makes."""


@dataclass(frozen=True, slots=True)
class Given:
    """The .tflite file that the graph was read from, and the order of its input's dimensions."""

    path: Path
    order: tuple[int, ...]


def precision_of(graph: Graph) -> str:
    """`f32` or `int8`, the values of the network's layers; uint8 counts as int8."""
    return "f32" if all(node.type.dtype is DType.F32 for node in graph.nodes) else "int8"


@dataclass(frozen=True, slots=True)
class Request:
    """A network, its batch norms folded, to be written for a runtime."""

    graph: Graph
    threads: int
    folder: Path
    given: Given | None = None
    """The file that the graph is exactly the content of, if it is."""
    torch_script: TorchScript | None = None
    host: Host | None = None
    """What Rillet's program is for; the machine that this runs on if None."""


def prepare(runtime: str, request: Request) -> dict[str, Any]:
    """Writes what `runtime` reads, once, and tells how to start it (see `sessions.Job`).

    Raises Unsupported where the runtime has no file for this network.
    """
    graph = request.graph
    source = graph.input_nodes[0]
    job: dict[str, Any] = {
        "runtime": runtime,
        "threads": request.threads,
        "shape": source.shape.array,
        "dtype": source.type.dtype.numpy.name,
        "outputs": [
            {"shape": node.shape.array, "dtype": node.type.dtype.numpy.name}
            for node in (graph.by_name[name] for name in dict.fromkeys(graph.outputs))
        ],
    }
    if runtime == OURS:
        return job | {"file": str(ours.prepare(graph, request.threads, request.host))}
    precision = precision_of(graph)
    if precision not in PEERS[runtime].precisions:
        raise Unsupported(f"precision must be {' or '.join(PEERS[runtime].precisions)} here, got {precision}")
    return job | _WRITERS[runtime](request)


def jobs(runtime: str, request: Request) -> list[dict[str, Any]]:
    """All forms in which a runtime may have the network; the one that it runs fastest is its best.

    Runtimes fuse quantised operators of uint8 that they compute in float where they are int8, or the other way round.
    Raises Unsupported where there is none.
    """
    made = [prepare(runtime, request)]
    signed = [node.name for node in request.graph.nodes if node.type.dtype is DType.I8]
    if runtime in _EITHER_SIGN and precision_of(request.graph) == "int8" and signed:
        folder = request.folder / "unsigned"
        folder.mkdir(exist_ok=True)
        other = replace(request, graph=sign_flipped(request.graph, signed), folder=folder)
        made[0]["form"] = "int8"
        ends = {f"{end}_sign_flipped": name in signed for end, name in _ends(request.graph)}
        made.append(prepare(runtime, other) | {"form": "uint8", **ends})
    return made


def _ends(graph: Graph) -> tuple[tuple[str, str], ...]:
    return ("input", graph.input_nodes[0].name), ("output", graph.outputs[0])


_EITHER_SIGN = ("onnxruntime", "openvino")
"""Runtimes whose files may have activations of either sign."""


def _onnx(request: Request) -> dict[str, Any]:
    path = request.folder / f"{precision_of(request.graph)}.onnx"
    if not path.exists():
        with extra("onnx"):
            from rillet.exporters.onnx import export
        write_file(path, export(unpack(request.graph)))
    return {"file": str(path)}


def _tflite(request: Request) -> dict[str, Any]:
    if request.given is not None:
        return {"file": str(request.given.path), "order": request.given.order}
    path = request.folder / f"{precision_of(request.graph)}.tflite"
    if not path.exists():
        write_file(path, tflite.export(tflite.rounded(nearest(unpack(request.graph)))))
    return {"file": str(path)}


def _ncnn(request: Request) -> dict[str, Any]:
    from rillet.exporters.ncnn import export

    path, made = request.folder / "ncnn.param", export(unpack(request.graph))
    write_file(path, made.param.encode())
    write_file(path.with_suffix(".bin"), made.weights)
    return {"file": str(path), "names": (made.input, made.output)}


def _torch(request: Request) -> dict[str, Any]:
    if request.torch_script is None:
        raise Unsupported("must be given what makes its file")
    path = request.folder / "torch.pt"
    if not path.exists():
        write_file(path, request.torch_script(request.graph))
    return {"file": str(path)}


_WRITERS: Mapping[str, Callable[[Request], dict[str, Any]]] = {
    "onnxruntime": _onnx,
    "openvino": _onnx,
    "litert": _tflite,
    "ncnn": _ncnn,
    "torch": _torch,
}
